"""Claims: a Messages request means the same in canonical form, and what that lacks is named; an answer becomes the message it stands for,
whole and as events, and a message of Anthropic's becomes itself again; whatever JSON comes, only refusals are raised."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fakes.anthropicvendor.checks import check
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import ChatRequest, Native
from stratarouter_runtime.model.response import ChatEvent, EventKind
from stratarouter_runtime.wire.anthropic_events import MessageEvents
from stratarouter_runtime.wire.anthropic_native import upstream
from stratarouter_runtime.wire.anthropic_parse import parse_messages
from stratarouter_runtime.wire.anthropic_reply import message
from stratarouter_runtime.wire.anthropic_request import encode
from stratarouter_runtime.wire.anthropic_response import completion
from stratarouter_runtime.wire.anthropic_sealed import is_sealed, opened
from stratarouter_runtime.wire.openai_stream import ChatStream, fold

GOLDEN = Path(__file__).parents[2] / "golden" / "wire"
NAMES = sorted(path.stem for path in (GOLDEN / "anthropic").glob("*.sse"))
STREAMS = sorted(path.stem for path in GOLDEN.glob("*.sse") if "two-choices" not in path.stem)
MODEL = "claude-sonnet-4-6"
HI = [{"role": "user", "content": "hi"}]
PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
EVENT = TypeAdapter(RawMessageStreamEvent)


def parsed(**body):
    return parse_messages(json.dumps({"model": MODEL, "max_tokens": 9, "messages": HI, **body}).encode())


def canonical(**body):
    made = dict(parsed(**body).body)
    del made["model"], made["max_tokens"]
    return made


def beyond(**body):
    return [(each.param, each.hint) for each in parsed(**body).native.beyond]


def read(frames):
    """The SDK's own reading of a stream."""
    snapshot, kinds = None, []
    for frame in frames.decode().split("\n\n"):
        if not frame:
            continue
        name, data = frame.split("\n")
        body = json.loads(data.removeprefix("data: "))
        assert name == f"event: {body['type']}"
        kinds.append(body["type"])
        if body["type"] != "ping":
            snapshot = accumulate_event(event=EVENT.validate_python(body), current_snapshot=snapshot, json_bufs=JSON_BUFFERS)
    JSON_BUFFERS.clear()
    return snapshot, kinds


JSON_BUFFERS: dict[int, bytes] = {}


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


# --- requests ---------------------------------------------------------------------------------------------------------
def test_the_smallest_request():
    assert parsed().body == {"model": MODEL, "messages": HI, "max_tokens": 9}
    assert canonical(stream=True)["stream_options"] == {"include_usage": True}
    assert beyond() == []


