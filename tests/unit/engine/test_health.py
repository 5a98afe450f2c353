"""Who may be called, what is reported, and what survives a reload."""

from __future__ import annotations

import random

import pytest

from fakes.engine_bench import POOL, candidate, config
from fakes.provider import Observer, fail
from stratarouter_runtime.engine.health import Health, Permit, Refusal
from stratarouter_runtime.engine.record import MAX_RETRY_AFTER, PATIENCE_SECONDS, RECHECK_SECONDS
from stratarouter_runtime.model.errors import Failure


class Ward:
    """A health state with a clock that is set by hand."""

    def __init__(self):
        self.now = 100.0
        self.observer = Observer()
        self.health = Health(clock=lambda: self.now, observer=self.observer, random=random.Random(0))
        self.configs = {}

    def add(self, name="a", **settings):
        self.configs[name] = config(name, **settings)
        self.configure()

    def configure(self, **more):
        self.health.configure({(POOL, name): each for name, each in self.configs.items()}, **more)

    def admitted(self, name="a", **how) -> Permit:
        answer = self.health.admit(candidate(name, model=how.pop("model", "gpt-4o")), **how)
        assert isinstance(answer, Permit), answer
        return answer

    def refused(self, name="a", **how) -> Refusal:
        answer = self.health.admit(candidate(name, model=how.pop("model", "gpt-4o")), **how)
        assert isinstance(answer, Refusal)
        return answer

    def fails(self, name="a", failure=Failure.SERVER_ERROR, **terms):
        self.admitted(name, insist=True).failed(fail(failure, **terms))

    def state(self, name="a"):
        return next((each.state, each.reason) for each in self.health.states() if each.provider == name)

    def busy(self, name="a"):
        return self.health.in_flight((POOL, name))


@pytest.fixture
def ward():
    return Ward()


# --- refusing -----------------------------------------------------------------------------------------------------
def test_a_limited_candidate_is_refused_until_its_time(ward):
    ward.add()
    ward.fails(failure=Failure.RATE_LIMITED, retry_after=7)
    refusal = ward.refused(insist=True, force=True)
    assert (refusal.reason, refusal.due) == ("RateLimited", 107)
    assert ward.state() == ("Degraded", "RateLimited")
    ward.now = 107
    ward.admitted()


def test_a_shorter_retry_after_does_not_shorten_a_longer_one(ward):
    ward.add()
    first, second = ward.admitted(), ward.admitted()
    first.failed(fail(Failure.RATE_LIMITED, retry_after=60))
    second.failed(fail(Failure.OVERLOADED, retry_after=1))
    assert ward.refused().due == 160


@pytest.mark.parametrize("nonsense", [0.0, -5.0, float("nan")])
def test_a_senseless_retry_after_is_ignored(ward, nonsense):
    ward.add()
    ward.fails(failure=Failure.RATE_LIMITED, retry_after=nonsense)
    ward.admitted()


def test_an_absurd_retry_after_is_believed_for_a_day(ward):
    ward.add()
    ward.fails(failure=Failure.RATE_LIMITED, retry_after=float("inf"))
    assert ward.refused().due == 100 + MAX_RETRY_AFTER


def test_a_limit_concerns_one_model_only(ward):
    ward.add(models=("gpt-4o", "mini"))
    ward.fails(failure=Failure.RATE_LIMITED, retry_after=7)
    ward.admitted(model="mini")


def test_the_bulkhead_is_shared_by_all_models_of_a_provider(ward):
    ward.add(limit=1, models=("gpt-4o", "mini"))
    permit = ward.admitted()
    assert ward.refused(model="mini").reason == "ProviderFull"
    permit.released()
    ward.admitted(model="mini")


def test_a_full_provider_takes_no_probe_from_its_breaker(ward):
    ward.add(limit=1, consecutive_failures=1, open_seconds=10)
    long, short = ward.admitted(), None
    long.failed(fail(Failure.SERVER_ERROR))
    ward.now += 10
    short = ward.admitted()
    assert ward.refused(force=True).reason == "ProviderFull"
    short.released()
    ward.admitted()


# --- misconfiguration ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("failure", [Failure.UNAUTHORIZED, Failure.NOT_FOUND, Failure.QUOTA_EXHAUSTED])
def test_a_misconfigured_candidate_is_avoided_and_reported(ward, failure):
    ward.add()
    ward.fails(failure=failure)
    assert ward.refused().reason == failure.value
    assert ward.state() == ("Degraded", failure.value)
    ward.admitted(insist=True).released()


