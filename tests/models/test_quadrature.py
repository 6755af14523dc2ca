"""Integrals and draws of densities that are known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from binn_prob.models import quadrature

CENTRES = np.array([-30.0, 0.0, 2.0, 100.0])
WIDTHS = np.array([0.01, 1.0, 30.0, 0.3])
LOW, HIGH = jnp.full(4, -200.0), jnp.full(4, 250.0)


def gaussian(points, data):
    centre, width, log_mass = data
    return -0.5 * ((points - centre[:, None]) / width[:, None]) ** 2 + log_mass[:, None]


def logistic(points, data):
    standard = (points - data[0][:, None]) / data[1][:, None]
    return -standard - 2.0 * jax.nn.softplus(-standard) + data[2][:, None]


DENSITIES = {"gaussian": (gaussian, np.sqrt(2.0 * np.pi), stats.norm), "logistic": (logistic, 1.0, stats.logistic)}
TABLE = pytest.mark.parametrize("name", DENSITIES)


@TABLE
def test_integrals_are_right_wherever_and_however_wide_the_density(name):
    density, mass, _ = DENSITIES[name]
    log_mass = np.array([-1e4, 0.0, 3.0, 1e4])
    found = quadrature.log_integral(density, (CENTRES, WIDTHS, log_mass), LOW, HIGH)
    np.testing.assert_allclose(found, np.log(mass * WIDTHS) + log_mass, rtol=0.0, atol=1e-6)


@TABLE
def test_gradients_are_those_of_the_integral(name):
    density, *_ = DENSITIES[name]

    def total(centre, width, log_mass):
        return quadrature.log_integral(density, (centre, width, log_mass), LOW, HIGH).sum()

    centre, width, log_mass = jax.grad(total, argnums=(0, 1, 2))(CENTRES, WIDTHS, np.zeros(4))
    np.testing.assert_allclose(centre * WIDTHS, 0.0, atol=1e-6)
    np.testing.assert_allclose(width * WIDTHS, 1.0, atol=1e-4)  # what lies beyond the outermost node weighs most here
    np.testing.assert_allclose(log_mass, 1.0, atol=1e-9)


@TABLE
def test_draws_have_the_density(name):
    density, _, known = DENSITIES[name]
    data, count = (CENTRES, WIDTHS, np.zeros(4)), 4000
    keys = jax.random.split(jax.random.key(0), count)
    drawn = jax.vmap(lambda key: quadrature.draw(key, density, data, LOW, HIGH))(keys)
    standard = (np.asarray(drawn) - CENTRES) / WIDTHS
    assert all(stats.kstest(column, known.cdf).pvalue > 1e-3 for column in standard.T)
    # the relative error of a standard deviation from n draws is sqrt((kurtosis - 1) / 4 n)
    kurtosis = known.stats(moments="k") + 3.0
    error = np.sqrt((kurtosis - 1.0) / (4.0 * count))
    np.testing.assert_allclose(standard.std(axis=0) / known.std(), 1.0, atol=4.0 * error)
