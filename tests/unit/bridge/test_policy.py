"""Every rule of a policy, what is unknown, what a violation leads to, and what a cost cap affords."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from builders import Document, model, pool, provider, runtime, snapshot
from stratarouter_runtime.bridge.planner import Planner
from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.plan import Plan
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives, EmbeddingsRequest
from stratarouter_runtime.model.tokens import request_tokens
from stratarouter_runtime.model.verdict import PolicyError

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
HI = {"role": "user", "content": "Where is my invoice?"}
TOKENS = request_tokens(ChatRequest({"messages": [HI]}))


def priced(name: str = "m", cost: tuple[str, str] | None = ("2", "10"), **fields: Any) -> Document:
    """A model with a price for a million tokens."""
    price = {} if cost is None else {"price": {"inputPerMillionTokens": cost[0], "outputPerMillionTokens": cost[1]}}
    return model(name, **price, **fields)


CHAT = pool("chat", provider("eu", priced(), region="eu"), provider("us", priced(), region="us"), provider("nowhere", priced()))
SPARE = pool("spare", provider("own", priced("s", None), type="ollama"))


def planner(policy: Document, *pools: Document, spare: Document | None = None, **route: Any) -> Planner:
    """A planner whose route `r` has this policy; `spare` is another route's policy."""
    routes = [{"name": "r", "pools": [{"name": "chat", "model": "m"}], "policy": policy, **route},
              {"name": "other", "pools": [{"name": "spare", "model": "s"}], "policy": spare or {}}]
    return Planner(snapshot(runtime(routes=routes, defaultRoute=None), *(pools or (CHAT,)), SPARE), now=lambda: NOW)


def plan(made: Planner, *, confidence: float | None = None, tenant: str = "default", context: Any = None, **fields: Any) -> Plan:
    """The plan of a short question to the route."""
    return made.plan(ChatRequest({"model": "auto", "messages": [HI], **fields}), Caller(tenant), Directives(),
                     decision=RoutingDecision("r", confidence), context=context)


def refusal(made: Planner, **fields: Any) -> PolicyError:
    """What the policy says no with."""
    with pytest.raises(PolicyError) as caught:
        plan(made, **fields)
    error = caught.value
    assert (error.status, error.type, error.code, error.param) == (403, "policy_violation", "policy_violation", error.verdicts[0].rule)
    assert all(not each.allowed for each in error.verdicts)
    json.dumps([each.to_document() for each in error.verdicts])
    return error


def names(made: Plan) -> list[str]:
    """Its providers in order."""
    return [each.provider for each in made.candidates]


# --- rules about the request ----------------------------------------------------------------------------------------------


def test_a_refusal_names_rule_value_and_limit() -> None:
    """In words and for machines."""
    error = refusal(planner({"minConfidence": 0.6}), confidence=0.41)
    assert error.message == "The policy of route 'r' refuses this request: minConfidence is 0.41, limit 0.6."
    assert error.verdicts[0].to_document() == {
        "rule": "minConfidence", "value": 0.41, "limit": 0.6, "allowed": False, "effect": "refused", "candidate": None, "route": "r"}


@pytest.mark.parametrize("confidence", [0.6, 1.0, None])
def test_confidence_counts_only_where_there_is_one(confidence: float | None) -> None:
    """At the limit it is enough."""
    assert plan(planner({"minConfidence": 0.6}), confidence=confidence).policy == ()


def test_input_is_limited_by_its_estimate_after_enrichment() -> None:
    """The route's own prompt is input too."""
    assert plan(planner({"maxInputTokens": TOKENS})).policy == ()
    error = refusal(planner({"maxInputTokens": TOKENS - 1}))
    assert (error.verdicts[0].rule, error.verdicts[0].value, error.verdicts[0].limit) == ("maxInputTokens", TOKENS, TOKENS - 1)
    assert refusal(planner({"maxInputTokens": TOKENS}, context={"systemPrompt": "Be kind."})).param == "maxInputTokens"


