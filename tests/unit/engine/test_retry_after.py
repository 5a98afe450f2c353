"""A vendor's Retry-After is honoured by every request."""

from __future__ import annotations

import asyncio

import pytest

from fakes.provider import Wait, fail
from stratarouter_runtime.model.errors import ExecutionError, Failure


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_no_request_calls_a_limited_provider_before_its_time(bench):
    provider = bench.add("a", fail(Failure.RATE_LIMITED, status=429, retry_after=30))
    bench.add("b")
    for _ in range(29):
        assert (await bench.complete()).candidate.provider == "b"
        await asyncio.sleep(1)
    assert len(provider.calls) == 1
    await asyncio.sleep(1)
    assert (await bench.complete()).candidate.provider == "a"


async def test_the_only_provider_is_waited_for_and_tried_again(bench):
    provider = bench.add("a", fail(Failure.RATE_LIMITED, status=429, retry_after=7))
    outcome = await bench.complete(delay=0.1)
    assert len(outcome.attempts) == 2
    assert 7 <= provider.times[1] - provider.times[0] <= 7.1


async def test_a_request_that_comes_meanwhile_waits_as_well(bench):
    provider = bench.add("a", fail(Failure.RATE_LIMITED, status=429, retry_after=7))
    outcomes = await asyncio.gather(bench.complete(), bench.complete(), bench.complete())
    assert all(each.candidate.provider == "a" for each in outcomes)
    assert all(at == 1000 or at >= 1007 for at in provider.times)


async def test_those_that_waited_do_not_come_back_together(bench):
    provider = bench.add("a", fail(Failure.RATE_LIMITED, status=429, retry_after=7))
    with pytest.raises(ExecutionError):
        await bench.complete(timeout=5)
    await asyncio.gather(*(bench.complete(delay=1) for _ in range(50)))
    assert len(set(provider.times)) == 51
    assert max(provider.times) > 1007.9


async def test_a_wait_longer_than_the_deadline_is_not_begun(bench):
    provider = bench.add("a", fail(Failure.RATE_LIMITED, status=429, retry_after=7))
    with pytest.raises(ExecutionError) as caught:
        await bench.complete(timeout=5)
    assert (caught.value.status, caught.value.reason, caught.value.retry_after) == (429, "RateLimited", 7)
    assert caught.value.type == "rate_limit_error"
    assert now() == 1000
    await asyncio.sleep(1)
    with pytest.raises(ExecutionError) as caught:
        await bench.complete(timeout=5)
    assert (caught.value.status, caught.value.retry_after, caught.value.attempts) == (429, 6, ())
    assert len(provider.calls) == 1


async def test_a_wait_that_the_budget_does_not_allow_is_not_begun(bench):
    bench.add("a", fail(Failure.RATE_LIMITED, status=429, retry_after=7))
    with pytest.raises(ExecutionError) as caught:
        await bench.complete(attempts=1)
    assert (caught.value.status, caught.value.retry_after) == (429, 7)
    assert now() == 1000


async def test_the_earliest_of_all_limits_is_told(bench):
    bench.add("a", always=fail(Failure.RATE_LIMITED, status=429, retry_after=70))
    bench.add("b", always=fail(Failure.RATE_LIMITED, status=429, retry_after=40))
    bench.add("c", always=fail(Failure.RATE_LIMITED, status=429))
    with pytest.raises(ExecutionError) as caught:
        await bench.complete(attempts=2, timeout=30)
    assert (caught.value.status, caught.value.retry_after) == (429, 40)


async def test_the_earliest_limit_is_waited_for(bench):
    bench.add("a", fail(Failure.RATE_LIMITED, status=429, retry_after=9))
    bench.add("b", fail(Failure.RATE_LIMITED, status=429, retry_after=4))
    assert (await bench.complete()).candidate.provider == "b"
    assert now() < 1005


async def test_a_limit_without_a_time_is_backed_off_from(bench):
    provider = bench.add("a", fail(Failure.RATE_LIMITED, status=429))
    await bench.complete(delay=0.1)
    assert provider.times[1] - provider.times[0] <= 0.1


async def test_all_limited_without_a_time_still_says_when_to_come_back(bench):
    bench.add("a", always=fail(Failure.RATE_LIMITED, status=429))
    with pytest.raises(ExecutionError) as caught:
        await bench.complete()
    assert (caught.value.status, caught.value.retry_after, len(caught.value.attempts)) == (429, 1, 4)


async def test_an_overloaded_providers_wait_is_honoured_too(bench):
    provider = bench.add("a", fail(Failure.OVERLOADED, status=503, retry_after=20))
    bench.add("b")
    await bench.complete()
    await asyncio.sleep(19)
    await bench.complete()
    assert len(provider.calls) == 1
    assert bench.observer.skips == [("a", "Overloaded")]


async def test_a_limit_that_grows_while_one_waits_is_waited_for_again(bench):
    provider = bench.add("a", fail(Failure.RATE_LIMITED, retry_after=5), [Wait(1), fail(Failure.RATE_LIMITED, retry_after=20)])
    first = asyncio.create_task(bench.complete())
    second = asyncio.create_task(bench.complete())
    await asyncio.wait([first, second])
    assert {len(first.result().attempts), len(second.result().attempts)} <= {1, 2, 3}
    late = [at for at in provider.times if at > 1007]
    assert min(late) >= 1026
