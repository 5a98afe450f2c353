"""Answers that no HTTP server library would send: the very bytes on the wire, and how the connection ends.

Each wire fault is a short list of steps over the socket: bytes, a pause, an end. ``Wire`` carries what a good answer
would have been, so that a fault can begin, end or wrap it.

Sources of the shapes: RFC 9110 and 9112 (HTTP/1.1), RFC 1951/1952 (deflate, gzip), the WHATWG standard on server-sent
events; the failures are those of real proxies and servers: cut bodies, wrong lengths, torn chunks, second answers.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from aiohttp import web

from .sending import JSON_TYPE, STREAM_TYPE, destroy, frame

POISON = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"SOMEBODY ELSE\'S ANSWER"},"finish_reason":"stop"}]}'
POISONED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(POISON), POISON)
"""An answer that nobody asked for."""
STEP_SECONDS = 0.02
"""Between the steps of what goes on for ever."""


class End(Enum):
    """How a connection ends."""

    RESET = "reset"
    CLOSE = "close"
    HALF = "half"      # the sending side only: the vendor still reads
    HOLD = "hold"      # it does not end
    KEEP = "keep"      # the next request may come on it


Step = bytes | float | End


@dataclass(frozen=True, slots=True)
class Wire:
    """A good answer in its parts. ``frames`` are the server-sent events where a stream was asked for; ``key`` is the caller's."""

    body: bytes
    frames: list[bytes] | None
    key: str = ""

    @property
    def content(self) -> bytes:
        """The whole body of the good answer."""
        return self.body if self.frames is None else b"".join(self.frames)

    @property
    def half(self) -> bytes:
        """A first part of the good answer; of a stream the preamble and some content."""
        return self.body[: len(self.body) // 2] if self.frames is None else b"".join(self.frames[:4])

    def head(self, *headers: bytes, status: bytes = b"200 OK") -> bytes:
        """Status line and headers."""
        kind = JSON_TYPE if self.frames is None else STREAM_TYPE
        lines = [b"HTTP/1.1 " + status, b"Content-Type: " + kind.encode(), *headers]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def sized(self, body: bytes, size: int | None = None, *headers: bytes) -> bytes:
        """An answer with a length, true or not."""
        return self.head(b"Content-Length: %d" % (len(body) if size is None else size), *headers) + body

    def chunked(self, *headers: bytes) -> bytes:
        """The head of an answer in chunks."""
        return self.head(b"Transfer-Encoding: chunked", *headers)


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


async def send(request: web.Request, steps: Iterable[Step], *, hold: Callable[[float | None], Awaitable[None]],
               wrote: Callable[[int], None]) -> web.StreamResponse:
    """Write the steps of a fault over the request's connection; ``wrote`` hears how many bytes were taken."""
    transport, sent = request.transport, Sent()
    for step in steps:
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        if isinstance(step, bytes):
            transport.write(step)
            await _drained(request)
            wrote(len(step))
            await asyncio.sleep(0)  # what goes on for ever must not keep others from running
        elif isinstance(step, float):
            await hold(step)
        elif step is End.HALF:
            transport.write_eof()
            await hold(None)
        elif step is End.HOLD:
            await hold(None)
        elif step is End.KEEP:
            sent._keep_alive = True
        else:
            destroy(request, politely=step is End.CLOSE)
    return sent


class Sent(web.Response):
    """An answer that has gone out already."""

    async def prepare(self, request: Any) -> None:
        """Nothing is left to send."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


async def _drained(request: web.Request) -> None:
    protocol = request.protocol
    if protocol is not None:
        await protocol._drain_helper()


def _halves(data: bytes) -> tuple[bytes, bytes]:
    return data[: len(data) // 2], data[len(data) // 2:]


def _forever(*parts: bytes) -> Iterator[Step]:
    for part in itertools.cycle(parts):
        yield part
        yield STEP_SECONDS


def _garbage_status(wire: Wire) -> Iterable[Step]:
    return [b"SMTP ready\r\n\r\n", End.CLOSE]


def _headers_cut(wire: Wire) -> Iterable[Step]:
    return [wire.head()[:-12], End.CLOSE]


def _headers_reset(wire: Wire) -> Iterable[Step]:
    return [wire.head()[:-12], 0.0, End.RESET]


def _headers_trickle(wire: Wire) -> Iterable[Step]:
    return itertools.chain([b"HTTP/1.1 200 OK\r\nX-Slow: "], _forever(b"x"))


def _huge_header(wire: Wire) -> Iterable[Step]:
    return [b"HTTP/1.1 200 OK\r\nX-Huge: " + b"x" * 1_000_000 + b"\r\n\r\n", End.CLOSE]


def _endless_headers(wire: Wire) -> Iterator[Step]:
    yield b"HTTP/1.1 200 OK\r\n"
    for number in itertools.count():
        yield b"".join(b"X-%d-%d: %s\r\n" % (number, each, b"x" * 100) for each in range(500))


def _early_hints(wire: Wire) -> Iterable[Step]:
    return [b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n", wire.sized(wire.content), End.KEEP]


def _continue_forever(wire: Wire) -> Iterable[Step]:
    return _forever(b"HTTP/1.1 100 Continue\r\n\r\n")


def _switching(wire: Wire) -> Iterable[Step]:
    return [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", End.HOLD]


def _no_content(wire: Wire) -> Iterable[Step]:
    return [b"HTTP/1.1 204 No Content\r\n\r\n", End.KEEP]


def _length_beyond(wire: Wire) -> Iterable[Step]:
    return [wire.sized(wire.half, len(wire.content)), End.CLOSE]


def _length_short(wire: Wire) -> Iterable[Step]:
    return [wire.sized(wire.content, len(wire.half) - 5), End.CLOSE]


def _length_garbage(wire: Wire) -> Iterable[Step]:
    return [wire.head(b"Content-Length: many") + wire.content, End.CLOSE]


def _length_negative(wire: Wire) -> Iterable[Step]:
    return [wire.head(b"Content-Length: -1") + wire.content, End.CLOSE]


def _lengths_differ(wire: Wire) -> Iterable[Step]:
    return [wire.head(b"Content-Length: 5", b"Content-Length: %d" % len(wire.content)) + wire.content, End.CLOSE]


def _second_answer(wire: Wire) -> Iterable[Step]:
    return [wire.sized(wire.content) + POISONED, End.KEEP]


def _second_answer_later(wire: Wire) -> Iterable[Step]:
    return [wire.sized(wire.content), 0.0, POISONED, End.KEEP]


def _no_length(wire: Wire) -> Iterable[Step]:
    return [wire.head(b"Connection: close") + wire.content, End.CLOSE]


def _no_length_cut(wire: Wire) -> Iterable[Step]:
    return [wire.head(b"Connection: close") + wire.half, End.CLOSE]


def _chunk_size_garbage(wire: Wire) -> Iterable[Step]:
    return [wire.chunked() + chunk(wire.half), 0.05, b"zz\r\nmore\r\n", End.CLOSE]


def _chunk_size_huge(wire: Wire) -> Iterable[Step]:
    return [wire.chunked() + chunk(wire.half), 0.05, b"f" * 40 + b"\r\nmore\r\n", End.CLOSE]


def _chunk_torn(wire: Wire) -> Iterable[Step]:
    return [wire.chunked() + chunk(wire.half), 0.05, b"5\r\nmore than five\r\n", End.CLOSE]


def _chunk_cut(wire: Wire) -> Iterable[Step]:
    return [wire.chunked() + chunk(wire.half), End.CLOSE]


def _chunk_reset(wire: Wire) -> Iterable[Step]:
    return [wire.chunked() + chunk(wire.half) + b"ff\r\nhalf", 0.05, End.RESET]


def _body_half_closed(wire: Wire) -> Iterable[Step]:
    return [wire.chunked() + chunk(wire.half), End.HALF]


def _half_closed(wire: Wire) -> Iterable[Step]:
    return [End.HALF]


def _body_stall(wire: Wire) -> Iterable[Step]:
    return [wire.chunked() + chunk(wire.half), End.HOLD]


def _body_missing(wire: Wire) -> Iterable[Step]:
    return [wire.chunked(), End.HOLD]


def _body_reset(wire: Wire) -> Iterable[Step]:
    return [wire.sized(wire.half, len(wire.content)), 0.05, End.RESET]


def _body_trickle(wire: Wire) -> Iterable[Step]:
    return itertools.chain([wire.chunked()], _forever(chunk(b" ")))


def _gzip_cut(wire: Wire) -> Iterable[Step]:
    packed = gzip.compress(wire.content)
    return [wire.sized(packed[: len(packed) // 2], None, b"Content-Encoding: gzip"), End.KEEP]


def _gzip_garbage(wire: Wire) -> Iterable[Step]:
    return [wire.sized(wire.content, None, b"Content-Encoding: gzip"), End.KEEP]


def _deflate_cut(wire: Wire) -> Iterable[Step]:
    packed = zlib.compress(wire.content)
    return [wire.sized(packed[: len(packed) // 2], None, b"Content-Encoding: deflate"), End.KEEP]


def _deflate(wire: Wire) -> Iterable[Step]:
    return [wire.sized(zlib.compress(wire.content), None, b"Content-Encoding: deflate"), End.KEEP]


def _gzip_bomb(wire: Wire) -> Iterator[Step]:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    opening = b'{"padding":"' if wire.frames is None else wire.frames[0] + wire.frames[1] + b"data: "
    yield wire.chunked(b"Content-Encoding: gzip") + chunk(squeeze.compress(opening) + squeeze.flush(zlib.Z_FULL_FLUSH))
    megabytes = squeeze.compress(b"x" * 16_000_000) + squeeze.flush(zlib.Z_FULL_FLUSH)
    while True:
        yield chunk(megabytes)


def _unknown_encoding(wire: Wire) -> Iterable[Step]:
    return [wire.sized(wire.content, None, b"Content-Encoding: snappy"), End.KEEP]


def _closed_after(wire: Wire) -> Iterable[Step]:
    return [wire.sized(wire.content, None, b"Connection: keep-alive"), End.CLOSE]


def _refusal_stall(wire: Wire) -> Iterable[Step]:
    return [wire.head(b"Content-Length: 500", status=b"503 Service Unavailable") + b'{"error":{"message":"', End.HOLD]


def _refusal_cut(wire: Wire) -> Iterable[Step]:
    return [wire.head(b"Content-Length: 500", status=b"503 Service Unavailable") + b'{"error":{"message":"', End.CLOSE]


def _refusal_endless(wire: Wire) -> Iterable[Step]:
    return itertools.chain([wire.head(b"Transfer-Encoding: chunked", status=b"503 Service Unavailable")],
                           itertools.repeat(chunk(b"x" * 65_536)))


def _json_stall(wire: Wire) -> Iterable[Step]:
    return [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b'{"choices":['), End.HOLD]


def _cookie(wire: Wire) -> Iterable[Step]:
    return [wire.sized(wire.content, None, b"Set-Cookie: session=abc; Path=/"), End.KEEP]


WIRE_FAULTS: dict[str, Callable[[Wire], Iterable[Step]]] = {
    "body_half_closed": _body_half_closed, "body_missing": _body_missing, "body_reset": _body_reset, "body_stall": _body_stall,
    "body_trickle": _body_trickle, "chunk_cut": _chunk_cut, "chunk_reset": _chunk_reset, "chunk_size_garbage": _chunk_size_garbage,
    "chunk_size_huge": _chunk_size_huge, "chunk_torn": _chunk_torn, "closed_after": _closed_after,
    "continue_forever": _continue_forever, "cookie": _cookie, "deflate": _deflate, "deflate_cut": _deflate_cut,
    "early_hints": _early_hints, "endless_headers": _endless_headers, "garbage_status": _garbage_status, "gzip_bomb": _gzip_bomb,
    "gzip_cut": _gzip_cut, "gzip_garbage": _gzip_garbage, "half_closed": _half_closed, "headers_cut": _headers_cut,
    "headers_reset": _headers_reset, "headers_trickle": _headers_trickle, "huge_header": _huge_header,
    "length_beyond": _length_beyond, "length_garbage": _length_garbage, "length_negative": _length_negative,
    "length_short": _length_short, "lengths_differ": _lengths_differ, "no_content": _no_content, "no_length": _no_length,
    "no_length_cut": _no_length_cut, "json_stall": _json_stall,
    "refusal_cut": _refusal_cut, "refusal_endless": _refusal_endless, "refusal_stall": _refusal_stall, "second_answer": _second_answer,
    "second_answer_later": _second_answer_later, "switching_protocols": _switching,
    "unknown_encoding": _unknown_encoding}
"""By name; each of phase ``wire``."""


def wire_of(body: bytes, events: Iterable[bytes] | None, key: str = "") -> Wire:
    """The parts of a good answer to the holder of ``key``."""
    return Wire(body, None if events is None else [frame(event) for event in events], key)
