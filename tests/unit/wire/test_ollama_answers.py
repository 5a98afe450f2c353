"""Claims: a stream of Ollama's says what its whole answer says, however its bytes are split; what is no answer is an
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
from fakes.ollamavendor import Reply, lines_of, whole
from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.model.response import EventKind, Usage
from stratarouter_runtime.wire.answers import AnswerError
from stratarouter_runtime.wire.ollama_response import OllamaStream, parse_error, read_chat, read_embeddings
from stratarouter_runtime.wire.openai_embeddings import check_embeddings
from stratarouter_runtime.wire.openai_stream import fold

GOLDEN = Path(__file__).parents[2] / "golden" / "wire" / "ollama"
REPLIES = {
    "text": Reply(text="The answer is 42 — “tweeënveertig”. 🧮"), "reasoning": Reply(thinking="Six sevens.", text="42"),
    "tools": Reply(tool_calls=(("call_a", "weather", {"city": "Köln"}), ("", "time", {}))), "length": Reply(text="The", reason="length"),
    "untold": Reply(text="from the cache", prompt=None)}
STREAMS = {name: b"".join(lines_of(reply, "qwen3")) for name, reply in REPLIES.items()}


def events(*chunks):
    stream = OllamaStream(identity="id", created=1)
    found = []
    for chunk in chunks:
        batch, error = stream.feed(chunk)
        found += batch
        if error is not None:
            raise error
    return found + stream.end()


def read(raw):
    return read_chat(raw, identity="id", created=1)


def failed(*chunks):
    with pytest.raises(AnswerError) as caught:
        events(*chunks)
    return caught.value


@pytest.mark.parametrize("name", sorted(REPLIES))
def test_a_stream_folds_into_the_whole_answer(name):
    assert fold(events(STREAMS[name])).body == read(whole(REPLIES[name], "qwen3")).body


@pytest.mark.parametrize("name", ["tools", "reasoning"])
def test_the_recorded_stream_is_the_recorded_completion(name):
    assert fold(events((GOLDEN / f"{name}.ndjson").read_bytes())).body == json.loads((GOLDEN / f"{name}.json").read_text())


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 2000), max_size=10), st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
def test_any_split_gives_the_same_events(name, cuts, end):
    raw = STREAMS[name].replace(b"\n", end)
    places = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    assert events(*[raw[start:stop] for start, stop in itertools.pairwise(places)]) == events(STREAMS[name])


def test_thoughts_and_calls_are_canonical():
    reasoned = read(whole(REPLIES["reasoning"], "qwen3"))
    assert reasoned.body["choices"][0]["message"]["reasoning_content"] == "Six sevens."
    assert (reasoned.text, reasoned.finish_reason, reasoned.model, reasoned.body["id"]) == ("42", "stop", "qwen3", "chatcmpl-id")
    assert reasoned.usage == Usage(input=26, output=12)
    choice = read(whole(REPLIES["tools"], "qwen3")).body["choices"][0]
    assert choice["message"]["tool_calls"] == [
        {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Köln"}'}},
        {"id": "call_id_1", "type": "function", "function": {"name": "time", "arguments": "{}"}}]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")
    assert read(whole(REPLIES["length"], "qwen3")).finish_reason == "length"


def test_without_the_input_there_is_no_usage():
    """A server that had the prompt cached does not count it."""
    assert read(whole(REPLIES["untold"], "qwen3")).usage is None
    assert EventKind.USAGE not in [event.kind for event in events(STREAMS["untold"])]


def test_log_probabilities_are_passed_on():
    reply = Reply(text="forty-two")
    found = read(whole(reply, "m", logprobs=True)).body["choices"][0]["logprobs"]["content"]
    assert found[0] == {"token": "forty-", "logprob": -0.25, "bytes": list(b"forty-"),
                        "top_logprobs": [{"token": "forty-", "logprob": -0.25, "bytes": list(b"forty-")}]}
    assert fold(events(*lines_of(reply, "m", logprobs=True))).body["choices"][0]["logprobs"]["content"] == found


def test_the_last_line_may_have_no_end():
    assert fold(events(STREAMS["text"].rstrip(b"\n"))).finish_reason == "stop"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_cut_stream_is_never_whole(cut):
    lines = lines_of(REPLIES["text"], "qwen3")
    assert failed(*lines[:-cut]).failure is Failure.TRUNCATED
    assert failed(b"".join(lines)[:-5 * cut]).failure is Failure.TRUNCATED
    assert failed(b"".join(lines[:-1]).rstrip(b"\n")).failure is Failure.TRUNCATED


def test_nothing_follows_the_end():
    stream = OllamaStream(identity="id", created=1)
    batch, _ = stream.feed(STREAMS["text"])
    assert (batch[-1].kind, stream.done) == (EventKind.DONE, True)
    assert (stream.feed(STREAMS["text"]), stream.end()) == (([], None), [])


@pytest.mark.parametrize(("line", "failure", "message", "code"), [
    (b'{"error":"CUDA error"}', None, "CUDA error", ""), (b'{"error":{"message":"lost"}}', None, "lost", ""),
    (b'{"error":"model \'qwen3\' not found"}', None, "model 'qwen3' not found", "model_not_found"),
    (b'{"message":{"content":""},"done":true,"done_reason":"load"}', Failure.BAD_RESPONSE, "the vendor loaded or unloaded the model and gave no answer", ""),
    (b"{broken}", Failure.BAD_RESPONSE, "the vendor sent an event that is not valid JSON", ""),
    (b"[]", Failure.BAD_RESPONSE, "the vendor sent an event that is not a JSON object, or nested too deeply", "")])
def test_an_error_in_the_stream_is_reported_once(line, failure, message, code):
    stream = OllamaStream(identity="id", created=1)
    batch, error = stream.feed(lines_of(REPLIES["text"], "m")[0] + line + b"\n")
    assert [each.kind for each in batch] == [EventKind.PREAMBLE, EventKind.CONTENT]
    assert (error.failure, error.message, error.vendor.code) == (failure, message, code)
    assert stream.feed(STREAMS["text"]) == ([], None)


def test_a_line_without_bound_is_refused():
    stream = OllamaStream(identity="id", created=1, max_line=100)
    assert stream.feed(b"x" * 101)[1].failure is Failure.BAD_RESPONSE


@pytest.mark.parametrize(("raw", "failure"), [
    (b"", Failure.BAD_RESPONSE), (b"{}", Failure.BAD_RESPONSE), (b'{"message":{"content":"x"},"done":false}', Failure.BAD_RESPONSE),
    (b'{"error":"oops"}', None), (b'{"message":{},"done":true,"done_reason":"unload"}', Failure.BAD_RESPONSE)])
def test_what_is_no_answer_is_an_error(raw, failure):
    with pytest.raises(AnswerError) as caught:
        read(raw)
    assert caught.value.failure is failure


@pytest.mark.parametrize(("raw", "code"), [
    (b'{"error":"model \'x\' not found"}', "model_not_found"), (b'{"error":"model \\"x\\" not found, try pulling it first"}', "model_not_found"),
    (b'{"error":"invalid model name"}', ""), (b"404 page not found", "")])
def test_a_missing_model_is_told_apart(raw, code):
    assert parse_error(raw).code == code


VALUES = json_values("model", "message", "content", "thinking", "tool_calls", "function", "arguments", "name", "done", "done_reason", "error", "logprobs",
                     "token", "logprob", "prompt_eval_count", "embeddings")


@given(st.lists(st.dictionaries(st.sampled_from(["message", "done", "done_reason", "logprobs", "prompt_eval_count", "error", "model"]), VALUES, max_size=4), max_size=4))
def test_no_line_raises_anything_else(bodies):
    try:
        events(*(orjson.dumps(body) + b"\n" for body in bodies))
    except AnswerError:
        return
    assert any(body.get("done") is True for body in bodies)


@given(VALUES)
def test_no_answer_raises_anything_else(body):
    for call in (read, lambda raw: read_embeddings(raw, check_embeddings({"model": "m", "input": "x"}))):
        try:
            call(orjson.dumps(body))
        except AnswerError:
            continue


def test_vectors_and_their_tokens():
    request = check_embeddings({"model": "m", "input": ["a", "b"], "encoding_format": "base64"})
    response = read_embeddings(b'{"model":"nomic","embeddings":[[1.0],[2.0]],"prompt_eval_count":8}', request)
    assert [row["embedding"] for row in response.body["data"]] == ["AACAPw==", "AAAAQA=="]
    assert (response.usage, response.model) == (Usage(input=8), "nomic")
    assert read_embeddings(b'{"embeddings":[[1.0],[2.0]]}', request).usage is None


@pytest.mark.parametrize("raw", [b"{}", b'{"embeddings":[]}', b'{"embeddings":[[1.0]]}', b'{"embeddings":[["x"],["y"]]}'])
def test_vectors_that_are_none_are_a_bad_response(raw):
    with pytest.raises(AnswerError) as caught:
        read_embeddings(raw, check_embeddings({"model": "m", "input": ["a", "b"]}))
    assert caught.value.failure is Failure.BAD_RESPONSE
