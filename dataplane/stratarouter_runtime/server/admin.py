"""The admin endpoints of the platform port: what tells of callers' requests, and so needs a key.

``GET /executions/{id}``: what is known of an execution.

Invariants: without ``auth.adminKeysSecretRef`` they do not exist (404); with it, nothing is told to anybody without a key;
errors have OpenAI's shape.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from stratarouter_runtime.model.errors import StrataError
from stratarouter_runtime.wire import openai_errors

from . import headers
from .auth import AdminKeys

FindExecution = Callable[[str], Awaitable[dict[str, Any]]]
"""An execution by its id; raises ``StrataError``."""
Answer = Callable[[web.Request], Awaitable[Any]]


def add_routes(app: web.Application, keys: AdminKeys, find: FindExecution) -> None:
    """Put the admin endpoints into an application."""

    async def execution(request: web.Request) -> dict[str, Any]:
        return await find(request.match_info["id"])

    app.router.add_get("/executions/{id}", guarded(keys, execution))


def guarded(keys: AdminKeys, answer: Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that asks for an admin key first and answers with JSON."""

    async def handle(request: web.Request) -> web.Response:
        try:
            keys.check(request.headers)
            return _json(200, orjson.dumps(await answer(request)))
        except StrataError as error:
            return _json(error.status, openai_errors.error_body(error), _headers(error))

    return handle


def _headers(error: StrataError) -> dict[str, str]:
    # RFC 9110 (11.6.1) asks a 401 to say how to authenticate.
    challenge = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    return challenge | headers.retry_after(error)


def _json(status: int, body: bytes, extra: dict[str, str] | None = None) -> web.Response:
    # What is shown changes, and is for the one who holds the key.
    return web.Response(status=status, body=body, content_type="application/json",
                        headers={"Cache-Control": "no-store", **(extra or {})})
