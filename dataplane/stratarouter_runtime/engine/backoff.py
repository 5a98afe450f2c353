"""How long to wait before the same candidate is tried again.

Source: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): full jitter spreads callers that failed together
over the whole interval, which equal delays, however exponential, do not.
"""

from __future__ import annotations

from random import Random

MAX_DELAY = 10.0
"""Seconds; a longer interval would only eat the deadline."""


def full_jitter(base: float, failures: int, random: Random) -> float:
    """Seconds to wait after the ``failures``-th failure (from 1): anywhere up to ``base`` doubled with each."""
    # The exponent is bounded so that a long chain cannot overflow.
    return random.uniform(0, min(MAX_DELAY, base * 2 ** min(failures - 1, 32)))
