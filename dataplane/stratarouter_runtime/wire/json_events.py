"""The frame of a decoder whose every payload is one JSON object: bytes in, canonical events out.

Invariants (those of ``decoder.EventDecoder``): any split of the same bytes gives the same events; after the end, and after
an error, nothing more is given out; whatever the vendor sends, nothing but ``AnswerError`` is reported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import orjson

from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.model.response import Batch, ChatEvent, EventKind

from . import nesting
from .answers import AnswerError, bad_answer
from .sse import DONE, EventTooLarge, SseDecoder


class PayloadDecoder(Protocol):
    """Cuts a stream into its payloads."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads that ``chunk`` completes, in order. Raises ``EventTooLarge``."""

    def rest(self) -> bytes:
        """The payload that the end of the stream completes; empty where nothing but more bytes could."""


class SsePayloads(SseDecoder):
    """Server-sent events, without the ``[DONE]`` that some send after the end."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads that ``chunk`` completes, in order. Raises ``EventTooLarge``."""
        return [payload for payload in super().feed(chunk) if payload != DONE]

    def rest(self) -> bytes:
        """Nothing: an event that the end cuts off is never given out."""
        return b""


class JsonEventStream(ABC):
    """Reads one stream. A subclass says what a payload means; with ``DONE`` the stream is over."""

    def __init__(self, payloads: PayloadDecoder) -> None:
        self._payloads = payloads
        self._failed = False
        self.done = False

    @abstractmethod
    def _events(self, body: dict[str, Any]) -> Batch:
        """What one payload says. Raises ``AnswerError``."""

    def _read(self, payload: bytes) -> Batch:
        """The events of one payload; who passes the vendor's own bytes on adds them here."""
        return self._events(_object(payload))

    def feed(self, chunk: bytes) -> tuple[Batch, AnswerError | None]:
        """The events that ``chunk`` completes, and the error that came after them, if one did."""
        events: Batch = []
        if self.done or self._failed:
            return events, None
        try:
            for payload in self._payloads.feed(chunk):
                events += self._read(payload)
                if events and events[-1].kind is EventKind.DONE:
                    self.done = True
                    break
        except AnswerError as error:
            self._failed = True
            return events, error
        except EventTooLarge:
            self._failed = True
            return events, bad_answer("the vendor sent an event that is too large")
        return events, None

    def end(self) -> Batch:
        """The vendor closed the stream: its last event, where its end is what completes it. Raises ``AnswerError`` (``Truncated``)."""
        if self.done or self._failed:
            return []
        rest = self._payloads.rest()
        events = self._read(rest) if rest and _whole(rest) else []
        if not events or events[-1].kind is not EventKind.DONE:
            raise AnswerError(Failure.TRUNCATED, "the vendor's stream ended before it was complete")
        self.done = True
        return events


def passed_on(events: Batch, kind: Any, payload: bytes, *, silent: EventKind = EventKind.PREAMBLE) -> Batch:
    """Events with the vendor's own, framed by the name it has in it; ``silent`` is what one counts as that says nothing to a chat."""
    name = kind if isinstance(kind, str) and kind.isprintable() and kind.isascii() else "message"
    framed = b"event: " + name.encode() + b"\ndata: " + (payload.replace(b"\n", b" ") if b"\n" in payload else payload) + b"\n\n"
    if events:
        events[0].native = framed
    else:
        events.append(ChatEvent(silent, b"", None, framed))
    return events


def _whole(payload: bytes) -> bool:
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return True


def _object(payload: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise bad_answer("the vendor sent an event that is not valid JSON") from None
    if type(body) is not dict or nesting.too_deep(body, payload):
        raise bad_answer("the vendor sent an event that is not a JSON object, or nested too deeply")
    return body
