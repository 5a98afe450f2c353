"""Claims: any split of a stream gives the same events with the vendor's own bytes; a stream folds into the completion
the vendor would have sent at once; a replayed completion folds back into itself; a cut stream is never whole."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.model.response import EventKind, Usage
from stratarouter_runtime.wire import sse
from stratarouter_runtime.wire.answers import AnswerError
from stratarouter_runtime.wire.openai_stream import ChatStream, client_frames, fold, replay

GOLDEN = Path(__file__).parents[2] / "golden" / "wire"
STREAMS = sorted(path.stem for path in GOLDEN.glob("*.sse"))
PREAMBLE, CONTENT, FINISH, USAGE, DONE = EventKind


def events_of(*chunks, choices=1):
    stream = ChatStream(choices=choices)
    events = []
    for chunk in chunks:
        batch, error = stream.feed(chunk)
        events += batch
        if error is not None:
            raise error
    return events + stream.end()


def chunk(delta, finish=None, **more):
    return orjson.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                         "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_folds_into_the_completion_the_vendor_would_have_sent(name):
    raw = (GOLDEN / f"{name}.sse").read_bytes()
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    folded = fold(events_of(raw, choices=len(expected["choices"])))
    assert folded.body == expected
    assert orjson.loads(folded.raw) == expected
    assert folded.usage == Usage(input=expected["usage"]["prompt_tokens"], output=expected["usage"]["completion_tokens"])


@given(st.sampled_from(STREAMS), st.lists(st.integers(0, 3000), max_size=10), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_gives_the_same_events(name, cuts, end):
    raw = (GOLDEN / f"{name}.sse").read_bytes().replace(b"\n", end)
    choices = len(json.loads((GOLDEN / f"{name}.json").read_text())["choices"])
    places = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[start:stop] for start, stop in itertools.pairwise(places)]
    assert events_of(*pieces, choices=choices) == events_of(raw, choices=choices)


@pytest.mark.parametrize("name", STREAMS)
def test_a_client_that_asked_for_usage_gets_the_vendors_own_bytes(name):
    raw = (GOLDEN / f"{name}.sse").read_bytes()
    events = events_of(raw, choices=2)
    assert client_frames(events, include_usage=True) == raw
    without = client_frames(events, include_usage=False)
    assert b'"prompt_tokens"' not in without
    assert without.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("include_usage", [True, False])
def test_a_replayed_completion_folds_back_into_itself_with_a_new_id_and_time(name, include_usage):
    stored = json.loads((GOLDEN / f"{name}.json").read_text())
    events = replay(stored, id="chatcmpl-new", created=99, include_usage=include_usage)
    raw = client_frames(events, include_usage=include_usage)
    again = fold(events_of(raw, choices=len(stored["choices"]))).body
    expected = {**stored, "id": "chatcmpl-new", "created": 99}
    if not include_usage:
        del expected["usage"]
    assert without_nulls(again) == without_nulls(expected)


def without_nulls(value):
    """Null fields of a choice, and empty text beside content, need not survive."""
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part not in (None, [], "")}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


def test_a_long_text_is_replayed_in_pieces_and_a_short_one_at_once():
    def texts(text):
        body = {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
        return [event.body["choices"][0]["delta"]["content"] for event in replay(body, id="i", created=1, include_usage=False)
                if event.kind is CONTENT]
    long = "word " * 1000
    assert "".join(texts(long)) == long
    assert 32 <= len(texts(long)) <= 64
    assert texts("short") == ["short"]


@pytest.mark.parametrize(("payload", "kind"), [
    (chunk({"role": "assistant", "content": "", "refusal": None}), PREAMBLE),
    (chunk({"role": "assistant"}), PREAMBLE), (chunk({}), PREAMBLE), (chunk(None), PREAMBLE),
    (b'{"choices":[],"prompt_filter_results":[{}]}', PREAMBLE), (b'{"object":"ping"}', PREAMBLE),
    (chunk({"content": "x"}), CONTENT), (chunk({"content": " "}), CONTENT), (chunk({"role": "assistant", "content": "x"}), CONTENT),
    (chunk({"reasoning_content": "hm"}), CONTENT), (chunk({"reasoning": "hm", "content": ""}), CONTENT),
    (chunk({"refusal": "no"}), CONTENT), (chunk({"tool_calls": [{"index": 0}]}), CONTENT), (chunk({"audio": {"id": "a"}}), CONTENT),
    (chunk({}, "stop"), FINISH), (chunk({"content": "last word"}, "length"), FINISH),
    (b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}', USAGE), (b"[DONE]", DONE)])
def test_an_event_is_what_it_means(payload, kind):
    batch, error = ChatStream().feed(sse.frame(payload))
    assert error is None
    assert [(event.kind, event.raw) for event in batch] == [(kind, payload)]


@pytest.mark.parametrize("payload", [
    b'{"choices":[{"ind', b"not json", b"[]", b"1", b'{"choices":5}', b'{"choices":[1]}', b'{"choices":[{"delta":"x"}]}',
    b'{"choices":[{"delta":[1]}]}', b'{"id":"\xff"}'])
def test_an_event_of_another_shape_is_a_bad_response(payload):
    batch, error = ChatStream().feed(sse.frame(chunk({"content": "x"})) + sse.frame(payload))
    assert [event.kind for event in batch] == [CONTENT]
    assert error is not None
    assert error.failure is Failure.BAD_RESPONSE


@pytest.mark.parametrize("payload", [
    b'{"error":{"message":"boom","type":"server_error","param":null,"code":null}}',
    b'{"error": {"object": "error", "message": "boom", "code": 400}}', b'{"object":"error","message":"boom"}', b'{"error":"boom"}'])
def test_an_error_event_ends_the_stream_after_the_events_before_it(payload):
    """Also where, as with vLLM, a [DONE] follows it in the same read."""
    stream = ChatStream()
    batch, error = stream.feed(sse.frame(chunk({"content": "x"})) + sse.frame(payload) + sse.frame(b"[DONE]"))
    assert [event.kind for event in batch] == [CONTENT]
    assert error is not None
    assert (error.failure, error.vendor.message) == (None, "boom")
    assert not stream.done


def test_a_null_error_in_an_event_is_none():
    batch, error = ChatStream().feed(sse.frame(chunk({"content": "x"}, error=None)))
    assert error is None
    assert batch[0].kind is CONTENT


@pytest.mark.parametrize("chunks", [[], [chunk({"content": "x"})], [chunk({"role": "assistant", "content": ""})]])
def test_a_stream_that_ends_before_its_choices_finished_is_truncated(chunks):
    with pytest.raises(AnswerError) as caught:
        events_of(*(sse.frame(each) for each in chunks))
    assert caught.value.failure is Failure.TRUNCATED


def test_a_stream_that_ends_inside_an_event_is_truncated_though_its_choice_finished():
    with pytest.raises(AnswerError) as caught:
        events_of(sse.frame(chunk({}, "stop")), b'data: {"choices":[],"usa')
    assert caught.value.failure is Failure.TRUNCATED


def test_of_two_choices_both_must_finish():
    one = sse.frame(chunk({}, "stop"))
    other = one.replace(b'"index":0', b'"index":1')
    assert [event.kind for event in events_of(one, other, choices=2)] == [FINISH, FINISH, DONE]
    with pytest.raises(AnswerError):
        events_of(one, one, choices=2)


def test_a_finished_stream_without_done_gets_one():
    assert [event.kind for event in events_of(sse.frame(chunk({"content": "x"}, "stop")))] == [FINISH, DONE]


def test_what_follows_done_is_ignored():
    stream = ChatStream()
    batch, error = stream.feed(b"data: [DONE]\n\ndata: junk\n\n")
    assert ([event.kind for event in batch], error) == ([DONE], None)
    assert stream.feed(b"data: more junk\n\n") == ([], None)
    assert stream.end() == []


def test_json_over_several_lines_stays_one_frame():
    spread = orjson.dumps(orjson.loads(chunk({"content": "a\nb"})), option=orjson.OPT_INDENT_2)
    raw = b"".join(b"data: " + line + b"\n" for line in spread.split(b"\n")) + b"\n"
    framed = client_frames(ChatStream().feed(raw)[0], include_usage=True)
    assert framed.count(b"\n") == 2
    assert orjson.loads(framed[6:]) == orjson.loads(spread)


def test_an_event_without_bound_is_refused():
    stream = ChatStream(max_event=1000)
    _, error = stream.feed(b"data: " + b"x" * 2000)
    assert error is not None
    assert error.failure is Failure.BAD_RESPONSE


def test_folding_joins_whatever_vendors_add():
    """Unknown texts and lists are joined like the known ones, log probabilities too; the events stay as they were."""
    first = chunk({"role": "assistant", "reasoning_details": [{"a": 1}], "thought": "on"}, citations=["u1"])
    second = chunk({"content": "x", "reasoning_details": [{"a": 2}], "thought": "ward"}, "stop", citations=["u1", "u2"])
    tokens = [{**orjson.loads(each), "choices": [{**orjson.loads(each)["choices"][0], "logprobs": {"content": [n], "refusal": None}}]}
              for n, each in enumerate((first, second))]
    events = events_of(*(sse.frame(orjson.dumps(token)) for token in tokens))
    before = [orjson.dumps(event.body) for event in events]
    body = fold(events).body
    assert [orjson.dumps(event.body) for event in events] == before
    assert body["citations"] == ["u1", "u2"]
    assert body["choices"] == [{"index": 0, "message": {"role": "assistant", "content": "x", "thought": "onward",
                                                        "reasoning_details": [{"a": 1}, {"a": 2}]},
                                "finish_reason": "stop", "logprobs": {"content": [0, 1], "refusal": None}}]


@pytest.mark.parametrize("delta", [{"tool_calls": ["x"]}, {"tool_calls": 5}, {"tool_calls": [{"index": 0, "function": "f"}]}])
def test_folding_raises_nothing_but_answer_errors(delta):
    with pytest.raises(AnswerError):
        fold(events_of(sse.frame(chunk(delta)), sse.frame(chunk({}, "stop"))))


def test_there_is_nothing_to_fold_in_a_stream_without_choices():
    with pytest.raises(AnswerError):
        fold([])


def test_an_event_nested_too_deeply_to_be_written_again_is_none():
    deep = b'{"choices":[{"index":0,"delta":{"content":"x","odd":' + b"[" * 600 + b"]" * 600 + b'},"finish_reason":"stop"}]}'
    with pytest.raises(AnswerError) as caught:
        events_of(sse.frame(deep))
    assert caught.value.failure is Failure.BAD_RESPONSE


def test_events_that_are_nested_more_deeply_together_fold_into_nothing():
    """Each could be written, but not what they amount to."""
    depth = 244
    deep = b'{"choices":[{"index":0,"delta":{"content":"x","odd":' + b"[" * depth + b"]" * depth + b'},"finish_reason":"stop"}]}'
    try:
        folded = fold(events_of(sse.frame(deep), sse.frame(sse.DONE)))
    except AnswerError:
        return
    assert orjson.loads(folded.raw)["choices"][0]["message"]["odd"]
