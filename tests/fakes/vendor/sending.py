"""How the fake's answers reach the wire, whole or broken: one function a fault, over aiohttp's transport.

Invariant: every function returns a response object that aiohttp may try to finish; when the connection was destroyed on
purpose that attempt is harmless.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from aiohttp import web

from .errors import ApiError, Flavour, error_body, error_event, of_status
from .odd_bodies import ODD_BODIES

if TYPE_CHECKING:
    from .faults import Fault

HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n"
JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream; charset=utf-8"

Hold = Callable[[float | None], Awaitable[None]]


def destroy(request: web.Request, *, politely: bool = False) -> None:
    """End the connection at once: with a reset, or politely with a FIN."""
    transport = request.transport
    if transport is None:
        return
    if politely:
        transport.close()
        return
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def whole(body: bytes, headers: Mapping[str, str], *, status: int = 200, kind: str = JSON_TYPE) -> web.Response:
    """A complete answer."""
    return web.Response(body=body, status=status, headers={**headers, "Content-Type": kind})


async def broken(request: web.Request, fault: Fault, good: bytes, headers: Mapping[str, str], *,
                 model: str, flavour: Flavour) -> web.StreamResponse:
    """An answer of phase ``answer``: something else than the good body."""
    extra = {**headers, **fault.headers}
    if fault.name == "redirect":
        return web.Response(status=fault.status, headers=extra)
    if fault.name.startswith("html_"):
        return whole(HTML, extra, status=fault.status, kind="text/html; charset=utf-8")
    if fault.name.startswith("bare_"):
        return web.Response(status=fault.status, headers=extra)
    if fault.name == "unstreamed":
        return whole(good, extra)  # also where a stream was asked for
    if fault.name == "wrong_content_type":
        return whole(good, extra, kind="application/octet-stream")
    if fault.name == "wrong_length":
        return await _short(request, good, extra)
    if fault.name == "huge_body":
        return whole(b'{"padding":"' + b"x" * fault.size + b'"}', extra)
    if fault.name == "error_in_200":
        return whole(error_body(of_status(500, model), flavour), extra)
    if fault.name in ODD_BODIES:
        return whole(ODD_BODIES[fault.name](good), extra)
    if fault.name == "key_echo":
        return whole(error_body(_quoting(request, fault.status), flavour), extra, status=fault.status)
    return whole(error_body(of_status(fault.status, model, fault.code), flavour), extra, status=fault.status)


def _quoting(request: web.Request, status: int) -> ApiError:
    """An error that quotes all it should not: the caller's key, and the URL it called."""
    key = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return ApiError(status, f"Call of {request.url}?key={key} with key {key} failed: Authorization: Bearer {key}", "server_error")


async def framed(request: web.Request, body: bytes, headers: Mapping[str, str], fault: Fault) -> web.StreamResponse:
    """A complete JSON answer sent in an unusual way."""
    response = whole(body, headers)
    if fault.name == "gzip":
        response.enable_compression(web.ContentCoding.gzip)
    return response


async def stream(request: web.Request, events: Iterable[bytes], headers: Mapping[str, str], *, fault: Fault | None,
                 interval: float, hold: Hold, flavour: Flavour) -> web.StreamResponse:
    """Send events as server-sent events, met by a fault of phase ``stream`` or ``framing`` or by none."""
    response = web.StreamResponse(headers={**headers, "Content-Type": STREAM_TYPE})
    if fault is not None and fault.name == "gzip":
        response.enable_compression(web.ContentCoding.gzip)
    if flavour != "openai":
        response.headers["Content-Type"] = "text/event-stream" + ("; charset=utf-8" if flavour != "ollama" else "")
    await response.prepare(request)
    if fault is not None and fault.phase == "stream":
        pieces = _failing(request, list(events), fault, hold, flavour)
    else:
        pieces = _framing(events, fault, hold)
    async for piece in pieces:
        await response.write(piece)
        if interval:
            await asyncio.sleep(interval)
    await response.write_eof()
    return response


def frame(data: bytes, end: bytes = b"\n") -> bytes:
    """One event."""
    return b"data: " + data + end + end


async def _failing(request: web.Request, events: list[bytes], fault: Fault, hold: Hold,
                   flavour: Flavour) -> AsyncIterator[bytes]:
    if fault.name == "no_done":
        events = events[:-1]
    if fault.name == "no_usage":
        events = [event for event in events if b'"choices":[]' not in event]
    if fault.name in ("no_done", "no_usage"):
        for event in events:
            yield frame(event)
        return
    for event in events[: fault.after]:
        yield frame(event)
    async for piece in _rest(request, events[fault.after:], fault, hold, flavour):
        yield piece


async def _rest(request: web.Request, rest: list[bytes], fault: Fault, hold: Hold,
                flavour: Flavour) -> AsyncIterator[bytes]:
    match fault.name:
        case "reset_after_headers" | "reset_mid_stream":
            destroy(request)
        case "cut_connection":
            destroy(request, politely=True)
        case "cut_in_character":
            yield frame('{"choices":[{"index":0,"delta":{"content":"\u20ac'.encode())[:-3]
        case "error_event" | "error_event_first":
            yield frame(error_event(of_status(500, ""), flavour))
            if flavour.startswith("vllm"):
                yield frame(b"[DONE]")
        case "garbage_event":
            yield frame(b'{"choices":[{"index":0,')
            for event in rest:
                yield frame(event)
        case "huge_event":
            yield b"data: " + b"x" * fault.size
        case "slow_first_token" | "stall":
            await hold(fault.delay)
            for event in rest:
                yield frame(event)
        case "cut":
            return


async def _framing(events: Iterable[bytes], fault: Fault | None, hold: Hold) -> AsyncIterator[bytes]:
    name = fault.name if fault is not None else ""
    end = {"crlf": b"\r\n", "cr": b"\r"}.get(name, b"\n")
    if name == "bom":
        yield b"\xef\xbb\xbf"
    for event in events:
        if name == "comments":
            yield b": keepalive\n\n\n: another\n\n" if event != b"[DONE]" else b":\n\n"
        if name == "multi_line_data" and event != b"[DONE]":
            lines = json.dumps(json.loads(event), indent=1, ensure_ascii=False).encode().split(b"\n")
            yield b"id: 1\nevent: message\n" + b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
        elif name == "split_bytes":
            whole_frame = frame(event)
            for start in range(0, len(whole_frame), 7):
                yield whole_frame[start:start + 7]
        else:
            yield frame(event, end)
        if name == "trickle" and fault is not None:
            await hold(fault.delay)


async def _short(request: web.Request, body: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
    """Announce more bytes than are sent, then close."""
    response = web.StreamResponse(headers={**headers, "Content-Type": JSON_TYPE})
    response.content_length = len(body) + 100
    await response.prepare(request)
    await response.write(body)
    destroy(request, politely=True)
    return response

