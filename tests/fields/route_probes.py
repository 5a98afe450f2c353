"""Probes for what routes add and allow, from one table for ``routes[]`` and ``defaultRoute``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from world import Probe, World

NOON = datetime(2026, 1, 7, 12, tzinfo=UTC)
"""A Wednesday; windows are judged at this time, whenever the tests run."""
BOTH = ["primary", "second"]
PRICED = {"models": [{"name": "gpt-4o", "price": {"inputPerMillionTokens": "1", "outputPerMillionTokens": "1"}}]}
PLACES = {"routes[]": "named", "defaultRoute": "default"}


class Route:
    """What is looked at: answers of one route."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def status(self, world: World) -> int:
        world.pod.server.runtime.parts.planner._now = lambda: NOON
        return (await world.ask(headers={"x-strata-route": self.name})).status

    async def provider(self, world: World) -> str | None:
        return (await world.ask(headers={"x-strata-route": self.name})).headers.get("x-strata-provider")

    async def route(self, world: World) -> str | None:
        return (await world.ask(headers={"x-strata-route": self.name})).headers.get("x-strata-route")

    async def mini(self, world: World) -> int:
        return (await world.ask(model="gpt-4o-mini", headers={"x-strata-route": self.name})).status

    async def prompt(self, world: World) -> tuple[str, str]:
        await world.ask(headers={"x-strata-route": self.name})
        first = world.vendor.record.last.json["messages"][0]
        return first["role"], first["content"]

    async def tagged(self, world: World) -> int:
        """Whether a rule finds the route's own metadata."""
        return (await world.ask(headers={"x-strata-route": self.name})).status

    async def filled(self, world: World) -> str:
        """The prompt the vendor got for a context."""
        await self._execute(world, context={"who": "Ada"})
        return str(world.vendor.record.last.json["messages"][0]["content"])

    async def unsure(self, world: World) -> int:
        return (await self._execute(world)).status

    async def _execute(self, world: World, **fields: Any) -> Any:
        world.asked += 1
        body = {"decision": {"route_id": self.name, "confidence": 0.5}, "query": f"Word{'x' * world.asked}?",
                "request": {"model": "gpt-4o"}, **fields}
        return await world.pod.send("POST", "/v1/execute", json=body)


def _on(place: str, **fields: Any) -> dict[str, Any]:
    route = {"pools": [{"name": "chat"}], **fields}
    others = [{"name": "first", "pools": [{"name": "chat"}]}, {"name": "other", "pools": [{"name": "chat"}]}]
    if place == "defaultRoute":
        return {"runtime": {"defaultRoute": route, "routes": others}}
    return {"runtime": {"routes": [{"name": "named", **route}, *others]}}


def _probes(place: str) -> Mapping[str, Probe]:
    route = Route(PLACES[place])

    def policy(**fields: Any) -> dict[str, Any]:
        return {**_on(place, policy=fields), **(PRICED if "maxCostPerRequestUsd" in fields else {})}

    def context(policy: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        return _on(place, context=fields, **({"policy": policy} if policy else {}))

    def window(**fields: Any) -> dict[str, Any]:
        return policy(timeWindows=[{"days": ["Wed"], "from": "11:00", "to": "13:00", "timeZone": "UTC", **fields}])

    asks = {"systemPrompt": "Help $who."}
    tagged = {"requiredMetadata": ["team"]}
    return {
        "context.systemPrompt": Probe(
            context(systemPrompt="Be brief."), context(systemPrompt="Be kind."), route.prompt,
            ("system", "Be brief."), ("system", "Be kind.")),
        "context.variables": Probe(
            context(**asks), context(**asks, variables=["who"]), route.filled, "Help $who.", "Help Ada."),
        "context.metadata": Probe(context(tagged), context(tagged, metadata={"team": "a"}), route.tagged, 403, 200),
        "policy.minConfidence": Probe(policy(minConfidence=0.4), policy(minConfidence=0.6), route.unsure, 200, 403),
        "policy.maxCostPerRequestUsd": Probe(
            policy(maxCostPerRequestUsd="1"), policy(maxCostPerRequestUsd="0.000001"), route.status, 200, 403),
        "policy.maxInputTokens": Probe(policy(maxInputTokens=10_000), policy(maxInputTokens=1), route.status, 200, 403),
        "policy.allowedRegions": Probe(
            {**policy(), "primary": {"region": "us"}, "second": {"region": "eu"}},
            {**policy(allowedRegions=["eu"]), "primary": {"region": "us"}, "second": {"region": "eu"}},
            route.provider, "primary", "second"),
        "policy.allowedProviders": Probe(policy(), policy(allowedProviders=["second"]), route.provider, "primary", "second"),
        "policy.blockedProviders": Probe(policy(), policy(blockedProviders=["primary"]), route.provider, "primary", "second"),
        "policy.allowedModels": Probe(policy(), policy(allowedModels=["gpt-4o"]), route.mini, 200, 403),
        "policy.requiredMetadata": Probe(policy(), policy(**tagged), route.status, 200, 403),
        "policy.timeWindows[].days": Probe(window(), window(days=["Thu"]), route.status, 200, 403),
        "policy.timeWindows[].from": Probe(window(), window(**{"from": "12:30"}), route.status, 200, 403),
        "policy.timeWindows[].to": Probe(window(), window(to="11:30"), route.status, 200, 403),
        "policy.timeWindows[].timeZone": Probe(window(), window(timeZone="Asia/Tokyo"), route.status, 200, 403),
        "policy.onViolation": Probe(
            policy(blockedProviders=BOTH), policy(blockedProviders=BOTH, onViolation="dryRun"), route.status, 403, 200),
        "policy.violationRoute": Probe(
            policy(blockedProviders=BOTH, onViolation="route", violationRoute="first"),
            policy(blockedProviders=BOTH, onViolation="route", violationRoute="other"), route.route, "first", "other"),
    }


ROUTE_PROBES: dict[str, Probe] = {
    f"RuntimeConfig.{place}.{path}": probe for place in PLACES for path, probe in _probes(place).items()}
