"""What does a posterior cost?

    python examples/studies/efficiency.py             on New York profiles: half an hour on two otherwise idle cores
    python examples/studies/efficiency.py --small     8 profiles and short runs; its times say nothing

PRODA's published protocol is three chains of 70,000 solutions for each profile.  Its dense solution is timed here on a
sample, as its program goes about it, month by month, and compiled; the protocol's time is extrapolated from that, not
run.  What its draws are worth is measured with the fast solution in its place.  Against it stand Hamiltonian Monte
Carlo by profile, with its usual number of draws and with about as many effective ones as the protocol, and five
methods of BINN.
"""

from __future__ import annotations

import math
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd
from monthly_program import profile, solution
from study import Case, Page, Study, main, share, value
from ways import BINN_NETWORK, SMALL, about, devices, fitted, frame, look, some, way, worth

import binn_prob as bp
from binn_prob import clm5
from binn_prob.clm5.dense import dense_steady_state
from binn_prob.fitting import as_model
from binn_prob.results.drawing import legend, panels, styled
from binn_prob.results.scores import Score

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

CHAINS, SOLVES = 3, 70_000
"""PRODA's chains of a profile, and solutions in each: 20,000 of its first phase and 50,000 of its second"""
PROTOCOL = "PRODA's protocol"
COMPILED, FAST = "PRODA's protocol, its solution compiled", "PRODA's protocol, with the fast solution"
HMC, HMC_SHORT = "HMC by profile", "HMC by profile, few draws"
PUBLISHED_STEP = 0.035
"""Seconds for a profile forward and backward in BINN's program, measured with it on a CPU of two cores"""
CORRECT = dict.fromkeys(("annealing", "truncated_proposals", "accepted_only", "best_chain_only"), False)
FEW_DRAWS = {"warmup": 150, "draws": 100, "thinning": 1, "rounds": 1}
"""Hamiltonian Monte Carlo cut short: to an effective sample size like that of the protocol"""
METHODS = ("MC dropout, batches", "deep ensemble, batches", "VI, batches", "SGHMC, batches")
NO_POSTERIOR = METHODS[:2]
"""Methods whose draws are of something else"""
TO_REACH = 500
"""Times that a profile, and a training step, were to be cheaper"""
CHAINED = ("nuts", "sghmc")
"""Methods whose draws are of Markov chains"""
JUDGED = 64
"""Profiles at which these are judged"""
BATCH = 16
"""Profiles of a step of BINN's demonstration"""
CONVERGED, NOT_CONVERGED, OTHER, EXTRAPOLATED = "converged", "not converged", "no posterior", "extrapolated"
MARKERS = {CONVERGED: "o", NOT_CONVERGED: "X", OTHER: "^", EXTRAPOLATED: "D"}
"""What stands behind a cost → its marker"""
STEPS = EVERYTHING, BATCHES, WIDE = "all profiles", "batches", "batches, 3 × 128 units"
"""What the cases of training steps are called; the network of the last is as large as that of BINN's program"""


