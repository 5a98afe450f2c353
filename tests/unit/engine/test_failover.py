"""Which candidate is tried next, and what is never tried again."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from fakes.engine_bench import candidate
from fakes.provider import Wait, fail
from stratarouter_runtime.engine.record import RECHECK_SECONDS
from stratarouter_runtime.model.errors import TREATMENTS, ExecutionError, Failure, Phase, ProviderError

RETRIED = [failure for failure, treatment in TREATMENTS.items() if treatment.retry]
FAILED_OVER = [failure for failure, treatment in TREATMENTS.items() if treatment.failover]
FINAL = [failure for failure, treatment in TREATMENTS.items() if not treatment.failover]
MISCONFIGURED = [Failure.UNAUTHORIZED, Failure.NOT_FOUND, Failure.QUOTA_EXHAUSTED]


def now() -> float:
    return asyncio.get_running_loop().time()


# --- failing over -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("failure", FAILED_OVER)
async def test_a_failure_moves_to_the_next_candidate_at_once(bench, failure):
    bench.add("a", fail(failure))
    bench.add("b")
    outcome = await bench.complete()
    assert outcome.candidate.provider == "b"
    assert bench.sleeps == []
    assert bench.in_flight() == 0
    assert bench.observer.ends == [failure.value, "succeeded"]


@pytest.mark.parametrize("failure", FINAL)
async def test_what_another_provider_would_refuse_too_is_final(bench, failure):
    """Never fail over on a content-policy refusal or an invalid request."""
    bench.add("a", fail(failure, status=422, message="you must not"))
    other = bench.add("b")
    with pytest.raises(ProviderError, match="you must not") as caught:
        await bench.complete()
    assert (caught.value.status, len(caught.value.attempts), other.calls) == (422, 1, [])
    assert bench.in_flight() == 0


async def test_the_outcome_tells_all_attempts(bench):
    bench.add("a", [Wait(2), fail(Failure.OVERLOADED, status=529, message="busy")])
    bench.add("b", Wait(3))
    outcome = await bench.complete()
    first, second = outcome.attempts
    assert (first.number, first.candidate.provider, first.failure, first.status, first.message, first.duration) == (
        1, "a", Failure.OVERLOADED, 529, "busy", 2)
    assert (second.number, second.candidate.provider, second.failure, second.duration) == (2, "b", None, 3)


async def test_a_provider_gets_its_own_model_name_the_deadline_and_the_trace(bench):
    provider = bench.add("a")
    await bench.complete(bench.plan(candidate("a", upstream="gpt-4o-2024-11-20"), timeout=30))
    (call,) = provider.calls
    assert (call.upstream_model, call.deadline, call.headers) == ("gpt-4o-2024-11-20", 1030, {"traceparent": "00-1"})


async def test_the_observer_is_told_what_the_answer_was(bench):
    bench.add("a")
    await bench.complete()
    (seen,) = bench.observer.attempts
    assert (seen.model, seen.finish_reason, seen.usage.total, seen.retry) == ("vendor-model", "stop", 5, False)


async def test_a_defect_in_a_provider_fails_over_and_tells_nobody_the_prompt(bench, caplog):
    bench.add("a", ValueError("the prompt"))
    bench.add("b")
    assert (await bench.complete()).candidate.provider == "b"
    assert bench.observer.ends == ["BadResponse", "succeeded"]
    assert "ValueError" in caplog.text
    assert "the prompt" not in caplog.text


async def test_a_call_that_its_provider_cancelled_is_a_lost_connection(bench):
    """A pool that closes its connections is not a caller that went away."""
    bench.add("a", asyncio.CancelledError())
    bench.add("b")
    assert (await bench.complete()).candidate.provider == "b"
    assert bench.observer.ends == ["ConnectionLost", "succeeded"]


async def test_a_timeout_error_that_is_not_the_deadlines_is_a_defect(bench):
    bench.add("a", TimeoutError())
    bench.add("b")
    await bench.complete()
    assert bench.observer.ends == ["BadResponse", "succeeded"]


# --- trying again -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("failure", RETRIED)
async def test_the_only_candidate_is_tried_again_after_a_backoff(bench, failure):
    provider = bench.add("a", fail(failure), fail(failure))
    outcome = await bench.complete(delay=0.1)
    assert len(outcome.attempts) == 3
    assert [each.retry for each in bench.observer.attempts] == [False, True, True]
    first, second = provider.times[1] - provider.times[0], provider.times[2] - provider.times[1]
    assert 0 < first <= 0.1
    assert 0 < second <= 0.2


@pytest.mark.parametrize("failure", [each for each in FAILED_OVER if each not in RETRIED and each is not Failure.CONTEXT_LENGTH])
async def test_what_only_an_operator_can_repair_is_not_tried_again(bench, failure):
    provider = bench.add("a", always=fail(failure))
    with pytest.raises(ExecutionError):
        await bench.complete()
    assert len(provider.calls) == 1


async def test_the_same_one_is_tried_again_only_when_no_other_is_left(bench):
    bench.add("a", always=fail(Failure.SERVER_ERROR))
    bench.add("b", always=fail(Failure.SERVER_ERROR))
    bench.add("c", always=fail(Failure.SERVER_ERROR))
    with pytest.raises(ExecutionError):
        await bench.complete(attempts=7)
    tried = [each.candidate.provider for each in bench.observer.attempts]
    assert tried[:3] == ["a", "b", "c"]
    assert len(tried) == 7
    assert [each.retry for each in bench.observer.attempts] == [False] * 3 + [True] * 4


async def test_the_backoff_runs_from_each_candidates_own_failure(bench):
    """While others were tried, the first one's backoff has passed: nobody sleeps for it."""
    bench.add("a", fail(Failure.SERVER_ERROR))
    bench.add("b", [Wait(5), fail(Failure.SERVER_ERROR)])
    outcome = await bench.complete()
    assert outcome.candidate.provider == "a"
    assert bench.sleeps == []


