"""The messages of a canonical request as Cohere's chat API, version 2, takes them.

Source: Cohere API reference, "Chat (v2)": roles ``system``, ``user``, ``assistant`` and ``tool``. Results of tools become
documents, which its models can cite. Invariants: total; each part that has no place there is named in ``left``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from . import reading
from .support import Unsupported

MAX_DOCUMENTS = 64
"""Objects of one tool result that become documents of their own; a longer list is one document."""


def messages_of(messages: Any, left: list[Unsupported]) -> list[dict[str, Any]]:
    """The vendor's messages; what is left out is added to ``left``."""
    found = []
    for index, message in enumerate(messages if isinstance(messages, list | tuple) else ()):
        made = _message(message, f"messages[{index}]", left)
        if made is not None:
            found.append(made)
    return found


def _message(message: Any, where: str, left: list[Unsupported]) -> dict[str, Any] | None:
    role = message.get("role") if isinstance(message, Mapping) else None
    if role in ("system", "developer"):
        made = {"role": "system", "content": _texts(message.get("content"), where, left)}
    elif role == "user":
        made = {"role": "user", "content": _parts(message.get("content"), where, left)}
    elif role == "assistant":
        made = _assistant(message, where, left)
    elif role == "tool":
        made = {"role": "tool", "tool_call_id": reading.text(message.get("tool_call_id")), "content": _result(message, where, left)}
    else:
        left.append(Unsupported(where, "it knows no such role"))
        return None
    if message.get("name") is not None:
        left.append(Unsupported(f"{where}.name", "its messages have no names", hint=True))
    return made


def _assistant(message: Mapping[str, Any], where: str, left: list[Unsupported]) -> dict[str, Any]:
    made: dict[str, Any] = {"role": "assistant"}
    calls = _calls(message.get("tool_calls"), where, left)
    content = message.get("content")
    said = _texts(content, where, left) if content is not None else reading.text(message.get("refusal"))
    thought = reading.text(message.get("reasoning_content"))
    if calls:
        made["tool_calls"] = calls
        if thought:
            made["tool_plan"] = thought
        if said:
            made["content"] = said
    elif thought:
        text = [{"type": "text", "text": said}] if isinstance(said, str) else said
        made["content"] = [{"type": "thinking", "thinking": thought}, *text]
    else:
        made["content"] = said
    citations = [dict(each) for each in reading.objects(message.get("citations"))]
    if citations:
        made["citations"] = citations
    left += [Unsupported(f"{where}.{name}", "its messages have no such part") for name in ("audio", "function_call")
             if message.get(name) is not None]
    return made


def _calls(calls: Any, where: str, left: list[Unsupported]) -> list[dict[str, Any]]:
    found = []
    for index, call in enumerate(calls or ()):
        function = reading.inner(call, "function")
        if call.get("type", "function") != "function" or not isinstance(function.get("name"), str):
            left.append(Unsupported(f"{where}.tool_calls[{index}]", "it takes calls of functions only"))
            continue
        arguments = function.get("arguments")
        found.append({"id": reading.text(call.get("id")), "type": "function", "function": {
            "name": function["name"], "arguments": arguments if isinstance(arguments, str) else _dumped(arguments or {})}})
    return found


def _texts(content: Any, where: str, left: list[Unsupported]) -> Any:
    """Content of text alone, as a text or as parts."""
    if not isinstance(content, list | tuple):
        return reading.text(content)
    return list(_text_parts(content, where, left))


def _text_parts(content: Iterable[Any], where: str, left: list[Unsupported]) -> Iterable[dict[str, Any]]:
    for number, part in enumerate(content):
        said = _text_in(part)
        if said is None:
            left.append(Unsupported(f"{where}.content[{number}]", "it takes only text there"))
        else:
            yield {"type": "text", "text": said}


def _text_in(part: Any) -> str | None:
    kind = part.get("type") if isinstance(part, Mapping) else None
    said = part.get(kind) if kind in ("text", "refusal") else None
    return said if isinstance(said, str) else None


def _parts(content: Any, where: str, left: list[Unsupported]) -> Any:
    """A user's content: text and images."""
    if not isinstance(content, list | tuple):
        return reading.text(content)
    found: list[dict[str, Any]] = []
    for number, part in enumerate(content):
        said = _text_in(part)
        image = _image(part) if said is None else None
        if said is not None:
            found.append({"type": "text", "text": said})
        elif image is not None:
            found.append({"type": "image_url", "image_url": image})
        else:
            left.append(Unsupported(f"{where}.content[{number}]", "it takes text and images only"))
    return found


def _image(part: Any) -> dict[str, str] | None:
    if not isinstance(part, Mapping) or part.get("type") != "image_url":
        return None
    image = part.get("image_url")
    url = image if isinstance(image, str) else reading.inner(image).get("url")
    if not isinstance(url, str):
        return None
    detail = reading.inner(image).get("detail")
    return {"url": url} | ({"detail": detail} if detail in ("auto", "low", "high") else {})


def _result(message: Mapping[str, Any], where: str, left: list[Unsupported]) -> list[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, list | tuple):
        said = [part["text"] for part in _text_parts(content, where, left)]
    else:
        said = [reading.text(content)]
    return [block for each in said for block in _blocks(each)]


def _blocks(said: str) -> list[dict[str, Any]]:
    """A result as documents where it is made of objects; else as text."""
    if said.lstrip().startswith(("{", "[")):
        try:
            value = orjson.loads(said)
        except orjson.JSONDecodeError:
            value = None
        many = isinstance(value, list) and 0 < len(value) <= MAX_DOCUMENTS
        documents = value if many else [value]
        if documents and all(type(each) is dict and each for each in documents) and _writable(documents):
            return [{"type": "document", "document": {"data": each}} for each in documents]
    return [{"type": "text", "text": said}]


def _writable(value: Any) -> bool:
    try:
        orjson.dumps([[[[[[value]]]]]])
    except TypeError:  # nested too deeply
        return False
    return True


def _dumped(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested too deeply
        return "{}"
