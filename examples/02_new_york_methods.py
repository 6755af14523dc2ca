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
# # Three methods on the same New York sites
#
# Measured profiles, published with BINN (Xu et al. 2025, arXiv 2502.00672). Nobody knows the true parameters here.
# What can be asked: how well is carbon predicted where it was held out, are the intervals honest about it, and do the
# methods agree on the processes, which nobody observes?
#
# The profiles must be there: `binn-prob data fetch new-york` downloads them once (22 MB); the environment variable
# `BINN_PROB_DATA` names a folder that holds them already. Made for two otherwise idle CPU cores and about eight
# minutes, nearly all of them for NUTS; `BINN_PROB_EXAMPLE=small` shrinks everything, to see only that it runs.

# %%
# %matplotlib inline
import os

import numpyro

numpyro.set_host_device_count(4)  # before JAX starts: the chains of NUTS run side by side

import binn_prob as bp
from binn_prob.results import summary
from binn_prob.results.recalibration import WAYS

small = os.environ.get("BINN_PROB_EXAMPLE") == "small"

# %% [markdown]
# ## The sites
#
# A random subset, of which many are held out: what is held out judges the methods, and is needed once more, to mend
# their intervals. The split is by location, so that profiles of one place stay on one side.

# %%
sites = bp.data.load("new-york", sites=22 if small else 60, seed=0)
train, test = bp.data.split(sites, by="location", test_fraction=0.5 if small else 0.4, seed=0)
bp.data.describe(sites)

# %% [markdown]
# ## The fits
#
# The network is BINN's, small enough for NUTS to sample all its weights.

# %%
options = {"mc_dropout": {}, "vi": {}, "nuts": {"draws": 1000}}
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
# ## Whose intervals can be believed?

# %%
comparison = bp.compare(fits, test=test, reference="nuts")
comparison

# %% [markdown]
# The number after ± is a standard error, from a bootstrap over sites: observations of one profile share their fate, so
# they are no independent votes. With so few held-out sites the errors are large, and a difference between two methods
# of less than about twice its error is no difference.
#
# NUTS has converged, so that its draws are those of the model's posterior and the others can be held against it.
# Neither of them is close to it. That is about the computation: the intervals of NUTS at held-out sites are too narrow
# as well, if by less than chance may explain, and VI, whose intervals are wider, predicts no worse. Where the model
# itself is wrong to an unknown degree, as for any real soil, the right posterior of a model need not be the best
# prediction.

# %% [markdown]
# ## Skill by depth
#
# Every row of `comparison.scores` is one number with its error; `of` says what it is of. Carbon falls with depth by
# more than an order of magnitude, so that a model that knows only the depth has some skill over the whole profile.
# Within a depth class it has none, and below the topsoil that is about what is left: no method is clearly better than
# the mean of the class.

# %%
scores = comparison.scores
depths = ["0-0.3 m", "0.3-1 m", "below 1 m"]


def held_out(measure, of):
    """One number at held-out sites: what it is of by row, methods by column."""
    chosen = scores.query("part == 'held_out' and measure == @measure and of in @of")
    return chosen.pivot(index="of", columns="method", values="value")[list(fits)].reindex(of)


# %%
held_out("log_nse", ["", *depths]).rename({"": "whole profile"}).round(2)

# %% [markdown]
# A negative value is worse than the mean of the class. The bias of log SOC shows where carbon is over- or
# underestimated; 0.7 is a factor of two:

# %%
held_out("log_bias", ["", *depths]).rename({"": "whole profile"}).round(2)

# %%
bp.plot.observed_predicted(comparison.trees)

# %% [markdown]
# ## Calibration
#
# Where does an observation lie in its predictive distribution? If that is honest, all places are equally likely, and
# the lines below stay inside the bands. A line that rises above zero early and falls below it late belongs to
# intervals that are too narrow.

# %%
bp.plot.transforms(comparison.trees)

