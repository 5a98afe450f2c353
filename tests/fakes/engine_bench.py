"""An engine over scripted providers, with everything it is told written down."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from fakes.provider import Observer, ScriptedProvider
from stratarouter_runtime.config import CircuitBreaker, Limits, Provider
from stratarouter_runtime.engine import Engine, Health, OpenStream, ProviderState
from stratarouter_runtime.engine.deadline import loop_time
from stratarouter_runtime.model.plan import Candidate, Outcome, Plan
from stratarouter_runtime.model.request import ChatRequest, EmbeddingsRequest, Family
from stratarouter_runtime.model.response import Batch

POOL = "chat"
MODEL = "gpt-4o"
BODY: Mapping[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


def candidate(name: str, *, model: str = MODEL, upstream: str = "", space: str | None = None, region: str = "") -> Candidate:
    """A candidate of the provider ``name``."""
    return Candidate(pool=POOL, provider=name, model=model, upstream_model=upstream or model, embedding_space=space, region=region)


def config(name: str, *, limit: int = 256, models: tuple[str, ...] = (MODEL,), endpoint: str = "http://127.0.0.1:9",
           region: str = "", **breaker: int) -> Provider:
    """A provider's configuration; ``breaker`` has fields of ``CircuitBreaker``."""
    return Provider.model_validate({
        "name": name, "type": "openaicompatible", "endpoint": endpoint, "region": region,
        "models": [{"name": each} for each in models], "limits": Limits(max_concurrent_requests=limit),
        "circuit_breaker": CircuitBreaker(**breaker)})


class Bench:
    """Providers by name, in the order in which a plan tries them."""

    def __init__(self) -> None:
        self.observer = Observer()
        self.health = Health(clock=loop_time, observer=self.observer, random=random.Random(1))
        self.providers: dict[str, ScriptedProvider] = {}
        self.configs: dict[str, Provider] = {}
        self.sleeps: list[float] = []
        self._objects: dict[tuple[str, str], ScriptedProvider] = {}
        self.engine = Engine(self._objects, self.health, self.observer, random=random.Random(2), sleep=self._sleep)

    def add(self, name: str, *scripts: Any, always: Any = None, **settings: Any) -> ScriptedProvider:
        """A provider with a script; ``settings`` as of ``config``."""
        provider = ScriptedProvider(*scripts, always=always)
        self.providers[name] = self._objects[POOL, name] = provider
        self.configs[name] = config(name, **settings)
        self.configure()
        return provider

    def configure(self) -> None:
        """Let the health state know the configuration."""
        self.health.configure({(POOL, name): each for name, each in self.configs.items()})

    def without_key(self, name: str) -> None:
        """A provider that is configured but could not be built."""
        self.configs[name] = config(name)
        self.configure()

    def plan(self, *candidates: Candidate, attempts: int = 4, delay: float = 0.1, timeout: float = 60.0,
             family: Family = "chat") -> Plan:
        """A plan over all providers, or over these candidates."""
        request = EmbeddingsRequest(BODY, ("hi",)) if family == "embeddings" else ChatRequest(BODY)
        return Plan(route="r", family=family, request=request, tenant="t",
                    candidates=candidates or tuple(candidate(name) for name in self.configs), timeout=timeout,
                    max_attempts=attempts, retry_delay=delay)

    async def complete(self, plan: Plan | None = None, **terms: Any) -> Outcome[Any]:
        """Run a plan."""
        plan = plan or self.plan(**terms)
        run = self.engine.embed if plan.family == "embeddings" else self.engine.complete
        return await run(plan, asyncio.get_running_loop().time() + plan.timeout)

    async def open(self, plan: Plan | None = None, **terms: Any) -> OpenStream:
        """Open a plan's stream."""
        plan = plan or self.plan(**terms)
        return await self.engine.open_stream(plan, asyncio.get_running_loop().time() + plan.timeout)

    def state(self, name: str) -> tuple[str, str]:
        """A provider's state and reason."""
        found: dict[str, ProviderState] = {each.provider: each for each in self.health.states()}
        return found[name].state, found[name].reason

    def in_flight(self) -> int:
        """Calls that the health state still counts."""
        return sum(self.health.in_flight((POOL, name)) for name in self.configs)

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await asyncio.sleep(seconds)


async def collect(stream: OpenStream, seen: list[Batch] | None = None) -> list[Batch]:
    """All batches of a stream, which is closed afterwards; ``seen`` keeps those before a failure."""
    seen = [] if seen is None else seen
    async with stream:
        async for batch in stream:
            seen.append(batch)
    return seen
