# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Five-minute tour
#
# From soil profiles to a verdict on three posteriors of the same model: which of them knows how little it knows?
#
# The model is BINN (Xu et al. 2025, arXiv 2502.00672): a network maps a site's environment to the 21 parameters of the
# CLM5 soil carbon model, whose steady state is compared with measured profiles of soil organic carbon (SOC). The sites
# are synthetic, so the true parameters are known.
#
# Made for two otherwise idle CPU cores and five minutes. Sites and draws are therefore fewer than a study would take,
# above all for NUTS, and the verdicts below say what that costs. With the environment variable
# `BINN_PROB_EXAMPLE=small` everything shrinks further, to see only that it runs.

# %%
# %matplotlib inline
import os

import numpyro

numpyro.set_host_device_count(4)  # before JAX starts: the chains of NUTS run side by side

import binn_prob as bp

small = os.environ.get("BINN_PROB_EXAMPLE") == "small"

# %% [markdown]
# ## Load
#
# A data set is an `xarray.Dataset` with one profile per `site`: observed carbon and its depths, what drives the soil
# (temperature, moisture, litter input, bedrock) and covariates. `"new-york"` instead of `"synthetic"` would be
# measured profiles; your own file will do, too.

# %%
sites = bp.data.load("synthetic", sites=12 if small else 32, seed=0)
bp.data.describe(sites)

# %% [markdown]
# ## Split
#
# Profiles at one place share their covariates. A split by location keeps them on one side, so that nothing is tested
# on what it was trained on.

# %%
train, test = bp.data.split(sites, by="location", test_fraction=0.25, seed=0)
train.sizes["site"], test.sizes["site"]

# %% [markdown]
# ## Fit
#
# One word switches the method; model, prior, likelihood and data stay the same. What stands beside the word are fields
# of `bp.inference.MCDropout`, `VI` and `NUTS`.

# %%
options = {
    "mc_dropout": {"draws": 500},
    "vi": {"draws": 500},
    "nuts": {"warmup": 300, "draws": 300, "max_tree_depth": 7},
}
if small:
    options = {
        "mc_dropout": {"steps": 100, "draws": 50},
        "vi": {"steps": 100, "draws": 50},
        "nuts": {"chains": 2, "warmup": 40, "draws": 40, "max_tree_depth": 3, "start_steps": 100},
    }
fits = {
    method: bp.fit(bp.models.BINN(), train, method, seed=0, progress=False, **chosen)
    for method, chosen in options.items()
}

# %% [markdown]
# ## Compare
#
# The sentences come first. A tick means that a method has converged and that every number by which it is judged meets
# its bar, or misses it by no more than two standard errors. The table holds the numbers behind them: skill,
# calibration, agreement with NUTS, recovery of the truth, convergence, cost. Where a number does not exist, such as
# the R-hat of draws that are no Markov chain, there is none.

# %%
comparison = bp.compare(fits, test=test, reference="nuts")
comparison

# %% [markdown]
# Chains as short as these do not meet the bars of convergence: R-hat should be below 1.01, and effective sample sizes
# above 400. The sentences say so, and hold no other method against such a reference. The figures below do, and should
# be read as a preview; the default options of `nuts` ask for more.
#
# Look at the last statements of each sentence. Of the held-out *observations* all three methods hold most; of the true
# *parameters* their intervals hold next to none (MC dropout), about half (VI) or nearly all (NUTS). Most of a
# predictive interval is the noise of an observation, and it hides what a method does not know. NUTS is the only one
# here whose intervals hold the truth as often as they should, converged or not.

# %% [markdown]
# ## See
#
# Every figure is a function of the posteriors, `comparison.trees`, and returns a matplotlib figure. First the
# prediction of each observation, at sites that were fitted and at sites that were held out:

# %%
bp.plot.observed_predicted(comparison.trees)

# %% [markdown]
# Profiles at held-out sites, with the intervals of the modelled carbon alone:

# %%
bp.plot.profiles(comparison.trees, count=3)

# %% [markdown]
# What each method says of the processes, averaged over the fitted sites. The dashed line is the truth:

# %%
bp.plot.forest(comparison.trees)

# %% [markdown]
# And site by site, against NUTS. For most processes the patterns over the sites are much alike; levels differ, and
# above all the lengths of the arms, which are posterior standard deviations:

# %%
bp.plot.processes_against_reference(comparison.trees, "nuts")

# %% [markdown]
# ## Predict
#
# A fit predicts any site with covariates and forcing, measured or not. Here are sites that neither training nor test
# has seen. The result is an `xarray.DataTree` with ArviZ's group names; every variable keeps its draws.

# %%
elsewhere = bp.data.load("synthetic", sites=6, seed=1)
prediction = fits["nuts"].predict(elsewhere)
draws = prediction["posterior/soc_layer"] / 1000  # kg C m-3
topsoil = draws.sel(layer=0.1, method="nearest")
topsoil.quantile([0.05, 0.5, 0.95], dim=("chain", "draw")).transpose("site", "quantile").to_pandas().round(1)

# %% [markdown]
# The six processes at these sites, as posterior means:

# %%
prediction["posterior/processes"].mean(("chain", "draw")).to_pandas().round(3)

# %% [markdown]
# ## Keep
#
# One page with everything above and more, which works offline. `comparison.save("folder")` also keeps the posteriors.

# %%
comparison.report("report.html")
