"""Claims: what OpenAI's request asks for is asked of Gemini in its own words; what has no place is named, exactly that is left
out, and nothing else is ever raised, whatever JSON comes."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.geminivendor import checks
from stratarouter_runtime.wire.gemini_request import translate, unsupported, upstream_chat
from stratarouter_runtime.wire.openai_chat import check_chat

GOLDEN = Path(__file__).parents[2] / "golden" / "wire" / "gemini"
ASKED = sorted(path.name.removesuffix(".request.json") for path in GOLDEN.glob("*.request.json"))
HI = [{"role": "user", "content": "hi"}]
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def made(model="gemini-2.5-flash", messages=HI, **fields):
    """What is sent; it must be what the vendor takes, with nothing left out."""
    body = check_chat({"model": "m", "messages": messages, **fields}).body
    sent = json.loads(upstream_chat(body, model=model))
    assert unsupported(body) == []
    checks.check_generate(sent, model)
    return sent


def left_out(messages=HI, **fields):
    return [(each.param, each.hint) for each in unsupported({"model": "m", "messages": messages, **fields})]


@pytest.mark.parametrize("name", ASKED)
def test_requests_are_translated_as_recorded(name):
    asked = orjson.loads((GOLDEN / f"{name}.request.json").read_bytes())
    sent = orjson.loads(upstream_chat(check_chat(asked["openai"]).body, model=asked["model"]))
    assert sent == asked["gemini"]
    checks.check_generate(sent, asked["model"])
    assert [each.param for each in unsupported(asked["openai"])] == asked["left_out"]


@pytest.mark.parametrize(("fields", "config"), [
    ({"temperature": 0, "top_p": 0.5, "n": 2}, {"temperature": 0, "topP": 0.5, "candidateCount": 2}),
    ({"max_tokens": 5}, {"maxOutputTokens": 5}), ({"max_tokens": 5, "max_completion_tokens": 7}, {"maxOutputTokens": 7}),
    ({"stop": "x"}, {"stopSequences": ["x"]}), ({"stop": ["x", "y"]}, {"stopSequences": ["x", "y"]}),
    ({"seed": -5, "presence_penalty": 1, "frequency_penalty": -1}, {"seed": -5, "presencePenalty": 1, "frequencyPenalty": -1}),
    ({"logprobs": True, "top_logprobs": 3}, {"responseLogprobs": True, "logprobs": 3}), ({"logprobs": False}, None),
    ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
    ({"response_format": {"type": "text"}}, None),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "object", "$defs": {}}}}},
     {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object", "$defs": {}}}),
    ({"reasoning_effort": "medium"}, {"thinkingConfig": {"thinkingBudget": 8192, "includeThoughts": True}}),
    ({"reasoning_effort": "none"}, {"thinkingConfig": {"thinkingBudget": 0}}),
    ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"thinkingConfig": {"thinkingBudget": 2000, "includeThoughts": True}}),
    ({"thinking": {"type": "disabled"}}, {"thinkingConfig": {"thinkingBudget": 0}}),
    ({"extra_body": {"google": {"thinking_config": {"include_thoughts": True, "thinking_budget": 7}}}},
     {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 7}}),
    ({"modalities": ["text", "image"]}, {"responseModalities": ["TEXT", "IMAGE"]}), ({"modalities": ["text"]}, None),
    ({"parallel_tool_calls": True, "store": False, "service_tier": "auto", "logit_bias": {}, "user": None, "metadata": {}}, None),
    ({"stream": True, "stream_options": {"include_usage": True}}, None)])
def test_parameters(fields, config):
    assert made(**fields).get("generationConfig") == config


@pytest.mark.parametrize(("effort", "model", "config"), [
    ("low", "gemini-3-flash-preview", {"thinkingLevel": "LOW", "includeThoughts": True}),
    ("none", "gemini-3-flash-preview", {"thinkingLevel": "MINIMAL", "includeThoughts": False}),
    ("minimal", "gemini-3-pro-preview", {"thinkingLevel": "LOW", "includeThoughts": True}),
    ("xhigh", "gemini-3.1-pro", {"thinkingLevel": "HIGH", "includeThoughts": True}),
    ("high", "gemini-flash-latest", {"thinkingBudget": 24_576, "includeThoughts": True})])
def test_effort_is_a_level_from_the_third_generation_on(effort, model, config):
    assert made(model, reasoning_effort=effort)["generationConfig"]["thinkingConfig"] == config


@pytest.mark.parametrize(("choice", "mode"), [
    ("auto", {"mode": "AUTO"}), ("none", {"mode": "NONE"}), ("required", {"mode": "ANY"}), (None, None),
    ({"type": "function", "function": {"name": "get_weather"}}, {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}),
    ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [WEATHER]}},
     {"mode": "VALIDATED", "allowedFunctionNames": ["get_weather"]}),
    ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [WEATHER]}},
     {"mode": "ANY", "allowedFunctionNames": ["get_weather"]})])
def test_the_choice_among_tools(choice, mode):
    sent = made(tools=[WEATHER], tool_choice=choice)
    assert sent["tools"] == [{"functionDeclarations": [{"name": "get_weather", "parametersJsonSchema": {"type": "object"}}]}]
    assert sent.get("toolConfig", {}).get("functionCallingConfig") == mode


def test_strict_functions_are_kept_to_their_schema():
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
    assert made(tools=[WEATHER, strict])["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert made(tools=[strict], tool_choice="auto")["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert "toolConfig" not in made("gemini-2.0-flash", tools=[strict])


def test_a_choice_without_tools_is_none():
    assert "toolConfig" not in made(tool_choice="none")


def test_searching_the_web_is_a_tool_of_its_own():
    assert made(web_search_options={})["tools"] == [{"googleSearch": {}}]
    assert left_out(web_search_options={"search_context_size": "low"}) == [("web_search_options.search_context_size", True)]


@pytest.mark.parametrize(("part", "sent"), [
    ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}),
    ({"type": "image_url", "image_url": "data:;base64,AAAA"}, {"inlineData": {"mimeType": "image/jpeg", "data": "AAAA"}}),
    ({"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg%3E"}},
     {"inlineData": {"mimeType": "image/svg+xml", "data": "PHN2Zz4="}}),
    ({"type": "image_url", "image_url": {"url": "data:image/gif;base64,AA%3D%3D"}}, {"inlineData": {"mimeType": "image/gif", "data": "AA=="}}),
    ({"type": "image_url", "image_url": {"url": "https://x.example/a.webp?size=2"}},
     {"fileData": {"mimeType": "image/webp", "fileUri": "https://x.example/a.webp?size=2"}}),
    ({"type": "image_url", "image_url": {"url": "https://x.example/200"}}, {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.example/200"}}),
    ({"type": "image_url", "image_url": {"url": "gs://bucket/a.png"}}, {"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/a.png"}}),
    ({"type": "video_url", "video_url": {"url": "https://www.youtube.com/watch?v=1"}}, {"fileData": {"fileUri": "https://www.youtube.com/watch?v=1"}}),
    ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}, {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}}),
    ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
     {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}}),
    ({"type": "file", "file": {"file_data": "AAAA", "filename": "a.csv"}}, {"inlineData": {"mimeType": "text/csv", "data": "AAAA"}}),
    ({"type": "file", "file": {"file_id": "https://generativelanguage.googleapis.com/v1beta/files/x"}},
     {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x"}})])
def test_media(part, sent):
    assert made(messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, part]}])["contents"] == [
        {"role": "user", "parts": [{"text": "see"}, sent]}]


@pytest.mark.parametrize("part", [
    {"type": "image_url", "image_url": {"url": "ftp://x/a.png"}}, {"type": "image_url"}, {"type": "file", "file": {"file_id": "file-abc"}},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "pcm16"}}, {"type": "hologram"}, {"type": ["text"]}, 5, None])
def test_a_part_that_gemini_cannot_take_is_named(part):
    messages = [{"role": "user", "content": [{"type": "text", "text": "see"}, part]}]
    assert left_out(messages) == [("messages[0].content[1]", False)]
    assert translate({"messages": messages})[0]["contents"] == [{"role": "user", "parts": [{"text": "see"}]}]


@pytest.mark.parametrize(("fields", "expected"), [
    ({"logit_bias": {"5": 1}}, [("logit_bias", False)]), ({"stop": list("abcdef")}, [("stop", False)]), ({"seed": 2**40}, [("seed", False)]),
    ({"top_logprobs": 2}, [("top_logprobs", False)]), ({"audio": {"voice": "x"}, "modalities": ["text", "audio"]}, [("audio", False), ("modalities", False)]),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, [("tools[0]", False)]), ({"tools": [{"type": "function"}]}, [("tools[0]", False)]),
    ({"tool_choice": {"type": "custom"}}, [("tool_choice", False)]), ({"tool_choice": "perhaps"}, [("tool_choice", False)]),
    ({"response_format": {"type": "grammar"}}, [("response_format", False)]), ({"reasoning_effort": "wild"}, [("reasoning_effort", False)]),
    ({"tools": [{"type": "custom", "cache_control": {"type": "ephemeral"}}], "cache_control": {"type": "ephemeral"}},
     [("tools[0]", False), ("cache_control", True)]),
    ({"functions": [{"name": "x"}]}, [("functions", False)]), ({"min_p": 0.1}, [("min_p", False)]), ({"verbosity": "low"}, [("verbosity", True)]),
    ({"extra_body": {"google": {"labels": {}}, "other": 1}}, [("extra_body.other", False), ("extra_body.google.labels", False)]),
    ({"user": "u", "store": True, "metadata": {"a": "b"}, "service_tier": "flex", "parallel_tool_calls": False, "prompt_cache_key": "k",
      "safety_identifier": "s", "prediction": {"type": "content"}},
     [(name, True) for name in ("user", "store", "metadata", "service_tier", "parallel_tool_calls", "prompt_cache_key", "safety_identifier",
                                "prediction")])])
def test_what_has_no_place_is_named_and_left_out(fields, expected):
    assert left_out(**fields) == expected
    assert json.loads(upstream_chat({"messages": HI, **fields}, model="m")) == json.loads(upstream_chat({"messages": HI}, model="m"))


# --- conversations --------------------------------------------------------------------------------------------------------
def turn(*calls, **fields):
    return {"role": "assistant", "content": None, "tool_calls": [
        {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}, **more}
        for ident, name, arguments, more in calls], **fields}


def signed(value):
    return {"extra_content": {"google": {"thought_signature": value}}}


def contents(*messages, model="gemini-2.5-flash"):
    return made(model, messages=list(messages))["contents"]


def test_instructions_of_any_place_are_one():
    sent = made(messages=[{"role": "system", "content": "A"}, *HI, {"role": "developer", "content": [{"type": "text", "text": "B"}]}])
    assert sent["systemInstruction"] == {"parts": [{"text": "A"}, {"text": "B"}]}
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]


def test_instructions_alone_are_what_the_user_says():
    assert made(messages=[{"role": "system", "content": "A"}]) == {"contents": [{"role": "user", "parts": [{"text": "A"}]}]}


def test_calls_and_their_results_are_paired_and_results_of_a_turn_stand_together():
    asked = contents(HI[0], turn(("c1", "f", '{"a":1}', {}), ("c2", "g", "", {})), {"role": "tool", "tool_call_id": "c1", "content": '{"x":1}'},
                     {"role": "tool", "tool_call_id": "c2", "content": "plain"}, {"role": "user", "content": "so?"})
    assert asked[1:] == [
        {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}}, {"functionCall": {"id": "c2", "name": "g", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "f", "response": {"x": 1}}},
                                   {"functionResponse": {"id": "c2", "name": "g", "response": {"output": "plain"}}}]},
        {"role": "user", "parts": [{"text": "so?"}]}]


@pytest.mark.parametrize(("content", "response"), [
    ("[1, 2]", {"output": [1, 2]}), ("7", {"output": "7"}), ("", {"output": ""}), ('{"a":', {"output": '{"a":'}),
    ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], {"output": "ab"})])
def test_a_result_is_an_object(content, response):
    sent = contents(HI[0], turn(("c1", "f", "{}", {})), {"role": "tool", "tool_call_id": "c1", "content": content})
    assert sent[2]["parts"][0]["functionResponse"]["response"] == response


def test_a_tool_that_failed_says_so():
    sent = contents(HI[0], turn(("c1", "f", "{}", {})), {"role": "tool", "tool_call_id": "c1", "content": "no", "is_error": True})
    assert sent[2]["parts"][0]["functionResponse"]["response"] == {"error": "no"}


def test_a_picture_that_a_tool_answers_with_comes_behind_its_result():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    sent = contents(HI[0], turn(("c1", "f", "{}", {})), {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "see"}, picture]})
    assert sent[2]["parts"] == [{"functionResponse": {"id": "c1", "name": "f", "response": {"output": "see"}}},
                                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]


def test_a_result_without_its_call_keeps_its_name_and_is_the_vendors_to_refuse():
    sent, named = translate({"messages": [{"role": "tool", "tool_call_id": "c9", "name": "f", "content": "x"}]})
    assert sent["contents"][0]["parts"][0]["functionResponse"]["name"] == "f"
    assert named == []


@pytest.mark.parametrize(("arguments", "args"), [("not json", {"arguments": "not json"}), ("[1]", {"arguments": "[1]"}), ({"a": 1}, {"a": 1}), (None, {})])
def test_arguments_that_are_no_object_are_kept(arguments, args):
    sent, _ = translate({"messages": [*HI, turn(("c1", "f", arguments, {}))]})
    assert sent["contents"][1]["parts"][0]["functionCall"]["args"] == args


def test_a_call_goes_back_with_its_signature():
    sent = contents(HI[0], turn(("c1", "f", "{}", signed("c2ln")), ("c2", "f", "{}", {})), *(
        {"role": "tool", "tool_call_id": ident, "content": "x"} for ident in ("c1", "c2")), model="gemini-3-flash-preview")
    assert [part.get("thoughtSignature") for part in sent[1]["parts"]] == ["c2ln", None]


def test_a_signature_that_is_only_among_the_details_goes_back_with_its_call():
    """As front doors of other dialects keep it."""
    details = [{"type": "reasoning.encrypted", "data": "c2ln", "id": "c1", "format": "google-gemini-v1"}]
    sent = contents(HI[0], turn(("c1", "f", "{}", {}), reasoning_details=details), {"role": "tool", "tool_call_id": "c1", "content": "x"}, model="gemini-3-flash")
    assert sent[1]["parts"] == [{"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "c2ln"}]


def test_a_text_goes_back_with_its_signature_and_no_other_vendors_is_sent():
    details = [{"type": "reasoning.encrypted", "data": "b3RoZXI=", "format": "anthropic-claude-v1"},
               {"type": "reasoning.encrypted", "data": "c2ln", "format": "google-gemini-v1"}, "odd"]
    sent = contents(HI[0], {"role": "assistant", "content": "yes", "reasoning_content": "hm", "reasoning_details": details}, HI[0])
    assert sent[1]["parts"] == [{"text": "yes", "thoughtSignature": "c2ln"}]
    sent = contents(HI[0], {"role": "assistant", "content": None, "reasoning_details": details}, HI[0])
    assert sent[1]["parts"] == [{"text": "", "thoughtSignature": "c2ln"}]


@pytest.mark.parametrize(("model", "expected"), [("gemini-3-pro-preview", "skip_thought_signature_validator"),
                                                 ("gemini-flash-latest", "skip_thought_signature_validator"), ("gemini-2.5-flash", None)])
def test_a_call_of_another_vendor_is_marked_for_models_that_ask_for_signatures(model, expected):
    sent = contents(HI[0], turn(("c1", "f", "{}", {})), {"role": "tool", "tool_call_id": "c1", "content": "x"}, model=model)
    assert sent[1]["parts"][0].get("thoughtSignature") == expected


def test_a_turn_that_said_nothing_is_no_turn():
    assert [each["role"] for each in contents(HI[0], {"role": "assistant", "content": ""}, HI[0])] == ["user", "user"]


def test_a_refusal_is_what_was_said():
    assert contents(HI[0], {"role": "assistant", "content": None, "refusal": "no"}, HI[0])[1] == {"role": "model", "parts": [{"text": "no"}]}


def test_odd_messages_are_named():
    messages = [*HI, {"role": "king", "content": "x"}, {"role": "user", "content": "x", "name": "Bo"},
                {"role": "assistant", "content": "x", "audio": {"id": "a"}, "tool_calls": [{"type": "custom", "custom": {}}]},
                {"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}]}]
    assert left_out(messages) == [("messages[1].role", False), ("messages[2].name", True), ("messages[3].audio", False),
                                  ("messages[3].tool_calls[0]", False), ("messages[4].content[0]", False)]


# --- whatever comes ---------------------------------------------------------------------------------------------------------
scalars = st.none() | st.booleans() | st.integers(-2**63, 2**63) | st.floats(allow_nan=False) | st.text(max_size=8)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8)
NAMES = ("role", "content", "tool_calls", "tool_call_id", "type", "text", "image_url", "url", "function", "name", "arguments", "input_audio",
         "file", "file_data", "reasoning_details", "extra_content", "google", "data", "format", "json_schema", "schema", "thinking_config")
shaped = st.recursive(scalars | st.sampled_from(["user", "assistant", "tool", "system", "text", "image_url", "file", "input_audio", "function"]),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4), max_leaves=12)
FIELDS = ("messages", "tools", "tool_choice", "response_format", "stop", "seed", "logprobs", "top_logprobs", "modalities", "reasoning_effort",
          "thinking", "extra_body", "web_search_options", "max_tokens", "max_completion_tokens", "parallel_tool_calls", "store", "n")


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=6), shaped | anything, max_size=5))
def test_nothing_is_raised_and_all_of_it_can_be_written(body):
    first = unsupported(body)
    assert first == unsupported(body)
    assert isinstance(orjson.loads(upstream_chat(body, model="gemini-3-flash")), dict)


@given(st.dictionaries(st.text(min_size=1, max_size=12), anything.filter(lambda value: value is not None), min_size=1, max_size=3))
def test_no_unknown_parameter_is_lost_in_silence(fields):
    unknown = {f"x_{name}": value for name, value in fields.items()}
    assert {each.param for each in unsupported({"messages": HI, **unknown})} == set(unknown)
