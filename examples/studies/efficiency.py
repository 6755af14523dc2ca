"""What does a posterior cost?

    python examples/studies/efficiency.py             on New York profiles: about an hour on two otherwise idle cores
    python examples/studies/efficiency.py --small     8 profiles and short runs; its times say nothing

PRODA's published protocol is three chains of 70,000 solutions for each profile.  Its dense solution is timed here on a
sample, as its program goes about it, month by month, and compiled; the protocol's time is extrapolated from that, not
run.  What its draws are worth is measured with the fast solution in its place.  Against it stand Hamiltonian Monte
Carlo by profile and BINN by each method.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd
from monthly_program import profile, solution
from study import Case, Page, Study, main, value
from ways import SMALL, about, devices, fitted, frame, way, worth

import binn_prob as bp
from binn_prob import clm5
from binn_prob.clm5.dense import dense_steady_state, dense_system
from binn_prob.results.drawing import panels, styled
from binn_prob.results.scores import Score

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

CHAINS, SOLVES = 3, 70_000
"""PRODA's chains of a profile, and solutions in each: 20,000 of its first phase and 50,000 of its second"""
PROTOCOL = "PRODA's protocol"
PUBLISHED_STEP = 0.035
"""Seconds for a profile forward and backward in BINN's program, measured with it on a CPU of two cores"""
CORRECT = dict.fromkeys(("annealing", "truncated_proposals", "accepted_only", "best_chain_only"), False)
METHODS = ("MC dropout", "deep ensemble, batches", "VI", "SGHMC, batches")
BATCH = 16
"""Profiles of a step of BINN's demonstration"""


def cases(small: bool) -> list[Case]:
    sites, most, seed = (8, 8, 0) if small else (16, None, 0)
    metropolis = SMALL["proda_metropolis"] if small else {"draws": 1000}
    site_nuts = SMALL["site_nuts"] if small else {}
    steps = {"few": 100, "more": 300} if small else {"few": 500, "more": 2500}
    trained = {"sites": 8 if small else most, **steps, "seed": seed}
    found = [
        Case("dense solution", dense, {"sites": sites, "repeats": 5 if small else 200, "seed": seed}),
        Case("PRODA's draws", proda, {"sites": sites, "options": {**CORRECT, **metropolis}, "seed": seed}),
        Case("NUTS by site", by_site, {"sites": 8 if small else 64, "options": site_nuts, "seed": seed}, devices=2),
                *(
            Case(name, binn, {**way(name, small), "sites": 8 if small else most, "seed": seed})
            for name in METHODS[: 1 if small else None]
        ),
        Case("training step, all profiles", step, {"batch_sites": None, **trained}),
        Case("training step, batches", step, {"batch_sites": BATCH, **trained}),
    ]  # fmt: skip
    nuts = Case("NUTS, 64 sites", binn, {**way("NUTS", small), "sites": 64, "seed": seed}, devices=devices("NUTS"))
    return found if small else [*found, nuts]


