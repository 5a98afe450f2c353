"""OpenAI's Responses API as a front door: ``POST /v1/responses``, whole or as events, over every provider.

Stateless: nothing is kept to be continued or fetched later. Where the vendor serves the same API its bytes are passed on, else
its answer is translated; either way the caller sees one dialect. Wire format: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from stratarouter_runtime.model.errors import RequestError, StrataError
from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.model.response import Batch, ChatResponse
from stratarouter_runtime.reply import Reply
from stratarouter_runtime.wire import responses_request, responses_response
from stratarouter_runtime.wire.responses_events import ResponseEvents, failure_frames

from .events import EventStream
from .exchange import Door, Exchange


async def responses(exchange: Exchange) -> web.StreamResponse:
    """``POST /v1/responses``."""
    request = responses_request.parse_responses(await exchange.body())
    exchange.execution.stages["parse"] = time.monotonic() - exchange.execution.started
    if request.stream:
        return await _stream(exchange, request)
    response = await exchange.door.runtime.complete(exchange.execution, request)
    if not isinstance(response, ChatResponse):  # pragma: no cover - a chat request is answered by a chat response
        raise TypeError("not a chat response")
    if response.native:
        return await exchange.json(response.native)
    return await exchange.json(orjson.dumps(responses_response.response_object(asked(request), response.body, created=int(time.time()))))


async def stored(exchange: Exchange) -> web.StreamResponse:
    """``/v1/responses/{id}`` in every method: no response is kept."""
    raise RequestError("ResponseNotFound", f"Response with id '{exchange.request.match_info['id'][:128]}' not found: responses are not kept here.",
                       status=404, param="response_id", code="response_not_found")


def asked(request: ChatRequest) -> Mapping[str, Any]:
    """The caller's own body."""
    return request.asked_in("responses") or {}


async def _stream(exchange: Exchange, request: ChatRequest) -> web.StreamResponse:
    events = exchange.open_events()
    writer = _Writer(request)
    async with exchange.door.runtime.stream(exchange.execution, request) as reply:
        exchange.failure = writer.failure
        try:
            async with asyncio.timeout_at(exchange.deadline()):
                await _written(events, reply, writer.frames)
                if tail := writer.end():
                    await events.send(tail)
                await events.end()
        except TimeoutError:
            # The engine ends a stream at the deadline; only a client that does not read comes here.
            raise ConnectionAbortedError("the client stopped reading") from None
    if events.response is None:  # pragma: no cover - an engine's stream has at least one event
        raise RuntimeError("a stream without events")
    return events.response


async def _written(events: EventStream, reply: Reply, frames: Callable[[Batch], bytes]) -> None:
    async for batch in reply:
        if written := frames(batch):
            await events.send(written)


class _Writer:
    """Writes one stream: the vendor's own events where it has them, else those that its chat amounts to."""

    def __init__(self, request: ChatRequest) -> None:
        self._made = ResponseEvents(asked(request), created=int(time.time()))
        self._native = False
        self._first = b""
        self._last = b""

    def frames(self, batch: Batch) -> bytes:
        """The bytes of a batch."""
        native = b"".join([event.native for event in batch])
        if not native and not self._native:
            return self._made.feed(batch)
        self._native = True
        if native:
            self._first = self._first or native
            self._last = native
        return native

    def end(self) -> bytes:
        """What is missing at the end of a stream that came to it."""
        return b"" if self._native else self._made.end(now=int(time.time()))

    def failure(self, error: StrataError) -> bytes:
        """What ends a stream that broke."""
        if not self._native:
            return self._made.fail(error)
        first, last = _data(self._first, first=True), _data(self._last, first=False)
        begun, number = first.get("response"), last.get("sequence_number")
        return failure_frames(begun if isinstance(begun, Mapping) else self._made.response, number + 1 if isinstance(number, int) else 0, error)


def _data(frames: bytes, *, first: bool) -> Mapping[str, Any]:
    """The data of the first or the last of some frames."""
    pieces = [line.removeprefix(b"data: ") for line in frames.split(b"\n") if line.startswith(b"data: ")]
    found = orjson.loads(pieces[0 if first else -1]) if pieces else {}
    return found if isinstance(found, Mapping) else {}


def add_routes(app: web.Application, door: Door) -> None:
    """Put the door into an application."""
    app.router.add_post("/v1/responses", door.handler(responses, "responses"), expect_handler=door.expected)
    app.router.add_route("*", "/v1/responses/{id:(?s:.+)}", door.handler(stored, "unknown"), expect_handler=door.expected)
