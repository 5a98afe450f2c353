"""Streams in correct HTTP whose events are wrong, strange, or never end.

Each is a list of pieces for ``raw.send``; every piece is one chunk, the last of which ends the body unless the fault says
otherwise. Invariant: where no stream was asked for the answer is a good one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .raw import STEP_SECONDS, End, Step, Wire, chunk
from .sending import STREAM_TYPE, frame

LAST = b"0\r\n\r\n"
ROLE, CONTENT = 0, 2
"""Positions in ``Wire.frames``: the preamble, and the end of the frames up to the first content."""

Pieces = Iterable[bytes | float | End]


def steps(make: Callable[[list[bytes]], Pieces], kind: bytes | None = None) -> Callable[[Wire], Iterable[Step]]:
    """Steps out of the pieces that ``make`` makes of the good stream's frames; ``kind`` is another content type."""

    def sent(wire: Wire) -> Iterator[Step]:
        if wire.frames is None:
            yield wire.sized(wire.body)
            yield End.KEEP
            return
        yield wire.chunked() if kind is None else wire.chunked().replace(STREAM_TYPE.encode(), kind)
        for piece in make(wire.frames):
            if isinstance(piece, bytes):
                yield chunk(piece)
            else:
                yield piece
                if isinstance(piece, End):
                    return
        yield LAST
        yield End.KEEP

    return sent


def payload(framed: bytes) -> Any:
    """The event that a frame carries."""
    return json.loads(framed.removeprefix(b"data: "))


def event(value: Any) -> bytes:
    """A value as a frame."""
    return frame(json.dumps(value, separators=(",", ":")).encode())


def changed(framed: bytes, **fields: Any) -> bytes:
    """A frame with other fields."""
    return event({**payload(framed), **fields})


def delta(framed: bytes, value: Any, finish: str | None = None) -> bytes:
    """A frame with another delta."""
    return changed(framed, choices=[{"index": 0, "delta": value, "finish_reason": finish}])


def error(message: str, kind: str = "server_error", code: str | None = None) -> bytes:
    """An error event in OpenAI's shape."""
    return event({"error": {"message": message, "type": kind, "param": None, "code": code}})


def _forever(*parts: bytes) -> Iterator[bytes | float]:
    for part in itertools.cycle(parts):
        yield part
        yield STEP_SECONDS


def _without_done(frames: list[bytes]) -> list[bytes]:
    return [each for each in frames if each != b"data: [DONE]\n\n"]


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _wrong_choices(value: Any) -> Callable[[list[bytes]], Pieces]:
    return lambda frames: [changed(frames[1], choices=value), *frames[1:]]


