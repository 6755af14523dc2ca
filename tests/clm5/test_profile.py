"""From pools to soil organic carbon at any depth."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from binn_prob.clm5 import LAYERS, NODE_DEPTH, at_depth, soil_organic_carbon

NODES = NODE_DEPTH[:LAYERS]
SOC = np.random.default_rng(0).uniform(1e3, 1e5, (3, LAYERS))


def test_soil_organic_carbon_leaves_litter_out() -> None:
    pools = np.arange(2.0 * 7 * LAYERS).reshape(2, 7, LAYERS)
    np.testing.assert_array_equal(soil_organic_carbon(pools), pools[:, 4:].sum(axis=1))


def test_nodes_are_exact() -> None:
    np.testing.assert_array_equal(at_depth(SOC, np.tile(NODES, (3, 1))), SOC)


def test_linear_between_nodes_and_constant_outside() -> None:
    depth = np.tile(np.concatenate([[0.0, 0.005], np.linspace(0.01, 8.03, 97), [8.04, 12.3]]), (3, 1))
    expected = [np.interp(row, NODES, soc) for row, soc in zip(depth, SOC, strict=True)]
    np.testing.assert_allclose(at_depth(SOC, depth), expected, rtol=1e-13)


@pytest.mark.parametrize("bedrock", [1, 2, 8, 19, 20])
def test_last_soil_node_is_the_last_one(bedrock: int) -> None:
    """Nothing below bedrock enters, whatever stands there."""
    depth = np.tile(np.linspace(0.0, 10.0, 101), (3, 1))
    soc = np.where(np.arange(LAYERS) < bedrock, SOC, 1e30)
    got = at_depth(soc, depth, np.full(3, bedrock))
    expected = [np.interp(row, NODES[:bedrock], values[:bedrock]) for row, values in zip(depth, soc, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_bedrock_of_each_site() -> None:
    got = at_depth(SOC, np.full((3, 1), 5.0), np.array([1, 4, 20]))
    np.testing.assert_allclose(got[:2, 0], [SOC[0, 0], SOC[1, 3]])
    np.testing.assert_allclose(got[2, 0], np.interp(5.0, NODES, SOC[2]))


def test_leading_axes() -> None:
    draws = np.stack([SOC, 2 * SOC])[:, None]
    depth = np.array([[0.1, 0.7], [0.0, 9.0], [3.3, 2.2]])
    got = at_depth(draws, depth)
    assert got.shape == (2, 1, 3, 2)
    np.testing.assert_allclose(got[1, 0], 2 * at_depth(SOC, depth), rtol=1e-15)


def test_padding_stays_missing() -> None:
    depth = np.array([[0.1, np.nan], [np.nan, np.nan], [0.3, 0.5]])
    np.testing.assert_array_equal(np.isnan(at_depth(SOC, depth)), np.isnan(depth))


@pytest.mark.parametrize("bedrock", [None, np.array([1, 20, 7])])
def test_padding_has_no_gradient(bedrock: np.ndarray | None) -> None:
    depth = np.array([[0.1, np.nan, np.nan], [np.nan, np.nan, np.nan], [0.005, 0.5, 11.0]])
    observed = ~np.isnan(depth)

    def loss(soc: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(observed, jnp.log(at_depth(soc, depth, bedrock)), 0.0))

    gradient = np.asarray(jax.grad(loss)(jnp.asarray(SOC)))
    assert np.isfinite(gradient).all()
    assert (gradient[1] == 0).all()
    assert (gradient[[0, 2]].sum(axis=1) > 0).all()
    tangent = jax.jvp(lambda soc: at_depth(soc, depth, bedrock), (jnp.asarray(SOC),), (jnp.ones_like(SOC),))[1]
    np.testing.assert_allclose(np.asarray(tangent)[observed], 1.0, rtol=1e-15)
    assert np.isfinite(np.asarray(tangent)).all()
