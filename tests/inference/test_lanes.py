"""Many small posteriors at once: each lane against the Gaussian that it should draw from."""

from __future__ import annotations

from dataclasses import dataclass

import arviz_stats
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import binn_prob as bp
from binn_prob.inference.lanes import Course, Lanes, advance, sharing_devices, whitened
from binn_prob.inference.site_groups import SiteGroups, groups
from binn_prob.models import SiteModel
from binn_prob.sharding import site_mesh

pytestmark = pytest.mark.slow

SITES, CHAINS, LATENTS = 5, 4, 3


@dataclass(frozen=True)
class Gaussians:
    """Independent Gaussian posteriors; at some sites the density is not a number."""

    broken: int | None = None

    def marginal_log_density(self, offsets, profiles):
        deviation = offsets - profiles["mean"]
        density = -0.5 * jnp.einsum("li,lij,lj->l", deviation, profiles["precision"], deviation)
        return density if self.broken is None else jnp.where(profiles["site"] == self.broken, jnp.nan, density)


@pytest.fixture(scope="module")
def target():
    """Means and covariances of every site: some strongly correlated, scales from 0.01 to 1."""
    random = np.random.default_rng(3)
    factors = random.normal(size=(SITES, LATENTS, LATENTS)) * np.geomspace(0.01, 1.0, LATENTS)[:, None]
    return random.normal(size=(SITES, LATENTS)), factors @ factors.transpose(0, 2, 1)


def read(target):
    """What the model reads, lane by lane, with the axis of one device in front."""
    mean, covariance = target
    profiles = {"mean": mean, "precision": np.linalg.inv(covariance), "site": np.arange(SITES)}
    return {name: jnp.repeat(jnp.asarray(values), CHAINS, axis=0)[None] for name, values in profiles.items()}


def run(model, target, trajectory="jittered", draws=500):
    """Warm up in three windows, then draw: position (draw, site, chain, latent), and the whole record."""
    profiles, key = read(target), jax.random.key(5)
    start = Lanes.at(jax.random.normal(jax.random.key(1), (SITES, CHAINS, LATENTS)))
    lanes = jax.tree.map(lambda leaf: leaf[None], start)
    for window in range(3):
        keys = jax.random.split(jax.random.fold_in(key, window), 1)
        lanes, record = advance(model, Course(100, adapt=True, trajectory=trajectory), keys, lanes, profiles, 1)
        lanes = jax.vmap(whitened)(lanes, record.position[:, 30:])
    course = Course(draws, adapt=False, trajectory=trajectory)
    lanes, record = advance(model, course, jax.random.split(key, 1), lanes, profiles, 2)
    return jax.tree.map(lambda leaf: np.asarray(leaf[0]), record)


@pytest.mark.parametrize("trajectory", [pytest.param("jittered", marks=pytest.mark.long), "nuts"])
def test_every_site_has_its_own_posterior(target, trajectory):
    mean, covariance = target
    record = run(Gaussians(), target, trajectory)
    assert not record.diverging.any()
    assert 0.7 < record.acceptance.mean() <= 1.0
    for site in range(SITES):
        draws = record.position[:, site].transpose(1, 0, 2)
        for latent in range(LATENTS):
            one = draws[..., latent]
            error = arviz_stats.mcse(one, method="mean")
            assert abs(one.mean() - mean[site, latent]) < 5.0 * error
            spread_error = arviz_stats.mcse(one, method="sd")
            assert abs(one.std() - np.sqrt(covariance[site, latent, latent])) < 5.0 * spread_error


def log_densities(position, target):
    """Log densities (draw, site, chain) of Gaussians at positions (draw, site, chain, latent)."""
    deviation = position - target[0][:, None]
    return -0.5 * np.einsum("dsci,sij,dscj->dsc", deviation, np.linalg.inv(target[1]), deviation)


def test_a_site_without_a_density_stands_still_and_stops_no_other(target):
    record = run(Gaussians(broken=2), target)
    still = record.position[:, 2]
    assert (still == still[0]).all()
    others = np.delete(record.position, 2, axis=1)
    np.testing.assert_allclose(others.mean(axis=(0, 2)), np.delete(target[0], 2, axis=0), atol=0.2)
    assert (others.std(axis=0) > 0.0).all()


@dataclass(frozen=True)
class Cliff:
    """A standard Gaussian that falls beyond all limits where the first latent number is above 3."""

    def marginal_log_density(self, offsets, profiles):
        del profiles
        steep = jnp.exp(60.0 * jnp.maximum(offsets[:, 0] - 3.0, 0.0)) - 1.0
        return -0.5 * jnp.sum(offsets**2, axis=1) - steep


def test_a_chain_that_starts_out_of_reach_does_not_stop_its_site():
    """One step size serves all chains of a site; without a nearer start it falls to 1e-30, and no chain moves."""
    start = np.array(jax.random.normal(jax.random.key(1), (SITES, CHAINS, LATENTS)))
    start[2, 1, 0] = 6.0  # log density -1e78
    lanes = jax.tree.map(lambda leaf: leaf[None], Lanes.at(jnp.asarray(start)))
    keys = jax.random.split(jax.random.key(5), 1)
    lanes, record = advance(Cliff(), Course(200, adapt=True), keys, lanes, {}, 1)
    position = np.asarray(record.position[0])
    assert (np.asarray(lanes.step_size) > 0.05).all()
    assert (position[100:].std(axis=0) > 0.3).all()
    assert (position[100:, 2, 1, 0] < 3.5).all()


