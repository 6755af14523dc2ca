"""The section ``data`` of the settings of a run: which sites."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from binn_prob.data.sources import NAMES, is_file_name, screening_of
from binn_prob.errors import InputError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["DataSettings", "Section", "Seed"]

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """Keys that are known and checked, and do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataSettings(Section):
    """Which sites."""

    name: str = "synthetic"
    """``synthetic``, ``new-york``, ``new-york-grid``, ``national``, or a netCDF file (``.nc``) or Zarr store
    (``.zarr``) of sites"""
    sites: int | list[int] | None = None
    """number of sites, or their ids; default: 64 synthetic ones, all usable published profiles"""
    seed: Seed = 0
    """seed of the synthetic sites, or of the choice among the profiles"""
    folder: str | None = None
    """folder with the published files; default: the cache of downloads"""
    screening: str | list[str] | None = None
    """which of the national profiles pass: ``binn``, ``proda`` or a list of tests, an empty one for all profiles;
    default: ``binn``"""
    proda_counts_from: int | None = None
    """number of the first of the national profiles in PRODA's results, 0 or 1; default: 0"""

    def absolute_folder(self) -> str | None:
        """Return the path of the folder in full, so that it means the same in any other."""
        return None if self.folder is None else str(Path(self.folder).expanduser().absolute())

    def passing(self) -> dict[str, Any]:
        """Return the screening of these data, its defaults spelled out; empty if they have none."""
        return screening_of(self.name, self.screening, self.proda_counts_from)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NAMES and not is_file_name(name):
            expected = f"{', '.join(map(repr, NAMES))}, or a netCDF file (.nc) or Zarr store (.zarr)"
            raise InputError(f"data.name = {name!r}", expected, "correct data.name")
        return name

    @field_validator("sites", mode="before")
    @classmethod
    def _at_least_two(cls, sites: Any) -> Any:
        ids = sites if isinstance(sites, list) else [sites]
        whole = all(isinstance(one, int) and not isinstance(one, bool) for one in ids)
        if sites is not None and not (whole and (len(ids) if isinstance(sites, list) else sites) >= 2):
            expected = "an integer of at least 2, or a list of at least two ids"
            raise InputError(f"data.sites = {sites!r}", expected, "correct data.sites")
        return sites

    @field_validator("screening", mode="before")
    @classmethod
    def _a_word_or_words(cls, screening: Any) -> Any:
        words = screening if isinstance(screening, list) else [screening]
        if screening is not None and not all(isinstance(word, str) for word in words):
            got, expected = f"data.screening = {screening!r}", "'binn', 'proda' or a list of tests"
            raise InputError(got, expected, "correct data.screening")
        return screening

    @model_validator(mode="after")
    def _screening_is_of_these_data(self) -> Self:
        self.passing()
        return self
