"""The circuit breaker by itself."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stratarouter_runtime.config import CircuitBreaker
from stratarouter_runtime.engine.breaker import RAMP_END, Breaker


def breaker(early: float = 0.0, **fields: int) -> Breaker:
    return Breaker(CircuitBreaker(**fields), lambda: early)


def trip(target: Breaker, now: float = 0.0) -> None:
    while target.state != "open":
        target.failed(admitted(target, now), now)


def admitted(target: Breaker, now: float, *, force: bool = False):
    grant = target.admit(now, force=force)
    assert grant is not None
    return grant


# --- opening ------------------------------------------------------------------------------------------------------
def test_failures_in_a_row_open_it():
    target = breaker(consecutive_failures=3, minimum_requests=100)
    for _ in range(2):
        target.failed(admitted(target, 0), 0)
    assert target.state == "closed"
    target.failed(admitted(target, 0), 0)
    assert target.state == "open"
    assert target.admit(1) is None


def test_a_success_ends_the_row():
    target = breaker(consecutive_failures=2, minimum_requests=100)
    for _ in range(10):
        target.failed(admitted(target, 0), 0)
        target.succeeded(admitted(target, 0), 0)
    assert target.state == "closed"


def test_the_error_rate_counts_only_from_the_minimum_on():
    target = breaker(consecutive_failures=1000, minimum_requests=10, error_rate_percent=50)
    for _ in range(4):
        target.succeeded(admitted(target, 0), 0)
        target.failed(admitted(target, 0), 0)
    assert target.state == "closed", "eight outcomes are too few"
    target.succeeded(admitted(target, 0), 0)
    target.failed(admitted(target, 0), 0)
    assert target.state == "open"


def test_a_rate_below_the_limit_leaves_it_closed():
    target = breaker(consecutive_failures=1000, minimum_requests=10, error_rate_percent=51)
    for _ in range(100):
        target.succeeded(admitted(target, 0), 0)
        target.failed(admitted(target, 0), 0)
    assert target.state == "closed"


def test_failures_that_left_the_window_do_not_count():
    target = breaker(consecutive_failures=1000, minimum_requests=4, window_seconds=10)
    for _ in range(3):
        target.failed(admitted(target, 0), 0)
    target.failed(admitted(target, 30), 30)
    assert target.state == "closed"


def test_what_began_before_the_opening_says_nothing_afterwards():
    target = breaker(consecutive_failures=1, open_seconds=10)
    late, later = admitted(target, 0), admitted(target, 0)
    trip(target)
    target.succeeded(late, 1)
    assert target.state == "open"
    probe = admitted(target, 10)
    target.failed(later, 11)
    assert target.state == "half_open"
    target.succeeded(probe, 12)
    assert target.state == "closed"


# --- half-open ----------------------------------------------------------------------------------------------------
def test_it_lets_a_probe_through_when_open_seconds_have_passed():
    target = breaker(open_seconds=10)
    trip(target)
    assert target.admit(9.9) is None
    assert admitted(target, 10).probe
    assert target.admit(10) is None, "one probe is enough to find out"


@pytest.mark.parametrize("probes", [1, 3])
def test_no_more_probes_than_configured_are_in_flight(probes):
    target = breaker(open_seconds=10, half_open_probes=probes)
    trip(target)
    grants = [target.admit(10) for _ in range(10)]
    assert sum(grant is not None for grant in grants) == probes


def test_a_probe_that_outlives_its_half_open_phase_still_counts_as_in_flight():
    target = breaker(open_seconds=10, half_open_probes=2)
    trip(target)
    slow, quick = admitted(target, 10), admitted(target, 10)
    target.failed(quick, 11)
    assert target.state == "open"
    admitted(target, 21)
    assert target.admit(21) is None, "the slow probe and the new one are two"
    target.released(slow)
    assert target.admit(21) is not None


def test_a_failed_probe_opens_it_for_the_whole_time_again():
    target = breaker(open_seconds=10)
    trip(target)
    target.failed(admitted(target, 10), 12)
    assert target.state == "open"
    assert target.admit(21.9) is None
    assert target.admit(22) is not None


def test_a_probe_without_a_verdict_gives_its_place_to_the_next():
    target = breaker(open_seconds=10)
    trip(target)
    target.released(admitted(target, 10))
    assert target.state == "half_open"
    assert admitted(target, 10).probe


def test_after_closing_the_old_failures_are_forgotten():
    target = breaker(open_seconds=10, consecutive_failures=3, minimum_requests=100)
    trip(target)
    target.succeeded(admitted(target, 10), 10)
    for _ in range(2):
        target.failed(admitted(target, 10), 10)
    assert target.state == "closed"


def test_after_closing_the_old_rate_is_forgotten():
    target = breaker(open_seconds=10, consecutive_failures=1000, minimum_requests=3)
    trip(target)
    target.succeeded(admitted(target, 10), 10)
    target.failed(admitted(target, 10), 10)
    assert target.state == "closed"


def test_after_closing_by_content_the_old_row_is_forgotten():
    target = breaker(open_seconds=10, consecutive_failures=2, minimum_requests=100)
    trip(target)
    target.answered(admitted(target, 10))
    target.failed(admitted(target, 10), 10)
    assert target.state == "closed"


def test_the_first_content_of_a_probe_closes_it_and_its_failure_later_opens_it_at_once():
    """A stream may go on for minutes: nobody waits for its end, but a cut is not forgotten either."""
    target = breaker(open_seconds=10, consecutive_failures=5)
    trip(target)
    probe = admitted(target, 10)
    target.answered(probe)
    assert target.state == "closed"
    assert target.probes == 0
    target.failed(probe, 20)
    assert target.state == "open"


def test_an_early_share_shortens_the_opening():
    target = breaker(early=0.1, open_seconds=10)
    trip(target)
    assert target.admit(8.9) is None
    assert target.admit(9) is not None


# --- forcing ------------------------------------------------------------------------------------------------------
def test_a_forced_probe_comes_before_its_time_but_never_beside_another():
    target = breaker(open_seconds=10, half_open_probes=5)
    trip(target)
    probe = admitted(target, 1, force=True)
    assert target.admit(1, force=True) is None
    target.succeeded(probe, 2)
    assert target.state == "closed"


# --- recovering ---------------------------------------------------------------------------------------------------
def test_traffic_comes_back_by_doubling():
    """Each answer doubles what may be in flight, so that a provider that has just come back is not overrun."""
    target = breaker(open_seconds=10)
    trip(target)
    target.succeeded(admitted(target, 10), 10)
    allowed = []
    for _ in range(7):
        grants = []
        while not target.ramping and len(grants) < 2 * RAMP_END:
            grants.append(admitted(target, 10))
        allowed.append(len(grants))
        target.succeeded(grants[0], 10)
        for grant in grants[1:]:
            target.released(grant)
    assert allowed == [2, 4, 8, 16, 32, 64, 128]


def test_a_client_that_leaves_does_not_speed_up_the_recovery():
    target = breaker(open_seconds=10)
    trip(target)
    target.succeeded(admitted(target, 10), 10)
    for _ in range(10):
        target.released(admitted(target, 10))
    admitted(target, 10), admitted(target, 10)
    assert target.ramping


# --- settings -----------------------------------------------------------------------------------------------------
def test_new_settings_apply_to_an_opening_in_progress():
    target = breaker(open_seconds=600)
    trip(target)
    target.tune(CircuitBreaker(open_seconds=5))
    assert target.admit(5) is not None


def test_new_settings_keep_what_was_counted_unless_the_window_is_another():
    target = breaker(consecutive_failures=10, minimum_requests=10)
    for _ in range(5):
        target.failed(admitted(target, 0), 0)
    target.tune(CircuitBreaker(consecutive_failures=6, minimum_requests=10))
    target.failed(admitted(target, 0), 0)
    assert target.state == "open"


# --- a model ------------------------------------------------------------------------------------------------------
class Machine(RuleBasedStateMachine):
    """Any interleaving of calls, ends, time and settings."""

    @initialize(probes=st.integers(1, 3), row=st.integers(1, 4), minimum=st.integers(1, 6))
    def start(self, probes, row, minimum):
        self.settings = CircuitBreaker(half_open_probes=probes, consecutive_failures=row, minimum_requests=minimum, open_seconds=10)
        self.target = Breaker(self.settings)
        self.now = 0.0
        self.grants = []
        self.probes = []

    @rule(force=st.booleans())
    def admit(self, force):
        state, due, ramp = self.target.state, self.target.due, len(self.probes)
        grant = self.target.admit(self.now, force=force)
        if state == "closed":
            assert grant is not None
            assert not grant.probe
        elif grant is None:
            assert ramp >= (1 if force else self.settings.half_open_probes) or (state == "open" and self.now < due)
        else:
            assert grant.probe
            assert force or state == "half_open" or self.now >= due
            self.probes.append(grant)
        if grant is not None:
            self.grants.append(grant)

    def _take(self, index):
        grant = self.grants.pop(index % len(self.grants))
        if grant in self.probes:
            self.probes.remove(grant)
        return grant

    @precondition(lambda self: self.grants)
    @rule(index=st.integers(0, 100))
    def succeed(self, index):
        was, probing = self.target.state, self.grants[index % len(self.grants)].probe
        self.target.succeeded(self._take(index), self.now)
        assert self.target.state == was or (was == "half_open" and probing and self.target.state == "closed")

    @precondition(lambda self: self.grants)
    @rule(index=st.integers(0, 100))
    def fail(self, index):
        self.target.failed(self._take(index), self.now)
        assert self.target.state in {"open", "closed", "half_open"}

    @precondition(lambda self: self.grants)
    @rule(index=st.integers(0, 100))
    def leave(self, index):
        was = self.target.state
        self.target.released(self._take(index))
        assert self.target.state == was

    @precondition(lambda self: self.grants)
    @rule(index=st.integers(0, 100))
    def answer(self, index):
        grant = self.grants[index % len(self.grants)]
        self.target.answered(grant)
        if grant in self.probes:
            self.probes.remove(grant)

    @rule(seconds=st.sampled_from([0.1, 1.0, 9.0, 10.0, 100.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule(probes=st.integers(1, 3))
    def tune(self, probes):
        self.settings = self.settings.model_copy(update={"half_open_probes": probes})
        self.target.tune(self.settings)

    @invariant()
    def counts_are_right(self):
        if not hasattr(self, "target"):
            return
        assert self.target.active == len(self.grants)
        assert self.target.probes == len(self.probes)

    @invariant()
    def an_open_one_comes_back(self):
        if hasattr(self, "target") and self.target.state == "open":
            assert self.target.due <= self.now + self.settings.open_seconds

    def teardown(self):
        for grant in getattr(self, "grants", []):
            self.target.released(grant)
        if hasattr(self, "target"):
            assert (self.target.active, self.target.probes) == (0, 0)


TestBreakerModel = Machine.TestCase
TestBreakerModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