async def test_a_backoff_beyond_the_deadline_is_not_slept(bench):
    bench.add("a", always=[Wait(0.9), fail(Failure.SERVER_ERROR)])
    with pytest.raises(ExecutionError) as caught:
        await bench.complete(timeout=1, delay=1000)
    assert (caught.value.reason, caught.value.status) == ("AllAttemptsFailed", 502)
    assert bench.sleeps == []
    assert now() == 1000.9


# --- the budget ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("attempts", [1, 2, 3, 5])
async def test_there_is_one_budget_for_the_whole_chain(bench, attempts):
    for name in "abc":
        bench.add(name, always=fail(Failure.CONNECT_FAILED))
    with pytest.raises(ExecutionError) as caught:
        await bench.complete(attempts=attempts)
    assert len(bench.observer.attempts) == attempts == len(caught.value.attempts)


async def test_a_skipped_candidate_costs_no_attempt(bench):
    bench.add("a", always=fail(Failure.RATE_LIMITED, retry_after=600))
    bench.add("b", fail(Failure.SERVER_ERROR))
    bench.add("c")
    await bench.complete(bench.plan(candidate("a"), candidate("c")))
    bench.observer.attempts.clear()
    outcome = await bench.complete(attempts=2)
    assert outcome.candidate.provider == "c"
    assert bench.observer.skips == [("a", "RateLimited")]
    assert [each.number for each in outcome.attempts] == [1, 2]


# --- skipping -----------------------------------------------------------------------------------------------------
async def test_a_provider_without_credentials_is_skipped(bench):
    bench.without_key("a")
    bench.add("b")
    outcome = await bench.complete(attempts=1)
    assert outcome.candidate.provider == "b"
    assert bench.observer.skips == [("a", "CredentialsMissing")]


async def test_a_provider_that_finds_out_that_it_has_no_credentials_cost_no_attempt(bench):
    bench.add("a", always=fail(Failure.CREDENTIALS_MISSING))
    bench.add("b")
    outcome = await bench.complete(attempts=1)
    assert (outcome.candidate.provider, len(outcome.attempts)) == ("b", 1)
    bench.observer.attempts.clear()
    await bench.complete(attempts=1)
    assert [each.candidate.provider for each in bench.observer.attempts] == ["b"]


async def test_a_full_provider_is_skipped_and_takes_no_slots_of_others(bench):
    """A slow provider cannot take every slot."""
    bench.add("slow", always=Wait(), limit=2)
    bench.add("b")
    stuck = [asyncio.create_task(bench.complete(timeout=3600)) for _ in range(2)]
    await asyncio.sleep(1)
    assert (await bench.complete()).candidate.provider == "b"
    assert ("slow", "ProviderFull") in bench.observer.skips
    assert bench.providers["slow"].most_open == 2
    for task in stuck:
        task.cancel()
    await asyncio.wait(stuck)
    assert bench.in_flight() == 0


