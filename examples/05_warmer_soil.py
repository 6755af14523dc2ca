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
# # A warmer soil
#
# What happens to the carbon of New York's soils if they become 2 K warmer? The steady state answers for the end; on the
# way there, carbon is lost as fast as its pools turn over, which takes centuries for most of it. Parameters decide, and
# profiles say only so much of them, so the answer comes with its posterior bands.
#
# The profiles are those of New York State: `binn-prob data fetch new-york` downloads them once (22 MB); the
# environment variable `BINN_PROB_DATA` names a folder that holds them already. Made for two otherwise idle CPU cores
# and some minutes; `BINN_PROB_EXAMPLE=small` shrinks everything, to see only that it runs.

# %%
# %matplotlib inline
import os
from dataclasses import replace

import numpyro

numpyro.set_host_device_count(4)  # before JAX starts: sites run side by side

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt

import binn_prob as bp
from binn_prob import clm5

small = os.environ.get("BINN_PROB_EXAMPLE") == "small"

# %% [markdown]
# ## Parameters of each site
#
# Every site gets a posterior of its own, from its profile alone.

# %%
sites = bp.data.load("new-york", sites=4 if small else 100, seed=0)
options = {"chains": 2, "warmup": 30, "draws": 30, "thinning": 1, "rounds": 1, "most_steps": 8} if small else {}
fit = bp.fit("site", sites, "site_nuts", seed=0, progress=False, **options)
str(fit.verdict)

# %% [markdown]
# A hundred of their draws are enough for bands:

# %%
draws = fit.posterior()["posterior/parameters"].stack(sample=("chain", "draw"))
draws = draws.transpose("sample", "site", "parameter").to_numpy()
draws = draws[:: max(len(draws) // (10 if small else 100), 1)]
draws.shape

# %% [markdown]
# ## The climate of each year
#
# The soil warms by 2 K over fifty years, in all layers and months, and stays there; litter, moisture and thaw do not
# change. A forcing with a first axis of time is the climate of each step:

# %%
forcing = clm5.Forcing.from_dataset(sites)
years = np.arange(1, 11 if small else 301)
warmth = 2.0 * np.minimum(years / 50, 1.0)
climate = jax.tree.map(lambda array: jnp.broadcast_to(array, (len(years), *array.shape)), forcing)
climate = replace(climate, soil_temperature=climate.soil_temperature + warmth[:, None, None, None])

# %% [markdown]
# ## From steady state to steady state
#
# Each draw begins in its own steady state and is followed in steps of a year, backwards Euler, whose every step
# conserves carbon. The end is the steady state of the warmer soil.

# %%
thickness = clm5.THICKNESS[: clm5.LAYERS]


def stock(pools):
    """Return soil organic carbon of the column [kg C m-2], (..., site)."""
    return jnp.sum(clm5.soil_organic_carbon(pools) * thickness, axis=-1) / 1000


def response(parameters):
    """Return the stocks at the beginning, after every year and at the end, and the carbon respired each year."""
    begin = clm5.steady_state(parameters, forcing)
    followed = clm5.transient(begin, parameters, climate, np.full(len(years), 365.0))
    end = clm5.steady_state(parameters, replace(forcing, soil_temperature=forcing.soil_temperature + 2.0))
    return stock(begin), stock(followed.pools), stock(end), followed.respired - followed.litter


begin, path, end, lost = (np.asarray(array) for array in jax.lax.map(response, jnp.asarray(draws)))
path.shape

# %% [markdown]
# Of soil organic carbon, the mean over the sites. On the right the same after the last year, and in the steady state of
# the warmer soil, which has an axis of its own:


# %%
def band(values):
    """Return the median of the draws, the first axis, and how far 5 % and 95 % of them are from it."""
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95], axis=0)
    return middle, np.stack([middle - low, high - middle])


change, final = (path - begin[:, None]).mean(axis=2), (end - begin).mean(axis=1)
middle, away = band(change)
figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.4), layout="constrained", width_ratios=(3, 1))
left.fill_between(years, middle - away[0], middle + away[1], alpha=0.3, label="90 % of the draws")
left.plot(years, middle, label="median")
left.axvline(50, color="0.6", linewidth=0.8, label="warming ends")
left.set_xlabel("year")
left.set_ylabel("change of soil organic carbon (kg C m$^{-2}$)")
left.legend(frameon=False)
ends = np.stack([change[:, -1], final], axis=1)
right.errorbar([0, 1], *band(ends), fmt="o", color="black")
right.set_xticks([0, 1], [f"year {years[-1]}", "steady\nstate"])
right.set_xlim(-0.5, 1.5)
right.set_ylim(top=0)
plt.show()

# %% [markdown]
# How large is the stock, and how much of the final loss has happened by the year 50, when the warming ends, and at the
# end of the run? Medians and 90 % of the draws, over all sites together:


# %%
def words(values, form):
    """Return the median and 90 % of the draws in words."""
    return "{} ({} to {})".format(*(format(number, form) for number in np.quantile(values, [0.5, 0.05, 0.95])))


print("stock before:", words(begin.mean(axis=1), ".1f"), "kg C m-2")
for at in (min(50, len(years)), len(years)):
    print(f"of the final loss by year {at}:", words(change[:, at - 1] / final, ".1%"))

# %% [markdown]
# Most of what a warmer soil will lose it loses long after three centuries: the carbon below the roots, and that of the
# passive pool, turn over in thousands of years. A steady state is not a forecast for a century.
#
# The bands are narrow because they are of a mean: sites have posteriors of their own here, whose errors average out.
# What all of them have in common, the model and its priors, is in no band, nor are litter, moisture and thaw that
# change with the climate.
#
# ## How sure is a single site?
#
# The loss by the end of the run in percent of the stock, and 90 % of the draws, by site:

# %%
percent = 100 * (path[:, -1] / begin - 1.0)
percent = percent[:, np.argsort(np.median(percent, axis=0))]

figure, axis = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
axis.errorbar(np.arange(percent.shape[1]), *band(percent), fmt="o", markersize=3, elinewidth=1)
axis.axhline(0, color="black", linewidth=0.8)
axis.set_xlabel("sites, by their median")
axis.set_ylabel("change of soil organic carbon (%)")
plt.show()

# %% [markdown]
# Between its 5 % and 95 % the loss of a single soil often differs by a factor of five: a profile is measured at one
# time, and says little of how fast its carbon turns over.
