"""Solve a table of soil columns with 120 digits and keep them in ``data/exact_columns.npz``.

Run it as ``python tests/clm5/make_exact_columns.py`` (about a minute).  It shares nothing with binn_prob: tables,
formulas and elimination are written out here once more, element by element, so that a slip has to be made twice to pass
unnoticed.

With decomposition down to 1e-46 per day next to mixing of 1e-4 per day, plain elimination loses some forty digits, and
the central differences below another thirty; 120 digits leave plenty.

Notation: depths in m, time in days; j numbers layers from 0; the bedrock layer is the number of soil layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mpmath import mp, mpf

mp.dps = 120

FILE = Path(__file__).with_name("data") / "exact_columns.npz"
STEP = mpf("1e-30")  # of the derivatives, relative to the width of the range
LAYERS, POOLS, MONTHS, YEAR = 20, 7, 12, 365
CWD, L1, L2, L3, S1, S2, S3 = range(POOLS)
FLOOR = mpf("1e-30")  # diffusivity and advection that the published programs use in place of zero
COLUMNS = ("closed", "published")

RANGES = (
    ("diffus", 3e-5, 5e-4), ("cryo", 3e-5, 1.6e-3), ("q10", 1.2, 3.0), ("efolding", 0.1, 1.0), ("taucwd", 1.0, 6.0),
    ("taul1", 1e-4, 0.11), ("taul2", 0.1, 0.3), ("tau4s1", 1e-4, 0.5), ("tau4s2", 1.0, 10.0), ("tau4s3", 20.0, 400.0),
    ("fl1s1", 0.1, 0.8), ("fl2s1", 0.2, 0.8), ("fl3s2", 0.2, 0.8), ("fs1s2", 1e-4, 0.4), ("fs1s3", 1e-4, 0.1),
    ("fs2s1", 0.1, 0.74), ("fs2s3", 1e-4, 0.1), ("fs3s1", 1e-4, 0.9), ("fcwdl2", 0.5, 1.0), ("w-scaling", 1e-4, 5.0),
    ("beta", 0.5, 0.9999),
)  # fmt: skip
NAMES = tuple(name for name, _, _ in RANGES)

# Thickness of layers 0 to 20; the last one only serves for the distance to its node.
CENTIMETRES = (2, 4, 6, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 54, 64, 74, 84, 94, 104, 114, 239)
DZ = [mpf(thickness) / 100 for thickness in CENTIMETRES]
ZI = [sum(DZ[: j + 1], mpf(0)) for j in range(LAYERS + 1)]  # lower interface
ZS = [ZI[j] - DZ[j] / 2 for j in range(LAYERS + 1)]  # node


# --- the table of columns ---------------------------------------------------------------------------------------------


class Case(NamedTuple):
    name: str
    bedrock: int
    thaw: float | Sequence[float]  # active layer of the year [m]
    thaw_last_year: float | Sequence[float]
    unit: object = None  # unit parameters: one number for all, or some by name; the rest is drawn at random
    coldest: float = 268.0  # [K]
    warmest: float = 298.0


VARYING = (0.0, 0.0, 0.3, 0.9, 1.9, 2.0, 2.5, 2.9, 3.0, 42.0, 1.2, 0.0)
LAST = (0.0, 0.5, 0.0, 1.1, 0.7, 2.0, 1.0, 0.0, 42.0, 5.0, 2.2, 0.0)
CORNER = {"efolding": 0.0, "beta": 1.0}  # the slowest decomposition at depth, and the most litter there

CASES = (
    Case("one soil layer", 1, 42.0, 42.0),
    Case("one soil layer, cryoturbation", 1, 0.5, 0.5, 0.0),
    Case("low ends", 8, 42.0, 42.0, 0.0),
    Case("high ends", 12, 42.0, 42.0, 1.0),
    Case("middle of the ranges", 19, 2.5, 0.0, 0.5),
    Case("no bedrock", 20, 42.0, 42.0),
    Case("no bedrock, low ends", 20, 42.0, 42.0, 0.0),
    Case("never thawed", 20, 0.0, 0.0),
    Case("shallow thaw, high ends", 12, 0.5, 0.5, 1.0),
    Case("shallow thaw, frozen soil", 19, 0.5, 0.2, None, 238.0, 272.0),
    Case("thaw of exactly two metres", 20, 2.0, 1.0),
    Case("thaw varies by month", 8, VARYING, LAST),
    Case("thaw varies by month, no bedrock", 20, VARYING, LAST, {"efolding": 0.0}),
    Case("slow at depth", 8, 42.0, 42.0, CORNER),
    Case("slow at depth, no bedrock", 20, 42.0, 42.0, CORNER),
    Case("slow at depth, frozen soil", 12, 2.5, 2.0, CORNER, 238.0, 272.0),
)


def parameters_of(case: Case, generator: np.random.Generator) -> np.ndarray:
    """Physical parameters (parameter,) as float64."""
    units = generator.uniform(0.05, 0.95, len(NAMES))
    if isinstance(case.unit, dict):
        for name, value in case.unit.items():
            units[NAMES.index(name)] = value
    elif case.unit is not None:
        units[:] = case.unit
    low, high = np.array([row[1:] for row in RANGES]).T
    return np.where(units == 1.0, high, low + units * (high - low))


def forcing_of(case: Case, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Forcing with few digits, so that the file compresses."""
    season = -np.cos(2 * np.pi * (np.arange(MONTHS) - 0.5) / MONTHS)
    damping = np.exp(-np.array(ZS[:LAYERS], dtype=float) / 2.0)[:, None]
    mean, half_range = (case.coldest + case.warmest) / 2, (case.warmest - case.coldest) / 2
    shape = (LAYERS, MONTHS)
    return {
        "soil_temperature": np.round(mean + damping * half_range * season + generator.normal(0, 0.5, shape), 2),
        # three thousandths keep it off the kink of min(1, 5 W)
        "water_scalar": np.round(generator.uniform(0.05, 0.99, shape), 2) + 0.003,
        "oxygen_scalar": np.round(generator.uniform(0.5, 1.0, shape), 2),
        "nitrogen_scalar": np.round(generator.uniform(0.05, 1.0, shape), 2),
        "litter_input": np.round(generator.uniform(0.0, 30.0, (4, MONTHS)), 2),
        "active_layer_depth": np.broadcast_to(np.asarray(case.thaw, float), (MONTHS,)),
        "active_layer_depth_last_year": np.broadcast_to(np.asarray(case.thaw_last_year, float), (MONTHS,)),
        "bedrock_layer": np.array(case.bedrock),
    }


