"""What is lost of a request on its way to a vendor, and how it is told.

A parameter that a dialect has no place for is either a hint, left out whoever answers, or a reason not to ask that vendor
(unless the caller said that it may be dropped). Invariant: nothing is lost without being named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A parameter that the dialect has no place for.

    ``param`` as errors name it (``logit_bias``, ``messages[2].content[0]``); ``reason`` is one clause for people (``it takes
    no log probabilities``). A ``hint`` does not change what is asked (``store``, ``user``, ``service_tier``): it is left out,
    and the caller told; anything else is a reason not to ask this vendor.
    """

    param: str
    reason: str
    hint: bool = False

    def to_document(self) -> dict[str, str]:
        """As JSON has it."""
        return {"param": self.param, "reason": self.reason}


def named(losses: Iterable[Unsupported]) -> str:
    """What was left out as ``x-strata-warning`` and the log have it: ``dropped: store, user``; empty for nothing."""
    params = ", ".join(dict.fromkeys(each.param for each in losses))
    return f"dropped: {params}" if params else ""
