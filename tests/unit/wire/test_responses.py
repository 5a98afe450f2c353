"""The Responses API's codec: total, and true both ways. What SDKs make of it is in ``contract/http/test_responses.py``."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stratarouter_runtime.model.errors import ExecutionError, Failure, RequestError
from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.model.response import ChatEvent, EventKind
from stratarouter_runtime.wire import responses_native
from stratarouter_runtime.wire.answers import AnswerError
from stratarouter_runtime.wire.openai_chat import check_chat
from stratarouter_runtime.wire.responses_events import ResponseEvents
from stratarouter_runtime.wire.responses_items import OPENAI, pack, unpack
from stratarouter_runtime.wire.responses_request import check_responses
from stratarouter_runtime.wire.responses_response import completion, read_response, response_object
from stratarouter_runtime.wire.responses_stream import ResponsesStream

FIELDS = ["input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "metadata", "store", "stream", "truncation",
          "max_output_tokens", "top_logprobs", "x_new", "prompt", "output", "status", "usage", "error", "incomplete_details", "created_at"]
KINDS = ["message", "function_call", "function_call_output", "reasoning", "item_reference", "input_text", "output_text", "input_image", "refusal",
         "input_file", "function", "web_search", "json_schema", "summary_text", "user", "assistant", "system", "tool"]
NAMES = ["type", "role", "content", "text", "call_id", "name", "arguments", "output", "summary", "encrypted_content", "image_url", "id", "refusal",
         "file_id", "schema", "format", "effort", "annotations", "item", "delta", "response", "output_index"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5) | st.sampled_from(KINDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5), max_leaves=12)
bodies = st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6)
event_types = st.sampled_from([f"response.{name}" for name in (
    "created", "output_item.added", "output_item.done", "output_text.delta", "refusal.delta", "reasoning_summary_text.delta", "completed",
    "function_call_arguments.delta", "output_text.annotation.added", "failed", "incomplete")] + ["error", "ping"])


def asked(items: Any, **fields: Any) -> ChatRequest:
    return check_responses({"model": "m", "input": items, **fields})


def messages(items: Any, **fields: Any) -> list[Any]:
    found: list[Any] = asked(items, **fields).body["messages"]
    return found


def chunk(delta: dict[str, Any], finish: str | None = None, kind: EventKind = EventKind.CONTENT, **more: Any) -> ChatEvent:
    body = {"id": "c", "model": "vendors-model", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}
    return ChatEvent(kind, orjson.dumps(body), body)


def events_of(frames: bytes) -> list[dict[str, Any]]:
    found = []
    for framed in frames.decode().split("\n\n")[:-1]:
        name, data = framed.split("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


# --- requests -------------------------------------------------------------------------------------------------------------


@given(bodies)
@example({"input": [{"role": ["user"], "content": "x"}]})
@example({"input": [{"type": ["message"]}]})
@example({"input": [{"role": "user", "content": [{"type": ["input_text"]}]}], "tools": [{"type": ["function"]}], "text": {"format": {"type": []}}})
def test_any_json_is_a_request_or_refused_by_name(body: dict[str, Any]) -> None:
    """And what it becomes is a chat that the chat's own door would take."""
    before = orjson.dumps(body)
    try:
        request = check_responses({**body, "model": "m"})
    except RequestError:
        pass
    else:
        if request.body["messages"]:
            check_chat(request.body)
        responses_native.upstream(request, model="o3", stream=True)
    assert orjson.dumps(body) == before


def test_every_field_that_a_chat_has_no_place_for_is_named() -> None:
    """Hints where they do not change what is asked."""
    native = asked("x", truncation="auto", max_tool_calls=3, x_new=1, reasoning={"summary": "auto"}, include=["web_search_call.action.sources"],
                   tools=[{"type": "function", "name": "f"}, {"type": "web_search"}], text={"x": 1, "format": {"type": "grammar"}}).native
    assert native is not None
    assert [(each.param, each.hint) for each in native.beyond] == [
        ("reasoning.summary", True), ("text.x", False), ("text.format", False), ("tools[1]", False), ("include[0]", True), ("truncation", True),
        ("max_tool_calls", True), ("x_new", False)]


CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "r"}


@pytest.mark.parametrize(("items", "roles"), [
    ([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}], ["assistant", "assistant"]),
    ([{"role": "assistant", "content": "a"}, CALL, RESULT], ["assistant", "tool"]), ([CALL, RESULT, CALL, RESULT], ["assistant", "tool"] * 2),
    ([CALL, {"role": "assistant", "content": "a"}, RESULT], ["assistant", "tool"]),
    ([{"type": "reasoning", "summary": []}, CALL, RESULT], ["assistant", "tool"]), ([{"type": "reasoning", "summary": []}], [])])
def test_what_belongs_to_one_turn_is_one_message(items: list[Any], roles: list[str]) -> None:
    """A chat wants the results right after the message with the calls."""
    made = messages([*items, {"role": "user", "content": "x"}])
    assert [each["role"] for each in made] == [*roles, "user"]


@given(st.lists(json_values, min_size=1, max_size=3))
def test_what_a_vendor_wants_back_survives_the_way_through_the_client(details: list[Any]) -> None:
    """Whatever it is."""
    sealed = pack(details)
    assert sealed is not None
    assert unpack(sealed) == details


def test_openais_own_sealed_thoughts_are_passed_on_as_they_are() -> None:
    """They mean something to OpenAI alone."""
    (detail,) = unpack("gAAAA", "rs_1")
    assert detail == {"type": "reasoning.encrypted", "format": OPENAI, "id": "rs_1", "data": "gAAAA"}
    assert pack([detail]) == "gAAAA"


@pytest.mark.parametrize("sealed", ["strata1.", "strata1.?", "strata1.e30=", "", None, 5])
def test_broken_seals_hold_nothing(sealed: Any) -> None:
    assert unpack(sealed) == []


def test_a_body_that_was_changed_otherwise_is_not_sent_as_it_came() -> None:
    """Prompts at the front, metadata and the limit are carried over; anything else is not known to be."""
    request = asked([{"role": "user", "content": "x"}], max_output_tokens=9)
    system = {"role": "system", "content": "Be kind."}
    changed = request.with_body({**request.body, "messages": [system, *request.body["messages"]], "max_tokens": 5, "metadata": {"a": "b"}})
    assert responses_native.carries(changed)
    sent = orjson.loads(responses_native.upstream(changed, model="gpt-4o", stream=False))
    assert (sent["instructions"], sent["max_output_tokens"], sent["metadata"]) == ("Be kind.", 5, {"a": "b"})
    for body in ({**request.body, "seed": 1}, {**request.body, "messages": [{"role": "user", "content": "y"}]}, {**request.body, "messages": []}):
        assert not responses_native.carries(request.with_body(body))


# --- streams of ours --------------------------------------------------------------------------------------------------------


