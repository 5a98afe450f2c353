"""The bulkhead by itself, and the backoff."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stratarouter_runtime.engine.backoff import MAX_DELAY, full_jitter
from stratarouter_runtime.engine.limiter import Bulkhead


def test_a_full_one_lets_nobody_in_until_somebody_leaves():
    target = Bulkhead(2)
    assert target.enter()
    assert target.enter()
    assert not target.enter()
    assert target.full
    target.leave()
    assert target.enter()


def test_a_lower_limit_lets_what_is_in_flight_finish():
    target = Bulkhead(3)
    for _ in range(3):
        target.enter()
    target.limit = 1
    target.leave()
    target.leave()
    assert target.full
    target.leave()
    assert target.enter()


class Machine(RuleBasedStateMachine):
    """Any order of entering, leaving and changes of the limit."""

    def __init__(self):
        super().__init__()
        self.target = Bulkhead(3)
        self.inside = 0

    @rule()
    def enter(self):
        before = self.inside
        entered = self.target.enter()
        assert entered == (before < self.target.limit)
        self.inside += entered

    @precondition(lambda self: self.inside)
    @rule()
    def leave(self):
        self.target.leave()
        self.inside -= 1

    @rule(limit=st.integers(1, 5))
    def change(self, limit):
        self.target.limit = limit

    @invariant()
    def it_counts_right(self):
        assert self.target.in_flight == self.inside


TestBulkheadModel = Machine.TestCase
TestBulkheadModel.settings = settings(max_examples=50, deadline=None)


# --- backoff ------------------------------------------------------------------------------------------------------
@given(base=st.floats(0, 60), failures=st.integers(1, 10_000), seed=st.integers(0, 1000))
def test_a_backoff_is_never_negative_nor_longer_than_the_doubled_base_or_the_cap(base, failures, seed):
    delay = full_jitter(base, failures, random.Random(seed))
    assert 0 <= delay <= min(MAX_DELAY, base * 2 ** min(failures - 1, 40))


@pytest.mark.parametrize(("failures", "most"), [(1, 0.1), (2, 0.2), (3, 0.4), (20, MAX_DELAY)])
def test_delays_fill_the_whole_interval(failures, most):
    """Full jitter: callers that failed together come back anywhere, not in steps."""
    source = random.Random(5)
    delays = sorted(full_jitter(0.1, failures, source) for _ in range(2000))
    assert delays[0] < most * 0.01
    assert delays[-1] > most * 0.99
    assert abs(sum(delays) / len(delays) - most / 2) < most * 0.03
