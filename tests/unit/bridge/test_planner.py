"""From a request to a plan: the route, the candidates in order, the deadline, the budget and the cache's terms."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from builders import Document, model, pool, provider, runtime, snapshot
from stratarouter_runtime.bridge.planner import Planner
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.plan import Plan
from stratarouter_runtime.model.request import CacheControl, Caller, ChatRequest, Directives, EmbeddingsRequest

CHAT = pool("chat", provider("first", "gpt-4o", "gpt-4o-mini"), provider("second", "gpt-4o", priority=1))
LOCAL = pool("local", provider("laptop", "llama3", "gpt-4o"))
VECTORS = pool("vectors", provider("v", model("embed", capabilities=["embeddings"])))


def planner(**fields: Any) -> Planner:
    """A planner over the pools above; ``fields`` change the RuntimeConfig."""
    return Planner(snapshot(runtime(**fields), CHAT, LOCAL, VECTORS), Random(1))


def plan(made: Planner, name: str = "gpt-4o", *, tenant: str = "default", **directives: Any) -> Plan:
    """The plan of a chat request."""
    return made.plan(ChatRequest({"model": name, "messages": []}), Caller(tenant), Directives(**directives))


def chain(made: Plan) -> list[str]:
    """Its candidates as text."""
    return [str(each) for each in made.candidates]


def refusal(made: Planner, name: str = "gpt-4o", **directives: Any) -> RequestError:
    """The error of a request that has no plan."""
    with pytest.raises(RequestError) as caught:
        plan(made, name, **directives)
    return caught.value


def route(name: str, *entries: tuple[str, str | None], **fields: Any) -> Document:
    """A route over (pool, model) entries."""
    return {"name": name, "pools": _entries(entries), **fields}


def default(*entries: tuple[str, str | None], **fields: Any) -> Document:
    """A default route over (pool, model) entries."""
    return {"pools": _entries(entries), **fields}


def _entries(entries: Any) -> list[Document]:
    return [{"name": name, **({"model": named} if named else {})} for name, named in entries]


# --- the route ------------------------------------------------------------------------------------------------------------

BILLING = route("billing", ("chat", "gpt-4o-mini"))
NAMED = route("gpt-4o", ("local", "llama3"))


def test_a_decided_route_comes_before_everything() -> None:
    """Even where the model is another route's name."""
    made = planner(routes=[BILLING, NAMED])
    assert plan(made, "gpt-4o", route="billing").route == "billing"


def test_a_model_that_is_a_routes_name_is_that_route() -> None:
    """Also where a pool has a model of that name."""
    made = plan(planner(routes=[BILLING, NAMED]), "gpt-4o")
    assert (made.route, chain(made)) == ("gpt-4o", ["local/laptop/llama3"])


def test_anything_else_goes_to_the_default_route() -> None:
    """There the caller's model is looked up."""
    made = plan(planner(routes=[BILLING]), "gpt-4o")
    assert (made.route, chain(made)) == ("default", ["chat/first/gpt-4o", "chat/second/gpt-4o"])


def test_the_default_route_may_be_decided_by_name() -> None:
    """It is reported under that name, so it can be asked for."""
    assert plan(planner(routes=[NAMED]), "gpt-4o", route="default").route == "default"


def test_a_model_called_default_is_a_model() -> None:
    """`default` is the default route's name in reports, not a route a model can name."""
    made = Planner(snapshot(None, pool("chat", provider("p", "default"))))
    assert chain(plan(made, "default")) == ["chat/p/default"]


def test_an_unknown_decided_route_is_an_error_that_lists_the_known_ones() -> None:
    """Never silently another route."""
    error = refusal(planner(routes=[BILLING]), route="biling")
    assert (error.status, error.reason, error.code, error.param) == (404, "RouteNotFound", "route_not_found", "x-strata-route")
    assert error.message == "The route 'biling' does not exist; there are: billing, default."


@pytest.mark.parametrize(("fields", "asked"), [
    ({}, "gpt-9"), ({"defaultRoute": None, "routes": [BILLING]}, "gpt-4o"), ({}, "auto"), ({}, "GPT-4o"), ({"routes": [BILLING]}, "Billing")])
def test_an_unknown_model_is_openais_own_404(fields: Document, asked: str) -> None:
    """No candidate, no default route, another case: the same answer, so that nobody can probe."""
    error = refusal(planner(**fields), asked)
    assert (error.status, error.type, error.code, error.param) == (404, "invalid_request_error", "model_not_found", "model")
    assert error.message == f"The model '{asked}' does not exist or you do not have access to it."


def test_a_route_without_a_candidate_for_the_callers_model_is_a_404() -> None:
    """An entry without a model looks the caller's up in that pool."""
    assert refusal(planner(routes=[route("open", ("local", None))]), "gpt-4o-mini", route="open").code == "model_not_found"


# --- the candidates -------------------------------------------------------------------------------------------------------


def test_entries_are_tried_in_order_and_within_each_its_providers() -> None:
    """Primary first, then fallbacks."""
    made = plan(planner(routes=[route("r", ("chat", "gpt-4o"), ("local", "llama3"), ("chat", "gpt-4o-mini"))]), "r")
    assert chain(made) == ["chat/first/gpt-4o", "chat/second/gpt-4o", "local/laptop/llama3", "chat/first/gpt-4o-mini"]
    assert made.primary is made.candidates[0]


