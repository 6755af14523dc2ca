"""Observation models for soil organic carbon.

Profiles span four orders of magnitude and hold outliers (peat, typing errors), so the error is one of log SOC, with
tails that are a Gaussian's or heavier; PRODA's own likelihood, a Gaussian of 60 % of the observation, is there to
repeat what was published.

Every likelihood has the same methods, so that no model asks which it is: ``weights`` of the observations, made once per
Dataset; ``scale``, which samples the site ``soc_scale`` if there is a scale to learn; the call, which samples the site
``soc``; and, for a scale of each site's own, ``marginal`` and ``draw_scale``, which integrate it out and draw it back.

Prior of the scale
------------------
A scale of log SOC is a relative error, and what one knows of it is a factor: its prior is log-normal.  That vanishes at
0 faster than any power, so a site whose few observations the model can meet exactly does not send its scale there, as
it would under a flat or half-Gaussian prior.  The defaults, median 0.4 and spread 0.5, put 95 % of scales between 0.15
and 1.07 and, before any data, 95 % of observations within a factor of 2.9 (Gaussian) or 4.2 (Student-t with 4 degrees
of freedom) of the modelled carbon.  Given n observations, the log of a Gaussian scale has a standard deviation of about
``1 / sqrt(2 n + 1 / spread²)``: with a handful of observations the prior matters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.scipy.stats import norm, rankdata
from numpyro.distributions.transforms import ExpTransform

from binn_prob.checks import positive
from binn_prob.models import quadrature

__all__ = ["Likelihood", "LogNormalSOC", "ProdaLikelihood", "StudentTLogSOC"]

_SMALLEST_SOC = 1e-3
"""Modelled carbon below this counts as this [g C m-3]; far less than can be measured, it keeps the logarithm finite."""

_LARGEST_WEIGHT = 10.0
"""PRODA's weight of the observation that ranks first."""


