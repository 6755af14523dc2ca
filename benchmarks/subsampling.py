"""Would subsampling serve NUTS?  The noise of the log likelihood when it is estimated from a few of the sites.

NumPyro's ``HMCECS`` (Dang et al. 2019, JMLR 20(100)) replaces the log likelihood by an estimate from m of n sites,
drawn at random, corrected by a Taylor expansion of every site about a reference point.  Methods of this kind need a
standard deviation of the estimate of about 1 to 2 (Doucet et al. 2015, Biometrika 102(2); Quiroz et al. 2019, JASA
114(526)).  This measures it without correction and with expansions of first and second order about the mean of a
mean-field fit, at the draws of that fit.  Those lie nearer to their mean than draws of the posterior, so the numbers
are low if anything.

For draws without replacement it is ``n sqrt((1 - m / n) / m) S``, where S is the standard deviation of the sites'
errors (Cochran 1977, *Sampling Techniques*, theorem 2.2).  Only derivatives along the line from the reference to a draw
are needed, not a Hessian.

Run: ``python benchmarks/subsampling.py``, about a minute on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.infer import log_likelihood

import binn_prob as bp

Position = dict[str, Array]
"""Latent sites on the unconstrained scale, where the expansion is made."""

BATCHES = (5, 10, 25)
"""Sites in a subsample; those that exceed half of all are no saving."""


def positions(draws: Any) -> Position:
    """Return draws (draw, …) of BINN's latent sites on the unconstrained scale."""
    return {"weights": draws["weights"][0], "log_scale": jnp.log(draws["soc_scale"][0])}


def of_sites(model: Any, profiles: Any) -> Callable[[Position], Array]:
    """Return the function that gives the log likelihood of every site (site,) at a position."""

    def found(position: Position) -> Array:
        latent = {"weights": position["weights"], "soc_scale": jnp.exp(position["log_scale"])}
        return log_likelihood(model, latent, profiles, batch_ndims=0)["soc"].sum(axis=-1)

    return found


def expansions(function: Callable[[Position], Array], reference: Position, draw: Position) -> tuple[Array, Array]:
    """Return what the expansions of first and second order about ``reference`` give at ``draw``, (site,) each."""
    direction = jax.tree.map(jnp.subtract, draw, reference)

    def slope(position: Position) -> tuple[Array, Array]:
        return jax.jvp(function, (position,), (direction,))

    (value, first), (_, second) = jax.jvp(slope, (reference,), (direction,))
    return value + first, value + first + 0.5 * second


def noise(errors: np.ndarray, batch: int) -> np.ndarray:
    """Return the standard deviation (draw,) of the estimated sum of ``errors`` (draw, site) from a subsample."""
    sites = errors.shape[1]
    return sites * np.sqrt((1.0 - batch / sites) / batch) * errors.std(axis=1, ddof=1)


def measured(sites: int, draws: int) -> tuple[int, dict[str, np.ndarray]]:
    """Return the number of training sites, and by correction what remains to be estimated, (draw, site)."""
    train, _ = bp.data.split(bp.data.load("synthetic", sites=sites, seed=0), by="location", test_fraction=0.2, seed=0)
    model = bp.models.BINN()
    fit = bp.inference.VI().fit(jax.random.key(0), model, train, progress=False)
    function = of_sites(model, model.prepare(train, fit.encoding))
    drawn = positions(fit.draws)
    reference = jax.tree.map(lambda values: values.mean(axis=0), drawn)
    some = jax.tree.map(lambda values: values[:draws], drawn)

    def both(draw: Position) -> tuple[Array, ...]:
        return function(draw), *expansions(function, reference, draw)

    exact, first, second = map(np.asarray, jax.jit(lambda draws: jax.lax.map(both, draws))(some))
    return train.sizes["site"], {"none": exact, "first order": exact - first, "second order": exact - second}


def main() -> None:
    """Print the noise as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=64, help="synthetic sites, a fifth of them held out")
    parser.add_argument("--draws", type=int, default=200, help="draws at which the noise is measured")
    options = parser.parse_args()
    count, errors = measured(options.sites, options.draws)
    print(f"standard deviation of the log likelihood estimated from m of {count} sites: median (5 % to 95 % of draws)")
    for correction, values in errors.items():
        found = {batch: np.quantile(noise(values, batch), (0.05, 0.5, 0.95)) for batch in BATCHES if batch < count}
        cells = (f"m = {batch}: {q[1]:.1f} ({q[0]:.1f} to {q[2]:.1f})" for batch, q in found.items())
        print(f"{correction:12s}  {'   '.join(cells)}")


if __name__ == "__main__":
    main()
