"""Claims: what Gemini answers, whole or streamed and in any split of its bytes, is the same completion; a cut stream is never
whole; a blocked prompt, an error and an answer without an answer are errors that say so; nothing else is ever raised."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.model.response import EventKind, Usage
from stratarouter_runtime.wire.answers import AnswerError
from stratarouter_runtime.wire.gemini_request import upstream_chat
from stratarouter_runtime.wire.gemini_response import read_chat
from stratarouter_runtime.wire.gemini_stream import GeminiStream
from stratarouter_runtime.wire.openai_stream import fold

GOLDEN = Path(__file__).parents[2] / "golden" / "wire" / "gemini"
STREAMS = sorted(path.stem for path in GOLDEN.glob("*.sse"))
PREAMBLE, CONTENT, FINISH, USAGE, DONE = EventKind
NOW = 1_732_000_000


def stream(**fields):
    return GeminiStream(**{"id": "none", "model": "none", "created": NOW, "choices": 2, **fields})


def events_of(*chunks):
    reading = stream()
    events = []
    for chunk in chunks:
        batch, error = reading.feed(chunk)
        events += batch
        if error is not None:
            raise error
    return events + reading.end()


def frames(*events):
    return b"".join(b"data: " + orjson.dumps(event) + b"\r\n\r\n" for event in events)


def event(*parts, finish=None, **more):
    candidate = {"content": {"parts": list(parts), "role": "model"}, **({"finishReason": finish} if finish else {}), **more}
    return {"candidates": [candidate], "responseId": "r", "modelVersion": "m"}


def whole(body):
    return read_chat(orjson.dumps(body), id="none", model="none", created=NOW, choices=2)


def failed(read, *args):
    with pytest.raises(AnswerError) as caught:
        read(*args)
    return caught.value


# --- recorded -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_folds_into_the_completion_recorded(name):
    events = events_of((GOLDEN / f"{name}.sse").read_bytes())
    assert fold(events).body == orjson.loads((GOLDEN / f"{name}.json").read_bytes())
    assert [each.kind for each in events[-2:]] == [USAGE, DONE]
    assert all(orjson.loads(each.raw) == each.body for each in events[:-1])


@pytest.mark.parametrize("name", STREAMS)
def test_any_split_of_the_bytes_gives_the_same_events(name):
    raw = (GOLDEN / f"{name}.sse").read_bytes()
    expected = [each.raw for each in events_of(raw)]
    for size in (1, 7, 64):
        assert [each.raw for each in events_of(*(raw[start:start + size] for start in range(0, len(raw), size)))] == expected
    assert [each.raw for each in events_of(raw.replace(b"\r\n", b"\n"))] == expected
    assert [each.raw for each in events_of(b": hi\r\n\r\n" + raw.replace(b"data:", b":\r\nid: 1\r\ndata:"))] == expected


@given(st.sampled_from(STREAMS), st.lists(st.integers(0, 3000), max_size=6))
def test_cuts_at_any_place_change_nothing(name, cuts):
    raw = (GOLDEN / f"{name}.sse").read_bytes()
    places = [0, *sorted(cut % len(raw) for cut in cuts), len(raw)]
    assert fold(events_of(*(raw[start:end] for start, end in itertools.pairwise(places)))).body == orjson.loads((GOLDEN / f"{name}.json").read_bytes())


@pytest.mark.parametrize("name", STREAMS)
def test_a_list_of_events_is_the_same_answer(name):
    """As it comes without ``alt=sse``."""
    raw = (GOLDEN / f"{name}.sse").read_bytes()
    events = [orjson.loads(line.removeprefix(b"data: ")) for line in raw.split(b"\r\n\r\n") if line]
    assert whole(events).body == orjson.loads((GOLDEN / f"{name}.json").read_bytes())


@pytest.mark.parametrize("name", STREAMS)
@given(data=st.data())
def test_a_stream_that_is_cut_is_never_whole(name, data):
    """Wherever it is cut: before the last finish reason an error; the answer is never taken for another."""
    raw = (GOLDEN / f"{name}.sse").read_bytes()
    last = raw.rindex(b"data: ")
    cut = data.draw(st.integers(0, len(raw) - 5))
    error = failed(events_of, raw[:cut])
    assert error.failure is Failure.TRUNCATED
    assert cut < last or b"finishReason" in raw[last:]


# --- what a conversation needs ------------------------------------------------------------------------------------------------
def test_what_was_thought_and_called_goes_back_as_it_came():
    message = orjson.loads((GOLDEN / "tools.json").read_bytes())["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "x"} for call in message["tool_calls"]]
    sent = orjson.loads(upstream_chat({"messages": [{"role": "user", "content": "hi"}, message, *results]}, model="gemini-3-pro-preview"))
    assert sent["contents"][1]["parts"] == [
        {"functionCall": {"id": "8f2b1c3e", "name": "get_weather", "args": {"city": "Köln", "days": 2}}, "thoughtSignature": "EtMCCtACAb4+9vtP5hQ="},
        {"functionCall": {"id": "91aa07d2", "name": "get_time", "args": {"zone": "CET"}}}]
    thought = orjson.loads((GOLDEN / "thoughts.json").read_bytes())["choices"][0]["message"]
    sent = orjson.loads(upstream_chat({"messages": [thought, {"role": "user", "content": "so?"}]}, model="gemini-3-pro-preview"))
    assert sent["contents"][0]["parts"] == [{"text": "It is 51.", "thoughtSignature": "EjQKMgG+Pvb7kq0b6hTq3p1cW9Zl2u0w7xQmTt5vYj0="}]


def test_calls_without_a_name_of_their_own_get_one_that_stays():
    def ids(read):
        return [call["id"] for call in read.body["choices"][0]["message"]["tool_calls"]]
    first, second = ({"functionCall": {"name": name, "args": {}}} for name in ("f", "f"))
    assert ids(whole(event(first, second, finish="STOP"))) == ids(fold(events_of(frames(event(first), event(second, finish="STOP")))))
    assert len(set(ids(whole(event(first, second, finish="STOP"))))) == 2
    assert ids(whole({**event(first, finish="STOP"), "responseId": "other"})) != ids(whole(event(first, finish="STOP")))


def test_events_carry_the_role_once_and_finish_last():
    events = events_of(frames(event(), event({"text": "a"}), event({"text": "b"}, finish="STOP"), event({"text": "c"})))
    assert [(each.kind, each.body["choices"][0]["delta"] if each.body else None) for each in events] == [
        (PREAMBLE, {"role": "assistant", "content": ""}), (CONTENT, {"content": "a"}), (CONTENT, {"content": "b"}), (CONTENT, {"content": "c"}),
        (FINISH, {}), (DONE, None)]


@pytest.mark.parametrize(("reason", "finish"), [
    ("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"), ("SPII", "content_filter"),
    ("BLOCKLIST", "content_filter"), ("PROHIBITED_CONTENT", "content_filter"), ("LANGUAGE", "content_filter"), ("IMAGE_SAFETY", "content_filter"),
    ("MODEL_ARMOR", "content_filter"), ("OTHER", "stop"), ("SOMETHING_NEW", "stop"), ("MALFORMED_FUNCTION_CALL", "stop")])
def test_finish_reasons(reason, finish):
    choice = whole(event({"text": "x"}, finish=reason)).body["choices"][0]
    assert choice["finish_reason"] == finish
    assert choice.get("native_finish_reason") == (None if reason in ("STOP", "MAX_TOKENS") else reason)


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "NO_IMAGE", "SOMETHING_NEW"])
def test_a_model_that_failed_without_a_word_is_a_bad_answer(reason):
    """It may do better when it is asked again."""
    for error in (failed(whole, event(finish=reason)), failed(events_of, frames(event(finish=reason)))):
        assert (error.failure, error.message) == (Failure.BAD_RESPONSE, f"the model ended without an answer: {reason}")


@pytest.mark.parametrize(("reason", "finish"), [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter")])
def test_an_empty_answer_can_be_an_answer(reason, finish):
    """All tokens may have gone into thoughts, or a filter took the text."""
    for body in ({"candidates": [{"finishReason": reason, "index": 0}]}, event(finish=reason), event({"text": ""}, finish=reason)):
        message = whole(body).body["choices"][0]
        assert (message["message"]["content"], message["finish_reason"]) == ("", finish)


@pytest.mark.parametrize(("metadata", "usage"), [
    ({"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}, Usage(input=5, output=2)),
    ({"promptTokenCount": 5, "toolUsePromptTokenCount": 3, "candidatesTokenCount": 2, "thoughtsTokenCount": 4, "cachedContentTokenCount": 1},
     Usage(input=8, output=6, cached=1)), ({"promptTokenCount": "5"}, None), ({}, None), ([], None), (None, None)])
def test_usage(metadata, usage):
    assert whole({**event({"text": "x"}, finish="STOP"), "usageMetadata": metadata}).usage == usage


# --- errors ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("feedback", "message"), [
    ({"blockReason": "SAFETY"}, "The prompt was blocked by the provider's policy (SAFETY)."),
    ({"blockReason": "OTHER", "blockReasonMessage": "No."}, "The prompt was blocked by the provider's policy (OTHER): No.")])
def test_a_blocked_prompt_is_the_callers_error(feedback, message):
    body = {"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 4}}
    for error in (failed(whole, body), failed(events_of, frames(body))):
        assert (error.vendor.code, error.vendor.message) == ("content_policy_violation", message)


@pytest.mark.parametrize("body", [{}, [], {"candidates": []}, {"candidates": [{}]}, {"candidates": [5]}, {"candidates": 5}, {"usageMetadata": {}},
                                  event({"text": "x"}), {"candidates": [{"index": -1, "finishReason": "STOP"}]}, 5, "x", [5],
                                  {"candidates": [{"content": {"parts": [5]}, "finishReason": "STOP"}]}])
def test_an_answer_that_is_none_is_a_bad_answer(body):
    assert failed(whole, body).failure in (Failure.BAD_RESPONSE, Failure.TRUNCATED)


@pytest.mark.parametrize("raw", [b"", b"  ", b"{", b"\xff", b'{"candidates": [{"content": {"parts": [{"text": "x'])
def test_a_body_that_is_no_json_is_a_bad_answer(raw):
    with pytest.raises(AnswerError) as caught:
        read_chat(raw, id="i", model="m", created=1)
    assert caught.value.failure is Failure.BAD_RESPONSE


@pytest.mark.parametrize("body", [{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
                                  [{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}]])
def test_an_error_in_a_success_is_reported(body):
    for error in (failed(whole, body), failed(events_of, frames(event({"text": "x"}), body))):
        assert (error.failure, error.vendor.message, error.vendor.code, error.vendor.type) == (None, "overloaded", "503", "UNAVAILABLE")


@pytest.mark.parametrize("indent", [0, orjson.OPT_INDENT_2])
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n", b"\r\n\r\ndata: {}\r\n\r\n"])
def test_an_error_that_comes_as_bare_json_is_reported(indent, listed, end):
    """Google's errors in mid-stream are no events."""
    body = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    raw = frames(event({"text": "x"})) + orjson.dumps([body] if listed else body, option=indent).replace(b"\n", b"\r\n") + end
    for size in (1, 11, len(raw)):
        error = failed(events_of, *(raw[start:start + size] for start in range(0, len(raw), size)))
        assert (error.failure, error.vendor.message, error.vendor.code) == (None, "overloaded", "503")


