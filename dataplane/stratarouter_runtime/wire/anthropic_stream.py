"""Anthropic's event streams in canonical form.

Source: Anthropic API reference, "Streaming Messages": ``message_start``, for each block ``content_block_start``, deltas and
``content_block_stop``, then ``message_delta`` with the stop reason and the usage, and ``message_stop``; ``ping`` anywhere,
``error`` instead of the rest. Thinking goes out as it comes, and once more whole and signed at its block's end, so that a
client which folds the chunks has what it must send back. Invariants: any split of the same bytes gives the same events; the
stream is whole only with ``message_stop``; ``native`` events are the vendor's own payloads under the names inside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.response import Batch, ChatEvent, EventKind

from . import anthropic_response as answers
from . import sse
from .answers import bad_answer, reported
from .anthropic_errors import error_in
from .anthropic_tools import ANSWER
from .json_events import JsonEventStream, SsePayloads, passed_on
from .reading import text

_CONTENT, _PREAMBLE = EventKind.CONTENT, EventKind.PREAMBLE
_END = b',"logprobs":null,"finish_reason":null}]}'
_TEXT_END = b"}" + _END

Payload = dict[str, Any]


class MessageStream(JsonEventStream):
    """Reads one stream. ``created``, ``answered`` and ``native`` as for ``read_message``."""

    def __init__(self, *, created: int, answered: bool = False, native: bool = False, max_event: int = sse.MAX_EVENT) -> None:
        super().__init__(SsePayloads(max_event=max_event))
        self._kind: Any = None
        self._created = created
        self._answered = answered
        self._native = native
        self._blocks: dict[Any, _Block] = {}
        self._usage: Payload = {}
        self._calls = 0
        self._answer = False
        self._length = 0
        self._named(b"", b"")
        self._readers = {
            "message_start": self._message_start, "content_block_start": self._block_start, "content_block_stop": self._block_stop,
            "message_delta": self._message_delta, "message_stop": self._message_stop}

    # --- one event --------------------------------------------------------------------------------------------------
    def _read(self, payload: bytes) -> Batch:
        events = super()._read(payload)
        return passed_on(events, self._kind, payload) if self._native else events

    def _events(self, body: Payload) -> Batch:
        events: Batch = []
        kind = self._kind = body.get("type")
        try:
            if kind == "content_block_delta":
                self._delta(body, events)
            else:
                self._other(kind, body, events)
        except (AttributeError, TypeError, KeyError, ValueError):
            raise bad_answer("the vendor sent an event of another shape than Anthropic's") from None
        return events

    def _other(self, kind: Any, body: Payload, events: Batch) -> None:
        if kind == "error" or (kind is None and body.get("error")):
            raise reported(error_in(body))
        if not isinstance(kind, str):
            raise bad_answer("the vendor sent an event without a type")
        read = self._readers.get(kind)
        if read is not None:  # a ping, or what is not known yet, says nothing
            read(body, events)

    def _message_start(self, body: Payload, events: Batch) -> None:
        message = body["message"]
        self._usage = dict(message.get("usage") or {})
        self._named(orjson.dumps(text(message.get("id"))), orjson.dumps(text(message.get("model"))))
        opening = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        self._chunk(events, _PREAMBLE, [opening], **answers.tier(self._usage))

    def _named(self, identity: bytes, model: bytes) -> None:
        """Every chunk begins alike."""
        self._id, self._model = (orjson.loads(each) if each else "" for each in (identity, model))
        self._head = (b'{"id":' + (identity or b'""') + b',"object":"chat.completion.chunk","created":%d,"model":' % self._created
                      + (model or b'""') + b',"choices":[{"index":0,"delta":')
        self._text_head = self._head + b'{"content":'

    def _block_start(self, body: Payload, events: Batch) -> None:
        started = body["content_block"]
        block = self._blocks[body.get("index")] = _Block(dict(started), start=self._length)
        if block.kind == "text" and started.get("text"):
            self._text(started["text"], events)
        elif block.kind == "thinking" and started.get("thinking"):
            block.pieces.append(started["thinking"])
            self._emit(events, {"reasoning_content": started["thinking"]})
        elif block.kind == "tool_use":
            if self._answered and started.get("name") == ANSWER:
                block.kind, self._answer = "answer", True
                return
            block.call, self._calls = self._calls, self._calls + 1
            call = {"index": block.call, "id": text(started.get("id")), "type": "function",
                    "function": {"name": text(started.get("name")), "arguments": ""}}
            self._emit(events, {"tool_calls": [call]})

    def _delta(self, body: Payload, events: Batch) -> None:
        delta = body["delta"]
        kind = delta["type"]
        if kind == "text_delta":
            self._text(delta["text"], events)
            return
        block = self._blocks.get(body.get("index"))
        if block is None:
            block = self._blocks[body.get("index")] = _Block({}, start=self._length)
        if kind == "thinking_delta":
            block.pieces.append(_said(delta["thinking"]))
            if delta["thinking"]:
                self._emit(events, {"reasoning_content": delta["thinking"]})
        elif kind == "signature_delta":
            block.signature += _said(delta["signature"])
        elif kind == "input_json_delta":
            self._input(block, _said(delta["partial_json"]), events)
        elif kind == "citations_delta":
            block.citations.append(dict(delta["citation"]))

    def _text(self, text: str, events: Batch) -> None:
        raw = self._text_head + orjson.dumps(_said(text)) + _TEXT_END
        self._length += len(text)
        chunk = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self._model,
                 "choices": [{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}]}
        events.append(ChatEvent(_CONTENT if text else _PREAMBLE, raw, chunk))

    def _input(self, block: _Block, piece: str, events: Batch) -> None:
        block.pieces.append(piece)
        if not piece:
            return
        if block.kind == "answer":
            self._emit(events, {"content": piece})
        elif block.call is not None:
            self._emit(events, {"tool_calls": [{"index": block.call, "function": {"arguments": piece}}]})

    def _block_stop(self, body: Payload, events: Batch) -> None:
        block = self._blocks.pop(body.get("index"), None)
        if block is None:
            return
        if block.kind in ("tool_use", "answer"):
            if not any(block.pieces):
                # A call without arguments comes without a piece, and some servers send all with its start.
                self._input(block, orjson.dumps(block.started.get("input") or {}).decode(), events)
        elif block.kind == "thinking":
            self._emit(events, {"reasoning_details": [answers.thought("".join(block.pieces), block.signature or text(
                block.started.get("signature")))]})
        elif block.kind == "text":
            if block.citations:
                self._emit(events, self._cited(block))
        elif block.kind:
            self._emit(events, {"reasoning_details": [answers.kept(block.whole())]})

    def _cited(self, block: _Block) -> dict[str, Any]:
        end = self._length
        made: dict[str, Any] = {"citations": [{**each, "start_index": block.start, "end_index": end} for each in block.citations]}
        pages = [page for each in block.citations if (page := answers.annotation(each, block.start, end)) is not None]
        return {**made, "annotations": pages} if pages else made

    def _message_delta(self, body: Payload, events: Batch) -> None:
        told, delta = body.get("usage") or {}, body.get("delta") or {}
        # They are totals so far, and leave out what has not changed.
        self._usage |= {name: value for name, value in told.items() if value is not None}
        reason = delta.get("stop_reason")
        if reason is None:
            return
        refused = answers.refusal_of(delta.get("stop_details")) if reason == "refusal" else ""
        if refused:
            self._emit(events, {"refusal": refused})
        choice: dict[str, Any] = {"index": 0, "delta": {}, "logprobs": None,
                                  "finish_reason": answers.finish(reason, answered=self._answer and not self._calls)}
        if reason == "stop_sequence" and isinstance(delta.get("stop_sequence"), str):
            choice["stop_reason"] = delta["stop_sequence"]
        self._chunk(events, EventKind.FINISH, [choice])
        self._chunk(events, EventKind.USAGE, [], usage=answers.usage(self._usage))

    def _message_stop(self, body: Payload, events: Batch) -> None:  # noqa: ARG002 (all readers are alike)
        events.append(ChatEvent(EventKind.DONE, sse.DONE, None))

    # --- chunks -----------------------------------------------------------------------------------------------------
    def _emit(self, events: Batch, delta: dict[str, Any]) -> None:
        chunk = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self._model,
                 "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]}
        events.append(ChatEvent(_CONTENT, self._head + orjson.dumps(delta) + _END, chunk))

    def _chunk(self, events: Batch, kind: EventKind, choices: list[dict[str, Any]], **more: Any) -> None:
        chunk = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self._model,
                 "choices": choices, **more}
        events.append(ChatEvent(kind, orjson.dumps(chunk), chunk))


class _Block:
    """A content block in the making."""

    __slots__ = ("call", "citations", "kind", "pieces", "signature", "start", "started")

    def __init__(self, started: dict[str, Any], *, start: int) -> None:
        self.started = started
        self.kind = text(started.get("type"))
        self.pieces: list[str] = []
        self.signature = ""
        self.citations: list[dict[str, Any]] = []
        self.call: int | None = None
        self.start = start

    def whole(self) -> Mapping[str, Any]:
        """The block as a whole answer has it."""
        if not any(self.pieces):
            return self.started
        try:
            return {**self.started, "input": orjson.loads("".join(self.pieces))}
        except orjson.JSONDecodeError:
            return self.started


def _said(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
