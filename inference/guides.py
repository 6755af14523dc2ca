"""Families of distributions that are fitted to a posterior."""

from __future__ import annotations

from collections.abc import Callable

from numpyro.infer import autoguide, init_to_sample

__all__ = ["GUIDES", "TRANSPORTS", "family", "point"]

GUIDES: dict[str, type[autoguide.AutoGuide]] = {
    "mean_field": autoguide.AutoNormal,
    "low_rank": autoguide.AutoLowRankMultivariateNormal,
    "full_rank": autoguide.AutoMultivariateNormal,
    "iaf": autoguide.AutoIAFNormal,
    "bnaf": autoguide.AutoBNAFNormal,
}
"""NumPyro's guides by name, on the unconstrained scale of the D latent numbers:

- ``mean_field``: independent Gaussians; 2 D numbers to fit.
- ``low_rank``: a Gaussian whose covariance is diagonal plus one of rank √D; about D^1.5 numbers.
- ``full_rank``: a Gaussian with any covariance; D² / 2 numbers.
- ``iaf``: three inverse autoregressive flows (Kingma et al. 2016, NeurIPS); about 12 D² numbers.
- ``bnaf``: a block neural autoregressive flow (De Cao et al. 2019, UAI), the most flexible; about 80 D² numbers, and
  about a second for each of the D to set it up: for a few dozen latent numbers.

The flows need smaller steps than the Gaussians: a learning rate of about 0.001 with a few hundred latent numbers.
"""

TRANSPORTS = tuple(name for name, guide in GUIDES.items() if issubclass(guide, autoguide.AutoContinuous))
"""Those that map a standard normal to the posterior, as NeuTra needs it: all but ``mean_field``, which NumPyro writes
site by site, and which would do no more than the metric that NUTS adapts by itself."""


def family(name: str, prior: Callable[..., object]) -> Callable[[], autoguide.AutoGuide]:
    """Return what makes a new guide of that name, of the latent sites of a prior, started from a draw of it."""
    guide = GUIDES[name]
    return lambda: guide(prior, init_loc_fn=init_to_sample)


def point(prior: Callable[..., object]) -> Callable[[], autoguide.AutoDelta]:
    """Return what makes a new guide that is one point of the latent sites of a prior, started from a draw of it."""
    return lambda: autoguide.AutoDelta(prior, init_loc_fn=init_to_sample)
