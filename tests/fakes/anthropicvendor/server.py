"""A running fake of Anthropic's API: scripted replies and faults, a record of what came, refusals as strict as the vendor's."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from . import bodies
from .checks import Refused, check

KEY = "sk-ant-api03-fake-0123456789"
STATUS = {"invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
          "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
          "overloaded_error": 529}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong. ``kind`` and ``told`` make an error: as the reply, or in mid-stream after ``events`` events.

    Without ``kind`` the good stream is cut after ``events`` events, and what is in ``tail`` follows; with ``body`` that is sent instead.
    """

    kind: str = ""
    told: str = ""
    status: int = 0
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    events: int | None = None
    tail: bytes = b""
    body: bytes | None = None
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


class AnthropicVendor:
    """``async with`` listens on a free port. ``interval`` seconds pass between two events."""

    def __init__(self, *, key: str = KEY, interval: float = 0.0) -> None:
        self.api_key = key
        self.interval = interval
        self.requests: list[Received] = []
        self.aborted = 0
        self._script: deque[bodies.Reply | Fault] = deque()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def base_url(self) -> str:
        """What the SDK takes as its base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Received:
        return self.requests[-1]

    @property
    def body(self) -> Any:
        """The latest request's body."""
        return self.last.json

    def say(self, *script: bodies.Reply | Fault | bodies.Block) -> None:
        """What comes next, in order; a block is a reply of just that."""
        self._script.extend(bodies.Reply((each,)) if isinstance(each, dict) else each for each in script)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await self._accepted(request)
        except Refused as refused:
            return self._error(refused.status, refused.kind, refused.told)
        met = self._script.popleft() if self._script else bodies.answer_to(body)
        fault = met if isinstance(met, Fault) else None
        reply = bodies.answer_to(body) if isinstance(met, Fault) else met
        terms = {"number": len(self.requests), "model": body["model"], "asked": self._tokens(body)}
        if fault is not None and fault.body is not None:
            return web.Response(body=fault.body, status=fault.status or 200, headers={**self._headers(), **fault.headers},
                                content_type="application/json")
        if fault is not None and fault.events is None:
            return self._error(fault.status or STATUS[fault.kind], fault.kind, fault.told, code=fault.code, headers=fault.headers)
        if not body.get("stream"):
            return web.Response(body=bodies.message(reply, **terms), headers=self._headers(), content_type="application/json")
        return await self._stream(request, list(bodies.events(reply, **terms)), fault)

    async def _stream(self, request: web.Request, events: Iterable[bytes], fault: Fault | None) -> web.StreamResponse:
        response = web.StreamResponse(headers={**self._headers(), "Content-Type": "text/event-stream; charset=utf-8",
                                               "Cache-Control": "no-cache"})
        await response.prepare(request)
        try:
            for piece in list(events)[:fault.events if fault is not None else None]:
                await response.write(piece)
                await asyncio.sleep(self.interval)
            if fault is not None:
                if fault.kind:
                    await response.write(b"event: error\ndata: " + bodies.error(fault.kind, fault.told, len(self.requests)) + b"\n\n")
                await response.write(fault.tail)
                if fault.reset and request.transport is not None:
                    request.transport.abort()
                    return response
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            self.aborted += 1
            raise
        return response

    async def _count(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await self._accepted(request, counting=True)
        except Refused as refused:
            return self._error(refused.status, refused.kind, refused.told)
        return web.Response(body=bodies.compact({"input_tokens": self._tokens(body)}), headers=self._headers(),
                            content_type="application/json")

    async def _accepted(self, request: web.Request, *, counting: bool = False) -> Any:
        raw = await request.read()
        self.requests.append(Received(request.path_qs, {name.lower(): value for name, value in request.headers.items()}, raw))
        key = request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not key:
            raise Refused("x-api-key header is required", status=401, kind="authentication_error")
        if key != self.api_key:
            raise Refused("invalid x-api-key", status=401, kind="authentication_error")
        version = request.headers.get("anthropic-version", "")
        if version not in ("2023-06-01", "2026-10-21"):
            raise Refused("anthropic-version: header is required" if not version else f'anthropic-version: "{version}" is not a valid version')
        try:
            body = json.loads(raw)
        except ValueError:
            raise Refused("The request body is not valid JSON: unexpected character") from None
        check(body, version, counting=counting)
        return body

    @staticmethod
    def _tokens(body: Mapping[str, Any]) -> int:
        return 8 + len(json.dumps([body["messages"], body.get("system"), body.get("tools")])) // 4

    def _headers(self) -> dict[str, str]:
        return {"request-id": f"req_011CS{len(self.requests):019d}", "anthropic-organization-id": "9c2f5d1e-0000-4000-8000-000000000000",
                "anthropic-ratelimit-requests-limit": "4000", "anthropic-ratelimit-requests-remaining": "3999",
                "anthropic-ratelimit-requests-reset": "2026-01-02T03:04:05Z", "server": "cloudflare"}

    def _error(self, status: int, kind: str, told: str, *, code: str = "", headers: Mapping[str, str] | None = None) -> web.Response:
        retry = {"x-should-retry": "true"} if status in (429, 500, 529) else {"x-should-retry": "false"}
        return web.Response(body=bodies.error(kind, told, len(self.requests), code), status=status,
                            headers={**self._headers(), **retry, **(headers or {})}, content_type="application/json")