@pytest.mark.parametrize("failure", MISCONFIGURED)
async def test_a_misconfigured_provider_is_passed_over_by_later_requests(bench, failure):
    bench.add("a", always=fail(failure, status=401))
    bench.add("b")
    for _ in range(10):
        assert (await bench.complete()).candidate.provider == "b"
    assert len(bench.providers["a"].calls) == 1
    assert bench.observer.skips == [("a", failure.value)] * 9
    assert bench.state("a") == ("Degraded", failure.value)


async def test_a_misconfigured_provider_is_asked_now_and_then_and_used_again_once_repaired(bench):
    provider = bench.add("a", fail(Failure.UNAUTHORIZED))
    bench.add("b")
    await bench.complete()
    await asyncio.sleep(RECHECK_SECONDS)
    assert (await bench.complete()).candidate.provider == "a"
    assert (await bench.complete()).candidate.provider == "a"
    assert len(provider.calls) == 3


async def test_a_rotated_key_is_in_use_at_once(bench):
    bench.add("a", fail(Failure.UNAUTHORIZED))
    bench.add("b")
    await bench.complete()
    bench.health.forgive(("chat", "a"))
    assert (await bench.complete()).candidate.provider == "a"


async def test_a_misconfigured_provider_is_tried_where_nothing_else_is(bench):
    bench.add("a", fail(Failure.UNAUTHORIZED))
    with pytest.raises(ExecutionError):
        await bench.complete()
    assert (await bench.complete()).candidate.provider == "a"
    assert bench.observer.skips == []


async def test_an_unhealthy_alternative_is_tried_before_anything_is_tried_again(bench):
    bench.add("a", fail(Failure.UNAUTHORIZED))
    bench.add("b")
    await bench.complete()
    bench.providers["b"].then(fail(Failure.SERVER_ERROR))
    outcome = await bench.complete()
    assert outcome.candidate.provider == "a"
    assert bench.sleeps == []


async def test_a_skip_is_told_once(bench):
    bench.add("a", always=Wait(), limit=1)
    stuck = asyncio.create_task(bench.complete(timeout=3600))
    await asyncio.sleep(0)
    bench.add("b", always=fail(Failure.SERVER_ERROR))
    with pytest.raises(ExecutionError):
        await bench.complete(attempts=4)
    assert bench.observer.skips.count(("a", "ProviderFull")) == 1
    stuck.cancel()


# --- breakers in the chain ----------------------------------------------------------------------------------------
async def test_an_open_breaker_is_skipped(bench):
    bench.add("a", always=fail(Failure.CONNECT_FAILED), consecutive_failures=3)
    bench.add("b")
    for _ in range(10):
        assert (await bench.complete()).candidate.provider == "b"
    assert len(bench.providers["a"].calls) == 3
    assert bench.observer.skips == [("a", "BreakerOpen")] * 7


async def test_one_request_probes_when_the_time_has_come_and_all_others_pass_by(bench):
    primary = bench.add("a", fail(Failure.SERVER_ERROR), consecutive_failures=1, open_seconds=10)
    bench.add("b")
    await bench.complete()
    primary.then(Wait(1))
    await asyncio.sleep(10)
    outcomes = await asyncio.gather(*(bench.complete() for _ in range(20)))
    assert sorted(each.candidate.provider for each in outcomes) == ["a"] + ["b"] * 19
    assert (await bench.complete()).candidate.provider == "a"


async def test_when_all_are_open_the_one_due_soonest_gets_a_single_probe(bench):
    early = bench.add("late", fail(Failure.SERVER_ERROR), consecutive_failures=1, open_seconds=600)
    soon = bench.add("soon", fail(Failure.SERVER_ERROR), consecutive_failures=1, open_seconds=60)
    with pytest.raises(ExecutionError):
        await bench.complete(attempts=2)
    soon.then(Wait(5))
    answers = await asyncio.gather(*(bench.complete() for _ in range(20)), return_exceptions=True)
    good = [each for each in answers if not isinstance(each, BaseException)]
    bad = [each for each in answers if isinstance(each, ExecutionError)]
    assert (len(good), len(bad)) == (1, 19)
    assert {(each.status, each.reason, each.retry_after is not None) for each in bad} == {(503, "NoProviderAvailable", True)}
    assert (len(early.calls), len(soon.calls)) == (1, 2)