def dense(folder: Path, sites: int, repeats: int, seed: int) -> pd.DataFrame:
    """Time the dense solution of single profiles: as PRODA's program goes about it, compiled, and its algebra alone."""
    profiles = bp.data.load("new-york", sites=sites, seed=seed)
    random = np.random.default_rng(seed)
    assemble_and_solve = jax.jit(lambda parameters, forcing: dense_steady_state(parameters, forcing, "published"))
    monthly, seconds, alone = [], [], []
    for number in range(sites):
        forcing = clm5.Forcing.from_dataset(profiles.isel(site=[number]))
        parameters = np.asarray(clm5.physical(random.uniform(0.1, 0.9, (1, len(clm5.NAMES)))))
        one = profile(forcing, 0)
        monthly.append(timed(lambda p=parameters[0], one=one: solution(p, one), max(repeats // 10, 1)))
        seconds.append(timed(lambda p=parameters, f=forcing: jax.block_until_ready(assemble_and_solve(p, f)), repeats))
        matrix, source = (np.asarray(one[0]) for one in dense_system(parameters, forcing, "published"))
        alone.append(timed(lambda m=matrix, s=source: np.linalg.solve(m, s), repeats))
    times = {"monthly_seconds": monthly, "compiled_seconds": seconds, "algebra_seconds": alone}
    found = {("", name): Score(float(np.median(values))) for name, values in times.items()}
    return frame(found, sites=sites)


def timed(work: Callable[[], Any], repeats: int) -> float:
    """Return the median time of one call, after a first that compiles [s]."""
    work()
    spent = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return float(np.median(spent))


def proda(folder: Path, sites: int, options: dict[str, Any], seed: int) -> pd.DataFrame:
    """Return what the draws of PRODA's protocol are worth, its departures from the posterior taken out."""
    profiles = bp.data.load("new-york", sites=sites, seed=seed)
    fit = bp.fit(
        "site", profiles, "proda_metropolis", seed=seed, progress=False, checkpoint=folder, resume=True, **options
    )
    return worth(fit.posterior())


def by_site(folder: Path, sites: int, options: dict[str, Any], seed: int) -> pd.DataFrame:
    """Return cost and worth of Hamiltonian Monte Carlo for each of the profiles."""
    profiles = bp.data.load("new-york", sites=sites, seed=seed)
    fit = bp.fit("site", profiles, "site_nuts", seed=seed, progress=False, checkpoint=folder, resume=True, **options)
    return worth(fit.posterior())


def binn(folder: Path, model: dict[str, Any], method: dict[str, Any], sites: int | None, seed: int) -> pd.DataFrame:
    """Return the cost of one fit of BINN, and whether it has converged."""
    profiles = bp.data.load("new-york", sites=sites, seed=seed)
    fit = fitted(profiles, model, method, seed, folder)
    return frame(about(fit) | {("", "gradients"): Score(fit.gradients)}, sites=profiles.sizes["site"])


def step(folder: Path, batch_sites: int | None, sites: int | None, few: int, more: int, seed: int) -> pd.DataFrame:
    """Return the time of a step of training for each profile that it sees, from two trainings of different length."""
    profiles = bp.data.load("new-york", sites=sites, seed=seed)
    seconds = []
    for steps in (few, more):
        how: dict[str, Any] = {"steps": steps, "patience": None, "batch_sites": batch_sites}
        seconds.append(bp.fit("binn", profiles, "mc_dropout", seed=seed, progress=False, **how).wall_seconds)
    seen = batch_sites or profiles.sizes["site"]
    found = {("", "step_seconds"): Score((seconds[1] - seconds[0]) / (more - few) / seen)}
    return frame(found, sites=profiles.sizes["site"])


def page(rows: pd.DataFrame) -> Page:
    """Set every cost against that of PRODA's protocol."""
    held = rows.set_index(["case", "measure"])["value"]
    sites = rows.groupby("case")["sites"].first()
    cores = len(os.sched_getaffinity(0))
    protocol = CHAINS * SOLVES * held["dense solution", "monthly_seconds"] / cores
    compiled = CHAINS * SOLVES * held["dense solution", "compiled_seconds"] / cores
    lines = {
        PROTOCOL: (protocol, held["PRODA's draws", "ess_median"], "extrapolated"),
        "the same, its solution compiled": (compiled, held["PRODA's draws", "ess_median"], "extrapolated"),
        "NUTS by site": (
            held["NUTS by site", "seconds"] / sites["NUTS by site"], held["NUTS by site", "ess_median"], "",
        ),
    }  # fmt: skip
    for name in (*METHODS, "NUTS, 64 sites"):
        if (name, "seconds") in held.index:
            note = f"{sites[name]} profiles, {'' if held[name, 'converged'] else 'not '}converged"
            lines[f"BINN: {name}"] = (held[name, "seconds"] / sites[name], np.nan, note)
    table = pd.DataFrame(
        {
            "seconds a profile": [f"{seconds:.3g}" for seconds, _, _ in lines.values()],
            "PRODA's protocol is slower by": [f"{protocol / seconds:,.0f}" for seconds, _, _ in lines.values()],
            "effective draws of the worst quantity": [value(ess, digits=0) for _, ess, _ in lines.values()],
            "effective draws a second": [value(ess / seconds, digits=2) for seconds, ess, _ in lines.values()],
            "remark": [note for _, _, note in lines.values()],
        },
        pd.Index(lines, name="way"),
    )
    steps = {name: held[f"training step, {name}", "step_seconds"] for name in ("all profiles", "batches")}
    training = pd.DataFrame(
        {
            "milliseconds a profile": [f"{1e3 * PUBLISHED_STEP:.0f}", *(f"{1e3 * one:.3f}" for one in steps.values())],
            "faster by": ["1", *(f"{PUBLISHED_STEP / one:,.0f}" for one in steps.values())],
        },
        pd.Index(
            ["BINN's program", *(f"a step on {name.replace('batches', f'{BATCH} profiles')}" for name in steps)],
            name="way",
        ),
    )
    site_seconds, site_ess = lines["NUTS by site"][:2]
    ratio, draws_ratio = (
        protocol / site_seconds,
        (site_ess / site_seconds) / (lines[PROTOCOL][1] / protocol),
    )
    findings = [
        (
            f"NUTS by site is {ratio:,.0f} times faster than PRODA's protocol for a profile, and "
            f"{draws_ratio:,.0f} times for an effective draw; to reach: 500 times at more effective draws. With the "
            f"protocol's solution compiled it is {compiled / site_seconds:,.0f} times faster for a profile."
        ),
        (
            f"A training step is {PUBLISHED_STEP / steps['all profiles']:,.0f} times faster for a profile than in "
            "BINN's program when it sees all profiles; to reach: 500."
        ),
    ]
    caption = f"Cost of a posterior of one profile, on {cores} cores: PRODA's is that of one core over {cores}"
    return Page(
        {caption: table, "Training of BINN: one profile forward and backward": training},
        {"Cost": draw(lines)},
        findings,
    )


@styled
def draw(lines: dict[str, tuple[float, float, str]]) -> Figure:
    """Draw the seconds of a profile."""
    figure, axes = panels(1, 1, (5.6, 2.6))
    axis = axes[0, 0]
    names = list(lines)
    axis.barh(range(len(names)), [lines[name][0] for name in names], color="#0072B2")
    axis.set_yticks(range(len(names)), names)
    axis.set_xscale("log")
    axis.set_xlabel("seconds for a profile")
    axis.invert_yaxis()
    return figure


STUDY = Study("efficiency", "What does a posterior cost?", cases, page, alone=True)

if __name__ == "__main__":
    main(STUDY)
