"""Drain: what is in flight, waited for, and ended in the shape of its API."""

from __future__ import annotations

import asyncio

import pytest

from stratarouter_runtime.server.drain import Drain


async def test_requests_in_flight_are_counted() -> None:
    """From their first line to their last."""
    drain = Drain()
    assert drain.in_flight == 0
    with drain.request():
        assert drain.in_flight == 1
    assert drain.in_flight == 0


async def test_an_idle_pod_does_not_wait() -> None:
    """Also with no time left at all."""
    assert await Drain().wait_idle(-1)


async def test_the_last_request_ends_the_wait() -> None:
    """Not the first, and not the time."""
    drain = Drain()
    first, second = asyncio.Event(), asyncio.Event()

    async def work(until: asyncio.Event) -> None:
        with drain.request():
            await until.wait()

    tasks = [asyncio.create_task(work(first)), asyncio.create_task(work(second))]
    await asyncio.sleep(0)
    waiting = asyncio.create_task(drain.wait_idle(60))
    first.set()
    await tasks[0]
    assert not waiting.done()
    second.set()
    assert await waiting


async def test_a_wait_ends_with_its_time() -> None:
    """And says that something is still in flight."""
    drain = Drain()
    with drain.request():
        assert not await drain.wait_idle(0)


async def test_an_aborted_request_ends_with_an_error_a_client_can_read() -> None:
    """503 with Retry-After; the handler goes on to send it."""
    drain = Drain()
    started = asyncio.Event()

    async def handler() -> object:
        with drain.request():
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                error = drain.interrupted()
                await asyncio.sleep(0)  # sending takes time, and is not cancelled again
                return error
        return None

    task = asyncio.create_task(handler())
    await started.wait()
    drain.abort()
    error = await task
    assert error is not None
    assert (error.status, error.code, error.retry_after) == (503, "shutting_down", 1)  # type: ignore[attr-defined]


async def test_a_client_that_went_away_is_no_shutdown() -> None:
    """Its handler stays cancelled."""
    drain = Drain()

    async def handler() -> object:
        with drain.request():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if drain.interrupted() is None:
                    raise
        return None

    task = asyncio.create_task(handler())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert drain.in_flight == 0