@pytest.mark.parametrize("fields", [{"metadata": {"class": "a"}}, {"context": {"class": "a"}}, {"context": {"class": 0}}])
def test_required_metadata_may_come_from_the_caller_or_the_context(fields: Document) -> None:
    """Any value but none and an empty text."""
    assert plan(planner({"requiredMetadata": ["class"]}), **fields).policy == ()


def test_required_metadata_may_come_from_the_route() -> None:
    """It is added before the rule is applied."""
    assert plan(planner({"requiredMetadata": ["class"]}, context={"metadata": {"class": "a"}})).policy == ()


@pytest.mark.parametrize("fields", [{}, {"metadata": {"class": ""}}, {"metadata": {"class": None}}, {"metadata": {"Class": "a"}}])
def test_missing_metadata_is_named(fields: Document) -> None:
    """What was there, and what must be."""
    error = refusal(planner({"requiredMetadata": ["tenant", "class"]}), **fields)
    assert (error.verdicts[0].value, error.verdicts[0].limit) == (["tenant"], ["tenant", "class"])


def test_a_tenant_is_the_callers() -> None:
    """It comes from the key, not from what the caller writes; an empty one is none."""
    assert plan(planner({"requiredMetadata": ["tenant"]}), tenant="team-a").policy == ()
    assert refusal(planner({"requiredMetadata": ["tenant"]}), tenant="").param == "requiredMetadata"


def test_outside_all_time_windows_is_refused() -> None:
    """Inside any of them is enough; the clock is the planner's."""
    early, late = ({"from": "06:00", "to": "08:00"}, {"from": "09:00", "to": "10:00", "days": ["Mon"]})
    assert plan(planner({"timeWindows": [early, late]})).policy == ()
    error = refusal(planner({"timeWindows": [early]}))
    assert (error.verdicts[0].value, error.verdicts[0].limit) == (
        "2026-03-02T09:00:00+00:00", ["Mon,Tue,Wed,Thu,Fri,Sat,Sun 06:00-08:00 UTC"])


# --- rules about candidates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "kept", "out"), [
    ({"allowedRegions": ["eu"]}, ["eu"], ["us", None]), ({"allowedProviders": ["us", "nowhere"]}, ["us", "nowhere"], ["eu"]),
    ({"blockedProviders": ["us"]}, ["eu", "nowhere"], ["us"]), ({"allowedModels": ["m", "x"]}, ["eu", "us", "nowhere"], [])])
def test_a_candidate_that_violates_is_left_out(policy: Document, kept: list[str], out: list[Any]) -> None:
    """The rest keep their order; a region that is unknown is none of the allowed."""
    made = plan(planner(policy))
    (rule,) = policy
    assert names(made) == kept
    assert [each.value for each in made.policy] == out
    assert all((each.rule, each.limit, each.effect, each.candidate is not None) == (rule, policy[rule], "leftOut", True) for each in made.policy)
    assert [reason for _, reason in made.left_out] == [rule] * len(out)


def test_where_all_candidates_violate_the_request_is_refused() -> None:
    """With a verdict for each."""
    error = refusal(planner({"allowedRegions": ["ap"]}))
    assert [each.value for each in error.verdicts] == ["eu", "us", None]
    assert error.message == "The policy of route 'r' refuses this request: allowedRegions is eu, limit ap (chat/eu/m)."


def test_rules_are_an_and() -> None:
    """Each leaves out its own."""
    made = plan(planner({"allowedRegions": ["eu", "us"], "blockedProviders": ["eu"]}))
    assert names(made) == ["us"]
    assert made.policy_summary() == "blockedProviders;effect=leftOut, allowedRegions;effect=leftOut"


# --- costs ----------------------------------------------------------------------------------------------------------------


def test_what_was_asked_for_is_priced_before_the_call() -> None:
    """Input and the whole output limit, exact to the cap."""
    cost = (Decimal(2) * TOKENS + Decimal(10) * 100) / 1_000_000
    assert plan(planner({"maxCostPerRequestUsd": str(cost)}), max_tokens=100).policy == ()
    error = refusal(planner({"maxCostPerRequestUsd": str(cost)}), max_tokens=101)
    assert (error.verdicts[0].value, error.verdicts[0].limit) == (format(cost + Decimal("0.00001"), "f"), str(cost))