def cases(small: bool) -> list[Case]:
    """Return dense solutions, PRODA's draws, Hamiltonian Monte Carlo by profile, fits and training steps of BINN."""
    few, most, seed = (4, 8, 0) if small else (16, 64, 0)
    metropolis = SMALL["proda_metropolis"] if small else {"draws": 1000}
    site_nuts = SMALL["site_nuts"] if small else {}
    few_draws = SMALL["site_nuts"] if small else FEW_DRAWS
    everywhere = len(os.sched_getaffinity(0))
    chosen, trained = {"sites": most, "seed": seed}, {"sites": 8 if small else None, "seed": seed}
    steps = {"few": 100, "more": 300, "repeats": 1} if small else {"few": 500, "more": 2500, "repeats": 5}
    found = [
        Case("dense solution", dense, {"sites": few, "repeats": 5 if small else 200, "seed": seed}, one_core=True),
        Case("PRODA's draws", by_site, {"method": "proda_metropolis", "options": {**CORRECT, **metropolis}, **chosen}),
        Case(HMC, by_site, {"method": "site_nuts", "options": site_nuts, **chosen}, devices=everywhere),
        Case(HMC_SHORT, by_site, {"method": "site_nuts", "options": few_draws, **chosen}, devices=everywhere),
        *(Case(name, binn, {**way(name, small), **trained}) for name in METHODS[: 1 if small else None]),
        Case(f"training step, {EVERYTHING}", step, {"batch_sites": None, **steps, **trained}),
        Case(f"training step, {BATCHES}", step, {"batch_sites": BATCH, **steps, **trained}),
        Case(f"training step, {WIDE}", step, {"batch_sites": BATCH, "network": BINN_NETWORK, **steps, **trained}),
    ]  # fmt: skip
    nuts = Case("NUTS, 64 sites", binn, {**way("NUTS", small), "sites": most, "seed": seed}, devices=devices("NUTS"))
    return found if small else [*found, nuts]


