"""The bridge over a real Redis and a real PostgreSQL, and what becomes of it without their URLs."""

from __future__ import annotations

import asyncio
import logging
import secrets

import pytest

from callers import alone
from fakes.vendor import FakeVendor
from stratarouter_runtime import ConfigError, CoreRuntimeBridge, LLMClientRegistry, LocalClient, RuntimeConfig, StateManager

EXACT = {"type": "none"}


def scope() -> str:
    return f"test-{secrets.token_hex(4)}"


async def test_a_redis_is_shared_by_bridges_of_the_same_clients(redis_url: str, vendor: FakeVendor) -> None:
    """As pods share it; another client of the same name is another app."""
    shared = scope()
    config = RuntimeConfig(cache={"embedder": EXACT}, cache_backend="redis", redis_url=redis_url, cache_scope=shared, state_backend="none")  # type: ignore[typeddict-item]
    async with CoreRuntimeBridge(config, registry=alone(vendor)) as one:
        first = await one.execute("billing", query="Where is my invoice?")
        assert (await one.execute("billing", query="Where is my invoice?")).cache_hit
    async with CoreRuntimeBridge(config, registry=alone(vendor)) as two:
        again = await two.execute("billing", query="Where is my invoice?")
    assert (again.cache_hit, again.response, vendor.record.total) == (True, first.response, 1)


async def test_an_execution_is_recorded_in_postgresql(postgres_database: str, vendor: FakeVendor) -> None:
    """What was executed is what ``StateManager`` finds, written by the time the bridge is closed."""
    config = RuntimeConfig(cache_enabled=False, state_backend="postgresql", checkpoint_interval=2, db_url=postgres_database)
    async with CoreRuntimeBridge(config, registry=alone(vendor)) as bridge:
        result = await bridge.execute("billing", query="Where is my invoice?", context={"user_id": "u1"})
        streamed = await bridge.stream("billing", query="And now?").result()
    async with StateManager(backend="postgresql", db_url=postgres_database) as state:
        found = await state.load(result.execution_id)
        assert found is not None
        assert found.execution is not None
        assert (found.execution.id, found.execution.route) == (result.execution_id, "billing")
        stream = await state.load(streamed.execution_id)
        assert stream is not None
        assert stream.text
        assert streamed.response.startswith(stream.text)
        await state.checkpoint(result.execution_id, step=5, state_data={"a": 1})
        again = await state.load(result.execution_id)
        assert again is not None
        assert (again.step, again.state_data) == (5, {"a": 1})


async def test_urls_come_from_the_environment_where_none_is_given(redis_url: str, postgres_database: str, vendor: FakeVendor,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """``REDIS_URL`` and ``DATABASE_URL``, as most platforms set them."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    config = RuntimeConfig(cache={"embedder": EXACT}, cache_backend="redis", cache_scope=scope(), state_backend="postgresql")  # type: ignore[typeddict-item]
    async with CoreRuntimeBridge(config, registry=alone(vendor)) as bridge:
        result = await bridge.execute("billing", query="hello")
        assert (await bridge.execute("billing", query="hello")).cache_hit
    async with StateManager(backend="postgresql", db_url=postgres_database) as state:
        assert await state.load(result.execution_id) is not None


async def test_without_urls_it_answers_and_says_what_is_lost(vendor: FakeVendor, caplog: pytest.LogCaptureFixture) -> None:
    """One warning each; every look-up is a miss and what was to be recorded is counted."""
    config = RuntimeConfig(cache={"embedder": EXACT}, cache_backend="redis", state_backend="postgresql")  # type: ignore[typeddict-item]
    with caplog.at_level(logging.WARNING, "stratarouter_runtime"):
        async with CoreRuntimeBridge(config, registry=alone(vendor)) as bridge:
            for _ in range(2):
                assert not (await bridge.execute("billing", query="hello")).cache_hit
            assert "stratarouter_runtime_state_dropped_total 2" in bridge.metrics()
    told = [record.getMessage() for record in caplog.records if "nothing says where it is" in record.getMessage()]
    assert len(told) == 2
    assert "give redis_url=..., or set REDIS_URL" in told[0]
    assert "give db_url=..., or set DATABASE_URL" in told[1]


@pytest.mark.parametrize("given", [{"cache_backend": "redis", "redis_url": "http://:hunter2@h"},
                                   {"state_backend": "postgresql", "db_url": "mysql://:hunter2@h/d"}])
async def test_a_url_that_is_none_is_told_by_the_first_call(given: dict[str, str], registry: LLMClientRegistry,
                                                            caplog: pytest.LogCaptureFixture) -> None:
    """Without quoting it, anywhere."""
    bridge = CoreRuntimeBridge(RuntimeConfig(**given), registry=registry)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as raised:
        await bridge.execute("billing", query="hello")
    assert "hunter2" not in str(raised.value) + caplog.text
    await bridge.aclose()


async def test_pools_of_the_configuration_come_before_clients(tmp_path, vendor: FakeVendor, local: FakeVendor) -> None:
    """The same YAML as the server's, routes and Secrets included."""
    from builders import runtime, write
    from pod import resources

    route = {"name": "support", "pools": [{"name": "chat", "model": "gpt-4o"}], "context": {"metadata": {"team": "support"}}}
    write(tmp_path / "all.yaml", *resources(runtime(routes=[route]), vendor))
    config = await asyncio.to_thread(RuntimeConfig.load, tmp_path)
    async with CoreRuntimeBridge(config, registry=LLMClientRegistry({"local": LocalClient(local.base_url, type="vllm")})) as bridge:
        result = await bridge.execute("support", query="hello")
        assert (result.provider, vendor.record.last.model) == ("primary", "gpt-4o")
        assert result.plan is not None
        assert result.plan.metadata == {"team": "support"}
        with pytest.raises(Exception, match="'nowhere' does not exist"):
            await bridge.execute("nowhere", query="hello")
    changed = config.model_copy(update={"execution": config.execution.model_copy(update={"timeout_seconds": 7.0})})
    async with CoreRuntimeBridge(changed) as bridge:
        plan = await bridge.plan("support", query="hello")
        assert plan.plan is not None
        assert plan.plan.timeout == 7
