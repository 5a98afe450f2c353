"""The bulkhead: how many calls one provider may have in flight, so that a slow one cannot take every slot.

Invariants: never more in flight than the limit at the time of entering; every place taken is given back once; a lower
limit lets what is in flight finish.
"""

from __future__ import annotations


class Bulkhead:
    """Places for calls in flight."""

    __slots__ = ("in_flight", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0

    @property
    def full(self) -> bool:
        """Whether no place is free."""
        return self.in_flight >= self.limit

    def enter(self) -> bool:
        """Take a place; False where none is free."""
        if self.in_flight >= self.limit:
            return False
        self.in_flight += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self.in_flight -= 1
