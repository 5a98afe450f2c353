"""PostgreSQL stopped, restarted, paused, refusing: no put waits or raises, nothing is lost unseen or stored twice."""

from __future__ import annotations

import asyncio
import time
import traceback
from random import Random

import asyncpg
import pytest

from fakes.state import FakeClock, made, settle
from fixtures_postgres import PASSWORD
from stratarouter_runtime.state import StateManager, StateRefused, StateUnavailable, StreamCheckpoint, open_state
from stratarouter_runtime.state.postgres import PostgresStore
from stratarouter_runtime.state.writer import MAX_QUEUED, StateWriter


async def _until(condition, clock=None):
    """Let real sockets and an injected clock go on until something is the case."""
    async with asyncio.timeout(30):
        while not await condition():
            if clock is not None:
                await clock.advance(0.1)
            await asyncio.sleep(0)


async def _count(dsn):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval("SELECT count(*) FROM stratarouter_executions")
    finally:
        await connection.close()


async def test_stopped_for_a_minute_under_load_nothing_waits_and_what_is_dropped_is_counted(postgres_server):
    """Two hundred executions a second, a minute of outage: exactly what there was no room for is lost, the rest is written."""
    clock, dropped, spent = FakeClock(), [], 0.0
    state = open_state("postgresql", postgres_server.dsn, dropped=dropped.append, clock=clock, sleep=clock.sleep)
    state.start()
    assert state.put(made("before"))

    async def written():
        return state.stats()["queued"] == 0

    await _until(written, clock)
    await asyncio.to_thread(postgres_server.stop)
    taken, refused = [], 0
    for second in range(60):
        began = time.perf_counter()
        for number in range(200):
            if state.put(made(f"exec-{second}-{number}")):
                taken.append(f"exec-{second}-{number}")
            else:
                refused += 1
        spent += time.perf_counter() - began
        await clock.advance(1)
    assert (len(taken), refused) == (MAX_QUEUED, 60 * 200 - MAX_QUEUED)
    assert state.stats() | {"errors": 0} == {"backend": "postgresql", "queued": MAX_QUEUED, "lost": refused, "available": False, "errors": 0}
    assert state.stats()["errors"] > 10
    assert sum(dropped) == refused
    assert spent < 2  # 12,000 plain calls, which take some milliseconds: none of them has anything to wait for
    await asyncio.to_thread(postgres_server.start)
    await _until(written, clock)
    assert state.stats() | {"errors": 0} == {"backend": "postgresql", "queued": 0, "lost": refused, "available": True, "errors": 0}
    await state.aclose()
    connection = await asyncpg.connect(postgres_server.dsn)
    rows = await connection.fetch("SELECT id FROM stratarouter_executions")
    await connection.close()
    assert sorted(row["id"] for row in rows) == sorted(["before", *taken])


async def test_a_restart_in_the_middle_of_a_batch_neither_loses_nor_doubles(postgres_server):
    """The server dies when half of a transaction is done; the same batch is written whole after it came back."""
    clock = FakeClock()
    state = open_state("postgresql", postgres_server.dsn, clock=clock, sleep=clock.sleep)
    await state.manager.save("job", {})  # the schema is there
    blocker = await asyncpg.connect(postgres_server.dsn)
    await blocker.execute("BEGIN; LOCK TABLE stratarouter_stream_checkpoints IN ACCESS EXCLUSIVE MODE")
    for number in range(80):
        state.put(made(f"exec-{number}"))
    for step in range(20):
        state.put(StreamCheckpoint("exec-0", step, str(step), 0.0))
    state.start()

    async def halfway():
        return await blocker.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = "
                                      "'stratarouter_stream_checkpoints'::regclass") == 1

    await _until(halfway)
    await asyncio.to_thread(postgres_server.stop)
    blocker.terminate()
    await asyncio.to_thread(postgres_server.start)
    assert (await _count(postgres_server.dsn), state.stats()["queued"]) == (0, 100)

    async def written():
        return state.stats()["queued"] == 0

    await _until(written, clock)
    assert await _count(postgres_server.dsn) == 80
    assert [each.text for each in await state._store.stream("exec-0")] == [str(step) for step in range(20)]
    assert state.stats()["lost"] == 0
    await state.aclose()