@dataclass(frozen=True)
class _LogSOC:
    """Log SOC has an error of learnt scale; a subclass says which error."""

    scale_median: float = 0.4
    """Prior median of the scale: a typical observation is 40 % off [1]."""
    scale_spread: float = 0.5
    """Prior standard deviation of the log of the scale [1]."""

    def __post_init__(self) -> None:
        positive(self, "scale_median", "scale_spread")

    def error(self, location: Array, scale: Array) -> dist.Distribution:
        """Return the distribution of log SOC."""
        raise NotImplementedError

    def weights(self, observed: Array, depth: Array, mask: Array) -> None:
        """Return None: all observations count alike."""

    def scale(self) -> Array:
        """Sample the site ``soc_scale`` from its prior: () or, within a plate of sites, (site,)."""
        scale: Array = numpyro.sample("soc_scale", dist.LogNormal(jnp.log(self.scale_median), self.scale_spread))
        return scale

    def __call__(
        self, soc: Array, scale: Array | None, observed: Array | None, mask: Array, weights: Array | None = None
    ) -> None:
        """Sample the site ``soc``.

        Parameters
        ----------
        soc : array (site, observation)
            Modelled carbon [g C m-3].
        scale : array () or (site,)
            What :meth:`scale` gave.
        observed : array (site, observation), optional
            Observed carbon [g C m-3], positive also in the padding; None to draw from the predictive distribution.
        mask : array of bool (site, observation)
            False in the padding.
        weights
            What :meth:`weights` gave.
        """
        assert scale is not None
        _sample(self._of_observations(soc, scale[..., None]), observed, mask)

    def log_density(self, soc: Array, scale: Array | None, observed: Array) -> Array:
        """Return the log predictive density of every observation, (site, observation) [log of 1 / (g C m-3)].

        The parameters are those of the call.
        """
        assert scale is not None
        density: Array = self._of_observations(soc, scale[..., None]).log_prob(observed)
        return density

    def marginal(self, soc: Array, observed: Array, mask: Array, weights: Array | None = None) -> Array:
        """Return the log likelihood of each site, with the scale of that site integrated out.

        ``log ∫ p(soc | scale) p(scale) d scale`` by :mod:`binn_prob.models.quadrature`, as the integrand is log-concave
        in the log scale.  It is right to 1e-6 for a ``scale_spread`` up to 0.5, and to 1e-4 up to 1.

        The parameters are those of the call; the result is an array (site,).
        """
        return quadrature.log_integral(self._log_joint, (soc, observed, mask), *self._bracket(soc, observed, mask))

    def draw_scale(self, key: Array, soc: Array, observed: Array, mask: Array, weights: Array | None = None) -> Array:
        """Draw the scale of each site, (site,), from its distribution given the modelled carbon of that site."""
        data = (soc, observed, mask)
        return self._from_standard(quadrature.draw(key, self._log_joint, data, *self._bracket(*data)))

    def _of_observations(self, soc: Array, scale: Array) -> dist.Distribution:
        """Return the distribution of observed carbon, in whose density the observation is the carbon, not its log."""
        location = jnp.log(jnp.maximum(soc, _SMALLEST_SOC))
        return dist.TransformedDistribution(self.error(location, scale), ExpTransform())

    def _from_standard(self, standard: Array) -> Array:
        """Turn the standardised log of a scale, whose prior is a standard normal, into the scale."""
        return self.scale_median * jnp.exp(self.scale_spread * standard)

    def _log_joint(self, standard: Array, data: tuple[Array, Array, Array]) -> Array:
        """Return the log density of standardised log scales (site, node) and of the observations."""
        soc, observed, mask = (values[:, None] for values in data)
        likely = self._of_observations(soc, self._from_standard(standard)[..., None]).mask(mask).log_prob(observed)
        return jnp.sum(likely, axis=-1) + norm.logpdf(standard)

    def _bracket(self, soc: Array, observed: Array, mask: Array) -> tuple[Array, Array]:
        """Return an interval (site,), (site,) of standardised log scales that holds the mode of their density.

        Above it the scale exceeds its prior median and every residual, and growing lowers the density; below it the
        prior lowers the density by more than observations that are met exactly raise it.
        """
        residual = jnp.where(mask, jnp.log(observed) - jnp.log(jnp.maximum(soc, _SMALLEST_SOC)), 0.0)
        largest = jnp.max(jnp.abs(residual), axis=-1, initial=0.0)
        above = jnp.log(jnp.maximum(largest / self.scale_median, 1.0)) / self.scale_spread
        return -self.scale_spread * jnp.sum(mask, axis=-1), above


