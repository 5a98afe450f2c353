"""Claims: an answer of Anthropic's means the same whole and streamed, whatever the split of its bytes; a stream that is cut off is
never whole; what is no answer is an ``AnswerError`` and nothing else; native events are the vendor's own."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.anthropicvendor import Reply, bodies, text, tool_use
from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.model.response import EventKind, Usage
from stratarouter_runtime.wire.answers import AnswerError
from stratarouter_runtime.wire.anthropic_errors import parse_error
from stratarouter_runtime.wire.anthropic_response import read_message
from stratarouter_runtime.wire.anthropic_stream import MessageStream
from stratarouter_runtime.wire.openai_stream import fold

GOLDEN = Path(__file__).parents[2] / "golden" / "wire" / "anthropic"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.sse"))
NOW = 1_732_000_000
ANSWER = tool_use("strata_structured_answer", {"sum": 51})


def stream_of(name):
    return (GOLDEN / f"{name}.sse").read_bytes()


def events_of(*chunks, **terms):
    stream = MessageStream(created=NOW, **terms)
    events = []
    for chunk in chunks:
        batch, error = stream.feed(chunk)
        events += batch
        if error is not None:
            raise error
    return events + stream.end()


def written(reply):
    return b"".join(bodies.events(reply, number=1, model="claude-x", asked=5))


def plain(body):
    """Without what only one of the two forms says."""
    choice = body["choices"][0]
    message = {name: value for name, value in choice["message"].items() if value is not None}
    for call in message.get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return {**body, "choices": [{**choice, "message": message}]}


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_answer_is_the_completion_it_stands_for(name):
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    read = read_message((GOLDEN / f"{name}.message.json").read_bytes(), created=NOW)
    assert read.body == expected == orjson.loads(read.raw)
    assert read.usage == Usage(input=expected["usage"]["prompt_tokens"], output=expected["usage"]["completion_tokens"],
                               cached=expected["usage"]["prompt_tokens_details"]["cached_tokens"],
                               stored=expected["usage"].get("prompt_tokens_details", {}).get("cache_creation_tokens", 0))
    assert plain(fold(events_of(stream_of(name))).body) == plain(expected)


@settings(deadline=None)
@given(st.sampled_from(NAMES), st.lists(st.integers(0, 3000), max_size=10), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans())
def test_any_split_gives_the_same_events(name, cuts, end, native):
    raw = stream_of(name).replace(b"\n", end)
    places = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[start:stop] for start, stop in itertools.pairwise(places)]
    assert events_of(*pieces, native=native) == events_of(raw, native=native)


@pytest.mark.parametrize("name", NAMES)
def test_comments_blank_events_and_unknown_ones_say_nothing(name):
    noise = b': hello\n\n\n\nevent: brand_new\ndata: {"type":"brand_new"}\n\n'
    noisy = stream_of(name).replace(b"\n\n", b"\n\n" + noise)
    assert events_of(noisy) == events_of(stream_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_each_event_has_its_bytes_and_its_meaning_alike(name):
    for event in events_of(stream_of(name)):
        assert event.kind is EventKind.DONE or orjson.loads(event.raw) == event.body


@pytest.mark.parametrize("name", NAMES)
def test_native_events_are_the_vendors_own_and_all_of_them(name):
    raw = stream_of(name)
    events = events_of(raw, native=True)
    assert b"".join(event.native for event in events) == raw
    assert [(event.raw, event.kind) for event in events if event.raw] == [(event.raw, event.kind) for event in events_of(raw)]


@settings(deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 10_000))
def test_a_stream_that_is_cut_off_is_never_whole(name, cut):
    raw = stream_of(name)
    stop = raw.index(b"event: message_stop")
    with pytest.raises(AnswerError) as caught:
        events_of(raw[:cut % stop])
    assert caught.value.failure is Failure.TRUNCATED


def test_nothing_after_the_end_is_read():
    raw = stream_of("text")
    assert events_of(raw + b"data: nonsense\n\n", raw) == events_of(raw)


def test_content_begins_where_the_model_says_something():
    kinds = [event.kind for event in events_of(stream_of("tools"))]
    assert kinds[0] is EventKind.PREAMBLE
    assert EventKind.CONTENT in kinds
    assert kinds[-3:] == [EventKind.FINISH, EventKind.USAGE, EventKind.DONE]


@pytest.mark.parametrize(("body", "failure", "kind"), [
    (b"", Failure.BAD_RESPONSE, ""), (b"[]", Failure.BAD_RESPONSE, ""), (b"{", Failure.BAD_RESPONSE, ""), (b'{"content":"x"}', Failure.BAD_RESPONSE, ""),
    (b'{"content":["x"]}', Failure.BAD_RESPONSE, ""), (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', None, "overloaded_error"),
    (b'{"error":{"type":"api_error","message":"oops"}}', None, "api_error")])
def test_what_is_no_message_is_an_error(body, failure, kind):
    with pytest.raises(AnswerError) as caught:
        read_message(body, created=NOW)
    assert (caught.value.failure, caught.value.vendor.type) == (failure, kind)


@pytest.mark.parametrize(("payload", "failure", "kind"), [
    (b"nonsense", Failure.BAD_RESPONSE, ""), (b"[1]", Failure.BAD_RESPONSE, ""), (b"{}", Failure.BAD_RESPONSE, ""), (b'{"type":7}', Failure.BAD_RESPONSE, ""),
    (b'{"type":"message_start"}', Failure.BAD_RESPONSE, ""), (b'{"type":"content_block_delta","delta":{"type":"text_delta","text":1}}', Failure.BAD_RESPONSE, ""),
    (b'{"type":"content_block_delta","delta":{}}', Failure.BAD_RESPONSE, ""), (b'{"type":"content_block_start","content_block":7}', Failure.BAD_RESPONSE, ""),
    (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded","details":{"error_code":"busy"}}}', None, "overloaded_error"),
    (b'{"error":{"type":"rate_limit_error","message":"slow"}}', None, "rate_limit_error"), (b'{"type":"error"}', None, "")])
def test_an_event_that_is_none_ends_the_stream(payload, failure, kind):
    """What came before it is still given out."""
    start = stream_of("text").partition(b"event: content_block_stop")[0]
    stream = MessageStream(created=NOW)
    batch, error = stream.feed(start + b"data: " + payload + b"\n\n")
    assert [event.kind for event in batch][:2] == [EventKind.PREAMBLE, EventKind.CONTENT]
    assert (error.failure, error.vendor.type) == (failure, kind)


def test_an_event_without_end_is_refused():
    stream = MessageStream(created=NOW, max_event=100)
    assert stream.feed(b"data: " + b"x" * 200)[1].failure is Failure.BAD_RESPONSE


@pytest.mark.parametrize(("reason", "finish"), [
    ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("tool_use", "tool_calls"), ("refusal", "content_filter"),
    ("pause_turn", "length"), ("model_context_window_exceeded", "length"), ("unheard_of", "stop")])
def test_stop_reasons(reason, finish):
    reply = Reply((text("x"),), stop_reason=reason)
    whole = read_message(bodies.message(reply, number=1, model="m", asked=1), created=NOW)
    assert whole.finish_reason == fold(events_of(written(reply))).finish_reason == finish


@pytest.mark.parametrize("blocks", [(ANSWER,), (text(""), ANSWER)])
def test_a_structured_answer_through_a_tool_is_the_answers_text(blocks):
    reply = Reply(blocks)
    whole = read_message(bodies.message(reply, number=1, model="m", asked=1), created=NOW, answered=True)
    streamed = fold(events_of(written(reply), answered=True))
    assert (json.loads(whole.text), json.loads(streamed.text)) == ({"sum": 51}, {"sum": 51})
    assert "tool_calls" not in whole.body["choices"][0]["message"]
    assert (whole.finish_reason, streamed.finish_reason) == ("stop", "stop")


def test_beside_another_call_it_is_a_turn_of_calls():
    reply = Reply((tool_use("f", {"a": 1}),))
    for response in (read_message(bodies.message(reply, number=1, model="m", asked=1), created=NOW, answered=True),
                     fold(events_of(written(reply), answered=True))):
        assert response.finish_reason == "tool_calls"
        assert response.body["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"


def test_a_call_that_comes_whole_with_its_start():
    start = orjson.dumps({"type": "content_block_start", "index": 0, "content_block": tool_use("f", {"a": 1})})
    raw = b"data: " + start + b'\n\ndata: {"type":"content_block_stop","index":0}\n\n'
    batch, error = MessageStream(created=NOW).feed(raw)
    assert error is None
    assert "".join(event.body["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for event in batch) == '{"a":1}'


@pytest.mark.parametrize(("raw", "kind", "code", "message"), [
    (b'{"type":"error","error":{"type":"invalid_request_error","message":"bad","details":{"error_code":"x_y"}},"request_id":"r"}', "invalid_request_error", "x_y", "bad"),
    (b'{"type":"error","error":{"type":"api_error","message":"m","details":null}}', "api_error", "", "m"), (b"<html>", "", "", ""), (b"[]", "", "", ""),
    (b'{"message":"from a proxy"}', "", "", "from a proxy")])
def test_errors_are_read(raw, kind, code, message):
    found = parse_error(raw)
    assert (found.type, found.code, found.message) == (kind, code, message)


KINDS = st.sampled_from(["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "ping", "error", "text",
                         "text_delta", "thinking", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta", "tool_use", "redacted_thinking",
                         "refusal", "end_turn", "strata_structured_answer"])
FIELDS = st.sampled_from(["type", "message", "index", "content_block", "delta", "usage", "text", "thinking", "signature", "partial_json", "citation", "id",
                          "name", "input", "stop_reason", "stop_sequence", "stop_details", "content", "model", "input_tokens", "error", "citations",
                          "output_tokens_details", "service_tier", "url", "data", "explanation"])
JSON = st.recursive(st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=2) | KINDS,
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5), max_leaves=10)
BODY = st.dictionaries(FIELDS, JSON, max_size=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BODY, st.booleans())
def test_whatever_json_is_answered_only_an_answer_error_is_raised(body, answered):
    try:
        response = read_message(orjson.dumps(body), created=NOW, answered=answered)
    except AnswerError:
        return
    assert orjson.loads(response.raw) == response.body


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.builds(lambda kind, rest: {**rest, "type": kind}, KINDS, BODY), max_size=4), st.booleans(), st.booleans())
def test_whatever_events_come_only_an_answer_error_is_raised(events, answered, native):
    stream = MessageStream(created=NOW, answered=answered, native=native)
    for event in events:
        batch, error = stream.feed(b"data: " + orjson.dumps(event) + b"\n\n")
        for each in batch:
            assert not each.raw or each.kind is EventKind.DONE or orjson.loads(each.raw) == each.body
        if error is not None:
            return
