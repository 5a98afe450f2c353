"""OpenAI's Responses API, a vendor's stream: its events as a chat's, each with the vendor's own bytes.

Source: OpenAI API reference, "Streaming events". Invariants: a stream is whole only with ``response.completed`` or
``response.incomplete``; ``response.failed`` and ``error`` are errors; an event that says nothing to a chat is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import orjson

from stratarouter_runtime.model.response import Batch, ChatEvent, EventKind

from . import responses_response as objects
from . import sse
from .answers import VendorError, bad_answer, reported
from .json_events import JsonEventStream, SsePayloads, passed_on
from .openai_errors import error_in

_CONTENT, _PREAMBLE = EventKind.CONTENT, EventKind.PREAMBLE
_SILENT = frozenset({"message", "reasoning"})
"""Items that say nothing yet when they begin."""


class ResponsesStream(JsonEventStream):
    """Reads one stream; what the caller gets is ``native``."""

    def __init__(self, *, max_event: int = sse.MAX_EVENT) -> None:
        super().__init__(SsePayloads(max_event=max_event))
        self._kind: Any = None
        self._begun = False
        self._head: dict[str, Any] = {}
        self._calls: dict[Any, int] = {}

    def _read(self, payload: bytes) -> Batch:
        self._begun = False
        events = super()._read(payload)
        return passed_on(events, self._kind, payload, silent=_CONTENT if self._begun else _PREAMBLE)

    def _events(self, body: dict[str, Any]) -> Batch:
        events: Batch = []
        kind = self._kind = body.get("type")
        if kind == "error" or (kind is None and "error" in body):
            raise reported(_error(body))
        try:
            read = self._READERS.get(kind) if isinstance(kind, str) else None
            if read is not None:
                read(self, body, events)
            # Of an item that is not a chat's (a search, a picture) this is the sign that the answer has begun.
            self._begun = kind == "response.output_item.added" and body["item"].get("type") not in _SILENT
        except (AttributeError, TypeError, KeyError, ValueError):
            raise bad_answer("the vendor sent an event of another shape than a response's") from None
        return events

    def _began(self, body: Mapping[str, Any], _events: Batch) -> None:
        response = body["response"]
        self._head = {"id": str(response.get("id", "")), "object": "chat.completion.chunk", "created": int(response.get("created_at") or 0),
                      "model": str(response.get("model") or "")}

    def _added(self, body: Mapping[str, Any], events: Batch) -> None:
        item = body["item"]
        if item.get("type") == "function_call":
            index = self._calls[body.get("output_index")] = len(self._calls)
            self._delta(events, {"tool_calls": [{"index": index, "id": str(item.get("call_id", "")), "type": "function", "function": {
                "name": str(item.get("name", "")), "arguments": str(item.get("arguments") or "")}}]})

    def _arguments(self, body: Mapping[str, Any], events: Batch) -> None:
        index = self._calls[body.get("output_index")]
        self._delta(events, {"tool_calls": [{"index": index, "function": {"arguments": _text(body["delta"])}}]})

    def _said(self, body: Mapping[str, Any], events: Batch) -> None:
        self._delta(events, {"content": _text(body["delta"])})

    def _refused(self, body: Mapping[str, Any], events: Batch) -> None:
        self._delta(events, {"refusal": _text(body["delta"])})

    def _thought(self, body: Mapping[str, Any], events: Batch) -> None:
        self._delta(events, {"reasoning_content": _text(body["delta"])})

    def _annotated(self, body: Mapping[str, Any], events: Batch) -> None:
        self._delta(events, {"annotations": [body["annotation"]]})

    def _finished(self, body: Mapping[str, Any], events: Batch) -> None:
        item = body["item"]
        details = objects.sealed_details(item) if item.get("type") == "reasoning" else []
        if details:
            self._delta(events, {"reasoning_details": details})

    def _ended(self, body: Mapping[str, Any], events: Batch) -> None:
        self._began(body, events)
        response = body["response"]
        finish = objects.finish_of(response, calls=bool(self._calls))
        self._emit(events, EventKind.FINISH, [{"index": 0, "delta": {}, "finish_reason": finish}])
        usage = objects.chat_usage(response.get("usage"))
        if usage is not None:
            self._emit(events, EventKind.USAGE, [], usage=usage)
        events.append(ChatEvent(EventKind.DONE, sse.DONE, None))

    def _refusal(self, body: Mapping[str, Any], _events: Batch) -> None:
        raise objects.failed(body["response"])

    def _delta(self, events: Batch, delta: Mapping[str, Any]) -> None:
        self._emit(events, _CONTENT, [{"index": 0, "delta": delta, "finish_reason": None}])

    def _emit(self, events: Batch, kind: EventKind, choices: list[Any], **more: Any) -> None:
        body = {**self._head, "choices": choices, **more}
        events.append(ChatEvent(kind, orjson.dumps(body), body))


    _READERS: ClassVar[Mapping[str, Callable[[ResponsesStream, Mapping[str, Any], Batch], None]]] = {
        "response.created": _began, "response.in_progress": _began,
        "response.output_item.added": _added, "response.output_item.done": _finished,
        "response.output_text.delta": _said, "response.refusal.delta": _refused,
        "response.reasoning_summary_text.delta": _thought, "response.reasoning_text.delta": _thought,
        "response.function_call_arguments.delta": _arguments,
        "response.output_text.annotation.added": _annotated, "response.completed": _ended,
        "response.incomplete": _ended, "response.failed": _refusal}


def _error(body: Mapping[str, Any]) -> VendorError:
    """An error event: its fields beside the type as documented, or in an object of their own as sent."""
    inner = error_in(body)
    if inner is not None:
        return inner
    param = body.get("param")
    return VendorError(message=_words(body.get("message")), code=_words(body.get("code")), param=param if isinstance(param, str) else None)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _words(value: Any) -> str:
    return value[:2_000] if isinstance(value, str) else ""