@dataclass(frozen=True)
class StudentTLogSOC(_LogSOC):
    """Log SOC has a Student-t error whose scale is learnt.

    ``log soc ~ StudentT(degrees_of_freedom, log soc_at_depth, soc_scale)``, ``soc_scale ~ LogNormal(log scale_median,
    scale_spread)``.  The heavy tails let outliers (peat, typing errors) pass without dragging the parameters along.
    """

    name: str = field(default="student_t", init=False)
    degrees_of_freedom: float = 4.0
    """Tail weight; infinity would be a log-normal error."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "degrees_of_freedom")

    def error(self, location: Array, scale: Array) -> dist.Distribution:
        """Return the distribution of log SOC."""
        return dist.StudentT(self.degrees_of_freedom, location, scale)


@dataclass(frozen=True)
class LogNormalSOC(_LogSOC):
    """Log SOC has a Gaussian error whose scale is learnt.

    ``log soc ~ Normal(log soc_at_depth, soc_scale)``, ``soc_scale ~ LogNormal(log scale_median, scale_spread)``.  One
    observation that is tenfold off counts as much as 33 that are 40 % off: use it where outliers have been removed.
    """

    name: str = field(default="log_normal", init=False)

    def error(self, location: Array, scale: Array) -> dist.Distribution:
        """Return the distribution of log SOC."""
        return dist.Normal(location, scale)


@dataclass(frozen=True)
class ProdaLikelihood:
    """PRODA's likelihood: a Gaussian of 60 % of the observation, weighted by rank (Tao et al. 2020, 2023).

    The log likelihood is ``-Σ w (modelled - observed)² / (2 (relative_error observed)²)`` up to a constant: a Gaussian
    whose standard deviation is ``relative_error observed / sqrt(w)``.  Weights ``w = max(1, 10 exp(1 - r))`` stress the
    ends of a profile: r is the mean of two ranks of the observation in its profile, by its distance from the mean
    carbon and by that from the mean depth, the farthest first.  Observations that are equally far share the mean of
    their ranks.  No scale is learnt.

    A standard deviation that comes from the observation cannot predict one.  The predictive distribution has that of
    the modelled carbon instead, without weights, and is truncated at zero: a proper distribution of the same relative
    error.
    """

    name: str = field(default="proda", init=False)
    relative_error: float = 0.6
    """Standard deviation of an observation relative to itself [1]."""

    def __post_init__(self) -> None:
        positive(self, "relative_error")

    def weights(self, observed: Array, depth: Array, mask: Array) -> Array:
        """Return the weight of every observation, (site, observation).

        Parameters
        ----------
        observed, depth : array (site, observation)
            [g C m-3] and [m].
        mask : array of bool (site, observation)
            False in the padding.
        """
        rank = 0.5 * (_ranks(observed, mask) + _ranks(depth, mask))
        return jnp.maximum(1.0, _LARGEST_WEIGHT * jnp.exp(1.0 - rank))

    def scale(self) -> None:
        """Sample nothing: there is no scale to learn."""

    def __call__(
        self, soc: Array, scale: Array | None, observed: Array | None, mask: Array, weights: Array | None = None
    ) -> None:
        """Sample the site ``soc``; the arguments are those of :meth:`StudentTLogSOC.__call__`."""
        if observed is None:
            _sample(self._predictive(soc), None, mask)
        else:
            _sample(self._of_observations(soc, observed, weights), observed, mask)

    def log_density(self, soc: Array, scale: Array | None, observed: Array) -> Array:
        """Return the log density of every observation in the predictive distribution, which has no weights."""
        density: Array = self._predictive(soc).log_prob(observed)
        return density

    def marginal(self, soc: Array, observed: Array, mask: Array, weights: Array | None = None) -> Array:
        """Return the log likelihood of each site, (site,); there is no scale to integrate out."""
        return jnp.sum(self._of_observations(soc, observed, weights).mask(mask).log_prob(observed), axis=-1)

    def draw_scale(self, key: Array, soc: Array, observed: Array, mask: Array, weights: Array | None = None) -> None:
        """Draw nothing: there is no scale."""

    def _predictive(self, soc: Array) -> dist.Distribution:
        """Return the distribution of carbon that is to be predicted."""
        return dist.TruncatedNormal(soc, self.relative_error * jnp.maximum(soc, _SMALLEST_SOC), low=0.0)

    def _of_observations(self, soc: Array, observed: Array, weights: Array | None) -> dist.Distribution:
        """Return the distribution of observed carbon, whose scale comes from the observations themselves."""
        assert weights is not None
        return dist.Normal(soc, self.relative_error * observed / jnp.sqrt(weights))


Likelihood = StudentTLogSOC | LogNormalSOC | ProdaLikelihood
"""Any of the likelihoods."""


def _sample(distribution: dist.Distribution, observed: Array | None, mask: Array) -> None:
    """Sample the site ``soc`` (site, observation)."""
    with numpyro.plate("sites", mask.shape[0], dim=-2), numpyro.plate("observations", mask.shape[1], dim=-1):
        numpyro.sample("soc", distribution.mask(mask), obs=observed)


def _ranks(values: Array, mask: Array) -> Array:
    """Rank the values of each site by their distance from its mean, the farthest as 1; (site, observation)."""
    count = jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True), 1)
    mean = jnp.sum(jnp.where(mask, values, 0.0), axis=-1, keepdims=True) / count
    distance = jnp.where(mask, jnp.abs(values - mean), -jnp.inf)
    farthest = jnp.maximum(jnp.max(distance, axis=-1, keepdims=True, initial=0.0), jnp.finfo(values.dtype).tiny)
    distance = jnp.round(distance / farthest, 6)  # two observations are equally far from their mean, but for rounding
    return jax.vmap(rankdata)(-distance)