def test_one_call_in_a_while_finds_out_whether_it_was_repaired(ward):
    """When the time comes one call goes through, not the whole crowd that waited for it."""
    ward.add()
    ward.fails(failure=Failure.UNAUTHORIZED)
    ward.now += RECHECK_SECONDS
    permit = ward.admitted()
    assert ward.refused().reason == "ProviderUnauthorized"
    permit.succeeded()
    assert ward.state() == ("Healthy", "")
    ward.admitted()


def test_a_refused_request_shows_that_the_key_is_good(ward):
    ward.add()
    ward.fails(failure=Failure.UNAUTHORIZED)
    ward.now += RECHECK_SECONDS
    ward.admitted().failed(fail(Failure.INVALID_REQUEST, status=400))
    assert ward.state() == ("Healthy", "")


def test_a_success_that_began_before_the_key_was_refused_does_not_clear_it(ward):
    ward.add()
    stream = ward.admitted()
    ward.now += 1
    ward.fails(failure=Failure.UNAUTHORIZED)
    ward.now += 1
    stream.succeeded()
    assert ward.state() == ("Degraded", "ProviderUnauthorized")


def test_a_rotated_credential_is_tried_at_once(ward):
    ward.add()
    ward.add("b")
    ward.fails(failure=Failure.QUOTA_EXHAUSTED, retry_after=3600)
    ward.fails("b", failure=Failure.UNAUTHORIZED)
    ward.health.forgive((POOL, "a"))
    ward.admitted()
    assert ward.state("a") == ("Healthy", "")
    assert ward.state("b") == ("Degraded", "ProviderUnauthorized")


def test_missing_credentials_take_a_provider_out_even_for_those_who_insist(ward):
    ward.add()
    ward.fails(failure=Failure.CREDENTIALS_MISSING)
    assert ward.refused(insist=True).reason == "CredentialsMissing"
    assert ward.state() == ("Unavailable", "CredentialsMissing")
    ward.now += RECHECK_SECONDS
    ward.admitted()


def test_a_provider_that_could_not_be_built_is_reported(ward):
    ward.add()
    ward.configure(without_credentials={(POOL, "a"), (POOL, "unknown")})
    assert ward.state() == ("Unavailable", "CredentialsMissing")
    ward.configure()
    assert ward.state() == ("Healthy", "")


def test_absence_is_explained(ward):
    ward.add()
    assert ward.health.absence(candidate("a")).reason == "CredentialsMissing"
    assert ward.health.absence(candidate("gone")).reason == "ProviderNotConfigured"


# --- breakers -----------------------------------------------------------------------------------------------------
def test_a_breaker_is_reported_and_its_changes_are_told(ward):
    ward.add(consecutive_failures=2, open_seconds=10)
    ward.fails()
    ward.fails()
    assert ward.state() == ("Unavailable", "BreakerOpen")
    assert ward.refused().reason == "BreakerOpen"
    ward.now += 10
    permit = ward.admitted()
    assert ward.state() == ("Degraded", "BreakerHalfOpen")
    assert ward.refused().due == ward.now
    permit.succeeded()
    assert ward.state() == ("Healthy", "")
    assert ward.observer.breakers == [("a", "open"), ("a", "half_open"), ("a", "closed")]


def test_the_first_content_of_a_probe_is_told_as_closed(ward):
    ward.add(consecutive_failures=1, open_seconds=10)
    ward.fails()
    ward.now += 10
    permit = ward.admitted()
    permit.answered()
    permit.succeeded()
    assert ward.observer.breakers == [("a", "open"), ("a", "half_open"), ("a", "closed")]
    assert ward.busy() == 0


@pytest.mark.parametrize("failure", [Failure.RATE_LIMITED, Failure.CONFLICT, Failure.UNAUTHORIZED, Failure.INVALID_REQUEST,
                                     Failure.CONTENT_POLICY, Failure.CONTEXT_LENGTH])
def test_what_does_not_speak_against_health_opens_no_breaker(ward, failure):
    ward.add(consecutive_failures=1, minimum_requests=1)
    for _ in range(20):
        ward.fails(failure=failure)
    assert ward.observer.breakers == []


@pytest.mark.parametrize("failure", [Failure.INVALID_REQUEST, Failure.CONTENT_POLICY, Failure.CONTEXT_LENGTH])
def test_a_client_caused_failure_is_a_good_probe(ward, failure):
    ward.add(consecutive_failures=1, open_seconds=10)
    ward.fails()
    ward.now += 10
    ward.admitted().failed(fail(failure, status=400))
    assert ward.state() == ("Healthy", "")


