"""Anthropic's Messages API as a front door: ``POST /v1/messages``, whole or as events, over every provider, and
``POST /v1/messages/count_tokens``.

Where the vendor speaks the same API the caller's body and the vendor's bytes pass through with only what must change, else both are
translated; either way the caller sees one dialect. Wire format: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import orjson
from aiohttp import web

from stratarouter_runtime.model.errors import RequestError, StrataError
from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.model.response import Batch, ChatResponse
from stratarouter_runtime.model.tokens import request_tokens
from stratarouter_runtime.reply import Reply
from stratarouter_runtime.wire import anthropic_errors, anthropic_reply
from stratarouter_runtime.wire.anthropic_events import MessageEvents
from stratarouter_runtime.wire.anthropic_parse import parse_messages

from .events import EventStream
from .exchange import Dialect, Door, Exchange


async def messages(exchange: Exchange) -> web.StreamResponse:
    """``POST /v1/messages``."""
    request = parse_messages(await exchange.body(), exchange.request.headers)
    exchange.execution.stages["parse"] = time.monotonic() - exchange.execution.started
    if request.stream:
        return await _stream(exchange, request)
    response = await exchange.door.runtime.complete(exchange.execution, request)
    if not isinstance(response, ChatResponse):  # pragma: no cover - a chat request is answered by a chat response
        raise TypeError("not a chat response")
    # A stored answer is canonical, and has an id of its own.
    return await exchange.json(response.native or anthropic_reply.message_bytes(orjson.loads(response.raw)))


async def count_tokens(exchange: Exchange) -> web.StreamResponse:
    """``POST /v1/messages/count_tokens``: an estimate that errs upwards, of what the plan would send."""
    request = parse_messages(await exchange.body(), exchange.request.headers, counting=True)
    explanation = exchange.door.runtime.explain(exchange.execution, request)
    if explanation.plan is None and explanation.refusal is not None and explanation.refusal.status == 404:
        raise explanation.refusal
    planned = request if explanation.plan is None else explanation.plan.request
    return await exchange.json(orjson.dumps({"input_tokens": request_tokens(planned)}))


async def _stream(exchange: Exchange, request: ChatRequest) -> web.StreamResponse:
    events = exchange.open_events()
    async with exchange.door.runtime.stream(exchange.execution, request) as reply:
        try:
            async with asyncio.timeout_at(exchange.deadline()):
                if exchange.execution.hit is not None:
                    await _replayed(events, reply)
                else:
                    await _live(events, reply)
                await events.end()
        except TimeoutError:
            # The engine ends a stream at the deadline; only a client that does not read comes here.
            raise ConnectionAbortedError("the client stopped reading") from None
    if events.response is None:  # pragma: no cover - an engine's stream has at least one event
        raise RuntimeError("a stream without events")
    return events.response


async def _live(events: EventStream, reply: Reply) -> None:
    """The vendor's own events where it has them, else those that its answer amounts to."""
    made: MessageEvents | None = None
    async for batch in reply:
        written = b"" if made is not None else _native(batch)
        if not written:
            made = made or MessageEvents()
            written = made.feed(batch)
        if written:
            await events.send(written)


async def _replayed(events: EventStream, reply: Reply) -> None:
    """A stored answer is whole: its blocks are sent as they are, not as the chunks of another dialect."""
    async for _ in reply:
        pass
    whole = reply.response()
    if whole is None:  # pragma: no cover - a stored answer is always there
        raise RuntimeError("a stored answer that is none")
    await events.send(MessageEvents().replayed(anthropic_reply.message(whole.body)))


def _native(batch: Batch) -> bytes:
    return b"".join([event.native for event in batch])


class MessagesDoor(Door):
    """A door whose errors, and whose own header, name the request."""

    def dialect_of(self, request_id: str) -> Dialect:
        """Anthropic's errors."""
        return _Errors(request_id)

    def headers(self, request_id: str) -> Mapping[str, str]:
        """Where Anthropic's SDKs look for it."""
        return {"request-id": request_id}


class _Errors:
    """Errors of one request."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def error_body(self, error: StrataError) -> bytes:
        """A whole reply's body."""
        return anthropic_errors.error_body(error, self._request_id)

    def error_frame(self, error: StrataError) -> bytes:
        """The event that ends a stream which had begun."""
        return anthropic_errors.error_frame(error, self._request_id)


def add_routes(app: web.Application, door: Door) -> None:
    """Put the door into an application."""
    for path, serve, operation in (("/v1/messages", messages, "messages"), ("/v1/messages/count_tokens", count_tokens, "count-tokens")):
        app.router.add_post(path, door.handler(serve, operation), expect_handler=door.expected)
        app.router.add_route("*", path, door.handler(_only_post, "unknown"), expect_handler=door.expected)
    app.router.add_route("*", "/v1/messages/{path:(?s:.*)}", door.handler(_unknown, "unknown"), expect_handler=door.expected)


async def _only_post(exchange: Exchange) -> web.StreamResponse:
    raise RequestError("MethodNotSupported", f"Method Not Allowed: {exchange.request.method}", status=405)


async def _unknown(exchange: Exchange) -> web.StreamResponse:
    request = exchange.request
    raise RequestError("UnknownUrl", f"Not found: {request.method} {request.path}", status=404)
