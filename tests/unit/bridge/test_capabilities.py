"""A request is never sent to a model that cannot serve it; who is left out is told, and why."""

from __future__ import annotations

from typing import Any

import pytest

from builders import Document, model, pool, provider, runtime, snapshot
from stratarouter_runtime.bridge.planner import Planner
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.plan import Plan
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives, EmbeddingsRequest
from stratarouter_runtime.model.tokens import request_tokens

ALL = ["chat", "tools", "vision", "jsonSchema"]
IMAGE = {"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}
SHORT = {"role": "user", "content": "Hi"}


def plan(*models: Document, messages: Any = (SHORT,), **fields: Any) -> Plan:
    """The plan of a request over one provider a model, `p0` first."""
    served = [provider(f"p{number}", each) for number, each in enumerate(models)]
    planner = Planner(snapshot(runtime(), pool("chat", *served)))
    return planner.plan(ChatRequest({"model": "m", "messages": list(messages), **fields}), Caller(), Directives())


def without(*capabilities: str) -> Document:
    """A model that lacks some."""
    return model("m", capabilities=[each for each in ALL if each not in capabilities])


@pytest.mark.parametrize(("fields", "needed"), [
    ({"tools": TOOLS}, "tools"), ({"functions": [{"name": "f"}]}, "tools"), ({"messages": [SHORT, IMAGE]}, "vision"),
    ({"response_format": SCHEMA}, "jsonSchema")])
def test_a_model_without_the_capability_is_left_out_with_the_reason(fields: Document, needed: str) -> None:
    """The others stay, in order; a model that lists nothing can do all."""
    made = plan(without(needed), model("m"), without(), **fields)
    assert [each.provider for each in made.candidates] == ["p1", "p2"]
    assert [(each.provider, reason) for each, reason in made.left_out] == [("p0", needed)]


@pytest.mark.parametrize("fields", [{}, {"tools": []}, {"response_format": {"type": "json_object"}}, {"tools": None, "response_format": None}])
def test_what_needs_nothing_is_sent_to_any_chat_model(fields: Document) -> None:
    """Empty and absent parameters need nothing."""
    assert plan(without("tools", "vision", "jsonSchema"), **fields).left_out == ()


@pytest.mark.parametrize(("fields", "needed", "param"), [
    ({"tools": TOOLS}, "tools", "tools"), ({"functions": [{"name": "f"}]}, "tools", "functions"),
    ({"messages": [SHORT, IMAGE]}, "vision", "messages[1].content[1]"), ({"response_format": SCHEMA}, "jsonSchema", "response_format")])
def test_where_none_can_the_error_names_the_parameter_and_the_candidates(fields: Document, needed: str, param: str) -> None:
    """A 400: the caller can change it."""
    with pytest.raises(RequestError) as caught:
        plan(without(needed), without(needed), **fields)
    error = caught.value
    assert (error.status, error.code, error.param) == (400, "capability_missing", param)
    assert f"chat/p0/m ({needed}), chat/p1/m ({needed})" in error.message


def window(tokens: int) -> Document:
    """A model with a context window."""
    return model("m", contextTokens=tokens)


def test_a_window_too_small_is_left_out_and_an_unknown_one_is_not() -> None:
    """By the estimate, to the token."""
    tokens = request_tokens(ChatRequest({"messages": [SHORT]}))
    made = plan(window(tokens - 1), window(tokens), model("m"))
    assert [each.provider for each in made.candidates] == ["p1", "p2"]
    assert [(each.provider, reason) for each, reason in made.left_out] == [("p0", "contextTokens")]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_output_that_is_asked_for_counts_to_the_window(name: str) -> None:
    """Input and output share it."""
    tokens = request_tokens(ChatRequest({"messages": [SHORT]})) + 100
    assert [each.provider for each in plan(window(tokens - 1), window(tokens), **{name: 100}).candidates] == ["p1"]


def test_a_request_larger_than_every_window_is_openais_own_error() -> None:
    """`context_length_exceeded`, with the sizes."""
    with pytest.raises(RequestError) as caught:
        plan(window(3), window(5))
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "context_length_exceeded", "messages")
    assert "largest window is 5 tokens" in caught.value.message


def test_inputs_to_embed_have_a_window_too() -> None:
    """And no other needs."""
    planner = Planner(snapshot(runtime(), pool("chat", provider("p", model("m", contextTokens=2)))))
    with pytest.raises(RequestError) as caught:
        planner.plan(EmbeddingsRequest({"model": "m", "input": "x"}, ("more than two tokens",)), Caller(), Directives())
    assert caught.value.param == "input"