def dense(folder: Path, sites: int, repeats: int, seed: int) -> pd.DataFrame:
    """Time the dense solution of single profiles on one core: as PRODA's program goes about it, and compiled."""
    profiles = bp.data.load("new-york", sites=sites, seed=seed)
    random = np.random.default_rng(seed)
    assemble_and_solve = jax.jit(lambda parameters, forcing: dense_steady_state(parameters, forcing, "published"))
    monthly, compiled = [], []
    for number in range(sites):
        forcing = clm5.Forcing.from_dataset(profiles.isel(site=[number]))
        parameters = np.asarray(clm5.physical(random.uniform(0.1, 0.9, (1, len(clm5.NAMES)))))
        monthly.append(timed(partial(solution, parameters[0], profile(forcing, 0)), max(repeats // 10, 1)))
        ready = partial(_ready, assemble_and_solve, parameters, forcing)
        compiled.append(timed(ready, repeats))
    times = {"monthly_seconds": np.median(monthly), "compiled_seconds": np.median(compiled)}
    return frame({("", name): Score(float(one)) for name, one in times.items()}, sites=sites)


def _ready(function: Callable[..., Any], *arguments: Any) -> Any:
    return jax.block_until_ready(function(*arguments))


def timed(work: Callable[[], Any], repeats: int) -> float:
    """Return the median time of one call, after a first that compiles [s]."""
    work()
    spent = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return float(np.median(spent))


def by_site(folder: Path, method: str, sites: int, options: dict[str, Any], seed: int) -> pd.DataFrame:
    """Return cost and worth of the draws of a method that takes each profile by itself, and on how many cores."""
    profiles = bp.data.load("new-york", sites=sites, seed=seed)
    fit = bp.fit("site", profiles, method, seed=seed, progress=False, checkpoint=folder, resume=True, **options)
    cores = frame({("", "cores"): Score(len(os.sched_getaffinity(0)))}, sites=sites)
    return pd.concat([worth(fit.posterior()), cores])


def binn(folder: Path, model: dict[str, Any], method: dict[str, Any], sites: int | None, seed: int) -> pd.DataFrame:
    """Return the cost of one fit of BINN, whether it has converged and, of chains, the worth of their draws."""
    profiles = bp.data.load("new-york", sites=sites, seed=seed)
    fit = fitted(profiles, model, method, seed, folder)
    cost = frame(about(fit) | {("", "gradients"): Score(fit.gradients)}, sites=profiles.sizes["site"])
    if method["method"] not in CHAINED:
        return cost
    chains = worth(fit.predict(some(profiles, JUDGED, seed)))
    return pd.concat([cost, chains[~chains["measure"].isin(cost["measure"])]])


def step(
    folder: Path,
    batch_sites: int | None,
    sites: int | None,
    few: int,
    more: int,
    repeats: int,
    seed: int,
    network: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Return the time of a step of training for each profile that it sees, from trainings of different length.

    What every training begins with, compilation above all, takes as long for a short one; a first one is not counted.
    """
    profiles = bp.data.load("new-york", sites=sites, seed=seed)
    model = as_model("binn", network)

    def seconds(steps: int) -> float:
        how: dict[str, Any] = {"steps": steps, "patience": None, "batch_sites": batch_sites}
        return bp.fit(model, profiles, "mc_dropout", seed=seed, progress=False, **how).wall_seconds

    seconds(few)
    differences = np.array([seconds(more) - seconds(few) for _ in range(repeats)])
    seen = (more - few) * (batch_sites or profiles.sizes["site"])
    error = differences.std(ddof=1) / np.sqrt(repeats) / seen if repeats > 1 else math.nan
    return frame({("", "step_seconds"): Score(differences.mean() / seen, error)}, sites=profiles.sizes["site"])


def page(rows: pd.DataFrame) -> Page:
    """Set every cost against that of PRODA's protocol."""
    held = rows.set_index(["case", "measure"])["value"]
    cores = int(held[HMC, "cores"])
    lines = costs(rows)
    protocol, draws = (lines[PROTOCOL][name] for name in ("seconds", "ess"))
    table = pd.DataFrame(
        {
            "seconds a profile": [f"{one['seconds']:.3g}" for one in lines.values()],
            "PRODA's protocol is slower by": [f"{protocol / one['seconds']:,.0f}" for one in lines.values()],
            "effective draws of the worst quantity": [value(one["ess"], digits=0) for one in lines.values()],
            "largest R-hat": [value(one["r_hat"]) for one in lines.values()],
            "effective draws a second": [_rate(one["ess"] / one["seconds"]) for one in lines.values()],
            "remark": [one["remark"] for one in lines.values()],
        },
        pd.Index(lines, name="way"),
    )
    training, steps = training_steps(rows)
    hmc, short = lines[HMC], lines[HMC_SHORT]
    worth_more = hmc["ess"] / hmc["seconds"] / (draws / protocol)
    training_faster = {name: f"{PUBLISHED_STEP / seconds:,.0f}" for name, seconds in steps.items()}
    findings = [
        (
            f"Hamiltonian Monte Carlo is {protocol / hmc['seconds']:,.0f} times faster than PRODA's protocol for a "
            f"profile at {hmc['ess'] / draws:.0f} times as many effective draws, {worth_more:,.0f} times faster for an "
            f"effective draw; cut short, {protocol / short['seconds']:,.0f} times faster at {short['ess'] / draws:.1f} "
            f"times as many. To reach: {TO_REACH} times faster at more effective draws."
        ),
        (
            f"A training step is {training_faster[EVERYTHING]} times faster for a profile than in BINN's program when "
            f"it sees all profiles, {training_faster[BATCHES]} times when it sees {BATCH}, as there, and "
            f"{training_faster[WIDE]} times with a network as large as there; to reach: {TO_REACH}."
        ),
    ]
    caption = (
        f"Cost of a posterior of one profile on {cores} cores (the protocol's dense solution is timed on one, and "
        f"divided by {cores}; with the fast solution its chains mostly use one), and its worth: median over the "
        "profiles, R-hat at the 95th percentile"
    )
    return Page(
        {caption: table, "Training of BINN: one profile forward and backward": training},
        {"Cost": draw(lines)},
        findings,
    )


def _rate(number: float) -> str:
    return "–" if math.isnan(number) else f"{number:.3g}"


def costs(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return seconds, effective draws, R-hat, a remark and what kind of posterior it is for each way."""
    held = rows.set_index(["case", "measure"])["value"]
    sites = rows.groupby("case")["sites"].first()

    def line(seconds: float, case: str | None, remark: str, kind: str) -> dict[str, Any]:
        ess, r_hat = ((held[case, name] if case else math.nan) for name in ("ess_median", "r_hat_high"))
        return {"seconds": seconds, "ess": ess, "r_hat": r_hat, "remark": remark, "kind": kind}

    def kind(case: str) -> str:
        return CONVERGED if held[case, "converged"] == 1.0 else NOT_CONVERGED

    found = {}
    for name, solution_seconds in {PROTOCOL: "monthly_seconds", COMPILED: "compiled_seconds"}.items():
        seconds = CHAINS * SOLVES * held["dense solution", solution_seconds] / held[HMC, "cores"]
        found[name] = line(seconds, "PRODA's draws", "extrapolated", EXTRAPOLATED)
    for name, case in {FAST: "PRODA's draws", HMC: HMC, HMC_SHORT: HMC_SHORT}.items():
        remark = f"{sites[case]} profiles, {share(held[case, 'converged'])} of them converged"
        found[name] = line(held[case, "seconds"] / sites[case], case, remark, kind(case))
    for name in (*METHODS, "NUTS, 64 sites"):
        if (name, "seconds") in held.index:
            remark = f"{sites[name]} profiles, {'' if held[name, 'converged'] else 'not '}converged"
            chains = name if (name, "ess_median") in held.index else None
            of_what = OTHER if name in NO_POSTERIOR else kind(name)
            found[f"BINN: {name}"] = line(held[name, "seconds"] / sites[name], chains, remark, of_what)
    return found


def training_steps(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return a table of the cost of a profile in a training step, and the seconds."""
    held = rows.set_index(["case", "measure"])
    scores = {name: held.loc[(f"training step, {name}", "step_seconds"), ["value", "error"]] for name in STEPS}
    table = pd.DataFrame(
        {
            "milliseconds a profile": [
                f"{1e3 * PUBLISHED_STEP:.0f}",
                *(value(*(1e3 * one)) for one in scores.values()),
            ],
            "faster by": ["1", *(f"{PUBLISHED_STEP / one['value']:,.0f}" for one in scores.values())],
        },
        pd.Index(
            ["BINN's program", *(f"a step on {name.replace('batches', f'{BATCH} profiles')}" for name in STEPS)],
            name="way",
        ),
    )
    return table, {name: float(one["value"]) for name, one in scores.items()}


@styled
def draw(lines: dict[str, dict[str, Any]]) -> Figure:
    """Draw the seconds of a profile, and how much slower PRODA's protocol is."""
    figure, axes = panels(1, 1, (6.4, 3.4))
    axis = axes[0, 0]
    slowest = lines[PROTOCOL]["seconds"]
    for number, (name, one) in enumerate(lines.items()):
        colour = look(name.removeprefix("BINN: "))["color"] if name not in (PROTOCOL, COMPILED, FAST) else "black"
        kind = one["kind"]
        face = "white" if kind == EXTRAPOLATED else colour
        axis.plot(one["seconds"], number, MARKERS[kind], color=colour, markerfacecolor=face, markersize=7)
        times = slowest / one["seconds"]
        away, side = (-8, "right") if times > TO_REACH else (8, "left")  # of the line of what was to be reached
        axis.annotate(
            f"{times:,.0f} ×", (one["seconds"], number), (away, 0), textcoords="offset points", va="center", ha=side,
            fontsize=8,
        )  # fmt: skip
    for kind, marker in MARKERS.items():
        axis.plot([], [], marker, color="0.4", markerfacecolor="white" if kind == EXTRAPOLATED else "0.4", label=kind)
    axis.axvline(slowest / TO_REACH, color="black", linewidth=0.8, linestyle=":", label=f"{TO_REACH} ×, to reach")
    axis.set_yticks(range(len(lines)), list(lines))
    axis.set_xscale("log")
    axis.margins(x=0.2)
    axis.set_xlabel("seconds a profile (numbers: times faster than PRODA's protocol)")
    axis.invert_yaxis()
    legend(figure, axis)
    return figure


STUDY = Study("efficiency", "What does a posterior cost?", cases, page, alone=True)

if __name__ == "__main__":
    main(STUDY)
