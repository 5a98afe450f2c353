"""The event loop's delay is seen, kept for a while, and watched by a task that ends with its owner."""

from __future__ import annotations

import asyncio
import time

import pytest

from stratarouter_runtime.telemetry.loop import INTERVAL, WINDOW, LoopMonitor


class ScriptEndError(Exception):
    """Ends the endless loop."""


class Clock:
    """A clock whose sleeps take as long as the script says."""

    def __init__(self, delays):
        self.now = 0.0
        self.delays = iter(delays)

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        try:
            self.now += seconds + next(self.delays)
        except StopIteration:
            raise ScriptEndError from None


async def reported(delays):
    clock, seen = Clock(delays), []
    with pytest.raises(ScriptEndError):
        await LoopMonitor(seen.append, clock=clock, sleep=clock.sleep).run()
    return seen


async def test_a_stall_is_reported_for_the_whole_window_and_then_forgotten():
    """A scrape every 15 seconds sees a stall that lasted a tenth of one."""
    seen = await reported([0.0, 1.5] + [0.0] * WINDOW)
    assert seen[0] == pytest.approx(0.0)
    assert seen[1:WINDOW + 1] == pytest.approx([1.5] * WINDOW)
    assert seen[WINDOW + 1] == pytest.approx(0.0)


async def test_a_sleep_that_ends_early_is_no_negative_delay():
    """Clocks are not exact."""
    assert await reported([-INTERVAL / 10]) == [0.0]


async def test_a_real_stall_is_measured():
    """Blocking the loop for 200 ms over the end of a sleep is seen as a delay of about that."""
    seen: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    async with LoopMonitor(lambda lag: seen.done() or seen.set_result(lag), sleep=lambda seconds: asyncio.sleep(seconds / 50)):
        await asyncio.sleep(0)
        time.sleep(INTERVAL + 0.2)  # noqa: ASYNC251 (this is the fault)
        assert await seen >= 0.2


async def test_its_task_ends_with_it():
    """Nothing is left behind."""
    async with LoopMonitor(lambda seconds: None):
        assert any(task.get_name() == "event-loop-monitor" for task in asyncio.all_tasks())
    assert not any(task.get_name() == "event-loop-monitor" for task in asyncio.all_tasks())
