"""The world in which a field is changed: two fake vendors, one running pod, and a clock that can be moved."""

from __future__ import annotations

import copy
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builders import Document, pool, runtime, secret
from fakes.otlp import Collector
from fakes.vendor import FakeVendor
from pod import Answer, Pod, served_by

KEY = "sk-of-the-tenant"
BUNDLE = (Path(__file__).parents[1] / "unit/providers/tls/ca.pem").read_text()
RUNTIME: Document = {
    "execution": {"timeoutSeconds": 10, "maxRetries": 3, "retryDelayMs": 1},
    "cache": {"enabled": False, "embedder": {"type": "none"}},
}


@dataclass
class World:
    """What probes look at. ``http`` and ``grpc`` are OTLP endpoints, where the probe asked for them."""

    vendor: FakeVendor
    second: FakeVendor
    pod: Pod
    http: Collector | None = None
    grpc: Collector | None = None
    offset: float = 0.0
    asked: int = 0

    async def ask(self, text: str = "", **fields: Any) -> Answer:
        """A question; without a text, one that was never asked before."""
        self.asked += 1
        return await self.pod.chat(text or f"What is word{'x' * self.asked}?", **fields)

    def pass_time(self, seconds: float) -> None:
        """Let time pass for the health of providers."""
        self.offset += seconds
        self.pod.server.runtime.health._clock = lambda: time.monotonic() + self.offset


Observe = Callable[[World], Awaitable[Any]]


@dataclass(frozen=True)
class Probe:
    """Shows that a field changes behaviour: ``observe`` gives ``before`` under ``base`` and ``after`` under ``changed``.

    Both are settings by what they belong to: ``runtime`` (merged into the spec), ``pool`` (fields of the pool ``chat``),
    ``primary`` and ``second`` (fields of its providers), ``models`` (of the primary), ``pools`` (further pools).
    """

    base: Mapping[str, Any]
    changed: Mapping[str, Any]
    observe: Observe
    before: Any
    after: Any
    prime: Observe | None = None
    """What is done once, before anything is observed."""
    needs: frozenset[str] = field(default_factory=frozenset)
    """OTLP endpoints: ``http``, ``grpc``. In the settings ``HTTP`` and ``GRPC`` stand for their addresses, and
    ``UNCONNECTED`` for one that never accepts."""


def documents(settings: Mapping[str, Any], vendor: FakeVendor, second: FakeVendor) -> list[Document]:
    """The resources for a probe's settings; a setting that is callable is called with the vendors."""
    given = {name: each(vendor, second) if callable(each) else each for name, each in settings.items()}
    spec = merge(RUNTIME, given.get("runtime", {}))
    models = given.get("models", ({"name": "gpt-4o"}, {"name": "gpt-4o-mini"}, {"name": "text-embedding-3-small"}))
    primary = {**served_by(vendor, "primary", *models, priority=0), **given.get("primary", {})}
    fallback = {**served_by(second, "second", priority=1), **given.get("second", {})}
    return [
        runtime("assistant", **spec), pool("chat", primary, fallback, **given.get("pool", {})), *given.get("pools", ()),
        secret("vendor", apiKey=vendor.api_key, other="sk-another-key", ca=BUNDLE, notPem="nothing"),
        secret("redis", url="redis://127.0.0.1:9/0"),
        secret("postgres", dsn="postgresql://u:p@127.0.0.1:9/d"), secret("keys", tenant=KEY)]


def merge(one: Document, other: Mapping[str, Any]) -> Document:
    """``other`` over ``one``, objects key by key."""
    result = copy.deepcopy(one)
    for name, value in other.items():
        known = result.get(name)
        result[name] = merge(known, value) if isinstance(known, dict) and isinstance(value, Mapping) else copy.deepcopy(value)
    return result