deltas = st.sampled_from([
    {"role": "assistant", "content": ""}, {"content": "a "}, {"content": "b"}, {"refusal": "no"}, {"reasoning_content": "hm"},
    {"reasoning_details": [{"signature": "s"}]}, {"tool_calls": [{"index": 0, "id": "c0", "function": {"name": "f", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, {"tool_calls": [{"index": 1, "id": "c1", "function": {"name": "g", "arguments": "[]"}}]},
    {"annotations": [{"type": "url_citation", "url_citation": {"url": "https://x", "title": "t", "start_index": 0, "end_index": 1}}]}])


@given(st.lists(deltas, max_size=12), st.sampled_from(["stop", "length", "tool_calls", "content_filter", None]))
def test_all_that_begins_ends_before_the_response_does(said: list[dict[str, Any]], finish: str | None) -> None:
    """Numbers without a gap, items in their places, and a last event that has what the deltas said."""
    events = ResponseEvents({"model": "m"}, created=1)
    frames = b"".join(events.feed([chunk(each)]) for each in said)
    frames += events.feed([chunk({}, finish, EventKind.FINISH), chunk({}, kind=EventKind.USAGE, usage={"prompt_tokens": 2, "completion_tokens": 3})])
    got = events_of(frames + events.end(now=2))
    assert [each["sequence_number"] for each in got] == list(range(len(got)))
    assert [each["type"] for each in got[:2]] == ["response.created", "response.in_progress"]
    last = got[-1]["response"]
    assert got[-1]["type"] == f"response.{last['status']}" == ("response.incomplete" if finish in ("length", "content_filter") else "response.completed")
    added = {each["output_index"]: each["item"]["id"] for each in got if each["type"] == "response.output_item.added"}
    done = {each["output_index"]: each["item"] for each in got if each["type"] == "response.output_item.done"}
    assert [done[index] for index in sorted(done)] == last["output"]
    assert added == {index: item["id"] for index, item in enumerate(last["output"])}
    assert last["usage"]["total_tokens"] == 5
    for kind, field in (("output_text", "text"), ("refusal", "refusal")):
        spoken = "".join(each["delta"] for each in got if each["type"] == f"response.{kind}.delta")
        kept = "".join(part[field] for item in last["output"] if item["type"] == "message" for part in item["content"] if part["type"] == kind)
        assert spoken == kept
    assert not any(item.get("status") == "in_progress" for item in last["output"])


odd = st.dictionaries(st.sampled_from(["content", "refusal", "reasoning_content", "reasoning_details", "tool_calls", "annotations", "index",
                                       "id", "function", "name", "arguments", "type", "url_citation"]), json_values, max_size=4)


@given(odd, json_values)
@example({"tool_calls": [{"index": [0], "function": "f"}]}, {"content": 5})
def test_odd_deltas_break_no_stream(delta: dict[str, Any], logprobs: Any) -> None:
    """Vendors send odd things beside what is read."""
    event = ChatEvent(EventKind.CONTENT, b"", {"choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": logprobs}]})
    events = ResponseEvents({"model": "m"}, created=1)
    got = events_of(events.feed([event]) + events.end(now=2))
    assert [each["sequence_number"] for each in got] == list(range(len(got)))


def test_a_broken_stream_ends_with_a_failed_response_and_an_error() -> None:
    """SDKs raise on the last one."""
    events = ResponseEvents({"model": "m"}, created=1)
    frames = events.feed([chunk({"content": "Half"})])
    got = events_of(frames + events.fail(ExecutionError("AllLimited", "wait", status=429)))
    assert [each["type"] for each in got[-2:]] == ["response.failed", "error"]
    assert got[-2]["response"]["error"] == {"code": "rate_limit_exceeded", "message": "wait"}
    assert got[-1]["error"]["code"] == got[-1]["code"] == "all_limited"


# --- answers and streams of a vendor ----------------------------------------------------------------------------------------


def whole(*output: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "created_at": 5, "model": "m", "status": "completed", "output": list(output),
            "usage": {"input_tokens": 7, "input_tokens_details": {"cached_tokens": 3}, "output_tokens": 2,
                      "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 9}, **fields}


SAID = {"type": "message", "id": "msg_1", "role": "assistant", "content": [
    {"type": "output_text", "text": "Yes.", "annotations": [{"type": "url_citation", "url": "https://x", "title": "t", "start_index": 0, "end_index": 1}]}]}


def test_a_vendors_response_is_a_completion() -> None:
    """Text, thoughts, calls, citations, usage."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "gAAA"}
    raw = orjson.dumps(whole(thought, SAID, {**CALL, "id": "fc_1"}))
    answer = read_response(raw)
    message = answer.body["choices"][0]["message"]
    assert answer.native == raw
    assert (message["content"], message["reasoning_content"], message["tool_calls"][0]["id"], answer.finish_reason) == ("Yes.", "Hm.", "c", "tool_calls")
    assert message["reasoning_details"][0]["data"] == "gAAA"
    assert answer.usage is not None
    assert (answer.usage.input, answer.usage.output, answer.usage.cached) == (7, 2, 3)


@pytest.mark.parametrize(("fields", "finish"), [
    ({}, "stop"), ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
    ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"), ({"status": "incomplete"}, "length")])
def test_why_it_ended(fields: dict[str, Any], finish: str) -> None:
    assert completion(whole(SAID, **fields))["choices"][0]["finish_reason"] == finish


def test_a_response_that_failed_is_an_error_in_the_vendors_words() -> None:
    with pytest.raises(AnswerError) as caught:
        read_response(orjson.dumps(whole(status="failed", error={"code": "rate_limit_exceeded", "message": "slow down"})))
    assert (caught.value.vendor.code, caught.value.vendor.message) == ("rate_limit_exceeded", "slow down")


@given(bodies)
def test_any_json_is_an_answer_or_broken(body: dict[str, Any]) -> None:
    """And an answer can be told as a response again."""
    try:
        answer = read_response(orjson.dumps(body))
    except AnswerError:
        return
    response_object({"model": "m"}, answer.body, created=1)


def stream_of(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: " + str(each["type"]).encode() + b"\r\ndata: " + orjson.dumps(each) + b"\r\n\r\n" for each in events)


STREAM = stream_of(
    {"type": "response.created", "sequence_number": 0, "response": whole(status="in_progress")},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "msg_1"}},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "Grüße"}, {"type": "response.brand_new", "x": 1},
    {"type": "response.output_item.added", "output_index": 1, "item": {**CALL, "arguments": ""}},
    {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{}"},
    {"type": "response.completed", "response": whole(SAID)})


@given(st.lists(st.integers(1, len(STREAM)), max_size=6))
def test_any_split_of_a_stream_gives_the_same_events(cuts: list[int]) -> None:
    """Every event is passed on, each exactly once, known or not."""
    places = [0, *sorted(set(cuts)), len(STREAM)]
    stream = ResponsesStream()
    got: list[ChatEvent] = []
    for start, end in itertools.pairwise(places):
        got += stream.feed(STREAM[start:end])[0]
    assert b"".join(each.native for each in got) == STREAM.replace(b"\r\n", b"\n")
    kinds = [each.kind.name for each in got]
    assert kinds == ["PREAMBLE", "PREAMBLE", "CONTENT", "PREAMBLE", "CONTENT", "CONTENT", "FINISH", "USAGE", "DONE"]
    assert stream.done


def test_a_stream_without_its_last_event_is_truncated() -> None:
    stream = ResponsesStream()
    stream.feed(STREAM[:-60])
    with pytest.raises(AnswerError) as caught:
        stream.end()
    assert caught.value.failure is Failure.TRUNCATED


@pytest.mark.parametrize("event", [
    {"type": "error", "code": "server_error", "message": "sorry", "param": None},
    {"type": "error", "error": {"type": "server_error", "code": "server_error", "message": "sorry"}},
    {"type": "response.failed", "response": whole(status="failed", error={"code": "server_error", "message": "sorry"})}])
def test_an_error_in_mid_stream_is_the_vendors(event: dict[str, Any]) -> None:
    """As documented, as sent, and as a response that failed."""
    events, error = ResponsesStream().feed(stream_of(event))
    assert events == []
    assert error is not None
    assert (error.vendor.code, error.vendor.message) == ("server_error", "sorry")


@given(event_types, json_values)
def test_any_event_is_read_or_broken(kind: str, fields: Any) -> None:
    """Nothing but our error comes out."""
    body = {**(fields if isinstance(fields, dict) else {"delta": fields}), "type": kind}
    events, _ = ResponsesStream().feed(stream_of(body))
    assert all(isinstance(each, ChatEvent) for each in events)