STREAM_FAULTS: dict[str, Callable[[Wire], Iterable[Step]]] = {
    # nothing in it
    "stream_empty": steps(lambda frames: []),
    "stream_done_only": steps(lambda frames: [frames[-1]]),
    "stream_role_done": steps(lambda frames: [frames[ROLE], frames[-1]]),
    "stream_role_cut": steps(lambda frames: [frames[ROLE]]),
    "stream_no_choices": steps(lambda frames: [changed(frames[0], choices=[]), changed(frames[0], choices=None), frames[-1]]),
    # not what it says
    "stream_ndjson": steps(lambda frames: [each.removeprefix(b"data: ")[:-1] for each in _without_done(frames)],
                           b"application/x-ndjson"),
    "stream_json_lines": steps(lambda frames: [each.removeprefix(b"data: ")[:-1] for each in _without_done(frames)]),
    "stream_text_plain": steps(lambda frames: frames, b"text/plain; charset=utf-8"),
    "stream_html": steps(lambda frames: [b"<html><body>Sign in</body></html>"], b"text/html"),
    "stream_html_as_events": steps(lambda frames: [b"<html>\n\n<body>Sign in</body>\n\n</html>"]),
    "stream_no_space": steps(lambda frames: [each.replace(b"data: ", b"data:", 1) for each in frames]),
    "stream_named_events": steps(lambda frames: [b"event: chunk\nid: 7\nretry: 10\n" + each for each in frames]),
    # events of another shape
    "event_choices_text": steps(_wrong_choices("none")),
    "event_choices_number": steps(_wrong_choices([7])),
    "event_delta_text": steps(lambda frames: [delta(frames[1], "text"), *frames[1:]]),
    "event_delta_list": steps(lambda frames: [delta(frames[1], [1]), *frames[1:]]),
    "event_finish_object": steps(lambda frames: [changed(frames[1], choices=[
        {"index": 0, "delta": {}, "finish_reason": {"x": 1}}]), *frames[1:]]),
    "event_index_object": steps(lambda frames: [changed(frames[1], choices=[
        {"index": {"x": 1}, "delta": {}, "finish_reason": "stop"}]), *frames[1:]]),
    "event_number": steps(lambda frames: [frame(b"7"), *frames]),
    "event_invalid_utf8": steps(lambda frames: [frame(b'{"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}'), *frames]),
    "event_nan": steps(lambda frames: [frame(b'{"choices":[{"index":0,"delta":{"content":"x"},"logprobs":NaN}]}'), *frames]),
    "event_deep": steps(lambda frames: [delta(frames[1], {"content": "deep", "odd": _nested(600)}), *frames[1:]]),
    "event_null_content": steps(lambda frames: [frames[0], *[delta(frames[1], {"content": None})] * 3, delta(frames[1], {}, "stop"), frames[-1]]),
    "event_wrong_usage": steps(lambda frames: [*frames[:-2], changed(frames[1], choices=[], usage="many"), frames[-1]]),
    "event_twice": steps(lambda frames: [part for each in frames for part in (each, each)]),
    # ends
    "finish_no_done": steps(_without_done),
    "finish_then_error": steps(lambda frames: [*_without_done(frames), error("late")]),
    "finish_then_reset": steps(lambda frames: [*_without_done(frames), 0.05, End.RESET]),
    "finish_then_stall": steps(lambda frames: [*_without_done(frames), End.HOLD]),
    "done_then_more": steps(lambda frames: [*frames, error("after the end"), frames[1]]),
    "done_then_reset": steps(lambda frames: [*frames, 0.05, End.RESET]),
    "done_then_stall": steps(lambda frames: [*frames, End.HOLD]),
    "tool_call_cut": steps(lambda frames: [
        frames[0], delta(frames[1], {"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                                                     "function": {"name": "pay", "arguments": ""}}]}),
        delta(frames[1], {"tool_calls": [{"index": 0, "function": {"arguments": '{"amount": 10'}}]})]),
    # errors
    "error_first": steps(lambda frames: [error("The server had an error")]),
    "error_as_text": steps(lambda frames: [event({"error": "boom"})]),
    "error_named": steps(lambda frames: [frames[0], b"event: error\n" + error("overloaded", "overloaded_error")]),
    "error_after_content": steps(lambda frames: [*frames[:4], error("The server had an error")]),
    "error_key_mid_stream": lambda wire: steps(lambda frames: [*frames[:4], error(
        f"Incorrect API key provided: {wire.key} at https://vendor.example/keys?key={wire.key}.", "invalid_request_error",
        "invalid_api_key")])(wire),
    "error_limit_mid_stream": steps(lambda frames: [*frames[:4], error("Rate limit reached.", "requests", "rate_limit_exceeded")]),
    "error_filter_mid_stream": steps(lambda frames: [*frames[:4], error("Filtered.", "invalid_request_error", "content_filter")]),
    "error_then_done": steps(lambda frames: [*frames[:4], error("The server had an error"), frames[-1]]),
    # without end
    "comments_forever": steps(lambda frames: _forever(b": ping\n\n")),
    "preambles_forever": steps(lambda frames: _forever(frames[ROLE])),
    "event_forever": steps(lambda frames: itertools.chain([b'data: {"id":"'], _forever(b"x"))),
    "event_endless": steps(lambda frames: itertools.chain([b'data: {"id":"'], itertools.repeat(b"x" * 262_144))),
    "lines_endless": steps(lambda frames: itertools.chain(frames[:2], itertools.repeat(b"data: x\n" * 1024))),
    "content_comments_forever": steps(lambda frames: itertools.chain(frames[:4], _forever(b": ping\n\n"))),
    "content_event_forever": steps(lambda frames: itertools.chain(frames[:4], [b'data: {"id":"'], _forever(b"x"))),
    "content_forever": steps(lambda frames: itertools.chain(frames[:2], _forever(frames[2]))),
    "content_flood": steps(lambda frames: itertools.chain(frames[:2], itertools.repeat(delta(frames[1], {"content": "x" * 65_536})))),
    "headers_stall": steps(lambda frames: [End.HOLD]),
    "role_stall": steps(lambda frames: [frames[ROLE], End.HOLD]),
    "content_stall": steps(lambda frames: [*frames[:4], End.HOLD]),
}
"""By name; each of phase ``wire``."""