@pytest.mark.parametrize("end", [b"", b"\r", b"\r\n", b"\n"])
def test_the_last_event_may_end_with_the_stream(end):
    raw = frames(event({"text": "x"}), event({"text": "y"}, finish="STOP"))[:-4]
    assert fold(events_of(raw + end)).text == "xy"


def test_after_an_error_nothing_more_is_given_out():
    reading = stream()
    batch, error = reading.feed(frames(event({"text": "x"}), {"error": {"code": 500}}, event({"text": "y"}, finish="STOP")))
    assert ([each.kind for each in batch], error is not None) == ([CONTENT], True)
    assert reading.feed(frames(event({"text": "z"}, finish="STOP"))) == ([], None)
    assert failed(reading.end).failure is Failure.TRUNCATED


def test_an_event_without_bound_is_refused():
    batch, error = stream(max_event=100).feed(b"data: " + b"x" * 200)
    assert (batch, error.failure) == ([], Failure.BAD_RESPONSE)


def test_the_end_comes_once():
    reading = stream()
    reading.feed(frames(event({"text": "x"}, finish="STOP")))
    assert [each.kind for each in reading.end()] == [FINISH, DONE]
    assert (reading.done, reading.end(), reading.feed(frames(event({"text": "x"})))) == (True, [], ([], None))