@pytest.mark.parametrize(("body", "made"), [
    ({"system": "S"}, {"messages": [{"role": "system", "content": "S"}, *HI]}),
    ({"system": [{"type": "text", "text": "S"}, {"type": "text", "text": "T", "cache_control": {"type": "ephemeral"}}]},
     {"messages": [{"role": "system", "content": "S\n\nT"}, *HI]}),
    ({"temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop_sequences": ["X"]},
     {"messages": HI, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop": ["X"]}),
    ({"metadata": {"user_id": "u"}}, {"messages": HI, "user": "u"}), ({"thinking": {"type": "enabled", "budget_tokens": 10_000}},
                                                                   {"messages": HI, "reasoning_effort": "medium"}),
    ({"thinking": {"type": "adaptive"}}, {"messages": HI}), ({"output_config": {"effort": "max"}}, {"messages": HI, "reasoning_effort": "xhigh"}),
    ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, {"messages": HI})])
def test_fields_have_their_place(body, made):
    assert canonical(**body) == made
    assert beyond(**body) == []


def test_tools_and_the_choice_among_them():
    made = canonical(tools=[{"name": "f", "description": "D", "input_schema": {"type": "object"}}],
                     tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert made == {"messages": HI, "tools": [{"type": "function", "function": {"name": "f", "description": "D", "parameters": {"type": "object"}}}],
                    "tool_choice": "required", "parallel_tool_calls": False}
    assert canonical(tools=[{"name": "f", "input_schema": {}}], tool_choice={"type": "tool", "name": "f"})["tool_choice"] == {
        "type": "function", "function": {"name": "f"}}


def test_structured_output_is_strict_where_the_schema_is():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
    made = canonical(output_config={"format": {"type": "json_schema", "schema": schema}})
    assert made["response_format"] == {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    loose = canonical(output_config={"format": {"type": "json_schema", "schema": {**schema, "required": []}}})
    assert "strict" not in loose["response_format"]["json_schema"]


def test_turns_with_tools_images_and_documents():
    made = canonical(messages=[
        {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image", "source": PNG}, {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
                                     {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "JV"}},
                                     {"type": "document", "title": "T", "context": "C", "source": {"type": "text", "media_type": "text/plain", "data": "D"}}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "redacted_thinking", "data": "r"}, {"type": "text", "text": "Looking."},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}, {"type": "tool_use", "id": "t2", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "text", "text": "and?"}, {"type": "tool_result", "tool_use_id": "t1", "content": [
            {"type": "text", "text": "one"}, {"type": "image", "source": PNG}]}, {"type": "tool_result", "tool_use_id": "t2", "content": "not there", "is_error": True}]},
        {"role": "system", "content": "Be quick."}])
    assert made["messages"] == [
        {"role": "user", "content": [
            {"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, {"type": "image_url", "image_url": {"url": "https://x/y"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JV"}}, {"type": "text", "text": "C"}, {"type": "text", "text": "T\n\nD"}]},
        {"role": "assistant", "content": "Looking.", "reasoning_content": "Hm.", "reasoning_details": [
            {"type": "reasoning.text", "text": "Hm.", "signature": "s", "format": "anthropic-claude-v1"}, {"type": "reasoning.encrypted", "data": "r", "format": "anthropic-claude-v1"}],
         "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                        {"id": "t2", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "t1", "content": "one"}, {"role": "tool", "tool_call_id": "t2", "content": "Error: not there"},
        {"role": "user", "content": [{"type": "text", "text": "and?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        {"role": "system", "content": "Be quick."}]


@pytest.mark.parametrize(("body", "names"), [
    ({"cache_control": {"type": "ephemeral"}, "service_tier": "auto"}, [("cache_control", True), ("service_tier", True)]),
    ({"mcp_servers": [], "inference_geo": "eu", "brand_new": 1}, [("mcp_servers", False), ("inference_geo", False), ("brand_new", False)]),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}, 3]}, [("tools[0]", False), ("tools[1]", False)]), ({"max_tokens": 0}, [("max_tokens", False)]),
    ({"output_config": {"format": {"type": "grammar"}}}, [("output_config.format", False)]),
    ({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}, {"type": "container_upload", "file_id": "x"},
                                                {"type": "image", "source": {"type": "file", "file_id": "f"}}]}]},
     [("messages[0].content[0]", False), ("messages[0].content[1]", False), ("messages[0].content[2]", False)])])
def test_what_only_anthropic_can_serve_is_named(body, names):
    assert beyond(**body) == names


@pytest.mark.parametrize(("body", "told"), [
    ({"max_tokens": None}, "max_tokens: Field required"), ({"model": None}, "model: Field required"), ({"messages": []}, "messages: at least one message is required"),
    ({"messages": {}}, "messages: Input should be a valid list"), ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": True}, "max_tokens: Input should be a valid integer"), ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
    ({"stream": 1}, "stream: Input should be a valid boolean"), ({"messages": [1]}, "messages.0: Input should be a valid dictionary"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: Input should be 'user' or 'assistant'"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"), ({"messages": [{"role": "user", "content": [{}]}]}, "messages.0.content.0.type: Field required"),
    ({"tools": [{"name": "f"}], "tool_choice": {"type": "maybe"}}, "tool_choice: Input tag 'maybe' found"), ({"temperature": "hot"}, "temperature: Input should be a valid number")])