async def test_while_one_probe_is_out_no_other_candidate_is_probed(bench):
    first = bench.add("a", fail(Failure.SERVER_ERROR), consecutive_failures=1, open_seconds=60)
    second = bench.add("b", fail(Failure.SERVER_ERROR), consecutive_failures=1, open_seconds=600)
    with pytest.raises(ExecutionError):
        await bench.complete(attempts=2)
    first.then(Wait(5))
    probe = asyncio.create_task(bench.complete())
    await asyncio.sleep(1)
    with pytest.raises(ExecutionError):
        await bench.complete()
    assert (len(first.calls), len(second.calls)) == (2, 1)
    assert (await probe).candidate.provider == "a"


async def test_a_request_forces_one_probe_at_most(bench):
    provider = bench.add("a", always=fail(Failure.SERVER_ERROR), consecutive_failures=1, open_seconds=600)
    with pytest.raises(ExecutionError):
        await bench.complete(attempts=1)
    with pytest.raises(ExecutionError) as caught:
        await bench.complete(attempts=10)
    assert (caught.value.status, len(provider.calls)) == (502, 2)


async def test_a_provider_inside_its_retry_after_is_never_probed(bench):
    provider = bench.add("a", always=fail(Failure.OVERLOADED, status=503, retry_after=300), consecutive_failures=1, open_seconds=1)
    with pytest.raises(ExecutionError):
        await bench.complete(timeout=20)
    for _ in range(10):
        await asyncio.sleep(20)
        with pytest.raises(ExecutionError) as caught:
            await bench.complete(timeout=20)
        assert caught.value.status == 503
        assert caught.value.retry_after == pytest.approx(1300 - now())
    assert len(provider.calls) == 1


async def test_slow_first_answers_open_the_breaker(bench):
    bench.add("a", always=[Wait(1), fail(Failure.TIMEOUT)], consecutive_failures=3)
    bench.add("b")
    for _ in range(5):
        await bench.complete()
    assert bench.state("a") == ("Unavailable", "BreakerOpen")
    assert len(bench.providers["a"].calls) == 3


async def test_a_recovered_provider_gets_its_traffic_back_without_a_herd(bench):
    primary = bench.add("a", fail(Failure.SERVER_ERROR), always=Wait(1), consecutive_failures=1, open_seconds=10)
    bench.add("b", always=Wait(1))
    await bench.complete()
    await asyncio.sleep(10)
    await bench.complete()
    primary.most_open = 0
    peaks = []
    for _ in range(8):
        before = len(primary.calls)
        await asyncio.gather(*(bench.complete() for _ in range(200)))
        peaks.append(len(primary.calls) - before)
    assert peaks[0] == 2
    assert peaks == sorted(peaks)
    assert peaks[-1] == 200
    assert ("a", "BreakerRecovering") in bench.observer.skips


async def test_time_that_passes_while_choosing_costs_no_attempt(bench):
    """Whose backoff ends between two looks at the clock is called all the same, not taken for one that never comes."""
    bench.add("a", always=fail(Failure.SERVER_ERROR), consecutive_failures=1000, minimum_requests=1000)
    passed = 0.0

    def ticking():
        nonlocal passed
        passed += 0.0004
        return now() + passed

    bench.engine._clock = ticking
    for _ in range(50):
        with pytest.raises(ExecutionError) as caught:
            await bench.engine.complete(bench.plan(attempts=4, delay=0.001), ticking() + 60)
        assert len(caught.value.attempts) == 4


async def test_what_a_failed_call_held_is_free_at_once(bench):
    """A failure kept for the verdict must not keep the frames it came through: the next garbage collection may be far."""
    held = []

    async def large(request, call):
        answer = Large()
        held.append(weakref.ref(answer))
        raise ProviderError(Failure.BAD_RESPONSE, "too large", phase=Phase.BODY)

    for name in ("a", "b"):
        bench.add(name).chat = large
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ExecutionError):
            await bench.complete(attempts=2)
        assert [each() for each in held] == [None, None]
    finally:
        gc.enable()


class Large:
    """Stands for the bytes of an answer."""
