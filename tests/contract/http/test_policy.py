"""What a route's policy and context do to requests, over HTTP: refusals, fallbacks, reports, caps, prompts and metadata."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from builders import Document, model, pool, runtime, secret, until
from fakes.vendor import FakeVendor
from pod import Answer, Pod, running, served_by

PRICE = {"inputPerMillionTokens": "1", "outputPerMillionTokens": "10"}
BOTH = ["primary", "second"]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.test/a.png"}}]}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


def documents(vendor: FakeVendor, second: FakeVendor, *, policy: Document | None = None, context: Document | None = None,
              routes: tuple[Document, ...] = (), **fields: Any) -> list[Document]:
    """The default route with a policy and a context, over two priced vendors in two regions; ``fields`` of their model."""
    default = {"pools": [{"name": "chat"}], "policy": policy or {}, "context": context or {}}
    offered = model("gpt-4o", **{"price": PRICE, **fields})
    providers = [served_by(each, name, offered, region=region, priority=index) for index, (each, name, region)
                 in enumerate(((vendor, "primary", "us"), (second, "second", "eu")))]
    execution = {"timeoutSeconds": 10, "maxRetries": 3, "retryDelayMs": 1}
    return [runtime(execution=execution, defaultRoute=default, routes=list(routes)), pool("chat", *providers),
            secret("vendor", apiKey=vendor.api_key)]


def route(name: str, **policy: Any) -> Document:
    return {"name": name, "pools": [{"name": "chat"}], "policy": policy}


@asynccontextmanager
async def serving(folder: Path, vendor: FakeVendor, second: FakeVendor, **settings: Any) -> AsyncIterator[Pod]:
    async with running(folder, *documents(vendor, second, **settings)) as pod:
        yield pod


def refused(answer: Answer, rule: str) -> str:
    """The message of a refusal, once its shape is right."""
    assert answer.status == 403
    error = answer.error
    assert (error["type"], error["code"], error["param"]) == ("policy_violation", "policy_violation", rule)
    assert rule in answer.headers["x-strata-policy"]
    return str(error["message"])


@pytest.mark.parametrize(("rule", "limit", "words"), [
    ("maxInputTokens", 1, ("limit 1",)),
    ("allowedRegions", ["ap"], ("is us", "limit ap")),
    ("allowedProviders", ["third"], ("is primary", "limit third")),
    ("blockedProviders", BOTH, ("is primary", "limit primary, second")),
    ("allowedModels", ["gpt-4o-mini"], ("is gpt-4o", "limit gpt-4o-mini")),
    ("requiredMetadata", ["team"], ("is none", "limit team")),
    ("maxCostPerRequestUsd", "0.000001", ("limit 0.000001",)),
])
async def test_each_rule_refuses_and_says_why(tmp_path: Path, vendor: FakeVendor, second: FakeVendor, *, rule: str, limit: Any,
                                              words: tuple[str, ...]) -> None:
    """Rule, value and limit are in the message, and no vendor is asked."""
    async with serving(tmp_path, vendor, second, policy={rule: limit}) as pod:
        message = refused(await pod.chat(), rule)
        assert f"{rule} is " in message
        assert all(each in message for each in words)
        assert vendor.record.total == second.record.total == 0


async def test_a_candidate_that_violates_is_left_out(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """The fallback answers, and the header says what was left out."""
    async with serving(tmp_path, vendor, second, policy={"allowedRegions": ["eu"]}) as pod:
        answer = await pod.chat()
        assert (answer.status, answer.headers["x-strata-provider"], vendor.record.total) == (200, "second", 0)
        assert answer.headers["x-strata-policy"] == "allowedRegions;effect=leftOut"


async def test_a_fallback_is_held_to_the_policy_too(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """The allowed one fails, and the other is not asked."""
    vendor.script.fail("http_500", times=9)
    async with serving(tmp_path, vendor, second, policy={"blockedProviders": ["second"]}) as pod:
        assert (await pod.chat()).status >= 500
        assert (vendor.record.total > 0, second.record.total) == (True, 0)


async def test_a_violation_leads_one_hop_and_never_two(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """The second route's own violationRoute is not followed."""
    routes = (route("next", blockedProviders=BOTH, onViolation="route", violationRoute="last"), route("last"))
    one_hop = {"blockedProviders": BOTH, "onViolation": "route", "violationRoute": "last"}
    async with serving(tmp_path, vendor, second, policy=one_hop, routes=routes) as pod:
        answer = await pod.chat()
        assert (answer.status, answer.headers["x-strata-route"]) == (200, "last")
        await pod.reload(*documents(vendor, second, policy={**one_hop, "violationRoute": "next"}, routes=routes))
        assert "route 'next'" in refused(await pod.chat("again"), "blockedProviders")
        assert vendor.record.total == 1


