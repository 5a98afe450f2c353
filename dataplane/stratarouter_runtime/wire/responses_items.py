"""The items of a Responses request as the messages of a chat.

Thoughts travel both ways: what a vendor wants back with them (signatures, encrypted parts) goes out as the ``encrypted_content``
of a reasoning item, packed by us where it is not OpenAI's own, and comes back as ``reasoning_details``.
Invariants: pure and total; every item is in a message, named as beyond the chat form, or refused by name.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import orjson

from . import openai_checks as checks
from .reading import objects
from .support import Unsupported

PACKED = "strata1."
"""Marks encrypted content that is ours: another vendor's details, as JSON in base64."""
OPENAI = "openai-responses-v1"
"""Marks details that are OpenAI's own encrypted thoughts."""

_ROLES = frozenset({"user", "assistant", "system", "developer"})


def pack(details: list[Any]) -> str | None:
    """A turn's details as the encrypted content of a reasoning item; None where they cannot be written."""
    if len(details) == 1 and isinstance(details[0], Mapping) and details[0].get("format") == OPENAI:
        data = details[0].get("data")
        return data if isinstance(data, str) else None
    try:
        return PACKED + base64.b64encode(orjson.dumps(details)).decode()
    except TypeError:
        return None


def unpack(content: Any, identity: Any = None) -> list[Any]:
    """Encrypted content as the details it was made of; OpenAI's own as one that only OpenAI reads."""
    if not isinstance(content, str) or not content:
        return []
    if not content.startswith(PACKED):
        named = {"id": identity} if isinstance(identity, str) else {}
        return [{"type": "reasoning.encrypted", "format": OPENAI, **named, "data": content}]
    try:
        details = orjson.loads(base64.b64decode(content[len(PACKED):], validate=True))
    except (binascii.Error, ValueError):
        return []
    return details if isinstance(details, list) else []


