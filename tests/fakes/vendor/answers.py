"""What the fake vendor says: deterministic answers that repeat the question, so that a wrong one is visible.

Pure. The same request always gives the same text and the same token counts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TAILS = (
    "It is in hand, and you will hear from us within two working days.",
    "The details are on your account page, under the heading of the same name.",
    "A colleague looks after exactly this and has been told.",
    "The short version: yes, and nothing further is needed from you.",
)
FILLER = ("and", "so", "on,", "word", "after", "word,", "as", "a", "longer", "answer", "would")

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """One choice's content. Exactly what is set is sent; ``finish_reason`` defaults to what fits."""

    text: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[tuple[str, str], ...] = ()
    """Pairs of a function's name and its arguments as a JSON string."""
    finish_reason: str | None = None
    cached: int = 0
    """Tokens of the request that the vendor had cached."""

    @property
    def finish(self) -> str:
        """Why the choice ended."""
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")

    def pieces(self) -> list[str]:
        """The text in the pieces that a stream would send: a word with the space before it."""
        return words(self.text or "")

    @property
    def tokens(self) -> int:
        """How many tokens the reply is billed as: one a piece."""
        said = (self.text, self.refusal, self.reasoning, *(part for call in self.tool_calls for part in call))
        return max(1, sum(len(words(part)) for part in said if part))


def words(text: str) -> list[str]:
    """Split into pieces whose concatenation is the text; a piece is the fake's token."""
    return re.findall(r"\s*\S+|\s+$", text)


def reply_to(body: Mapping[str, Any], *, pad_words: int = 0) -> Reply:
    """The answer to a chat request; at least ``pad_words`` pieces long, cut at ``max_tokens``."""
    called = _called_tool(body)
    if called is not None:
        name, parameters = called
        return Reply(tool_calls=((name, json.dumps(example_of(parameters))),))
    schema = _json_schema(body)
    if schema is not None:
        return Reply(text=json.dumps(example_of(schema)))
    return _limited(_prose(question_of(body), pad_words), body)


def question_of(body: Mapping[str, Any]) -> str:
    """The text of the last message of the user, or of the last message at all."""
    messages = body.get("messages") or []
    asked = [message for message in messages if message.get("role") == "user"] or messages
    return text_of(asked[-1].get("content")) if asked else ""


def text_of(content: Any) -> str:
    """The text parts of a message's content."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(part.get("text", "") for part in parts if isinstance(part, dict) and part.get("type") == "text")


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """One a word, four a message for its framing, three for the answer's start: the shape of the vendor's rule."""
    messages = body.get("messages") or []
    return 3 + sum(4 + len(words(text_of(message.get("content")))) for message in messages)


def example_of(schema: Mapping[str, Any]) -> Any:
    """A value that a JSON schema accepts, for tool arguments and structured output."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: example_of(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [example_of(schema.get("items", {"type": "string"}))]
    return {"string": "example", "integer": 1, "number": 1.5, "boolean": True, "null": None}[kind]


def _prose(question: str, pad_words: int) -> str:
    tail = TAILS[hashlib.sha256(question.encode()).digest()[0] % len(TAILS)]
    text = f'You asked: "{question}". {tail}'
    missing = pad_words - len(words(text))
    filler = (FILLER[i % len(FILLER)] for i in range(missing))
    return " ".join((text, *filler)) if missing > 0 else text


def _limited(text: str, body: Mapping[str, Any]) -> Reply:
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop, 1)[0]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    pieces = words(text)
    if limit is not None and len(pieces) > limit:
        return Reply(text="".join(pieces[:limit]), finish_reason="length")
    return Reply(text=text)


def _called_tool(body: Mapping[str, Any]) -> tuple[str, JsonObject] | None:
    """The tool this request must call, or names in its question; a tool's result is answered in prose."""
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or [] if "function" in tool}
    choice = body.get("tool_choice", "auto")
    messages = body.get("messages") or [{}]
    if not tools or choice == "none" or messages[-1].get("role") == "tool":
        return None
    if isinstance(choice, dict):
        name = choice["function"]["name"]
    elif choice == "required":
        name = next(iter(tools))
    else:
        asked = question_of(body)
        name = next((tool for tool in tools if tool in asked), "")
    return (name, tools[name].get("parameters") or {}) if name in tools else None


def _json_schema(body: Mapping[str, Any]) -> JsonObject | None:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return wanted["json_schema"].get("schema") or {}
    return {"type": "object", "properties": {"answer": {}}} if wanted.get("type") == "json_object" else None
