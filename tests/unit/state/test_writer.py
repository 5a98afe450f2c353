"""The writer: nothing waits, nothing is lost unseen, nothing is stored twice."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.state import NOW, FakeClock, TroubledStore, made, settle
from stratarouter_runtime.state import StreamCheckpoint
from stratarouter_runtime.state.writer import GATHER_SECONDS, MAX_BATCH, StateWriter


class World:
    """A writer over a troubled store, on a clock of its own."""

    def __init__(self, **options):
        self.store, self.clock, self.dropped = TroubledStore(), FakeClock(), []
        self.writer = StateWriter(self.store, dropped=self.dropped.append, sleep=self.clock.sleep, **options)

    def put(self, *numbers):
        return [self.writer.put(made(f"exec-{number}")) for number in numbers]


@pytest.fixture
async def world():
    made_world = World(max_queued=1_000)
    made_world.writer.start()
    yield made_world
    made_world.store.gate = None
    await made_world.writer.aclose()


async def test_a_record_is_written_at_once_and_those_after_it_together(world):
    """Batches: the first waits for nobody, what comes while it is written and for half a second after goes in one."""
    world.put(0)
    await settle()
    assert world.store.stored() == ["exec-0"]
    world.put(1, 2, 3)
    await world.clock.advance(GATHER_SECONDS)
    assert [len(batch) for batch in world.store.batches] == [1, 3]


async def test_a_batch_is_bounded_and_a_backlog_does_not_wait_between_batches(world):
    """Encoding a batch holds up the event loop: never more than 100 at once."""
    world.put(*range(450))
    await settle()
    assert [len(batch) for batch in world.store.batches] == [100, 100, 100, 100]
    await world.clock.advance(GATHER_SECONDS)
    assert len(world.store.batches[-1]) == 50
    assert MAX_BATCH == 100


async def test_when_there_is_no_room_the_newest_are_dropped_and_counted(world):
    """``put`` says no, the counter and the callback say how many; what was taken comes through in order."""
    world.store.down = True
    taken = world.put(*range(1_200))
    assert taken == [True] * 1_000 + [False] * 200
    assert (world.writer.lost, sum(world.dropped), world.writer.queued) == (200, 200, 1_000)
    await world.clock.advance(60)
    assert world.writer.queued == 1_000
    world.store.down = False
    await world.clock.advance(5)
    assert world.store.stored() == [f"exec-{number}" for number in range(1_000)]
    assert (world.writer.lost, world.writer.queued) == (200, 0)


async def test_streams_leave_half_of_the_room_to_executions(world):
    """How far a stream has come is worth less than what was spent."""
    world.store.down = True
    streams = [world.writer.put(StreamCheckpoint("exec-s", step, "text", NOW)) for step in range(600)]
    assert streams == [True] * 500 + [False] * 100
    assert all(world.put(*range(500)))
    assert world.writer.lost == 100


async def test_the_text_that_waits_is_bounded():
    """Streams of long chunks cannot fill the memory; room comes back when they are written."""
    world = World(max_queued_text=100)
    assert [world.writer.put(StreamCheckpoint("exec-s", step, "x" * 40, NOW)) for step in range(3)] == [True, True, False]
    world.writer.start()
    await settle()
    assert [world.writer.put(StreamCheckpoint("exec-s", step, "x" * 40, NOW)) for step in range(3)] == [True, True, False]
    await world.writer.aclose()


async def test_a_batch_that_was_stored_although_it_failed_is_not_doubled(world):
    """The connection broke after the commit: written again, it changes nothing, and it leaves the queue only then."""
    world.store.forgetful = True
    world.put(1, 2)
    await settle()
    assert (world.store.stored(), world.writer.queued) == (["exec-1", "exec-2"], 2)
    world.store.forgetful = False
    await world.clock.advance(5)
    assert (world.store.stored(), world.writer.queued, world.writer.lost) == (["exec-1", "exec-2"], 0, 0)


async def test_a_record_that_the_store_never_takes_does_not_hold_up_the_others(world, caplog):
    """It is dropped, counted and logged by the kind of error; those of its batch are stored."""
    world.store.refused = {"exec-1"}
    world.put(0, 1, 2)
    await settle()
    assert world.store.stored() == ["exec-0", "exec-2"]
    assert (world.writer.lost, world.dropped, world.writer.queued, world.writer.available) == (1, [1], 0, True)
    assert [(each.message, each.error) for each in caplog.records] == [("a record is refused and dropped", "TypeError")]
    world.put(3)
    await world.clock.advance(5)
    assert "exec-3" in world.store.stored()


async def test_trouble_is_logged_once_and_its_end_too(world, caplog):
    """An outage of an hour is two lines."""
    caplog.set_level(logging.INFO)
    world.store.down = True
    world.put(1)
    await world.clock.advance(3_600)
    assert not world.writer.available
    world.store.down = False
    await world.clock.advance(5)
    assert world.writer.available
    assert [each.message for each in caplog.records] == ["state cannot be written now and is queued", "state is written again"]


async def test_a_database_that_is_down_is_told_of_before_anything_is_written(caplog):
    """At start: who mistyped the DSN reads it in the log at once, not with the first request."""
    caplog.set_level(logging.INFO)
    world = World()
    world.store.down = True
    world.writer.start()
    await world.clock.advance(2)
    assert (world.writer.available, world.writer.errors) == (False, 3)
    world.store.down = False
    await world.clock.advance(5)
    assert (world.writer.available, world.writer.errors) == (True, 3)
    assert [each.message for each in caplog.records] == ["state cannot be written now and is queued", "state is written again"]
    await world.writer.aclose()


async def test_attempts_grow_rarer_up_to_five_seconds(world):
    """A database that is down is not stormed; one that is back is used within five seconds."""
    tried = []
    original = world.store.write

    async def write(records):
        tried.append(world.clock.now - NOW)
        await original(records)

    world.store.write, world.store.down = write, True
    world.put(1)
    await world.clock.advance(20)
    assert tried == [0, 0.5, 1.5, 3.5, 8.5, 13.5, 18.5]


async def test_closing_writes_what_is_left():
    """Also what nobody had begun to write, and without waiting for a batch to gather."""
    world = World()
    world.writer.start()
    world.put(0)
    await settle()
    world.put(*range(1, 250))
    await world.writer.aclose()
    assert (len(world.store.stored()), world.writer.lost) == (250, 0)


async def test_closing_waits_for_the_batch_under_way_and_does_not_double_it():
    """The batch is neither cut nor written twice."""
    world = World()
    world.store.gate = asyncio.Event()
    world.writer.start()
    world.put(0, 1)
    await settle()
    closing = asyncio.ensure_future(world.writer.aclose())
    await settle()
    assert not closing.done()
    world.store.gate.set()
    await closing
    assert ([len(batch) for batch in world.store.batches], world.store.attempts) == ([2], 1)


async def test_closing_while_the_store_is_down_counts_what_is_lost(caplog):
    """It does not wait for a database that does not come, and nothing is taken any more."""
    world = World()
    world.store.down = True
    world.writer.start()
    world.put(*range(7))
    await world.writer.aclose()
    assert (world.writer.lost, sum(world.dropped), world.writer.queued) == (7, 7, 0)
    assert world.put(8) == [False]
    assert world.writer.lost == 8
    assert "state is lost on closing" in [each.message for each in caplog.records]


async def test_closing_is_bounded_when_the_store_hangs(monkeypatch):
    """A database that just stops answering costs the bound, no more."""
    monkeypatch.setattr("stratarouter_runtime.state.writer.CLOSE_SECONDS", 0.01)
    world = World()
    world.store.gate = asyncio.Event()
    world.writer.start()
    world.put(1)
    await settle()
    await world.writer.aclose()
    assert (world.writer.lost, world.store.batches) == (1, [])


async def test_a_writer_that_was_never_started_writes_on_closing():
    """Nothing that was taken is forgotten."""
    world = World()
    world.put(1)
    await world.writer.aclose()
    await world.writer.aclose()
    assert world.store.stored() == ["exec-1"]


def test_put_needs_no_event_loop_to_wait_in():
    """It is a plain call: whatever the database does, a request cannot wait here."""
    world = World(max_queued=1)
    assert world.put(1, 2) == [True, False]


_events = st.lists(st.one_of(st.tuples(st.just("put"), st.integers(1, 60)), st.tuples(st.just("advance"), st.floats(0, 8)),
                             st.sampled_from([("down", True), ("down", False), ("forgetful", True), ("forgetful", False)])), max_size=30)


@settings(deadline=None, max_examples=50)
@given(_events)
def test_whatever_happens_taken_is_stored_or_queued_and_the_rest_is_counted(events):
    """The invariant of the module, over random outages and loads."""
    async def run():
        world, count, taken = World(max_queued=100), 0, []
        world.writer.start()
        for kind, value in events:
            if kind == "put":
                taken.extend(f"exec-{number}" for number in range(count, count + value) if world.put(number) == [True])
                count += value
            elif kind == "advance":
                await world.clock.advance(value)
            else:
                setattr(world.store, kind, value)
            waiting = [each.id for each in world.writer._queue]
            stored = world.store.stored()
            assert set(taken) == set(stored) | set(waiting)
            assert len(taken) + world.writer.lost == count
        world.store.down = world.store.forgetful = False
        await world.writer.aclose()
        assert world.store.stored() == taken
        assert world.writer.lost == sum(world.dropped) == count - len(taken)

    asyncio.run(run())