class Conversation:
    """Items in, messages out. ``beyond`` gets what no message can hold."""

    def __init__(self, beyond: list[Unsupported]) -> None:
        self._beyond = beyond
        self._done: list[Any] = []
        self._turn: dict[str, Any] = {}
        """What the assistant's turn has so far."""

    def messages(self) -> list[Any]:
        """All messages."""
        self._close()
        return self._done

    def said(self, role: str, text: str) -> None:
        """A message of plain text."""
        self._close()
        self._done.append({"role": role, "content": text})

    def items(self, given: Any) -> None:
        """All items. Raises ``RequestError`` for what is no item."""
        if not isinstance(given, list):
            raise checks.wrong_type("input", "one of a string or an array of objects", given)
        for index, item in enumerate(given):
            where = f"input[{index}]"
            checks.mapping(item, where)
            kind = item.get("type")
            read = self._READERS.get(kind) if isinstance(kind, str | None) else None
            if read is not None:
                read(self, item, where)
            elif kind == "item_reference":
                raise checks.refusal("Unsupported item: 'item_reference': items are not kept here: send the item itself.", param=where,
                                     code="unsupported_parameter")
            else:
                checks.string(kind, f"{where}.type")
                self._beyond.append(Unsupported(where, "only the Responses API has items of this type"))

    def _message(self, item: Mapping[str, Any], where: str) -> None:
        role, content = item.get("role"), item.get("content")
        if role is None:
            raise checks.missing(f"{where}.role")
        checks.string(role, f"{where}.role")
        if role not in _ROLES:
            raise checks.refusal(f"Invalid value: '{role[:64]}'. Supported values are: 'assistant', 'system', 'developer', and 'user'.",
                                 param=f"{where}.role")
        if content is None:
            raise checks.missing(f"{where}.content")
        made = content if isinstance(content, str) else self._parts(content, f"{where}.content")
        if role == "assistant":
            self._assistant(made)
        else:
            self._close()
            self._done.append({"role": role, "content": made})

    def _assistant(self, content: Any) -> None:
        if "content" in self._turn:
            # Text after text is another message; beside calls it is the same turn, whose results follow.
            if not self._turn.get("tool_calls"):
                self._close()
            else:
                content = [*_as_parts(self._turn["content"]), *_as_parts(content)]
        self._turn["content"] = content

    def _reasoning(self, item: Mapping[str, Any], _where: str) -> None:
        if "content" in self._turn and not self._turn.get("tool_calls"):
            # It may also end a turn: only what follows decides, and a turn without a call is over.
            self._close()
        texts = [part["text"] for name in ("summary", "content") for part in objects(item.get(name)) if isinstance(part.get("text"), str)]
        if texts:
            self._turn["reasoning_content"] = "\n\n".join([*filter(None, [self._turn.get("reasoning_content")]), *texts])
        details = unpack(item.get("encrypted_content"), item.get("id"))
        if details:
            self._turn["reasoning_details"] = [*self._turn.get("reasoning_details", ()), *details]

    def _call(self, item: Mapping[str, Any], where: str) -> None:
        for name in ("call_id", "name", "arguments"):
            if item.get(name) is None:
                raise checks.missing(f"{where}.{name}")
            checks.string(item[name], f"{where}.{name}")
        self._turn.setdefault("tool_calls", []).append({
            "id": item["call_id"], "type": "function", "function": {"name": item["name"], "arguments": item["arguments"]}})

    def _result(self, item: Mapping[str, Any], where: str) -> None:
        for name in ("call_id", "output"):
            if item.get(name) is None:
                raise checks.missing(f"{where}.{name}")
        checks.string(item["call_id"], f"{where}.call_id")
        output = item["output"]
        self._close()
        self._done.append({"role": "tool", "tool_call_id": item["call_id"],
                           "content": output if isinstance(output, str) else self._parts(output, f"{where}.output")})

    def _parts(self, content: Any, where: str) -> list[Any]:
        if not isinstance(content, list):
            raise checks.wrong_type(where, "one of a string or an array of objects", content)
        made = []
        for index, part in enumerate(content):
            here = f"{where}[{index}]"
            checks.mapping(part, here)
            if part.get("type") is None:
                raise checks.missing(f"{here}.type")
            found = _part(part, here)
            if found is None:
                self._beyond.append(Unsupported(here, "a chat has no such part"))
            else:
                made.append(found)
        return made

    def _close(self) -> None:
        """The assistant's turn is over."""
        turn, self._turn = self._turn, {}
        if turn:
            content = turn.pop("content", None)
            if not (content or turn.get("tool_calls")):
                content = content or ""
            self._done.append({"role": "assistant", "content": content, **turn})

    _READERS: ClassVar[Mapping[str | None, Callable[[Conversation, Mapping[str, Any], str], None]]] = {
        None: _message, "message": _message, "reasoning": _reasoning, "function_call": _call, "function_call_output": _result}


def _part(part: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    kind = part["type"]
    if kind in ("input_text", "output_text", "text"):
        if part.get("text") is None:
            raise checks.missing(f"{where}.text")
        checks.string(part["text"], f"{where}.text")
        return {"type": "text", "text": part["text"]}
    if kind == "input_image":
        return _image(part)
    if kind == "input_file":
        file = {name: part[name] for name in ("file_id", "file_data", "filename") if isinstance(part.get(name), str)}
        return {"type": "file", "file": file} if "file_id" in file or "file_data" in file else None
    if kind == "input_audio" and isinstance(part.get("input_audio"), Mapping):
        return {"type": "input_audio", "input_audio": part["input_audio"]}
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "refusal", "refusal": part["refusal"]}
    return None


def _image(part: Mapping[str, Any]) -> dict[str, Any] | None:
    url, detail = part.get("image_url"), part.get("detail")
    if not isinstance(url, str):
        return None
    return {"type": "image_url", "image_url": {"url": url, **({"detail": detail} if isinstance(detail, str) else {})}}


def _as_parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