# --- the equations ----------------------------------------------------------------------------------------------------


def decomposition(p: dict[str, mpf], forcing: dict[str, np.ndarray]) -> list[list[mpf]]:
    """Decomposition rate of each pool in each layer, and in row 7 the mean of the scalars that act on soil pools."""
    tau = [p["taucwd"], p["taul1"], p["taul2"], p["taul2"], p["tau4s1"], p["tau4s2"], p["tau4s3"]]
    rate = [[mpf(0)] * LAYERS for _ in range(POOLS + 1)]
    for j in range(LAYERS):
        soil = litter = mpf(0)
        for m in range(MONTHS):
            t = p["q10"] ** ((mpf(float(forcing["soil_temperature"][j, m])) - mpf("298.15")) / 10)
            w = min(mpf(1), p["w-scaling"] * mpf(float(forcing["water_scalar"][j, m])))
            product = t * w * mpf(float(forcing["oxygen_scalar"][j, m]))
            soil += product / MONTHS
            litter += product * mpf(float(forcing["nitrogen_scalar"][j, m])) / MONTHS
        depth = mp.exp(-ZS[j] / p["efolding"])
        for pool in range(POOLS):
            rate[pool][j] = depth * (litter if pool in (L1, L2, L3) else soil) / (YEAR * tau[pool])
        rate[POOLS][j] = depth * soil
    return rate


def diffusivity(j: int, thaw: mpf, bedrock: int, p: dict[str, mpf]) -> mpf:
    """Diffusivity at the lower interface of layer j [m2 day-1]."""
    if j > bedrock or thaw <= 0:
        return mpf(0)
    if thaw > 2:
        return p["diffus"] / YEAR
    if ZI[j] < thaw:
        return p["cryo"] / YEAR
    if ZI[j] <= 3:
        return max(mpf(0), p["cryo"] / YEAR * (1 - (ZI[j] - thaw) / (3 - thaw)))
    return mpf(0)


def conductance(j: int, upper: mpf, lower: mpf) -> mpf:
    """Conductance between the nodes of layers j and j + 1 [m day-1]."""
    if upper == 0 or lower == 0:
        return mpf(0)
    distance = ZS[j + 1] - ZS[j]
    weight = (ZS[j + 1] - ZI[j]) / distance
    return 1 / ((1 - weight) / upper + weight / lower) / distance


