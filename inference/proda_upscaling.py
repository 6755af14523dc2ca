"""PRODA's second stage: from the posteriors of single sites to any site."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar, Literal, cast, get_args

import jax
import jax.numpy as jnp
from jax import Array

from binn_prob.checks import one_of, positive, whole
from binn_prob.errors import InputError
from binn_prob.inference import bootstrap, logits
from binn_prob.inference.base import Fit, Method, Stopwatch
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.inference.error_scale import error_scales

__all__ = ["Upscaling"]

Target = Literal["draws", "means"]

_ORIGIN = ("seed", "data_fingerprint")
"""Attributes of the first stage that are the second's, too; its diagnostics are not."""


@dataclass(frozen=True)
class Upscaling:
    """A network is fitted to the posteriors of independent sites, not to their carbon (Tao et al. 2020, 2023).

    The network is that of a model of :mod:`binn_prob.models`, and the result is a posterior of that model's weights:
    an ensemble whose members each learn from one draw of every site's posterior, in a bootstrap sample of the sites,
    and stop at the lowest loss at the other sites.  The loss is that of a Gaussian on the logit scale of the unit cube.

    **Posterior**: with ``BINN`` a site has the parameters that the network gives, and the spread of the members is the
    uncertainty of the regression: of the sites' posteriors and of which sites there are, both averaged over sites.  It
    is not the uncertainty about one site; that shows in ``soc_scale`` alone.  With ``NeuralPrior`` the network also
    learns the spread of the sites' draws about what it gives, so that a site never seen gets the range in which
    posteriors of sites like it lie, which is wider than that of the parameters; fitted sites keep their own draws.  A
    parameter that the sites' posteriors leave where its prior was stays there.  The error scale is drawn from its
    posterior given the member's parameters, with ``BINN`` at the sites that are not in its sample.

    **Use it** to compare the two stages with models that learn from all sites at once.  **Do not** expect it to be as
    sharp: each site's posterior has been pulled towards the middle by a prior that knows no other site.

    **Cost**: one optimisation of all members at once, without solving the soil: small beside the first stage.

    The published program trains one network on the means (``target="means"``), by the product of two losses, and
    resamples the sites 200 times.
    """

    name: ClassVar[str] = "upscaling"

    target: Target = "draws"
    """What the network learns: ``draws``, one of each site's posterior for each member; or their ``means``, as
    published, which leaves out the uncertainty of the sites."""
    members: int = 100
    """Networks of the ensemble, and draws of the result."""
    steps: int = 3000
    """Most optimisation steps."""
    learning_rate: float = 0.01
    """Of AdamW, at the start."""
    weight_decay: float = 1e-3
    """Of AdamW, per step and learning rate."""
    patience: int | None = 5
    """A member stops when its loss at the sites left out has not improved in 100 steps this many times in a row; None
    takes all steps."""

    def __post_init__(self) -> None:
        whole(self, "members", "steps")
        positive(self, "learning_rate", "weight_decay")
        if self.patience is not None:
            whole(self, "patience")
        one_of(self, "target", get_args(Target))

    def check(self, model: logits.ParameterModel, first: Fit) -> None:
        """Refuse models that are not what their stage needs.

        Raises
        ------
        InputError
            As :meth:`fit` does.
        """
        if first.model.has_network:
            got = f"a first stage of the model {first.model.name!r}, whose sites share a network"
            raise InputError(got, "a fit of a model of independent sites", "fit 'site' first")
        if not model.has_network or not set(model.site_latents) <= {"offsets"}:
            got = f"a second stage of the model {model.name!r}"
            raise InputError(got, "a model with a network, such as 'binn'", "choose another model")
        for field in ("ranges", "fixed"):
            ours, theirs = getattr(model, field), getattr(first.model, field)
            if ours != theirs:
                got = f"stages of different {field} ({theirs} first, {ours} second)"
                raise InputError(got, "the same parameters in the same ranges", "make the two models alike")

    def fit(
        self, key: Array, model: logits.ParameterModel, first: Fit, *, progress: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> Fit:  # fmt: skip
        """Fit the network of ``model`` to the posteriors of the sites of ``first``.

        Parameters
        ----------
        key : random key
        model : model with a network
            Such as ``BINN`` or ``NeuralPrior``, with the ranges and free parameters of the first stage.
        first : Fit
            Of a model of independent sites, by any method.
        progress : bool
        checkpoint : Checkpoint, optional

        Returns
        -------
        Fit
            Its wall time includes that of ``first``.

        Raises
        ------
        InputError
            If one of the models is not what it must be.
        FitError
            If the optimisation diverges.
        """
        self.check(model, first)
        stopwatch, dataset = Stopwatch(), first.dataset
        pick_key, sample_key, start_key, scale_key, predict_key = jax.random.split(key, 5)
        encoding = model.encode(dataset)
        profiles = model.prepare(dataset, encoding)
        targets = self._targets(pick_key, first)
        counts = bootstrap.resampled(sample_key, self.members, dataset.sizes["site"])
        shapes = jax.eval_shape(partial(logits.run, model), profiles)
        starts = jax.random.normal(start_key, (self.members, *shapes["weights"].shape))
        weights, losses = bootstrap.train(
            partial(_losses, model), starts, targets, counts, profiles,
            steps=self.steps, learning_rate=self.learning_rate, weight_decay=self.weight_decay,
            patience=self.patience, label=self.name, progress=progress, checkpoint=checkpoint,
        )  # fmt: skip
        draws = {"weights": weights}
        counted = bootstrap.held_out(counts)
        if "offsets" in model.site_latents:
            draws["offsets"], counted = logits.offsets(model, profiles, weights, targets), jnp.ones_like(counted)
        if "soc_scale" in shapes:
            keys = jax.random.split(scale_key, self.members)
            draws["soc_scale"] = error_scales(model, profiles, keys, logits.carbon(model, profiles, draws), counted)
        of_first = [{kind.name: asdict(kind)} for kind in (first.method, first.model)]  # type: ignore[call-overload]
        return Fit(
            method=cast("Method", self),  # a fit reads its name and its fields
            model=model,
            dataset=dataset,
            encoding=encoding,
            draws={name: values[None] for name, values in draws.items()},
            key=predict_key,
            wall_seconds=first.wall_seconds + stopwatch.seconds(),
            gradients=first.gradients,  # the networks do not solve the soil
            sample_stats={"loss": losses * targets[0].size},  # of all that a member learns [nat]
            attributes={
                **{name: first.attributes[name] for name in _ORIGIN if name in first.attributes},
                "first_stage": json.dumps(of_first, default=str),
                "first_stage_convergence": str(first.verdict),
            },
            check=first.check,
        )

    def _targets(self, key: Array, first: Fit) -> Array:
        """Return what each member learns, (member, site, free parameter) [logit]."""
        profiles = first.model.prepare(first.dataset, first.encoding)
        pooled = {name: values.reshape(-1, *values.shape[2:]) for name, values in first.draws.items()}
        draws, sites = next(iter(pooled.values())).shape[:2]
        if self.target == "means":
            means = logits.to_logit(logits.mean_unit(first.model, profiles, pooled))
            return jnp.repeat(means[None], self.members, axis=0)
        pick = jax.random.randint(key, (self.members, sites), 0, draws)
        picked = {name: values[pick, jnp.arange(sites)] for name, values in pooled.items()}
        return logits.to_logit(logits.free_units(first.model, profiles, picked))


def _losses(model: logits.ParameterModel, weights: Array, target: Array, profiles: Any) -> Array:
    """Return the negative log density of a Gaussian at the targets, mean over the parameters, (site,)."""
    location, scale = logits.line(model, profiles, weights)
    return jnp.mean(0.5 * ((target - location) / scale) ** 2 + jnp.log(scale), axis=-1)
