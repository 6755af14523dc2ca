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
# # Three posteriors of the same soil
#
# One model of soil organic carbon, fitted to the same sites by MC dropout, variational inference and NUTS: do they
# agree, and whose intervals can be believed? The sites are synthetic, so the true parameters are known.
#
# The model is BINN (Xu et al. 2025, arXiv 2502.00672): a network maps a site's environment to the 21 parameters of the
# CLM5 soil carbon model, whose steady state is compared with measured profiles.
#
# About eight minutes on two otherwise idle CPU cores, nearly all of it for NUTS. Set the environment variable
# `BINN_PROB_EXAMPLE=small` for a quick look.

# %%
import os

import numpyro

numpyro.set_host_device_count(4)  # before JAX starts: the chains of NUTS run side by side

import matplotlib.pyplot as plt

import binn_prob as bp

small = os.environ.get("BINN_PROB_EXAMPLE") == "small"

# %% [markdown]
# ## The sites
#
# `bp.data.load("new-york", sites=64)` would load measured profiles of New York State instead, once
# `binn-prob data fetch new-york` has downloaded them. A split by location keeps profiles of one place on one side.

# %%
sites = bp.data.load("synthetic", sites=12 if small else 64, seed=0)
train, test = bp.data.split(sites, by="location", test_fraction=0.2, seed=0)
bp.data.describe(sites)

# %%
figure, axis = plt.subplots(figsize=(5, 4))
axis.scatter(sites["soc"] / 1000, sites["depth"], s=8, alpha=0.6)
axis.set(xlabel="SOC (kg C m$^{-3}$)", ylabel="depth (m)", xscale="log", title="Observed soil organic carbon")
axis.invert_yaxis()

# %% [markdown]
# ## The fits
#
# One word switches the method. Everything else is the same: model, prior, likelihood, data, seed. The fields of
# `bp.inference.NUTS`, `VI` and `MCDropout` are the options.

# %%
quick = {
    "mc_dropout": {"steps": 300, "draws": 100},
    "vi": {"steps": 300, "draws": 100},
    "nuts": {"warmup": 50, "draws": 50, "max_tree_depth": 4, "start_steps": 300},
}
options = quick if small else {method: {} for method in quick}
fits = {
    method: bp.fit(bp.models.BINN(), train, method=method, seed=0, progress=False, **chosen)
    for method, chosen in options.items()
}

# %% [markdown]
# ## The comparison
#
# Skill, coverage, convergence and agreement with NUTS. Only Markov chains have an R-hat; where a number does not exist
# the cell is empty.

# %%
comparison = bp.compare(fits, test=test, reference="nuts")
comparison.table.T

# %% [markdown]
# The share of held-out observations inside the intervals says whether they are honest about *observations* …

# %%
bp.results.plots.coverage_curves(comparison.trees)

# %% [markdown]
# … but most of such an interval is the noise of an observation. What the methods say about *processes* has no such
# cover:

# %%
bp.results.plots.processes_against_reference(comparison.trees, "nuts")

# %% [markdown]
# Profiles at held-out sites, with the intervals of the modelled carbon alone:

# %%
bp.results.plots.profiles(comparison.trees)

# %% [markdown]
# ## Do the intervals hold the truth?
#
# The share of the true parameters, over sites and parameters, inside the central 90 % interval of each posterior:

# %%
truth = train["true_parameters"]
for method, tree in comparison.trees.items():
    draws = tree["posterior/parameters"]
    low, high = (draws.quantile(level, ("chain", "draw")) for level in (0.05, 0.95))
    inside = ((truth >= low) & (truth <= high)).mean()
    print(f"{method:>10}: {float(inside):.0%} of the true parameters inside the 90 % interval")

# %% [markdown]
# ## To keep
#
# Each posterior is an `xarray.DataTree` with ArviZ's group names; `report` writes one page with everything above.

# %%
comparison.trees["nuts"]

# %%
comparison.report("report.html")
