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
# # Recovery and calibration
#
# Does a posterior hold the truth as often as it says? Where the truth is known, that can be counted. `bp.simulate`
# draws the truth from a model's own prior and observes it, with noise, at the depths of the profiles that it is given.
# Fitted to such observations by the same model, a right posterior is calibrated: over many sites the true parameters
# have uniform ranks among its draws (simulation-based calibration; Talts et al. 2018, arXiv 1804.06788), and its 90 %
# intervals hold 90 % of them. Model, prior and noise are right by construction, so what deviates from that by more than
# chance is the method.
#
# Made for two otherwise idle CPU cores and about five minutes; `BINN_PROB_EXAMPLE=small` shrinks everything, to see
# only that it runs.

# %%
# %matplotlib inline
import os

import numpyro

numpyro.set_host_device_count(4)  # before JAX starts: chains run side by side

import binn_prob as bp

small = os.environ.get("BINN_PROB_EXAMPLE") == "small"

# %% [markdown]
# ## Every site by itself
#
# In `SiteModel` each site has its own 21 parameters, uniform in their ranges, and its own error scale. One simulated
# data set is then as many experiments as it has sites. The depths are those of synthetic sites, with three to twelve
# observations each.

# %%
places = bp.data.load("synthetic", sites=8 if small else 64, seed=0)
sites = bp.simulate("site", places, seed=1)
bp.data.describe(sites)

# %% [markdown]
# `site_nuts` runs Hamiltonian chains at every site until they have converged; mean-field variational inference fits a
# Gaussian without correlations.

# %%
options = {"site_nuts": {}, "vi": {}}
if small:
    options = {"site_nuts": {"chains": 2, "warmup": 30, "draws": 30, "thinning": 1, "rounds": 1, "most_steps": 8}}
alone = bp.compare(
    {method: bp.fit("site", sites, method, seed=0, progress=False, **chosen) for method, chosen in options.items()},
    reference="site_nuts",
)
alone

# %% [markdown]
# The noise is that of the model's likelihood, whose tails are heavy: now and then an observation is off by a factor of
# hundreds. RMSE and NSE of carbon itself then say nothing; those of its logarithm do. The predictive intervals hold
# more than 90 % here because they are judged at the sites that were fitted.
#
# VI shows how a summary can please: averaged over processes, its means agree with those of NUTS and its intervals are
# as wide. The truth is inside less often all the same; where, the next figures show.

# %% [markdown]
# ### Ranks
#
# For each parameter the distribution function of the ranks over the sites, minus the uniform one. A right posterior
# stays inside the band with a probability of 95 % in each panel, so that one of 21 may well leave it. A line that
# rises above zero and then falls below it shows intervals that are too narrow.

# %%
bp.plot.ranks(alone.trees)

# %% [markdown]
# The lines of NUTS stay inside or near the edge. Those of VI leave the band by far at a few parameters and follow NUTS
# at the others, of which neither has learnt anything.

# %% [markdown]
# ### What is recovered, and what cannot be
#
# For each parameter and process: `r`, the correlation over sites of the posterior means with the truth; `in 90%`, the
# share of the truths inside the 90 % intervals; `ranks`, the largest distance of the ranks from uniform; `learnt`, the
# contraction: 0 where the posterior is as wide as the prior, 1 where the parameter is known.

# %%
print(alone.recovery_text())

# %% [markdown]
# Most parameters are hardly learnt from the handful of numbers that a profile is: their posterior is their prior, and
# the truth is inside because nearly everything is. That is calibrated, and little. `taucwd` cannot be learnt at all:
# woody debris passes on what it gets, however long that takes, and the carbon at steady state does not depend on it.
# Of the processes, which combine what parameters trade off against each other, the baseline decomposition and the
# environmental modifier are much better known; the carbon transfer efficiency and the input allocation are not.

# %%
bp.plot.recovered(alone.trees)

# %% [markdown]
# In the table, compare the columns of VI and NUTS for `q10`, `efolding`, `tau4s3`, `fs1s3` and `w-scaling`: VI takes
# them for mostly known, NUTS for mostly unknown, and the truth is far too seldom inside the intervals of VI. They are
# the ones that trade off against each other, as the posterior correlations show, which are weak on the average over
# sites but not absent. Along such a trade-off the posterior is a ridge; a Gaussian without correlations has the width
# of the ridge where it should have its length.

# %%
bp.plot.correlations(alone.trees)

# %% [markdown]
# ## One network for all sites
#
# BINN shares what it learns: the parameters of a site are a smooth function of its covariates, here one network drawn
# from the prior of the weights. All sites together are then *one* experiment: shares of truths inside intervals move
# together, over sites and parameters, and a single data set shows gross errors, no more. Some sites are held out,
# where the truth is known just as well. (The covariates enter the network relative to their mean and spread, in the
# fit those of the fitted sites alone: a small difference from the model that drew the truth.)

# %%
everywhere = bp.simulate("binn", bp.data.load("synthetic", sites=12 if small else 40, seed=2), seed=3)
train, test = bp.data.split(everywhere, by="location", test_fraction=0.25, seed=0)
options = {
    "mc_dropout": {},
    "vi": {},
    "nuts": {"warmup": 300, "draws": 400, "max_tree_depth": 7},
}
if small:
    options = {"mc_dropout": {"steps": 100, "draws": 50}, "vi": {"steps": 100, "draws": 50}}
shared = bp.compare(
    {method: bp.fit("binn", train, method, seed=0, progress=False, **chosen) for method, chosen in options.items()},
    test=test,
    reference="vi" if small else "nuts",
)
shared

# %% [markdown]
# The same three shares for each method: of held-out observations, of the true processes at the held-out sites, and of
# the true parameters at the fitted sites, all of which should be near 90 %:

# %%
shares = {
    "held_out_coverage_90": "observations, held out",
    "held_out_processes_true_90": "true processes, held out",
    "train_parameters_true_90": "true parameters, fitted sites",
}
shared.table[list(shares)].rename(columns=shares).round(2)

# %% [markdown]
# Their standard errors, from a bootstrap over sites:

# %%
shared.errors[list(shares)].rename(columns=shares).round(2)

# %%
bp.plot.recovered(shared.trees, part="held_out")

# %% [markdown]
# The chains of NUTS are short here, as the verdict says, and their shares come close to 90 % nevertheless. Coverage of
# observations tells the methods apart far less than coverage of the truth does. Where only observations are known, as
# in every field campaign, the first column is all there is: an argument for simulating before believing.
