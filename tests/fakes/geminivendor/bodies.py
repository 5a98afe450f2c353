"""Gemini's answers in their exact shape: whole ones indented by two, events compact and with CRLF, usage with every event.

Sources: recorded replies in the documentation and in public test suites, and the types of the ``google-genai`` SDK.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fakes.vendor import vectors
from fakes.vendor.answers import example_of, words

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the next request is answered with: the parts of each event in turn.

    ``more`` is added to the last event's candidate, ``around`` to each whole event; ``candidates`` has further candidates' texts.
    """

    events: tuple[tuple[JsonObject, ...], ...] = ()
    finish: str = "STOP"
    more: Mapping[str, Any] = field(default_factory=dict)
    around: Mapping[str, Any] = field(default_factory=dict)
    candidates: tuple[str, ...] = ()
    cached: int = 0

    @property
    def parts(self) -> list[JsonObject]:
        """The parts of the whole answer: texts that follow each other are one."""
        joined: list[JsonObject] = []
        for part in (part for event in self.events for part in event):
            last = joined[-1] if joined else {}
            if "text" in part and "text" in last and part.get("thought") == last.get("thought") and "thoughtSignature" not in last:
                joined[-1] = {**last, **part, "text": last["text"] + part["text"]}
            else:
                joined.append(dict(part))
        return joined


def text(said: str, **fields: Any) -> Reply:
    """A text, word by word."""
    return Reply(events=tuple(({"text": piece},) for piece in words(said)), **fields)


def thought(said: str) -> JsonObject:
    """A part of a summary of thoughts."""
    return {"text": said, "thought": True}


def call(name: str, args: Mapping[str, Any], *, id: str = "", signature: str = "") -> JsonObject:  # noqa: A002 (Google's name)
    """A part that calls a function; Gemini before 3 gives no id."""
    part: JsonObject = {"functionCall": {"name": name, "args": args, **({"id": id} if id else {})}}
    return {**part, "thoughtSignature": signature} if signature else part


def signature(seed: str) -> str:
    """A thought signature: opaque bytes."""
    return base64.b64encode(hashlib.sha256(seed.encode()).digest()).decode()


def reply_to(body: Mapping[str, Any], model: str) -> Reply:
    """What the model says by default: a call where one is asked for, JSON after a schema, else the question again."""
    made = _called(body, model)
    if made is not None:
        return made
    config = body.get("generationConfig", {})
    if config.get("responseMimeType") == "application/json":
        schema = config.get("responseJsonSchema") or {"type": "object", "properties": {"answer": {"type": "string"}}}
        return text(json.dumps(example_of(_resolved(schema, schema))))
    said = words(f'You asked: "{question_of(body)}". It is in hand.')
    limit = config.get("maxOutputTokens")
    cut = limit is not None and len(said) > limit
    events: list[tuple[JsonObject, ...]] = [({"text": piece},) for piece in (said[:limit] if cut else said)]
    if config.get("thinkingConfig", {}).get("includeThoughts"):
        events = [(thought("**Thinking**\n\n"),), (thought("This is easy."),), *events]
    return Reply(events=tuple(events), finish="MAX_TOKENS" if cut else "STOP",
                 candidates=tuple("Another answer." for _ in range(config.get("candidateCount", 1) - 1)))


def question_of(body: Mapping[str, Any]) -> str:
    """The text of the last content."""
    parts = body["contents"][-1]["parts"]
    return " ".join(part["text"] for part in parts if "text" in part) or "the results"


def whole(reply: Reply, body: Mapping[str, Any], *, model: str, number: int, vertex: bool) -> JsonObject:
    """The body of ``generateContent``."""
    return _event(reply, [reply.parts] if reply.parts else [[]], 0, body, model=model, number=number, vertex=vertex)


def events(reply: Reply, body: Mapping[str, Any], *, model: str, number: int, vertex: bool) -> list[JsonObject]:
    """The events of ``streamGenerateContent``."""
    groups = [list(group) for group in reply.events] or [[]]
    return [_event(reply, groups, place, body, model=model, number=number, vertex=vertex) for place in range(len(groups))]


def compact(shape: JsonObject) -> bytes:
    """An event's data."""
    return json.dumps(shape, separators=(",", ": "), ensure_ascii=False).encode()


