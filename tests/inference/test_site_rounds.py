"""Every site by itself: which sites run again, what becomes of one that fails, and options that cannot be."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import binn_prob as bp
from binn_prob.errors import InputError
from binn_prob.inference import SiteNUTS
from binn_prob.models import BINN, SiteModel, at_defaults

pytestmark = pytest.mark.usefixtures("soil_that_costs_nothing")

FREE = ("efolding", "tau4s3", "w-scaling")
POISON = 12345.0
"""Carbon of the first observation of a site whose density is not a number [g C m-3]"""


class Fragile(SiteModel):
    """Fails where it is told to: one model, whose programs are compiled once, serves all tests."""

    def marginal_log_density(self, offsets, profiles):
        density = super().marginal_log_density(offsets, profiles)
        return jnp.where(profiles.soc[:, 0] == POISON, jnp.nan, density)


THREE = Fragile(fixed=at_defaults(FREE))


@pytest.fixture(scope="module")
def sites():
    """With as many observations that all of them are one program."""
    return bp.data.load("synthetic", sites=6, seed=4).isel(observation=slice(8))


@pytest.fixture(scope="module")
def poisoned(sites):
    """A fit of sites of which the fourth has no density."""
    dataset = sites.copy(deep=True)
    dataset["soc"][3, 0] = POISON
    return SiteNUTS(rounds=2, growth=2).fit(jax.random.key(0), THREE, dataset, progress=False)


@pytest.mark.slow
def test_only_sites_that_have_not_converged_run_again(poisoned):
    np.testing.assert_array_equal(poisoned.sample_stats["round"], [1, 1, 1, 2, 1, 1])


@pytest.mark.slow
def test_a_site_that_fails_is_named_and_stops_no_other(poisoned, sites):
    assert not poisoned.verdict.converged
    assert f"1 of {sites.sizes['site']} sites" in str(poisoned.verdict)
    assert str(sites["site"].values[3]) in str(poisoned.verdict)
    others = poisoned.predict(sites.isel(site=[0, 1, 2, 4, 5]))
    assert float(others["posterior/parameters"].sel(parameter="tau4s3").std(("chain", "draw")).min()) > 0.0


@pytest.mark.slow
def test_the_key_determines_every_number(sites):
    method = SiteNUTS(chains=2, warmup=20, draws=20, thinning=1, rounds=1)
    first, second = (method.fit(jax.random.key(3), THREE, sites, progress=False) for _ in range(2))
    np.testing.assert_array_equal(first.draws["offsets"], second.draws["offsets"])
    np.testing.assert_array_equal(first.draws["soc_scale"], second.draws["soc_scale"])


def test_sites_that_share_a_network_are_refused(sites):
    with pytest.raises(InputError, match="share a network"):
        SiteNUTS().fit(jax.random.key(0), BINN(), sites, progress=False)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"chains": 1}, "chains"),
        ({"draws": 0}, "draws"),
        ({"growth": 1}, "growth"),
        ({"target_accept": 1.0}, "target_accept"),
        ({"trajectory": "straight"}, "trajectory"),
        ({"warmup": 3}, "warmup"),
    ],
)
def test_impossible_options_are_named(options, word):
    with pytest.raises(InputError, match=word):
        SiteNUTS(**options)
