"""Every method, killed after any of its saves and started again, gives the draws that it gives undisturbed."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest

from binn_prob.inference import METHODS, NUTS, SGHMC, VI, DeepEnsemble, Laplace, MCDropout, ProdaMetropolis, SiteNUTS
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.models import BINN, SiteModel
from binn_prob.results import convergence

pytestmark = pytest.mark.usefixtures("soil_that_costs_nothing")

SMALL = BINN(hidden=(4,))
CASES = {
    # method, model, how many saves the killed process lives to make
    "mc_dropout": (MCDropout(draws=8, steps=1200), SMALL, 1),
    "deep_ensemble": (DeepEnsemble(members=2, steps=1200), SMALL, 1),
    "laplace": (Laplace(draws=8, steps=1200), SMALL, 1),
    "vi": (VI(draws=8, steps=1200), SMALL, 1),
    "nuts": (NUTS(chains=2, warmup=30, draws=20, max_tree_depth=4, start_steps=100), SMALL, 30),
    "sghmc": (SGHMC(chains=2, warmup=10, draws=30, thinning=3, start_steps=100, batch_sites=2), SMALL, 30),
    "proda_metropolis": (
        ProdaMetropolis(exploration=400, iterations=600, adapt_after=200, draws=20, sites_at_once=2, reruns=0),
        SiteModel(),
        3,
    ),
    "site_nuts": (SiteNUTS(warmup=20, draws=20, thinning=1, rounds=2, growth=2, sites_at_once=2), SiteModel(), 5),
}


class Killed(BaseException):
    """Stands for a signal."""


class Mortal(Checkpoint):
    """Dies when it has saved ``life`` times."""

    life = 0
    saves = 0

    def save(self, name, tree):
        if Mortal.life == 0:
            raise Killed
        Mortal.life -= 1
        Mortal.saves += 1
        super().save(name, tree)


ELSEWHERE = {"mc_dropout", "vi", "deep_ensemble", "laplace", "nuts", "site_nuts"}
"""Those that save in the one loop of training, or in that of chains, as ``sghmc`` does, and those that
tests/test_resume.py kills, ``mc_dropout`` and ``laplace`` among them."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in ELSEWHERE else ()) for name in CASES]
)
def test_a_killed_fit_goes_on_to_the_same_draws(name, split, tmp_path):
    method, model, life = CASES[name]
    key, sites = jax.random.key(1), split[0].isel(site=slice(4))

    def fit(folder, life):
        Mortal.life, Mortal.saves = life, 0
        return method.fit(key, model, sites, progress=False, checkpoint=Mortal(tmp_path / folder))

    whole = fit("whole", math.inf)
    saves = Mortal.saves
    with pytest.raises(Killed):
        fit("killed", life)
    resumed = fit("killed", math.inf)
    assert 0 < Mortal.saves < saves  # it has not started again
    for site, values in whole.draws.items():
        np.testing.assert_array_equal(resumed.draws[site], values)
    for statistic, values in whole.sample_stats.items():
        np.testing.assert_array_equal(resumed.sample_stats[statistic], values)
    assert whole.verdict == convergence.verdict(resumed.posterior())


def test_every_method_is_tested():
    assert set(CASES) == set(METHODS)
