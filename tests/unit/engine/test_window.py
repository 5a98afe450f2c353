"""Sliding counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.engine.window import SLOTS, Window

SECONDS = 30.0


def test_outcomes_older_than_the_window_do_not_count():
    window = Window(SECONDS)
    window.add(0.0, failed=True)
    window.add(SECONDS, failed=False)
    assert (window.total, window.failures) == (1, 0)


def test_a_long_silence_empties_it():
    window = Window(SECONDS)
    for _ in range(5):
        window.add(1.0, failed=True)
    window.add(1e9, failed=True)
    assert (window.total, window.failures) == (1, 1)


def test_a_clock_that_stands_still_or_runs_back_is_counted_as_now():
    window = Window(SECONDS)
    window.add(100.0, failed=True)
    window.add(90.0, failed=True)
    assert (window.total, window.failures) == (2, 2)


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=60))
def test_it_counts_what_a_list_of_outcomes_would(steps):
    """Everything in nine tenths of the window counts, nothing older than the window does."""
    window, now, log = Window(SECONDS), 0.0, []
    for passed, failed in steps:
        now += passed
        window.add(now, failed=failed)
        log.append((now, failed))
        surely = [bad for at, bad in log if now - at < SECONDS * (SLOTS - 1) / SLOTS]
        perhaps = [bad for at, bad in log if now - at < SECONDS]
        assert len(surely) <= window.total <= len(perhaps)
        assert sum(surely) <= window.failures <= sum(perhaps)
