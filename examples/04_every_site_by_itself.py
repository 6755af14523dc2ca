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
# # Every site by itself
#
# PRODA's way (Tao et al. 2020, 2023) from profiles to maps, in two stages. First every site gets a posterior of its
# own, from its profile alone. Then a network learns, from the posteriors of all sites, how parameters follow from the
# environment, and predicts where nothing was measured. Against it stands BINN's way: one network that learns from the
# carbon of all sites at once.
#
# The profiles are those of New York State: `binn-prob data fetch new-york` downloads them once (22 MB); the
# environment variable `BINN_PROB_DATA` names a folder that holds them already. Made for two otherwise idle CPU cores
# and less than ten minutes, on a subset of the 1,360 usable profiles; `BINN_PROB_EXAMPLE=small` shrinks everything, to
# see only that it runs.

# %%
# %matplotlib inline
import os
import shutil

import numpyro

numpyro.set_host_device_count(4)  # before JAX starts: sites run side by side

import binn_prob as bp
from binn_prob.results import convergence, summary

small = os.environ.get("BINN_PROB_EXAMPLE") == "small"

# %% [markdown]
# ## First stage: a posterior for each site
#
# Sites to test on are put aside first, by location.

# %%
sites = bp.data.load("new-york", sites=16 if small else 100, seed=0)
train, test = bp.data.split(sites, by="location", test_fraction=0.2, seed=0)
train.sizes["site"], test.sizes["site"]

# %% [markdown]
# `site_nuts` runs four Hamiltonian chains at every site, all sites side by side, and then again those that have not
# converged, with longer chains, for at most four rounds. PRODA's own sampler is there, too, as `proda_metropolis`.
#
# All 1,360 usable profiles take about half an hour on two CPU cores, more sites or slower machines longer, and long
# runs get killed. With `checkpoint` the fit saves its state as it goes, and with `resume=True` it goes on from what it
# finds there, or begins where there is nothing. Interrupt the kernel during the next cell, run the notebook again, and
# the draws will be the same, bit by bit. (On the command line: `binn-prob fit … --out run`, then `binn-prob fit --out
# run --resume`.)

# %%
checkpoint = "runs/every-site"
options = {"chains": 2, "warmup": 30, "draws": 30, "thinning": 1, "rounds": 1, "most_steps": 8} if small else {}
first = bp.fit("site", train, "site_nuts", seed=0, progress=False, checkpoint=checkpoint, resume=True, **options)

# %% [markdown]
# ### Has every site converged?
#
# Each site has chains of its own, so each is judged by itself. The verdict on the whole counts the sites that miss a
# bar:

# %%
str(first.verdict)

# %%
posterior = first.posterior()
judged = convergence.summarise(posterior).sites.to_dataframe().join(posterior["sample_stats/round"].to_series())
judged[["r_hat", "ess_bulk", "ess_tail", "divergences", "e_bfmi", "round"]].describe().loc[["min", "50%", "max"]]

# %% [markdown]
# And the sites by name, those with the largest R-hat first; `reason` says which bar was missed, and is empty where all
# were met. `round` is the round in which a site was finished:

# %%
worst = judged.sort_values("r_hat", ascending=False)
worst[["r_hat", "ess_bulk", "divergences", "round", "converged", "reason"]].head(6)

# %%
judged["round"].value_counts().sort_index().rename("sites finished in the round").to_frame()

# %% [markdown]
# The posterior is at hand, so the checkpoint can go. (`bp.results.posterior.save` would write it to a file.)

# %%
shutil.rmtree(checkpoint)

# %% [markdown]
# ### What a single profile says
#
# The posterior of each parameter at the site with the most observations, relative to the prior (1). Most of the 21 are
# where they were before:

# %%
bp.plot.marginals({"site_nuts": posterior})

# %% [markdown]
# Posterior mean and standard deviation of the processes, a dot for each site:

# %%
bp.plot.maps(posterior, "site_nuts")

# %% [markdown]
# ## Second stage: from sites to any place
#
# `bp.upscale` trains an ensemble of BINN's network on the posteriors: each member learns from one draw of every site,
# in a bootstrap sample of the sites, and stops at the lowest loss at the sites left out. A fit of `BINN` by
# variational inference reads the carbon of the same sites at once.

# %%
quick = {"steps": 100, "draws": 50}
fits = {
    "upscaling": bp.upscale(first, "binn", seed=0, progress=False, **({"members": 10, "steps": 100} if small else {})),
    "vi": bp.fit("binn", train, "vi", seed=0, progress=False, **(quick if small else {})),
}
comparison = bp.compare(fits, test=test)
comparison

# %% [markdown]
# There is no reference here, and no truth: what can be judged is the carbon at the sites held out. Both predict it
# about equally, and neither well: an NSE near 0 is hardly better than the mean, and the differences between the two
# are smaller than their errors. The intervals of the second stage hold as many observations as they should, which they
# owe to their width; those of VI are narrower and hold fewer, by less than two standard errors. VI also says of
# itself, by its k-hat, that it is far from the posterior that it approximates; the tick of the second stage says that
# its networks have settled and its first stage has converged, not that they are right.

# %%
bp.plot.observed_predicted(comparison.trees)

# %%
bp.plot.coverage_curves(comparison.trees)

# %% [markdown]
# ### The processes
#
# At the fitted sites the posterior of each site by itself is there, too. Averaged over these sites, the three ways
# give:

# %%
everything = {"site_nuts": posterior, **comparison.trees}
bp.plot.forest(everything)

# %% [markdown]
# The three intervals mean three different things. Sites by themselves are independent, so their errors average out,
# but each is pulled to the middle of the prior by what its profile does not say, and this pull does not average out.
# The second stage inherits it. BINN by VI has a prior on one network, not on each site, so that all profiles pull
# together; its intervals are those of that network, in a Gaussian without correlations. The levels of some processes
# differ by far more than any of the intervals allows, with about the same carbon: profiles alone do not tell these
# solutions apart, and what a prior or an approximation adds decides.

# %%
for name, tree in everything.items():
    print(name)
    print(summary.processes(tree).round(3).to_string(index=False), end="\n\n")

# %% [markdown]
# `sd` is the posterior standard deviation at a site, averaged over the sites, and `sd_over_sites` the spread of the
# means. A site's own posterior is wide; what the second stage calls its standard deviation is the spread of a
# regression line, not what is unknown of one site.

# %% [markdown]
# ## Maps
#
# Both predict the half-degree cells in and around the state; those with missing covariates are left out.

# %%
grid = bp.data.load("new-york-grid")
maps = {name: fit.predict(grid) for name, fit in fits.items()}
bp.plot.maps(maps["upscaling"], "upscaling")

# %%
bp.plot.maps(maps["vi"], "vi")

# %% [markdown]
# How alike are the two maps? The correlation over the cells of the means of each process:

# %%
means = {name: tree["posterior/processes"].mean(("chain", "draw")).to_pandas() for name, tree in maps.items()}
means["upscaling"].corrwith(means["vi"]).round(2).rename("correlation over the cells").to_frame()

# %% [markdown]
# Where the correlation is high, both see the same pattern over the state, at levels that differ: compare the scales of
# the maps. A map of a single method shows neither its level's dependence on the method nor where its pattern is an
# accident of few sites; the spread between methods belongs beside it. Which of them to believe is a question for
# truths that are known: see the notebook on recovery and calibration.
