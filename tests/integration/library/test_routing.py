"""Questions without a decision: the app's own router decides, and the question is embedded once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from fakes.vendor import FakeVendor
from stratarouter_runtime import (
    CoreRuntimeBridge,
    DefaultRoute,
    ExecutionError,
    LLMClientRegistry,
    PoolRef,
    RequestError,
    Route,
    RoutingDecision,
    RuntimeConfig,
)

BILLING, SUPPORT = "Where is my invoice?", "My screen is black"


class Counting:
    """A router over text and vector that remembers what it was asked."""

    def __init__(self, answer: Any = "billing") -> None:
        self.answer = answer
        self.asked: list[tuple[str, int]] = []

    def route(self, query: str, embedding: Any) -> Any:
        self.asked.append((query, len(embedding)))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Texts:
    """A router that embeds by itself."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.threads: set[int] = set()

    def route(self, query: str) -> Any:
        self.threads.add(threading.get_ident())
        return self.answer


class Later:
    """A router that is a coroutine."""

    async def route(self, query: str) -> Any:
        await asyncio.sleep(0)
        return RoutingDecision("billing", 0.8)


@pytest.fixture
def config() -> RuntimeConfig:
    """The embedder is the local model."""
    return RuntimeConfig(state_backend="none")


async def test_text_and_vector_go_to_the_router_and_the_vector_to_the_cache(config: RuntimeConfig, registry: LLMClientRegistry,
                                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedder is asked once for a question, route and cache look-up and store together."""
    from stratarouter_runtime.cache.minilm import MiniLmEmbedder

    embedded: list[str] = []
    embed = MiniLmEmbedder.embed

    async def counting(self: MiniLmEmbedder, text: str) -> Any:
        embedded.append(text)
        return await embed(self, text)

    monkeypatch.setattr(MiniLmEmbedder, "embed", counting)
    router = Counting(RoutingDecision("billing", 0.83, {"billing": 0.83, "support": 0.1}))
    async with CoreRuntimeBridge(config, registry=registry, core_router=router) as bridge:
        result = await bridge.execute(query=BILLING)
        assert (result.route, router.asked) == ("billing", [(BILLING, 384)])
        assert result.plan is not None
        assert result.plan.confidence == 0.83
        assert (await bridge.execute(query=BILLING)).cache_hit
    assert embedded == [BILLING, BILLING]


@pytest.mark.parametrize("answer", ["billing", {"route_id": "billing", "confidence": 0.7}, {"name": "billing", "score": 0.7, "threshold": 0.5}])
async def test_a_router_that_embeds_by_itself_is_asked_in_a_thread(config: RuntimeConfig, registry: LLMClientRegistry, answer: Any) -> None:
    """Its model may take its time."""
    router = Texts(answer)
    async with CoreRuntimeBridge(config, registry=registry, core_router=router) as bridge:
        assert (await bridge.execute(query=BILLING)).route == "billing"
    assert threading.get_ident() not in router.threads


async def test_a_coroutine_may_route(config: RuntimeConfig, registry: LLMClientRegistry) -> None:
    """On the loop."""
    async with CoreRuntimeBridge(config, registry=registry, core_router=Later()) as bridge:
        assert (await bridge.execute(query=BILLING)).route == "billing"


async def test_who_has_decided_is_not_asked_again(config: RuntimeConfig, registry: LLMClientRegistry) -> None:
    """Neither with a decision, nor with a route."""
    router = Counting(AssertionError("asked"))
    async with CoreRuntimeBridge(config, registry=registry, core_router=router) as bridge:
        assert (await bridge.execute("support", query=SUPPORT)).route == "support"
        assert (await bridge.execute(query=SUPPORT, route="support")).route == "support"


@pytest.mark.parametrize("router", [Counting(RuntimeError("at http://user:hunter2@host")), Texts(None), Counting(object())])
async def test_a_router_that_fails_is_told_without_its_words(config: RuntimeConfig, registry: LLMClientRegistry, vendor: FakeVendor,
                                                             router: Any) -> None:
    """And nobody is asked."""
    async with CoreRuntimeBridge(config, registry=registry, core_router=router) as bridge:
        with pytest.raises((ExecutionError, RequestError)) as raised:
            await bridge.execute(query=BILLING)
    assert "hunter2" not in str(raised.value)
    assert vendor.record.total == 0


@pytest.mark.parametrize("router", [object(), "billing", 3])
def test_what_cannot_route_is_a_type_error(router: Any) -> None:
    """At once."""
    with pytest.raises(TypeError, match=r"route\(query"):
        CoreRuntimeBridge(RuntimeConfig(), core_router=router)


async def test_with_routes_configured_an_unknown_one_is_an_error(registry: LLMClientRegistry) -> None:
    """The pools are the clients, by name; no match goes to the default route."""
    config = RuntimeConfig(routes=[Route(name="billing", pools=(PoolRef(name="openai", model="gpt-4o-mini"),))],
                           default_route=DefaultRoute(pools=(PoolRef(name="local"),)), cache_enabled=False)
    router = Counting()
    async with CoreRuntimeBridge(config, registry=registry, core_router=router) as bridge:
        assert (await bridge.execute(query=BILLING)).provider == "openai"
        router.answer = {"name": None, "score": 0.1, "threshold": 0.5}
        found = await bridge.execute(query="something else")
        assert (found.route, found.provider) == ("default", "local")
        router.answer = "nowhere"
        with pytest.raises(RequestError, match="'nowhere' does not exist"):
            await bridge.execute(query=SUPPORT)


async def test_a_plan_routes_too(config: RuntimeConfig, registry: LLMClientRegistry, vendor: FakeVendor) -> None:
    """With the router, and no provider."""
    async with CoreRuntimeBridge(config, registry=registry, core_router=Counting()) as bridge:
        plan = await bridge.plan(query=BILLING)
    assert plan.plan is not None
    assert plan.plan.route == "billing"
    assert vendor.record.total == 0


async def test_the_rust_core_routes(config: RuntimeConfig, registry: LLMClientRegistry) -> None:
    """Our Router over ``stratarouter``, built with the very embedder of the cache."""
    pytest.importorskip("stratarouter")
    from stratarouter_runtime.cache import open_minilm
    from stratarouter_runtime.core import Router

    router = Router(threshold=0.5)
    router.add_routes({"billing": ["where is my invoice", "I was charged twice"], "support": ["the app crashes", "my screen is black"]})
    embedder = await open_minilm()
    vectors = [await embedder.embed(text) for _, text in router.utterances]
    await embedder.aclose()
    router.build_index(vectors)
    async with CoreRuntimeBridge(config, registry=registry, core_router=router) as bridge:
        assert (await bridge.execute(query=BILLING)).route == "billing"
        assert (await bridge.execute(query=SUPPORT)).route == "support"