def mixing(p: dict[str, mpf], forcing: dict[str, np.ndarray], column: str) -> tuple[list[mpf], list[mpf]]:
    """Annual mean exchange rates of each layer with the layers above and below [day-1].

    In the published column the power law of Patankar is left out: it is 1 but where nothing but the floors mixes.
    """
    bedrock = int(forcing["bedrock_layer"])
    above, below = [mpf(0)] * LAYERS, [mpf(0)] * LAYERS
    for m in range(MONTHS):
        depths = forcing["active_layer_depth"][m], forcing["active_layer_depth_last_year"][m]
        d = [diffusivity(j, mpf(float(max(depths))), bedrock, p) for j in range(LAYERS + 1)]
        if column == "published":
            d = [max(value, FLOOR) for value in d]
        g = [conductance(j, d[j], d[j + 1]) for j in range(LAYERS)]
        if column == "closed":
            g = [g[j] if j < bedrock - 1 else mpf(0) for j in range(LAYERS)]
        for j in range(LAYERS):
            up = g[j - 1] if j > 0 else mpf(0)
            down = up if column == "published" and j >= bedrock else g[j]
            advection = FLOOR if column == "published" and j > 0 else mpf(0)
            above[j] += (up + advection) / DZ[j] / MONTHS
            below[j] += down / DZ[j] / MONTHS if j < LAYERS - 1 else mpf(0)
    return above, below


def litter(p: dict[str, mpf], forcing: dict[str, np.ndarray], column: str) -> list[list[mpf]]:
    """Litter input of the first four pools [g C m-3 day-1], pool by layer."""
    layers = int(forcing["bedrock_layer"]) if column == "closed" else LAYERS
    if sum(forcing["active_layer_depth_last_year"]) > 0:
        share = [p["beta"] ** (100 * (ZI[j] - DZ[j])) - p["beta"] ** (100 * ZI[j]) for j in range(layers)]
    else:
        share = [mpf(1)]
    share += [mpf(0)] * (LAYERS - len(share))
    total = [sum(mpf(float(value)) for value in forcing["litter_input"][q]) / YEAR for q in range(4)]
    return [[total[q] * share[j] / sum(share) / DZ[j] for j in range(LAYERS)] for q in range(4)]


def transfers(p: dict[str, mpf]) -> dict[tuple[int, int], mpf]:
    """Transfer fractions by (donor, receiver)."""
    return {
        (CWD, L2): p["fcwdl2"], (CWD, L3): 1 - p["fcwdl2"],
        (L1, S1): p["fl1s1"], (L2, S1): p["fl2s1"], (L3, S2): p["fl3s2"],
        (S1, S2): p["fs1s2"], (S1, S3): p["fs1s3"], (S2, S1): p["fs2s1"], (S2, S3): p["fs2s3"], (S3, S1): p["fs3s1"],
    }  # fmt: skip


# --- the system and its solution --------------------------------------------------------------------------------------

Rows = list[dict[int, mpf]]


def assemble(p: dict[str, mpf], forcing: dict[str, np.ndarray], column: str) -> tuple[Rows, list[mpf]]:
    """Rows of V - A K as {column: value}, and the litter input; state index 7 * layer + pool."""
    rate, (above, below), source = decomposition(p, forcing), mixing(p, forcing, column), litter(p, forcing, column)
    rows: Rows = [{} for _ in range(LAYERS * POOLS)]
    right = [mpf(0)] * (LAYERS * POOLS)

    def add(pool: int, j: int, from_pool: int, from_j: int, value: mpf) -> None:
        row = rows[POOLS * j + pool]
        row[POOLS * from_j + from_pool] = row.get(POOLS * from_j + from_pool, mpf(0)) + value

    layers = int(forcing["bedrock_layer"]) if column == "closed" else LAYERS
    for j in range(LAYERS):
        for pool in range(POOLS):
            add(pool, j, pool, j, rate[pool][j] if j < layers else mpf(1))
            if pool != CWD:
                add(pool, j, pool, j, above[j] + below[j])
                if above[j]:
                    add(pool, j, pool, j - 1, -above[j])
                if below[j]:
                    add(pool, j, pool, j + 1, -below[j])
            if pool <= L3:
                right[POOLS * j + pool] = source[pool][j]
        for (donor, receiver), value in transfers(p).items():
            add(receiver, j, donor, j, -value * rate[donor][j])
    return rows, right


