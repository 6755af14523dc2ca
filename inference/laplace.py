"""The Laplace approximation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers
from numpyro.distributions.transforms import LowerCholeskyAffine
from numpyro.infer import init_to_sample
from numpyro.infer.autoguide import AutoLaplaceApproximation

from binn_prob.checks import one_of, positive, whole
from binn_prob.errors import InputError
from binn_prob.inference.base import Fit, FitError, Method, Model, Stopwatch, prepared
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.inference.training import OrderedELBO, train

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Laplace"]

Weights = Literal["all", "last_layer"]

_MOST = 5000
"""Latent numbers whose full Hessian still fits in memory, at 200 MB."""

_AT_ONCE = 8
"""Columns of the Hessian that are computed together."""

_LEAST_PRECISION = 1.0
"""That of the weights' standard normal prior."""


@dataclass(frozen=True)
class Laplace(Method):
    """A Gaussian at the mode, as wide as the curvature of the density there says (MacKay 1992, Neural Computation 4).

    **Posterior**: on the unconstrained scale of the latent sites, a Gaussian whose mean is the mode and whose precision
    is the Hessian of the negative log density.  It is exact if the posterior is Gaussian, and knows one mode only.
    With ``weights="last_layer"`` the weights below the output layer stay at the mode (Daxberger et al. 2021, NeurIPS),
    and the rest is as wide as it is given them: too narrow, but well conditioned.

    A mode of a network is rarely perfect, and in some directions the likelihood may curve the wrong way.  There the
    precision of the weights' prior, 1, is taken instead: eigenvalues of the Hessian below it are raised to it.  The
    attribute ``raised_eigenvalues`` of the results counts them, and ``distance_to_mode`` says how far a Newton step
    would still go, in posterior standard deviations: well below 1 when the optimisation has arrived.

    **Use it** for a first posterior with correlations, cheaper than a full-rank VI.  **Do not** use it where the
    posterior is skewed or its modes many, and check its coverage: the curvature at a point says little of wide tails.

    **Cost**: one optimisation, and about two gradients for each of up to 5000 latent numbers.
    """

    name: ClassVar[str] = "laplace"
    needs_hidden_units: ClassVar[bool] = False
    needs_independent_sites: ClassVar[bool] = False

    weights: Weights = "all"
    """``all``, or ``last_layer``: of the network's weights, only those of its output layer vary."""
    draws: int = 1000
    """Draws from the Gaussian."""
    steps: int = 6000
    """Most optimisation steps."""
    learning_rate: float = 0.01
    """Of Adam, at the start."""
    patience: int | None = 10
    """Stop when the mean loss of 100 steps has not improved this many times in a row; None takes all steps."""

    def __post_init__(self) -> None:
        whole(self, "draws", "steps")
        positive(self, "learning_rate")
        if self.patience is not None:
            whole(self, "patience")
        one_of(self, "weights", get_args(Weights))

    def check(self, model: Model, dataset: xr.Dataset) -> None:
        """Refuse a last layer where there is none, and more numbers than a full Hessian can have."""
        _varying(model.prior, model.prepare(dataset, model.encode(dataset)), self.weights)

    def fit(
        self,
        key: Array,
        model: Model,
        dataset: xr.Dataset,
        *,
        progress: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> Fit:
        """Find the mode and its curvature.

        Raises
        ------
        InputError
            If only a last layer is to vary and the model has none, or too many numbers are to vary.
        FitError
            If the optimisation diverges or the curvature at its end is not finite.
        """
        stopwatch = Stopwatch()
        train_key, draw_key, predict_key = jax.random.split(key, 3)
        encoding, profiles, silent = prepared(model, dataset)
        family = partial(_Curvature, silent, model.prior, _varying(model.prior, profiles, self.weights))
        trained = train(
            train_key, silent, family, profiles, steps=self.steps, learning_rate=self.learning_rate,
            patience=self.patience, label=f"laplace ({self.weights})", progress=progress, checkpoint=checkpoint,
        )  # fmt: skip
        drawn = trained.draw(draw_key, self.draws)
        return Fit(
            method=self,
            model=model,
            dataset=dataset,
            encoding=encoding,
            draws={site: values[None] for site, values in drawn.items()},
            key=predict_key,
            wall_seconds=stopwatch.seconds(),
            gradients=trained.gradients + 2.0 * trained.guide.latent_dim,  # about what the Hessian costs
            sample_stats={"loss": trained.losses},
            attributes=trained.guide.findings,
        )


class _Curvature(AutoLaplaceApproximation):  # type: ignore[misc]  # NumPyro has no types
    """NumPyro's guide, where some of the latent numbers stay at the mode and no direction is wider than the prior."""

    def __init__(
        self, model: Callable[..., None], prior: Callable[..., None], varying: Mapping[str, np.ndarray]
    ) -> None:
        super().__init__(prior, init_loc_fn=init_to_sample, hessian_fn=_hessian)
        self._curved = model
        self._varying = varying
        self.findings: dict[str, int | float] = {}
        """What :class:`Laplace` says about the Hessian, known once there are draws"""

    def _setup_prototype(self, *arguments: Any, **options: Any) -> None:
        """Learn the latent sites from the prior; the density that curves is that of the whole model."""
        super()._setup_prototype(*arguments, **options)

        def loss(parameters: dict[str, Array]) -> Array:
            value: Array = OrderedELBO(sum_sites=False).loss(
                jax.random.key(0), parameters, self._curved, self, *arguments, **options
            )
            return value

        self._loss_fn = loss

    def get_transform(self, params: dict[str, Array]) -> LowerCholeskyAffine:
        """Return the map from a standard normal to the posterior."""
        name = f"{self.prefix}_loc"
        mode = params[name]
        positions = self._unpack_latent(jnp.arange(self.latent_dim))
        free = jnp.concatenate([jnp.ravel(positions[site])[np.ravel(mask)] for site, mask in self._varying.items()])

        def loss(values: Array) -> Array:
            density: Array = self._loss_fn({**params, name: mode.at[free].set(values)})
            return density

        values, vectors = jnp.linalg.eigh(self._hessian_fn(loss, mode[free]))
        step = vectors.T @ jax.grad(loss)(mode[free])
        if not bool(jnp.isfinite(values).all() & jnp.isfinite(step).all()):
            raise FitError(
                "laplace: the curvature at the mode is not finite; use a smaller learning_rate or other data"
            )
        precision = jnp.maximum(values, _LEAST_PRECISION)
        self.findings = {
            "raised_eigenvalues": int(
                (values < _LEAST_PRECISION * (1.0 - 1e-6)).sum()
            ),  # not those that rounding moved
            "distance_to_mode": float(jnp.sqrt(jnp.sum(step**2 / precision))),
        }
        factor = jnp.linalg.cholesky((vectors / precision) @ vectors.T)
        held = jnp.zeros((self.latent_dim, self.latent_dim))
        return LowerCholeskyAffine(mode, held.at[free[:, None], free].set(factor))


def _hessian(function: Callable[[Array], Array], at: Array) -> Array:
    """Return the Hessian a few columns at a time: all of them together would need the memory of as many models."""

    def column(direction: Array) -> Array:
        product: Array = jax.jvp(jax.grad(function), (at,), (direction,))[1]
        return product

    columns = jax.jit(lambda directions: jax.lax.map(column, directions, batch_size=_AT_ONCE))(jnp.eye(len(at)))
    return 0.5 * (columns + columns.T)


def _varying(model: Callable[..., None], profiles: Any, weights: Weights) -> dict[str, np.ndarray]:
    """Return which numbers of each latent site vary: a mask of its shape.

    A model says with ``infer={"last_layer": mask}`` which of its weights belong to the output layer.
    """
    traced = handlers.trace(handlers.seed(model, rng_seed=0)).get_trace(profiles)
    latent = {name: site for name, site in traced.items() if site["type"] == "sample" and not site["is_observed"]}
    masks = {name: np.ones(np.shape(site["value"]), bool) for name, site in latent.items()}
    if weights == "last_layer":
        last = {name: site["infer"]["last_layer"] for name, site in latent.items() if "last_layer" in site["infer"]}
        if not last:
            expected = "a model with a network, such as 'binn'"
            raise InputError("laplace weights 'last_layer' for a model without layers", expected, "choose 'all'")
        masks |= last
    count = sum(int(mask.sum()) for mask in masks.values())
    if count > _MOST:
        cure = "choose weights 'last_layer', a smaller network, or another method"
        raise InputError(
            f"{count} latent numbers for laplace, whose Hessian is a full matrix", f"at most {_MOST}", cure
        )
    return masks
