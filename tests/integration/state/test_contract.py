"""What holds on every back end: one suite, run over memory and over a real PostgreSQL."""

from __future__ import annotations

import asyncio
import dataclasses
from decimal import Decimal

import pytest

from fakes.state import NOW, begun_record, execution, made
from stratarouter_runtime.state import Checkpoint, StateDataError, StateManager, StreamCheckpoint, record
from stratarouter_runtime.state.records import Step

UNUSUAL = {
    "nul": "a\0b", "escaped": "\\u0000", "surrogates": "\ud83d|\ude00", "emoji": "😀", "empty": {}, "": None, "nested": [[1, [2.5, True]]],
    "big": 10**400, "small": 5e-324, "float": 0.1, "negative zero": -0.0, "text": "line\nbreak \u2028 \"quoted\" '", "order": {"b": 1, "a": 2}}


@pytest.fixture
async def state(dsn):
    """As an app makes it."""
    async with StateManager("postgresql", db_url=dsn) if dsn else StateManager(clock=lambda: NOW) as manager:
        yield manager


# --- an app's own steps -------------------------------------------------------------------------------------------------
async def test_the_documented_calls_work_as_written(state):
    """``checkpoint`` and ``load`` of the library's documentation."""
    await state.checkpoint("job-7", step=5, state_data={"done": ["a"]})
    loaded = await state.load("job-7")
    assert (loaded.step, loaded.state_data, loaded.execution, loaded.text) == (5, {"done": ["a"]}, None, None)


async def test_of_a_job_nobody_knows_nothing_is_loaded(state):
    """None, and an empty history; also for what could be no id."""
    for identity in ("job-9", "", "\0", "x" * 1_000):
        assert await state.load(identity) is None
        assert await state.history(identity) == []
        assert await state.delete(identity) == 0


async def test_the_highest_step_is_the_latest_whatever_the_order_of_writing(state):
    """A late checkpoint of an early step does not turn the work back."""
    for step in (3, 10, 7):
        await state.checkpoint("job-7", step=step, state_data={"step": step})
    assert (await state.load("job-7")).step == 10
    assert [each.step for each in await state.history("job-7")] == [3, 7, 10]
    assert [each.step for each in await state.history("job-7", limit=2)] == [7, 10]
    assert await state.history("job-7", limit=-1) == []


async def test_the_same_step_again_replaces_it(state):
    """A step that is repeated after a failure is still one step."""
    await state.checkpoint("job-7", step=1, state_data={"try": 1})
    await state.checkpoint("job-7", step=1, state_data={"try": 2})
    assert [each.state_data for each in await state.history("job-7")] == [{"try": 2}]


async def test_saving_appends_a_step(state):
    """From 0, and after whatever is there."""
    assert (await state.save("job-7", {"n": 0})).step == 0
    await state.checkpoint("job-7", step=10, state_data={"n": 10})
    assert (await state.save("job-7", {"n": 11})).step == 11
    assert (await state.load("job-7")).state_data == {"n": 11}


async def test_saving_at_once_gives_each_a_step_of_its_own(state):
    """Twenty at once: none overwrites another."""
    saved = await asyncio.gather(*(state.save("job-7", {"n": number}) for number in range(20)))
    assert sorted(each.step for each in saved) == list(range(20))
    assert sorted(each.state_data["n"] for each in await state.history("job-7")) == list(range(20))


async def test_unusual_values_come_back_as_they_were(state):
    """NUL characters, lone surrogates, numbers beyond any column: what JSON can hold comes back to the bit."""
    await state.checkpoint("job-7", step=0, state_data=UNUSUAL)
    loaded = (await state.load("job-7")).state_data
    assert repr(loaded) == repr(UNUSUAL)


@pytest.mark.parametrize("data", [{"x": float("nan")}, {"x": object()}, ["no mapping"], None])
async def test_what_cannot_come_back_is_refused_and_changes_nothing(state, data):
    """The earlier state stays."""
    await state.save("job-7", {"good": 1})
    for call in (state.save("job-7", data), state.checkpoint("job-7", 0, data)):
        with pytest.raises(StateDataError):
            await call
    assert [each.state_data for each in await state.history("job-7")] == [{"good": 1}]