def test_refusals_are_in_anthropics_words(body, told):
    with pytest.raises(RequestError) as caught:
        parsed(**body)
    assert caught.value.message.startswith(told)
    assert caught.value.status == 400


def test_headers_of_the_request_are_kept():
    request = parse_messages(b'{"model":"m","messages":[{"role":"user","content":"x"}]}', {"anthropic-beta": "a", "x-api-key": "k"}, counting=True)
    assert request.native.headers == {"anthropic-beta": "a"}


def test_a_translated_request_is_one_that_anthropic_takes():
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
    body = {"system": "S", "tools": [{"name": "f", "input_schema": {"type": "object"}}], "messages": [
        *HI, {"role": "assistant", "content": [call]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}]}]}
    made = json.loads(encode(parsed(**body).body, model=MODEL, stream=False))
    check(made)
    assert made["messages"] == body["messages"]


# --- answers ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_a_message_becomes_itself_again_whole_and_as_events(name):
    """But for the details of its usage that nobody else has, and for where its own tools' blocks stood."""
    told = json.loads((GOLDEN / "anthropic" / f"{name}.message.json").read_text())
    made = message(completion(told, created=1, answered=False))
    expected = {**told, "usage": {**made["usage"]}}
    del expected["usage"], made["usage"]
    expected.get("stop_details", {}).pop("category", None)  # only Anthropic has them
    if name == "search":
        kinds = ["server_tool_use", "web_search_tool_result", "text", "text", "text"]
        assert [block["type"] for block in made["content"]] == kinds
        assert [block for block in made["content"] if block["type"] != "text"] == [block for block in told["content"] if block["type"] != "text"]
        assert [block["citations"] for block in made["content"] if "citations" in block] == [told["content"][3]["citations"]]
    else:
        assert without_nulls(made) == without_nulls(expected)
    whole = message(completion(told, created=1, answered=False))
    snapshot, kinds = read(MessageEvents().replayed(whole))
    assert without_nulls(snapshot.to_dict()) == without_nulls(Message.model_validate(whole).to_dict())
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])


@pytest.mark.parametrize("name", STREAMS)
def test_streams_of_other_vendors_become_the_message_that_their_answer_is(name):
    stream = ChatStream()
    events, error = stream.feed((GOLDEN / f"{name}.sse").read_bytes())
    assert error is None
    events += stream.end()
    writer = MessageEvents()
    snapshot, kinds = read(b"".join([*(writer.feed([event]) for event in events), writer.end()]))
    whole = message(fold(events).body)
    assert without_nulls(snapshot.to_dict()) == without_nulls(Message.model_validate(whole).to_dict())
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == len(whole["content"])
    assert kinds.count("message_stop") == 1


def test_what_other_vendors_want_back_travels_sealed():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "sig"}}}
    detail = {"type": "reasoning.encrypted", "data": "x", "format": "google-gemini-v1"}
    said = {"role": "assistant", "content": None, "reasoning_content": "Hm.", "reasoning_details": [detail], "tool_calls": [call]}
    made = message({"choices": [{"message": said, "finish_reason": "tool_calls"}]})
    assert [block["type"] for block in made["content"]] == ["thinking", "redacted_thinking", "redacted_thinking", "tool_use"]
    turn = {"role": "assistant", "content": made["content"]}
    back = parsed(messages=[*HI, turn])
    assert back.body["messages"][1] == said
    assert [block["type"] for block in json.loads(upstream(back, model=MODEL, stream=False))["messages"][1]["content"]] == ["tool_use"]


@pytest.mark.parametrize("data", ["strata.", "strata.!!", "strata.W10=", "strata." + "W10=" * 3])
def test_what_was_tampered_with_is_not_opened(data):
    block = {"type": "redacted_thinking", "data": data}
    assert is_sealed(block)
    assert opened(block) == {}


