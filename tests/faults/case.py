"""A named fault and what is expected where it is met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from builders import Document
from fakes.vendor import Fault, Reply

from .expected import ANSWERED, Ends

SOON = {"connectMs": 200, "firstTokenMs": 200, "idleMs": 200, "totalMs": 250}
"""Timeouts of providers that never begin, in milliseconds; the others are never waited for so long."""
SILENT = {"connectMs": 5_000, "firstTokenMs": 5_000, "idleMs": 150, "totalMs": 5_000}
"""Those of providers that begin and fall silent: also on a busy machine the beginning comes."""


@dataclass(frozen=True, slots=True)
class Case:
    """One fault; None for a kind of request that is not tried with it."""

    name: str
    json: Ends | None = ANSWERED
    stream: Ends | None = ANSWERED
    embed: Ends | None = None
    fault: str | Fault | Reply = ""
    """Default: the vendor's fault of the same name."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    provider: Document = field(default_factory=dict)
    """Further fields of the provider."""
    within: float = 0.4
    """Seconds that an attempt may take."""
    asked: Document = field(default_factory=dict)
    """Further fields of the request."""

    @property
    def label(self) -> str:
        """The name as a provider's and a route's."""
        return self.name.replace("_", "-")

    def expected(self) -> list[tuple[str, Ends]]:
        """The kinds of request that are tried."""
        kinds = (("json", self.json), ("stream", self.stream), ("embed", self.embed))
        return [(kind, ends) for kind, ends in kinds if ends is not None]


def everywhere(name: str, ends: Ends, **fields: Any) -> Case:
    """A fault that ends alike for whatever was asked."""
    return Case(name, ends, ends, ends, **fields)


def hangs(name: str, json: Ends | None, stream: Ends | None, embed: Ends | None = None, **fields: Any) -> Case:
    """A fault whose end is a timeout of the provider's."""
    begins = stream is not None and stream.in_band
    return Case(name, json, stream, embed, **{"provider": {"timeouts": SILENT if begins else SOON}, **fields})