def frame(data: bytes) -> bytes:
    """An event as Google frames it."""
    return b"data: " + data + b"\r\n\r\n"


def vector(said: str, dimensions: int) -> list[float]:
    """The embedding of a text."""
    return vectors.encoded(vectors.embed(said, dimensions), "float")  # type: ignore[return-value]


def tokens_of(said: str) -> int:
    """Tokens of a text: its words."""
    return max(1, len(words(said)))


def _event(reply: Reply, groups: list[list[JsonObject]], place: int, body: Mapping[str, Any], *, model: str, number: int,
           vertex: bool) -> JsonObject:
    last = place == len(groups) - 1
    parts = groups[place]
    candidate: JsonObject = {"content": {**({"parts": parts} if parts else {}), "role": "model"}}
    others: list[JsonObject] = []
    if last:
        candidate |= {"finishReason": reply.finish, **reply.more}
        others = [{"content": {"parts": [{"text": said}], "role": "model"}, "finishReason": "STOP", "index": index}
                  for index, said in enumerate(reply.candidates, 1)]
    if not vertex:
        candidate["index"] = 0
    made: JsonObject = {"candidates": [candidate, *others],
                        "usageMetadata": _usage(reply, [part for group in groups[:place + 1] for part in group], body, vertex=vertex),
                        "modelVersion": model}
    if vertex:
        made["createTime"] = "2025-11-18T09:00:00.123456Z"
    return {**made, "responseId": f"resp{number:020d}", **reply.around}


def _usage(reply: Reply, said: list[JsonObject], body: Mapping[str, Any], *, vertex: bool) -> JsonObject:
    asked = sum(len(words(part.get("text", ""))) or 1 for content in body["contents"] for part in content["parts"])
    asked += sum(len(words(part.get("text", ""))) for part in body.get("systemInstruction", {}).get("parts", []))
    thoughts = sum(len(words(part["text"])) for part in said if part.get("thought"))
    spoken = sum(len(words(part.get("text", ""))) or 1 for part in said if not part.get("thought"))
    spoken += sum(len(words(each)) for each in reply.candidates)
    made: JsonObject = {"promptTokenCount": asked}
    if spoken:
        made["candidatesTokenCount"] = spoken
    made["totalTokenCount"] = asked + spoken + thoughts
    if reply.cached:
        made["cachedContentTokenCount"] = reply.cached
    if vertex:
        made["trafficType"] = "ON_DEMAND"
    made["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": asked}]
    return {**made, "thoughtsTokenCount": thoughts} if thoughts else made


def _called(body: Mapping[str, Any], model: str) -> Reply | None:
    declared = [function for tool in body.get("tools", []) for function in tool.get("functionDeclarations", [])]
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    answered = any("functionResponse" in part for part in body["contents"][-1]["parts"])
    if not declared or calling.get("mode") == "NONE" or (answered and calling.get("mode") != "ANY"):
        return None
    allowed = calling.get("allowedFunctionNames") or [function["name"] for function in declared]
    asked = question_of(body)
    named = [function for function in declared if function["name"] in allowed
             and (calling.get("mode") == "ANY" or function["name"] in asked)]
    if not named:
        return None
    new = "gemini-3" in model
    wanted = named if calling.get("mode") != "ANY" else named[:1]
    parts = [call(function["name"], example_of(_schema(function)), id=f"fc{place}a1b2c3" if new else "",
                  signature=signature(function["name"]) if new and place == 0 else "") for place, function in enumerate(wanted)]
    return Reply(events=tuple((part,) for part in parts))


def _schema(function: Mapping[str, Any]) -> JsonObject:
    schema = function.get("parametersJsonSchema") or _lowered(function.get("parameters") or {"type": "object"})
    return _resolved(schema, schema)


def _lowered(schema: Any) -> Any:
    """A typed ``Schema`` has its types in capitals."""
    if isinstance(schema, dict):
        return {name: value.lower() if name == "type" and isinstance(value, str) else _lowered(value) for name, value in schema.items()}
    return schema


def _resolved(schema: Any, root: Mapping[str, Any]) -> Any:
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolved(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root)
    return {name: {key: _resolved(value, root) for key, value in part.items()} if name == "properties" else _resolved(part, root)
            for name, part in schema.items()}
