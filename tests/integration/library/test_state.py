"""What the bridge records: as a pod does, each execution once, to the cent, also where its caller stops."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from builders import model, pool, runtime, secret, write
from fakes.vendor import ALWAYS, FakeVendor
from pod import served_by
from stratarouter_runtime import (
    CoreRuntimeBridge,
    DeltaEvent,
    ExecutionError,
    LLMClientRegistry,
    RequestError,
    RuntimeConfig,
    StateManager,
)


def config(dsn: str, **fields: Any) -> RuntimeConfig:
    """State in a database, an exact cache."""
    keywords = {"cache": {"embedder": {"type": "none"}}, "state_backend": "postgresql", "db_url": dsn, "checkpoint_interval": 2, **fields}
    return RuntimeConfig(**keywords)


async def rows(dsn: str) -> dict[str, Any]:
    """What is stored, by the execution's id."""
    connection = await asyncpg.connect(dsn)
    try:
        return {each["id"]: each for each in await connection.fetch("SELECT * FROM stratarouter_executions ORDER BY started_at")}
    finally:
        await connection.close()


def priced(folder: Path, vendor: FakeVendor, dsn: str) -> RuntimeConfig:
    """The same as YAML, with prices that are no round figures, and a second provider of the same vendor."""
    gpt = model("gpt-4o", price={"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10.01"})
    state = {"backend": "postgresql", "dsnSecretRef": {"name": "postgres", "key": "dsn"}, "checkpointInterval": 2}
    route = {"name": "billing", "pools": [{"name": "chat", "model": "gpt-4o"}]}
    return RuntimeConfig.load(write(
        folder / "all.yaml", runtime(state=state, routes=[route]), secret("vendor", apiKey=vendor.api_key), secret("postgres", dsn=dsn),
        pool("chat", served_by(vendor, "first", gpt), served_by(vendor, "second", gpt, priority=1))))


async def test_what_was_executed_is_what_is_stored(tmp_path: Path, vendor: FakeVendor, postgres_database: str) -> None:
    """An answer, a hit, a failover and a stream; closing writes what waits, and an app's own manager finds it."""
    async with CoreRuntimeBridge(await asyncio.to_thread(priced, tmp_path, vendor, postgres_database)) as bridge:
        results = [await bridge.execute("billing", query="first", context={"tenant": "acme"}),
                   await bridge.execute("billing", query="first", context={"tenant": "acme"})]
        vendor.script.fail("http_500")
        results.append(await bridge.execute("billing", query="second", context={"tenant": "acme"}))
        events = [event async for event in bridge.stream("billing", query="third", context={"tenant": "acme"})]
        results.append(events[-1].result)
    stored = await rows(postgres_database)
    assert list(stored) == [each.execution_id for each in results]
    assert results[0].cost_usd
    for result in results:
        row = stored[result.execution_id]
        assert (row["tenant"], row["route"], row["outcome"], row["status"]) == ("acme", "billing", "Success", 200)
        assert (row["cost_usd"], len(json.loads(row["attempts"]))) == (result.cost_usd, len(result.attempts))
        assert json.loads(row["decision"])["route"] == "billing"
    assert [row["cache"] for row in stored.values()] == ["miss:absent", "hit:exact", "miss:absent", "miss:absent"]
    async with StateManager(backend="postgresql", db_url=postgres_database) as manager:
        found = await manager.load(results[-1].execution_id)
    said = "".join(event.text for event in events if isinstance(event, DeltaEvent))
    assert found is not None
    assert found.text
    assert said.startswith(found.text)


async def test_what_ends_otherwise_is_stored_by_how_it_ended(
        registry: LLMClientRegistry, vendor: FakeVendor, local: FakeVendor, postgres_database: str) -> None:
    """Refused, failed, stopped in the middle of a stream, cancelled while it waited; an explanation is none of them."""
    async with CoreRuntimeBridge(config(postgres_database, max_retries=1), registry=registry) as bridge:
        await bridge.plan("billing", query="explained")
        with pytest.raises(RequestError):
            await bridge.execute("billing", request={"messages": [{"role": "user", "content": "x"}], "temperature": "hot"})
        vendor.script.fail("stall", after=6)
        async with bridge.stream("billing", query="left") as stream:
            async for event in stream:
                if isinstance(event, DeltaEvent):
                    break
        vendor.script.fail("black_hole")
        waiting = asyncio.create_task(bridge.execute("billing", query="cancelled"))
        await vendor.record.until(lambda record: record.total == 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        for each in (vendor, local):
            each.script.fail("http_500", times=ALWAYS)
        with pytest.raises(ExecutionError):
            await bridge.execute("billing", query="failed")
    stored = list((await rows(postgres_database)).values())
    assert [(row["outcome"], row["status"], [each["outcome"] for each in json.loads(row["attempts"])]) for row in stored] == [
        ("Cancelled", 499, ["Cancelled"]), ("Cancelled", 499, ["Cancelled"]), ("AllAttemptsFailed", 502, ["ServerError", "ServerError"])]


async def test_a_database_that_is_away_fails_no_call_and_is_counted(registry: LLMClientRegistry) -> None:
    """Also where nobody ever answered: the figures say how much waits."""
    async with CoreRuntimeBridge(config("postgresql://u:p@127.0.0.1:1/nowhere"), registry=registry) as bridge:
        for number in range(3):
            assert (await bridge.execute("billing", query=f"question {number}")).response
        assert "\nstratarouter_runtime_state_queued_entries 3.0" in bridge.metrics()