async def test_a_batch_whose_commit_nobody_heard_of_is_not_doubled(postgres_database):
    """Stored, but the answer was lost: it is written again and is there once."""
    class Deaf(PostgresStore):
        deaf = True

        async def write(self, records):
            await super().write(records)
            if self.deaf:
                self.deaf = False
                raise StateUnavailable("the answer was lost")

    clock = FakeClock()
    store = Deaf(postgres_database)
    writer = StateWriter(store, sleep=clock.sleep)
    for number in range(50):
        writer.put(made(f"exec-{number}"))
    writer.start()

    async def written():
        return writer.queued == 0

    await _until(written, clock)
    await writer.aclose()
    assert (await _count(postgres_database), writer.lost) == (50, 0)
    await store.aclose()


async def test_a_database_that_is_down_at_start_is_used_once_it_comes(postgres_server):
    """Nothing is needed at start; the schema is made when the first record is written."""
    postgres_server.stop()
    clock = FakeClock()
    state = open_state("postgresql", postgres_server.dsn, clock=clock, sleep=clock.sleep)
    state.start()
    assert state.put(made())

    async def down():
        return not state.stats()["available"]

    async def written():
        return state.stats()["queued"] == 0

    await _until(down)
    assert (await state.find("exec-1"))["stored"] is False
    await asyncio.to_thread(postgres_server.start)
    await _until(written, clock)
    assert (await state.find("exec-1"))["stored"] is True
    await state.aclose()


async def test_a_server_that_just_stops_answering_costs_its_bound_and_not_the_record(postgres_server):
    """Connections stay open and nothing comes: the call ends in time, and the same record is stored after it."""
    store = PostgresStore(postgres_server.dsn, connect_seconds=0.2, command_seconds=0.2)
    await store.write([made("before")])
    postgres_server.pause()
    began = time.monotonic()
    for _ in range(2):  # on a connection that was open, and on a new one
        with pytest.raises(StateUnavailable, match="TimeoutError"):
            await store.write([made()])
    with pytest.raises(StateUnavailable):
        await store.execution("exec-1")
    assert time.monotonic() - began < 5
    postgres_server.resume()
    patient = PostgresStore(postgres_server.dsn)
    await patient.write([made()])
    assert await patient.execution("exec-1") == made()
    await patient.aclose()
    await store.aclose()


async def test_closing_is_bounded_while_the_server_does_not_answer(postgres_server, monkeypatch):
    """A pod that must stop stops, and says what it could not write."""
    monkeypatch.setattr("stratarouter_runtime.state.writer.CLOSE_SECONDS", 0.2)
    store = PostgresStore(postgres_server.dsn, connect_seconds=0.2, command_seconds=5)
    await store.write([made("before")])
    writer = StateWriter(store)
    writer.start()
    postgres_server.pause()
    writer.put(made())
    await settle()
    began = time.monotonic()
    await writer.aclose()
    await store.aclose()
    assert time.monotonic() - began < 3
    assert writer.lost == 1


async def test_a_database_that_was_emptied_is_migrated_again(postgres_database, sql):
    """As after a failover to a server that knows nothing: one failure, then the schema is there."""
    store = PostgresStore(postgres_database)
    await store.write([made()])
    await sql.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with pytest.raises(StateUnavailable, match="UndefinedTableError"):
        await store.write([made("exec-2")])
    await store.write([made("exec-2")])
    assert await store.execution("exec-2") == made("exec-2")
    await store.aclose()


async def test_a_record_that_postgresql_refuses_costs_nothing_but_itself(postgres_database):
    """Whatever got past all cleaning: the others of its batch are stored, it is counted."""
    state = open_state("postgresql", postgres_database)
    state.put(made("exec-1"))
    state.put(made("exec-2", model="a\0b"))
    state.put(made("exec-3", model="a\ud800b"))
    state.put(made("exec-4", input_tokens=2**70))
    state.put(made("exec-5", plan={"x": {1, 2}}))
    state.put(made("exec-6", started_at=1e300))
    state.put(made("exec-7", request_id=None))
    state.put(made("".join(Random(8).choices("0123456789abcdef", k=20_000))))
    state.put(made("exec-9"))
    await state.aclose()
    assert (state.stats()["lost"], state.stats()["queued"]) == (7, 0)
    assert await _count(postgres_database) == 2


async def test_what_is_refused_is_told_from_what_is_unavailable(postgres_database):
    """The one will never be stored, the other may be a second later."""
    store = PostgresStore(postgres_database)
    for record in (made(model="a\0b"), made(model="a\ud800b"), made(request_id=None)):
        with pytest.raises(StateRefused, match="PostgreSQL: "):
            await store.write([record])
    await store.write([made()])
    await store.aclose()


