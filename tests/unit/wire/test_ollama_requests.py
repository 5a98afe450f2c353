"""Claims: a canonical request becomes Ollama's, what has no place there is left out and named, and nothing is ever raised."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrary import json_values, objects
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.wire.ollama_request import unsupported, upstream_chat, upstream_embeddings
from stratarouter_runtime.wire.openai_chat import check_chat
from stratarouter_runtime.wire.openai_embeddings import check_embeddings

HI = {"role": "user", "content": "hi"}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}, "strict": True}}
TIME = {"type": "function", "function": {"name": "time"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
GOLDEN = Path(__file__).parents[2] / "golden" / "wire" / "ollama" / "request.json"


def sent(*messages, stream=False, **fields):
    body = {"model": "m", "messages": list(messages) or [HI], "stream": stream, **fields}
    check_chat(body)
    return orjson.loads(upstream_chat(body, model="qwen3", stream=stream))


def left(*messages, **fields):
    body = {"model": "m", "messages": list(messages) or [HI], **fields}
    check_chat(body)
    return [(each.param, each.hint) for each in unsupported(body)]


def test_the_recorded_request_is_translated():
    golden = json.loads(GOLDEN.read_text())
    check_chat(golden["canonical"])
    assert orjson.loads(upstream_chat(golden["canonical"], model="qwen3", stream=True)) == golden["vendor"]
    assert [each.param for each in unsupported(golden["canonical"])] == ["user"]


def test_a_stream_is_refused_or_asked_for_in_words():
    """Without the field the server streams."""
    assert sent() == {"model": "qwen3", "stream": False, "messages": [HI]}
    assert sent(stream=True, stream_options={"include_usage": True}) == {"model": "qwen3", "stream": True, "messages": [HI]}


@pytest.mark.parametrize(("given", "made"), [
    ({"max_tokens": 5}, {"options": {"num_predict": 5}}), ({"max_completion_tokens": 6, "max_tokens": 5}, {"options": {"num_predict": 6}}),
    ({"stop": "END"}, {"options": {"stop": ["END"]}}), ({"stop": ["a", "b"]}, {"options": {"stop": ["a", "b"]}}),
    ({"temperature": 0.0, "seed": 7, "top_p": 0.5, "top_k": 4, "min_p": 0.1, "frequency_penalty": -1.5, "presence_penalty": 1},
     {"options": {"temperature": 0.0, "seed": 7, "top_p": 0.5, "top_k": 4, "min_p": 0.1, "frequency_penalty": -1.5, "presence_penalty": 1}}),
    ({"options": {"num_ctx": 8192, "seed": 1}, "seed": 7}, {"options": {"num_ctx": 8192, "seed": 7}}),
    ({"keep_alive": "10m", "truncate": False}, {"keep_alive": "10m", "truncate": False}), ({"keep_alive": 0}, {"keep_alive": 0}),
    ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}), ({"logprobs": False, "n": 1, "modalities": ["text"]}, {}),
    ({"response_format": {"type": "text"}}, {}), ({"response_format": {"type": "json_object"}}, {"format": "json"}),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}, {"format": SCHEMA}),
    ({"format": "json"}, {"format": "json"}), ({"reasoning_effort": "none"}, {"think": False}), ({"reasoning_effort": "minimal"}, {"think": "low"}),
    ({"reasoning_effort": "high"}, {"think": "high"}), ({"think": True, "reasoning_effort": "low"}, {"think": True})])
def test_parameters_are_its_own(given, made):
    body = sent(**given)
    assert {name: value for name, value in body.items() if name not in ("model", "stream", "messages")} == made
    assert left(**given) == []


@pytest.mark.parametrize(("choice", "tools"), [
    (None, ["weather", "time"]), ("auto", ["weather", "time"]), ("none", []),
    ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [WEATHER]}}, ["weather"])])
def test_tools_are_offered_or_held_back(choice, tools):
    """The server has no choice of tools: none is made by offering none."""
    body = sent(tools=[WEATHER, TIME], **({"tool_choice": choice} if choice else {}))
    assert [tool["function"]["name"] for tool in body.get("tools", ())] == tools
    assert "tool_choice" not in body
    assert left(tools=[WEATHER], **({"tool_choice": choice} if choice else {})) == []


@pytest.mark.parametrize(("given", "param", "hint"), [
    ({"n": 2}, "n", False), ({"logit_bias": {"5": 1}}, "logit_bias", False), ({"top_logprobs": 3}, "top_logprobs", False),
    ({"modalities": ["audio"]}, "modalities", False), ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]", False),
    ({"tools": [TIME], "tool_choice": "required"}, "tool_choice", False),
    ({"tools": [TIME], "tool_choice": {"type": "function", "function": {"name": "time"}}}, "tool_choice", False),
    ({"response_format": {"type": "grammar"}}, "response_format", False), ({"response_format": {"type": "json_schema"}}, "response_format", False),
    ({"functions": [{"name": "f"}]}, "functions", False), ({"documents": ["d"]}, "documents", False), ({"options": "fast"}, "options", False),
    ({"user": "u"}, "user", True), ({"metadata": {"a": "b"}}, "metadata", True), ({"parallel_tool_calls": False}, "parallel_tool_calls", True),
    ({"store": True}, "store", True), ({"reasoning_effort": "odd"}, "reasoning_effort", True)])
def test_what_it_cannot_do_is_named_and_left_out(given, param, hint):
    assert left(**given) == [(param, hint)]
    assert param not in sent(**given)


def test_messages_of_all_roles():
    call = {"id": "t1", "type": "function", "function": {"name": "time", "arguments": '{"zone":"CET"}'}}
    body = sent(
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAEC"}}]},
        {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call, {**call, "id": "t2", "function": {"name": "f", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "t1", "content": "noon"}, {"role": "tool", "content": [{"type": "text", "text": "x"}]},
        {"role": "assistant", "content": None, "refusal": "no"})
    assert body["messages"] == [
        {"role": "system", "content": "Be brief.\nBe kind."}, {"role": "user", "content": "see", "images": ["AAEC"]},
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [
            {"id": "t1", "function": {"name": "time", "arguments": {"zone": "CET"}}}, {"id": "t2", "function": {"name": "f", "arguments": {}}}]},
        {"role": "tool", "content": "noon", "tool_name": "time", "tool_call_id": "t1"}, {"role": "tool", "content": "x"},
        {"role": "assistant", "content": "no"}]


@pytest.mark.parametrize(("message", "param", "hint"), [
    ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://img.example/1.png"}}]}, "messages[0].content[0]", False),
    ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/svg+xml,<svg/>"}}]}, "messages[0].content[0]", False),
    ({"role": "system", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}, "messages[0].content[0]", False),
    ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "messages[0].content[0]", False),
    ({"role": "function", "name": "f", "content": "x"}, "messages[0]", False),
    ({"role": "assistant", "tool_calls": [{"type": "custom", "custom": {}}]}, "messages[0].tool_calls[0]", False),
    ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{broken"}}]}, "messages[0].tool_calls[0]", False),
    ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}, "messages[0].tool_calls[0]", False),
    ({"role": "assistant", "content": "x", "audio": {"id": "a"}}, "messages[0].audio", False), ({"role": "user", "name": "Ann", "content": "x"}, "messages[0].name", True)])
def test_what_a_message_cannot_have_is_named(message, param, hint):
    assert left(message) == [(param, hint)]


JSON = json_values("type", "text", "function", "name", "arguments", "image_url", "url", "schema", "json_schema", "id", "mode", "tools", "allowed_tools")
MESSAGE = objects({"role": st.sampled_from(["system", "user", "assistant", "tool", "odd"])},
                  ("content", "tool_calls", "tool_call_id", "reasoning_content", "refusal", "name"), JSON)
BODY = objects({"model": st.just("m"), "messages": st.lists(MESSAGE, min_size=1, max_size=3)},
               ("tools", "tool_choice", "response_format", "stop", "think", "reasoning_effort", "modalities", "n", "options", "odd"), JSON)


@given(BODY)
def test_translation_raises_nothing_whatever_the_request_is(body):
    try:
        check_chat(body)
    except RequestError:
        return
    raw = orjson.loads(upstream_chat(body, model="qwen3", stream=False))
    assert "odd" not in raw
    assert body.get("odd") is None or "odd" in {each.param for each in unsupported(body)}


def embed(given, **fields):
    return orjson.loads(upstream_embeddings(check_embeddings({"model": "m", "input": given, **fields}), model="nomic"))


def test_texts_are_embedded():
    assert embed("x", user="u", encoding_format="base64") == {"model": "nomic", "input": ["x"]}
    assert embed(["a", "b"], dimensions=4, truncate=False, keep_alive=-1) == {
        "model": "nomic", "input": ["a", "b"], "dimensions": 4, "truncate": False, "keep_alive": -1}


def test_tokens_are_refused():
    with pytest.raises(RequestError) as caught:
        embed([1, 2])
    assert caught.value.param == "input"
