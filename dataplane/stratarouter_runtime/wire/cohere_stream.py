"""Cohere's chat API, version 2, as a stream: its events as canonical chunks.

Source: Cohere API reference, "Chat (v2) with streaming". Tool calls come as an object or as a list, and their index counts the
blocks of the whole message: both are told apart here. Invariants: those of ``json_events``; ``message-end`` is the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratarouter_runtime.model.response import Batch, ChatEvent

from . import reading, sse
from .answers import bad_answer, reported
from .canonical_events import ChunkWriter
from .cohere_response import annotations_of, call_of, finish_reason, logprobs_of, said_instead, usage_of
from .json_events import JsonEventStream, SsePayloads
from .openai_errors import error_in


class CohereStream(JsonEventStream):
    """Reads one stream; ``model`` and ``created`` are what the events are given, as the vendor tells neither."""

    def __init__(self, *, model: str, created: int, max_event: int = sse.MAX_EVENT) -> None:
        super().__init__(SsePayloads(max_event=max_event))
        self._chunks = ChunkWriter(model=model, created=created)
        self._begun = 0
        self._calls: dict[int | None, int] = {}
        """Positions of the calls by the vendor's index."""

    def _events(self, body: dict[str, Any]) -> Batch:
        error = error_in(body)
        if error is not None:
            raise reported(error)
        kind = body.get("type")
        if kind is None and (instead := said_instead(body)) is not None:
            raise instead
        return self._said(kind, body)

    def _said(self, kind: Any, body: Mapping[str, Any]) -> Batch:
        """What an event says; those of other types say nothing that a chunk could carry."""
        events: Batch = []
        match kind:
            case "message-start":
                events = self._message_start(body)
            case "content-start" | "content-delta":
                events = self._content(body)
            case "tool-plan-delta":
                events = self._plan(body)
            case "tool-call-start":
                events = self._call_start(body)
            case "tool-call-delta":
                events = self._call_delta(body)
            case "citation-start":
                events = self._citations(body)
            case "message-end":
                events = self._message_end(body)
        return events

    def _message_start(self, body: Mapping[str, Any]) -> Batch:
        self._chunks.named(id=reading.text(body.get("id")))
        return [self._chunks.opening()]

    def _content(self, body: Mapping[str, Any]) -> Batch:
        content = reading.inner(body, "delta", "message", "content")
        events: Batch = []
        thought, said = reading.text(content.get("thinking")), reading.text(content.get("text"))
        if thought:
            events.append(self._chunks.content({"reasoning_content": thought}))
        if said:
            events.append(self._chunks.content({"content": said}, logprobs=logprobs_of(body.get("logprobs"))))
        return events

    def _plan(self, body: Mapping[str, Any]) -> Batch:
        plan = reading.text(reading.inner(body, "delta", "message").get("tool_plan"))
        return [self._chunks.content({"reasoning_content": plan})] if plan else []

    def _call_start(self, body: Mapping[str, Any]) -> Batch:
        events = []
        for call in reading.objects(reading.inner(body, "delta", "message").get("tool_calls")):
            events.append(self._call({"index": self._begun, **call_of(call)}))
            self._calls[_key(body)] = self._begun
            self._begun += 1
        return events

    def _call_delta(self, body: Mapping[str, Any]) -> Batch:
        if not self._begun:
            raise bad_answer("the vendor's stream has a piece of a tool call that has not begun")
        position = self._calls.get(_key(body), self._begun - 1)
        return [self._call({"index": position, "function": {"arguments": piece}})
                for call in reading.objects(reading.inner(body, "delta", "message").get("tool_calls"))
                if (piece := reading.text(reading.inner(call, "function").get("arguments")))]

    def _call(self, call: Mapping[str, Any]) -> ChatEvent:
        return self._chunks.content({"tool_calls": [call]})

    def _citations(self, body: Mapping[str, Any]) -> Batch:
        found = [dict(each) for each in reading.objects(reading.inner(body, "delta", "message").get("citations"))]
        notes = [note for each in found for note in annotations_of(each)]
        return [self._chunks.content({"annotations": notes, "citations": found})] if found else []

    def _message_end(self, body: Mapping[str, Any]) -> Batch:
        told = reading.inner(body, "delta") or body
        events = [self._chunks.finish(finish_reason(told))]
        usage = usage_of(told.get("usage"))
        if usage is not None:
            events.append(self._chunks.usage(usage))
        return [*events, self._chunks.done()]


def _key(body: Mapping[str, Any]) -> int | None:
    index = body.get("index")
    return index if isinstance(index, int) else None