async def test_a_state_of_four_mebibytes_comes_back(state):
    """And one that is nested as deep as Python's JSON goes."""
    deep = {}
    for _ in range(300):
        deep = {"deeper": [deep]}
    await state.save("job-7", {"x": "y" * (4 * 1024 * 1024 - 8)})
    assert len((await state.load("job-7")).state_data["x"]) == 4 * 1024 * 1024 - 8
    await state.save("job-7", deep)
    assert (await state.load("job-7")).state_data == deep


async def test_deleting_takes_all_steps_of_one_job(state):
    """And says how many there were."""
    for identity in ("job-7", "job-7", "job-8"):
        await state.save(identity, {})
    assert await state.delete("job-7") == 2
    assert await state.load("job-7") is None
    assert (await state.load("job-8")).step == 0


# --- what the runtime writes ----------------------------------------------------------------------------------------------
async def test_what_was_executed_is_what_is_stored(store):
    """Every field, and so every attempt and the cost to the last digit."""
    told = record(execution(), status=200, started_at=NOW + 0.123456, duration=0.5)
    assert told.cost_usd == Decimal("0.0027")
    bare = made("exec-2", duration=None, status=None, outcome="", cost_usd=None, started_at=0.0)
    await store.write([told, bare])
    assert await store.execution("exec-1") == told
    assert await store.execution("exec-2") == bare
    assert await store.execution("exec-3") is None


async def test_writing_again_changes_nothing(store):
    """So a batch whose end nobody heard of may be repeated."""
    batch = [begun_record(), StreamCheckpoint("exec-1", 10, "a", NOW), StreamCheckpoint("exec-1", 20, "b", NOW, truncated=True), made()]
    for _ in range(3):
        await store.write(batch)
    assert await store.execution("exec-1") == made()
    assert await store.stream("exec-1") == batch[1:3]


async def test_of_one_id_the_later_record_stands(store):
    """The end of an execution replaces its beginning, in one batch or in two."""
    await store.write([begun_record()])
    assert (await store.execution("exec-1")).outcome == ""
    await store.write([dataclasses.replace(made(), outcome="Timeout"), made()])
    assert (await store.execution("exec-1")).outcome == "Success"


async def test_an_apps_steps_and_a_streams_checkpoints_are_apart(store):
    """The same id and step: neither overwrites the other, and both are told."""
    manager = StateManager(store=store)
    await manager.checkpoint("exec-1", step=10, state_data={"app": True})
    await store.write([StreamCheckpoint("exec-1", 20, " you", NOW), StreamCheckpoint("exec-1", 10, "Hello", NOW), made()])
    loaded = await manager.load("exec-1")
    assert (loaded.step, loaded.state_data, loaded.text, loaded.execution) == (10, {"app": True}, "Hello you", made())
    assert await manager.delete("exec-1") == 1
    loaded = await manager.load("exec-1")
    assert (loaded.step, loaded.state_data, loaded.text) == (None, {}, "Hello you")


async def test_an_empty_batch_is_nothing(store):
    """Nothing is stored, nothing is wrong."""
    await store.write([])


async def test_old_executions_and_streams_go_oldest_first_and_apps_steps_stay(store):
    """At most so many at once; what is exactly as old as the limit stays."""
    await store.write([made(f"exec-{age}", started_at=NOW - age) for age in range(6)])
    await store.write([StreamCheckpoint("exec-5", step, "x", NOW - 5) for step in range(3)])
    await store.put(Checkpoint("exec-5", 0, "{}", NOW - 5))
    assert await store.purge(NOW - 3, 1) == 2
    assert await store.purge(NOW - 3, 10) == 3
    assert await store.purge(NOW - 3, 10) == 0
    assert [await store.execution(f"exec-{age}") is not None for age in range(6)] == [True, True, True, True, False, False]
    assert await store.stream("exec-5") == []
    assert len(await store.checkpoints("exec-5")) == 1


async def test_steps_are_listed_without_what_is_in_them(store):
    """How many bytes, and when; nobody reads gigabytes to show a list."""
    for step, encoded in ((7, '{"a":"\\u00e9"}'), (3, "{}")):
        await store.put(Checkpoint("job", step, encoded, NOW))
    assert await store.steps("job") == [Step(3, 2, NOW), Step(7, 14, NOW)]
    assert await store.steps("nobody") == []
