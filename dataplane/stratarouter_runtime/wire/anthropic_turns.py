"""Anthropic's messages as turns in canonical form.

A tool's result is a message of its own there, and comes before what else the user's turn has; its images, which others take
from users only, follow as the user's. An error of a tool is told in its text. Invariants: pure and total; what other vendors
cannot be given is noted as ``beyond``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from . import anthropic_response as answers
from . import anthropic_sealed
from .reading import text
from .support import Unsupported

Message = dict[str, Any]
Part = dict[str, Any]


class Turns:
    """Collects ``messages``."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.beyond: list[Unsupported] = []

    def system(self, system: Any) -> None:
        """The top-level system prompt: text or blocks of it."""
        texts = [system] if isinstance(system, str) else [
            block["text"] for block in system or () if isinstance(block, Mapping) and isinstance(block.get("text"), str)]
        told = "\n\n".join(each for each in texts if each)
        if told:
            self.messages.append({"role": "system", "content": told})

    def add(self, message: Mapping[str, Any], where: str) -> None:
        """One message whose shape was checked."""
        role, content = message["role"], message["content"]
        if isinstance(content, str):
            self.messages.append({"role": role, "content": content})
        elif role == "assistant":
            turn = _Assistant()
            for block in content:
                turn.add(block)
            self.messages.append(turn.message())
        elif role == "system":
            self.system(content)
        else:
            self._user(content, where)

    def _leave(self, param: str, reason: str, *, hint: bool = False) -> None:
        self.beyond.append(Unsupported(param, reason, hint))

    # --- the user's turn --------------------------------------------------------------------------------------------
    def _user(self, blocks: list[Any], where: str) -> None:
        parts: list[Part] = []
        for index, block in enumerate(blocks):
            place = f"{where}.content[{index}]"
            if block["type"] == "tool_result":
                parts += self._result(block, place)
            else:
                parts += self._parts(block, place)
        if len(parts) == 1 and parts[0]["type"] == "text":
            self.messages.append({"role": "user", "content": parts[0]["text"]})
        elif parts or not self.messages or self.messages[-1]["role"] != "tool":
            self.messages.append({"role": "user", "content": parts or ""})

    def _result(self, block: Mapping[str, Any], where: str) -> list[Part]:
        content = block.get("content")
        parts: list[Part] = [{"type": "text", "text": content}] if isinstance(content, str) else []
        for index, inner in enumerate(content if isinstance(content, list) else ()):
            if isinstance(inner, Mapping):
                parts += self._parts(inner, f"{where}.content[{index}]")
        told = "\n".join(part["text"] for part in parts if part["type"] == "text")
        if block.get("is_error") is True and not told.lower().startswith("error"):
            told = f"Error: {told}" if told else "Error"
        self.messages.append({"role": "tool", "tool_call_id": text(block.get("tool_use_id")), "content": told})
        return [part for part in parts if part["type"] != "text"]

    def _parts(self, block: Mapping[str, Any], where: str) -> Iterator[Part]:
        kind = block.get("type")
        if kind == "text":
            yield {"type": "text", "text": text(block.get("text"))}
        elif kind == "image" and (url := _url(block.get("source"))):
            yield {"type": "image_url", "image_url": {"url": url}}
        elif kind == "document":
            yield from self._document(block, where)
        elif kind == "search_result":
            texts = [text(each.get("text")) for each in block.get("content") or () if isinstance(each, Mapping)]
            yield {"type": "text", "text": "\n".join([text(block.get("title")), text(block.get("source")), *texts]).strip()}
        else:
            self._leave(where, "only Anthropic can be given that")

    def _document(self, block: Mapping[str, Any], where: str) -> Iterator[Part]:
        source = block.get("source")
        if not isinstance(source, Mapping):
            source = {}
        title, context = text(block.get("title")), text(block.get("context"))
        if context:
            yield {"type": "text", "text": context}
        if isinstance(block.get("citations"), Mapping) and block["citations"].get("enabled"):
            self._leave(f"{where}.citations", "only Anthropic cites documents this way", hint=True)
        data, content = source.get("data"), source.get("content")
        if source.get("type") == "base64" and isinstance(data, str):
            media = text(source.get("media_type")) or "application/pdf"
            yield {"type": "file", "file": {"filename": title or "document.pdf", "file_data": f"data:{media};base64,{data}"}}
        elif source.get("type") == "text" and isinstance(data, str):
            yield {"type": "text", "text": f"{title}\n\n{data}" if title else data}
        elif source.get("type") == "content" and isinstance(content, str | list):
            inner = [{"type": "text", "text": content}] if isinstance(content, str) else content
            for index, each in enumerate(inner):
                if isinstance(each, Mapping):
                    yield from self._parts(each, f"{where}.source.content[{index}]")
        else:
            self._leave(where, "only Anthropic fetches documents by URL or id")


class _Assistant:
    """One turn of the assistant's in the making."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._extras: dict[str, Any] = {}

    def add(self, block: Mapping[str, Any]) -> None:
        kind = block["type"]
        if anthropic_sealed.is_sealed(block):
            self._carried(anthropic_sealed.opened(block))
        elif kind == "text":
            self._texts.append(text(block.get("text")))
        elif kind == "thinking":
            thought = text(block.get("thinking"))
            self._thoughts.append(thought)
            if not anthropic_sealed.unsigned(block):
                self._details.append(answers.thought(thought, text(block.get("signature"))))
        elif kind == "tool_use":
            self._calls.append(_call(block, self._extras.get(text(block.get("id")), {})))
        else:
            self._details.append(answers.kept(block))

    def _carried(self, carried: Mapping[str, Any]) -> None:
        """What another vendor wants back: part of its reasoning, or what it put on a call."""
        if isinstance(carried.get("detail"), dict):
            self._details.append(carried["detail"])
        elif isinstance(carried.get("extra"), dict) and isinstance(carried.get("call"), str):
            self._extras[carried["call"]] = carried["extra"]

    def message(self) -> Message:
        made: Message = {"role": "assistant", "content": "".join(self._texts) or (None if self._calls else "")}
        if any(self._thoughts):
            made["reasoning_content"] = "\n\n".join(each for each in self._thoughts if each)
        if self._details:
            made["reasoning_details"] = self._details
        if self._calls:
            made["tool_calls"] = self._calls
        return made


def _call(block: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    given = block.get("input")
    own = {"id": text(block.get("id")), "type": "function", "function": {
        "name": text(block.get("name")), "arguments": orjson.dumps({} if given is None else given).decode()}}
    return {**extra, **own}


def _url(source: Any) -> str:
    """An image's address, its data as a URL; empty where it has neither."""
    if not isinstance(source, Mapping):
        return ""
    if source.get("type") == "base64" and isinstance(source.get("data"), str):
        return f"data:{text(source.get('media_type')) or 'image/png'};base64,{source['data']}"
    return text(source.get("url")) if source.get("type") == "url" else ""
