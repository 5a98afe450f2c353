"""What is known of one candidate's health: its breaker, its vendor's Retry-After, and whether it is misconfigured.

Invariant: a call's verdict is judged by when the call began: what began before a fault was seen cannot clear it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from stratarouter_runtime.config import CircuitBreaker
from stratarouter_runtime.model.errors import ProviderError

from .breaker import Breaker

RECHECK_SECONDS = 10.0
"""How long a misconfigured candidate is avoided before one call finds out whether it has been repaired."""
PATIENCE_SECONDS = 5.0
"""A caller's deadline that ends a shorter wait says nothing of the candidate: a caller may choose any deadline."""
MAX_RETRY_AFTER = 86_400.0
"""Seconds of a Retry-After that are believed: a mistaken date must not take a provider out for a year."""


class Record:
    """The state of one (provider, model, region)."""

    __slots__ = ("answered_at", "breaker", "fault", "fault_since", "limited_by", "limited_until", "recheck_at")

    def __init__(self, settings: CircuitBreaker, early: Callable[[], float]) -> None:
        self.breaker = Breaker(settings, early)
        self.limited_until = -math.inf
        self.limited_by = ""
        self.fault: str | None = None
        self.fault_since = -math.inf
        self.recheck_at = -math.inf
        self.answered_at = -math.inf

    def answered(self, now: float, *, began: float) -> None:
        """A call that ``began`` then was answered, be it by refusing what the caller asked."""
        self.answered_at = now
        if self.fault is not None and began >= self.fault_since:
            self.fault = None

    def complained(self, error: ProviderError, now: float) -> None:
        """Keep what a failure says beyond itself: when to come back, and that something must be repaired."""
        wait = error.retry_after
        if wait is not None and wait > 0 and now + wait > self.limited_until:
            self.limited_until = now + min(wait, MAX_RETRY_AFTER)
            self.limited_by = error.reason
        if error.treatment.degraded:
            if self.fault is None:
                self.fault_since = now
            self.fault = error.reason
            self.recheck_at = now + RECHECK_SECONDS

    def hung(self, now: float, *, began: float) -> bool:
        """Whether a call cut off by its caller's deadline speaks against the candidate.

        It does where it had been patient and nobody else was answered meanwhile; else one caller with short deadlines
        could take a provider away from all others.
        """
        return now - began >= PATIENCE_SECONDS and self.answered_at < began

    def forgive(self) -> None:
        """Somebody has repaired it: its faults and limits belong to the old credential."""
        self.fault = None
        self.limited_until = -math.inf

    def condition(self, now: float) -> tuple[int, str]:
        """Severity (0 well, 1 degraded, 2 out) and the reason."""
        state = self.breaker.state
        if self.fault == "CredentialsMissing":
            return 2, self.fault
        if state == "open":
            return 2, "BreakerOpen"
        if self.fault is not None:
            return 1, self.fault
        if now < self.limited_until:
            return 1, self.limited_by
        return (1, "BreakerHalfOpen") if state == "half_open" else (0, "")
