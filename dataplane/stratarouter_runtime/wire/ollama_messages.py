"""The messages of a canonical request as Ollama's own API takes them.

Source: Ollama's API documentation: content is text, images are base64 beside it, arguments of calls are objects, and a result of a tool
carries the tool's name. Invariants: total; each part that has no place there is named in ``left``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from . import reading
from .support import Unsupported

_ROLES: Mapping[str, str] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


def messages_of(messages: Any, left: list[Unsupported]) -> list[dict[str, Any]]:
    """The server's messages; what is left out is added to ``left``."""
    found = []
    names: dict[str, str] = {}
    """Names of the called tools by the call's id."""
    for index, message in enumerate(messages if isinstance(messages, list | tuple) else ()):
        role = message.get("role") if isinstance(message, Mapping) else None
        if not isinstance(role, str) or role not in _ROLES:
            left.append(Unsupported(f"messages[{index}]", "it knows no such role"))
            continue
        found.append(_message(_ROLES[role], message, names, f"messages[{index}]", left))
    return found


def _message(role: str, message: Mapping[str, Any], names: dict[str, str], where: str, left: list[Unsupported]) -> dict[str, Any]:
    said, images = _content(message.get("content"), role, where, left)
    made: dict[str, Any] = {"role": role, "content": said}
    if images:
        made["images"] = images
    if role == "assistant":
        made["content"] = said or reading.text(message.get("refusal"))
        if reading.text(message.get("reasoning_content")):
            made["thinking"] = message["reasoning_content"]
        calls = list(_calls(message.get("tool_calls"), names, where, left))
        if calls:
            made["tool_calls"] = calls
        left += [Unsupported(f"{where}.{name}", "its messages have no such part") for name in ("audio", "function_call")
                 if message.get(name) is not None]
    if role == "tool":
        identity = reading.text(message.get("tool_call_id"))
        name = reading.text(message.get("name")) or names.get(identity, "")
        made |= {key: value for key, value in (("tool_name", name), ("tool_call_id", identity)) if value}
    elif message.get("name") is not None:
        left.append(Unsupported(f"{where}.name", "its messages have no names", hint=True))
    return made


def _content(content: Any, role: str, where: str, left: list[Unsupported]) -> tuple[str, list[str]]:
    """The text, and the images beside it."""
    if not isinstance(content, list | tuple):
        return reading.text(content), []
    texts, images = [], []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        said = part.get(kind) if kind in ("text", "refusal") else None
        image = _image(part) if kind == "image_url" and role in ("user", "tool") else None
        if isinstance(said, str):
            texts.append(said)
        elif image is not None:
            images.append(image)
        else:
            reason = "it takes images as data: URLs in base64 only" if kind == "image_url" else "it takes text and images only"
            left.append(Unsupported(f"{where}.content[{number}]", reason))
    return "\n".join(texts), images


def _image(part: Mapping[str, Any]) -> str | None:
    """The base64 of a ``data:`` URL; None for anything else: it fetches nothing."""
    image = part.get("image_url")
    url = image if isinstance(image, str) else reading.inner(image).get("url")
    if not isinstance(url, str) or not url.startswith("data:"):
        return None
    kind, found, data = url.partition(",")
    return data if found and kind.endswith(";base64") else None


def _calls(calls: Any, names: dict[str, str], where: str, left: list[Unsupported]) -> Iterable[dict[str, Any]]:
    for index, call in enumerate(calls or ()):
        function = reading.inner(call, "function")
        name, identity = function.get("name"), reading.text(call.get("id"))
        arguments = _object(function.get("arguments"))
        if call.get("type", "function") != "function" or not isinstance(name, str) or arguments is None:
            left.append(Unsupported(f"{where}.tool_calls[{index}]", "it takes calls of functions with an object of arguments only"))
            continue
        names[identity] = name
        yield ({"id": identity} if identity else {}) | {"function": {"name": name, "arguments": arguments}}


def _object(arguments: Any) -> Mapping[str, Any] | None:
    if arguments is None or arguments == "":
        return {}
    try:
        value = orjson.loads(arguments) if isinstance(arguments, str) else arguments
        orjson.dumps([[[[[[value]]]]]])  # what is read need not be writable
    except (orjson.JSONDecodeError, TypeError):
        return None
    return value if isinstance(value, Mapping) else None
