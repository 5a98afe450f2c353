"""An app's own router in a runtime: it decides instead of the configuration's utterances, with one embedding for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from builders import Document, pool, runtime, snapshot
from fakes.vendor import FakeVendor
from pod import served_by
from stratarouter_runtime.config import ConfigError, StaticSecrets
from stratarouter_runtime.model.execution import Execution
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives
from stratarouter_runtime.runtime import Runtime
from stratarouter_runtime.telemetry import Telemetry

ROUTES = [{"name": name, "pools": [{"name": "chat", "model": "gpt-4o"}]} for name in ("billing", "shipping")]
REMOTE = {"type": "pool", "pool": "chat", "model": "text-embedding-3-small"}


class Core:
    """Sends all to one route and remembers what it was asked."""

    def __init__(self, route: str | None = "shipping") -> None:
        self.name = route
        self.asked: list[tuple[str, int]] = []

    def route(self, query: str, embedding: Any) -> Any:
        self.asked.append((query, len(embedding)))
        return {"route_id": self.name, "confidence": 0.9, "scores": {}}


@pytest.fixture
async def vendor() -> AsyncIterator[FakeVendor]:
    async with FakeVendor() as made:
        yield made


def chat(text: str = "where is it?", **fields: Any) -> ChatRequest:
    return ChatRequest({"model": "auto", "messages": [{"role": "user", "content": text}], **fields})


async def started(core: Any, vendor: FakeVendor, **spec: Any) -> Runtime:
    made = Runtime(Telemetry().observer, core_router=core)
    document: Document = runtime(**{"routes": ROUTES, "cache": {"enabled": True, "embedder": REMOTE}, **spec})
    try:
        await made.apply(snapshot(document, pool("chat", served_by(vendor))), StaticSecrets({"vendor": {"apiKey": vendor.api_key.encode()}}))
    except BaseException:
        await made.aclose()
        raise
    return made


def begun(made: Runtime, **directives: Any) -> Execution:
    return made.begin(Caller(), Directives(**directives))


async def test_the_apps_router_decides(vendor: FakeVendor) -> None:
    """Each question is embedded once and its vector goes on to the plan."""
    core = Core()
    made = await started(core, vendor)
    try:
        execution = begun(made)
        await made.route(execution, chat())
        assert made.explain(execution, chat()).plan.route == "shipping"  # type: ignore[union-attr]
        assert core.asked == [("where is it?", 1536)]
        assert made.models()[:3] == ["billing", "shipping", "auto"]
        fixed = begun(made, route="billing")
        await made.route(fixed, chat())
        assert (fixed.decision, len(core.asked)) == (None, 1)
    finally:
        await made.aclose()


async def test_it_stands_in_for_the_configurations_utterances(vendor: FakeVendor) -> None:
    """Which are then not embedded at all."""
    core = Core("billing")
    made = await started(core, vendor, routes=[{**each, "utterances": ["some words"]} for each in ROUTES])
    try:
        assert vendor.record.total == 0
        execution = begun(made)
        await made.route(execution, chat())
        assert execution.decision is not None
        assert execution.decision.route_id == "billing"
    finally:
        await made.aclose()


async def test_without_an_embedder_it_is_refused(vendor: FakeVendor) -> None:
    """It could never be asked."""
    with pytest.raises(ConfigError, match=r"a router needs an embedder: cache.embedder.type must not be none"):
        await started(Core(), vendor, cache={"embedder": {"type": "none"}})
