"""Canonical messages as Gemini's contents.

Source: Gemini API reference, ``Content``, ``Part``, ``FunctionCall``, ``FunctionResponse``. Invariants: every part of a message is
either in the contents or named as left out; the results of one turn's calls stand in one content, as Gemini requires; nothing is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import gemini_media as media
from . import gemini_thoughts as thoughts
from .reading import inner, items, objects, parsed, text
from .support import Unsupported

Part = dict[str, Any]

_SYSTEM = frozenset({"system", "developer"})
_ROLES = frozenset({"user", "assistant", "tool"})
_FIELDS = frozenset({"role", "content", "tool_calls", "tool_call_id", "refusal", "reasoning_content", "reasoning_details", "reasoning",
                     "annotations", "extra_content", "is_error", "images"})
"""Of a message: what is translated, and what came from a vendor and says nothing that must go back."""
_HINTS = frozenset({"name", "cache_control"})


class Contents:
    """The messages of one request, translated when made. ``model`` as the vendor knows it."""

    def __init__(self, messages: Any, model: str = "") -> None:
        self.system: list[Part] = []
        self.contents: list[dict[str, Any]] = []
        self.left_out: list[Unsupported] = []
        self._sign = thoughts.must_sign(model)
        self._names: dict[str, str] = {}
        """Function names by the id of their call."""
        self._answering = False
        """Whether the last content has results of calls."""
        for index, message in enumerate(items(messages)):
            self._add(inner(message), f"messages[{index}]")
        if not self.contents and self.system:
            # Instructions alone are no conversation: asked like this, they are what the user says.
            self.contents, self.system = [{"role": "user", "parts": self.system}], []

    def _add(self, message: Mapping[str, Any], where: str) -> None:
        role = message.get("role")
        if role not in _SYSTEM and role not in _ROLES:
            self._leave(f"{where}.role", "Gemini knows no such role")
            return
        for name, value in message.items():
            if name not in _FIELDS and value is not None and not (role == "tool" and name == "name"):
                self._leave(f"{where}.{name}", "Gemini has no place for it in a message", hint=name in _HINTS)
        if role in _SYSTEM:
            self.system += self._parts(message.get("content"), where, only_text=True)
        elif role == "tool":
            self._result(message, where)
        elif role == "user":
            self._say("user", self._parts(message.get("content"), where))
        else:
            self._say("model", self._turn(message, where))

    def _say(self, role: str, parts: list[Part]) -> None:
        self._answering = False
        if parts:
            self.contents.append({"role": role, "parts": parts})

    # --- what a user or a tool says ---------------------------------------------------------------------------------
    def _parts(self, content: Any, where: str, *, only_text: bool = False) -> list[Part]:
        if isinstance(content, str):
            return [{"text": content}]
        found = []
        for index, part in enumerate(items(content)):
            place = f"{where}.content[{index}]"
            made = self._part(inner(part), place, only_text=only_text)
            if made is not None:
                found.append(made)
        # An empty text beside others is no part that Gemini takes.
        return [part for part in found if part.get("text") != ""] or found[:1]

    def _part(self, part: Mapping[str, Any], where: str, *, only_text: bool) -> Part | None:
        kind = part.get("type")
        if part.get("cache_control") is not None:
            self._leave(f"{where}.cache_control", "Gemini caches by itself", hint=True)
        if kind in ("text", "input_text", "output_text"):
            return {"text": text(part.get("text"))}
        if kind == "refusal":
            return {"text": text(part.get("refusal"))}
        if only_text:
            self._leave(where, "Gemini takes only text as instructions")
            return None
        maker = _MEDIA.get(kind) if isinstance(kind, str) else None
        if maker is None:
            self._leave(where, "Gemini has no such content")
            return None
        made = maker(part)
        if isinstance(made, str):
            self._leave(where, made)
            return None
        if kind == "image_url" and inner(part.get("image_url")).get("detail") not in (None, "auto"):
            self._leave(f"{where}.image_url.detail", "Gemini chooses the resolution of an image itself", hint=True)
        return made

    def _result(self, message: Mapping[str, Any], where: str) -> None:
        """The result of a call, beside those of the same turn."""
        ident = text(message.get("tool_call_id"))
        parts = self._parts(message.get("content"), where)
        said = "".join(part["text"] for part in parts if "text" in part)
        answer = {"name": self._names.get(ident) or text(message.get("name")) or ident or "unknown",
                  "response": _response(said, failed=message.get("is_error") is True)}
        if ident:
            answer = {"id": ident, **answer}
        # Pictures that a tool answers with come behind its result: only some models take them inside.
        made = [{"functionResponse": answer}, *(part for part in parts if "text" not in part)]
        if self._answering:
            self.contents[-1]["parts"] += made
        else:
            self.contents.append({"role": "user", "parts": made})
            self._answering = True

    # --- what the model said ----------------------------------------------------------------------------------------
    def _turn(self, message: Mapping[str, Any], where: str) -> list[Part]:
        parts = [part for part in self._parts(message.get("content"), where) if part.get("text") != ""]
        refusal = text(message.get("refusal"))
        if refusal:
            parts.append({"text": refusal})
        signature = thoughts.of_text(message)
        if signature:
            if not any("text" in part for part in parts):
                parts.append({"text": ""})
            last = max(index for index, part in enumerate(parts) if "text" in part)
            parts[last] = {**parts[last], "thoughtSignature": signature}
        return parts + self._calls(message, where)

    def _calls(self, message: Mapping[str, Any], where: str) -> list[Part]:
        calls: list[Part] = []
        for index, call in enumerate(objects(message.get("tool_calls"))):
            function = call.get("function")
            if not isinstance(function, Mapping):
                self._leave(f"{where}.tool_calls[{index}]", "Gemini calls only functions")
                continue
            ident, name = text(call.get("id")), text(function.get("name"))
            self._names[ident] = name
            part: Part = {"functionCall": {**({"id": ident} if ident else {}), "name": name, "args": _arguments(function.get("arguments"))}}
            signature = thoughts.of_call(call, message)
            calls.append({**part, "thoughtSignature": signature} if signature else part)
        if calls and self._sign and not any("thoughtSignature" in call for call in calls):
            # Of parallel calls only the first is signed.
            calls[0] = {**calls[0], "thoughtSignature": thoughts.UNSIGNED}
        return calls

    def _leave(self, param: str, reason: str, *, hint: bool = False) -> None:
        self.left_out.append(Unsupported(param, reason, hint=hint))


def _response(said: str, *, failed: bool) -> dict[str, Any]:
    """A result as the object that Gemini asks for: itself where it is one, else under the key it documents."""
    if failed:
        return {"error": said}
    value = parsed(said)
    if isinstance(value, dict):
        return value
    return {"output": value if isinstance(value, list) else said}


def _arguments(given: Any) -> Mapping[str, Any]:
    """Arguments as an object; what a model wrote that is none is kept as it is."""
    if isinstance(given, Mapping):
        return given
    written = text(given)
    value = parsed(written) if written.strip() else {}
    return value if isinstance(value, dict) else {"arguments": written}


# --- media: a part, or why there is none ------------------------------------------------------------------------------
def _image(part: Mapping[str, Any]) -> Part | str:
    return _located(part.get("image_url"), "image/jpeg")


def _video(part: Mapping[str, Any]) -> Part | str:
    return _located(part.get("video_url"), "video/mp4")


def _located(given: Any, fallback: str) -> Part | str:
    url = text(given) or text(inner(given).get("url"))
    return media.of_url(url, fallback) or "Gemini reads only data: URLs and https:// and gs:// addresses"


def _audio(part: Mapping[str, Any]) -> Part | str:
    given = inner(part.get("input_audio"))
    kind = media.AUDIO.get(text(given.get("format")).lower())
    if kind is None or not text(given.get("data")):
        return "Gemini takes no sound in that format"
    return media.of_base64(text(given.get("data")), kind)


def _file(part: Mapping[str, Any]) -> Part | str:
    given = inner(part.get("file"))
    data, name, ident = text(given.get("file_data")), text(given.get("filename")), text(given.get("file_id"))
    if data:
        kind = media.type_of(name) or "application/pdf"
        return (media.of_url(data, kind) if data.startswith("data:") else media.of_base64(data, kind)) or "its data cannot be read"
    return media.of_url(ident, media.type_of(name) or "application/pdf") or "Gemini cannot read files that are kept elsewhere"


_MEDIA = {"image_url": _image, "video_url": _video, "input_audio": _audio, "file": _file}
