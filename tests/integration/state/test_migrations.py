"""The schema: from nothing, by several at once, from an older one, under a newer one, without the right to make one."""

from __future__ import annotations

import asyncio
import json
import sys

import asyncpg
import pytest

from fakes.state import made
from stratarouter_runtime.state import StateManager, StateUnavailable
from stratarouter_runtime.state.postgres import PostgresStore
from stratarouter_runtime.state.schema import Migration, migrate, migrations

SHIPPED = migrations()
ADDED = Migration(SHIPPED[-1].version + 1, 1, "ALTER TABLE stratarouter_executions ADD COLUMN note text; CREATE TABLE more (id int)")
BREAKING = Migration(ADDED.version + 1, ADDED.version + 1, "ALTER TABLE stratarouter_executions RENAME COLUMN route TO way")

_PROCESS = """
import asyncio, json, sys
import asyncpg
from stratarouter_runtime.state.schema import migrate, migrations

async def main():
    connection = await asyncpg.connect(sys.argv[1])
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps(await migrate(connection, migrations())))
    await connection.close()

asyncio.run(main())
"""


async def test_two_processes_migrate_an_empty_database_at_once(postgres_database, sql):
    """Each of several times: both succeed, each migration was applied by exactly one of them."""
    processes = [await asyncio.create_subprocess_exec(sys.executable, "-c", _PROCESS, postgres_database, stdin=asyncio.subprocess.PIPE,
                                                      stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE) for _ in range(2)]
    for each in processes:
        assert await each.stdout.readline() == b"ready\n"
    results = await asyncio.gather(*(each.communicate(b"go\n") for each in processes))
    assert [each.returncode for each in processes] == [0, 0], [errors.decode() for _, errors in results]
    assert sorted(json.loads(out) for out, _ in results) == [[], [each.version for each in SHIPPED]]
    assert await sql.fetchval("SELECT count(*) FROM stratarouter_migrations") == len(SHIPPED)


async def test_many_at_once_migrate_an_empty_database(postgres_database):
    """Ten connections, started together: one does it, the others wait and find it done."""
    connections = [await asyncpg.connect(postgres_database) for _ in range(10)]
    done = await asyncio.gather(*(migrate(each, SHIPPED) for each in connections))
    assert sorted(done) == [[]] * 9 + [[each.version for each in SHIPPED]]
    await asyncio.gather(*(each.close() for each in connections))


async def test_under_any_default_isolation_the_second_sees_what_the_first_did(postgres_database, sql):
    """A database whose transactions are serializable by default is migrated all the same."""
    await sql.execute(f"ALTER DATABASE {postgres_database.rsplit('/', 1)[1]} SET default_transaction_isolation = serializable")
    await test_many_at_once_migrate_an_empty_database(postgres_database)


async def test_an_older_schema_is_brought_up_and_keeps_its_records(postgres_database, sql):
    """Only what is missing is applied."""
    old = PostgresStore(postgres_database)
    await old.write([made()])
    new = PostgresStore(postgres_database, migrations=[*SHIPPED, ADDED])
    assert await new.execution("exec-1") == made()
    assert await sql.fetchval("SELECT to_regclass('more')") == "more"
    assert [row[0] for row in await sql.fetch("SELECT version FROM stratarouter_migrations ORDER BY version")] == [
        *(each.version for each in SHIPPED), ADDED.version]
    # During a roll-out the older pods go on writing.
    await old.write([made("exec-2")])
    assert await new.execution("exec-2") == made("exec-2")
    await old.aclose()
    await new.aclose()


async def test_a_schema_that_is_too_new_is_left_alone_and_said_so(postgres_database, sql):
    """A program that would write nonsense writes nothing; one that was connected before finds out at its first failure."""
    connected = PostgresStore(postgres_database)
    await connected.write([made()])
    new = PostgresStore(postgres_database, migrations=[*SHIPPED, ADDED, BREAKING])
    with pytest.raises(StateUnavailable):
        await new.write([made("exec-2")])  # this test's newer schema has no code to it
    late = PostgresStore(postgres_database)
    with pytest.raises(StateUnavailable, match="UndefinedColumnError"):
        await connected.write([made("exec-3")])
    for store in (connected, late):
        with pytest.raises(StateUnavailable, match=rf"schema \(version {BREAKING.version}\) is too new for this program, which knows "
                                                   rf"versions up to {SHIPPED[-1].version}"):
            await store.write([made("exec-3")])
    assert await sql.fetchval("SELECT count(*) FROM stratarouter_executions") == 1
    for store in (connected, new, late):
        await store.aclose()


async def test_a_migration_that_fails_leaves_nothing_behind(postgres_database, sql):
    """All of them, or none; the next attempt starts from the same place."""
    broken = PostgresStore(postgres_database, migrations=[*SHIPPED, Migration(ADDED.version, 1, "CREATE TABLE half (); SELECT 1/0")])
    for _ in range(2):
        with pytest.raises(StateUnavailable, match="DivisionByZeroError"):
            await broken.write([made()])
    assert await sql.fetchval("SELECT count(*) FROM pg_class WHERE relname LIKE 'stratarouter%' OR relname = 'half'") == 0
    await broken.aclose()


async def test_a_role_without_the_right_to_create_works_on_a_schema_that_is_there(postgres_database, sql):
    """Where a database administrator migrates by hand, the runtime needs to read and write alone."""
    async with StateManager("postgresql", postgres_database) as owner:
        await owner.save("job", {})
    name = postgres_database.rsplit("/", 1)[1]
    await sql.execute(f"""
        CREATE ROLE {name} LOGIN PASSWORD 'small'; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
        GRANT SELECT ON stratarouter_migrations TO {name};
        GRANT SELECT, INSERT, UPDATE, DELETE ON stratarouter_executions, stratarouter_stream_checkpoints, stratarouter_checkpoints TO {name}""")
    try:
        user = postgres_database.split("//", 1)[1].split("@")[0]
        store = PostgresStore(postgres_database.replace(user, f"{name}:small"))
        await store.write([made()])
        assert await store.execution("exec-1") == made()
        assert await store.purge(0, 1) == 0
        await store.aclose()
    finally:
        await sql.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_every_migration_file_is_numbered_without_a_gap():
    """From 1, and none asks for a program that does not know it."""
    assert [each.version for each in SHIPPED] == list(range(1, len(SHIPPED) + 1))
    assert all(1 <= each.oldest <= each.version for each in SHIPPED)
