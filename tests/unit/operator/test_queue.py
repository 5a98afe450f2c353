"""The work queue: one worker a key, no lost mark, backoff, and the end of a process that must end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from fakes.operator_clock import FakeClock, settle
from stratarouter_operator.errors import LeadershipLost, Unavailable
from stratarouter_operator.metrics import Metrics
from stratarouter_operator.queue import FIRST_BACKOFF, LONGEST_BACKOFF, Key, WorkQueue

A, B = Key("RuntimeConfig", "default", "a"), Key("RuntimeConfig", "default", "b")


class Recorder:
    """Work that does what the test says and remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []
        self.then: Callable[[Key], Awaitable[float | None]] | None = None

    async def __call__(self, key: Key, *, marked: bool) -> float | None:
        self.calls.append((key.name, marked))
        return await self.then(key) if self.then else None


@asynccontextmanager
async def running(work: Recorder, clock: FakeClock, *, workers: int = 4, jitter: float = 1.0) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(work, workers=workers, clock=clock, metrics=Metrics(), jitter=lambda: jitter)
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_many_marks_before_the_work_are_one_pass() -> None:
    work = Recorder()
    async with running(work, FakeClock()) as queue:
        for _ in range(5):
            queue.mark(A)
        await settle()
    assert work.calls == [("a", True)]


async def test_marks_during_the_work_lead_to_exactly_one_more_pass_and_never_to_a_second_worker() -> None:
    work, gate, inside = Recorder(), asyncio.Event(), 0

    async def then(_: Key) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        await gate.wait()
        inside -= 1

    work.then = then
    async with running(work, FakeClock()) as queue:
        queue.mark(A)
        await settle()
        for _ in range(5):
            queue.mark(A)
        await settle()
        assert work.calls == [("a", True)]
        gate.set()
        await settle()
    assert work.calls == [("a", True), ("a", True)]


async def test_keys_do_not_wait_for_each_other() -> None:
    work, gate = Recorder(), asyncio.Event()

    async def then(key: Key) -> None:
        if key == A:
            await gate.wait()

    work.then = then
    async with running(work, FakeClock()) as queue:
        queue.mark(A)
        queue.mark(B)
        await settle()
        assert ("b", True) in work.calls
        gate.set()


async def test_work_that_asks_to_be_called_again_is_called_unmarked() -> None:
    work, clock = Recorder(), FakeClock()

    async def then(_: Key) -> float | None:
        return 5.0 if len(work.calls) == 1 else None

    work.then = then
    async with running(work, clock) as queue:
        queue.mark(A)
        await clock.advance(4.9)
        assert work.calls == [("a", True)]
        await clock.advance(100)
    assert work.calls == [("a", True), ("a", False)]


async def test_a_mark_does_not_wait_for_the_time_that_was_asked_for_and_replaces_it() -> None:
    work, clock = Recorder(), FakeClock()

    async def then(_: Key) -> float | None:
        return 50.0 if len(work.calls) == 1 else None

    work.then = then
    async with running(work, clock) as queue:
        queue.mark(A)
        await clock.advance(1)
        queue.mark(A)
        await clock.advance(1000)
    assert work.calls == [("a", True), ("a", True)]


async def test_a_failed_pass_is_repeated_marked_with_growing_backoff(caplog: pytest.LogCaptureFixture) -> None:
    work, clock = Recorder(), FakeClock()

    async def then(_: Key) -> None:
        raise Unavailable("ApiServerUnreachable", "no answer")

    work.then = then
    with caplog.at_level(logging.WARNING):
        async with running(work, clock) as queue:
            queue.mark(A)
            await clock.advance(FIRST_BACKOFF * (1 + 2 + 4) - 0.01)
            assert len(work.calls) == 3
            await clock.advance(10_000)
            passes = len(work.calls)
            await clock.advance(LONGEST_BACKOFF)
            assert len(work.calls) == passes + 1
    assert set(work.calls) == {("a", True)}
    assert "ApiServerUnreachable" in caplog.text


async def test_backoff_is_jittered_by_at_most_a_half_and_starts_again_after_success() -> None:
    work, clock, failing = Recorder(), FakeClock(), True

    async def then(_: Key) -> None:
        if failing:
            raise Unavailable("ApiServerUnreachable", "no answer")

    work.then = then
    async with running(work, clock, jitter=0.0) as queue:
        queue.mark(A)
        await clock.advance(FIRST_BACKOFF * 0.5)
        assert len(work.calls) == 2
        failing = False
        await clock.advance(100)
        assert len(work.calls) == 3
        failing = True
        queue.mark(A)
        await clock.advance(FIRST_BACKOFF * 0.5)
        assert len(work.calls) == 5


async def test_a_server_that_says_when_to_come_back_is_obeyed() -> None:
    work, clock = Recorder(), FakeClock()

    async def then(_: Key) -> None:
        raise Unavailable("TooManyRequests", "slow down", status=429, retry_after=20)

    work.then = then
    async with running(work, clock) as queue:
        queue.mark(A)
        await clock.advance(19.9)
        assert len(work.calls) == 1
        await clock.advance(0.2)
        assert len(work.calls) == 2


async def test_an_unexpected_error_costs_neither_the_worker_nor_other_keys(caplog: pytest.LogCaptureFixture) -> None:
    work, clock = Recorder(), FakeClock()

    async def then(key: Key) -> None:
        if key == A:
            raise ZeroDivisionError

    work.then = then
    with caplog.at_level(logging.ERROR):
        async with running(work, clock, workers=1) as queue:
            queue.mark(A)
            queue.mark(B)
            await settle()
    assert work.calls == [("a", True), ("b", True)]
    assert "ZeroDivisionError" in caplog.text


async def test_lost_leadership_ends_the_queue() -> None:
    work = Recorder()

    async def then(_: Key) -> None:
        raise LeadershipLost("LeadershipLost", "gone")

    work.then = then
    queue = WorkQueue(work, workers=2, clock=FakeClock(), metrics=Metrics())
    task = asyncio.create_task(queue.run())
    queue.mark(A)
    with pytest.raises(ExceptionGroup) as caught:
        await task
    assert caught.group_contains(LeadershipLost)


async def test_nothing_is_remembered_of_a_key_that_is_done() -> None:
    work = Recorder()
    async with running(work, FakeClock()) as queue:
        for number in range(500):
            queue.mark(Key("RuntimeConfig", "default", f"n{number}"))
        await settle()
        for _ in range(20):
            await settle()
        assert len(work.calls) == 500
        assert not any((queue._ready, queue._active, queue._again, queue._due, queue._failures))
