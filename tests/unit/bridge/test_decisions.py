"""What routers return becomes a decision, and what is asked becomes a chat request."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from stratarouter import Route, RouteChoice, RouteLayer
from stratarouter._core import PyRoute, PyRouter
from stratarouter.types import RouteResult

from stratarouter_runtime.bridge.decisions import check, normalise, query_of
from stratarouter_runtime.model.decision import MissingQueryError, RoutingDecision
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import ChatRequest

VECTORS = {"billing": [1.0, 0.0, 0.0, 0.0], "support": [0.0, 1.0, 0.0, 0.0]}
ASKED = [{"role": "user", "content": "Where is my invoice?"}]


def rust() -> dict[str, Any]:
    """What the Rust core says of a query near `billing`."""
    router = PyRouter(4, 0.1)
    for name in VECTORS:
        route = PyRoute(name)
        route.examples = [f"a question about {name}"]
        router.add_route(route)
    router.build_index(list(VECTORS.values()))
    return dict(router.route("a question about billing", [0.9, 0.1, 0.0, 0.0]))


class Encoder:
    """Texts on two axes, in place of a model."""

    dimension = 2

    def encode(self, text: str) -> np.ndarray[Any, Any]:
        """By the one word it knows."""
        return np.array([1.0, 0.1] if "invoice" in text else [-0.2, 1.0], dtype=np.float32)


def refusal(decision: object) -> RequestError:
    """The error of something that is no decision."""
    with pytest.raises(RequestError) as caught:
        check(normalise(decision))
    return caught.value


# --- what stratarouter returns --------------------------------------------------------------------------------------------


def test_the_mapping_of_the_rust_core_is_a_decision() -> None:
    """Its own keys, its figures unchanged."""
    raw = rust()
    made = check(normalise(raw))
    assert (made.route_id, made.query, made.embedding) == ("billing", None, None)
    assert made.confidence == pytest.approx(raw["confidence"])
    assert made.scores == raw["scores"]


def test_a_route_result_is_a_decision() -> None:
    """As the lower-level router returns it."""
    raw = rust()
    result = RouteResult(route_id=raw["route_id"], confidence=raw["confidence"], scores=raw["scores"], latency_ms=1.5,
                         metadata={"team": "money"})
    made = check(normalise(result))
    assert (made.route_id, made.confidence, made.metadata) == ("billing", raw["confidence"], {"team": "money"})
    assert check(normalise(result.model_dump())) == made


def test_a_route_choice_is_a_decision() -> None:
    """Its name is the route, its score the confidence."""
    choice = RouteChoice(name="billing", score=0.87, threshold=0.75, metadata={"team": "money"})
    made = check(normalise(choice))
    assert (made.route_id, made.confidence, made.scores) == ("billing", 0.87, {"score": 0.87, "threshold": 0.75})
    assert check(normalise(choice.model_dump())) == made


def test_a_route_choice_without_a_name_decides_for_the_default_route() -> None:
    """Although it is false as a truth value."""
    choice = RouteChoice(name=None, score=0.31, threshold=0.75)
    assert not choice
    assert check(normalise(choice)).route_id is None


def test_the_answers_of_a_route_layer_are_decisions() -> None:
    """Made by the package itself: a match, and none."""
    layer = RouteLayer(Encoder(), [Route(name="billing", utterances=["an invoice"])])  # type: ignore[arg-type]
    assert check(normalise(layer("Where is my invoice?"))).route_id == "billing"
    missed = check(normalise(layer("Tell me a joke")))
    assert (missed.route_id, missed.confidence) == (None, 0.0)


@pytest.mark.parametrize(("score", "confidence"), [(1.0000001, 1.0), (-0.2, 0.0), (0, 0.0)])
def test_a_cosine_is_clipped_to_a_confidence(score: float, confidence: float) -> None:
    """Rounding and opposite vectors are no reason to refuse."""
    assert check(normalise(RouteChoice(name="billing", score=score, threshold=0.5))).confidence == confidence


def test_a_definition_of_a_route_is_no_decision() -> None:
    """It has a name and a threshold, but nothing was decided."""
    assert refusal(Route(name="billing", utterances=["invoice"])).param == "decision"
    assert refusal(PyRoute("billing")).param == "decision"


def test_nothing_of_the_bridge_imports_stratarouter() -> None:
    """Its values are known by their shape."""
    owners = {name for name, module in sys.modules.items()
              if name.startswith("stratarouter_runtime.bridge")
              and any(getattr(each, "__module__", "").split(".")[0] == "stratarouter" for each in vars(module).values())}
    assert owners == set()


# --- ours -----------------------------------------------------------------------------------------------------------------


def test_ours_stays_as_it_is() -> None:
    """With query and embedding."""
    mine = RoutingDecision("billing", 0.5, {"a": 1.0}, "Where?", (1.0, 0.0), {"x": 1})
    assert normalise(mine) is mine
    assert check(mine) == mine


def test_a_name_is_a_decision_without_confidence() -> None:
    """Nothing is made up."""
    assert normalise("billing") == RoutingDecision("billing")


def test_ours_as_json_is_ours() -> None:
    """The HTTP door gets it so."""
    assert check(normalise({"route_id": None, "query": "Where?", "embedding": [1, 0]})) == RoutingDecision(
        None, None, {}, "Where?", (1.0, 0.0))


def test_an_array_of_numpy_is_an_embedding() -> None:
    """Embedders return them."""
    assert check(RoutingDecision("r", embedding=np.array([0.5, 0.25], dtype=np.float32))).embedding == (0.5, 0.25)  # type: ignore[arg-type]


class Hostile:
    """An object whose attributes cannot be read."""

    @property
    def route_id(self) -> str:
        """Fails."""
        raise ValueError("no")


@pytest.mark.parametrize("thing", [7, 1.5, None, [], ["billing"], {}, {"route": "billing"}, {"name": "billing"}, object(), Hostile(),
                                   RoutingDecision, True, b"billing", ("billing", 0.5)])
def test_anything_else_is_refused_by_naming_what_is_accepted(thing: object) -> None:
    """A list, bytes, a class, an unknown mapping."""
    error = refusal(thing)
    assert (error.status, error.code, error.param) == (400, "invalid_decision", "decision")
    assert "RouteResult" in error.message
    assert "RouteChoice" in error.message
    assert type(thing).__name__ in error.message


@pytest.mark.parametrize(("fields", "param"), [
    ({"route_id": ""}, "decision.route_id"), ({"route_id": 7}, "decision.route_id"),
    *(({"route_id": "r", "confidence": wrong}, "decision.confidence")
      for wrong in (float("nan"), float("inf"), -0.01, 1.01, "high", True, [], 10**400)),
    *(({"route_id": "r", "scores": wrong}, "decision.scores")
      for wrong in ([1], {"a": float("nan")}, {"a": float("-inf")}, {"a": "x"}, {1: 1.0}, {"a": None})),
    *(({"route_id": "r", "embedding": wrong}, "decision.embedding")
      for wrong in ([], [float("nan")], [1.0, float("inf")], [0.0, 0.0], "vector", 7, ["a"], [[1.0]], {"a": 1}, [1.0] * 65_537, [10**400])),
    ({"route_id": "r", "query": 7}, "decision.query"), ({"route_id": "r", "metadata": [1]}, "decision.metadata")])
def test_a_decision_with_a_wrong_field_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    """Not a number, out of range, not finite, empty, another type: never taken over."""
    error = refusal(fields)
    assert (error.status, error.code, error.param) == (400, "invalid_decision", param)
    assert param in error.message


# --- the question ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ways", [
    {"query": "Where is my invoice?"}, {"messages": ASKED}, {"messages": tuple(ASKED)}, {"request": {"messages": ASKED}},
    {"request": ChatRequest({"model": "auto", "messages": ASKED})}, {"context": {"query": "Where is my invoice?"}},
    {"context": {"messages": ASKED}}, {"context": {"query": "shorter", "messages": ASKED}},
    {"query": "Where is my invoice?", "context": {"query": "another"}}, {"query": "Where is my invoice?", "request": {}}])
def test_the_query_comes_by_each_of_the_documented_ways(ways: dict[str, Any]) -> None:
    """What the call gives outweighs the context; the conversation outweighs the question."""
    assert query_of(normalise(rust()), **ways) == {"model": "auto", "messages": ASKED}


def test_ours_carries_its_query() -> None:
    """And the call outweighs it."""
    mine = RoutingDecision("billing", query="Where is my invoice?")
    assert query_of(mine)["messages"] == ASKED
    assert query_of(mine, context={"query": "another"})["messages"] == ASKED
    assert query_of(mine, query="Then when?")["messages"] == [{"role": "user", "content": "Then when?"}]


def test_a_requests_other_parameters_are_kept() -> None:
    """Also where the question comes by another way."""
    assert query_of(None, query="Hi", request={"model": "gpt-4o", "temperature": 0, "stop": None}) == {
        "model": "gpt-4o", "temperature": 0, "messages": [{"role": "user", "content": "Hi"}]}


def test_a_missing_query_is_an_error_that_names_the_ways() -> None:
    """All of them."""
    for context in (None, {}, {"user_id": "u"}):
        with pytest.raises(MissingQueryError) as caught:
            query_of(normalise("billing"), context=context)
        for way in ("query=", "messages=", "request=", "context['query']", "context['messages']"):
            assert way in caught.value.message
        assert (caught.value.status, caught.value.code) == (400, "missing_query")


@pytest.mark.parametrize("ways", [{"query": "a", "messages": ASKED}, {"query": "a", "request": {"messages": ASKED}},
                                  {"messages": ASKED, "request": {"messages": ASKED}}])
def test_two_questions_at_once_are_refused(ways: dict[str, Any]) -> None:
    """Neither is dropped in silence."""
    with pytest.raises(RequestError, match="given twice"):
        query_of(None, **ways)


@pytest.mark.parametrize(("ways", "param"), [
    ({"query": ""}, "query"), ({"query": "  "}, "query"), ({"query": 7}, "query"), ({"messages": "hello"}, "messages"),
    ({"messages": ["hello"]}, "messages"), ({"request": [1]}, "request"), ({"context": [1]}, "context"),
    ({"context": {"query": 7}}, "context.query"), ({"context": {"messages": 7}}, "context.messages"),
    ({"request": {"messages": 7}}, "request.messages")])
def test_a_question_of_another_type_is_refused_by_its_name(ways: dict[str, Any], param: str) -> None:
    """Wherever it came from."""
    with pytest.raises(RequestError) as caught:
        query_of(None, **ways)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_what_was_given_is_not_changed() -> None:
    """The caller keeps their mappings."""
    request = {"temperature": 0, "messages": [{"role": "user", "content": "a"}]}
    made = query_of(None, request=request)
    made["messages"].append("more")
    assert request == {"temperature": 0, "messages": [{"role": "user", "content": "a"}]}
