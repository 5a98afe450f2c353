"""One HTTP request on the client port, from its first byte to the bookkeeping, whatever the API.

Invariants: every outcome, also an unexpected exception, is answered in the API's own shape with the request's id; a
client that goes away cancels the work (and what was used is still booked); the body is bounded in size and time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from aiohttp import HttpVersion11, web

from stratarouter_runtime.model.errors import ExecutionError, RequestError, StrataError
from stratarouter_runtime.model.execution import Execution
from stratarouter_runtime.model.request import Caller, Directives
from stratarouter_runtime.runtime import Runtime
from stratarouter_runtime.telemetry import Telemetry

from . import headers
from .auth import Authenticator
from .directives import directives, request_id
from .drain import Drain
from .events import EventStream

logger = logging.getLogger(__name__)

CLIENT_CLOSED = 499
"""nginx's status for a client that went away; only metrics and logs see it."""
WRITE_SLACK_SECONDS = 5.0
"""How much longer than the deadline a client may take to read the end of its answer."""
ROOM = 48 * 1024
"""Bytes that surely can be written without waiting for the client: asyncio waits from 64 KiB on, head included."""


class Dialect(Protocol):
    """How an API writes errors."""

    def error_body(self, error: StrataError) -> bytes:
        """A whole reply's body."""

    def error_frame(self, error: StrataError) -> bytes:
        """An error inside a stream that has begun."""


class Exchange:
    """One request and its reply."""

    def __init__(self, door: Door, request: web.Request, execution: Execution) -> None:
        self.door = door
        self.request = request
        self.execution = execution
        self._dialect = door.dialect_of(execution.request_id)
        self.events: EventStream | None = None
        self.failure: Callable[[StrataError], bytes] | None = None
        """How a stream that has begun is told that it failed, where that depends on what was sent."""
        self._unread = False
        """Whether the rest of the request will not be read: then its connection ends with the reply."""

    async def body(self) -> bytes:
        """The request's body; raises ``RequestError``: 413 above the limit, 408 when it does not arrive in time, 400 for a
        body that its own framing or compression contradicts.
        """
        config = self.door.runtime.parts.snapshot.runtime
        limit = config.server.max_body_bytes
        if (self.request.content_length or 0) > limit:
            raise _too_large(limit)
        # Nearly always it has come together with the head, and no timer is needed.
        arrived = self.request.content.is_eof()
        try:
            body = self.request.content.read_nowait() if arrived else await self._arriving(limit, config.execution.timeout_seconds)
        except web.RequestPayloadError:
            self._unread = True
            raise RequestError("InvalidBody", "The request's body cannot be read: its framing or compression is broken.") from None
        if len(body) > limit:
            raise _too_large(limit)
        return body

    async def _arriving(self, limit: int, seconds: float) -> bytes:
        """The body as it comes, up to the read that exceeds the limit."""
        content = self.request.content
        parts: list[bytes] = []
        left = limit
        try:
            async with asyncio.timeout(seconds):
                while left >= 0 and (part := await content.readany()):
                    parts.append(part)
                    left -= len(part)
        except TimeoutError:
            self._unread = True
            raise RequestError("RequestTimeout", "The request's body did not arrive in time.", status=408) from None
        return b"".join(parts)

    async def json(self, body: bytes, status: int = 200, extra: dict[str, str] | None = None) -> web.Response:
        """Send a whole reply, and wait until it is out so that a client that stops reading is noticed."""
        told = {**(extra or headers.of(self.execution)), **self.door.headers(self.execution.request_id)}
        response = web.Response(body=body, status=status, headers=told, content_type="application/json")
        if self.door.drain.draining or self._unread:
            response.force_close()
        transport = self.request.transport
        if transport is not None and transport.get_write_buffer_size() + len(body) <= ROOM:
            await self._send(response)  # a timer would cost more than the writing
        else:
            await self.taken(self._send(response))
        if self._unread:
            self.request.protocol.force_close()
        return response

    async def _send(self, response: web.Response) -> None:
        await response.prepare(self.request)
        await response.write_eof()

    def open_events(self) -> EventStream:
        """Start a stream; nothing is sent yet."""
        keepalive = self.door.runtime.parts.snapshot.runtime.server.keepalive_seconds
        own = self.door.headers(self.execution.request_id)
        self.events = EventStream(self.request, lambda: {**headers.of(self.execution), **own}, keepalive=keepalive,
                                  close=self.door.drain.draining)
        return self.events

    def close(self) -> None:
        """The request is over."""
        if self.events is not None:
            self.events.close()
            self.failure = None
            self.events = None  # it asks this exchange for its headers: together they would wait for the garbage collector

    def deadline(self) -> float:
        """When a stream must have been written, on the event loop's clock."""
        timeout = self.door.runtime.parts.snapshot.runtime.execution.timeout_seconds
        return self.execution.started + timeout + WRITE_SLACK_SECONDS

    def abandon(self) -> None:
        """Drop the connection with what waits in it: closing it would wait for a client that reads no more."""
        transport = self.request.transport
        if transport is not None:
            transport.abort()

    async def taken(self, writing: Awaitable[None]) -> None:
        """Wait until the client has taken what is written; raises ``ConnectionAbortedError`` where it does not."""
        try:
            async with asyncio.timeout(self.door.runtime.parts.snapshot.runtime.execution.timeout_seconds + WRITE_SLACK_SECONDS):
                await writing
        except TimeoutError:
            raise ConnectionAbortedError("the client stopped reading") from None

    async def refuse(self, error: StrataError) -> web.StreamResponse:
        """Answer with an error: as a body, inside the stream where one has begun, or only in log and metrics once that is over."""
        self.execution.error = error.kept()
        events = self.events
        if events is not None and events.ended and events.response is not None:
            return events.response
        if events is None or events.response is None:
            if events is not None:
                events.close()
            return await self.json(self._dialect.error_body(error), error.status, headers.of_error(self.execution, error))
        await self.taken(events.send((self.failure or self._dialect.error_frame)(error)))
        await self.taken(events.end())
        return events.response