def test_openings_are_shortened_at_random(ward):
    """Pods whose breakers opened together must not all probe at the same moment."""
    ward.add(consecutive_failures=1, open_seconds=100)
    dues = set()
    for _ in range(20):
        ward.fails()
        dues.add(ward.refused().due - ward.now)
        ward.now += 100
        ward.admitted().succeeded()
    assert len(dues) == 20
    assert all(90 <= due <= 100 for due in dues)


# --- deadlines of callers -----------------------------------------------------------------------------------------
def test_a_caller_in_a_hurry_does_not_speak_against_a_provider(ward):
    """Else one tenant with short deadlines could take a provider away from all others."""
    ward.add(consecutive_failures=1)
    permit = ward.admitted()
    ward.now += PATIENCE_SECONDS - 0.1
    permit.ran_out()
    assert ward.state() == ("Healthy", "")


def test_a_provider_that_let_a_patient_caller_wait_in_vain_is_failing(ward):
    ward.add(consecutive_failures=1)
    permit = ward.admitted()
    ward.now += PATIENCE_SECONDS
    permit.ran_out()
    assert ward.state() == ("Unavailable", "BreakerOpen")


def test_a_provider_that_answers_others_meanwhile_is_not(ward):
    ward.add(consecutive_failures=1)
    permit = ward.admitted()
    ward.now += 1
    ward.admitted().succeeded()
    ward.now += 60
    permit.ran_out()
    assert ward.state() == ("Healthy", "")


# --- reloads ------------------------------------------------------------------------------------------------------
def test_a_reload_keeps_what_is_known(ward):
    ward.add(consecutive_failures=1, open_seconds=60)
    ward.fails()
    ward.add("b")
    assert ward.refused("a").reason == "BreakerOpen"


def test_a_reload_applies_new_limits_at_once(ward):
    ward.add(consecutive_failures=1, open_seconds=600, limit=1)
    ward.fails()
    ward.add(open_seconds=5, limit=2)
    ward.now += 5
    ward.admitted().succeeded()
    ward.admitted()
    ward.admitted()
    assert ward.refused(insist=True).reason == "ProviderFull"


def test_what_was_removed_is_forgotten(ward):
    ward.add(consecutive_failures=1)
    ward.fails()
    kept = ward.configs.pop("a")
    ward.configure()
    assert ward.health.states() == []
    ward.configs["a"] = kept
    ward.configure()
    assert ward.state() == ("Healthy", "")
    ward.admitted()


@pytest.mark.parametrize("change", [{"endpoint": "http://127.0.0.1:10"}, {"region": "eu"}])
def test_another_upstream_under_the_same_name_starts_afresh(ward, change):
    """A corrected endpoint must not wait for the breaker that the wrong one opened."""
    ward.add(consecutive_failures=1, open_seconds=600)
    ward.fails()
    ward.add(consecutive_failures=1, open_seconds=600, **change)
    ward.admitted()


def test_a_model_that_moved_to_another_upstream_starts_afresh(ward):
    ward.add(consecutive_failures=1)
    ward.fails()
    moved = ward.configs["a"].models[0].model_copy(update={"upstream_name": "other"})
    ward.configs["a"] = ward.configs["a"].model_copy(update={"models": (moved,)})
    ward.configure()
    ward.admitted()


def test_calls_in_flight_are_counted_across_removal_and_return(ward):
    ward.add(limit=1)
    permit = ward.admitted()
    kept = ward.configs.pop("a")
    ward.configure()
    assert ward.busy() == 1
    ward.configs["a"] = kept
    ward.configure()
    assert ward.refused().reason == "ProviderFull"
    permit.succeeded()
    assert ward.busy() == 0
    ward.admitted()


def test_a_removed_provider_is_forgotten_with_its_last_call(ward):
    ward.add()
    first, second = ward.admitted(), ward.admitted()
    ward.configs.clear()
    ward.configure()
    first.succeeded()
    assert ward.busy() == 1
    second.failed(fail(Failure.SERVER_ERROR))
    assert ward.health._bulkheads == {}
    assert ward.health._records == {}


def test_a_request_of_an_older_configuration_is_served_without_memory(ward):
    for _ in range(100):
        ward.fails("unknown")
    ward.admitted("unknown").succeeded()
    assert ward.health._records == {}
    assert ward.health._bulkheads == {}


def test_states_are_the_worst_over_the_models_in_the_order_of_the_configuration(ward):
    ward.add("b")
    ward.add("a", models=("gpt-4o", "mini"), consecutive_failures=1)
    ward.fails("a", failure=Failure.RATE_LIMITED, retry_after=5)
    ward.admitted("a", model="mini").failed(fail(Failure.TIMEOUT))
    assert [(each.provider, each.state, each.reason) for each in ward.health.states()] == [
        ("b", "Healthy", ""), ("a", "Unavailable", "BreakerOpen")]
