"""Plans of routing decisions: which route and model they mean, what a plan says of itself, and why it is so."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from builders import Document, model, pool, provider, runtime, snapshot
from stratarouter_runtime.bridge.planner import Planner
from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.plan import Plan
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives, EmbeddingsRequest

HI = {"role": "user", "content": "Where is my invoice?"}
POOLS = (pool("chat", provider("late", "x", priority=1), provider("first", "gpt-4o", "mini", region="eu")), pool("local", provider("laptop", "llama3")))
ROUTES = [
    {"name": "billing", "pools": [{"name": "chat", "model": "mini"}, {"name": "local", "model": "llama3"}],
     "context": {"systemPrompt": "Secret words for $name.", "variables": ["name"], "metadata": {"team": "money"}},
     "policy": {"minConfidence": 0.5, "allowedRegions": ["eu"], "maxInputTokens": 1_000}},
    {"name": "open", "pools": [{"name": "chat"}, {"name": "local"}]}]


def planner(**fields: Any) -> Planner:
    """A planner over the resources above; ``fields`` change the RuntimeConfig."""
    return Planner(snapshot(runtime(**{"routes": ROUTES, **fields}), *POOLS), Random(1))


def plan(decision: RoutingDecision | None, *, asked: str = "auto", made: Planner | None = None, context: Any = None, messages: Any = (HI,),
         **directives: Any) -> Plan:
    """The plan of a decision."""
    return (made or planner()).plan(ChatRequest({"model": asked, "messages": list(messages)}), Caller("team-a"), Directives(**directives),
                                    decision=decision, context=context)


def chain(made: Plan) -> list[str]:
    """Its candidates as text."""
    return [str(each) for each in made.candidates]


BILLING = RoutingDecision("billing", 0.9, {"total": 0.8})
ADA = {"name": "Ada"}

# --- the route and the model ----------------------------------------------------------------------------------------------


def test_a_decisions_route_comes_before_all_else() -> None:
    """Before a fixed one and before the model."""
    assert plan(BILLING, asked="open", route="open", context=ADA).route == "billing"


def test_a_decision_without_a_route_is_for_the_fixed_or_the_default_one() -> None:
    """Never for a model that happens to be a route's name."""
    assert plan(RoutingDecision(None, 0.1), route="open").route == "open"
    assert plan(RoutingDecision(None, 0.1)).route == "default"
    entries = {"pools": [{"name": "chat", "model": "mini"}]}
    assert plan(RoutingDecision(None, 0.1), asked="billing", made=planner(defaultRoute=entries)).route == "default"


def test_no_match_and_no_default_route_is_a_404() -> None:
    """It says so."""
    with pytest.raises(RequestError) as caught:
        plan(RoutingDecision(None), made=planner(defaultRoute=None))
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "route_not_found", "decision")


def test_an_unknown_route_of_a_decision_is_a_404_that_lists_the_known_ones() -> None:
    """The router and the configuration disagree."""
    with pytest.raises(RequestError) as caught:
        plan(RoutingDecision("biling"))
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "route_not_found", "decision")
    assert caught.value.message.endswith("there are: billing, default, open.")


@pytest.mark.parametrize("confidence", [float("nan"), 1.5, -1])
def test_a_decision_is_checked_before_it_is_believed(confidence: float) -> None:
    """Whoever made it."""
    with pytest.raises(RequestError) as caught:
        plan(RoutingDecision("open", confidence))
    assert caught.value.param == "decision.confidence"


def test_who_names_no_model_gets_the_first_of_each_pool() -> None:
    """A decision says where to go, and an entry without a model asks for the caller's, who has none."""
    assert chain(plan(RoutingDecision("open"))) == ["chat/first/gpt-4o", "local/laptop/llama3"]
    assert chain(plan(None, route="open")) == ["chat/first/gpt-4o", "local/laptop/llama3"]


def test_who_names_a_model_gets_that_one() -> None:
    """Where the pool has it."""
    assert chain(plan(RoutingDecision("open"), asked="mini")) == ["chat/first/mini"]


# --- the plan -------------------------------------------------------------------------------------------------------------


def test_a_plan_prints_itself() -> None:
    """Route, candidates, who is left out and why, terms; never a prompt or a value."""
    made = plan(BILLING, context={**ADA, "user_id": "u1"})
    assert str(made).splitlines() == [
        "route billing (chat, tenant team-a, confidence 0.9)",
        "  1. chat/first/mini in eu",
        "  out: local/laptop/llama3: allowedRegions",
        "  policy: allowedRegions is unknown, limit eu (local/laptop/llama3): leftOut",
        "  metadata: name, team, user_id",
        "  within 60 s, 4 attempts, cache own:default/assistant for 3600 s"]


def test_a_plan_without_cache_and_policy_prints_itself_too() -> None:
    """Nothing is left blank."""
    assert str(plan(None, asked="gpt-4o", made=planner(cache={"enabled": False}))).splitlines() == [
        "route default (chat, tenant team-a)", "  1. chat/first/gpt-4o in eu", "  within 60 s, 4 attempts, no cache"]


def test_a_plan_is_a_document_without_prompts() -> None:
    """For replies, logs and state."""
    document = json.dumps(plan(BILLING, context=ADA).to_document())
    assert "Secret words" not in document
    assert "invoice" not in document
    assert json.loads(document)["left_out"] == [
        {"candidate": {"pool": "local", "provider": "laptop", "model": "llama3", "region": ""}, "reason": "allowedRegions"}]
    assert json.loads(document)["decision"] == {"route_id": "billing", "confidence": 0.9, "scores": {"total": 0.8}}


