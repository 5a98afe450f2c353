"""Both back ends, for what must be the same on both; and PostgreSQL as its own tables show it."""

from __future__ import annotations

import asyncpg
import pytest

from stratarouter_runtime.state.memory import MemoryStore
from stratarouter_runtime.state.postgres import PostgresStore


@pytest.fixture(params=["memory", "postgresql"])
def dsn(request):
    """None for memory."""
    return request.getfixturevalue("postgres_database") if request.param == "postgresql" else None


@pytest.fixture
async def store(dsn):
    """An empty store of each back end."""
    opened = PostgresStore(dsn) if dsn else MemoryStore()
    yield opened
    await opened.aclose()


@pytest.fixture
async def sql(postgres_database):
    """A connection of the test's own to the database that ``postgres_database`` names."""
    connection = await asyncpg.connect(postgres_database)
    yield connection
    await connection.close()
