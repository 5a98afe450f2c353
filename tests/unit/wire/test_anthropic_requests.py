"""Claims: a chat request becomes the Messages request that means the same and that Anthropic takes; what has no place is named,
and exactly that is left out; whatever JSON is given, nothing is raised."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.anthropicvendor.checks import check
from stratarouter_runtime.wire.anthropic_models import traits
from stratarouter_runtime.wire.anthropic_request import encode, unsupported
from stratarouter_runtime.wire.anthropic_schema import native_schema, strict

HI = [{"role": "user", "content": "hi"}]
OLD, BUDGETED, TODAY, NEXT = "claude-3-5-haiku-20241022", "claude-sonnet-4-20250514", "claude-sonnet-4-6", "claude-opus-5"
CLOSED = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "f", "description": "Does.", "parameters": CLOSED}}


def encoded(model=TODAY, *, stream=False, **body):
    made = json.loads(encode({"messages": HI, **body}, model=model, stream=stream))
    check(made)
    return made


def named(model=TODAY, **body):
    return [(each.param, each.hint) for each in unsupported({"messages": HI, **body}, model)]


# --- conversations ----------------------------------------------------------------------------------------------------
def test_the_smallest_request():
    assert encoded() == {"model": TODAY, "messages": HI, "max_tokens": 16_384}
    assert encoded(stream=True)["stream"] is True


def test_system_and_developer_messages_become_the_system_prompt_wherever_they_stand():
    made = encoded(messages=[{"role": "system", "content": "One."}, *HI, {"role": "developer", "content": [{"type": "text", "text": "Two."}]}])
    assert made["system"] == [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert made["messages"] == HI


def test_neighbours_of_one_role_become_one_turn_and_results_of_tools_come_first():
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    made = encoded(messages=[
        *HI, {"role": "user", "content": "again"}, {"role": "assistant", "content": "Looking.", "tool_calls": [call, {**call, "id": "x:2"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "tool", "tool_call_id": "x:2", "content": "no such thing", "is_error": True}, {"role": "user", "content": "and?"}])
    assert made["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "again"}]},
        {"role": "assistant", "content": [
            {"type": "text", "text": "Looking."}, {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "x_2", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": "one"},
            {"type": "tool_result", "tool_use_id": "x_2", "content": "no such thing", "is_error": True}, {"type": "text", "text": "and?"}]}]


@pytest.mark.parametrize(("part", "block"), [
    ({"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}, {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}),
    ({"type": "image_url", "image_url": {"url": "data:image/jpg;base64,AAAA", "detail": "auto"}},
     {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}}),
    ({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
     {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}, "title": "a.pdf"}),
    ({"type": "file", "file": {"file_data": "data:text/plain;base64,aGk="}},
     {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}}),
    ({"type": "file", "file": {"file_id": "file_011C"}}, {"type": "document", "source": {"type": "file", "file_id": "file_011C"}}),
    ({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}),
])
def test_parts_have_their_blocks(part, block):
    made = encoded(messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, part]}])
    assert made["messages"][0]["content"][1] == block


@pytest.mark.parametrize("part", [
    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA"}},
    {"type": "image_url", "image_url": {"url": "ftp://x"}}, {"type": "file", "file": {"file_id": "file-openai"}}, {"type": "video_url"}, {}, 7])
def test_parts_without_a_block_are_named(part):
    assert named(messages=[{"role": "user", "content": ["see", part]}]) == [("messages[0].content[1]", False)]


def test_images_of_tools_stay_with_their_result():
    call = {"id": "c", "type": "function", "function": {"name": "shot", "arguments": ""}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    made = encoded(messages=[*HI, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": [image]}])
    assert made["messages"][1]["content"][0]["input"] == {}
    assert made["messages"][2]["content"][0]["content"] == [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]


def test_signed_and_redacted_thinking_goes_back_first_and_as_it_was():
    details = [{"type": "reasoning.text", "text": "Hm.", "signature": "s1", "format": "anthropic-claude-v1"},
               {"type": "reasoning.encrypted", "data": "xyz", "format": "anthropic-claude-v1"}]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = {"role": "assistant", "content": None, "reasoning_content": "Hm.", "reasoning_details": details, "tool_calls": [call]}
    made = encoded(BUDGETED, messages=[*HI, answer, {"role": "tool", "tool_call_id": "c", "content": "ok"}], reasoning_effort="low")
    assert made["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "s1"}, {"type": "redacted_thinking", "data": "xyz"},
        {"type": "tool_use", "id": "c", "name": "f", "input": {}}]
    assert made["thinking"]["type"] == "enabled"


def test_another_models_thinking_stays_here_and_is_named():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = {"role": "assistant", "reasoning_content": "Hm.", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "format": "google"}],
              "tool_calls": [call]}
    messages = [*HI, answer, {"role": "tool", "tool_call_id": "c", "content": "ok"}]
    assert "thinking" not in encoded(BUDGETED, messages=messages, reasoning_effort="low")
    assert named(BUDGETED, messages=messages, reasoning_effort="low") == [
        ("messages[1].reasoning_details", True), ("messages[1].reasoning_content", True), ("reasoning_effort", True)]


@pytest.mark.parametrize("written", ["{", "[1]", "null", '"x"', "[" * 300])
def test_arguments_that_are_no_object_still_reach_the_model(written):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": written}}
    made = encoded(messages=[*HI, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": ""}])
    assert made["messages"][1]["content"][0]["input"] == {"INVALID_JSON": written}


# --- tools and structured answers -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("choice", "parallel", "made"), [
    (None, None, None), (None, False, {"type": "auto", "disable_parallel_tool_use": True}), ("auto", True, {"type": "auto"}),
    ("required", False, {"type": "any", "disable_parallel_tool_use": True}), ("none", False, {"type": "none"}),
    ({"type": "function", "function": {"name": "f"}}, None, {"type": "tool", "name": "f"}),
    ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}}, None, {"type": "any"}),
])
def test_choices_of_tools(choice, parallel, made):
    other = {"type": "function", "function": {"name": "g"}}
    found = encoded(tools=[TOOL, other], tool_choice=choice, parallel_tool_calls=parallel)
    assert found.get("tool_choice") == made
    assert [tool["name"] for tool in found["tools"]] == (["f"] if isinstance(choice, dict) and "allowed_tools" in choice else ["f", "g"])


def test_tools_keep_what_they_say():
    strictly = {"type": "function", "cache_control": {"type": "ephemeral"}, "function": {**TOOL["function"], "strict": True}}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    assert encoded(tools=[strictly, search, {"type": "function", "function": {"name": "bare"}}])["tools"] == [
        {"name": "f", "input_schema": CLOSED, "description": "Does.", "strict": True, "cache_control": {"type": "ephemeral"}}, search,
        {"name": "bare", "input_schema": {"type": "object", "properties": {}}}]
    assert "strict" not in encoded(BUDGETED, tools=[strictly])["tools"][0]
    assert named(tools=[{"type": "custom", "custom": {"name": "x"}}, 3]) == [("tools[0]", False), ("tools[1]", False)]


def structured(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def test_structured_answers_are_native_where_model_and_schema_allow_it():
    made = encoded(response_format=structured(CLOSED))
    assert made["output_config"] == {"format": {"type": "json_schema", "schema": CLOSED}}
    assert "tools" not in made


@pytest.mark.parametrize(("model", "form"), [
    (BUDGETED, structured(CLOSED)), (TODAY, structured({"type": "object", "additionalProperties": {"type": "string"}})),
    (TODAY, {"type": "json_object"})])
def test_else_they_come_through_a_forced_tool(model, form):
    made = encoded(model, response_format=form)
    assert [tool["name"] for tool in made["tools"]] == ["strata_structured_answer"]
    assert made["tool_choice"] == {"type": "tool", "name": "strata_structured_answer"}
    assert encoded(model, response_format=form, tools=[TOOL])["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize("form", [{"type": "grammar"}, {"type": "json_schema"}, structured({"type": "array", "items": {"not": {}}}), 7])
def test_other_formats_are_named(form):
    assert named(response_format=form) == [("response_format", False)]


def test_constraints_that_are_not_enforced_are_said_in_words():
    schema = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "description": "Years"}, "when": {"type": "string", "format": "date"},
                                               "kind": {"oneOf": [{"const": 1}, {"$ref": "#/$defs/k"}]}}, "$defs": {"k": {"enum": ["a"]}}}
    assert native_schema(schema) == {
        "type": "object", "additionalProperties": False, "$defs": {"k": {"enum": ["a"]}}, "properties": {
            "age": {"type": "integer", "description": "Years\n\n{minimum: 0}"}, "when": {"type": "string", "format": "date"},
            "kind": {"anyOf": [{"const": 1}, {"$ref": "#/$defs/k"}]}}}


@pytest.mark.parametrize("schema", [
    {"type": "object", "properties": {"next": {"$ref": "#"}}}, {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}},
    {"$ref": "https://x.example/schema"}, {"type": "object"}, {}, {"type": "object", "properties": {"x": {}}}, {"type": "object", "properties": {"x": True}},
    {"if": {}, "type": "object"}, None, []])
def test_schemas_that_would_mean_something_else_are_not_converted(schema):
    assert native_schema(schema) is None


def test_openais_strict_mode_is_told_apart():
    assert strict(CLOSED)
    assert not strict({**CLOSED, "required": []})
    assert not strict({**CLOSED, "properties": {"a": {"type": "object", "properties": {}}}})


# --- thinking, sampling, limits ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(("model", "effort", "thinking", "level"), [
    (TODAY, "minimal", {"type": "adaptive", "display": "summarized"}, "low"), (TODAY, "xhigh", {"type": "adaptive", "display": "summarized"}, "high"),
    (NEXT, "xhigh", {"type": "adaptive", "display": "summarized"}, "xhigh"), (TODAY, "none", None, None), (NEXT, "none", {"type": "disabled"}, None),
    (BUDGETED, "medium", {"type": "enabled", "budget_tokens": 10_240}, None), (OLD, "high", None, None)])
def test_efforts_become_what_the_generation_takes(model, effort, thinking, level):
    made = encoded(model, reasoning_effort=effort)
    assert made.get("thinking") == thinking
    assert made.get("output_config", {}).get("effort") == level
    assert named(model, reasoning_effort=effort) == ([("reasoning_effort", True)] if model == OLD else [])


def test_a_budget_leaves_room_for_the_answer():
    assert encoded(BUDGETED, reasoning_effort="high")["max_tokens"] == 16_384 + 24_576
    made = encoded(BUDGETED, reasoning_effort="high", max_completion_tokens=5_000)
    assert (made["max_tokens"], made["thinking"]["budget_tokens"]) == (5_000, 4_000)
    assert "thinking" not in encoded(BUDGETED, reasoning_effort="high", max_tokens=1_000)
    assert named(BUDGETED, reasoning_effort="high", max_tokens=1_000) == [("reasoning_effort", True)]


def test_a_forced_tool_rules_thinking_out():
    assert "thinking" not in encoded(BUDGETED, reasoning_effort="low", tools=[TOOL], tool_choice="required")
    made = encoded(TODAY, reasoning_effort="low", tools=[TOOL], tool_choice="required")
    assert ("thinking" not in made, made["output_config"]) == (True, {"effort": "low"})


@pytest.mark.parametrize(("model", "asked", "made", "lost"), [
    (TODAY, {"temperature": 0.5}, {"temperature": 0.5}, []), (TODAY, {"temperature": 1.5}, {}, ["temperature"]),
    (TODAY, {"temperature": 0, "top_p": 1}, {"temperature": 0}, []), (TODAY, {"temperature": 1, "top_p": 0.5}, {"top_p": 0.5}, []),
    (TODAY, {"temperature": 0.2, "top_p": 0.5}, {"temperature": 0.2}, ["top_p"]), (OLD, {"temperature": 0.2, "top_p": 0.5}, {"temperature": 0.2, "top_p": 0.5}, []),
    (NEXT, {"temperature": 0.2, "top_p": 0.9, "top_k": 3}, {}, ["temperature", "top_p", "top_k"]), (NEXT, {"temperature": 1, "top_p": 1}, {}, []),
    (TODAY, {"temperature": 0.2, "reasoning_effort": "low"}, {}, ["temperature"])])
def test_sampling_is_what_the_model_takes(model, asked, made, lost):
    found = encoded(model, **asked)
    assert {name: found[name] for name in ("temperature", "top_p", "top_k") if name in found} == made
    assert [param for param, _ in named(model, **asked)] == lost


@pytest.mark.parametrize(("field", "value", "hint"), [
    ("n", 2, False), ("seed", 1, False), ("logprobs", True, False), ("top_logprobs", 2, False), ("logit_bias", {"1": 1}, False),
    ("frequency_penalty", 0.5, False), ("presence_penalty", 1, False), ("modalities", ["text", "audio"], False), ("audio", {}, False),
    ("functions", [{}], False), ("something_new", 1, False), ("store", True, True), ("prompt_cache_key", "k", True), ("metadata", {"a": "b"}, True),
    ("service_tier", "flex", True), ("verbosity", "low", True), ("stop", ["\n"], False)])
def test_what_has_no_place_is_named(field, value, hint):
    assert named(**{field: value}) == [(field, hint)]
    encoded(**{field: value})


@pytest.mark.parametrize("nothing", [{"n": 1}, {"logprobs": False}, {"frequency_penalty": 0}, {"logit_bias": {}}, {"seed": None}, {"modalities": ["text"]},
                                     {"store": False}, {"response_format": {"type": "text"}}])
def test_what_asks_for_nothing_is_no_loss(nothing):
    assert named(**nothing) == []


def test_the_rest_finds_its_place():
    made = encoded(stop=["END", " "], user="u-1", service_tier="default", top_k=4, max_tokens=9)
    assert made["stop_sequences"] == ["END"]
    assert (made["metadata"], made["service_tier"], made["top_k"], made["max_tokens"]) == ({"user_id": "u-1"}, "standard_only", 4, 9)
    assert encoded(stop="END")["stop_sequences"] == ["END"]
    assert encoded(OLD)["max_tokens"] == 8_192


@pytest.mark.parametrize(("name", "thinking", "sampling"), [
    ("claude-3-opus-20240229", "none", True), ("claude-3-7-sonnet-latest", "budget", True), ("claude-opus-4-20250514", "budget", True),
    ("claude-haiku-4-5", "budget", True), ("anthropic/claude-opus-4.6", "adaptive", True), ("eu.anthropic.claude-opus-4-8-v1:0", "adaptive", False),
    ("claude-mythos-preview", "adaptive", True), ("our-alias", "adaptive", True), ("claude-haiku-5-5", "adaptive", False)])
def test_generations_are_told_by_their_names(name, thinking, sampling):
    assert (traits(name).thinking, traits(name).sampling) == (thinking, sampling)


# --- totality ---------------------------------------------------------------------------------------------------------
FIELDS = ("messages", "tools", "tool_choice", "response_format", "stop", "metadata", "reasoning_effort", "temperature", "top_p", "max_tokens", "user",
          "thinking", "n", "logit_bias", "service_tier", "parallel_tool_calls", "modalities")
NAMES = ("role", "content", "type", "text", "image_url", "url", "file", "file_data", "file_id", "tool_calls", "function", "name", "arguments", "id",
         "tool_call_id", "reasoning_details", "format", "signature", "data", "json_schema", "schema", "properties", "required", "allowed_tools", "tools",
         "cache_control", "parameters", "strict", "$defs", "$ref", "items", "anyOf", "block", "reasoning_content", "refusal")
WORDS = st.sampled_from(["user", "assistant", "system", "tool", "text", "image_url", "file", "function", "json_schema", "json_object", "object", "array",
                         "allowed_tools", "reasoning.text", "anthropic-claude-v1", "anthropic.block", "high", "auto", "#/$defs/text", "#",
                         "data:application/pdf;base64,AA", "data:image/png,AA", "data:text/plain;base64,//8="])
VALUES = st.recursive(st.none() | st.booleans() | st.integers(-2, 2**40) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3) | WORDS,
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5), max_leaves=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine draws slowly
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6), st.sampled_from([OLD, BUDGETED, TODAY, NEXT, "x"]))
def test_whatever_json_is_given_it_is_encoded_and_what_is_lost_is_named(body, model):
    made = orjson.loads(encode(body, model=model, stream=False))
    assert {"model", "messages", "max_tokens"} <= made.keys()
    again = unsupported(body, model)
    assert again == unsupported(body, model)
    assert all(each.param and each.reason for each in again)
