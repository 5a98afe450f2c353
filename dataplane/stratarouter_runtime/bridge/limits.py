"""The parameters of a chat request that bound its output.

Invariant: pure; what is not a whole number from 1 counts as absent, as the front doors refuse it anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def output_tokens(body: Mapping[str, Any]) -> int | None:
    """Most tokens of one answer that the caller asks for: ``max_completion_tokens`` or ``max_tokens``; None: no bound.

    Vendors refuse both at once; where one does not, the larger one is what it may cost.
    """
    given = [value for name in ("max_completion_tokens", "max_tokens") if (value := _count(body.get(name))) is not None]
    return max(given) if given else None


def within(asked: int | None, most: int | None) -> int | None:
    """The output limit that holds at a candidate which writes at most ``most``: a request for more is cut to that."""
    return asked if asked is None or most is None else min(asked, most)


def answers(body: Mapping[str, Any]) -> int:
    """How many answers are asked for: ``n``, default 1."""
    return _count(body.get("n")) or 1


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 1 else None
