"""Whatever is configured and asked: no plan has a candidate that its policy forbids, and plans are deterministic.

The oracle below reads the resources as they are written and knows nothing of the bridge but its token estimate.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import Document, model, pool, provider, runtime, snapshot
from stratarouter_runtime.bridge.decisions import normalise, query_of
from stratarouter_runtime.bridge.planner import Planner
from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.plan import Plan
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives
from stratarouter_runtime.model.tokens import request_tokens
from stratarouter_runtime.model.verdict import PolicyError

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
REGIONS, PROVIDERS, MODELS, KEYS = ("", "eu", "us"), ("p0", "p1", "p2"), ("m0", "m1"), ("tenant", "class")
PATIENT = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# --- random resources -----------------------------------------------------------------------------------------------------

_PRICES = st.sampled_from(["0", "0.000000001", "0.5", "2.5", "10", "1000"])
_MODEL = st.builds(
    lambda name, price, capabilities, window: model(name, **price, **capabilities, **window), st.sampled_from(MODELS),
    st.just({}) | st.builds(lambda first, second: {"price": {"inputPerMillionTokens": first, "outputPerMillionTokens": second}}, _PRICES, _PRICES),
    st.just({}) | st.lists(st.sampled_from(["tools", "vision", "jsonSchema"]), unique=True).map(lambda more: {"capabilities": ["chat", *more]}),
    st.just({}) | st.sampled_from([10, 60, 100_000]).map(lambda tokens: {"contextTokens": tokens}))
_PROVIDER = st.builds(
    lambda models, region, kind, priority, weight: {"models": models, "region": region, "type": kind, "priority": priority, "weight": weight},
    st.lists(_MODEL, min_size=1, max_size=2, unique_by=lambda each: each["name"]), st.sampled_from(REGIONS),
    st.sampled_from(["openaicompatible", "vllm"]), st.integers(0, 1), st.integers(0, 2))
_POOL = st.builds(
    lambda providers, strategy: pool("chat", *({**provider(name), **fields} for name, fields in zip(PROVIDERS, providers, strict=False)),
                                     strategy=strategy),
    st.lists(_PROVIDER, min_size=1, max_size=3), st.sampled_from(["priority", "weighted"]))


def _some(names: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), unique=True, min_size=1)


_TIMES = st.sampled_from(["00:00", "06:00", "12:00", "18:00", "23:59"])
_RULES: dict[str, st.SearchStrategy[Any]] = {
    "minConfidence": st.floats(0, 1), "maxCostPerRequestUsd": st.sampled_from(["0", "0.0001", "0.001", "0.05", "1"]),
    "maxInputTokens": st.integers(1, 150), "allowedRegions": _some(REGIONS[1:]), "allowedProviders": _some(PROVIDERS),
    "blockedProviders": _some(PROVIDERS), "allowedModels": _some(MODELS), "requiredMetadata": _some(KEYS),
    "timeWindows": st.lists(st.fixed_dictionaries({"from": _TIMES, "to": _TIMES, "days": _some(DAYS)}), min_size=1, max_size=2)}
# A cap is drawn more often, because it has the most to get wrong; few rules at once, else nearly everything is refused.
_POLICY = st.lists(st.sampled_from([*_RULES, *["maxCostPerRequestUsd"] * 6]), max_size=3, unique=True).flatmap(
    lambda rules: st.fixed_dictionaries({rule: _RULES[rule] for rule in rules} | {
        "onViolation": st.sampled_from(["reject", "route", "dryRun"])}))
_REQUEST = st.fixed_dictionaries({"messages": st.lists(st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system"]), "content": st.text(max_size=80)}), max_size=3)}, optional={
        "max_tokens": st.integers(1, 500), "max_completion_tokens": st.integers(1, 500), "n": st.integers(1, 3),
        "tools": st.just([{"type": "function"}]), "metadata": st.dictionaries(st.sampled_from(KEYS), st.text(max_size=3), max_size=2)})


@st.composite
def worlds(draw: st.DrawFn) -> Document:
    """A configuration of two routes that may name each other, a time, and a request."""
    names, routes = ("one", "two"), []
    for name, other in zip(names, reversed(names), strict=True):
        policy = draw(_POLICY)
        if policy.get("onViolation") == "route":
            policy["violationRoute"] = other
        routes.append({"name": name, "pools": [{"name": "chat", "model": each} for each in draw(st.permutations(MODELS))], "policy": policy})
    chat = draw(_POOL)
    served = {each["name"] for one in chat["spec"]["providers"] for each in one["models"]}
    for route in routes:
        route["pools"] = [entry for entry in route["pools"] if entry["model"] in served]
    return {"routes": routes, "pool": chat, "now": MONDAY + timedelta(minutes=draw(st.integers(0, 7 * 24 * 60 - 1))), "seed": draw(st.integers(0, 5)),
            "body": {"model": "auto", **draw(_REQUEST)}, "tenant": draw(st.sampled_from(["", "t"])),
            "decision": RoutingDecision("one", draw(st.none() | st.floats(0, 1)))}


def planned(world: Document) -> Plan | RequestError:
    """The plan, or why there is none."""
    planner = Planner(snapshot(runtime(routes=world["routes"], defaultRoute=None), world["pool"]), Random(world["seed"]),
                      now=lambda: world["now"])
    try:
        return planner.plan(ChatRequest(world["body"]), Caller(world["tenant"]), Directives(), decision=world["decision"])
    except RequestError as error:
        return error


# --- the oracle -----------------------------------------------------------------------------------------------------------


def oracle_refuses_request(world: Document, policy: Document, body: Document) -> bool:
    """Whether a rule about the request as a whole is violated."""
    confidence = world["decision"].confidence
    if "minConfidence" in policy and confidence is not None and confidence < policy["minConfidence"]:
        return True
    there = {key for key, value in (body.get("metadata") or {}).items() if value} | ({"tenant"} if world["tenant"] else set())
    if not set(policy.get("requiredMetadata", ())) <= there:
        return True
    if "maxInputTokens" in policy and request_tokens(ChatRequest(body)) > policy["maxInputTokens"]:
        return True
    return "timeWindows" in policy and not any(_open(each, world["now"]) for each in policy["timeWindows"])


def _open(window: Document, now: datetime) -> bool:
    """Whether any day's opening of the window, as an interval of instants, holds now."""
    for back in (0, 1):
        midnight = now.replace(hour=0, minute=0) - timedelta(days=back)
        if DAYS[midnight.weekday()] not in window["days"]:
            continue
        begin, end = (midnight + timedelta(hours=int(window[key][:2]), minutes=int(window[key][3:])) for key in ("from", "to"))
        if begin <= now < (end if end > begin else end + timedelta(days=1)):
            return True
    return False


