"""Gemini's whole answers as canonical completions.

Source: Gemini API reference, ``GenerateContentResponse``. A whole answer is read as a stream of one event, so that both ways say
the same; a list of them (a stream without ``alt=sse``) as one of several.
"""

from __future__ import annotations

from typing import Any

import orjson

from stratarouter_runtime.model.response import Batch, ChatResponse

from . import nesting
from .answers import bad_answer
from .gemini_stream import GeminiStream
from .openai_stream import fold


def read_chat(raw: bytes, *, id: str, model: str, created: int, choices: int = 1) -> ChatResponse:  # noqa: A002 (OpenAI's name)
    """A vendor's successful body as a response; ``id`` and ``model`` where it reports none. Raises ``AnswerError``."""
    stream = GeminiStream(id=id, model=model, created=created, choices=choices)
    events: Batch = []
    for body in _bodies(raw):
        stream.add(body, events)
    if not events:
        raise bad_answer("the vendor's answer has no candidates")
    return fold([*events, *stream.end()])


def _bodies(raw: bytes) -> list[dict[str, Any]]:
    if not raw.strip():
        raise bad_answer("the vendor's answer is empty")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise bad_answer("the vendor's answer is not valid JSON") from None
    bodies = body if isinstance(body, list) else [body]
    if not bodies or any(type(each) is not dict for each in bodies) or nesting.too_deep(body, raw):
        raise bad_answer("the vendor's answer is not a JSON object, or nested too deeply")
    return bodies