def eliminate(rows: Rows, right: list[mpf]) -> list[mpf]:
    """Gauss elimination without pivoting: the columns of the matrix are diagonally dominant, or next to it."""
    rows, right = [dict(row) for row in rows], list(right)
    for i, pivot_row in enumerate(rows):
        for below in range(i + 1, min(i + 2 * POOLS, len(rows))):
            if i in rows[below]:
                factor = rows[below].pop(i) / pivot_row[i]
                for k, value in pivot_row.items():
                    if k > i:
                        rows[below][k] = rows[below].get(k, mpf(0)) - factor * value
                right[below] -= factor * right[i]
    solution = [mpf(0)] * len(rows)
    for i in reversed(range(len(rows))):
        solution[i] = (right[i] - sum(value * solution[k] for k, value in rows[i].items() if k > i)) / rows[i][i]
    return solution


def exact_pools(p: dict[str, mpf], forcing: dict[str, np.ndarray], column: str) -> list[list[mpf]]:
    """Pools [g C m-3], pool by layer."""
    solution = eliminate(*assemble(p, forcing, column))
    return [[solution[POOLS * j + pool] for j in range(LAYERS)] for pool in range(POOLS)]


def exact_gradient(p: dict[str, mpf], forcing: dict[str, np.ndarray], column: str) -> list[list[mpf]]:
    """Derivatives of log SOC by the unit parameters, layer by parameter; 0 where there is no carbon."""
    by_parameter = []
    for name, low, high in RANGES:
        step = STEP * (mpf(high) - mpf(low))
        sides = []
        for sign in (1, -1):
            pools = exact_pools({**p, name: p[name] + sign * step}, forcing, column)
            soc = [sum(pools[pool][j] for pool in (S1, S2, S3)) for j in range(LAYERS)]
            sides.append([mp.log(carbon) if carbon else mpf(0) for carbon in soc])
        by_parameter.append([(plus - minus) / (2 * STEP) for plus, minus in zip(*sides, strict=True)])
    return [list(row) for row in zip(*by_parameter, strict=True)]


def exact_processes(
    p: dict[str, mpf], forcing: dict[str, np.ndarray], column: str, pools: list[list[mpf]]
) -> list[mpf]:
    """The six processes by their corrected formulas."""
    rate, (above, below) = decomposition(p, forcing), mixing(p, forcing, column)
    tau = [p["taucwd"], p["taul1"], p["taul2"], p["taul2"], p["tau4s1"], p["tau4s2"], p["tau4s3"]]
    soc = [(pools[S1][j] + pools[S2][j] + pools[S3][j]) * DZ[j] for j in range(LAYERS)]
    stock = [sum(pools[pool][j] * DZ[j] for j in range(LAYERS)) for pool in range(POOLS)]
    decomposed = [sum(rate[pool][j] * pools[pool][j] * DZ[j] for j in range(LAYERS)) for pool in range(POOLS)]
    passed_on = sum(value * decomposed[donor] for (donor, _), value in transfers(p).items() if donor != CWD)
    return [
        sum(mpf(float(value)) for value in forcing["litter_input"].ravel()),
        passed_on / sum(decomposed[1:]),
        sum(stock[pool] / tau[pool] for pool in range(POOLS)) / sum(stock),
        sum(rate[POOLS][j] * soc[j] for j in range(LAYERS)) / sum(soc),
        p["beta"],
        YEAR * sum((above[j] + below[j]) * soc[j] for j in range(LAYERS)) / sum(soc),
    ]


def main() -> None:
    stored: dict[str, list[object]] = {"name": [], "parameters": []}
    for number, case in enumerate(CASES):
        generator = np.random.default_rng(number)
        values, forcing = parameters_of(case, generator), forcing_of(case, generator)
        stored["name"].append(case.name)
        stored["parameters"].append(values)
        for key, array in forcing.items():
            stored.setdefault(key, []).append(array)
        p = {name: mpf(float(value)) for name, value in zip(NAMES, values, strict=True)}
        for column in COLUMNS:
            pools = exact_pools(p, forcing, column)
            stored.setdefault(f"pools_{column}", []).append(np.array(pools, dtype=float))
            gradient = np.array(exact_gradient(p, forcing, column), dtype=float)
            stored.setdefault(f"gradient_{column}", []).append(gradient)
            processes = np.array(exact_processes(p, forcing, column, pools), dtype=float)
            stored.setdefault(f"processes_{column}", []).append(processes)
        print(case.name)  # noqa: T201
    np.savez_compressed(FILE, **{key: np.array(values) for key, values in stored.items()})


if __name__ == "__main__":
    main()
