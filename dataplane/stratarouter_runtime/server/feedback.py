"""``POST /v1/feedback``: whether an execution's answer was correct."""

from __future__ import annotations

from dataclasses import asdict

import orjson
from aiohttp import web

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.wire import openai_checks

from .exchange import Door, Exchange

_FIELDS = ("execution_id", "correct")


async def feedback(exchange: Exchange) -> web.StreamResponse:
    """``POST /v1/feedback``."""
    body = openai_checks.parse_object(await exchange.body())
    unknown = next((name for name in body if name not in _FIELDS), None)
    if unknown is not None:
        raise RequestError("UnknownParameter", f"Unknown parameter: '{unknown}'.", param=unknown)
    for name in _FIELDS:
        if body.get(name) is None:
            raise openai_checks.missing(name)
    identity, correct = body["execution_id"], body["correct"]
    result = await exchange.door.runtime.feedback(exchange.execution.caller, identity, correct=correct)
    return await exchange.json(orjson.dumps(asdict(result)))


def add_routes(app: web.Application, door: Door) -> None:
    """Put the door into an application."""
    app.router.add_post("/v1/feedback", door.handler(feedback, "feedback"), expect_handler=door.expected)
