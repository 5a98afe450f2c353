"""Conditions of a status, as ``kubectl wait`` and people read them.

Pure. Invariants: ``lastTransitionTime`` changes exactly when ``status`` does; every condition has the generation it
speaks of and a CamelCase reason; messages are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from .clock import timestamp

Truth = Literal["True", "False", "Unknown"]

MAX_MESSAGE = 1024
_REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,127}")


@dataclass(frozen=True, slots=True)
class Condition:
    """What is the case, why, and for which generation."""

    type: str
    status: Truth
    reason: str
    message: str
    observed_generation: int

    def __post_init__(self) -> None:
        if not _REASON.fullmatch(self.reason):
            raise ValueError(f"{self.reason!r} is no CamelCase reason")


def merged(conditions: Iterable[Condition], previous: Iterable[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """The conditions as JSON, with the times of ``previous`` where the status is the same."""
    before = {each["type"]: each for each in previous}
    return [_as_json(each, before.get(each.type, {}), now) for each in conditions]


def _as_json(condition: Condition, before: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    same = before.get("status") == condition.status
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": _bounded(condition.message),
        "observedGeneration": condition.observed_generation,
        "lastTransitionTime": before["lastTransitionTime"] if same and "lastTransitionTime" in before else timestamp(now),
    }


def find(conditions: Iterable[Mapping[str, Any]], wanted: str) -> Mapping[str, Any]:
    """The condition of a type; empty where there is none."""
    return next((each for each in conditions if each.get("type") == wanted), {})


def _bounded(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def some(names: Iterable[str], *, shown: int = 5) -> str:
    """A few names for a message: ``a, b and 3 more``."""
    every = sorted(names)
    rest = len(every) - shown
    return ", ".join(every[:shown]) + (f" and {rest} more" if rest > 0 else "")
