"""What fakes of small vendor APIs share: a real HTTP server, a script of replies and faults, and a record of requests.

A subclass has the routes, refuses what the vendor would refuse, and writes its wire format.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

from aiohttp import web

ReplyT = TypeVar("ReplyT")


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    json: Any


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens instead of an answer, or to it.

    ``body`` is sent whole with ``status``; where it is None the good answer is sent, cut after ``events`` of its pieces,
    followed by ``tail``. ``reset`` breaks the connection at that place.
    """

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    events: int | None = None
    tail: bytes = b""
    reset: bool = False


class Refused(Exception):  # noqa: N818 (says what happened)
    """The vendor refuses a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ScriptedVendor(Generic[ReplyT]):
    """A running fake; ``async with`` listens on a free port."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self._script: deque[ReplyT | Fault] = deque()
        self._runner: web.AppRunner | None = None
        self.port = 0

    def routes(self) -> Iterable[web.RouteDef]:
        """The vendor's endpoints."""
        raise NotImplementedError

    def error_body(self, refused: Refused) -> bytes:
        """The vendor's error."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Received:
        """The latest request."""
        return self.requests[-1]

    def say(self, *replies: ReplyT | Fault) -> None:
        """What the next requests are answered with, in order."""
        self._script.extend(replies)

    def next(self, default: ReplyT) -> ReplyT | Fault:
        """What the next request meets."""
        return self._script.popleft() if self._script else default

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._guarded], client_max_size=64 * 1024 * 1024)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        self.requests.append(Received(request.path, request.headers.copy(), body))
        try:
            response: web.StreamResponse = await handler(request)
        except Refused as refused:
            return web.Response(status=refused.status, body=self.error_body(refused), content_type="application/json")
        except web.HTTPNotFound:
            return web.Response(status=404, text="404 page not found")
        return response

    @staticmethod
    def whole(body: bytes, fault: Fault | None = None) -> web.Response:
        """A complete answer, or the fault in its place."""
        if fault is None:
            return web.Response(body=body, content_type="application/json")
        told = body if fault.body is None else fault.body
        return web.Response(body=told, status=fault.status, headers={**fault.headers, "Content-Type": fault.kind})

    @staticmethod
    async def stream(request: web.Request, pieces: Iterable[bytes], kind: str, fault: Fault | None = None) -> web.StreamResponse:
        """Pieces one after another, or what the fault leaves of them."""
        if fault is not None and fault.body is not None:
            return ScriptedVendor.whole(b"", fault)
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for piece in list(pieces)[:fault.events if fault is not None else None]:
            await response.write(piece)
            await asyncio.sleep(0)
        if fault is not None:
            await response.write(fault.tail)
            if fault.reset and request.transport is not None:
                request.transport.close()
        await response.write_eof()
        return response


def compact(value: Any) -> bytes:
    """JSON as most vendors write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
