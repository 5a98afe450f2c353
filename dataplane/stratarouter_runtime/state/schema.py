"""The tables in PostgreSQL, by versioned SQL files.

Invariants: migrations are applied once, in order, in one transaction under an advisory lock, whoever comes first; who
finds its schema in place takes no lock and needs no right to create anything. Each file says in a first line such as
``-- oldest: 1`` which version a program must know at least to go on using the schema after it, so that pods of two
versions work side by side during a roll-out, and one that is too old says so instead of writing nonsense.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TypeAlias

import asyncpg

from .store import StateUnavailable

LOCK = 0x5374726174610001
"""Key of the advisory lock under which migrations run."""

_NAME = re.compile(r"^(\d{4})_\w+\.sql$")
_OLDEST = re.compile(r"^-- oldest: (\d+)\n")

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. ``oldest``: the version a program must know at least to use the schema after it."""

    version: int
    oldest: int
    statements: str


def migrations() -> tuple[Migration, ...]:
    """All migrations, in order. Reads files."""
    folder = resources.files(__package__) / "migrations"
    found = []
    for each in folder.iterdir():
        if match := _NAME.match(each.name):
            statements = each.read_text("utf-8")
            oldest = _OLDEST.match(statements)
            if oldest is None:
                raise RuntimeError(f"{each.name} must begin with a line such as '-- oldest: 1'")
            found.append(Migration(int(match[1]), int(oldest[1]), statements))
    return tuple(sorted(found, key=lambda migration: migration.version))


async def migrate(connection: Connection, known: Sequence[Migration]) -> list[int]:
    """Apply what is missing; the versions applied. Raises ``StateUnavailable`` where the schema is too new for what is known.

    After a failure the transaction is still open: close the connection.
    """
    if not await _missing(connection, known):
        return []
    # Under any other isolation the lock's own snapshot would be older than what its previous holder committed.
    transaction = connection.transaction(isolation="read_committed")
    await transaction.start()
    await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
    await connection.execute("CREATE TABLE IF NOT EXISTS stratarouter_migrations (version integer PRIMARY KEY, "
                             "oldest integer NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())")
    missing = await _missing(connection, known)
    for each in missing:
        await connection.execute(each.statements)
        await connection.execute("INSERT INTO stratarouter_migrations (version, oldest) VALUES ($1, $2)", each.version, each.oldest)
    await transaction.commit()
    return [each.version for each in missing]


async def _missing(connection: Connection, known: Sequence[Migration]) -> list[Migration]:
    if await connection.fetchval("SELECT to_regclass('stratarouter_migrations')") is None:
        return list(known)
    applied = {row["version"]: row["oldest"] for row in await connection.fetch("SELECT version, oldest FROM stratarouter_migrations")}
    newest = known[-1].version
    if max(applied.values(), default=0) > newest:
        raise StateUnavailable(f"PostgreSQL: its schema (version {max(applied)}) is too new for this program, "
                               f"which knows versions up to {newest}")
    return [each for each in known if each.version not in applied]
