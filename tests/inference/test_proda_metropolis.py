"""PRODA's sampler: a correct one with its switches off, and what each switch does to a posterior that is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from jax.scipy.special import ndtr
from numpyro.diagnostics import effective_sample_size

from binn_prob.errors import InputError
from binn_prob.inference import ProdaMetropolis, cube, random_walk
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.models import BINN, NeuralPrior, ProdaLikelihood, SiteModel, StudentTLogSOC

OBSERVED = np.array([[0.3, 0.4], [0.1, 0.9], [0.7, 0.7]])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pairs:
    soc: jax.Array | None

    @property
    def mask(self):
        return jnp.ones((len(self.soc), 2), dtype=bool)

    def without_observations(self):
        return self


@dataclass(frozen=True)
class Square:
    """Two quantities of each site, uniform on the unit square, observed with Gaussian noise, once their sum too."""

    name: ClassVar[str] = "square"
    has_network: ClassVar[bool] = False

    noise: float = 0.3
    """Wide enough for the posterior to reach all faces"""

    def encode(self, dataset):
        return None

    def prepare(self, dataset, encoding):
        return Pairs(jnp.asarray(dataset["soc"].to_numpy()))

    def __call__(self, profiles):
        with numpyro.plate("sites", len(profiles.soc), dim=-1):
            offsets = numpyro.sample("offsets", dist.Normal().expand((2,)).to_event(1))
        unit = numpyro.deterministic("soc_at_depth", ndtr(offsets))
        with numpyro.plate("sites", len(profiles.soc), dim=-2), numpyro.plate("observations", 2, dim=-1):
            numpyro.sample("soc", dist.Normal(unit, self.noise), obs=profiles.soc)
        with numpyro.plate("sites", len(profiles.soc), dim=-1):
            numpyro.sample("sum", dist.Normal(unit.sum(axis=-1), self.noise), obs=profiles.soc.sum(axis=-1))


SITES = xr.Dataset({"soc": (("site", "observation"), OBSERVED)}, coords={"site": ["a", "b", "c"]})
PUBLISHED = ProdaMetropolis(chains=4, exploration=2000, iterations=20_000, draws=2000, adapt_after=1000)
CORRECT = replace(PUBLISHED, annealing=False, truncated_proposals=False, accepted_only=False, best_chain_only=False)
ANNEALED = replace(CORRECT, annealing=True)
TRUNCATED = replace(CORRECT, truncated_proposals=True, step_scale=10.0)
ACCEPTED = replace(CORRECT, accepted_only=True, step_scale=10.0)
BEST = replace(CORRECT, best_chain_only=True)


@cache
def exact(noise=0.3):
    """Mean and standard deviation (site, quantity) by the midpoint rule."""
    axis = (np.arange(400) + 0.5) / 400
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    misfit = ((grid[:, None] - OBSERVED) ** 2).sum(axis=-1) + (grid.sum(-1)[:, None] - OBSERVED.sum(-1)) ** 2
    weight = np.exp(-misfit / (2.0 * noise**2))
    weight /= weight.sum(axis=0)
    mean = np.einsum("gs,gq->sq", weight, grid)
    return mean, np.sqrt(np.einsum("gs,gq->sq", weight, grid**2) - mean**2)


@cache
def fitted(method, noise=0.3):
    return method.fit(jax.random.key(0), Square(noise), SITES, progress=False)


def sampled(method, noise=0.3):
    """Draws of the two quantities (chain, draw, site, quantity)."""
    return np.asarray(ndtr(fitted(method, noise).draws["offsets"]))


def standard_errors(draws):
    """Monte Carlo errors of the mean and the standard deviation of draws from a Markov chain."""
    effective = np.minimum(effective_sample_size(draws), effective_sample_size((draws - draws.mean((0, 1))) ** 2))
    spread = draws.std(axis=(0, 1))
    return spread / np.sqrt(effective), spread / np.sqrt(2.0 * effective)


@pytest.mark.slow
def test_without_its_defects_it_samples_the_posterior():
    draws, (mean, spread) = sampled(CORRECT), exact()
    assert draws.shape == (4, 2000, 3, 2)
    of_mean, of_spread = standard_errors(draws)
    assert of_mean.max() < 0.05 * spread.min()  # sharp enough to see a defect
    assert (np.abs(draws.mean(axis=(0, 1)) - mean) < 4.0 * of_mean).all()
    assert (np.abs(draws.std(axis=(0, 1)) - spread) < 4.0 * of_spread).all()


@pytest.mark.slow
def test_as_published_the_spread_is_too_small():
    draws = sampled(PUBLISHED)
    assert draws.shape == (1, 2000, 3, 2)
    # a Gaussian to the power of 9.2 to 9.9, the second half of the annealing, has a third of its spread
    assert (draws.std(axis=(0, 1)) < 0.6 * sampled(CORRECT).std(axis=(0, 1))).all()


@pytest.mark.long  # each switch is another program
def test_annealing_narrows():
    _, spread = exact()
    assert (sampled(ANNEALED).std(axis=(0, 1)) < 0.6 * spread).all()


@pytest.mark.long
def test_truncated_proposals_keep_away_from_the_faces():
    draws, (mean, _) = sampled(TRUNCATED), exact()
    of_mean, _ = standard_errors(draws)
    away = np.sign(0.5 - OBSERVED[1])  # the site whose quantities lie near opposite corners
    assert (away * (draws.mean(axis=(0, 1)) - mean)[1] > 4.0 * of_mean[1]).all()


@pytest.mark.long
def test_accepted_states_alone_are_too_wide():
    # long steps from within a narrow posterior, which are seldom accepted at its mode and often in its tails
    draws, (_, spread) = sampled(ACCEPTED, noise=0.1), exact(noise=0.1)
    _, of_spread = standard_errors(draws)
    assert (draws.std(axis=(0, 1)) - spread > 4.0 * of_spread).all()


@pytest.mark.long
def test_the_chain_that_is_kept_fits_best():
    every, best = sampled(CORRECT), sampled(BEST)
    error = np.sqrt(((every.mean(axis=1) - OBSERVED) ** 2).mean(axis=-1))  # (chain, site)
    for site, chain in enumerate(error.argmin(axis=0)):
        np.testing.assert_array_equal(best[0, :, site], every[chain, :, site])


@pytest.mark.long
def test_only_markov_chains_are_called_so():
    assert fitted(CORRECT).markov_chain
    assert fitted(TRUNCATED).markov_chain  # one of another distribution
    for method in (PUBLISHED, ANNEALED, BEST):
        assert not fitted(method).markov_chain
    assert not fitted(ACCEPTED, noise=0.1).markov_chain


def test_chains_of_a_bad_acceptance_rate_are_run_again_until_it_is_good():
    wild = replace(CORRECT, step_scale=200.0, iterations=2000, draws=100)
    stays = replace(wild, reruns=0).fit(jax.random.key(0), Square(), SITES, progress=False).sample_stats
    assert (stays["acceptance_rate"] < 0.1).all()
    assert (stays["chains_out_of_bounds"] == 4).all()
    again = replace(wild, reruns=10).fit(jax.random.key(0), Square(), SITES, progress=False).sample_stats
    assert ((again["acceptance_rate"] >= 0.1) & (again["acceptance_rate"] <= 0.5)).all()
    assert (again["chains_out_of_bounds"] == 0).all()


class KilledError(Exception):
    pass


@dataclass(frozen=True)
class Deadly(Checkpoint):
    """Dies at a given save."""

    saves: list[int] | None = None

    def save(self, name, tree):
        super().save(name, tree)
        self.saves[0] -= 1
        if not self.saves[0]:
            raise KilledError


@pytest.mark.long
@pytest.mark.parametrize("saves", [1, 3, 6])  # in the exploration, in the sampling, among the next sites
def test_a_killed_fit_goes_on_to_the_same_draws(saves, tmp_path):
    method = replace(PUBLISHED, exploration=2000, iterations=2500, draws=100, sites_at_once=2, reruns=0)
    whole = method.fit(jax.random.key(0), Square(), SITES, progress=False)
    with pytest.raises(KilledError):
        method.fit(jax.random.key(0), Square(), SITES, progress=False, checkpoint=Deadly(tmp_path, saves=[saves]))
    resumed = method.fit(jax.random.key(0), Square(), SITES, progress=False, checkpoint=Checkpoint(tmp_path))
    np.testing.assert_array_equal(resumed.draws["offsets"], whole.draws["offsets"])


@pytest.mark.parametrize("model", [BINN(hidden=(4,)), NeuralPrior(hidden=(4,))])
def test_sites_that_depend_on_each_other_are_refused(model, split):
    with pytest.raises(InputError, match="share"):
        PUBLISHED.fit(jax.random.key(0), model, split[0], progress=False)


class Angles(Square):
    def __call__(self, profiles):
        with numpyro.plate("sites", len(profiles.soc), dim=-1):
            numpyro.sample("offsets", dist.VonMises(0.0, 1.0).expand((2,)).to_event(1))


def test_a_prior_without_quantiles_is_refused():
    with pytest.raises(InputError, match=r"prior of 'offsets'.*quantiles"):
        PUBLISHED.fit(jax.random.key(0), Angles(), SITES, progress=False)


@pytest.mark.parametrize("likelihood", [StudentTLogSOC(), ProdaLikelihood()])
def test_the_density_on_the_cube_is_that_of_the_model(likelihood, split):
    model = SiteModel(likelihood=likelihood, fixed={"q10": 2.0})
    profiles = model.prepare(split[0])
    size = cube.coordinates(model, profiles, 8)
    assert size == (21 if isinstance(likelihood, StudentTLogSOC) else 20)
    unit = jax.random.uniform(jax.random.key(0), (8, size))
    drawn = cube.latents(model, profiles, unit)
    prior = dist.Normal().log_prob(drawn["offsets"]).sum(axis=-1)
    if "soc_scale" in drawn:
        drawn["soc_scale"] = jnp.log(drawn["soc_scale"])  # the scale on which the model's density is
        prior += dist.Normal(jnp.log(likelihood.scale_median), likelihood.scale_spread).log_prob(drawn["soc_scale"])
    expected = model.log_density(drawn, profiles) - prior
    np.testing.assert_allclose(cube.log_likelihood(model, profiles, unit), expected, rtol=1e-9)


@pytest.mark.parametrize("redrawn", [True, False])
def test_a_box_redrawn_is_the_part_of_it_inside(redrawn):
    position, width = jnp.array([[0.02, 0.5]]), jnp.array([0.2])
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = np.asarray(jax.vmap(lambda key: random_walk.box(key[None], position, width, redrawn)[0])(keys))
    low = 0.0 if redrawn else -0.08
    np.testing.assert_allclose(drawn.min(axis=0), [low, 0.4], atol=0.001)
    np.testing.assert_allclose(drawn.max(axis=0), [0.12, 0.6], atol=0.001)
    expected = np.array([(low + 0.12) / 2, 0.5])
    width = np.array([0.12 - low, 0.2])
    assert (np.abs(drawn.mean(axis=0) - expected) < 4.0 * width / np.sqrt(12 * 4000)).all()


def test_a_gaussian_is_redrawn_as_often_as_allowed():
    position = jnp.full((1, 3), 0.01)
    keys = jax.random.split(jax.random.key(0), 2000)

    def share_inside(redraws):
        propose = jax.vmap(lambda key: random_walk.gaussian(key[None], position, jnp.eye(3)[None] * 0.1, redraws)[0])
        drawn = propose(keys)
        return float(jnp.mean(jnp.all((drawn > 0.0) & (drawn < 1.0), axis=-1)))

    once = ndtr(0.1) ** 3  # 0.16
    for redraws in (0, 1, 10):
        expected = 1.0 - (1.0 - once) ** (redraws + 1)
        assert share_inside(redraws) == pytest.approx(expected, abs=4.0 * np.sqrt(expected * (1 - expected) / 2000))


@pytest.mark.parametrize("share", [1.0, 0.3, 0.02, 0.0])
def test_a_record_holds_evenly_spaced_states(share):
    rng, slots, stride = np.random.default_rng(0), 40, 30
    states = rng.random((300, 2, 1))
    offered = rng.random((300, 2)) < share
    held = random_walk.blank(jnp.full((2, 1), -1.0), slots)
    for first in range(0, 300, stride):
        part = slice(first, first + stride)
        held = random_walk.record(held, jnp.asarray(states[part]), jnp.asarray(offered[part]))
    chosen = np.asarray(random_walk.chosen(held, 5))
    for lane in range(2):
        every = states[offered[:, lane], lane, 0]
        spacing = int(held.spacing[lane])
        kept = every[::spacing] if len(every) else np.array([-1.0])
        assert len(kept) <= slots
        assert spacing == 1 or len(kept) > slots // 2 - stride
        assert np.isin(chosen[lane, :, 0], kept[len(kept) // 2 :]).all()
        if len(kept) >= 10:
            places = [list(kept).index(value) for value in chosen[lane, :, 0]]
            assert np.ptp(np.diff(places)) <= 1


def test_the_covariance_is_that_of_all_positions():
    positions = jax.random.uniform(jax.random.key(0), (50, 1, 3))
    walk = random_walk.start(positions[0], jnp.zeros(1))

    for number, position in enumerate(positions, start=1):  # each denser than the one before: none is rejected
        walk, moved = random_walk.step(
            walk, jax.random.split(jax.random.key(1), 1), lambda unit, to=number: jnp.array([1e3 * to]),
            lambda keys, walk, to=position: to, annealing=False,
        )  # fmt: skip
        assert moved.all()
    factor = random_walk.adapted(walk, walk, jnp.array([2.0])).factor[0]
    expected = 2.0 / 3.0 * np.cov(np.asarray(positions[:, 0]).T)
    np.testing.assert_allclose(factor @ factor.T, expected, rtol=1e-6)
