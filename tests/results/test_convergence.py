"""R-hat and effective sample sizes: right where chains exist, blank where they do not."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import xarray as xr

from binn_prob.results import convergence, diagnostics, posterior


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


def settled(steps=2000, *, falls=0.0):
    """A loss with noise of standard deviation 2 that falls at an even pace by ``falls`` in all."""
    return 100.0 + 2.0 * np.random.default_rng(5).standard_normal(steps) - np.linspace(0.0, falls, steps)


@pytest.fixture
def made(arrays_of, attrs_of, dataset_of):
    """Build a tree with given diagnostics: four independent chains unless told otherwise."""

    def build(statistics, *, markov_chain=1, chains=4, draws=250, sites=3, change=None, **attributes):
        arrays = arrays_of(dataset_of(sites), chains=chains, draws=draws)
        arrays["sample_stats"] = statistics
        if change is not None:
            change(arrays)
        return posterior.build(**arrays, attrs=attrs_of(markov_chain=markov_chain) | attributes)

    return build


def quiet(*shape):
    """Diagnostics of a sampler without any trouble."""
    energy = np.random.default_rng(6).standard_normal(shape)
    return {"diverging": np.zeros(shape, dtype=bool), "energy": energy}


def test_what_meets_every_bar_has_converged(made):
    found = convergence.verdict(made(quiet(4, 250)))
    assert found == convergence.Verdict(converged=True)
    assert str(found) == "converged"


def _one_divergence(statistics):
    statistics["diverging"][2, 7] = True


def _creeping_energy(statistics):
    statistics["energy"][1] = np.cumsum(statistics["energy"][1])


def _slow_energy_thinned(statistics):
    """Energies of every hundredth iteration, which look independent, and the small changes in a single one."""
    statistics["squared_energy_change"] = np.full_like(statistics["energy"], 0.1)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_one_divergence, "1 divergent transitions"),
        (_creeping_energy, r"E-BFMI of a chain down to 0\.\d\d \(bar 0.3\)"),
        (_slow_energy_thinned, r"E-BFMI of a chain down to 0\.\d\d \(bar 0.3\)"),
    ],
)
def test_trouble_of_the_sampler_is_a_reason(spoil, words, made):
    statistics = quiet(4, 250)
    spoil(statistics)
    found = convergence.verdict(made(statistics))
    assert not found.converged
    assert len(found.reasons) == 1
    assert re.fullmatch(words, found.reasons[0])
    assert str(found) == f"not converged: {found.reasons[0]}"


def test_chains_that_disagree_are_a_reason(made):
    def shift(arrays):
        arrays["parameters"][0, :, 1, 4] += 1.0

    found = convergence.verdict(made(quiet(4, 250), change=shift))
    assert [reason.split(" ")[0] for reason in found.reasons] == ["R-hat", "bulk", "tail"]


def test_few_draws_are_a_reason_though_r_hat_is_fine(made):
    found = convergence.verdict(made(quiet(4, 80), draws=80))
    assert {"bulk ESS", "tail ESS"} <= {reason[:8] for reason in found.reasons}


@pytest.mark.parametrize(("chains", "draws"), [(1, 500), (4, 3)])
def test_agreement_that_cannot_be_judged_is_a_reason(chains, draws, made):
    found = convergence.verdict(made(quiet(chains, draws), chains=chains, draws=draws))
    assert found.reasons == (f"{chains} × {draws} draws, too few for R-hat (bar 2 × 4)",)


def test_draws_that_are_not_finite_are_a_reason(chains):
    chains.children["posterior"]["parameters"][0, 0, 0, 0] = np.nan
    assert any("R-hat up to nan" in reason for reason in convergence.verdict(chains).reasons)


@pytest.mark.parametrize(
    ("loss", "reasons"),
    [
        (settled(), ()),
        (settled(falls=2.0), ()),  # by half a nat over the last third
        (settled(falls=20.0), ("a loss that still falls, by 5.0 nats (bar 1)",)),
        (np.linspace(100.7, 99.3, 2000), ()),  # without noise, but by less than a nat
        (np.linspace(105.0, 95.0, 2000), ("a loss that still falls, by 2.5 nats (bar 1)",)),
        (settled(falls=-20.0), ()),  # rises: nothing to gain from more steps
        (settled(400), ("400 training steps, too few to say whether the loss has settled (bar 500)",)),
        (np.where(np.arange(2000) % 20, settled(), np.inf), ()),  # single estimates may be infinite
        (np.where(np.arange(2000) % 5, settled(), np.inf), ("20% of the steps without a finite loss (bar 10%)",)),
    ],
)
def test_a_training_is_judged_by_its_loss(loss, reasons, made):
    found = convergence.verdict(made({"loss": loss}, markov_chain=0, chains=1))
    assert found.converged == (not reasons)
    if reasons and "still falls" in reasons[0]:  # the number depends on the noise
        assert re.fullmatch(r"a loss that still falls, by \d\.\d nats \(bar 1\)", found.reasons[0])
    else:
        assert found.reasons == reasons


def test_a_loss_that_does_not_change_does_not_fall():
    assert diagnostics.fall(xr.DataArray(np.ones(600), dims="step")) == diagnostics.Fall(0.0, 0.0)


def test_noise_alone_is_seldom_taken_for_a_fall():
    rng = np.random.default_rng(8)
    falls = [diagnostics.fall(xr.DataArray(rng.standard_normal(600), dims="step")) for _ in range(200)]
    # A fall counts beyond three standard errors: a chance of about one in a thousand.
    assert sum(fall.errors > 3.0 for fall in falls) <= 3


@pytest.mark.parametrize(("k", "converged"), [(0.69, True), (0.71, False), (math.nan, False)])
def test_a_guide_is_judged_by_its_importance_weights(k, converged, made):
    found = convergence.verdict(made({"loss": settled()}, markov_chain=0, chains=1, pareto_k=k))
    assert found.converged == converged
    assert all("k-hat" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("distance", "reasons"), [(0.9, ()), (1.4, ("1.4 posterior deviations away from the mode (bar 1)",))]
)
def test_a_gaussian_at_the_mode_is_judged_by_its_distance_from_there(distance, reasons, made):
    found = convergence.verdict(made({"loss": settled()}, markov_chain=0, chains=1, distance_to_mode=distance))
    assert found.reasons == reasons


@pytest.mark.parametrize(("hottest", "converged"), [(1.05, True), (1.2, False), (math.nan, False)])
def test_chains_are_judged_by_their_temperature(hottest, converged, made):
    temperature = np.repeat([[1.0], [1.0], [1.0], [hottest]], 250, axis=1)
    found = convergence.verdict(made({"kinetic_temperature": temperature}))
    assert found.converged == converged
    assert all("a chain heated to a temperature of" in reason for reason in found.reasons)


def test_draws_about_which_nothing_is_recorded_are_not_called_converged(made):
    found = convergence.verdict(made({}, markov_chain=0, chains=1))
    assert found.reasons == ("nothing recorded by which to tell",)


def test_independent_sites_are_judged_one_by_one(made):
    statistics = quiet(4, 1000, 9)
    statistics["diverging"][0, :3, 8] = True
    statistics["rounds"] = np.ones(9)

    def shift(arrays):
        for site in range(1, 8):
            arrays["parameters"][0, :, site, 4] += 1.0

    tree = made(statistics, sites=9, draws=1000, change=shift)
    sites = convergence.by_site(tree)
    assert list(sites["converged"].values) == [True] + 8 * [False]
    assert list(sites["divergences"].values) == 8 * [0] + [3]
    assert sites["reason"].values[0] == ""
    assert sites["reason"].values[8] == "3 divergent transitions"
    found = convergence.verdict(tree)
    assert found.reasons[0].startswith("7 of 9 sites: R-hat up to ")
    assert found.reasons[0].endswith("(bar 1.01) (sites 1001, 1002, 1003, 1004, 1005, …)")
    assert found.reasons[-1] == "1 of 9 sites: 3 divergent transitions (sites 1008)"


def test_the_worst_of_a_site_is_the_worst_of_its_quantities(made, monkeypatch):
    def own_scale(arrays):
        arrays["scalars"] = {"soc_scale": 0.3 + 0.02 * np.random.default_rng(9).standard_normal((4, 250, 6))}

    monkeypatch.setattr(diagnostics, "_SITES_AT_ONCE", 4)
    tree = made(quiet(4, 250, 6), sites=6, change=own_scale)  # more sites than are diagnosed at once
    sites, every = convergence.by_site(tree), convergence.measures(tree)
    assert len(every["quantity"]) == 6 * (21 + 5 + 1)
    for site in (0, 3, 4, 5):
        own = every.isel(quantity=np.char.endswith(every["quantity"].values.astype(str), f"[site {1000 + site}]"))
        assert own.sizes["quantity"] == 27
        assert float(sites["r_hat"][site]) == float(own["r_hat"].max())
        assert float(sites["ess_bulk"][site]) == float(own["ess_bulk"].min())
        assert float(sites["ess_tail"][site]) == float(own["ess_tail"].min())


def test_a_site_whose_draws_never_move_has_not_converged(made):
    def stand(arrays):
        for name in ("parameters", "processes"):
            arrays[name][:, :, 2] = arrays[name][0, 0, 2]

    sites = convergence.by_site(made(quiet(4, 1000, 3), draws=1000, change=stand))
    assert list(sites["converged"].values) == [True, True, False]
