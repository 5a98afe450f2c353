"""Time windows: by the wall clock of their zone, over midnight, and on the days when the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from stratarouter_runtime.bridge.windows import windows
from stratarouter_runtime.config.policy import TimeWindow

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def is_open(at: datetime, **fields: Any) -> bool:
    """Whether a window is open at a time."""
    (window,) = windows([TimeWindow.model_validate(fields)])
    return window.contains(at)


@pytest.mark.parametrize(("clock", "expected"), [("07:59:59", False), ("08:00:00", True), ("17:59:59", True), ("18:00:00", False)])
def test_the_start_is_included_and_the_end_is_not(clock: str, expected: bool) -> None:
    """To the second."""
    at = datetime.fromisoformat(f"2026-03-02T{clock}+00:00")
    assert is_open(at, **{"from": "08:00", "to": "18:00"}) is expected


def test_only_its_days_count() -> None:
    """By their English abbreviations."""
    opened = [day for day in range(7) if is_open(MONDAY + timedelta(days=day, hours=9), **{"days": ["Mon", "Sun"], "from": "08:00", "to": "18:00"})]
    assert opened == [0, 6]


@pytest.mark.parametrize(("hours", "expected"), [
    (21.9, False), (22, True), (24, True), (29.9, True), (30, False), (46, False), (5, False)])
def test_over_midnight_it_belongs_to_the_day_on_which_it_starts(hours: float, expected: bool) -> None:
    """Monday from 22:00 to 06:00 is open on Tuesday morning, not on Monday morning."""
    assert is_open(MONDAY + timedelta(hours=hours), **{"days": ["Mon"], "from": "22:00", "to": "06:00"}) is expected


def test_over_the_weeks_end() -> None:
    """Sunday's window reaches into Monday."""
    assert is_open(MONDAY + timedelta(hours=1), **{"days": ["Sun"], "from": "22:00", "to": "06:00"})


@pytest.mark.parametrize("to", ["24:00", "00:00"])
def test_midnight_is_the_end_of_the_day(to: str) -> None:
    """Written either way."""
    window = {"days": ["Mon"], "from": "18:00", "to": to}
    assert is_open(MONDAY + timedelta(hours=23, minutes=59), **window)
    assert not is_open(MONDAY + timedelta(hours=24), **window)
    assert not is_open(MONDAY, **window)


def test_equal_ends_are_a_whole_day() -> None:
    """From a time to the same on the next day."""
    window = {"days": ["Mon"], "from": "08:00", "to": "08:00"}
    assert [is_open(MONDAY + timedelta(hours=hours), **window) for hours in (7, 8, 23, 31, 32)] == [False, True, True, True, False]


def test_the_zone_of_the_window_counts_not_that_of_the_clock() -> None:
    """The same instant, told in three zones."""
    at = datetime(2026, 7, 1, 6, 30, tzinfo=UTC)
    for zone in (UTC, BERLIN, timezone(timedelta(hours=-7))):
        assert is_open(at.astimezone(zone), **{"from": "08:00", "to": "09:00", "timeZone": "Europe/Berlin"})
        assert not is_open(at.astimezone(zone), **{"from": "08:00", "to": "09:00"})


@pytest.mark.parametrize(("at", "expected"), [
    ("2026-03-28T07:30+00:00", True), ("2026-03-29T06:30+00:00", True),      # 08:30 in winter and, a day later, in summer
    ("2026-03-29T07:30+00:00", False), ("2026-10-25T06:30+00:00", False), ("2026-10-25T07:30+00:00", True)])
def test_eight_oclock_stays_eight_oclock_when_the_clocks_change(at: str, expected: bool) -> None:
    """The offset moves, the window does not."""
    assert is_open(datetime.fromisoformat(at), **{"from": "08:00", "to": "09:00", "timeZone": "Europe/Berlin"}) is expected


def test_an_hour_that_is_left_out_never_opens_and_one_that_comes_twice_opens_twice() -> None:
    """29 March has no 02:30 in Berlin, 25 October has two."""
    (window,) = windows([TimeWindow.model_validate({"from": "02:00", "to": "03:00", "timeZone": "Europe/Berlin"})])
    for start, minutes in ((datetime(2026, 3, 29, tzinfo=UTC), 0), (datetime(2026, 10, 25, tzinfo=UTC), 120)):
        opened = sum(window.contains(start + timedelta(minutes=minute)) for minute in range(12 * 60))
        assert opened == minutes
