"""What is old is deleted, little by little, whatever the database does."""

from __future__ import annotations

import pytest

from fakes.state import NOW, FakeClock, made, settle
from stratarouter_runtime.state import StateUnavailable, StreamCheckpoint
from stratarouter_runtime.state.memory import MemoryStore
from stratarouter_runtime.state.retention import BATCH, DAY_SECONDS, ROUND_SECONDS, Retention


class Old(MemoryStore):
    """Counts its purges; raises ``error`` where one is set."""

    def __init__(self):
        super().__init__(max_executions=10_000)
        self.purges, self.error = [], None

    async def purge(self, before, limit):
        if self.error is not None:
            raise self.error
        self.purges.append((before, limit))
        return await super().purge(before, limit)


@pytest.fixture
async def world():
    store, clock = Old(), FakeClock()
    retention = Retention(store, clock=clock, sleep=clock.sleep)
    yield store, clock, retention
    await retention.aclose()


async def test_executions_and_streams_of_more_than_thirty_days_go_and_others_stay(world):
    """At start, and then once an hour; an app's own steps are nobody else's to delete."""
    store, clock, retention = world
    edge = NOW - 30 * DAY_SECONDS
    await store.write([made("old", started_at=edge - 1), made("young", started_at=edge), StreamCheckpoint("old", 1, "a", edge - 1),
                       StreamCheckpoint("young", 1, "b", edge)])
    kept = await store.append("app", "{}", 0.0)
    retention.start()
    await settle()
    assert await store.execution("old") is None
    assert await store.execution("young") is not None
    assert [await store.stream(each) for each in ("old", "young")] == [[], [StreamCheckpoint("young", 1, "b", edge)]]
    assert await store.checkpoints("app") == [kept]
    await clock.advance(ROUND_SECONDS + 10)
    assert await store.execution("young") is None


async def test_a_backlog_goes_in_small_batches(world):
    """A year of executions is deleted a thousand at a time, with time between for others."""
    store, clock, retention = world
    await store.write([made(f"exec-{number}", started_at=0) for number in range(2_500)])
    retention.start()
    await settle()
    assert store.purges == [(NOW - 30 * DAY_SECONDS, BATCH)]
    await clock.advance(10)
    assert len(store.purges) == 4
    assert await store.execution("exec-2499") is None


@pytest.mark.parametrize("error", [StateUnavailable("down"), RuntimeError("a bug")])
async def test_a_round_that_fails_is_not_the_last(world, error):
    """The next hour tries again."""
    store, clock, retention = world
    await store.write([made("old", started_at=0)])
    store.error = error
    retention.start()
    await clock.advance(ROUND_SECONDS / 2)
    assert await store.execution("old") is not None
    store.error = None
    await clock.advance(ROUND_SECONDS)
    assert await store.execution("old") is None
