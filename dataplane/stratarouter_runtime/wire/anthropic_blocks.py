"""The conversation of a chat request as Anthropic's messages: content blocks, and turns that alternate.

Source: Anthropic API reference, "Create a Message". System and developer messages become the top-level ``system``, wherever
they stood; neighbours of one role become one turn; a tool's result is a block of the user's turn. ``cache_control`` on a
message or a part goes along. Invariants: pure; whatever JSON is given, what has no place is noted and left out, and nothing
else is; texts without any content, which Anthropic refuses, carry nothing and are left out in silence.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from . import nesting
from .support import Unsupported

FORMAT = "anthropic-claude-v1"
"""Marks the parts of ``reasoning_details`` that are Anthropic's own, as OpenAI-compatible gateways name it."""

Block = dict[str, Any]

_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^;,]*)*?(;base64)?,", re.IGNORECASE)
_IDENTIFIER = re.compile(r"[^A-Za-z0-9_-]")
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_KNOWN = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content", "reasoning_details", "reasoning",
                    "refusal", "annotations", "citations", "audio", "function_call", "cache_control", "is_error"})
_UNREADABLE = "INVALID_JSON"
"""Under this name goes what a model once wrote as arguments and is no JSON object, as Anthropic's guide proposes."""


class Conversation:
    """Messages in canonical form, encoded; ``notes`` says what was left out."""

    def __init__(self) -> None:
        self.system: list[Block] = []
        self.turns: list[dict[str, Any]] = []
        self.notes: list[Unsupported] = []

    def add(self, messages: Any) -> None:
        """Take in all messages."""
        if not isinstance(messages, list | tuple):
            self._leave("messages", "it takes an array of messages")
            return
        for index, message in enumerate(messages):
            where = f"messages[{index}]"
            if isinstance(message, Mapping):
                self._add(message, where)
            else:
                self._leave(where, "it takes messages that are objects")

    def _add(self, message: Mapping[str, Any], where: str) -> None:
        role = message.get("role")
        self._leave_unknown(message, where)
        if role in ("system", "developer"):
            self.system += _marked(list(self._texts(message.get("content"), f"{where}.content")), message)
        elif role == "user":
            self._turn("user", _marked(list(self._parts(message.get("content"), f"{where}.content")), message))
        elif role == "assistant":
            self._turn("assistant", _marked(self._assistant(message, where), message))
        elif role == "tool":
            self._turn("user", [self._result(message, where)])
        else:
            self._leave(f"{where}.role", "it knows the roles system, developer, user, assistant and tool")

    def _turn(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["content"] += blocks
        else:
            self.turns.append({"role": role, "content": blocks})

    def _leave(self, param: str, reason: str, *, hint: bool = False) -> None:
        self.notes.append(Unsupported(param, reason, hint))

    def _leave_unknown(self, message: Mapping[str, Any], where: str) -> None:
        if message.get("name") is not None:
            self._leave(f"{where}.name", "its messages have no names", hint=True)
        for name, value in message.items():
            if name not in _KNOWN and value is not None:
                self._leave(f"{where}.{name}", "its messages have no such field", hint=True)

    # --- contents ---------------------------------------------------------------------------------------------------
    def _texts(self, content: Any, where: str) -> Iterator[Block]:
        """Content of which only text has a place."""
        for block in self._parts(content, where):
            if block["type"] == "text":
                yield block
            else:
                self._leave(where, "there it takes only text")

    def _parts(self, content: Any, where: str) -> Iterator[Block]:
        if content is None:
            return
        if isinstance(content, str):
            if content.strip():
                yield {"type": "text", "text": content}
            return
        if not isinstance(content, list | tuple):
            self._leave(where, "it takes text or an array of parts")
            return
        for index, part in enumerate(content):
            if isinstance(part, str):
                block: Block | None = {"type": "text", "text": part} if part.strip() else None
            elif isinstance(part, Mapping):
                block = self._part(part, f"{where}[{index}]")
            else:
                block = None
                self._leave(f"{where}[{index}]", "it takes parts that are objects")
            if block is not None:
                yield block

    def _part(self, part: Mapping[str, Any], where: str) -> Block | None:
        kind = part.get("type")
        made: Block | None = None
        if kind in ("text", "refusal"):
            text = part.get(str(kind))
            if isinstance(text, str):
                return _marked_block({"type": "text", "text": text}, part) if text.strip() else None
        elif kind == "image_url":
            made = self._image(part.get("image_url"), where)
        elif kind == "file":
            made = _document(part.get("file"))
        if made is None:
            self._leave(where, _why_not(kind))
            return None
        return _marked_block(made, part)

    def _image(self, image: Any, where: str) -> Block | None:
        url = image.get("url") if isinstance(image, Mapping) else image
        if not isinstance(url, str):
            return None
        if isinstance(image, Mapping) and image.get("detail") not in (None, "auto"):
            self._leave(f"{where}.image_url.detail", "it chooses an image's resolution itself", hint=True)
        if url.startswith(("https://", "http://")):
            return {"type": "image", "source": {"type": "url", "url": url}}
        found = _DATA_URL.match(url)
        if found is None or not found[2] or found[1].lower() not in (*_IMAGES, "image/jpg"):
            return None
        media = found[1].lower().replace("image/jpg", "image/jpeg")
        return {"type": "image", "source": {"type": "base64", "media_type": media, "data": url[found.end():]}}

    # --- turns of the assistant and of tools ------------------------------------------------------------------------
    def _assistant(self, message: Mapping[str, Any], where: str) -> list[Block]:
        blocks = list(self._thoughts(message, where))
        blocks += self._texts(message.get("content"), f"{where}.content")
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal.strip():
            blocks.append({"type": "text", "text": refusal})
        for name in ("audio", "function_call"):
            if message.get(name) is not None:
                self._leave(f"{where}.{name}", "it takes no audio" if name == "audio" else "it knows tool calls, not function calls")
        calls = message.get("tool_calls")
        for index, call in enumerate(calls if isinstance(calls, list | tuple) else ()):
            block = _use(call)
            if block is None:
                self._leave(f"{where}.tool_calls[{index}]", "it knows only calls of functions")
            else:
                blocks.append(block)
        return blocks

    def _thoughts(self, message: Mapping[str, Any], where: str) -> Iterator[Block]:
        details = message.get("reasoning_details")
        others = False
        found = False
        for each in details if isinstance(details, list | tuple) else ():
            block = _thought(each)
            found = found or block is not None
            others = others or block is None
            if block is not None:
                yield block
        if others:
            self._leave(f"{where}.reasoning_details", "it takes back only its own thinking", hint=True)
        if message.get("reasoning_content") and not found:
            self._leave(f"{where}.reasoning_content", "it takes back only thinking that it has signed", hint=True)

    def _result(self, message: Mapping[str, Any], where: str) -> Block:
        content = list(self._parts(message.get("content"), f"{where}.content"))
        block: Block = {"type": "tool_result", "tool_use_id": identifier(message.get("tool_call_id"))}
        if len(content) == 1 and content[0].keys() == {"type", "text"}:
            block["content"] = content[0]["text"]
        elif content:
            block["content"] = content
        if message.get("is_error") is True:
            block["is_error"] = True
        return _marked_block(block, message)


def identifier(value: Any) -> str:
    """A call's id in the letters that Anthropic allows; the same for a call and for its result."""
    return _IDENTIFIER.sub("_", value) if isinstance(value, str) and value else "unnamed"


def arguments(text: Any) -> dict[str, Any]:
    """Arguments as an object."""
    if isinstance(text, Mapping):
        return dict(text)
    if not isinstance(text, str) or not text.strip():
        return {}
    try:
        parsed = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return {_UNREADABLE: text}
    fits = isinstance(parsed, dict) and not nesting.too_deep(parsed, text.encode("utf-8", "replace"))
    return parsed if fits else {_UNREADABLE: text}


def _use(call: Any) -> Block | None:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return None
    return {"type": "tool_use", "id": identifier(call.get("id")), "name": function["name"],
            "input": arguments(function.get("arguments"))}


def _thought(detail: Any) -> Block | None:
    """A part of ``reasoning_details`` as the block it was."""
    if not isinstance(detail, Mapping) or detail.get("format") != FORMAT:
        return None
    kind, text, signature = detail.get("type"), detail.get("text"), detail.get("signature")
    if kind == "reasoning.text" and isinstance(signature, str) and signature:
        return {"type": "thinking", "thinking": text if isinstance(text, str) else "", "signature": signature}
    if kind == "reasoning.encrypted" and isinstance(detail.get("data"), str):
        return {"type": "redacted_thinking", "data": detail["data"]}
    if kind == "anthropic.block" and isinstance(detail.get("block"), Mapping):
        return dict(detail["block"])
    return None


def _document(file: Any) -> Block | None:
    """A file by its content or by the id that Anthropic's Files API gave it."""
    if not isinstance(file, Mapping):
        return None
    data, identity, name = file.get("file_data"), file.get("file_id"), file.get("filename")
    source: dict[str, Any] | None = None
    if isinstance(data, str):
        found = _DATA_URL.match(data)
        media = found[1].lower() if found else "application/pdf"
        if found is None or found[2]:
            content = data[found.end():] if found else data
            if media in ("application/pdf", ""):
                source = {"type": "base64", "media_type": "application/pdf", "data": content}
            elif media in _IMAGES:
                return {"type": "image", "source": {"type": "base64", "media_type": media, "data": content}}
            elif media.startswith("text/"):
                source = _plain(content)
    elif isinstance(file.get("file_url"), str):
        source = {"type": "url", "url": file["file_url"]}
    elif isinstance(identity, str) and identity.startswith("file_"):
        source = {"type": "file", "file_id": identity}
    if source is None:
        return None
    block: Block = {"type": "document", "source": source}
    return {**block, "title": name[:500]} if isinstance(name, str) and name else block


def _plain(content: str) -> dict[str, Any] | None:
    try:
        text = base64.b64decode(content, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return {"type": "text", "media_type": "text/plain", "data": text}


def _why_not(kind: Any) -> str:
    return {"image_url": "it takes images as http(s) URLs, or as base64 of JPEG, PNG, GIF or WebP",
            "file": "it takes files as base64 of a PDF, an image or text, or by the id of its own Files API",
            "input_audio": "it takes no audio"}.get(kind if isinstance(kind, str) else "", "it knows no such part")


def _marked_block(block: Block, marker: Mapping[str, Any]) -> Block:
    """With the caller's mark for Anthropic's prompt cache."""
    control = marker.get("cache_control")
    return {**block, "cache_control": control} if isinstance(control, Mapping) else block


def _marked(blocks: list[Block], message: Mapping[str, Any]) -> list[Block]:
    """A mark on the message stands for its last block."""
    if blocks and isinstance(message.get("cache_control"), Mapping):
        blocks[-1] = _marked_block(blocks[-1], message)
    return blocks
