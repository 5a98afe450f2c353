"""A program that must type-check: everything an app writes, as its types say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import assert_type

from stratarouter_runtime import (
    AnthropicClient,
    Attempt,
    AzureOpenAIClient,
    CacheConfig,
    CachedResponse,
    CacheManager,
    ChatRequest,
    CohereClient,
    CompletedEvent,
    CoreRuntimeBridge,
    DefaultRoute,
    DeltaEvent,
    EmbeddingsResult,
    ErrorEvent,
    ExecutionConfig,
    ExecutionResult,
    Explanation,
    GoogleClient,
    LLMClientRegistry,
    LocalClient,
    Model,
    OpenAIClient,
    PlanEvent,
    PolicyError,
    PoolRef,
    Route,
    RoutingDecision,
    RuntimeConfig,
    StateManager,
    StrataError,
    StreamEvent,
    Usage,
    VertexAIClient,
)


class Router:
    """An app's own."""

    def route(self, query: str, embedding: object) -> RoutingDecision:
        return RoutingDecision("billing", 0.9)


def configured() -> RuntimeConfig:
    RuntimeConfig(
        execution_timeout=60, max_retries=3, retry_delay_ms=100, cache_enabled=True, cache_backend="redis", cache_ttl=3600,
        cache_similarity_threshold=0.95, batch_enabled=True, batch_window_ms=50, batch_max_size=32, batch_similarity_threshold=0.98,
        state_backend="postgresql", checkpoint_interval=10, metrics_enabled=True, tracing_enabled=True, log_level="info",
        redis_url="redis://localhost", db_url=None)
    RuntimeConfig(batch_similarity=0.98, routes=[Route(name="billing", pools=(PoolRef(name="openai", model="gpt-4o"),))],
                  default_route=DefaultRoute(pools=(PoolRef(name="openai"),)))
    assert_type(RuntimeConfig.load("examples/local/", name="assistant", secrets="secrets"), RuntimeConfig)
    return RuntimeConfig(execution=ExecutionConfig(timeout_seconds=60), cache=CacheConfig(ttl_seconds=3600))


async def used(bridge: CoreRuntimeBridge) -> None:
    result = await bridge.execute(RoutingDecision("billing", 0.9), query="q", context={"user_id": 3}, timeout=3, no_store=True)
    assert_type(result, ExecutionResult)
    assert_type(result.response, str)
    assert_type(result.usage, Usage | None)
    assert_type(result.cost_usd, Decimal | None)
    assert_type(result.attempts, tuple[Attempt, ...])
    assert_type(await bridge.plan("billing", query="q"), Explanation)
    await bridge.execute("billing", request={"model": "gpt-4o", "messages": []}, similarity_threshold=0.9, max_age=3)
    await bridge.execute({"route_id": "billing"}, messages=[{"role": "user", "content": "q"}], route=None)
    async for event in bridge.stream("billing", query="q", only_if_cached=True):
        assert_type(event, PlanEvent | DeltaEvent | CompletedEvent | ErrorEvent)
        handled(event)
    async with bridge.stream("billing", query="q") as events:
        assert_type(events.text(), AsyncIterator[str])
        assert_type(await events.result(), ExecutionResult)
    assert_type(bridge.metrics(), str)
    await bridge.feedback(result.execution_id, correct=False)


def handled(event: StreamEvent) -> str:
    match event:
        case DeltaEvent(text=text):
            return text
        case CompletedEvent(result=result):
            return result.response
        case ErrorEvent(error=error):
            return error.reason
        case PlanEvent(plan=plan):
            return plan.route


async def clients() -> None:
    async with OpenAIClient(api_key="k", model="gpt-4o", models=["a", Model(name="b")]) as client:
        assert_type(client, OpenAIClient)
        assert_type(await client.complete(query="q", timeout=3), ExecutionResult)
        assert_type(await client.embed(["a"]), EmbeddingsResult)
        async for text in client.stream({"messages": []}).text():
            assert_type(text, str)
    registry = LLMClientRegistry({"openai": client, "claude": AnthropicClient("k")}, timeout=30)
    for other in (LocalClient(endpoint="http://localhost:11434"), LocalClient(type="vllm"), GoogleClient("k"), CohereClient("k"),
                  VertexAIClient(project="p", location="eu"), AzureOpenAIClient("k", endpoint="https://a", model="d", api_version="2024-10-21")):
        registry.register("other", other)
    assert_type(await registry.complete(primary="openai", fallback=["other"], request=ChatRequest({})), ExecutionResult)
    CoreRuntimeBridge(configured(), registry=registry, core_router=Router())


async def parts() -> None:
    cache = CacheManager(backend="redis", redis_url="redis://localhost", ttl=3600, similarity_threshold=0.95, max_entries=10000)
    assert_type(await cache.get_exact("q"), CachedResponse | None)
    assert_type(await cache.get_semantic("q", [0.1], partition="p"), CachedResponse | None)
    assert_type(await cache.set("q", None, {"a": 1}), bool)
    state = StateManager(backend="postgresql", db_url="postgresql://localhost/d")
    await state.checkpoint("id", step=5, state_data={"a": 1})


def caught(error: StrataError) -> tuple[str, int]:
    if isinstance(error, PolicyError):
        return error.verdicts[0].rule, error.status
    return error.reason, len(error.attempts)
