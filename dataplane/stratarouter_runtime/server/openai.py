"""OpenAI's front door: ``/v1/chat/completions``, ``/v1/embeddings``, ``/v1/models``.

Wire format: https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import asyncio
import time
from urllib.parse import unquote

import orjson
from aiohttp import web

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.wire import openai_chat, openai_embeddings, openai_errors, sse

from .exchange import Door, Exchange


async def chat_completions(exchange: Exchange) -> web.StreamResponse:
    """``POST /v1/chat/completions``."""
    request = openai_chat.parse_chat(await exchange.body())
    _parsed(exchange)
    if request.stream:
        return await _stream(exchange, request)
    response = await exchange.door.runtime.complete(exchange.execution, request)
    return await exchange.json(response.raw)


async def embeddings(exchange: Exchange) -> web.StreamResponse:
    """``POST /v1/embeddings``."""
    request = openai_embeddings.parse_embeddings(await exchange.body())
    _parsed(exchange)
    response = await exchange.door.runtime.complete(exchange.execution, request)
    return await exchange.json(response.raw)


async def models(exchange: Exchange) -> web.StreamResponse:
    """``GET /v1/models``."""
    listed = [_model(name) for name in exchange.door.runtime.models()]
    return await exchange.json(orjson.dumps({"object": "list", "data": listed}))


async def model(exchange: Exchange) -> web.StreamResponse:
    """``GET /v1/models/{id}``; an id may contain slashes."""
    name = unquote(exchange.request.match_info["id"])
    if name not in exchange.door.runtime.models():
        raise RequestError("ModelNotFound", f"The model '{name}' does not exist or you do not have access to it.",
                           status=404, param="model")
    return await exchange.json(orjson.dumps(_model(name)))


async def _stream(exchange: Exchange, request: ChatRequest) -> web.StreamResponse:
    events = exchange.open_events()
    async with exchange.door.runtime.stream(exchange.execution, request) as reply:
        try:
            async with asyncio.timeout_at(exchange.deadline()):
                async for batch in reply:
                    await events.send(sse.frames(event.raw for event in batch))
                await events.end()
        except TimeoutError:
            # The engine ends a stream at the deadline; only a client that does not read comes here.
            raise ConnectionAbortedError("the client stopped reading") from None
    if events.response is None:  # pragma: no cover - an engine's stream has at least one event
        raise RuntimeError("a stream without events")
    return events.response


def _parsed(exchange: Exchange) -> None:
    exchange.execution.stages["parse"] = time.monotonic() - exchange.execution.started


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "stratarouter"}


def add_routes(app: web.Application, door: Door) -> None:
    """Put the door into an application."""
    for path, serve, operation in (("/v1/chat/completions", chat_completions, "chat"), ("/v1/embeddings", embeddings, "embeddings")):
        app.router.add_post(path, door.handler(serve, operation), expect_handler=door.expected)
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/execute", "/v1/feedback"):
        app.router.add_route("*", path, door.handler(_only_post, "unknown"), expect_handler=door.expected)
    app.router.add_get("/v1/models", door.handler(models, "models"))
    app.router.add_get("/v1/models/{id:(?s:.+)}", door.handler(model, "models"))
    app.router.add_route("*", "/{path:(?s:.*)}", door.handler(_unknown, "unknown"), expect_handler=door.expected)


async def _only_post(exchange: Exchange) -> web.StreamResponse:
    raise RequestError("MethodNotSupported", f"Not allowed to {exchange.request.method} on {exchange.request.path}. Only POST is.",
                       status=405)


async def _unknown(exchange: Exchange) -> web.StreamResponse:
    request = exchange.request
    raise RequestError("UnknownUrl", f"Unknown request URL: {request.method} {request.path}. Please check the URL for typos.",
                       status=404, code="unknown_url")


ERRORS = openai_errors
"""The dialect's errors: ``error_body`` and ``error_frame``."""
