"""From a request to a decision: one embedding, a bounded wait for it, and an answer whatever the embedder does."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from stratarouter import RouteChoice
from stratarouter.types import RouteResult

from stratarouter_runtime import routing as module
from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.routing import MAX_WAITING, PATIENCE_SECONDS, PAUSES, Routing, RoutingUnavailable, user_text
from stratarouter_runtime.utterances import EXCERPT_ENDS, excerpt

VECTOR = np.array([0.6, 0.8], dtype=np.float32)


class Embedder:
    """Embeds after ``seconds``, the first ``busy`` calls not at all; counts."""

    id, threshold = "fake", 0.9

    def __init__(self, *, seconds: float = 0.0, busy: int = 0, longest: int = 1_000) -> None:
        self.seconds, self.busy, self.longest = seconds, busy, longest
        self.seen: list[str] = []
        self.at_once = self.most = 0

    def fits(self, text: str) -> bool:
        return len(text) <= self.longest

    async def embed(self, text: str) -> Any:
        self.seen.append(text)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.at_once -= 1
        self.busy -= 1
        return None if self.busy >= 0 else VECTOR

    async def aclose(self) -> None:
        pass


class Core:
    """A router that gives one answer and remembers what it was asked."""

    def __init__(self, answer: Any = "billing") -> None:
        self.answer = answer
        self.asked: list[Any] = []

    def route(self, query: str, embedding: Any) -> Any:
        self.asked.append((query, embedding))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def request(content: Any = "where is it?") -> ChatRequest:
    return ChatRequest({"model": "auto", "messages": [{"role": "user", "content": content}]})


def routing(embedder: Any, core: Any = None, **more: Any) -> Routing:
    given = core or Core()
    return Routing(embedder, lambda: given, **more)


async def test_while_there_is_no_router_nobody_is_asked() -> None:
    """503, with the time after which it may be there."""
    embedder = Embedder()
    with pytest.raises(RoutingUnavailable, match="the routes' utterances are not embedded yet") as caught:
        await Routing(embedder, lambda: None).decide(request(), within=60)
    assert (caught.value.status, caught.value.reason, caught.value.retry_after) == (503, "RoutingUnavailable", 2)
    assert embedder.seen == []


async def test_a_request_without_text_is_not_embedded() -> None:
    """The decision says why it has no route."""
    embedder = Embedder()
    decision = await routing(embedder).decide(request([{"type": "image_url", "image_url": {"url": "x"}}]), within=60)
    assert (decision.route_id, decision.reason) == (None, "the request has no text of a user to route by")
    assert embedder.seen == []


async def test_an_embedder_that_never_answers_is_waited_for_within_bounds() -> None:
    """The patience, or what is left of the request's own deadline."""
    loop = asyncio.get_running_loop()
    for within, waited in ((60, PATIENCE_SECONDS), (0.25, 0.25), (-1, 0)):
        began = loop.time()
        with pytest.raises(RoutingUnavailable, match="busy or does not answer"):
            await routing(Embedder(seconds=3_600)).decide(request(), within=within)
        assert loop.time() - began == pytest.approx(waited)


async def test_a_busy_embedder_is_asked_again() -> None:
    """With growing pauses, and not for ever."""
    patient = Embedder(busy=3)
    assert (await routing(patient).decide(request(), within=60)).route_id == "billing"
    assert len(patient.seen) == 4
    hopeless = Embedder(busy=1_000)
    with pytest.raises(RoutingUnavailable):
        await routing(hopeless).decide(request(), within=60)
    assert len(hopeless.seen) == len(PAUSES)


async def test_waiting_requests_are_bounded_in_number() -> None:
    """Beyond it one is told at once; the others take their turns, so many at a time."""
    embedder = Embedder(seconds=0.01)
    made = routing(embedder, slots=4)
    waiting = [asyncio.ensure_future(made.decide(request(f"text {number}"), within=60)) for number in range(MAX_WAITING)]
    await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    with pytest.raises(RoutingUnavailable):
        await made.decide(request("one too many"), within=60)
    assert asyncio.get_running_loop().time() == began
    decisions = await asyncio.gather(*waiting)
    assert [each.query for each in decisions] == [f"text {number}" for number in range(MAX_WAITING)]
    assert embedder.most == 4
    assert (await made.decide(request(), within=60)).route_id == "billing"


