"""Claims: what a vendor tells of its tokens is kept; what it does not tell is estimated, marked so, and booked, whole and streamed."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fakes.engine_bench import Bench, collect
from fakes.provider import content, done, finish
from stratarouter_runtime.engine import usage as usages
from stratarouter_runtime.model.plan import Plan, Rate
from stratarouter_runtime.model.request import ChatRequest, EmbeddingsRequest
from stratarouter_runtime.model.response import EmbeddingsResponse, Usage
from stratarouter_runtime.wire.openai_chat import chat_response

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Where is my invoice?"}]}


def plan(request):
    return Plan(route="r", family=request.family, request=request, tenant="t", candidates=(), timeout=1, max_attempts=1, retry_delay=0)


def answer(message, **fields):
    return chat_response({"choices": [{"message": message, "finish_reason": "stop"}], **fields})


def test_what_is_told_is_kept():
    told = answer({"content": "x"}, usage={"prompt_tokens": 3, "completion_tokens": 1})
    assert usages.of_answer(plan(ChatRequest(QUESTION)), told) == Usage(input=3, output=1)


@pytest.mark.parametrize(("message", "output"), [
    ({"content": "twelve letters"}, 4), ({"content": None, "refusal": "no"}, 1), ({"content": "a", "reasoning_content": "b"}, 2),
    ({"content": None, "tool_calls": [{"function": {"name": "pay", "arguments": "{}"}}]}, 3), ({"content": ""}, 0),
    ({"content": None, "tool_calls": [{"function": 5}, {}]}, 0), ({"content": [{"type": "text"}]}, 0)])
def test_an_answer_that_tells_nothing_is_estimated(message, output):
    found = usages.of_answer(plan(ChatRequest(QUESTION)), answer(message))
    assert (found.estimated, found.output) == (True, output)
    assert 8 <= found.input <= 20


def test_vectors_that_tell_nothing_are_estimated_by_their_inputs():
    request = EmbeddingsRequest({"model": "m"}, inputs=("one text", [1, 2, 3]))
    found = usages.of_answer(plan(request), EmbeddingsResponse(raw=b"", body={}, model="m", usage=None))
    assert found == Usage(input=6, estimated=True)


def test_a_stream_counts_events_or_more_text_in_fewer():
    asked = plan(ChatRequest(QUESTION))
    assert usages.of_stream(asked, pieces=9, characters=20).output == 9
    assert usages.of_stream(asked, pieces=2, characters=400).output == 100
    assert usages.of_stream(asked, pieces=2, characters=400).estimated is True


@pytest.mark.parametrize(("delta", "characters"), [
    ({"content": "four"}, 4), ({"content": "", "reasoning_content": "xx"}, 2), ({"tool_calls": [{"function": {"arguments": "{}"}}]}, 2),
    ({"content": 5}, 0), (None, 0), ({"tool_calls": "x"}, 0)])
def test_the_characters_of_an_event(delta, characters):
    assert usages.characters_in({"choices": [{"delta": delta}]}) == characters
    assert usages.characters_in(None) == 0


async def test_the_engine_books_what_it_estimates():
    bench = Bench()
    bench.add("a").usage = None
    outcome = await bench.complete()
    assert outcome.response.usage == bench.observer.attempts[0].usage
    assert (outcome.response.usage.estimated, outcome.response.usage.output, outcome.response.raw) == (True, 2, b"{}")


def test_an_estimate_has_its_price():
    assert Rate(Decimal(1), Decimal(2)).cost(Usage(input=3, output=4, estimated=True)) == Decimal("0.000011")


async def test_a_stream_without_a_usage_is_booked_as_estimated():
    bench = Bench()
    bench.add("a", [content(), content(), finish(), done()])
    stream = await bench.open()
    await collect(stream)
    (seen,) = bench.observer.attempts
    assert seen.usage == stream.usage
    assert (seen.usage.estimated, seen.usage.output) == (True, 2)
