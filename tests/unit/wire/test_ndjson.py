"""Claims: the decoder gives the lines of the stream, however the bytes are split, within bounded memory."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.wire.ndjson import NdjsonDecoder
from stratarouter_runtime.wire.sse import EventTooLarge


def decoded(*chunks, max_line=1000):
    decoder = NdjsonDecoder(max_line=max_line)
    lines = [line for chunk in chunks for line in decoder.feed(chunk)]
    return lines, decoder.rest()


@pytest.mark.parametrize(("stream", "lines", "rest"), [
    (b"", [], b""), (b"a\n", [b"a"], b""), (b"a\nb\n", [b"a", b"b"], b""), (b"a\r\nb\r\n", [b"a", b"b"], b""), (b"a\nb", [b"a"], b"b"),
    (b"\n\n \r\na\n\n", [b"a"], b""), (b"\xef\xbb\xbfa\nb\n", [b"a", b"b"], b""), (b"\xef\xbb\xbfa", [], b"a"), (b" a\t\n", [b"a"], b""),
    ("€\n…".encode(), ["€".encode()], "…".encode()), (b"a\rb\n", [b"a\rb"], b"")])
def test_lines_are_those_of_the_stream(stream, lines, rest):
    assert decoded(stream) == (lines, rest)
    assert decoded(*(stream[index:index + 1] for index in range(len(stream)))) == (lines, rest)


LINES = st.lists(st.tuples(st.sampled_from([b"{}", b'{"a":1}', b"", b" ", '{"t":"€"}'.encode(), b"\xef\xbb\xbf{}"]), st.sampled_from([b"\n", b"\r\n"])), max_size=20)


@given(LINES, st.binary(max_size=4), st.lists(st.integers(0, 200), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_lines(lines, tail, cuts):
    stream = b"".join(line + end for line, end in lines) + tail
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert decoded(*pieces) == decoded(stream)


@pytest.mark.parametrize("chunks", [[b"x" * 11], [b"x" * 6] * 2, [b"x" * 6, b"x" * 6 + b"\n"], [b"x" * 11 + b"\n"]])
def test_a_line_has_a_bound(chunks):
    with pytest.raises(EventTooLarge):
        decoded(*chunks, max_line=10)
    assert decoded(*[b"x" * 5 + b"\n"] * 10, max_line=10)[0] == [b"x" * 5] * 10


def test_a_large_line_in_small_pieces_is_joined_once():
    """Quadratic joining would take minutes."""
    size = 2_000_000
    lines, rest = decoded(*[b"x"] * size, b"\n", max_line=size)
    assert ([len(line) for line in lines], rest) == ([size], b"")