def oracle_forbids(policy: Document, found: Document, served: Document, body: Document) -> bool:
    """Whether a rule forbids a provider (as written) with a model (as written) for a body that is sent as it is."""
    if "allowedRegions" in policy and found["region"] not in policy["allowedRegions"]:
        return True
    if "allowedProviders" in policy and found["name"] not in policy["allowedProviders"]:
        return True
    if found["name"] in policy.get("blockedProviders", ()) or served["name"] not in policy.get("allowedModels", MODELS):
        return True
    if "maxCostPerRequestUsd" not in policy:
        return False
    price = served.get("price") or ({"inputPerMillionTokens": "0", "outputPerMillionTokens": "0"} if found["type"] == "vllm" else None)
    if price is None:
        return True
    output = max(body.get("max_tokens") or 0, body.get("max_completion_tokens") or 0) or 1
    cost = (request_tokens(ChatRequest(body)) * Fraction(price["inputPerMillionTokens"])
            + output * body.get("n", 1) * Fraction(price["outputPerMillionTokens"])) / 1_000_000
    return cost > Fraction(policy["maxCostPerRequestUsd"])


def oracle_lacks(served: Document, body: Document) -> bool:
    """Whether the model lacks what the request needs."""
    if "tools" in body and "capabilities" in served and "tools" not in served["capabilities"]:
        return True
    whole = request_tokens(ChatRequest(body)) + max(body.get("max_tokens") or 0, body.get("max_completion_tokens") or 0)
    return "contextTokens" in served and whole > served["contextTokens"]


def offered(world: Document) -> list[tuple[Document, Document]]:
    """Every (provider, model), as written."""
    return [(found, served) for found in world["pool"]["spec"]["providers"] for served in found["models"]]


