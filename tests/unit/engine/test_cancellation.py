"""A caller that goes away: in every phase the vendor's call ends at once, and everything is given back."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import weakref

import pytest

from fakes.engine_bench import candidate, collect
from fakes.provider import Stubborn, Wait, content, fail, preamble, usage
from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.model.request import ChatRequest

PHASES = {
    "calling": ([Wait()], 5, ["cancelled"]),
    "backing off": ([fail(Failure.SERVER_ERROR, retry_after=50)], 5, ["ServerError"]),
    "trying again": ([fail(Failure.SERVER_ERROR, retry_after=1)], 5, ["ServerError", "cancelled"]),
}


def now() -> float:
    return asyncio.get_running_loop().time()


async def leave(task: asyncio.Task, after: float) -> None:
    await asyncio.sleep(after)
    began = now()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert now() == began
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("phase", PHASES)
async def test_leaving_ends_the_call_and_counts_for_nothing(bench, phase, streaming):
    script, after, ends = PHASES[phase]
    provider = bench.add("a", *[[each] for each in script], always=Wait(), consecutive_failures=2)
    run = bench.open if streaming else bench.complete
    await leave(asyncio.create_task(run()), after)
    assert bench.observer.ends == ends
    assert (provider.open, bench.in_flight()) == (0, 0)
    assert bench.observer.breakers == []


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("phase", PHASES)
async def test_who_asks_learns_what_was_tried_for_a_caller_that_left(bench, phase, streaming):
    """A call under way is told as cancelled: it is no success."""
    script, after, ends = PHASES[phase]
    bench.add("a", *[[each] for each in script], always=Wait())
    plan, tried = bench.plan(), []
    run = bench.engine.open_stream if streaming else bench.engine.complete
    await leave(asyncio.create_task(run(plan, now() + plan.timeout, tried)), after)
    assert [each.outcome for each in tried] == [end.replace("cancelled", "Cancelled") for end in ends]
    assert [each.number for each in tried] == list(range(1, len(ends) + 1))


@pytest.mark.parametrize("heard", [[], [preamble()]])
async def test_leaving_before_the_first_content_closes_the_stream(bench, heard):
    provider = bench.add("a", [*heard, Wait()])
    await leave(asyncio.create_task(bench.open()), 5)
    assert (provider.open, provider.closed, bench.observer.ends) == (0, 1, ["cancelled"])


async def test_leaving_while_reading_closes_the_stream_and_books_the_usage(bench):
    provider = bench.add("a", [content() + usage(), content(), Wait()])
    stream = await bench.open()
    await leave(asyncio.create_task(collect(stream)), 5)
    assert (provider.open, bench.in_flight(), bench.observer.ends) == (0, 0, ["cancelled"])
    assert bench.observer.attempts[0].usage.total == 5
    assert bench.observer.attempts[0].usage.estimated is False


async def test_leaving_is_neither_success_nor_failure_for_a_probe(bench):
    provider = bench.add("a", fail(Failure.SERVER_ERROR), consecutive_failures=1, open_seconds=10)
    bench.add("b")
    await bench.complete()
    provider.then(Wait())
    await asyncio.sleep(10)
    await leave(asyncio.create_task(bench.complete()), 1)
    assert bench.state("a") == ("Degraded", "BreakerHalfOpen")
    assert (await bench.complete()).candidate.provider == "a"
    assert bench.state("a") == ("Healthy", "")


async def test_a_provider_that_turns_the_cancellation_into_a_failure_does_not_start_another_attempt(bench):
    """It would spend on a caller who is not there any more."""
    other = bench.add("b")
    provider = bench.add("a")

    async def swallows(request, call):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise fail(Failure.CONNECTION_LOST) from None

    provider.chat = swallows
    plan = bench.plan(candidate("a"), candidate("b"))
    await leave(asyncio.create_task(bench.complete(plan)), 5)
    assert (other.calls, bench.observer.ends, bench.in_flight()) == ([], ["cancelled"], 0)


async def test_a_timeout_around_the_engine_counts_as_leaving(bench):
    bench.add("a", Wait())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await bench.complete()
    assert (bench.observer.ends, bench.in_flight()) == (["cancelled"], 0)


async def test_leaving_twice_does_not_lose_a_place(bench):
    provider = bench.add("a", [content(), Wait()])
    provider.closing = Stubborn(0.5)
    stream = await bench.open()
    task = asyncio.create_task(collect(stream))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bench.observer.ends, bench.in_flight()) == (["cancelled"], 0)


async def test_a_caller_that_is_gone_before_it_began_begins_nothing(bench):
    provider = bench.add("a")
    task = asyncio.create_task(bench.complete())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert provider.calls == []


async def test_an_observer_that_fails_does_not_leak_a_place(bench):
    bench.add("a")

    def refuse():
        raise RuntimeError("defect")

    bench.observer._on_attempt = refuse
    with pytest.raises(RuntimeError):
        await bench.complete()
    assert bench.in_flight() == 0


@pytest.mark.parametrize("streaming", [False, True])
async def test_what_a_request_that_was_left_held_is_free_at_once(bench, streaming):
    """Its cancellation must not hold the frames it came through in a circle: the next garbage collection may be far."""
    provider = bench.add("a", always=Wait())
    plan = dataclasses.replace(bench.plan(), request=Asked())
    held = weakref.ref(plan.request)
    task = asyncio.create_task((bench.open if streaming else bench.complete)(plan))
    gc.collect()
    gc.disable()
    try:
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.wait({task})
        provider.calls.clear()
        del plan, task
        assert held() is None
    finally:
        gc.enable()


class Asked(ChatRequest):
    """A request that can be looked for."""

    def __init__(self):
        super().__init__({"model": "m", "messages": []})