@pytest.fixture(scope="module")
def checking_server(postgres_clusters):
    """A server that checks passwords, which one that a variable names may not."""
    server = postgres_clusters.new()
    server.start()
    yield server
    server.stop()


_BROKEN = [("{password}", "wrong-{password}", "InvalidPasswordError"), ("/postgres", "/nowhere", "InvalidCatalogNameError"),
           ("127.0.0.1", "127.0.0.1.invalid", "gaierror"), (":{port}", ":1", "ConnectionRefusedError|OSError"), (":{port}", ":not-a-port", "DSN cannot be read"),
           (":{password}", ":pa/ss{password}", "DSN cannot be read"), ("/postgres", "/postgres?sslmode=odd", "DSN cannot be read"),
           ("/postgres", "/postgres?sslmode=require", "ConnectionError")]


@pytest.mark.parametrize(("part", "instead", "told"), _BROKEN, ids=[each[1] for each in _BROKEN])
async def test_no_error_or_log_line_tells_the_dsn(checking_server, caplog, part, instead, told):
    """Wrong password, database, host, port, syntax: the kind of trouble is told, also to who looks at an error's causes."""
    fill = {"password": PASSWORD, "port": checking_server.port}
    dsn = checking_server.dsn.replace(part.format(**fill), instead.format(**fill))
    assert dsn != checking_server.dsn
    caplog.set_level(0)
    state = open_state("postgresql", dsn)
    state.start()
    state.put(made())
    with pytest.raises(StateUnavailable, match=told) as raised:
        await state.manager.save("job", {})

    async def down():
        return not state.stats()["available"]

    await _until(down)
    await state.aclose()
    written = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + caplog.text + repr(state.stats()) + repr(state._store)
    written += "".join(repr(vars(each)) for each in caplog.records)
    assert PASSWORD not in written
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


async def test_a_slow_reader_does_not_hold_up_the_writer(postgres_database, sql):
    """Looking up executions uses connections of its own; the writer finds one."""
    store = PostgresStore(postgres_database)
    await store.write([made()])
    await sql.execute("BEGIN; LOCK TABLE stratarouter_checkpoints IN ACCESS EXCLUSIVE MODE")
    readers = [asyncio.ensure_future(store.checkpoints("exec-1")) for _ in range(3)]
    await store.write([made("exec-2")])
    assert await store.execution("exec-2") == made("exec-2")
    await sql.execute("COMMIT")
    assert await asyncio.gather(*readers) == [[], [], []]
    await store.aclose()


async def test_a_cancelled_call_leaves_the_store_usable(postgres_database, sql):
    """As when a client goes away while its execution is looked up."""
    store = PostgresStore(postgres_database)
    await store.write([made()])
    await sql.execute("BEGIN; LOCK TABLE stratarouter_executions IN ACCESS EXCLUSIVE MODE")
    calls = [asyncio.ensure_future(store.execution("exec-1")) for _ in range(8)]  # more than there are connections
    await settle()
    for each in calls:
        each.cancel()
    assert all(isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*calls, return_exceptions=True))
    await sql.execute("COMMIT")
    assert await store.execution("exec-1") == made()
    await store.aclose()


async def test_no_named_statement_is_left_on_a_connection(postgres_database):
    """So a pooler such as PgBouncer may give the connection to somebody else after each transaction."""
    store = PostgresStore(postgres_database)
    await store.write([made(), StreamCheckpoint("exec-1", 1, "a", 0.0)])
    await store.execution("exec-1")
    await store.append("job", "{}", 0.0)
    found = await store._fetch("SELECT count(*) AS left_behind FROM pg_prepared_statements")
    assert found[0]["left_behind"] == 0
    await store.aclose()


async def test_only_one_process_deletes_what_is_old_at_a_time(postgres_database, sql):
    """The others leave it to it."""
    from stratarouter_runtime.state.postgres import RETENTION_LOCK

    store = PostgresStore(postgres_database)
    await store.write([made("old", started_at=0.0)])
    await sql.execute("SELECT pg_advisory_lock($1)", RETENTION_LOCK)
    assert await store.purge(1.0, 10) == 0
    await sql.execute("SELECT pg_advisory_unlock($1)", RETENTION_LOCK)
    assert await store.purge(1.0, 10) == 1
    await store.aclose()


async def test_a_manager_can_be_used_again_after_it_was_closed(postgres_database):
    """It connects when it is needed."""
    state = StateManager("postgresql", postgres_database)
    await state.save("job", {"n": 1})
    await state.aclose()
    assert (await state.load("job")).state_data == {"n": 1}
    await state.aclose()
    await state.aclose()
