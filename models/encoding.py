"""Covariates of a Dataset → input of a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from binn_prob.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Covariates", "Encoding"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Covariates:
    """What a network reads, a pytree whose first axis is the site."""

    continuous: Array
    """(site, continuous_covariate) standardised [1]"""
    categorical: Array
    """(site, categorical_covariate) position of the code in the vocabulary; 0 for a code that training never saw"""
    vocabulary_sizes: tuple[int, ...] = field(metadata={"static": True})
    """Positions of each categorical covariate, the one for unseen codes included"""


@dataclass(frozen=True)
class Encoding:
    """Scaling and vocabularies, learnt from the training sites and applied to any sites.

    Continuous covariates are standardised by the mean and standard deviation of the training sites; a missing value
    becomes the mean.  Each categorical covariate has its own vocabulary, the sorted codes of the training sites, from
    position 1 on; any other code is at position 0, whose embedding training leaves at its prior.
    """

    continuous_names: tuple[str, ...]
    mean: np.ndarray
    """(continuous_covariate,) in the covariates' own units"""
    scale: np.ndarray
    """(continuous_covariate,) likewise; infinite where the training sites do not differ, so that no site does"""
    categorical_names: tuple[str, ...]
    vocabularies: tuple[np.ndarray, ...]

    @classmethod
    def fit(cls, dataset: xr.Dataset) -> Encoding:
        """Learn the encoding from ``continuous`` (site, continuous_covariate) and ``categorical`` of a Dataset."""
        continuous = dataset["continuous"].transpose("site", "continuous_covariate").to_numpy()
        categorical = dataset["categorical"].transpose("site", "categorical_covariate").to_numpy()
        seen = np.isfinite(continuous)
        count = np.maximum(seen.sum(axis=0), 1)
        mean = np.where(seen, continuous, 0.0).sum(axis=0) / count
        scale = np.sqrt(np.where(seen, (continuous - mean) ** 2, 0.0).sum(axis=0) / count)
        return cls(
            continuous_names=tuple(map(str, dataset["continuous_covariate"].to_numpy())),
            mean=mean,
            scale=np.where(scale > 0.0, scale, np.inf),
            categorical_names=tuple(map(str, dataset["categorical_covariate"].to_numpy())),
            vocabularies=tuple(np.unique(column) for column in categorical.T),
        )

    def __call__(self, dataset: xr.Dataset) -> Covariates:
        """Encode the covariates of any sites.

        Raises
        ------
        InputError
            If a covariate of the training sites is missing.
        """
        continuous = _select(dataset, "continuous", self.continuous_names)
        categorical = _select(dataset, "categorical", self.categorical_names)
        standardised = np.nan_to_num((continuous - self.mean) / self.scale, nan=0.0)
        positions = np.zeros(categorical.shape, dtype=np.int32)
        for column, vocabulary in enumerate(self.vocabularies):
            nearest = np.clip(np.searchsorted(vocabulary, categorical[:, column]), 0, len(vocabulary) - 1)
            known = vocabulary[nearest] == categorical[:, column]
            positions[:, column] = np.where(known, nearest + 1, 0)
        sizes = tuple(len(vocabulary) + 1 for vocabulary in self.vocabularies)
        return Covariates(jnp.asarray(standardised), jnp.asarray(positions), sizes)


def _select(dataset: xr.Dataset, kind: str, names: tuple[str, ...]) -> np.ndarray:
    """Return the named covariates (site, covariate) in the order of training."""
    dimension = f"{kind}_covariate"
    missing = set(names) - set(map(str, dataset[dimension].to_numpy()))
    if missing:
        raise InputError(
            f"sites without the {kind} covariates {', '.join(sorted(missing))}",
            "every covariate of the training sites",
            "add them to the dataset, or take a fit of sites with the covariates that it has",
        )
    return dataset[kind].sel({dimension: list(names)}).transpose("site", dimension).to_numpy()
