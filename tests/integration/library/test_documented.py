"""The documented Python, run as it stands."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.anthropicvendor.server import AnthropicVendor
from fakes.vendor import FakeVendor
from stratarouter_runtime.config.keywords import FLAT, URLS

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/python.md"

DESIGN = """
from stratarouter_runtime import CoreRuntimeBridge, RuntimeConfig
config = RuntimeConfig(
    execution_timeout=60, max_retries=3, retry_delay_ms=100,
    cache_enabled=True, cache_backend="redis", cache_ttl=3600, cache_similarity_threshold=0.95,
    batch_enabled=True, batch_window_ms=50, batch_max_size=32, batch_similarity_threshold=0.98,
    state_backend="postgresql", checkpoint_interval=10,
    metrics_enabled=True, tracing_enabled=True, log_level="info")
bridge = CoreRuntimeBridge(config)
result = await bridge.execute(decision, context={"user_id": user_id})
result.response
result.cache_hit; result.usage; result.cost_usd; result.attempts; result.execution_id
async for event in bridge.stream(decision, context={"query": "And now?"}): seen.append(event)
from stratarouter_runtime import LLMClientRegistry, OpenAIClient, AnthropicClient, LocalClient
registry = LLMClientRegistry()
registry.register("openai", OpenAIClient(api_key=key)); registry.register("local", LocalClient(endpoint=endpoint))
registry.register("anthropic", AnthropicClient(api_key=key))
completed = await registry.complete(primary="openai", fallback=["anthropic", "local"], request=request)
from stratarouter_runtime import CacheManager, StateManager
cache = CacheManager(backend="redis", redis_url=redis_url, ttl=3600, similarity_threshold=0.95, max_entries=10000)
missed = await cache.get_exact(query); await cache.set(query, embedding, response)
exact = await cache.get_exact(query); near = await cache.get_semantic(query, embedding)
state = StateManager(backend="postgresql", db_url=db_url)
await state.checkpoint(execution_id, step=5, state_data={"a": 1}); loaded = await state.load(execution_id)
stored = await state.load(result.execution_id)
await bridge.aclose(); stored = await state.load(result.execution_id)
await registry.aclose(); await cache.aclose(); await state.aclose()
"""


async def run(source: str, names: dict[str, Any]) -> None:
    """A program with ``await`` at the top, as notebooks run it."""
    code = compile(source, "documented", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        await types.FunctionType(code, names)()
    else:
        exec(code, names)  # noqa: S102 (the page's own programs)


def environment(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def logging_left_alone() -> Iterator[None]:
    """``log_level`` sets the level of our own loggers."""
    import logging

    ours = logging.getLogger("stratarouter_runtime")
    before = ours.level
    yield
    ours.setLevel(before)


async def test_the_design_as_written(vendor: FakeVendor, local: FakeVendor, redis_url: str, postgres_database: str,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a real Redis and a real PostgreSQL; the URLs come from the environment."""
    key = next(iter(vendor.api_keys))
    environment(monkeypatch, OPENAI_API_KEY=key, OPENAI_BASE_URL=vendor.base_url, REDIS_URL=redis_url, DATABASE_URL=postgres_database)
    from stratarouter_runtime import CompletedEvent, RoutingDecision

    names: dict[str, Any] = {
        "decision": RoutingDecision("billing", 0.9, query=None), "user_id": "u1", "seen": [], "key": key, "endpoint": local.base_url,
        "request": {"messages": [{"role": "user", "content": "hello"}]}, "redis_url": redis_url, "db_url": postgres_database,
        "query": f"q {postgres_database}", "embedding": [0.1, 0.2], "response": "r", "execution_id": "mine"}
    source = DESIGN.replace('context={"user_id": user_id}', 'context={"user_id": user_id, "query": "Where is my invoice?"}')
    # There is no collector: spans are dropped, and nobody waits for them.
    await run(source.replace("tracing_enabled=True", "tracing_enabled=False"), names)
    result = names["result"]
    assert (result.route, result.provider) == ("billing", "openai")
    assert isinstance(names["seen"][-1], CompletedEvent)
    assert names["completed"].provider == "openai"
    assert names["missed"] is None
    assert names["exact"].response == names["near"].response == "r"
    assert (names["loaded"].step, names["loaded"].state_data) == (5, {"a": 1})
    assert names["stored"].execution.id == result.execution_id


async def test_the_page_as_written(  # noqa: PLR0917 (fixtures)
        vendor: FakeVendor, redis_url: str, postgres_database: str, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> None:
    """Every block in order, in one namespace; the vendors and ports are ours."""
    key = next(iter(vendor.api_keys))
    async with AnthropicVendor() as claude, FakeVendor(models=None, api_keys=["sk-demo-this-key-opens-nothing"]) as demo:
        environment(monkeypatch, OPENAI_API_KEY=key, OPENAI_BASE_URL=vendor.base_url, ANTHROPIC_API_KEY=claude.api_key,
                    ANTHROPIC_BASE_URL=claude.base_url, REDIS_URL=redis_url, DATABASE_URL=postgres_database)
        shutil.copytree(ROOT / "examples/local", tmp_path / "examples/local")
        pools = tmp_path / "examples/local/20-providerpool.yaml"
        pools.write_text(pools.read_text().replace(":9999", f":{demo.port}"))
        monkeypatch.chdir(tmp_path)
        names: dict[str, Any] = {}
        blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        assert len(blocks) > 10
        readme = (ROOT / "README.md").read_text().split("## In Python\n", 1)[1].split("\n## ", 1)[0]
        blocks += re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
        for block in blocks:
            await run(block, names)
    # The page reads a configuration inside a notebook's loop, which an app would do before or beside its own.
    request.config.pluginmanager.get_plugin(str(ROOT / "tests/conftest.py"))._found.clear()
    said = capsys.readouterr().out
    assert "asking openai/openai/gpt-4o-mini" in said
    assert "NotCached 504" in said
    assert "primary gpt-4o" in said
    assert "{'paid': True}" in said


def test_the_page_names_every_keyword() -> None:
    """And the field it sets."""
    text = PAGE.read_text()
    for keyword, path in FLAT.items():
        assert f"`{keyword}`" in text, keyword
        assert f"`{'.'.join(path)}`" in text, path
    for keyword, backend in URLS.items():
        assert f"`{keyword}`" in text
        assert f"`{backend.variable}`" in text
