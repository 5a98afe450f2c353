"""Claims: a stream of Cohere's says what its whole answer says, however its bytes are split; what is no answer is an
AnswerError, and nothing else is ever raised."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrary import json_values
from fakes.coherevendor import Reply, events_of
from fakes.coherevendor.server import completion, frame
from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.model.response import EventKind, Usage
from stratarouter_runtime.wire.answers import AnswerError, VendorError
from stratarouter_runtime.wire.cohere_embeddings import read_embeddings
from stratarouter_runtime.wire.cohere_errors import parse_error
from stratarouter_runtime.wire.cohere_response import read_chat
from stratarouter_runtime.wire.cohere_stream import CohereStream
from stratarouter_runtime.wire.openai_embeddings import check_embeddings
from stratarouter_runtime.wire.openai_stream import fold

GOLDEN = Path(__file__).parents[2] / "golden" / "wire" / "cohere"
CITATIONS = ({"start": 4, "end": 10, "text": "answer", "type": "TEXT_CONTENT", "sources": [
    {"type": "document", "id": "doc:0", "document": {"id": "doc:0", "title": "Sums", "url": "https://sums.example/42"}},
    {"type": "tool", "id": "t1:0", "tool_output": {"sum": 42}}]},)
REPLIES = {
    "text": Reply(text="The answer is 42 — “tweeënveertig”. 🧮"), "reasoning": Reply(thinking="Six sevens.", text="42", cached=64),
    "tools": Reply(plan="I will look both up.", tool_calls=(("t1", "weather", '{"city":"Köln"}'), ("t2", "time", "{}"))),
    "citations": Reply(text="The answer is 42.", citations=CITATIONS), "length": Reply(text="The", finish="MAX_TOKENS")}
WHOLE = {name: json.dumps(completion(reply)).encode() for name, reply in REPLIES.items()}
STREAMS = {name: b"".join(map(frame, events_of(reply))) + b"data: [DONE]\n\n" for name, reply in REPLIES.items()}


def events(*chunks):
    stream = CohereStream(model="command", created=1)
    found = []
    for chunk in chunks:
        batch, error = stream.feed(chunk)
        found += batch
        if error is not None:
            raise error
    return found + stream.end()


def read(raw):
    return read_chat(raw, model="command", created=1)


def failed(*chunks):
    with pytest.raises(AnswerError) as caught:
        events(*chunks)
    return caught.value


@pytest.mark.parametrize("name", sorted(REPLIES))
def test_a_stream_folds_into_the_whole_answer(name):
    assert fold(events(STREAMS[name])).body == read(WHOLE[name]).body


@pytest.mark.parametrize("name", ["tools", "citations"])
def test_the_recorded_stream_is_the_recorded_completion(name):
    folded = fold(events((GOLDEN / f"{name}.sse").read_bytes())).body
    assert folded == json.loads((GOLDEN / f"{name}.json").read_text())


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 3000), max_size=10), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_gives_the_same_events(name, cuts, end):
    raw = STREAMS[name].replace(b"\n", end)
    places = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[start:stop] for start, stop in itertools.pairwise(places)]
    assert events(*pieces) == events(STREAMS[name])


def test_thoughts_calls_and_finish_reasons_are_canonical():
    reasoned = read(WHOLE["reasoning"])
    assert reasoned.body["choices"][0]["message"]["reasoning_content"] == "Six sevens."
    assert (reasoned.text, reasoned.finish_reason, reasoned.model) == ("42", "stop", "command")
    choice = read(WHOLE["tools"]).body["choices"][0]
    assert choice["message"]["content"] is None
    assert choice["message"]["reasoning_content"] == "I will look both up."
    assert choice["message"]["tool_calls"][1] == {"id": "t2", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    assert choice["finish_reason"] == "tool_calls"
    assert read(WHOLE["length"]).finish_reason == "length"


@pytest.mark.parametrize(("reason", "canonical"), [("COMPLETE", "stop"), ("STOP_SEQUENCE", "stop"), ("MAX_TOKENS", "length"),
                                                   ("TOOL_CALL", "tool_calls"), ("ERROR_TOXIC", "content_filter"), ("SOMETHING_NEW", "stop")])
def test_finish_reasons(reason, canonical):
    reply = Reply(text="x", finish=reason)
    assert read(json.dumps(completion(reply)).encode()).finish_reason == canonical
    assert fold(events(*map(frame, events_of(reply)))).finish_reason == canonical


def test_the_whole_input_counts_and_what_is_paid_for_is_kept():
    usage = read(WHOLE["reasoning"]).body["usage"]
    assert usage == {"prompt_tokens": 212, "completion_tokens": 9, "total_tokens": 221, "prompt_tokens_details": {"cached_tokens": 64},
                     "billed_units": {"input_tokens": 12, "output_tokens": 7}}
    told = read(WHOLE["reasoning"]).usage
    assert (told.input, told.output, told.cached) == (212, 9, 64)


@pytest.mark.parametrize(("usage", "expected"), [
    ({"billed_units": {"input_tokens": 3.0, "output_tokens": 2}}, (3, 2)), ({"tokens": {"input_tokens": 3}}, (3, 0)), ({}, None), (None, None),
    ({"tokens": "many"}, None), ({"tokens": {"input_tokens": -1, "output_tokens": True}}, (0, 0))])
def test_usage_in_all_its_forms(usage, expected):
    found = read(orjson.dumps({"message": {"content": "x"}, "usage": usage})).usage
    assert (found and (found.input, found.output)) == expected


def test_citations_become_annotations_and_stay():
    message = read(WHOLE["citations"]).body["choices"][0]["message"]
    assert message["citations"] == list(CITATIONS)
    assert message["annotations"] == [
        {"type": "url_citation", "url_citation": {"start_index": 4, "end_index": 10, "url": "https://sums.example/42", "title": "Sums"}},
        {"type": "file_citation", "file_citation": {"start_index": 4, "end_index": 10, "file_id": "t1:0", "filename": "t1:0"}}]


def test_log_probabilities_are_those_of_the_pieces():
    reply = Reply(text="forty-two")
    whole = read(json.dumps(completion(reply, logprobs=True)).encode()).body["choices"][0]["logprobs"]
    assert whole["content"][0] == {"token": "forty-", "logprob": -0.75, "bytes": list(b"forty-"), "top_logprobs": []}
    streamed = fold(events(*map(frame, events_of(reply, logprobs=True)))).body["choices"][0]["logprobs"]
    assert streamed["content"] == whole["content"]


def test_calls_come_as_lists_and_without_an_index_too():
    """Both shapes are seen; the documented one is an object."""
    start = {"type": "tool-call-start", "delta": {"message": {"tool_calls": [{"id": "a", "function": {"name": "f"}}, {"id": "b", "function": {"name": "g"}}]}}}
    delta = {"type": "tool-call-delta", "delta": {"message": {"tool_calls": [{"function": {"arguments": "{}"}}]}}}
    end = {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}}
    calls = fold(events(*map(frame, (start, delta, end)))).body["choices"][0]["message"]["tool_calls"]
    assert [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls] == [("a", "f", ""), ("b", "g", "{}")]


@pytest.mark.parametrize("cut", range(1, 7))
def test_a_cut_stream_is_never_whole(cut):
    stream = list(map(frame, events_of(REPLIES["text"])))
    assert failed(*stream[:-cut]).failure is Failure.TRUNCATED
    assert failed(b"".join(stream)[:-cut]).failure is Failure.TRUNCATED


def test_nothing_follows_the_end():
    stream = CohereStream(model="m", created=1)
    batch, _ = stream.feed(STREAMS["text"])
    assert (batch[-1].kind, stream.done) == (EventKind.DONE, True)
    assert stream.feed(STREAMS["text"]) == ([], None)


@pytest.mark.parametrize(("event", "failure", "message"), [
    ({"type": "message-end", "delta": {"error": "out of memory", "finish_reason": "ERROR"}}, None, "out of memory"),
    ({"type": "message-end", "delta": {"finish_reason": "TIMEOUT"}}, Failure.TIMEOUT, "the vendor gave up the answer: it took too long"),
    ({"type": "error", "error": {"message": "overloaded"}}, None, "overloaded"), ({"id": "1", "message": "internal server error"}, None, "internal server error"),
    ({"type": "tool-call-delta", "index": 0, "delta": {}}, Failure.BAD_RESPONSE, "the vendor's stream has a piece of a tool call that has not begun")])
def test_an_error_in_the_stream_is_reported_once(event, failure, message):
    stream = CohereStream(model="m", created=1)
    raw = b"".join(map(frame, events_of(REPLIES["text"])[:4])) + b"data: " + json.dumps(event).encode() + b"\n\n"
    batch, error = stream.feed(raw)
    assert (error.failure, error.message) == (failure, message)
    assert EventKind.CONTENT in [each.kind for each in batch]
    assert stream.feed(STREAMS["text"]) == ([], None)


@pytest.mark.parametrize("payload", [b"{", b"[]", b"5", b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"])
def test_an_event_that_is_no_object_is_a_bad_response(payload):
    assert failed(b"data: " + payload + b"\n\n").failure is Failure.BAD_RESPONSE


@pytest.mark.parametrize(("raw", "failure", "message"), [
    (b"", Failure.BAD_RESPONSE, "the vendor's answer is empty"), (b"{}", Failure.BAD_RESPONSE, "the vendor's answer has no message"),
    (b'{"id":"1","message":"invalid api token"}', None, "invalid api token"), (b'{"error":{"message":"late"}}', None, "late"),
    (b'{"message":{"content":[]},"finish_reason":"ERROR"}', None, "the vendor gave up the answer because of an error"),
    (b'{"message":{"content":[]},"finish_reason":"TIMEOUT"}', Failure.TIMEOUT, "the vendor gave up the answer: it took too long")])
def test_what_is_no_answer_is_an_error(raw, failure, message):
    with pytest.raises(AnswerError) as caught:
        read(raw)
    assert (caught.value.failure, caught.value.message) == (failure, message)


@pytest.mark.parametrize(("raw", "error"), [
    (b'{"id":"1","message":"invalid api token"}', VendorError("invalid api token")),
    (b'{"message":"You are using a Trial key, which is limited to 20 API calls / minute."}',
     VendorError("You are using a Trial key, which is limited to 20 API calls / minute.")),
    (b'{"message":"You are using a Trial key, which is limited to 1000 API calls / month."}',
     VendorError("You are using a Trial key, which is limited to 1000 API calls / month.", code="monthly_limit_exceeded")),
    (b"<html>", VendorError())])
def test_errors_are_read_and_monthly_limits_told_apart(raw, error):
    assert parse_error(raw) == error


VALUES = json_values("id", "type", "delta", "message", "content", "text", "thinking", "tool_calls", "function", "arguments", "citations", "sources",
                     "usage", "tokens", "input_tokens", "finish_reason", "index", "logprobs", "error", "document", "embeddings", "meta", "float")
KINDS = st.sampled_from(["message-start", "content-start", "content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta", "citation-start",
                         "message-end", "debug"])


@given(st.lists(st.builds(lambda kind, delta, more: {**(more if isinstance(more, dict) else {}), "type": kind, "delta": delta}, KINDS, VALUES, VALUES), max_size=4))
def test_no_event_raises_anything_else(bodies):
    try:
        events(*(b"data: " + orjson.dumps(body) + b"\n\n" for body in bodies))
    except AnswerError:
        return
    assert bodies[-1]["type"] == "message-end" or any(body["type"] == "message-end" for body in bodies)


@given(VALUES)
def test_no_answer_raises_anything_else(body):
    for call in (read, lambda raw: read_embeddings([raw], check_embeddings({"model": "m", "input": "x"}), model="m")):
        try:
            call(orjson.dumps(body))
        except AnswerError:
            continue


def embedded(*answers, inputs, encoding="float"):
    request = check_embeddings({"model": "m", "input": inputs, "encoding_format": encoding})
    return read_embeddings([orjson.dumps(each) for each in answers], request, model="embed")


def test_answers_of_several_calls_are_one():
    first = {"embeddings": {"float": [[1.0], [2.0]]}, "meta": {"billed_units": {"input_tokens": 4}}}
    second = {"embeddings": {"float": [[3.0]]}, "meta": {"billed_units": {"input_tokens": 1, "image_tokens": 2}}}
    response = embedded(first, second, inputs=["a", "b", "c"])
    assert [(row["index"], row["embedding"]) for row in response.body["data"]] == [(0, [1.0]), (1, [2.0]), (2, [3.0])]
    assert (response.usage, response.model) == (Usage(input=7), "embed")


def test_the_encoding_is_the_one_asked_for():
    floats, text = {"embeddings": {"float": [[1.0]]}}, {"embeddings": {"base64": ["AACAPw=="]}}
    assert embedded(text, inputs="a").body["data"][0]["embedding"] == [1.0]
    assert embedded(floats, inputs="a", encoding="base64").body["data"][0]["embedding"] == "AACAPw=="


@pytest.mark.parametrize("answer", [{}, {"embeddings": {}}, {"embeddings": {"float": []}}, {"embeddings": {"float": [["x"]]}}, {"embeddings": {"int8": [[1]]}}])
def test_vectors_that_are_none_are_a_bad_response(answer):
    with pytest.raises(AnswerError) as caught:
        embedded(answer, inputs="a")
    assert caught.value.failure is Failure.BAD_RESPONSE