def test_the_same_key_gives_the_same_draws(target):
    first, second = (run(Gaussians(), target, draws=20).position for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_mesh_in_use_changes_nothing(target):
    """Lanes share their sites out by themselves."""
    alone = run(Gaussians(), target, draws=20).position
    with jax.set_mesh(site_mesh()):
        shared = run(Gaussians(), target, draws=20).position
    np.testing.assert_array_equal(alone, shared)


def test_energy_is_followed_between_the_draws_that_are_kept(target):
    """Of the same 40 iterations all are kept, or every fourth: the changes of energy are those of one iteration.

    Steps so long that many proposals are rejected, whose energies do not count.
    """
    mean, covariance = map(jnp.asarray, target)
    start = Lanes.at(jnp.repeat(mean[:, None], CHAINS, axis=1), step_size=1.8)
    start = start._replace(centre=mean, factor=jnp.linalg.cholesky(covariance))
    lanes = jax.tree.map(lambda leaf: leaf[None], start)
    keys = jax.random.split(jax.random.key(2), 1)
    every, fourth = (
        advance(Gaussians(), Course(draws, adapt=False), keys, lanes, read(target), thinning)
        for draws, thinning in ((40, 1), (10, 4))
    )
    densities = log_densities(every[1].position[0], target)
    kinetic = np.asarray(every[1].energy[0])[1:] + densities[:-1]  # half the square of the new momentum
    assert (kinetic > 0.0).all()
    error = np.sqrt(0.5 * LATENTS / kinetic.size)
    assert abs(kinetic.mean() - 0.5 * LATENTS) < 4.0 * error
    energy, change = np.asarray(every[1].energy[0]), np.asarray(every[1].squared_energy_change[0])
    np.testing.assert_array_equal(energy[3::4], fourth[1].energy[0])
    assert (change[0] == 0.0).all()  # before the first there is none
    np.testing.assert_allclose(change[1:], np.diff(energy, axis=0) ** 2, rtol=1e-9, atol=1e-12)
    by_draw = change.reshape(10, 4, SITES, CHAINS).mean(axis=1)
    np.testing.assert_allclose(fourth[1].squared_energy_change[0], by_draw, rtol=1e-9)


def test_shares_do_not_depend_on_where_they_run(target):
    """Two of them on the one device that there is, and one after the other."""
    start = jax.random.normal(jax.random.key(1), (2, SITES, CHAINS, LATENTS))
    keys = jax.random.split(jax.random.key(2), 2)
    lanes = jax.vmap(Lanes.at)(start)
    profiles = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), read(target))
    course = Course(20, adapt=True)

    def ran(shares):
        given = jax.tree.map(lambda leaf: leaf[shares], (keys, lanes, profiles))
        return jax.tree.leaves(advance(Gaussians(), course, *given, 1))

    for both, first, second in zip(ran(slice(2)), ran(slice(1)), ran(slice(1, 2)), strict=True):
        np.testing.assert_allclose(both, jnp.concatenate([first, second]), rtol=1e-9, atol=1e-12)


def test_covariance_is_learnt_from_all_chains(target):
    mean, covariance = target
    random = np.random.default_rng(0)
    draws = np.stack(
        [random.multivariate_normal(mean[site], covariance[site], (2000, CHAINS)) for site in range(SITES)], axis=1
    )
    lanes = whitened(Lanes.at(jnp.zeros((SITES, CHAINS, LATENTS))), jnp.asarray(draws))
    deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    found = np.asarray(lanes.factor @ lanes.factor.transpose(0, 2, 1)) / deviation[:, :, None] / deviation[:, None, :]
    wanted = covariance / deviation[:, :, None] / deviation[:, None, :]
    np.testing.assert_allclose(found, wanted, atol=5.0 * np.sqrt(2.0 / 8000) + 30.0 / 8030)
    np.testing.assert_allclose((lanes.centre - mean) / deviation, 0.0, atol=5.0 / np.sqrt(8000))


@pytest.mark.parametrize(("shares", "devices", "useful"), [(2, 1, 1), (2, 3, 2), (4, 6, 4), (6, 4, 3), (5, 4, 1)])
def test_devices_have_equally_many_shares(shares, devices, useful):
    assert sharing_devices(shares, devices) == useful


@given(sites=st.integers(1, 300), shares=st.integers(1, 5), at_once=st.integers(1, 70))
def test_groups_hold_every_site_once(sites, shares, at_once):
    given_sites = np.random.default_rng(sites).permutation(sites)
    divided = list(groups(given_sites, shares, at_once))
    np.testing.assert_array_equal(np.concatenate([some for some, _ in divided]), given_sites)
    shapes = {group.shape for _, group in divided}
    ((share, width),) = shapes
    assert share == shares
    assert width <= at_once
    assert width & (width - 1) == 0
    for some, group in divided:
        np.testing.assert_array_equal(group.ravel()[: len(some)], some)


def test_shares_read_arrays_of_one_shape_whatever_their_sites_have_observed():
    sites = bp.data.load("synthetic", sites=4, seed=0)
    few = sites["soc"].where((sites["site"] != sites["site"][0]) | (sites["observation"] < 2))
    held = SiteGroups(SiteModel(), sites.assign(soc=few), CHAINS)
    group = np.arange(4).reshape(4, 1)
    assert held.observations[0] == 2 < held.observations[1:].min()
    profiles = held._profiles(group)
    assert profiles.soc.shape[:2] == (4, CHAINS)
    for site in range(4):
        alone = held.model.prepare(sites.assign(soc=few).isel(site=[site]), None)
        width = min(profiles.soc.shape[2], alone.soc.shape[1])
        np.testing.assert_array_equal(profiles.mask[site, 0, :width], alone.mask[0, :width])
        np.testing.assert_array_equal(profiles.depth[site, 0, :width], alone.depth[0, :width])