def test_a_plan_is_frozen() -> None:
    """A value."""
    made = plan(BILLING, context=ADA)
    with pytest.raises(AttributeError):
        made.route = "other"  # type: ignore[misc]
    assert (made.confidence, made.verdicts, made.metadata) == (0.9, made.policy, {"name": "Ada", "team": "money"})


# --- the vector -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "messages", "expected"), [
    ("Where is my invoice?", [HI], (1.0, 0.0)), (None, [HI], (1.0, 0.0)),
    ("Where is my invoice?", [{"role": "user", "content": [{"type": "text", "text": "Where is my invoice?"}]}], (1.0, 0.0)),
    ("Where is my invoice?", [HI, {"role": "user", "content": "And when?"}], None), ("Other", [HI], None)])
def test_a_decisions_vector_is_used_for_its_own_text_only(query: str | None, messages: Any, expected: Any) -> None:
    """The vector of another text would answer another question."""
    assert plan(RoutingDecision("open", query=query, embedding=[1, 0]), messages=messages).vector == expected


def test_embeddings_have_no_query() -> None:
    """So no vector."""
    request = EmbeddingsRequest({"model": "auto", "input": "x"}, ("x",))
    assert planner().plan(request, Caller(), Directives(), decision=RoutingDecision("open", embedding=[1.0])).vector is None


# --- why ------------------------------------------------------------------------------------------------------------------


def explained(decision: RoutingDecision | None, *, asked: str = "auto", made: Planner | None = None, context: Any = None) -> Document:
    """The explanation as a document."""
    request = ChatRequest({"model": asked, "messages": [HI]})
    document: Document = json.loads(json.dumps(
        (made or planner()).explain(request, Caller(), Directives(), decision=decision, context=context).to_document()))
    return document


def test_an_explanation_has_the_plan_and_every_verdict() -> None:
    """Also of the rules that hold."""
    why = explained(BILLING, context=ADA)
    assert (why["allowed"], why["refusal"], why["plan"]["route"]) == (True, None, "billing")
    assert [(each["rule"], each["allowed"], each["effect"]) for each in why["verdicts"]] == [
        ("minConfidence", True, "held"), ("maxInputTokens", True, "held"), ("allowedRegions", True, "held"), ("allowedRegions", False, "leftOut")]
    assert [(each["provider"], each["in"], each["reasons"]) for each in why["candidates"]] == [
        ("first", True, []), ("laptop", False, ["allowedRegions"])]


def test_an_explanation_of_a_refusal_says_why_each_candidate_is_out() -> None:
    """Without raising it."""
    why = explained(RoutingDecision("billing", 0.2), context=ADA)
    assert (why["allowed"], why["plan"], why["refusal"]["status"], why["refusal"]["code"]) == (False, None, 403, "policy_violation")
    assert [(each["provider"], each["in"], each["reasons"]) for each in why["candidates"]] == [
        ("first", False, ["minConfidence"]), ("laptop", False, ["allowedRegions"])]


@pytest.mark.parametrize(("decision", "code"), [
    (RoutingDecision("nowhere"), "route_not_found"), (RoutingDecision("open", 7), "invalid_decision"), (RoutingDecision("billing"), "missing_variable")])
def test_every_other_refusal_is_explained_too(decision: RoutingDecision, code: str) -> None:
    """An unknown route, a wrong decision, a missing variable."""
    why = explained(decision)
    assert (why["allowed"], why["refusal"]["code"], why["candidates"]) == (False, code, [])


def test_an_explanation_of_a_hop_shows_both_routes() -> None:
    """Why the first was left, and what the second has."""
    routes = [{"name": "one", "pools": [{"name": "chat", "model": "mini"}],
               "policy": {"minConfidence": 0.5, "onViolation": "route", "violationRoute": "two"}},
              {"name": "two", "pools": [{"name": "local", "model": "llama3"}]}]
    why = explained(RoutingDecision("one", 0.1), made=planner(routes=routes))
    assert why["plan"]["route"] == "two"
    assert [(each["route"], each["provider"], each["in"]) for each in why["candidates"]] == [("one", "first", False), ("two", "laptop", True)]
    assert [(each["rule"], each["effect"]) for each in why["verdicts"]] == [("minConfidence", "rerouted")]


def test_a_candidate_without_a_capability_is_explained() -> None:
    """By the capability."""
    chat = pool("chat", provider("a", model("m", capabilities=["chat"])), provider("b", "m"))
    made = Planner(snapshot(runtime(), chat))
    request = ChatRequest({"model": "m", "messages": [HI], "tools": [{"type": "function"}]})
    notes = made.explain(request, Caller(), Directives()).candidates
    assert [(each.candidate.provider, each.included, each.reasons) for each in notes] == [("b", True, ()), ("a", False, ("tools",))]


def test_an_explanation_prints_itself() -> None:
    """The plan or the refusal, then why."""
    request = ChatRequest({"model": "auto", "messages": [HI]})
    text = str(planner().explain(request, Caller(), Directives(), decision=RoutingDecision("billing", 0.2), context=ADA))
    assert text.startswith("refused: The policy of route 'billing' refuses this request: minConfidence is 0.2, limit 0.5.\n")
    assert "  out billing: chat/first/mini: minConfidence\n" in text
