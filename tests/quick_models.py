"""Models without soil, whose posteriors are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["Sited"]


@dataclass(frozen=True)
class Sited:
    """What the protocol of models asks for, of a model that reads nothing from the sites."""

    name: ClassVar[str] = "without sites"
    has_network: ClassVar[bool] = False
    has_hidden_units: ClassVar[bool] = False
    site_latents: ClassVar[tuple[str, ...]] = ()

    def encode(self, dataset: Any) -> Any:
        return None

    def prepare(self, dataset: Any, encoding: Any) -> Any:
        return None
