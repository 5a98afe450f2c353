"""The canonical events of a stream that another dialect than OpenAI's tells: chunks made here, not passed on.

Source: OpenAI API reference, "The chat completion chunk object". Invariant: what these write, ``openai_stream.fold`` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.response import ChatEvent, EventKind

from . import sse

STOP, LENGTH, TOOL_CALLS, CONTENT_FILTER = "stop", "length", "tool_calls", "content_filter"
"""Canonical finish reasons."""


class ChunkWriter:
    """Writes the chunks of one answer with one choice. ``id`` may become known with the stream's first event."""

    __slots__ = ("_head",)

    def __init__(self, *, model: str, created: int) -> None:
        self._head: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": created, "model": model}

    def named(self, *, id: str = "", model: str = "") -> None:  # noqa: A002 (OpenAI's name)
        """What the vendor says of itself; empty leaves what is known."""
        if id:
            self._head["id"] = id
        if model:
            self._head["model"] = model

    def opening(self) -> ChatEvent:
        """The role alone: a preamble."""
        return self._chunk(EventKind.PREAMBLE, {"role": "assistant", "content": ""})

    def content(self, delta: Mapping[str, Any], *, logprobs: Mapping[str, Any] | None = None) -> ChatEvent:
        """Text, reasoning, tool calls and what else an answer consists of."""
        return self._chunk(EventKind.CONTENT, delta, logprobs=logprobs)

    def finish(self, reason: str, *, logprobs: Mapping[str, Any] | None = None) -> ChatEvent:
        """Why the answer ended."""
        return self._chunk(EventKind.FINISH, {}, reason=reason, logprobs=logprobs)

    def usage(self, usage: Mapping[str, Any]) -> ChatEvent:
        """The tokens of the whole answer."""
        body = {**self._head, "choices": [], "usage": usage}
        return ChatEvent(EventKind.USAGE, orjson.dumps(body), body)

    @staticmethod
    def done() -> ChatEvent:
        """The stream's normal end."""
        return ChatEvent(EventKind.DONE, sse.DONE, None)

    def _chunk(self, kind: EventKind, delta: Mapping[str, Any], *, reason: str | None = None,
               logprobs: Mapping[str, Any] | None = None) -> ChatEvent:
        body = {**self._head, "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}]}
        return ChatEvent(kind, orjson.dumps(body), body)


def usage_object(*, input: int, output: int, cached: int = 0, reasoning: int = 0,  # noqa: A002 (the model's name)
                 extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Tokens as OpenAI writes them. ``input`` is all of it, ``cached`` the part of it that the vendor had cached.

    ``extra`` has what the vendor counts besides.
    """
    usage: dict[str, Any] = {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}
    if cached:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    if reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return usage if extra is None else {**usage, **extra}