@pytest.mark.parametrize(("fields", "kept"), [
    ({"max_tokens": 100}, True), ({"max_tokens": 100, "n": 2}, False), ({"max_completion_tokens": 100}, True),
    ({"max_completion_tokens": 101}, False), ({"max_tokens": 10, "max_completion_tokens": 101}, False), ({"max_tokens": None}, True)])
def test_the_output_limit_counts_in_either_form_and_for_each_answer(fields: Document, kept: bool) -> None:
    """Of both the larger."""
    cap = {"maxCostPerRequestUsd": str((Decimal(2) * TOKENS + Decimal(10) * 100) / 1_000_000)}
    if kept:
        assert plan(planner(cap), **fields).policy == ()
    else:
        assert refusal(planner(cap), **fields).param == "maxCostPerRequestUsd"


def test_an_absent_output_limit_becomes_what_the_cap_affords() -> None:
    """For the dearest candidate that is kept, and its callers' other parameters stay."""
    chat = pool("chat", provider("cheap", priced(cost=("1", "5"))), provider("dear", priced(cost=("2", "20"))), provider("unknown", priced(cost=None)))
    made = plan(planner({"maxCostPerRequestUsd": "0.01"}, chat), temperature=0)
    assert names(made) == ["cheap", "dear"]
    assert made.request.body == {"model": "auto", "messages": [HI], "temperature": 0, "max_tokens": (10_000 - 2 * TOKENS) // 20}
    assert [(each.rule, each.value) for each in made.policy] == [("maxCostPerRequestUsd", None)]


def test_answers_share_what_the_cap_affords() -> None:
    """`n` of them."""
    assert plan(planner({"maxCostPerRequestUsd": "0.01"}), n=3).request.body["max_tokens"] == (10_000 - 2 * TOKENS) // 30


def test_what_a_cap_affords_is_no_more_than_a_window_takes() -> None:
    """A vendor refuses a limit beyond it."""
    chat = pool("chat", provider("small", priced(contextTokens=TOKENS + 50)))
    assert plan(planner({"maxCostPerRequestUsd": "1"}, chat)).request.body["max_tokens"] == 50


def test_local_models_cost_nothing_and_need_no_limit() -> None:
    """Any cap affords them."""
    chat = pool("chat", provider("own", priced(cost=None), type="ollama"))
    made = plan(planner({"maxCostPerRequestUsd": "0"}, chat))
    assert (names(made), made.policy, "max_tokens" in made.request.body) == (["own"], (), False)


def test_a_limit_that_is_given_is_not_changed() -> None:
    """Only an absent one is set."""
    assert plan(planner({"maxCostPerRequestUsd": "1"}), max_completion_tokens=7).request.body == {
        "model": "auto", "messages": [HI], "max_completion_tokens": 7}


def test_embeddings_cost_their_input() -> None:
    """They generate nothing, so nothing is limited."""
    made = planner({"maxCostPerRequestUsd": "0.000002"})
    request = EmbeddingsRequest({"model": "r", "input": [1]}, ([1],))
    assert made.plan(request, Caller(), Directives(route="r")).request is request
    with pytest.raises(PolicyError):
        made.plan(EmbeddingsRequest({"model": "r"}, ([1, 2],)), Caller(), Directives(route="r"))


# --- what a violation leads to --------------------------------------------------------------------------------------------


def test_dry_run_reports_and_changes_nothing() -> None:
    """Neither candidates nor the output limit."""
    rules = {"minConfidence": 0.9, "allowedRegions": ["eu"], "maxCostPerRequestUsd": "0.01", "onViolation": "dryRun"}
    made = plan(planner(rules), confidence=0.1)
    assert (names(made), made.left_out, made.request.body.get("max_tokens")) == (["eu", "us", "nowhere"], (), None)
    assert made.policy_summary() == "minConfidence;effect=reported, allowedRegions;effect=reported;count=2"


def test_a_violation_goes_to_the_other_route() -> None:
    """With that one's candidates, and the verdicts that led there."""
    made = plan(planner({"minConfidence": 0.6, "onViolation": "route", "violationRoute": "other"}), confidence=0.2)
    assert (made.route, names(made), made.policy_summary()) == ("other", ["own"], "minConfidence;effect=rerouted")


def test_a_candidate_left_out_does_not_leave_the_route() -> None:
    """Only a refusal does."""
    rules = {"onViolation": "route", "violationRoute": "other"}
    assert plan(planner({"allowedRegions": ["eu"], **rules})).route == "r"
    assert plan(planner({"allowedRegions": ["ap"], **rules})).route == "other"


def test_the_other_routes_own_policy_applies() -> None:
    """And its refusal is final, with both routes' verdicts."""
    made = planner({"minConfidence": 0.6, "onViolation": "route", "violationRoute": "other"}, spare={"allowedRegions": ["eu"]})
    error = refusal(made, confidence=0.2)
    assert [(each.route, each.rule, each.effect) for each in error.verdicts] == [
        ("other", "allowedRegions", "refused"), ("r", "minConfidence", "rerouted")]


def test_there_is_no_second_hop() -> None:
    """Two routes that name each other do not play ball."""
    back = {"minConfidence": 0.9, "onViolation": "route", "violationRoute": "r"}
    error = refusal(planner({"minConfidence": 0.6, "onViolation": "route", "violationRoute": "other"}, spare=back), confidence=0.2)
    assert error.route == "other"


def test_another_route_that_cannot_serve_is_told_with_the_refusal() -> None:
    """A 403 with the reason, not that route's 400."""
    blind = pool("spare", provider("own", priced("s", capabilities=["chat"])))
    routes = [{"name": "r", "pools": [{"name": "chat", "model": "m"}],
               "policy": {"minConfidence": 0.6, "onViolation": "route", "violationRoute": "other"}},
              {"name": "other", "pools": [{"name": "spare", "model": "s"}]}]
    made = Planner(snapshot(runtime(routes=routes, defaultRoute=None), CHAT, blind), now=lambda: NOW)
    error = refusal(made, confidence=0.2, tools=[{"type": "function"}])
    assert (error.route, error.param) == ("r", "minConfidence")
    assert "violationRoute 'other' cannot serve it: The request needs what no candidate can do: spare/own/s (tools)." in error.message


def test_what_is_added_is_the_final_routes() -> None:
    """Not that of the route that was left."""
    made = plan(planner({"minConfidence": 0.6, "onViolation": "route", "violationRoute": "other"},
                        context={"systemPrompt": "Never said", "metadata": {"team": "r"}}), confidence=0.2)
    assert (made.request.body["messages"], made.metadata) == ([HI], {})


# --- a cached answer ------------------------------------------------------------------------------------------------------


def test_a_cached_answer_is_judged_by_who_gave_it() -> None:
    """Provider, model, region; unknown violates."""
    made = planner({"allowedRegions": ["eu"], "blockedProviders": ["us"], "allowedModels": ["m"]})
    chosen = plan(made)
    assert made.readmits(chosen, provider="eu", model="m", region="eu") is None
    for given, rule in (({"region": ""}, "allowedRegions"), ({"region": "us"}, "allowedRegions"), ({"provider": "us"}, "blockedProviders"),
                        ({"model": "old"}, "allowedModels")):
        verdict = made.readmits(chosen, **({"provider": "eu", "model": "m", "region": "eu"} | given))
        assert verdict is not None
        assert (verdict.rule, verdict.allowed) == (rule, False)


def test_a_stored_answer_costs_nothing() -> None:
    """A cap does not keep it from being served."""
    made = planner({"maxCostPerRequestUsd": "0.01"})
    assert made.readmits(plan(made), provider="gone", model="m", region="") is None


@pytest.mark.parametrize("policy", [{}, {"allowedRegions": ["eu"], "onViolation": "dryRun"}])
def test_without_an_enforced_policy_every_cached_answer_may_be_served(policy: Document) -> None:
    """Dry run refuses nothing."""
    made = planner(policy)
    assert made.readmits(plan(made), provider="us", model="m", region="us") is None
