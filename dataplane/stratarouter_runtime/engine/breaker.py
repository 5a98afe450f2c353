"""A circuit breaker: leaves a failing candidate alone and finds out with few calls whether it is back.

    closed ── error rate, failures in a row ──▶ open ── openSeconds, or forced ──▶ half-open ── a probe answers ──▶ closed
                                                 ▲                                    │
                                                 └────────── a probe fails ───────────┘

Invariants: never more than ``halfOpenProbes`` probes in flight, whatever they were admitted for; what was admitted
before a change of state says nothing about the state after it; an admission that ends without a verdict (the caller
went away) only gives back its place; after closing the traffic doubles with each answer instead of coming back at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from stratarouter_runtime.config import CircuitBreaker

from .window import Window

State = Literal["closed", "half_open", "open"]

RAMP_END = 64
"""Calls in flight from which a recovered candidate takes whatever comes."""


class Grant:
    """An admission. ``probe``: it is one of the few calls that decide whether the breaker closes."""

    __slots__ = ("answered", "closed_it", "epoch", "probe")

    def __init__(self, epoch: int, *, probe: bool) -> None:
        self.epoch = epoch
        self.probe = probe
        self.answered = False
        self.closed_it = False


class Breaker:
    """One breaker. ``early`` gives the share of ``openSeconds`` by which an opening is cut short, anew each time:
    breakers that opened together must not probe together.
    """

    __slots__ = ("_early", "_epoch", "_in_a_row", "_opened", "_ramp", "_settings", "_shortened", "_window", "active", "probes", "state")

    def __init__(self, settings: CircuitBreaker, early: Callable[[], float] = lambda: 0.0) -> None:
        self._settings = settings
        self._early = early
        self._window = Window(settings.window_seconds)
        self._epoch = 0
        self._in_a_row = 0
        self._opened = 0.0
        self._shortened = 0.0
        self._ramp = 0
        self.state: State = "closed"
        self.probes = 0
        """Probes in flight."""
        self.active = 0
        """Admissions that have not ended."""

    def tune(self, settings: CircuitBreaker) -> None:
        """Go on under other settings; an opening in progress is measured by the new ``openSeconds``."""
        if settings.window_seconds != self._settings.window_seconds:
            self._window = Window(settings.window_seconds)
        self._settings = settings

    @property
    def due(self) -> float:
        """When an open breaker lets a probe through."""
        return self._opened + self._settings.open_seconds * (1 - self._shortened)

    @property
    def ramping(self) -> bool:
        """Whether it has recovered, but has as many calls in flight as it is trusted with so far."""
        return self._ramp > 0 and self.active >= self._ramp and self.state == "closed"

    def admit(self, now: float, *, force: bool = False) -> Grant | None:
        """Ask to call; None where it must not. ``force`` asks an open one for a probe before its time."""
        if self.state == "closed":
            self.active += 1
            return Grant(self._epoch, probe=False)
        if force:
            if self.probes:
                return None
        elif self.probes >= self._settings.half_open_probes or (self.state == "open" and now < self.due):
            return None
        if self.state == "open":
            self._enter("half_open")
        self.active += 1
        self.probes += 1
        return Grant(self._epoch, probe=True)

    def answered(self, grant: Grant) -> None:
        """The call has brought content: good enough for a probe, whose stream may go on for minutes."""
        if grant.answered:
            return
        grant.answered = True
        self._end_probe(grant)
        if grant.epoch != self._epoch:
            return
        if self.state == "half_open":
            self._close()
            grant.epoch = self._epoch
            grant.closed_it = True
        elif self._ramp:
            self._ramp = self._ramp * 2 if self._ramp < RAMP_END else 0

    def succeeded(self, grant: Grant, now: float) -> None:
        """The call is over and answered."""
        self.answered(grant)
        self.released(grant)
        if grant.epoch == self._epoch:
            self._in_a_row = 0
            self._window.add(now, failed=False)

    def failed(self, grant: Grant, now: float) -> None:
        """The call is over, and how it failed speaks against the candidate."""
        probed = grant.probe
        self.released(grant)
        if grant.epoch != self._epoch:
            return
        if probed or grant.closed_it:
            self._open(now)
            return
        self._in_a_row += 1
        self._window.add(now, failed=True)
        if self._is_too_much():
            self._open(now)

    def released(self, grant: Grant) -> None:
        """The call is over without a verdict."""
        self.active -= 1
        self._end_probe(grant)

    def _end_probe(self, grant: Grant) -> None:
        if grant.probe:
            grant.probe = False
            self.probes -= 1

    def _is_too_much(self) -> bool:
        settings, window = self._settings, self._window
        if self._in_a_row >= settings.consecutive_failures:
            return True
        return (window.total >= settings.minimum_requests
                and window.failures * 100 >= settings.error_rate_percent * window.total)

    def _open(self, now: float) -> None:
        self._opened = now
        self._shortened = self._early()
        self._ramp = 0
        self._enter("open")

    def _close(self) -> None:
        self._window.clear()
        self._in_a_row = 0
        self._ramp = 2 * self._settings.half_open_probes
        self._enter("closed")

    def _enter(self, state: State) -> None:
        self.state = state
        self._epoch += 1
