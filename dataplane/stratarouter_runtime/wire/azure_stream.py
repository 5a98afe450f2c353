"""Azure OpenAI's streams: OpenAI's, but for events without a choice.

Azure tells what its filters found in the prompt in an event of its own, with an empty list of choices, before the first
word. OpenAI sends none such (but for the usage that was asked for), and programs written for OpenAI take the first choice of
every event: what Azure says there is moved into the next event that has a choice. Source: Azure OpenAI, "Content filtering".
Invariants: nothing that Azure says is lost; any other event is Azure's own bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.response import Batch, ChatEvent, EventKind

from .answers import AnswerError
from .openai_stream import ChatStream

_HEAD = frozenset({"id", "object", "created", "model", "choices", "usage"})


class AzureStream:
    """Reads one stream. ``choices`` is the request's ``n``."""

    __slots__ = ("_held", "_stream")

    def __init__(self, *, choices: int = 1) -> None:
        self._stream = ChatStream(choices=choices)
        self._held: dict[str, Any] = {}

    @property
    def done(self) -> bool:
        """Whether the stream has come to its normal end."""
        return self._stream.done

    def feed(self, chunk: bytes) -> tuple[Batch, AnswerError | None]:
        """The events that ``chunk`` completes, and the error that came after them, if one did."""
        events, error = self._stream.feed(chunk)
        return self._moved(events), error

    def end(self) -> Batch:
        """What is missing at the end. Raises ``AnswerError``."""
        return self._stream.end()

    def _moved(self, events: Batch) -> Batch:
        given: Batch = []
        for event in events:
            body = event.body
            if event.kind is EventKind.PREAMBLE and body is not None and body.get("choices") == []:
                self._held |= {name: value for name, value in body.items() if name not in _HEAD}
            elif self._held and body is not None and body.get("choices"):
                given.append(_with(event, body, self._held))
                self._held = {}
            else:
                given.append(event)
        return given


def _with(event: ChatEvent, body: Mapping[str, Any], more: Mapping[str, Any]) -> ChatEvent:
    joined = {**more, **body}
    return ChatEvent(event.kind, orjson.dumps(joined), joined)