async def test_a_dry_run_only_reports(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """The primary answers as if there were no policy."""
    async with serving(tmp_path, vendor, second, policy={"blockedProviders": ["primary"], "onViolation": "dryRun"}) as pod:
        answer = await pod.chat()
        assert (answer.status, answer.headers["x-strata-provider"]) == (200, "primary")
        assert answer.headers["x-strata-policy"] == "blockedProviders;effect=reported"


async def test_a_cost_cap_limits_the_output(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """To what is left after the input, where the caller set no limit; a caller's limit beyond the cap is refused."""
    async with serving(tmp_path, vendor, second, policy={"maxCostPerRequestUsd": "0.001"}) as pod:
        assert (await pod.chat()).status == 200
        assert 90 <= vendor.record.last.json["max_tokens"] < 100
        refused(await pod.chat(max_tokens=1_000), "maxCostPerRequestUsd")
        assert (await pod.chat(max_tokens=20)).status == 200
        assert vendor.record.last.json["max_tokens"] == 20


async def test_the_routes_prompt_comes_first_and_the_callers_stays(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Also where the caller brings a system message of its own; the route's metadata wins."""
    context = {"systemPrompt": "Costs $$5, $other.", "metadata": {"team": "ours"}}
    own = [{"role": "system", "content": "Ignore it."}, {"role": "user", "content": "Hello"}]
    async with serving(tmp_path, vendor, second, context=context, policy={"requiredMetadata": ["team"]}) as pod:
        assert (await pod.chat(messages=own, store=True, metadata={"team": "mine", "a": "b"})).status == 200
        body = vendor.record.last.json
        assert body["messages"] == [{"role": "system", "content": "Costs $5, $other."}, *own]
        assert body["metadata"] == {"team": "ours", "a": "b"}


async def test_placeholders_are_filled_or_the_missing_one_is_named(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """A value is text: what looks like a placeholder in it stays."""
    async with serving(tmp_path, vendor, second, context={"systemPrompt": "Help $who.", "variables": ["who"]}) as pod:
        missing = await pod.chat()
        assert (missing.status, missing.error["param"]) == (400, "context.who")
        assert "'who'" in missing.error["message"]
        body = {"decision": {"route_id": "default", "confidence": 1.0}, "query": "Hi", "request": {"model": "gpt-4o"},
                "context": {"who": "$who"}}
        assert (await pod.send("POST", "/v1/execute", json=body)).status == 200
        assert vendor.record.last.json["messages"][0] == {"role": "system", "content": "Help $who."}


async def test_an_uncertain_decision_is_refused(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Only where there is a confidence."""
    async with serving(tmp_path, vendor, second, policy={"minConfidence": 0.6}) as pod:
        body = {"decision": {"route_id": "default", "confidence": 0.5}, "query": "Hi", "request": {"model": "gpt-4o"}}
        message = refused(await pod.send("POST", "/v1/execute", json=body), "minConfidence")
        assert "minConfidence is 0.5, limit 0.6" in message
        assert (await pod.chat()).status == 200


async def test_a_cached_answer_is_held_to_the_policy_of_now(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """What the primary answered is not served once the primary is blocked."""
    async with serving(tmp_path, vendor, second) as pod:
        await pod.chat()
        await until(lambda: pod.server.runtime.cache_stats()["entries"] > 0)
        assert (await pod.chat()).cache.parameters["hit"] is True
        await pod.reload(*documents(vendor, second, policy={"blockedProviders": ["primary"]}))
        answer = await pod.chat()
        assert ("hit" in answer.cache.parameters, answer.headers["x-strata-provider"]) == (False, "second")


@pytest.mark.parametrize(("param", "fields"), [
    ("tools", {"tools": [TOOL]}), ("messages[0].content[0]", {"messages": IMAGE}), ("response_format", {"response_format": SCHEMA})])
async def test_what_no_model_can_do_is_refused_by_its_parameter(tmp_path: Path, vendor: FakeVendor, second: FakeVendor, param: str,
                                                                fields: Document) -> None:
    """Nobody is asked."""
    async with serving(tmp_path, vendor, second, capabilities=["chat"]) as pod:
        answer = await pod.chat(**fields)
        assert (answer.status, answer.error["param"], vendor.record.total) == (400, param, 0)
