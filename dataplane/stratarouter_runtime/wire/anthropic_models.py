"""What Claude's generations take, told from a model's name: Anthropic's API refuses parameters that a model has no longer, or
not yet.

Sources: Anthropic's model overview and migration guides (extended thinking from 3.7, adaptive thinking and effort from 4.6,
sampling parameters gone from 4.7, structured outputs from 4.1 (Opus) and 4.5). A name without a version (an alias, a
gateway's own name) is taken for a model of today, but one that may be sampled: its own refusal reaches the caller.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Thinking = Literal["none", "budget", "adaptive"]

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)", re.IGNORECASE)

DEFAULT_MAX_TOKENS = 16_384
"""Tokens of an answer whose caller does not say: Anthropic requires a figure. Enough for long answers and some thinking, and
within what every model since Claude 3.7 can write; older ones get their own maximum."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a model takes.

    ``thinking``: not at all, with a budget in tokens, or as it sees fit (``adaptive``, steered by an effort).
    ``efforts`` are the levels it knows, weakest first. ``sampling``: ``temperature``, ``top_p`` and ``top_k``;
    ``combined``: the first two at once. ``schemas``: answers of a JSON schema. ``rests``: it thinks unless told not to.
    """

    thinking: Thinking
    efforts: tuple[str, ...]
    sampling: bool
    combined: bool
    schemas: bool
    rests: bool
    max_tokens: int


@lru_cache(maxsize=1024)
def traits(model: str) -> Traits:
    """The traits of a model by the name that the vendor knows it by."""
    found = _VERSION.search(model)
    version = (int(found[1]), int(found[2] or 0)) if found else None
    known = version or (4, 6)
    adaptive = known >= (4, 6)
    return Traits(
        thinking="adaptive" if adaptive else "budget" if known >= (3, 7) else "none",
        efforts=_efforts(version) if adaptive else (),
        sampling=version is None or version < (4, 7),
        combined=known < (4, 1),
        schemas=known >= (4, 5) or (known == (4, 1) and "opus" in model.lower()),
        rests=version is not None and version >= (5, 0),
        max_tokens=4_096 if known < (3, 5) else 8_192 if known < (3, 7) else DEFAULT_MAX_TOKENS)


def _efforts(version: tuple[int, int] | None) -> tuple[str, ...]:
    return ("low", "medium", "high", "max") if version == (4, 6) else ("low", "medium", "high", "xhigh", "max")
