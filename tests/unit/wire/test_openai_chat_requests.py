"""Claims: a good request passes unchanged, a bad one is a 400 that names the parameter as OpenAI does, nothing else is
ever raised, and the upstream body differs from the client's only in what must change."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.wire.openai_chat import parse_chat, upstream_chat
from stratarouter_runtime.wire.openai_checks import UNPARSABLE

HI = {"role": "user", "content": "hi"}
GOOD = {"model": "m", "messages": [HI]}


def refused(body):
    with pytest.raises(RequestError) as caught:
        parse_chat(body if isinstance(body, bytes) else orjson.dumps(body))
    error = caught.value
    assert (error.status, error.type) == (400, "invalid_request_error")
    return error


@pytest.mark.parametrize("raw", [b"", b"{", b"nope", b'{"model": "m",}', b'{"model": NaN}', b"\xff\xfe", b'{"a":"\\ud800"}',
                                 b"[" * 3000])
def test_malformed_json_is_refused_in_the_vendors_words(raw):
    error = refused(raw)
    assert (error.message, error.param) == (UNPARSABLE, None)


@pytest.mark.parametrize(("raw", "kind"), [(b"[]", "an array"), (b"1", "an integer"), (b'"x"', "a string"), (b"null", "null")])
def test_json_that_is_no_object_is_refused(raw, kind):
    assert refused(raw).message == f"Invalid type for the request's body: expected an object, but got {kind} instead."


def test_nesting_that_could_not_be_written_again_is_refused():
    body = b'{"model":"m","messages":[{"role":"user","content":"x","deep":' + b"[" * 300 + b"]" * 300 + b"}]}"
    assert "nested too deeply" in refused(body).message


@pytest.mark.parametrize(("change", "param", "code", "message"), [
    ({"model": None}, "model", "missing_required_parameter", "you must provide a model parameter"),
    ({"model": ""}, "model", "invalid_value", "you must provide a model parameter"),
    ({"model": 5}, "model", "invalid_type", "Invalid type for 'model': expected a string, but got an integer instead."),
    ({"messages": None}, "messages", "missing_required_parameter", "Missing required parameter: 'messages'."),
    ({"messages": "hi"}, "messages", "invalid_type",
     "Invalid type for 'messages': expected an array of objects, but got a string instead."),
    ({"messages": []}, "messages", "empty_array",
     "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."),
    ({"messages": ["hi"]}, "messages[0]", "invalid_type",
     "Invalid type for 'messages[0]': expected an object, but got a string instead."),
    ({"messages": [HI, {"content": "x"}]}, "messages[1].role", "missing_required_parameter",
     "Missing required parameter: 'messages[1].role'."),
    ({"messages": [{"role": 1, "content": "x"}]}, "messages[0].role", "invalid_type",
     "Invalid type for 'messages[0].role': expected a string, but got an integer instead."),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter",
     "Missing required parameter: 'messages[0].content'."),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type",
     "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got null instead."),
    ({"messages": [{"role": "user", "content": {"a": 1}}]}, "messages[0].content", "invalid_type",
     "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got an object instead."),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]", "invalid_type",
     "Invalid type for 'messages[0].content[0]': expected an object, but got a string instead."),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type", "missing_required_parameter",
     "Missing required parameter: 'messages[0].content[0].type'."),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text",
     "missing_required_parameter", "Missing required parameter: 'messages[0].content[0].text'."),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1.5}]}]}, "messages[0].content[0].text",
     "invalid_type", "Invalid type for 'messages[0].content[0].text': expected a string, but got a decimal instead."),
    ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls", "invalid_type",
     "Invalid type for 'messages[0].tool_calls': expected an array of objects, but got an object instead."),
    ({"temperature": "0.7"}, "temperature", "invalid_type",
     "Invalid type for 'temperature': expected a decimal, but got a string instead."),
    ({"temperature": -1}, "temperature", "decimal_below_min_value",
     "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, but got -1 instead."),
    ({"temperature": True}, "temperature", "invalid_type",
     "Invalid type for 'temperature': expected a decimal, but got a boolean instead."),
    ({"n": 0}, "n", "integer_below_min_value",
     "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead."),
    ({"n": 1.5}, "n", "invalid_type", "Invalid type for 'n': expected an integer, but got a decimal instead."),
    ({"max_tokens": "100"}, "max_tokens", "invalid_type",
     "Invalid type for 'max_tokens': expected an integer, but got a string instead."),
    ({"stream": "true"}, "stream", "invalid_type",
     "Invalid type for 'stream': expected a boolean, but got a string instead."),
    ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value",
     "The 'stream_options' parameter is only allowed when 'stream' is enabled."),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_type",
     "Invalid type for 'stream_options.include_usage': expected a boolean, but got an integer instead."),
    ({"stop": ["a", 1]}, "stop[1]", "invalid_type", "Invalid type for 'stop[1]': expected a string, but got an integer instead."),
    ({"tools": ["f"]}, "tools[0]", "invalid_type", "Invalid type for 'tools[0]': expected an object, but got a string instead."),
    ({"tool_choice": 1}, "tool_choice", "invalid_type",
     "Invalid type for 'tool_choice': expected one of a string or an object, but got an integer instead."),
    ({"metadata": []}, "metadata", "invalid_type", "Invalid type for 'metadata': expected an object, but got an array instead."),
])
def test_a_wrong_parameter_is_named(change, param, code, message):
    error = refused({**GOOD, **change})
    assert (error.param, error.code, error.message) == (param, code, message)


@pytest.mark.parametrize("change", [
    {}, {"temperature": None, "stop": None, "tools": None, "stream": None, "stream_options": None},
    {"messages": [{"role": "assistant", "content": None, "tool_calls": []}, HI]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "video_url", "anything": [1]}]}]},
    {"messages": [{"role": "ipython", "content": "x"}]},
    {"temperature": 5, "top_k": 40, "guided_json": {"a": 1}, "seed": -3, "stop": "x"},
    {"stream": True, "stream_options": {"include_usage": None, "continuous_usage_stats": True}},
])
def test_what_a_vendor_may_understand_is_left_to_the_vendor(change):
    body = {**GOOD, **change}
    assert parse_chat(orjson.dumps(body)).body == body


@given(st.dictionaries(
    st.sampled_from(["model", "messages", "temperature", "n", "stop", "stream", "stream_options", "tools", "tool_choice", "x"]),
    st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
                 lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                     st.sampled_from(["role", "content", "type", "text", "tool_calls", "include_usage"]), inner, max_size=4),
                 max_leaves=12)))
def test_any_body_is_either_accepted_or_refused(body):
    """Nothing but a RequestError is ever raised, and what is accepted can be sent upstream."""
    try:
        request = parse_chat(json.dumps(body).encode())
    except RequestError:
        return
    assert orjson.loads(upstream_chat(request, model="up", stream=request.stream))["model"] == "up"


@given(st.dictionaries(st.text(min_size=1), st.integers(-2**53, 2**53) | st.text() | st.booleans(), max_size=6))
def test_unknown_fields_survive_the_pass(extra):
    body = {**{f"x-{name}": value for name, value in extra.items()}, **GOOD}
    sent = orjson.loads(upstream_chat(parse_chat(orjson.dumps(body)), model="up", stream=False))
    assert sent == {**body, "model": "up"}


def test_a_stream_asks_for_its_usage_and_keeps_the_clients_options():
    request = parse_chat(orjson.dumps({**GOOD, "stream": True, "stream_options": {"include_obfuscation": False}}))
    sent = orjson.loads(upstream_chat(request, model="up", stream=True))
    assert sent == {**GOOD, "model": "up", "stream": True,
                    "stream_options": {"include_obfuscation": False, "include_usage": True}}
    assert not request.include_usage


def test_a_whole_answer_to_a_request_for_a_stream_asks_for_no_stream():
    request = parse_chat(orjson.dumps({**GOOD, "stream": True, "stream_options": {"include_usage": True}}))
    assert orjson.loads(upstream_chat(request, model="up", stream=False)) == {**GOOD, "model": "up"}


def test_the_request_is_never_changed_in_place():
    body = {**GOOD, "stream": True, "stream_options": {"include_usage": False}}
    request = parse_chat(orjson.dumps(body))
    upstream_chat(request, model="up", stream=True)
    upstream_chat(request, model="up", stream=False)
    assert request.body == body


def test_a_name_longer_than_any_model_has_is_an_unknown_model_and_not_quoted_whole():
    with pytest.raises(RequestError) as caught:
        parse_chat(orjson.dumps({"model": "m" * 100_000, "messages": [{"role": "user", "content": "hi"}]}))
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")
    assert len(caught.value.message) < 400
