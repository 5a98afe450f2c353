"""A server-sent event stream to a client.

Invariants: nothing is sent before there is content or the keepalive interval has passed; while silent a comment keeps
proxies from closing the connection; writes wait for a client that reads slowly, so memory stays bounded; the keepalive
task is owned here and ends with the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web

_COMMENT = b": keepalive\n\n"
_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class EventStream:
    """Writes frames to one client. ``headers`` is asked when the first byte goes out."""

    def __init__(self, request: web.Request, headers: Callable[[], Mapping[str, str]], *, keepalive: float, close: bool) -> None:
        self._request = request
        self._headers = headers
        self._keepalive = keepalive
        self._close_connection = close
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._written = self._loop.time()
        self._comment: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(keepalive, self._tick)
        self.response: web.StreamResponse | None = None
        self.ended = False
        """Whether the body is complete."""

    async def send(self, frames: bytes) -> None:
        """Write whole frames; waits while the client does not read."""
        response = self.response or await self._open()
        self._written = self._loop.time()
        await response.write(frames)

    async def end(self) -> None:
        """Complete the body."""
        self.close()
        if self.response is not None:
            await self.response.write_eof()
            self.ended = True

    def close(self) -> None:
        """Stop keeping the connection alive; the body stays incomplete unless ``end`` was called."""
        self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    async def _open(self) -> web.StreamResponse:
        async with self._lock:
            if self.response is None:
                response = web.StreamResponse(headers={**_HEADERS, **self._headers()})
                if self._close_connection:
                    response.force_close()
                await response.prepare(self._request)
                self.response = response
            return self.response

    def _tick(self) -> None:
        silent = self._loop.time() - self._written
        if silent >= self._keepalive:
            silent = 0.0
            if self._comment is None or self._comment.done():
                self._comment = self._loop.create_task(self._send_comment())
        self._timer = self._loop.call_later(self._keepalive - silent, self._tick)

    async def _send_comment(self) -> None:
        try:
            await self.send(_COMMENT)
        except ConnectionError:
            self._timer.cancel()  # the client is gone; its handler is being cancelled by aiohttp
