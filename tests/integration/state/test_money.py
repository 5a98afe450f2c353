"""What was executed is what PostgreSQL holds, to the cent and beyond."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.state import NOW, RATE, execution, made
from stratarouter_runtime.model.plan import Rate
from stratarouter_runtime.model.response import Usage
from stratarouter_runtime.state import open_state, record
from stratarouter_runtime.state.document import document
from stratarouter_runtime.state.postgres import PostgresStore

_MONEY = st.decimals(allow_nan=False, allow_infinity=False) | st.decimals(0, 100, places=10) | st.none()
_PRICES = st.decimals(0, 1_000, places=4)
_TOKENS = st.integers(0, 2_000_000)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_MONEY, _MONEY), max_size=20))
def test_any_amount_comes_back_as_it_was(postgres_database, amounts):
    """Any decimal, not only sensible ones: equal, and shown with the same digits."""
    records = [made(f"exec-{index}", cost_usd=cost, saved_usd=saved) for index, (cost, saved) in enumerate(amounts)]

    async def through():
        store = PostgresStore(postgres_database)
        try:
            await store.write(records)
            return [await store.execution(each.id) for each in records]
        finally:
            await store.aclose()

    found = asyncio.run(through())
    assert found == records
    shown = [[document(each.id, each, [], [], stored=True)[name] for name in ("costUsd", "savedUsd")] for each in (*found, *records)]
    assert shown[:len(found)] == shown[len(found):]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_PRICES, _PRICES, _TOKENS, _TOKENS), min_size=1, max_size=30))
def test_the_databases_own_sum_is_the_sum_of_what_was_executed(postgres_database, calls):
    """Executions priced by their usage, through queue and batch: SQL adds up to exactly what they cost."""
    async def through():
        connection = await asyncpg.connect(postgres_database)
        state, total = open_state("postgresql", postgres_database), Decimal(0)
        try:
            for index, (given_price, taken_price, given_tokens, taken_tokens) in enumerate(calls):
                done = execution(f"exec-{index}", usage=Usage(given_tokens, taken_tokens))
                done.cost = Rate(given_price, taken_price).cost(done.usage)
                total += done.cost
                assert state.put(record(done, status=200, started_at=NOW, duration=1))
            state.start()
            await state.aclose()
            stored = await connection.fetchval("SELECT sum(cost_usd) FROM stratarouter_executions")
            tokens = await connection.fetchval("SELECT sum(input_tokens + output_tokens) FROM stratarouter_executions")
            await connection.execute("TRUNCATE stratarouter_executions")
        finally:
            await connection.close()
        assert (stored, tokens) == (total, sum(each[2] + each[3] for each in calls))

    asyncio.run(through())


async def test_what_operators_ask_in_sql_can_be_asked(postgres_database, sql):
    """Cost by provider, and what an attempt ran into: plain columns and JSON that can be searched."""
    state = open_state("postgresql", postgres_database)
    for number in range(3):
        state.put(record(execution(f"exec-{number}"), status=200, started_at=NOW, duration=1))
    await state.aclose()
    rows = await sql.fetch("SELECT provider, sum(cost_usd) AS cost FROM stratarouter_executions GROUP BY provider")
    assert [tuple(row) for row in rows] == [("fallback", 3 * RATE.cost(Usage(1_000, 20)))]
    failed = await sql.fetchval("""SELECT count(*) FROM stratarouter_executions, jsonb_array_elements(attempts) AS attempt
                                   WHERE attempt->>'outcome' = 'ServerError' AND (attempt->>'status')::int = 500""")
    assert failed == 3
