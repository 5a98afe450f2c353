"""The event loop's delay is seen and kept for a while, the process is looked at, and both end with their owner."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from stratarouter_runtime.telemetry.metrics import Metrics
from stratarouter_runtime.telemetry.watch import LOOP_INTERVAL, LOOP_WINDOW, PROCESS_INTERVAL, owned, watch_loop, watch_process


class ScriptEndError(Exception):
    """Ends the endless loop."""


class Clock:
    """A clock whose sleeps take as much longer as the script says."""

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
        await watch_loop(seen.append, clock=clock, sleep=clock.sleep)
    return seen


async def test_a_stall_is_reported_for_the_whole_window_and_then_forgotten():
    """A scrape every 15 seconds sees a stall that lasted a tenth of one."""
    seen = await reported([0.0, 1.5] + [0.0] * LOOP_WINDOW)
    assert seen[0] == pytest.approx(0.0)
    assert seen[1:LOOP_WINDOW + 1] == pytest.approx([1.5] * LOOP_WINDOW)
    assert seen[LOOP_WINDOW + 1] == pytest.approx(0.0)


async def test_a_sleep_that_ends_early_is_no_negative_delay():
    """Clocks are not exact."""
    assert await reported([-LOOP_INTERVAL / 10]) == [0.0]


async def test_a_real_stall_is_measured():
    """Blocking the loop for 200 ms over the end of a sleep is seen as a delay of about that."""
    seen: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    work = watch_loop(lambda lag: seen.done() or seen.set_result(lag), sleep=lambda seconds: asyncio.sleep(seconds / 50))
    async with owned(work, "watch"):
        await asyncio.sleep(0)
        time.sleep(LOOP_INTERVAL + 0.2)  # noqa: ASYNC251 (this is the fault)
        assert await seen >= 0.2


async def test_the_process_is_looked_at_in_a_thread_at_once_and_then_every_five_seconds():
    """Reading `/proc` never holds the loop."""
    clock, seen = Clock([0.0, 0.0]), []
    with pytest.raises(ScriptEndError):
        await watch_process(lambda: seen.append((clock.now, threading.current_thread() is threading.main_thread())), sleep=clock.sleep)
    assert seen == [(0.0, False), (PROCESS_INTERVAL, False), (2 * PROCESS_INTERVAL, False)]


@pytest.mark.skipif("not __import__('os').path.exists('/proc/self/stat')", reason="needs /proc")
def test_a_scrape_has_the_process_as_it_was_last_seen():
    """Memory, CPU time and descriptors, under names of ours."""
    metrics = Metrics()
    assert b"_process_" not in metrics.render()[0]
    metrics.refresh_process()
    assert b"\nstratarouter_runtime_process_resident_memory_bytes " in metrics.render()[0]


async def test_a_task_ends_with_its_owner():
    """Also when the body fails."""
    with pytest.raises(RuntimeError, match="body"):
        async with owned(asyncio.sleep(3600), "watch"):
            raise RuntimeError("body")
    assert not any(task.get_name() == "watch" for task in asyncio.all_tasks())
