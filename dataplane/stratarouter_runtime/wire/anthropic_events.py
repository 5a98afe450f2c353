"""Answers in canonical form as Anthropic's event stream: live from chunks, or of a whole message.

Source: Anthropic API reference, "Streaming Messages". Blocks come one after another, each opened, filled and closed;
``message_delta`` waits for the usage, which canonical streams tell last. Invariants: pure; whatever chunks come, the order of events
is Anthropic's; nothing is sent after ``message_stop``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.response import Batch, EventKind

from . import anthropic_reply as reply
from .anthropic_blocks import Block
from .reading import text

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
PIECE = 64
"""Characters to a delta where a whole message is sent as events."""

_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":'


class MessageEvents:
    """Writes one stream: ``feed`` batches, then ``end``."""

    def __init__(self) -> None:
        self._out: list[bytes] = []
        self._started = False
        self._index = -1
        self._open = ""
        """The kind of the block that is open; empty for none."""
        self._calls: dict[Any, int] = {}
        self._choice: Mapping[str, Any] | None = None
        self._usage: Any = None
        self._refusal: list[str] = []
        self._seen: set[str] = set()
        self.done = False

    def feed(self, batch: Batch) -> bytes:
        """The events that a batch amounts to."""
        for event in batch:
            if event.kind is EventKind.DONE:
                self._finish()
            elif event.body is not None and not self.done:
                self._chunk(event.body)
        return self._taken()

    def end(self) -> bytes:
        """What is missing at the end of a stream that came to it."""
        self._finish()
        return self._taken()

    def _taken(self) -> bytes:
        out, self._out = b"".join(self._out), []
        return out

    def _chunk(self, body: Mapping[str, Any]) -> None:
        if not self._started:
            self._start(body)
        self._usage = body.get("usage") or self._usage
        choices = body.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, Mapping) and choice.get("index") in (0, None):
                delta = choice.get("delta")
                if isinstance(delta, Mapping):
                    self._delta(delta)
                if choice.get("finish_reason"):
                    self._choice = choice

    def _start(self, body: Mapping[str, Any]) -> None:
        self._started = True
        self._send("message_start", message={
            "id": reply.identity(body.get("id")), "type": "message", "role": "assistant", "model": text(body.get("model")), "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": reply.usage(body.get("usage"))})

    def _delta(self, delta: Mapping[str, Any]) -> None:
        said = delta.get("content")
        if said:
            self._text(reply.plain(said))
        if len(delta) == 1 and said is not None:
            return
        thought = text(delta.get("reasoning_content")) or text(delta.get("reasoning"))
        if thought:
            self._into("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            self._fill(thinking=thought)
        if delta.get("reasoning_details"):
            self._details(delta["reasoning_details"])
        if text(delta.get("refusal")):
            self._refusal.append(delta["refusal"])
        for citation, _, _ in reply.citations_of(delta):
            if self._open == "text":
                self._fill(citation=citation)
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, Mapping):
                self._call(call)

    def _text(self, said: str) -> None:
        if not said:
            return
        if self._open != "text":
            self._into("text", {"type": "text", "text": ""})
        self._out.append(_DELTA % self._index + orjson.dumps(said) + b"}}\n\n")

    def _details(self, details: Any) -> None:
        for block in reply.blocks_of(details):
            if block.get("type") == "thinking" and self._open == "thinking":
                # What was shown as it came is now signed.
                self._fill(signature=text(block.get("signature")))
                self._close()
            else:
                self._whole(block)

    def _call(self, call: Mapping[str, Any]) -> None:
        function = call.get("function")
        inner: Mapping[str, Any] = function if isinstance(function, Mapping) else {}
        key = call["index"] if "index" in call else call.get("id")
        place = self._calls.get(key) if isinstance(key, int | str | None) else None
        if place is None:
            extra = reply.extra_of(call)
            if extra is not None:
                self._whole(extra)
            self._close()
            self._into("tool_use", {"type": "tool_use", "id": text(call.get("id")), "name": text(inner.get("name")), "input": {}})
            place = self._index
            if isinstance(key, int | str | None):
                self._calls[key] = place
        piece = inner.get("arguments")
        written = piece if isinstance(piece, str) else orjson.dumps(piece).decode() if isinstance(piece, Mapping) else ""
        if written:
            self._send("content_block_delta", index=place, delta={"type": "input_json_delta", "partial_json": written})

    # --- blocks -----------------------------------------------------------------------------------------------------
    def _into(self, kind: str, opening: Block) -> None:
        if self._open == kind and kind != "tool_use":
            return
        self._close()
        self._index += 1
        self._open = kind
        self._seen.add(kind)
        self._send("content_block_start", index=self._index, content_block=opening)
        if self._index == 0:
            self._out.append(PING)

    def _fill(self, **delta: Any) -> None:
        kind = {"thinking": "thinking_delta", "signature": "signature_delta", "citation": "citations_delta"}[next(iter(delta))]
        self._send("content_block_delta", index=self._index, delta={"type": kind, **delta})

    def _close(self) -> None:
        if self._open:
            self._send("content_block_stop", index=self._index)
            self._open = ""

    def _whole(self, block: Block) -> None:
        """A block at once."""
        self._close()
        self._index += 1
        opening, deltas = _opened(block)
        self._send("content_block_start", index=self._index, content_block=opening)
        if self._index == 0:
            self._out.append(PING)
        for delta in deltas:
            self._send("content_block_delta", index=self._index, delta=delta)
        self._send("content_block_stop", index=self._index)

    def _finish(self) -> None:
        if self.done or not self._started:
            return
        refused = "".join(self._refusal)
        if "text" not in self._seen:
            self._text(reply.refused_text(self._choice or {}, refused))
        self._close()
        self._ended(reply.stopped(self._choice or {}, refused, called=bool(self._calls)), reply.usage(self._usage))

    def _ended(self, stopped: Mapping[str, Any], usage: Mapping[str, Any]) -> None:
        self._send("message_delta", delta=stopped, usage=usage)
        self._send("message_stop")
        self.done = True

    def _send(self, kind: str, **fields: Any) -> None:
        self._out.append(b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n")

    # --- a message that is there ------------------------------------------------------------------------------------
    def replayed(self, message: Mapping[str, Any]) -> bytes:
        """A whole message as the stream it could have been."""
        self._started = True
        self._send("message_start", message={
            **message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": {**message["usage"], "output_tokens": 1}})
        for block in message["content"]:
            self._whole(block)
        self._ended({name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details") if name in message}, message["usage"])
        return self._taken()


def _opened(block: Block) -> tuple[Block, Iterator[dict[str, Any]]]:
    """A block as it begins, and what fills it."""
    kind = block.get("type")
    if kind == "text":
        return {"type": "text", "text": ""}, _filled(block)
    if kind == "thinking":
        return {**block, "thinking": "", "signature": ""}, _filled(block)
    if kind in ("tool_use", "server_tool_use"):
        return {**block, "input": {}}, _filled(block)
    return block, iter(())


def _filled(block: Block) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    if kind == "text":
        yield from ({"type": "text_delta", "text": piece} for piece in _pieces(text(block.get("text"))))
        yield from ({"type": "citations_delta", "citation": each} for each in block.get("citations") or ())
    elif kind == "thinking":
        yield from ({"type": "thinking_delta", "thinking": piece} for piece in _pieces(text(block.get("thinking"))))
        yield {"type": "signature_delta", "signature": text(block.get("signature"))}
    elif block.get("input"):
        yield {"type": "input_json_delta", "partial_json": orjson.dumps(block["input"]).decode()}


def _pieces(whole: str) -> Iterator[str]:
    return (whole[start:start + PIECE] for start in range(0, len(whole), PIECE))
