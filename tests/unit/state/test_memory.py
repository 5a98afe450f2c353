"""The memory back end's bounds; what it shares with PostgreSQL is in the contract suite of the integration tests."""

from __future__ import annotations

from fakes.state import NOW, made
from stratarouter_runtime.state import Checkpoint, StreamCheckpoint
from stratarouter_runtime.state.memory import MemoryStore
from stratarouter_runtime.state.store import MAX_HISTORY


async def test_the_oldest_executions_go_first():
    """Written again counts as new."""
    store = MemoryStore(max_executions=2)
    await store.write([made("a"), made("b"), made("a"), made("c")])
    assert [await store.execution(each) is not None for each in "abc"] == [True, False, True]


async def test_steps_are_bounded_by_executions_bytes_and_number():
    """What was written longest ago goes first; of one execution alone, its first steps."""
    store = MemoryStore(max_executions=3, max_bytes=200)
    for name in "abcd":
        await store.put(Checkpoint(name, 0, "x" * 30, NOW))
    assert [len(await store.checkpoints(each)) for each in "abcd"] == [0, 1, 1, 1]
    await store.put(Checkpoint("b", 1, "x" * 30, NOW))
    assert [len(await store.checkpoints(each)) for each in "bcd"] == [2, 0, 1]
    for step in range(10):
        await store.put(Checkpoint("e", step, "x" * 30, NOW))
    assert [each.step for each in await store.checkpoints("e")] == [7, 8, 9]
    assert [len(await store.checkpoints(each)) for each in "bcd"] == [0, 0, 0]
    await store.put(Checkpoint("f", 0, "x" * 1_000, NOW))
    assert len(await store.checkpoints("f")) == 1


async def test_replacing_and_deleting_give_their_room_back():
    """The bytes counted are those that are there."""
    store = MemoryStore(max_bytes=200)
    for _ in range(10):
        await store.put(Checkpoint("a", 0, "x" * 40, NOW))
        await store.put(Checkpoint("b", 0, "x" * 40, NOW))
        assert [len(await store.checkpoints(each)) for each in "ab"] == [1, 1]
        assert await store.delete("b") == 1
    await store.write([StreamCheckpoint("s", 1, "x" * 90, 0.0)])
    assert await store.purge(1.0, 10) == 1
    await store.write([StreamCheckpoint("s", 1, "x" * 90, NOW), StreamCheckpoint("t", 1, "", NOW)])
    assert len(await store.stream("s")) == 1


async def test_an_execution_keeps_a_thousand_steps():
    """The newest."""
    store = MemoryStore()
    for step in range(MAX_HISTORY + 5):
        await store.put(Checkpoint("a", step, "{}", NOW))
    assert [each.step for each in await store.checkpoints("a", 10_000)] == list(range(5, MAX_HISTORY + 5))
