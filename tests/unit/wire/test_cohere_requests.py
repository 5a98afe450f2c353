"""Claims: a canonical request becomes Cohere's, what has no place there is left out and named, and nothing is ever raised."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrary import json_values, objects
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.wire.cohere_embeddings import upstream_embeddings
from stratarouter_runtime.wire.cohere_request import unsupported, upstream_chat
from stratarouter_runtime.wire.openai_chat import check_chat
from stratarouter_runtime.wire.openai_embeddings import check_embeddings

HI = {"role": "user", "content": "hi"}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}, "strict": True}}
TIME = {"type": "function", "function": {"name": "time"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def sent(*messages, stream=False, **fields):
    body = {"model": "m", "messages": list(messages) or [HI], "stream": stream, **fields}
    check_chat(body)
    return orjson.loads(upstream_chat(body, model="command", stream=stream))


def left(*messages, **fields):
    body = {"model": "m", "messages": list(messages) or [HI], **fields}
    check_chat(body)
    return [(each.param, each.hint) for each in unsupported(body)]


def test_the_recorded_request_is_translated():
    golden = json.loads((Path(__file__).parents[2] / "golden" / "wire" / "cohere" / "request.json").read_text())
    check_chat(golden["canonical"])
    assert orjson.loads(upstream_chat(golden["canonical"], model="command-a-03-2025", stream=True)) == golden["vendor"]
    assert [each.param for each in unsupported(golden["canonical"])] == ["user"]


def test_the_smallest_request_is_model_messages_and_stream():
    assert sent(stream=True, stream_options={"include_usage": True}) == {"model": "command", "stream": True, "messages": [HI]}


@pytest.mark.parametrize(("given", "made"), [
    ({"max_tokens": 5}, {"max_tokens": 5}), ({"max_completion_tokens": 6}, {"max_tokens": 6}),
    ({"top_p": 0.5}, {"p": 0.5}), ({"top_k": 4}, {"k": 4}), ({"p": 0.1, "top_p": 0.5}, {"p": 0.1}),
    ({"stop": "END"}, {"stop_sequences": ["END"]}), ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}), ({"stop": []}, {}),
    ({"temperature": 0.0, "seed": 7}, {"temperature": 0.0, "seed": 7}),
    ({"frequency_penalty": 0.5, "presence_penalty": 1}, {"frequency_penalty": 0.5, "presence_penalty": 1}),
    ({"logprobs": True, "top_logprobs": 0}, {"logprobs": True}), ({"logprobs": False}, {}), ({"n": 1, "modalities": ["text"]}, {}),
    ({"response_format": {"type": "text"}}, {}), ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}},
     {"response_format": {"type": "json_object", "json_schema": SCHEMA}}),
    ({"response_format": {"type": "json_object", "json_schema": SCHEMA}}, {"response_format": {"type": "json_object", "json_schema": SCHEMA}}),
    ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
    ({"reasoning_effort": "low"}, {"thinking": {"type": "enabled", "token_budget": 2048}}),
    ({"reasoning_effort": "high"}, {"thinking": {"type": "enabled"}}),
    ({"thinking": {"type": "enabled", "budget_tokens": 99}}, {"thinking": {"type": "enabled", "token_budget": 99}}),
    ({"documents": ["d"], "citation_options": {"mode": "FAST"}, "safety_mode": "STRICT", "priority": 3},
     {"documents": ["d"], "citation_options": {"mode": "FAST"}, "safety_mode": "STRICT", "priority": 3}),
    ({"seed": None, "documents": None}, {})])
def test_parameters_are_its_own(given, made):
    body = sent(**given)
    assert {name: value for name, value in body.items() if name not in ("model", "stream", "messages")} == made
    assert left(**given) == []


@pytest.mark.parametrize(("choice", "tools", "wanted"), [
    (None, ["weather", "time"], None), ("auto", ["weather", "time"], None), ("none", ["weather", "time"], "NONE"),
    ("required", ["weather", "time"], "REQUIRED"), ({"type": "function", "function": {"name": "time"}}, ["time"], "REQUIRED"),
    ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [WEATHER]}}, ["weather"], None)])
def test_tools_are_chosen_among(choice, tools, wanted):
    body = sent(tools=[WEATHER, TIME], **({"tool_choice": choice} if choice else {}))
    assert [tool["function"]["name"] for tool in body["tools"]] == tools
    assert body.get("tool_choice") == wanted
    assert body["strict_tools"] is True
    assert all("strict" not in tool["function"] and isinstance(tool["function"]["parameters"], dict) for tool in body["tools"])


def test_strictness_may_be_set_for_all_tools():
    assert sent(tools=[WEATHER], strict_tools=False)["strict_tools"] is False
    assert "strict_tools" not in sent(tools=[TIME])


@pytest.mark.parametrize(("given", "param", "hint"), [
    ({"n": 2}, "n", False), ({"top_logprobs": 3, "logprobs": True}, "top_logprobs", False), ({"logit_bias": {"5": 1}}, "logit_bias", False),
    ({"stop": list("abcdef")}, "stop", False), ({"presence_penalty": -1}, "presence_penalty", False),
    ({"frequency_penalty": 1.5}, "frequency_penalty", False), ({"modalities": ["audio"]}, "modalities", False),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]", False),
    ({"tools": [TIME], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice", False),
    ({"tools": [TIME], "tool_choice": {"type": "custom"}}, "tool_choice", False), ({"tool_choice": "required"}, "tool_choice", False),
    ({"tools": [TIME], "response_format": {"type": "json_object"}}, "response_format", False),
    ({"documents": ["d"], "response_format": {"type": "json_object"}}, "response_format", False),
    ({"response_format": {"type": "grammar"}}, "response_format", False), ({"response_format": {"type": "json_schema"}}, "response_format", False),
    ({"functions": [{"name": "f"}]}, "functions", False), ({"web_search_options": {}}, "web_search_options", False),
    ({"guided_json": {}}, "guided_json", False), ({"thinking": "much"}, "thinking", False),
    ({"user": "u"}, "user", True), ({"metadata": {"a": "b"}}, "metadata", True), ({"store": True}, "store", True),
    ({"parallel_tool_calls": False}, "parallel_tool_calls", True), ({"service_tier": "flex"}, "service_tier", True),
    ({"reasoning_effort": "odd"}, "reasoning_effort", True)])
def test_what_it_cannot_do_is_named_and_left_out(given, param, hint):
    assert left(**given) == [(param, hint)]
    assert param not in sent(**given)


def test_messages_of_all_roles():
    call = {"id": "t1", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    citation = {"start": 0, "end": 2, "text": "ok", "sources": []}
    body = sent(
        {"role": "developer", "content": "Be brief."}, {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}}]},
        {"role": "assistant", "content": "ok", "reasoning_content": "hm", "citations": [citation], "annotations": [{"type": "url_citation"}]},
        {"role": "assistant", "content": None, "reasoning_content": "plan", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": '{"celsius":3}'}, {"role": "tool", "tool_call_id": "t2", "content": '[{"a":1},{"b":2}]'},
        {"role": "tool", "tool_call_id": "t3", "content": [{"type": "text", "text": "sunny"}]},
        {"role": "assistant", "content": None, "refusal": "no"})
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."}, {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "ok"}], "citations": [citation]},
        {"role": "assistant", "tool_calls": [call], "tool_plan": "plan"},
        {"role": "tool", "tool_call_id": "t1", "content": [{"type": "document", "document": {"data": {"celsius": 3}}}]},
        {"role": "tool", "tool_call_id": "t2", "content": [{"type": "document", "document": {"data": {"a": 1}}}, {"type": "document", "document": {"data": {"b": 2}}}]},
        {"role": "tool", "tool_call_id": "t3", "content": [{"type": "text", "text": "sunny"}]},
        {"role": "assistant", "content": "no"}]


@pytest.mark.parametrize("said", ["[]", "{}", "[1]", '[{"a":1},2]', "{broken", "", "plain", "[" * 200 + "]" * 200, "{" + '"a":{' * 250 + "}" * 251])
def test_a_result_that_is_no_object_is_text(said):
    assert sent({"role": "tool", "tool_call_id": "t", "content": said})["messages"][0]["content"] == [{"type": "text", "text": said}]


@pytest.mark.parametrize(("message", "param", "hint"), [
    ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "messages[0].content[0]", False),
    ({"role": "user", "content": [{"type": "file", "file": {}}]}, "messages[0].content[0]", False),
    ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "messages[0].content[0]", False),
    ({"role": "system", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "messages[0].content[0]", False),
    ({"role": "function", "name": "f", "content": "x"}, "messages[0]", False),
    ({"role": "assistant", "content": "x", "audio": {"id": "a"}}, "messages[0].audio", False),
    ({"role": "assistant", "content": "x", "function_call": {"name": "f"}}, "messages[0].function_call", False),
    ({"role": "assistant", "tool_calls": [{"type": "custom", "custom": {}}]}, "messages[0].tool_calls[0]", False),
    ({"role": "user", "name": "Ann", "content": "x"}, "messages[0].name", True)])
def test_what_a_message_cannot_have_is_named(message, param, hint):
    assert left(message) == [(param, hint)]


JSON = json_values("type", "text", "function", "name", "arguments", "image_url", "url", "schema", "json_schema", "id", "mode", "tools",
                   "allowed_tools", "parameters")
MESSAGE = objects({"role": st.sampled_from(["system", "user", "assistant", "tool", "odd"])},
                  ("content", "tool_calls", "tool_call_id", "reasoning_content", "citations", "refusal"), JSON)
BODY = objects({"model": st.just("m"), "messages": st.lists(MESSAGE, min_size=1, max_size=3)},
               ("tools", "tool_choice", "response_format", "stop", "thinking", "reasoning_effort", "modalities", "n", "documents",
                "frequency_penalty", "odd"), JSON)


@given(BODY)
def test_translation_raises_nothing_whatever_the_request_is(body):
    try:
        check_chat(body)
    except RequestError:
        return
    raw = orjson.loads(upstream_chat(body, model="command", stream=False))
    named = {each.param for each in unsupported(body)}
    assert "odd" not in raw
    assert body.get("odd") is None or "odd" in named


def embed(given, **fields):
    return [orjson.loads(each) for each in upstream_embeddings(check_embeddings({"model": "m", "input": given, **fields}), model="embed")]


def test_texts_are_embedded_as_documents_in_the_encoding_asked_for():
    assert embed("x") == [{"model": "embed", "input_type": "search_document", "embedding_types": ["float"], "texts": ["x"]}]
    assert embed("x", input_type="search_query", dimensions=256, truncate="END", encoding_format="base64", user="u") == [
        {"model": "embed", "input_type": "search_query", "embedding_types": ["base64"], "output_dimension": 256, "truncate": "END", "texts": ["x"]}]


def test_more_inputs_than_a_call_takes_are_several_calls_in_order():
    calls = embed([str(number) for number in range(200)])
    assert [len(call["texts"]) for call in calls] == [96, 96, 8]
    assert [text for call in calls for text in call["texts"]] == [str(number) for number in range(200)]


def test_images_are_embedded_as_images():
    image = "data:image/png;base64,AA"
    assert embed(["a", image])[0]["inputs"] == [{"content": [{"type": "text", "text": "a"}]},
                                                {"content": [{"type": "image_url", "image_url": {"url": image}}]}]


@pytest.mark.parametrize("given", [[1, 2], [[1], [2]]])
def test_tokens_are_refused(given):
    with pytest.raises(RequestError) as caught:
        embed(given)
    assert caught.value.param == "input"