# %% [markdown]
# The same as coverage: below the diagonal, intervals are too narrow.

# %%
bp.plot.coverage_curves(comparison.trees)

# %% [markdown]
# At the sites that were fitted the three are alike, and none is too narrow. Where it counts, at the sites held out,
# they part: MC dropout is far too narrow, NUTS somewhat, and VI is too wide.

# %% [markdown]
# ## Recalibration
#
# Intervals of observations can be mended after the fact, by how far observations at *other* held-out sites lie from
# their medians. `variance-scaled` moves all draws away from the median by one factor; `conformal` takes as many
# predictive standard deviations as the other places ask for, and promises coverage at new places like these, whatever
# the model. Each place is judged with what the others ask for.

# %%
coverage = [f"coverage_{level}" for level in (50, 80, 90)]
rows = scores.query("part == 'held_out' and of in @WAYS and measure in @coverage")
mended = rows.pivot(index=["method", "of"], columns="measure", values="value")[coverage]
mended.reindex([(method, way) for method in fits for way in WAYS]).round(2)

# %% [markdown]
# What that costs in width, of log SOC; a missing number is an infinite width, where there are too few sites to promise
# so much:

# %%
held_out("width_90", list(WAYS)).round(2)

# %% [markdown]
# Mended, the wide intervals hold about what they promise, and those of `conformal` rather more, as they must with few
# places. One factor does not mend the shape of a distribution, though: scaled, the 50 % intervals of MC dropout still
# hold about half of what they should. Only now can widths be compared: the most confident method, MC dropout, is the
# one that needs the widest intervals of the three. This mends what is said about observations, and nothing else. What a
# method believes of parameters and processes stays as it was.

# %% [markdown]
# ## Do they agree on the processes?
#
# Site by site, against NUTS: each cross is a site, its arms are posterior standard deviations.

# %%
bp.plot.processes_against_reference(comparison.trees, "nuts")

# %%
bp.plot.deviations_against_reference(comparison.trees, "nuts")

# %% [markdown]
# In numbers, for each process: the correlation of the means over sites, the difference of the means in standard
# deviations of NUTS, and the ratio of the standard deviations. The plant carbon input is forcing, and the same for
# all. MC dropout has the patterns of NUTS over the sites, but for the input allocation, and a small part of its
# uncertainty; VI has more of the uncertainty, and patterns and levels that are further off.

# %%
measures = ["correlation", "mean_difference", "sd_ratio"]
against = scores.query("of in @bp.clm5.PROCESS_NAMES and measure in @measures and method != 'nuts'")
agreement = against.dropna(subset="value").pivot(index="of", columns=["method", "measure"], values="value")
agreement[[(method, measure) for method in ("mc_dropout", "vi") for measure in measures]].round(2)

# %% [markdown]
# ## Maps
#
# A fit predicts any place with covariates and forcing, such as the half-degree cells in and around the state, which
# have no profile. A few cells lack a covariate and are left out.

# %%
grid = bp.data.load("new-york-grid")
maps = {method: fit.predict(grid) for method, fit in fits.items()}
grid.sizes["site"]

# %%
bp.plot.maps(maps["nuts"], "nuts")

# %%
bp.plot.maps(maps["vi"], "vi")

# %%
bp.plot.maps(maps["mc_dropout"], "mc_dropout")

# %% [markdown]
# Each map has its own scale. Averaged over the cells, with the posterior standard deviation of a cell (`sd`) beside
# the spread of the means over the state (`sd_over_sites`):

# %%
for method, tree in maps.items():
    print(method)
    print(summary.processes(tree).round(3).to_string(index=False), end="\n\n")

# %% [markdown]
# Where `sd` is larger than `sd_over_sites`, the map shows less than the posterior leaves open: a pattern on it may be
# real, but this many profiles do not say so. A method with a small `sd` draws the same map with confidence, and
# whether that is earned, no map can tell.