def test_late_pieces_of_an_earlier_call_are_not_lost():
    def piece(index, **function):
        return {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, **({"id": f"c{index}"} if "name" in function else {}), "function": function}]}}]}
    chunks = [piece(0, name="f", arguments='{"a"'), piece(1, name="g", arguments="{}"), piece(0, arguments=":1}")]
    writer = MessageEvents()
    snapshot, _ = read(b"".join(writer.feed([event]) for event in map(chunk_event, chunks)) + writer.end())
    assert [block.input for block in snapshot.content] == [{"a": 1}, {}]


def chunk_event(body):
    return ChatEvent(EventKind.CONTENT, orjson.dumps(body), body)


# --- totality ---------------------------------------------------------------------------------------------------------
NAMED = st.sampled_from(["type", "text", "source", "role", "content", "id", "name", "input", "tool_use_id", "data", "media_type", "url", "thinking", "signature",
                         "citations", "enabled", "title", "context", "is_error", "format", "schema", "effort", "budget_tokens", "input_schema", "strict", "user_id",
                         "message", "delta", "index", "finish_reason", "tool_calls", "function", "arguments", "reasoning_content", "reasoning_details", "block",
                         "refusal", "stop_reason", "prompt_tokens", "prompt_tokens_details", "cached_tokens", "start_index", "end_index", "detail", "extra"])
WORDS = st.sampled_from(["text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "search_result", "base64", "user", "assistant", "system",
                         "enabled", "json_schema", "any", "tool", "anthropic-claude-v1", "reasoning.text", "web_search_result_location", "stop", "content_filter", "strata.e30="])
JSON = st.recursive(st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=2) | WORDS,
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMED, inner, max_size=5), max_leaves=12)
FIELDS = st.sampled_from(["system", "tools", "tool_choice", "thinking", "output_config", "metadata", "stop_sequences", "temperature", "mcp_servers", "stream"])
BLOCK = st.builds(lambda kind, rest: {**rest, "type": kind}, WORDS, st.dictionaries(NAMED, JSON, max_size=4))
TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": st.text(max_size=3) | st.lists(BLOCK, max_size=3)})
GENTLY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@GENTLY
@given(st.dictionaries(FIELDS, JSON, max_size=3), st.lists(TURN, min_size=1, max_size=3) | JSON)
def test_whatever_is_asked_only_a_refusal_is_raised(fields, messages):
    try:
        request = parse_messages(orjson.dumps({"model": MODEL, "max_tokens": 5, "messages": messages, **fields}))
    except RequestError:
        return
    orjson.dumps(request.body)
    encode(request.body, model=MODEL, stream=False)
    assert orjson.loads(upstream(request, model=MODEL, stream=True))["stream"] is True
    changed = ChatRequest({**request.body, "messages": [{"role": "system", "content": "P"}, *request.body["messages"]]},
                          native=Native("anthropic", request.native.body, translated=request.native.translated))
    assert orjson.loads(upstream(changed, model=MODEL, stream=False))["system"][0] == {"type": "text", "text": "P"}


@GENTLY
@given(st.dictionaries(NAMED, JSON, max_size=5), JSON)
@example({"tool_calls": True}, None)
def test_whatever_was_answered_becomes_a_message_and_its_events(said, usage):
    body = {"choices": [{"message": said, "finish_reason": said.get("finish_reason")}], "usage": usage}
    whole = message(body)
    assert orjson.loads(orjson.dumps(whole)) == whole
    assert MessageEvents().replayed(whole).endswith(b'data: {"type":"message_stop"}\n\n')


@GENTLY
@given(st.lists(st.dictionaries(NAMED, JSON, max_size=4), max_size=4), JSON)
def test_whatever_is_streamed_the_order_of_events_is_anthropics(deltas, usage):
    writer = MessageEvents()
    written = b"".join(writer.feed([chunk_event({"choices": [{"index": 0, "delta": delta}], "usage": usage})]) for delta in deltas) + writer.end()
    kinds = [json.loads(frame.split("data: ")[1])["type"] for frame in written.decode().split("\n\n") if frame]
    if deltas:
        assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
        assert kinds.count("content_block_start") == kinds.count("content_block_stop")
