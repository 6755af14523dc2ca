"""R-hat and effective sample sizes: right where chains exist, blank where they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from binn_prob.results import convergence, posterior


@pytest.fixture
def chains(tree_of):
    return tree_of("nuts", sites=3, chains=4, draws=250)


def test_independent_draws_have_converged(chains):
    summary = convergence.summarise(chains)
    assert 1.0 <= summary.r_hat_max < 1.02
    # Independent draws: every effective sample size is about the 1,000 draws there are.
    assert 600 < summary.ess_bulk_min < 1100
    assert 500 < summary.ess_tail_min < 1100
    assert summary.divergences == 2


def test_a_chain_elsewhere_is_found(chains):
    chains.children["posterior"]["soc_scale"][0] += 0.1  # five standard deviations
    summary = convergence.summarise(chains)
    assert summary.r_hat_max > 1.1
    assert summary.worst[0] == "soc_scale"
    assert summary.ess_bulk_min < 20


def test_numbers_are_those_of_arviz(chains):
    import arviz_stats

    ours = convergence.measures(chains)
    draws = posterior.group(chains, "posterior")
    theirs = arviz_stats.rhat(draws[["parameters"]])["parameters"].sel(site=1001, parameter="q10")
    assert float(ours["r_hat"].sel(quantity="q10[site 1001]")) == pytest.approx(float(theirs), rel=1e-12)
    bulk = arviz_stats.ess(draws[["soc_scale"]], method="bulk")["soc_scale"]
    assert float(ours["ess_bulk"].sel(quantity="soc_scale")) == pytest.approx(float(bulk), rel=1e-12)
    np.testing.assert_array_equal(
        convergence.draws_of(chains, "q10[site 1001]"), draws["parameters"].sel(site=1001, parameter="q10")
    )


def test_what_never_varies_is_left_out(chains):
    quantities = convergence.measures(chains)["quantity"].values
    assert not any(str(quantity).startswith("plant_carbon_input") for quantity in quantities)
    assert len(quantities) == 3 * (21 + 5) + 1
    chains.children["posterior"]["parameters"][..., 4] = 3.0
    assert np.isfinite(convergence.summarise(chains).r_hat_max)
    assert len(convergence.measures(chains)["quantity"]) == 3 * (20 + 5) + 1


def test_chains_that_stand_still_apart_have_an_immense_r_hat(chains):
    chains.children["posterior"]["soc_scale"][:] = np.arange(4.0)[:, None]
    assert convergence.summarise(chains).r_hat_max > 1e6


def test_draws_that_are_not_finite_leave_a_blank(chains):
    chains.children["posterior"]["parameters"][0, 0, 0, 0] = np.nan
    summary = convergence.summarise(chains)
    assert math.isnan(summary.r_hat_max)
    assert math.isnan(summary.ess_bulk_min)
    assert summary.worst[0] == "diffus[site 1000]"


@pytest.mark.parametrize("method", ["vi", "mc_dropout"])
def test_other_draws_get_nothing(method, tree_of):
    summary = convergence.summarise(tree_of(method, chains=1, draws=50))
    numbers = (summary.r_hat_max, summary.ess_bulk_min, summary.ess_tail_min, summary.divergences)
    assert all(math.isnan(number) for number in numbers)
    assert summary.worst == ()


@pytest.mark.parametrize(("chains", "draws"), [(1, 100), (4, 3)])
def test_one_chain_or_too_few_draws_have_divergences_alone(chains, draws, tree_of):
    summary = convergence.summarise(tree_of("nuts", chains=chains, draws=draws))
    assert math.isnan(summary.r_hat_max)
    assert math.isnan(summary.ess_bulk_min)
    assert summary.divergences == 2


def test_unrecorded_divergences_are_blank(chains):
    del chains["sample_stats"]
    assert math.isnan(convergence.summarise(chains).divergences)