def policy_of(world: Document, route: str) -> Document:
    """As written."""
    policy: Document = next(each["policy"] for each in world["routes"] if each["name"] == route)
    return policy


# --- the properties -------------------------------------------------------------------------------------------------------


@PATIENT
@given(worlds())
def test_no_plan_has_a_candidate_that_violates_its_policy(world: Document) -> None:
    """Judged on the body that is sent, with the output limit that was set; capabilities included."""
    made = planned(world)
    if isinstance(made, RequestError):
        return
    policy, body = policy_of(world, made.route), dict(made.request.body)
    written = {(found["name"], served["name"]): (found, served) for found, served in offered(world)}
    dry = policy.get("onViolation") == "dryRun"
    assert dry or not oracle_refuses_request(world, policy, body)
    for candidate in made.candidates:
        found, served = written[candidate.provider, candidate.model]
        assert dry or not oracle_forbids(policy, found, served, body)
        assert not oracle_lacks(served, body)
    assert not dry or body == world["body"]


@PATIENT
@given(worlds())
def test_nothing_is_refused_or_left_out_that_the_policy_allows(world: Document) -> None:
    """A refusal by policy has a reason in each route it concerns, and every other candidate is in the plan."""
    made, body = planned(world), world["body"]
    if isinstance(made, Plan) and policy_of(world, made.route).get("onViolation") != "dryRun":
        allowed = {(found["name"], served["name"]) for found, served in offered(world)
                   if not oracle_forbids(policy_of(world, made.route), found, served, body) and not oracle_lacks(served, body)}
        assert allowed == {(each.provider, each.model) for each in made.candidates}
    if isinstance(made, PolicyError):
        for route in {each.route for each in made.verdicts}:
            policy = policy_of(world, route)
            assert oracle_refuses_request(world, policy, body) or all(
                oracle_forbids(policy, found, served, body) or oracle_lacks(served, body) for found, served in offered(world))


@PATIENT
@given(worlds())
def test_a_plan_is_deterministic(world: Document) -> None:
    """The same configuration, seed, time and request give the same plan, the same words, the same refusal."""
    first, second = planned(world), planned(world)
    if isinstance(first, RequestError):
        assert isinstance(second, RequestError)
        assert (first.reason, first.message) == (second.reason, second.message)
    else:
        assert first == second
        assert str(first) == str(second)
        json.dumps(first.to_document())  # type: ignore[union-attr]


_JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.binary(max_size=3) | st.just(object()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=6)
_FIELDS = st.sampled_from(["messages", "tools", "max_tokens", "n", "metadata", "response_format", "functions", "max_completion_tokens"])
_STRICT = Planner(snapshot(runtime(routes=[{
    "name": "one", "pools": [{"name": "chat", "model": "m"}], "context": {"systemPrompt": "$a", "variables": ["a"], "metadata": {"k": "v"}},
    "policy": {"minConfidence": 0.5, "maxCostPerRequestUsd": "1", "maxInputTokens": 50, "requiredMetadata": ["class"]}}], defaultRoute=None),
    pool("chat", provider("p", model("m", contextTokens=100, capabilities=["chat"], price={
        "inputPerMillionTokens": "1", "outputPerMillionTokens": "1"})))))


@PATIENT
@given(decision=_JUNK | st.dictionaries(st.sampled_from(["route_id", "confidence", "scores", "query", "embedding", "metadata", "name", "score"]), _JUNK)
       | st.just("one"), body=st.dictionaries(_FIELDS, _JUNK), context=_JUNK | st.dictionaries(st.sampled_from(["a", "class", "query"]), _JUNK))
def test_whatever_is_given_nothing_but_a_request_error_is_raised(decision: Any, body: Document, context: Any) -> None:
    """Junk as decision, as parameters, as context."""
    try:
        made = normalise(decision)
    except RequestError:
        made = RoutingDecision("one")
    request = ChatRequest({"model": "auto", "messages": [], **body})
    for attempt in (lambda: query_of(made, context=context), lambda: _STRICT.plan(request, Caller(), Directives(), decision=made, context=context)):
        try:
            attempt()
        except RequestError as error:
            assert error.message  # noqa: PT017 (not raising is as good)
    explanation = _STRICT.explain(request, Caller(), Directives(), decision=made, context=context)
    assert (explanation.plan is None) == (explanation.refusal is not None)
    json.dumps(explanation.to_document())