async def test_a_caller_that_leaves_frees_its_place() -> None:
    """At once, and nobody waits for it."""
    embedder = Embedder(seconds=10)
    made = routing(embedder, slots=1)
    gone = asyncio.ensure_future(made.decide(request(), within=60))
    await asyncio.sleep(1)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    embedder.seconds = 0
    began = asyncio.get_running_loop().time()
    assert (await made.decide(request(), within=60)).route_id == "billing"
    assert asyncio.get_running_loop().time() == began
    assert made._waiting == 0


@pytest.mark.parametrize("answer", [
    "billing", RoutingDecision("billing", 0.9), RouteResult(route_id="billing", confidence=0.9, scores={}, latency_ms=1),
    RouteChoice(name="billing", score=0.9, threshold=0.5), {"route_id": "billing", "confidence": 0.9, "scores": {"total": 0.9}}], ids=lambda answer: type(answer).__name__)
async def test_a_router_may_answer_in_any_form_that_the_bridge_knows(answer: Any) -> None:
    """The question and its vector are added, as plain numbers."""
    core = Core(answer)
    decision = await routing(Embedder(), core).decide(request(), within=60)
    assert (decision.route_id, decision.query) == ("billing", "where is it?")
    assert decision.embedding == pytest.approx([0.6, 0.8])
    assert core.asked == [("where is it?", decision.embedding)]


async def test_an_answer_that_is_no_decision_is_refused() -> None:
    """With what would be one."""
    with pytest.raises(RequestError, match="expected a RoutingDecision, a route's name"):
        await routing(Embedder(), Core(7)).decide(request(), within=60)


async def test_what_an_apps_own_router_raises_reaches_the_app() -> None:
    """It is its defect, and hiding it would send the request somewhere else."""
    with pytest.raises(ZeroDivisionError):
        await routing(Embedder(), Core(ZeroDivisionError())).decide(request(), within=60)


async def test_of_a_text_longer_than_the_window_both_ends_are_embedded() -> None:
    """What the decision remembers is what was embedded, so that the cache does not take it for the whole text's vector."""
    embedder = Embedder(longest=300)
    text = f"Send me my invoice. {'x' * 10_000} By noon."
    decision = await routing(embedder).decide(request(text), within=60)
    assert decision.query == excerpt(text, embedder.fits) != text
    assert embedder.seen == [decision.query]
    assert len(embedder.seen[0]) <= 2 * EXCERPT_ENDS + 3
    assert embedder.seen[0].startswith("Send me my invoice. ")
    assert embedder.seen[0].endswith(" By noon.")


@pytest.mark.parametrize(("messages", "text"), [
    ([], ""), ([{"role": "system", "content": "s"}], ""), ([{"role": "user", "content": " \n"}], ""), ([{"role": "user"}], ""),
    ([{"role": "user", "content": "a"}, {"role": "user", "content": ""}], "a"),
    ([{"role": "user", "content": "a"}, {"role": "tool", "content": "t"}], "a"),
    ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_audio"}, {"type": "text", "text": "b"}]}], "a\nb"),
    ([{"role": "user", "content": ["a", {"type": "text", "text": 5}, {"type": "text"}]}], "")])
def test_the_text_is_the_users_last(messages: Any, text: str) -> None:
    """Of the last message of a user that has one."""
    assert user_text(ChatRequest({"model": "auto", "messages": messages})) == text


def test_the_bounds_are_below_every_usual_deadline() -> None:
    """A request that cannot be routed still has time to be answered by the default route."""
    assert module.PATIENCE_SECONDS <= 10
    assert sum(PAUSES) < module.PATIENCE_SECONDS
