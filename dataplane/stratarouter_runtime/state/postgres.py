"""Records in PostgreSQL, through asyncpg.

Invariants: connections are opened when first needed and reopened after any failure, so a database that is down at start,
restarted, or failed over to another server stops nothing; every call is bounded in time, also when the server just stops
answering; what is written together is one transaction; a DSN never appears in an error, nor in what an error refers to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

import asyncpg

from stratarouter_runtime.config import ConfigError

from . import rows
from .records import Checkpoint, ExecutionRecord, Record, Step, StreamCheckpoint
from .schema import Connection, Migration, migrate, migrations
from .store import MAX_HISTORY, StateRefused, StateUnavailable

POOL_SIZE = 4
CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 10.0
MIGRATION_SECONDS = 60.0
RETENTION_LOCK = 0x5374726174610002
"""Key of the advisory lock under which old records are deleted."""

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

T = TypeVar("T")

_FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# What is wrong with the value itself: of its class, breaking a constraint, or beyond a limit of the server.
_REFUSALS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)


class PostgresStore:
    """A ``StateStore`` over a DSN such as ``postgresql://user:password@host:5432/database``.

    ``connect_seconds`` bounds waiting for a connection, ``command_seconds`` each call after it. ``migrations``: the schema to
    work with; None is the one that is shipped.
    """

    def __init__(self, dsn: str, *, connect_seconds: float = CONNECT_SECONDS, command_seconds: float = COMMAND_SECONDS,
                 migrations: Sequence[Migration] | None = None) -> None:
        self._dsn = dsn.strip()
        if not self._dsn.startswith(("postgresql://", "postgres://")):
            raise ConfigError("InvalidPostgresDsn", "the DSN of PostgreSQL must be a URL as in "
                                                    "postgresql://user:password@host:5432/database")
        self._connect_seconds = connect_seconds
        self._command_seconds = command_seconds
        self._migrations = migrations
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        self._migrated = False

    async def write(self, records: Sequence[Record]) -> None:
        executions = [rows.of_execution(each) for each in records if isinstance(each, ExecutionRecord)]
        streams = [rows.of_stream(each) for each in records if isinstance(each, StreamCheckpoint)]

        async def work(connection: Connection) -> None:
            if executions:
                await connection.executemany(rows.UPSERT_EXECUTION, executions)
            if streams:
                await connection.executemany(rows.UPSERT_STREAM, streams)

        await self._in_transaction(work)

    async def execution(self, execution_id: str) -> ExecutionRecord | None:
        found = await self._fetch(rows.SELECT_EXECUTION, execution_id)
        return rows.execution(found[0]) if found else None

    async def stream(self, execution_id: str) -> list[StreamCheckpoint]:
        return [rows.stream(row) for row in await self._fetch(rows.SELECT_STREAM, execution_id)]

    async def put(self, checkpoint: Checkpoint) -> None:
        await self._fetch(rows.UPSERT_CHECKPOINT, *rows.of_checkpoint(checkpoint))

    async def append(self, execution_id: str, encoded: str, created_at: float) -> Checkpoint:
        values = execution_id, encoded, rows.time(created_at)
        while True:
            found = await self._fetch(rows.APPEND_CHECKPOINT, *values)
            if found:  # else somebody took the step meanwhile, so each turn is somebody's progress
                return Checkpoint(execution_id, found[0]["step"], encoded, created_at)

    async def checkpoints(self, execution_id: str, limit: int = MAX_HISTORY) -> list[Checkpoint]:
        return [rows.checkpoint(row) for row in reversed(await self._fetch(rows.SELECT_CHECKPOINTS, execution_id, limit))]

    async def steps(self, execution_id: str) -> list[Step]:
        return [rows.step(row) for row in reversed(await self._fetch(rows.SELECT_STEPS, execution_id, MAX_HISTORY))]

    async def delete(self, execution_id: str) -> int:
        return len(await self._fetch(rows.DELETE_CHECKPOINTS, execution_id))

    async def purge(self, before: float, limit: int) -> int:
        async def work(connection: Connection) -> int:
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", RETENTION_LOCK):
                return 0
            tags = [await connection.execute(statement, rows.time(before), limit) for statement in rows.PURGE]
            return sum(int(tag.split()[-1]) for tag in tags)

        return await self._in_transaction(work)

    async def aclose(self) -> None:
        """Close all connections, within ``connect_seconds``."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(self._connect_seconds):
                    await pool.close()
            except _FAILURES:
                pool.terminate()

    async def _fetch(self, query: str, *values: object) -> list[Any]:
        async def work(connection: Connection) -> list[Any]:
            return list(await connection.fetch(query, *values))

        return await self._run(work)

    async def _in_transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async def whole(connection: Connection) -> T:
            # Not as a context: after a failure the connection is closed, and the server rolls back without being asked.
            transaction = connection.transaction()
            await transaction.start()
            result = await work(connection)
            await transaction.commit()
            return result

        return await self._run(whole)

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do some work on a connection; what goes wrong becomes an error of ours that refers to no other."""
        failure: Exception
        try:
            pool, connection = await self._connect()
        except (*_FAILURES, ValueError) as error:
            failure = _unreachable(error)
        else:
            try:
                return await self._work(pool, connection, work)
            except _FAILURES as error:
                failure = _failed(error)
        # Outside of any handler, so that not even the error's context holds what the driver said.
        raise failure

    async def _connect(self) -> tuple[Pool, Connection]:
        async with self._opening:
            if self._pool is None:
                # Without cached statements a pooler such as PgBouncer may stand in between.
                self._pool = await asyncpg.create_pool(
                    self._dsn, min_size=0, max_size=POOL_SIZE, timeout=self._connect_seconds, statement_cache_size=0,
                    server_settings={"application_name": "stratarouter-runtime"})
            pool = self._pool
        connection = await pool.acquire(timeout=self._connect_seconds)
        if not self._migrated:
            try:
                await self._migrate(connection)
            except BaseException:
                await self._discard(pool, connection)
                raise
        return pool, connection

    async def _work(self, pool: Pool, connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._command_seconds):
                result = await work(connection)
        except BaseException:
            await self._discard(pool, connection)
            raise
        # A connection that cannot be cleaned up is closed by the pool; the work is done all the same.
        with suppress(*_FAILURES):
            await pool.release(connection)
        return result

    async def _discard(self, pool: Pool, connection: Connection) -> None:
        """Close a connection: what it is in the middle of is unknown, and the server may be another one next time."""
        self._migrated = False
        connection.terminate()
        await pool.release(connection)

    async def _migrate(self, connection: Connection) -> None:
        if self._migrations is None:
            self._migrations = await asyncio.to_thread(migrations)
        async with asyncio.timeout(MIGRATION_SECONDS):
            await migrate(connection, self._migrations)
        self._migrated = True


def _unreachable(error: Exception) -> StateUnavailable:
    # asyncpg reads the DSN when it connects, and quotes what it cannot read; a refused certificate is a ValueError too.
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return StateUnavailable("PostgreSQL: the DSN cannot be read; special characters in it must be percent-encoded, and "
                                "sslmode=verify-ca and verify-full need sslrootcert")
    return StateUnavailable(f"PostgreSQL: {_name(error)}")


def _failed(error: Exception) -> StateUnavailable | StateRefused:
    # A ValueError is the driver's: a value that it cannot even send.
    kind = StateRefused if isinstance(error, (*_REFUSALS, ValueError)) else StateUnavailable
    return kind(f"PostgreSQL: {_name(error)}")


def _name(error: Exception) -> str:
    """The kind of an error; its text may quote values or the DSN."""
    code = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} ({code})" if code else type(error).__name__
