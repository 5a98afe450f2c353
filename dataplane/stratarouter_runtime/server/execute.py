"""``POST /v1/execute``: a routing decision, or a query for the pod to route, executed; as JSON or as typed events.

Request: ``decision`` (a route's name, or what StrataRouter's router returned) or none; the question as ``query`` or
``messages``; ``request`` with further OpenAI chat parameters; ``context`` for placeholders and metadata; ``stream``.
With ``?dryRun=true`` the plan is explained and nobody is called.

Reply: ``execution_id``, ``response`` (the text), ``completion`` (the whole answer), ``cache_hit``, ``usage``, ``provider``, ``cost_usd``
(a decimal string, null where unknown), ``attempts``, ``timings_ms``, ``plan``. As events: ``plan``, ``delta`` (``text``, or
``delta`` where it is more than text), then ``completed`` (the same as the JSON reply, without ``completion`` where that
was not kept) or ``error``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from stratarouter_runtime.asking import asked
from stratarouter_runtime.model.errors import RequestError, StrataError
from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.model.response import ChatResponse
from stratarouter_runtime.results import delta_of, result_of
from stratarouter_runtime.wire import openai_checks, openai_errors

from .exchange import Door, Exchange

_FIELDS = frozenset({"decision", "query", "messages", "request", "context", "stream"})


async def execute(exchange: Exchange) -> web.StreamResponse:
    """``POST /v1/execute``."""
    body = openai_checks.parse_object(await exchange.body())
    request = _understood(exchange, body)
    if exchange.request.query.get("dryRun", "").lower() in ("true", "1"):
        await exchange.door.runtime.route(exchange.execution, request)
        explanation = exchange.door.runtime.explain(exchange.execution, request)
        return await exchange.json(orjson.dumps(explanation.to_document()))
    if request.stream:
        return await _stream(exchange, request)
    response = await exchange.door.runtime.complete(exchange.execution, request)
    if not isinstance(response, ChatResponse):  # pragma: no cover - a chat request is answered by a chat response
        raise TypeError("not a chat response")
    return await exchange.json(orjson.dumps(result_of(exchange.execution, response).to_document()))


def _understood(exchange: Exchange, body: Mapping[str, Any]) -> ChatRequest:
    unknown = next((name for name in body if name not in _FIELDS), None)
    if unknown is not None:
        raise RequestError("UnknownParameter", f"Unknown parameter: '{unknown}'.", param=unknown)
    found = asked(body.get("decision"), query=body.get("query"), messages=body.get("messages"), request=body.get("request"),
                  context=body.get("context"), stream=body.get("stream"))
    exchange.execution.decision, exchange.execution.context = found.decision, found.context
    return found.request


async def _stream(exchange: Exchange, request: ChatRequest) -> web.StreamResponse:
    events = exchange.open_events()
    text: list[str] = []
    async with exchange.door.runtime.stream(exchange.execution, request) as reply:
        plan = exchange.execution.plan
        await events.send(_event("plan", plan.to_document() if plan else {}))
        try:
            async with asyncio.timeout_at(exchange.deadline()):
                async for batch in reply:
                    deltas = [each for event in batch if (each := _delta(event.body))]
                    text += [each["text"] for each in deltas if "text" in each]
                    if deltas:
                        await events.send(b"".join(_event("delta", each) for each in deltas))
        except TimeoutError:
            raise ConnectionAbortedError("the client stopped reading") from None
        whole = reply.response()
    result = result_of(exchange.execution, whole, "".join(text) if whole is None else None)
    await exchange.taken(events.send(_event("completed", result.to_document())))
    await exchange.taken(events.end())
    if events.response is None:  # pragma: no cover - the plan has been sent
        raise RuntimeError("a stream without events")
    return events.response


def _delta(body: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a chunk adds: its text, or the whole delta where it is more than text."""
    delta = delta_of(body)
    if set(delta) == {"content"}:
        return {"text": delta["content"]}
    return {"delta": delta} if delta else {}


def _event(name: str, data: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


class ExecuteErrors:
    """Errors as OpenAI's, inside a stream as an ``error`` event."""

    error_body = staticmethod(openai_errors.error_body)

    @staticmethod
    def error_frame(error: StrataError) -> bytes:
        """The event that ends a stream which has begun."""
        return _event("error", openai_errors.error_object(error))


def add_routes(app: web.Application, door: Door) -> None:
    """Put the door into an application."""
    app.router.add_post("/v1/execute", door.handler(execute, "execute"), expect_handler=door.expected)