def test_an_entrys_model_overrides_the_callers() -> None:
    """And one without leaves it."""
    made = plan(planner(defaultRoute=default(("local", "llama3"), ("chat", None))), "gpt-4o-mini")
    assert chain(made) == ["local/laptop/llama3", "chat/first/gpt-4o-mini"]


def test_an_entry_that_cannot_serve_is_passed_over() -> None:
    """The fallback answers what the primary does not have."""
    assert chain(plan(planner(defaultRoute=default(("chat", None), ("local", None))), "llama3")) == ["local/laptop/llama3"]


def test_a_candidate_that_two_entries_name_is_tried_once_where_it_stands_first() -> None:
    """A second try would spend the attempt budget on the same answer."""
    made = plan(planner(routes=[route("r", ("chat", "gpt-4o"), ("chat", "gpt-4o-mini"), ("chat", "gpt-4o"))]), "r")
    assert chain(made) == ["chat/first/gpt-4o", "chat/second/gpt-4o", "chat/first/gpt-4o-mini"]


def test_an_embeddings_request_meets_models_with_that_capability_only() -> None:
    """Chat models without embeddings are no fallback for vectors."""
    made = planner(defaultRoute=default(("vectors", None), ("chat", None)))
    request = EmbeddingsRequest({"model": "embed", "input": "x"}, ("x",))
    found = made.plan(request, Caller(), Directives())
    assert (found.family, chain(found)) == ("embeddings", ["vectors/v/embed"])
    assert refusal(made, "embed").code == "model_not_found"


# --- deadline and budget --------------------------------------------------------------------------------------------------


def test_deadline_budget_and_delay_are_the_configured_ones() -> None:
    """In seconds; one attempt and the retries."""
    made = plan(planner(execution={"timeoutSeconds": 30, "maxRetries": 2, "retryDelayMs": 250}))
    assert (made.timeout, made.max_attempts, made.retry_delay) == (30, 3, 0.25)


@pytest.mark.parametrize(("asked", "timeout"), [(None, 30), (5.0, 5.0), (30.0, 30), (300.0, 30)])
def test_a_caller_may_only_shorten_the_deadline(asked: float | None, timeout: float) -> None:
    """`x-strata-timeout-ms` never lengthens it."""
    assert plan(planner(execution={"timeoutSeconds": 30}), timeout=asked).timeout == timeout


def test_the_plan_knows_the_tenant_and_the_request() -> None:
    """Partition and cost belong to them."""
    made = plan(planner(), tenant="team-a")
    assert (made.tenant, made.request.model, made.family) == ("team-a", "gpt-4o", "chat")


# --- the cache's terms ----------------------------------------------------------------------------------------------------


def test_the_cache_terms_are_the_configured_ones() -> None:
    """Scope, time to live, temperature; no threshold means the embedder's own."""
    terms = plan(planner(cache={"ttlSeconds": 60, "maxTemperature": 0.5})).cache
    assert terms is not None
    assert (terms.scope, terms.ttl_seconds, terms.max_temperature, terms.threshold) == ("own:default/assistant", 60, 0.5, None)


@pytest.mark.parametrize(("routes", "whole", "expected"), [(None, None, None), (None, 0.9, 0.9), (0.8, 0.9, 0.8), (0.8, None, 0.8)])
def test_a_routes_threshold_outweighs_the_caches(routes: float | None, whole: float | None, expected: float | None) -> None:
    """And one that is not set falls back."""
    cache = {} if whole is None else {"similarityThreshold": whole}
    own = {} if routes is None else {"similarityThreshold": routes}
    terms = plan(planner(cache=cache, defaultRoute=default(("chat", None), cache=own))).cache
    assert terms is not None
    assert terms.threshold == expected


def test_a_cache_that_is_switched_off_has_no_terms() -> None:
    """Nothing is looked up or stored."""
    assert plan(planner(cache={"enabled": False})).cache is None


def test_no_store_has_no_terms_and_no_cache_has() -> None:
    """`no-store`: neither look-up nor store. `no-cache` still stores."""
    assert plan(planner(), cache=CacheControl(no_store=True)).cache is None
    assert plan(planner(), cache=CacheControl(no_cache=True)).cache is not None


# --- the list of models ---------------------------------------------------------------------------------------------------


def test_models_are_the_routes_then_what_the_default_route_reaches() -> None:
    """Each once, and an entry's own model rather than the pool's list."""
    made = planner(routes=[BILLING, NAMED], defaultRoute=default(("local", "llama3"), ("chat", None), ("vectors", None)))
    assert made.models() == ["billing", "gpt-4o", "llama3", "gpt-4o-mini", "embed"]


def test_without_a_default_route_only_routes_are_listed() -> None:
    """What cannot be asked for is not offered."""
    assert planner(defaultRoute=None, routes=[BILLING]).models() == ["billing"]


def test_everything_listed_can_be_planned() -> None:
    """A name from `/v1/models` never gives a 404 in both families."""
    made = planner(routes=[BILLING], defaultRoute=default(("local", None), ("chat", None), ("vectors", None)))
    for name in made.models():
        served = 0
        for request in (ChatRequest({"model": name}), EmbeddingsRequest({"model": name}, ("x",))):
            try:
                made.plan(request, Caller(), Directives())
            except RequestError:
                continue
            served += 1
        assert served, name
