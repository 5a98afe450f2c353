"""The one deadline around everything a provider does."""

from __future__ import annotations

import asyncio

import pytest

from stratarouter_runtime.engine.deadline import Deadline, loop_time


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_what_takes_too_long_is_interrupted():
    limit = Deadline(now() + 5, loop_time)
    with pytest.raises(TimeoutError), limit:
        await asyncio.sleep(60)
    assert now() == 1005
    assert asyncio.current_task().cancelling() == 0


async def test_one_deadline_covers_several_waits():
    limit = Deadline(now() + 5, loop_time)
    for _ in range(4):
        with limit:
            await asyncio.sleep(1)
    with pytest.raises(TimeoutError), limit:
        await asyncio.sleep(2)
    assert now() == 1005


async def test_what_begins_after_it_does_not_begin():
    limit = Deadline(now() + 5, loop_time)
    await asyncio.sleep(6)
    with pytest.raises(TimeoutError), limit:
        pytest.fail("it began")


async def test_outside_of_the_block_nothing_is_interrupted():
    limit = Deadline(now() + 5, loop_time)
    with limit:
        pass
    await asyncio.sleep(60)
    assert limit.passed


async def test_code_that_swallows_the_interrupt_is_interrupted_again():
    limit = Deadline(now() + 5, loop_time)

    async def stubborn():
        for _ in range(3):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError), limit:
        await stubborn()
    assert now() == 1008
    assert asyncio.current_task().cancelling() == 0


async def test_a_result_that_came_in_spite_of_the_interrupt_is_taken():
    limit = Deadline(now() + 5, loop_time)
    with limit:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            result = "late"
    assert result == "late"
    await asyncio.sleep(1)


async def test_the_callers_cancellation_stays_one():
    limit = Deadline(now() + 5, loop_time)

    async def call():
        with limit:
            await asyncio.sleep(60)

    task = asyncio.create_task(call())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    limit.disarm()


async def test_the_callers_cancellation_at_the_same_moment_wins():
    limit = Deadline(now() + 5, loop_time)

    async def call():
        with limit:
            await asyncio.sleep(60)

    task = asyncio.create_task(call())
    asyncio.get_running_loop().call_at(now() + 5, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    limit.disarm()


async def test_a_timeout_around_it_keeps_working():
    limit = Deadline(now() + 50, loop_time)

    async def call():
        with limit:
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call(), 5)
    assert not limit.passed
    assert now() == 1005
    limit.disarm()


async def test_a_disarmed_one_leaves_nothing_behind():
    limit = Deadline(now() + 5, loop_time)
    limit.disarm()
    limit.disarm()
    with limit:
        await asyncio.sleep(60)
    assert not limit.passed