# --- whatever comes -------------------------------------------------------------------------------------------------------------
scalars = st.none() | st.booleans() | st.integers(-5, 2**63) | st.floats(allow_nan=False) | st.sampled_from(["STOP", "SAFETY", "x", ""])
NAMES = ("text", "thought", "thoughtSignature", "functionCall", "name", "args", "id", "inlineData", "mimeType", "data", "executableCode", "code",
         "chosenCandidates", "topCandidates", "candidates", "token", "groundingChunks", "groundingSupports", "web", "uri", "segment", "startIndex",
         "groundingChunkIndices", "citationSources", "blockReason", "promptTokenCount", "message", "status", "details", "retryDelay")
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4), max_leaves=10)
candidate = st.fixed_dictionaries({}, optional={
    "content": st.fixed_dictionaries({}, optional={"parts": st.lists(anything, max_size=3) | anything}) | anything, "index": scalars,
    "finishReason": scalars, "logprobsResult": anything, "groundingMetadata": anything, "citationMetadata": anything})
answers = st.fixed_dictionaries({}, optional={"candidates": st.lists(candidate | anything, max_size=3) | anything, "usageMetadata": anything,
                                              "promptFeedback": anything, "error": anything, "responseId": scalars, "modelVersion": scalars})


@given(answers | anything)
def test_nothing_but_answer_errors_is_raised_for_whole_answers(body):
    with contextlib.suppress(AnswerError):
        whole(body)


@given(st.lists(answers | anything, max_size=4))
def test_nothing_but_answer_errors_is_raised_for_streams(bodies):
    try:
        events = events_of(frames(*bodies))
    except AnswerError:
        return
    assert events[-1].kind is DONE


@given(st.binary(max_size=60), st.integers(0, 60))
def test_nothing_but_answer_errors_is_raised_for_bytes(raw, cut):
    with contextlib.suppress(AnswerError):
        events_of(b"data: " + raw[:cut], raw[cut:])
