"""Claims: the decoder gives the payloads that the standard says, however the bytes are split, within bounded memory."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.wire import sse


def decoded(*chunks: bytes, max_event: int = sse.MAX_EVENT) -> list[bytes]:
    decoder = sse.SseDecoder(max_event=max_event)
    return [payload for chunk in chunks for payload in decoder.feed(chunk)]


@pytest.mark.parametrize(("stream", "payloads"), [
    (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
    (b"data:a\n\n", [b"a"]),
    (b"data:  a\n\n", [b" a"]),
    (b"data: a\ndata: b\n\n", [b"a\nb"]),
    (b"data: a\ndata\n\n", [b"a\n"]),
    (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    (b"data: \xef\xbb\xbf\n\n", [b"\xef\xbb\xbf"]),
    (b": a comment\n\n:\n\ndata: a\n\n", [b"a"]),
    (b"\n\n\n\ndata: a\n\n\n\n\n", [b"a"]),
    (b"id: 7\nevent: message\ndata: a\nretry: 10\n\n", [b"a"]),
    (b": note\ndata: a\n\n", [b"a"]),
    (b"data: a: b: c\n\n", [b"a: b: c"]),
    (b"event: ping\n\ndata\n\ndata:\n\n", []),
    (b"nodata: a\n\n", []),
    (b"data: \xe2\x82\xac\n\n", ["€".encode()]),
    (b"data: a\n\ndata: cut", [b"a"]),
    (b"data: a\n\ndata: cut\n", [b"a"]),
    (b"", []),
])
def test_payloads_are_those_of_the_standard(stream, payloads):
    assert decoded(stream) == payloads
    assert decoded(*(stream[i:i + 1] for i in range(len(stream)))) == payloads


LINES = st.sampled_from([b"data: x", b"data:y", b"data", b"data: \xe2\x82\xac", b": c", b"", b"", b"event: e", b"id", b"data: [DONE]",
                         b"\xef\xbb\xbfdata: z", b'data: {"a":1}'])
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=30), st.booleans(), st.lists(st.integers(0, 400), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_payloads(lines, bom, cuts):
    """A stream read in pieces is the stream read at once."""
    stream = b"\xef\xbb\xbf" * bom + b"".join(line + end for line, end in lines)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert decoded(*pieces) == decoded(stream) == reference(stream)


def reference(stream: bytes) -> list[bytes]:
    """The standard's algorithm, line by line and slow."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    payloads, data = [], []
    for line in text.split(b"\n")[:-1]:
        if not line:
            if b"\n".join(data):
                payloads.append(b"\n".join(data))
            data = []
            continue
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
    return payloads


def test_an_event_larger_than_the_bound_is_refused_before_it_is_complete():
    decoder = sse.SseDecoder(max_event=1000)
    assert [decoder.feed(b"data: " + b"x" * 494) for _ in range(2)] == [[], []]
    with pytest.raises(sse.EventTooLarge):
        decoder.feed(b"x")


def test_an_event_of_many_lines_is_not_put_together_before_its_end():
    """Joining what is held at every line would make a long event quadratic, and keep the event loop from everything else."""
    decoder = sse.SseDecoder()
    for _ in range(1000):
        assert decoder.feed(b"data: x\n") == []
    assert len(decoder._held) == 1000
    assert decoder.feed(b"\n") == [b"\n".join([b"x"] * 1000)]


def test_many_events_in_one_read_are_no_large_event():
    assert len(decoded(b"data: abcdefgh\n\n" * 1000, max_event=100)) == 1000


def test_it_says_whether_an_event_was_cut_off():
    decoder = sse.SseDecoder()
    decoder.feed(b"data: a\n\n")
    assert not decoder.incomplete
    decoder.feed(b"data: b")
    assert decoder.incomplete
    decoder.feed(b"\n\n")
    assert not decoder.incomplete


@given(st.lists(st.binary(min_size=1).filter(lambda data: b"\n" not in data and b"\r" not in data), max_size=8))
def test_frames_decode_to_what_was_framed(payloads):
    assert decoded(sse.frames(payloads)) == payloads
    assert sse.frames(payloads) == b"".join(sse.frame(payload) for payload in payloads)


def test_the_keepalive_is_invisible():
    assert decoded(b"data: a\n\n" + sse.KEEPALIVE + b"data: b\n\n") == [b"a", b"b"]
