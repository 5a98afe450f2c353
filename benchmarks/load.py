"""The load generator: closed loop over keep-alive connections, as cheap as Python allows.

Invariant: each reply is checked before it counts; one that is not what the scenario claims ends the benchmark, because a
fast wrong answer is worth nothing.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it came off the wire; times in seconds from the request's last byte, ``first`` to its first content."""

    status: int
    head: bytes
    body: bytes
    first: float
    total: float


Check = Callable[[Reply], None]


def post(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A request's bytes."""
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time. ``marker``: what the body's first content begins with."""

    def __init__(self, marker: bytes) -> None:
        self._marker = marker

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._waiting: asyncio.Future[Reply] | None = None

    async def send(self, request: bytes) -> Reply:
        """The reply to a request."""
        self._received = bytearray()
        self._body_at = self._length = -1
        self._first = 0.0
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        self._began = time.perf_counter()
        return await self._waiting

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._body_at < 0:
            self._read_head()
        if self._body_at < 0:
            return
        if not self._first and self._received.find(self._marker, self._body_at) >= 0:
            self._first = time.perf_counter() - self._began
        chunked = self._length < 0
        done = self._received.endswith(b"0\r\n\r\n") if chunked else len(self._received) >= self._body_at + self._length
        if done and self._waiting is not None:
            total = time.perf_counter() - self._began
            head, body = bytes(self._received[:self._body_at]), bytes(self._received[self._body_at:])
            waiting, self._waiting = self._waiting, None
            waiting.set_result(Reply(int(head[9:12]), head, body, self._first or total, total))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def close(self) -> None:
        """End it."""
        self._transport.close()

    def _read_head(self) -> None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        self._body_at = end + 4
        for line in bytes(self._received[:end]).split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                self._length = int(value)


async def generate(port: int, requests: Iterator[bytes], check: Check, *, count: int, connections: int,
                   marker: bytes = b"{") -> list[Reply]:
    """Send ``count`` requests over so many connections; replies in order of completion, without their bodies."""
    replies: list[Reply] = []
    left = iter(range(count))

    async def work(connection: Connection) -> None:
        for _ in left:
            reply = await connection.send(next(requests))
            check(reply)
            replies.append(Reply(reply.status, b"", b"", reply.first, reply.total))

    loop = asyncio.get_running_loop()
    opened = [(await loop.create_connection(lambda: Connection(marker), "127.0.0.1", port))[1] for _ in range(connections)]
    gc.collect()
    gc.disable()
    try:
        async with asyncio.TaskGroup() as group:
            for connection in opened:
                group.create_task(work(connection))
    finally:
        gc.enable()
        for connection in opened:
            connection.close()
    return replies
