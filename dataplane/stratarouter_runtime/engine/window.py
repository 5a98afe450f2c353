"""Outcomes of the last seconds, counted in a few slots.

Invariants: memory is constant; ``total`` and ``failures`` never hold outcomes older than the window; the oldest slot
leaves as a whole, so the window is at most a tenth shorter than configured, never longer.
"""

from __future__ import annotations

SLOTS = 10


class Window:
    """Counts outcomes over ``seconds``."""

    __slots__ = ("_failed", "_now", "_totals", "_width", "failures", "total")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / SLOTS
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._totals = [0] * SLOTS
        self._failed = [0] * SLOTS
        self._now = 0
        self.total = 0
        self.failures = 0

    def add(self, now: float, *, failed: bool) -> None:
        """Count an outcome that came at ``now`` (seconds, never running backwards)."""
        self._advance(int(now / self._width))
        slot = self._now % SLOTS
        self._totals[slot] += 1
        self.total += 1
        if failed:
            self._failed[slot] += 1
            self.failures += 1

    def _advance(self, now: int) -> None:
        passed = now - self._now
        if passed <= 0:
            return
        for step in range(1, min(passed, SLOTS) + 1):
            slot = (self._now + step) % SLOTS
            self.total -= self._totals[slot]
            self.failures -= self._failed[slot]
            self._totals[slot] = self._failed[slot] = 0
        # Slots are addressed by their number, so after a long silence all of them have been emptied above.
        self._now = now
