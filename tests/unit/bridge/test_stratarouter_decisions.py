"""Decisions of the real ``stratarouter``: each of its values, with the question given by each of the documented ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import stratarouter
from stratarouter import Route, RouteChoice, RouteLayer
from stratarouter import Router as TheirRouter
from stratarouter._core import PyRoute, PyRouter
from stratarouter.encoders.base import BaseEncoder
from stratarouter.types import RouteResult

from builders import runtime, snapshot
from stratarouter_runtime.bridge.decisions import normalise, query_of
from stratarouter_runtime.bridge.planner import Planner
from stratarouter_runtime.core import Router
from stratarouter_runtime.model.decision import MissingQueryError
from stratarouter_runtime.model.plan import Plan
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives

QUESTION = "where is my invoice"
UTTERANCES = {"billing": ["where is my invoice", "i was charged twice"], "shipping": ["where is my parcel"]}
WORDS = ("invoice", "charged", "parcel", "where", "weather")


class WordEncoder(BaseEncoder):  # type: ignore[misc]  # its class is untyped
    """A vector that counts a few words: an embedder without weights."""

    @property
    def dimension(self) -> int:
        return len(WORDS)

    def encode(self, text: str | list[str]) -> Any:
        import numpy as np

        texts = [text] if isinstance(text, str) else text
        rows = np.asarray([vector(each) for each in texts], dtype=np.float32)
        return rows[0] if isinstance(text, str) else rows


def vector(text: str) -> list[float]:
    return [float(text.count(word)) + 0.01 for word in WORDS]


def core_route(name: str, texts: list[str]) -> Any:
    """A route as the Rust core takes it."""
    route = PyRoute(name)
    route.examples = texts
    return route


def by_router() -> Any:
    """``RouteResult`` of its low-level router."""
    router = TheirRouter(encoder=WordEncoder(), dimension=len(WORDS))
    for name, texts in UTTERANCES.items():
        router.add(Route(name=name, utterances=texts))
        # 0.2.5 forgets to tell its own core, and cannot build its index without this.
        router._core.add_route(core_route(name, texts))
    found = router.route(QUESTION)
    assert isinstance(found, RouteResult)
    return found


def by_layer(question: str = QUESTION) -> Any:
    """``RouteChoice`` of its high-level layer."""
    layer = RouteLayer(encoder=WordEncoder(), routes=[Route(name=name, utterances=texts) for name, texts in UTTERANCES.items()])
    found = layer(question)
    assert isinstance(found, RouteChoice)
    return found


def by_core() -> Any:
    """The mapping of its Rust core."""
    router = PyRouter(len(WORDS), 0.5)
    for name, texts in UTTERANCES.items():
        router.add_route(core_route(name, texts))
    router.build_index([vector(texts[0]) for texts in UTTERANCES.values()])
    found = router.route(QUESTION, vector(QUESTION))
    assert type(found) is dict
    return found


def by_ours() -> Any:
    """Our ``RoutingDecision``, over the same core."""
    router = Router()
    router.add_routes(UTTERANCES)
    router.build_index([vector(text) for _, text in router.utterances])
    return router.route(QUESTION, vector(QUESTION))


DECISIONS = {"RouteResult": by_router, "RouteChoice": by_layer, "PyRouter": by_core, "Router": by_ours}
MESSAGES = [{"role": "user", "content": QUESTION}]
WAYS: dict[str, dict[str, Any]] = {
    "query": {"query": QUESTION}, "messages": {"messages": MESSAGES}, "request": {"request": {"messages": MESSAGES}},
    "context.query": {"context": {"query": QUESTION}}, "context.messages": {"context": {"messages": MESSAGES}}}


def planned(decision: Any, ask: dict[str, Any], routes: Sequence[str] = tuple(UTTERANCES)) -> Plan:
    """The plan for a router's answer, as both doors make it."""
    entries = [{"name": "chat", "model": "gpt-4o"}]
    document = runtime(routes=[{"name": name, "pools": entries} for name in routes], defaultRoute={"pools": entries})
    normal = normalise(decision)
    request = ChatRequest(query_of(normal, **ask))
    return Planner(snapshot(document)).plan(request, Caller(), Directives(), decision=normal, context=ask.get("context"))


def test_the_tests_use_the_version_that_is_documented() -> None:
    """Another one may return other values."""
    assert stratarouter.__version__ == "0.2.5"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("decide", DECISIONS.values(), ids=DECISIONS)
def test_each_decision_is_planned_with_the_question_from_each_way(decide: Callable[[], Any], way: dict[str, Any]) -> None:
    """The route is the router's, the question the caller's, and the confidence is kept."""
    plan = planned(decide(), way)
    assert plan.route == "billing"
    assert plan.request.body["messages"] == MESSAGES
    assert plan.confidence is not None
    assert 0.5 < plan.confidence <= 1


@pytest.mark.parametrize("decide", [by_router, by_layer, by_core], ids=["RouteResult", "RouteChoice", "PyRouter"])
def test_a_decision_without_a_question_names_the_ways_to_give_it(decide: Callable[[], Any]) -> None:
    """Those of ``stratarouter`` do not carry it."""
    with pytest.raises(MissingQueryError, match=r"query='\.\.\.', messages=\[\.\.\.\] or request=.*context\['query'\]"):
        planned(decide(), {})


def test_our_own_decision_carries_the_question_and_its_vector() -> None:
    """So nothing else is needed, and nobody embeds it again."""
    plan = planned(by_ours(), {})
    assert plan.request.body["messages"] == MESSAGES
    assert plan.vector == tuple(vector(QUESTION))


def test_a_choice_without_a_name_means_the_default_route() -> None:
    """No route was near enough."""
    choice = by_layer("nice weather today")
    assert choice.name is None
    assert planned(choice, {"query": "nice weather today"}).route == "default"


def test_a_decision_for_a_route_that_does_not_exist_is_refused_by_name() -> None:
    """The router and the configuration know different routes."""
    with pytest.raises(Exception, match="The route 'billing' does not exist; there are: default, shipping"):
        planned(by_core(), {"query": QUESTION}, routes=["shipping"])


def test_our_router_and_the_core_alone_agree() -> None:
    """Where the nearest utterance is a route's first, as the core's own index has it."""
    ours, core = by_ours(), by_core()
    assert ours.route_id == core["route_id"]
    assert ours.confidence == pytest.approx(core["confidence"], abs=1e-6)
