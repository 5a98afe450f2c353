"""Two hundred clients at once while a provider dies, hangs or limits, and when it comes back."""

from __future__ import annotations

import asyncio

import pytest

from fakes.engine_bench import collect
from fakes.provider import Wait, content, fail, preamble
from stratarouter_runtime.model.errors import ExecutionError, Failure, ProviderError

CLIENTS = 200
FAULTS = {
    "refuses": [fail(Failure.CONNECT_FAILED)],
    "hangs": [Wait(2), fail(Failure.TIMEOUT)],
    "errs": [Wait(0.05), fail(Failure.SERVER_ERROR)],
    "limits": [Wait(0.05), fail(Failure.RATE_LIMITED, retry_after=30)],
    "refuses its key": [Wait(0.05), fail(Failure.UNAUTHORIZED)],
}


async def storm(bench, seconds, *, every=0.2):
    """Clients that ask again and again, each a little after the other; returns what they got and how long it took."""
    loop = asyncio.get_running_loop()
    answers, longest = [], 0.0

    async def client(number):
        nonlocal longest
        await asyncio.sleep(number * every / CLIENTS)
        until = loop.time() + seconds
        while loop.time() < until:
            began = loop.time()
            try:
                answers.append((await bench.complete(timeout=10)).candidate.provider)
            except ExecutionError as error:
                answers.append(error.status)
            longest = max(longest, loop.time() - began)
            await asyncio.sleep(every)

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(client(number))
    return answers, longest


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_client_fails_while_a_healthy_candidate_exists(bench, fault):
    """Calls to the failing primary: those already under way when it is found out, and then a probe at a time."""
    primary = bench.add("a", always=FAULTS[fault], open_seconds=5)
    bench.add("b", always=Wait(0.05), limit=1000)
    answers, longest = await storm(bench, 8)
    assert set(answers) == {"b"}
    assert longest <= 2.2
    assert len(primary.calls) <= CLIENTS + 10
    assert bench.in_flight() == 0


async def test_when_all_are_down_calls_come_one_at_a_time(bench):
    """Everybody else is told to come back later instead of standing in line."""
    provider = bench.add("a", always=[Wait(0.05), fail(Failure.SERVER_ERROR)], open_seconds=5)
    answers, _ = await storm(bench, 10)
    assert set(answers) <= {502, 503}
    assert len(provider.calls) <= CLIENTS + 10 / 0.05
    assert answers.count(503) > 0.8 * len(answers)


async def test_traffic_returns_within_the_opening_and_a_short_ramp(bench):
    primary = bench.add("a", always=[Wait(0.05), fail(Failure.SERVER_ERROR)], open_seconds=5)
    bench.add("b", always=Wait(0.05), limit=1000)
    await storm(bench, 3)
    primary.always = [Wait(0.05)]
    primary.most_open = 0
    began = asyncio.get_running_loop().time()
    answers, _ = await storm(bench, 8)
    last_fallback = max(at for at in bench.providers["b"].times)
    assert last_fallback - began <= 5 + 1, "openSeconds, and a second of ramp"
    assert set(answers) == {"a", "b"}


async def test_a_slow_provider_does_not_take_the_slots_of_others(bench):
    slow = bench.add("a", always=Wait(3600), limit=16)
    bench.add("b", always=Wait(0.05), limit=1000)
    stuck = [asyncio.create_task(bench.complete(timeout=3600)) for _ in range(16)]
    await asyncio.sleep(1)
    answers, longest = await storm(bench, 3)
    assert set(answers) == {"b"}
    assert longest < 0.1
    assert slow.most_open == 16
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
    assert bench.in_flight() == 0


async def test_streams_that_are_all_cut_open_the_breaker(bench):
    bench.add("a", always=[preamble(), content(), fail(Failure.CONNECTION_LOST)], open_seconds=60)
    bench.add("b")
    async def cut():
        try:
            await collect(await bench.open())
        except ProviderError:
            return True
        return False

    assert sum([await cut() for _ in range(50)]) == 5
