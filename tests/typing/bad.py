"""A program that must not type-check: each line that is marked has an error of that kind, and no other line has any."""

from __future__ import annotations

from stratarouter_runtime import (
    CacheManager,
    CoreRuntimeBridge,
    ErrorEvent,
    ExecutionResult,
    LLMClientRegistry,
    LocalClient,
    OpenAIClient,
    RuntimeConfig,
    VertexAIClient,
)
from stratarouter_runtime import Nothing  # E: attr-defined


def configured() -> None:
    RuntimeConfig(execution_timout=60)  # E: call-arg
    RuntimeConfig(execution_timeout="soon")  # E: arg-type
    RuntimeConfig(cache_backend="disk")  # E: arg-type
    RuntimeConfig(log_level="loud")  # E: arg-type
    RuntimeConfig(cache=3)  # E: arg-type
    RuntimeConfig(60)  # E: call-arg
    RuntimeConfig().max_retries  # E: attr-defined
    Nothing()


async def used(bridge: CoreRuntimeBridge, result: ExecutionResult, event: ErrorEvent) -> None:
    await bridge.execute("billing", "a question")  # E: call-arg
    await bridge.execute("billing", query=3)  # E: arg-type
    await bridge.execute("billing", query="q", timout=3)  # E: call-arg
    await bridge.execute("billing", query="q", timeout="3")  # E: arg-type
    await bridge.execute("billing", query="q", context="u1")  # E: arg-type
    for _ in bridge.stream("billing", query="q"):  # E: attr-defined
        pass
    result.response = "x"  # E: misc
    result.cost_usd + 1  # E: operator
    event.text  # E: attr-defined
    await bridge.feedback(result.execution_id)  # E: call-arg


async def clients(registry: LLMClientRegistry) -> None:
    OpenAIClient(api_key=3)  # E: arg-type
    OpenAIClient("k", modle="x")  # E: call-arg
    LocalClient(type="disk")  # E: arg-type
    VertexAIClient(region=3)  # E: arg-type
    registry.register("openai", "sk-key")  # E: arg-type
    await registry.complete("openai")  # E: call-arg
    cache = CacheManager(backend="disk")  # E: arg-type
    await cache.set("q", "a vector", 1)  # E: arg-type