Serve = Callable[[Exchange], Awaitable[web.StreamResponse]]


class Door:
    """The handlers of one API family."""

    def __init__(self, runtime: Runtime, authenticator: Authenticator, telemetry: Telemetry, drain: Drain, dialect: Dialect) -> None:
        self.runtime = runtime
        self.authenticator = authenticator
        self.telemetry = telemetry
        self.drain = drain
        self.dialect = dialect

    def dialect_of(self, request_id: str) -> Dialect:  # noqa: ARG002 (for APIs whose errors name it)
        """How errors of one request are written."""
        return self.dialect

    def headers(self, request_id: str) -> Mapping[str, str]:  # noqa: ARG002 (for APIs that have a name of their own for it)
        """Headers of every reply that only this API has."""
        return {}

    def handler(self, serve: Serve, operation: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """An aiohttp handler around the part that is the API's own."""

        async def handle(request: web.Request) -> web.StreamResponse:
            execution = self.runtime.begin(Caller(), Directives(), request_id(request.headers))
            exchange = Exchange(self, request, execution)
            with self.drain.request(), self.telemetry.request(execution, request.headers, operation) as scope:
                try:
                    response = await self._serve(exchange, serve)
                    scope.status = execution.error.status if execution.error else response.status
                    return response
                except (asyncio.CancelledError, ConnectionError):
                    # Many clients leave with the last event: that answer was complete.
                    complete = exchange.events is not None and exchange.events.ended
                    scope.status = 200 if complete else CLIENT_CLOSED
                    exchange.abandon()
                    # Also for a failed write: to aiohttp anything else would be a defect of ours.
                    raise asyncio.CancelledError from None
                finally:
                    self.runtime.record(execution, scope.status)
                    exchange.close()

        return handle

    async def expected(self, request: web.Request) -> None:
        """Ask for a body whose sender waits for that (``Expect: 100-continue``), unless it is too large to be read.

        Any other expectation is ignored, which RFC 9110 (10.1.1) allows: the request is then answered as usual.
        """
        asked = request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11
        if asked and (request.content_length or 0) <= self.runtime.parts.snapshot.runtime.server.max_body_bytes:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # of the answer nothing has been sent

    async def _serve(self, exchange: Exchange, serve: Serve) -> web.StreamResponse:
        try:
            exchange.execution.caller = self.authenticator.authenticate(exchange.request.headers)
            exchange.execution.directives = directives(exchange.request.headers)
            return await serve(exchange)
        except StrataError as error:
            return await exchange.refuse(error)
        except asyncio.CancelledError:
            shutting_down = self.drain.interrupted()
            if shutting_down is None:
                raise
            return await exchange.refuse(shutting_down)
        except ConnectionError:
            raise
        except Exception:  # one request's bug must not reach another, nor go unanswered
            logger.exception("unexpected error", extra={"execution_id": exchange.execution.id})
            message = f"The server had an error while processing your request. It was logged under {exchange.execution.id}."
            return await exchange.refuse(ExecutionError("InternalError", message, status=500))


def _too_large(limit: int) -> RequestError:
    return RequestError("RequestTooLarge", f"The request's body is larger than the limit of {limit} bytes.", status=413)
