"""What a caller is told when nobody answered."""

from __future__ import annotations

import asyncio

import pytest

from fakes.engine_bench import candidate
from fakes.provider import Stubborn, Wait, fail
from stratarouter_runtime.engine.record import RECHECK_SECONDS
from stratarouter_runtime.model.errors import ExecutionError, Failure, ProviderError


def now() -> float:
    return asyncio.get_running_loop().time()


async def error_of(bench, plan=None, **terms):
    with pytest.raises((ExecutionError, ProviderError)) as caught:
        await bench.complete(plan, **terms)
    assert bench.in_flight() == 0
    return caught.value


# --- the deadline -------------------------------------------------------------------------------------------------
async def test_a_provider_that_hangs_is_ended_by_the_deadline(bench):
    bench.add("a", Wait())
    error = await error_of(bench, timeout=3)
    assert (error.status, error.reason, error.code) == (504, "DeadlineExceeded", "deadline_exceeded")
    assert [each.failure for each in error.attempts] == [Failure.TIMEOUT]
    assert now() == 1003
    assert bench.observer.ends == ["Timeout"]


async def test_a_provider_that_ignores_its_deadline_cannot_hold_a_request(bench):
    bench.add("a", Stubborn(600, swallows=3))
    error = await error_of(bench, timeout=3)
    assert error.status == 504
    assert now() <= 1003 + 3 + 0.01


async def test_a_provider_that_keeps_its_own_deadline_gives_the_same_error(bench):
    bench.add("a", [Wait(2.999), fail(Failure.TIMEOUT, status=504)])
    error = await error_of(bench, timeout=3)
    assert (error.status, error.reason) == (504, "DeadlineExceeded")


async def test_the_deadline_covers_all_attempts_together(bench):
    for name in "abcdef":
        bench.add(name, always=[Wait(1), fail(Failure.SERVER_ERROR)])
    error = await error_of(bench, attempts=100, timeout=3.5)
    assert error.status == 504
    assert len(error.attempts) == 4
    assert now() == 1003.5


async def test_a_deadline_that_has_passed_begins_nothing(bench):
    provider = bench.add("a")
    error = await error_of(bench, timeout=0)
    assert (error.status, error.attempts, provider.calls) == (504, (), [])


async def test_short_deadlines_of_one_caller_open_no_breaker(bench):
    bench.add("a", always=Wait(), consecutive_failures=1)
    await error_of(bench, timeout=0.5)
    assert bench.state("a") == ("Healthy", "")


async def test_a_provider_that_only_hangs_is_left_alone_in_the_end(bench):
    """Its own timeouts may be longer than every deadline: still it must not eat all of them for ever."""
    bench.add("a", always=Wait(), consecutive_failures=3)
    bench.add("b")
    for _ in range(3):
        await error_of(bench, timeout=6)
    assert (await bench.complete(timeout=6)).candidate.provider == "b"


# --- caused by the client -----------------------------------------------------------------------------------------
async def test_a_context_length_error_is_told_when_no_candidate_had_a_larger_window(bench):
    bench.add("a", fail(Failure.CONTEXT_LENGTH, status=400, message="too long for a"))
    bench.add("b", fail(Failure.CONTEXT_LENGTH, status=413, message="too long for b"))
    error = await error_of(bench)
    assert (error.reason, error.status, error.message, len(error.attempts)) == ("ContextLengthExceeded", 400, "too long for a", 2)


async def test_a_context_length_error_is_told_even_where_others_failed_otherwise(bench):
    bench.add("a", fail(Failure.CONTEXT_LENGTH, status=400))
    bench.add("b", always=fail(Failure.SERVER_ERROR))
    error = await error_of(bench, attempts=3)
    assert error.reason == "ContextLengthExceeded"
    assert len(bench.providers["a"].calls) == 1


async def test_a_content_policy_refusal_ends_the_request_whatever_failed_before(bench):
    bench.add("a", fail(Failure.SERVER_ERROR))
    bench.add("b", fail(Failure.CONTENT_POLICY, status=400))
    error = await error_of(bench)
    assert (error.reason, error.status, len(error.attempts)) == ("ContentPolicyViolation", 400, 2)


# --- caused by providers ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("failure", [Failure.UNAUTHORIZED, Failure.NOT_FOUND, Failure.QUOTA_EXHAUSTED])
async def test_a_providers_own_refusal_is_never_the_callers(bench, failure):
    bench.add("a", fail(failure, status=401))
    error = await error_of(bench)
    assert (error.status, error.reason) == (502, "AllAttemptsFailed")


async def test_the_message_names_every_candidate_and_reason_but_nothing_that_a_vendor_wrote(bench):
    bench.add("a", always=fail(Failure.SERVER_ERROR, status=500, message="sk-secret at https://key@host"))
    bench.without_key("b")
    error = await error_of(bench, attempts=1)
    assert "chat/a/gpt-4o: ServerError (status 500)" in error.message
    assert "secret" not in error.message
    error = await error_of(bench, bench.plan(candidate("b"), candidate("a"), attempts=1))
    assert "chat/b/gpt-4o: skipped, CredentialsMissing" in error.message


async def test_a_long_chain_makes_a_short_message(bench):
    for number in range(40):
        bench.add(f"p{number}", fail(Failure.SERVER_ERROR))
    error = await error_of(bench, attempts=40)
    assert "and 24 more" in error.message
    assert len(error.message) < 1500


async def test_limits_and_other_failures_together_are_a_502(bench):
    bench.add("a", always=fail(Failure.RATE_LIMITED, retry_after=600))
    bench.add("b", always=fail(Failure.SERVER_ERROR))
    assert (await error_of(bench)).status == 502


# --- nothing eligible ---------------------------------------------------------------------------------------------
async def test_without_any_credentials_nobody_can_be_called(bench):
    bench.without_key("a")
    error = await error_of(bench)
    assert (error.status, error.reason, error.retry_after, error.attempts) == (503, "NoProviderAvailable", RECHECK_SECONDS, ())


async def test_a_limited_provider_beside_one_without_credentials_is_a_429(bench):
    """Who can never be called does not make the others less limited."""
    bench.without_key("a")
    bench.add("b", fail(Failure.RATE_LIMITED, retry_after=600))
    await error_of(bench)
    error = await error_of(bench)
    assert (error.status, error.retry_after, error.attempts) == (429, 600, ())


async def test_a_limited_and_a_broken_provider_are_a_503_with_the_earliest_time(bench):
    bench.add("a", fail(Failure.RATE_LIMITED, retry_after=600))
    bench.add("b", always=fail(Failure.SERVER_ERROR), consecutive_failures=1, open_seconds=100)
    await error_of(bench, attempts=2)
    bench.providers["b"].always = [Wait()]
    probe = asyncio.create_task(bench.complete())
    await asyncio.sleep(1)
    with pytest.raises(ExecutionError) as caught:
        await bench.complete()
    assert (caught.value.status, caught.value.reason) == (503, "NoProviderAvailable")
    assert caught.value.retry_after == 1
    probe.cancel()


async def test_a_full_provider_is_a_503(bench):
    bench.add("a", Wait(), limit=1)
    stuck = asyncio.create_task(bench.complete())
    await asyncio.sleep(1)
    with pytest.raises(ExecutionError) as caught:
        await bench.complete()
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    stuck.cancel()
