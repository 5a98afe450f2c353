"""Time windows: whether now is a time at which requests are allowed.

Invariants: pure; the wall clock of the window's zone counts, so an hour that a change to summer time leaves out is
never open, and one that comes twice is open twice. A window belongs to the day on which it starts; one whose end is
not after its start runs over midnight, so equal ends are a whole day.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from stratarouter_runtime.config.policy import ALL_DAYS, TimeWindow, zone


@dataclass(frozen=True, slots=True)
class Window:
    """One window. Times are minutes of the day, days 0 (Monday) to 6; ``text`` is how it is shown."""

    days: frozenset[int]
    start: int
    end: int
    zone: tzinfo
    text: str

    @classmethod
    def of(cls, config: TimeWindow) -> Window:
        """The window of the contract."""
        days = ",".join(day for day in ALL_DAYS if day in config.days)
        return cls(frozenset(ALL_DAYS.index(day) for day in config.days), _minutes(config.from_), _minutes(config.to),
                   zone(config.time_zone) or UTC, f"{days} {config.from_}-{config.to} {config.time_zone}")

    def contains(self, now: datetime) -> bool:
        """Whether an aware time is inside."""
        local = now.astimezone(self.zone)
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        return (today in self.days and minute >= self.start) or ((today - 1) % 7 in self.days and minute < self.end)


def windows(configs: Iterable[TimeWindow]) -> tuple[Window, ...]:
    """All windows of a policy."""
    return tuple(Window.of(each) for each in configs)


def _minutes(time: str) -> int:
    hour, minute = time.split(":")
    return int(hour) * 60 + int(minute)
