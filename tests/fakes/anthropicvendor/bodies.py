"""Replies as bytes: whole messages and event streams, with the spacing and the order of fields that the vendor has.

Sources: Anthropic API reference ("Create a Message", "Streaming Messages", "Errors") and the types of its SDK.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Block = dict[str, Any]
PIECE = 12
"""Characters to a delta."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says: its blocks, why it stops, and what was counted; without blocks it answers the question."""

    blocks: tuple[Block, ...] = ()
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        if self.stop_reason is not None:
            return self.stop_reason
        return "tool_use" if any(block["type"] == "tool_use" for block in self.blocks) else "end_turn"


def text(said: str, **more: Any) -> Block:
    """A block of text."""
    return {"type": "text", "text": said, **more}


def thinking(thought: str, signature: str = "EqQBCgIYAhIM1gbcDa9GJwZA2b3h") -> Block:
    """A block of thinking, signed."""
    return {"type": "thinking", "thinking": thought, "signature": signature}


def tool_use(name: str, given: Mapping[str, Any], identity: str = "toolu_01T1x1fJ34qAmk2tNTrN7Up6") -> Block:
    """A call of a tool."""
    return {"type": "tool_use", "id": identity, "name": name, "input": dict(given)}


def answer_to(body: Mapping[str, Any]) -> Reply:
    """The same question has the same answer."""
    last = body["messages"][-1]["content"]
    asked = last if isinstance(last, str) else " ".join(block.get("text", "") for block in last if block["type"] == "text")
    return Reply((text(f"You asked: {asked.strip()} — here is the answer."),))


def identity(number: int) -> str:
    """A message's id."""
    return "msg_01" + hashlib.sha256(f"message {number}".encode()).hexdigest()[:22]


def usage(reply: Reply, asked: int) -> dict[str, Any]:
    """What is billed: the input without what came out of or went into the cache."""
    written = sum(len(json.dumps(block)) for block in reply.blocks) // 4
    return {"input_tokens": asked, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": max(1, written), "service_tier": "standard", **reply.usage}


def message(reply: Reply, *, number: int, model: str, asked: int) -> bytes:
    """A whole answer."""
    body = {"model": model, "id": identity(number), "type": "message", "role": "assistant",
            "content": [_closed(block) for block in reply.blocks], "stop_reason": reply.reason, "stop_sequence": reply.stop_sequence,
            "usage": usage(reply, asked)}
    if reply.stop_details is not None:
        body["stop_details"] = dict(reply.stop_details)
    return compact(body)


def events(reply: Reply, *, number: int, model: str, asked: int) -> Iterator[bytes]:
    """The same as a stream."""
    counted = usage(reply, asked)
    start = {"model": model, "id": identity(number), "type": "message", "role": "assistant", "content": [], "stop_reason": None,
             "stop_sequence": None, "usage": {**counted, "output_tokens": 1}}
    yield event("message_start", message=start)
    for index, block in enumerate(reply.blocks):
        opening, deltas = _opened(block)
        yield event("content_block_start", index=index, content_block=opening)
        if index == 0:
            yield b'event: ping\ndata: {"type": "ping"}\n\n'
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    delta: dict[str, Any] = {"stop_reason": reply.reason, "stop_sequence": reply.stop_sequence}
    if reply.stop_details is not None:
        delta["stop_details"] = dict(reply.stop_details)
    told = {name: value for name, value in counted.items() if name in (
        "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens", "output_tokens_details")}
    yield event("message_delta", delta=delta, usage=told)
    yield event("message_stop")


def event(kind: str, **fields: Any) -> bytes:
    """One event: its name stands in it once more, and some are padded with blanks."""
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"), ensure_ascii=False)
    padding = " " * (len(data) % 7)
    return f"event: {kind}\ndata: {data[:-1]}{padding}}}\n\n".encode()


def error(kind: str, told: str, number: int = 0, code: str = "") -> bytes:
    """An error's body, as an event's data too."""
    inner: dict[str, Any] = {"type": kind, "message": told}
    if code:
        inner["details"] = {"error_code": code}
    return compact({"type": "error", "error": inner, "request_id": f"req_011CS{number:019d}"})


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _closed(block: Block) -> Block:
    return {"citations": None, **block} if block["type"] == "text" and "citations" not in block else block


def _opened(block: Block) -> tuple[Block, list[dict[str, Any]]]:
    kind = block["type"]
    if kind == "text":
        deltas: list[dict[str, Any]] = [{"type": "citations_delta", "citation": each} for each in block.get("citations") or ()]
        return {"type": "text", "text": ""}, [*({"type": "text_delta", "text": piece} for piece in _pieces(block["text"])), *deltas]
    if kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"])]
        return ({"type": "thinking", "thinking": "", "signature": ""},
                [*deltas, {"type": "signature_delta", "signature": block["signature"]}])
    if kind in ("tool_use", "server_tool_use"):
        whole = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *_pieces(whole))]
        return {**block, "input": {}}, deltas
    return block, []


def _pieces(whole: str) -> list[str]:
    return [whole[start:start + PIECE] for start in range(0, len(whole), PIECE)]
