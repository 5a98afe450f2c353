"""What a vendor answered, in canonical form, and the events of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. ``cached`` are input tokens the vendor read from its own prompt cache, ``stored`` those it wrote there.

    ``estimated`` where the vendor did not tell. ``billed`` are the input and output tokens that are charged for, where a
    vendor charges for other numbers than the model read and wrote.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    estimated: bool = False
    billed: tuple[int, int] | None = None
    stored: int = 0

    @property
    def total(self) -> int:
        """Input and output together."""
        return self.input + self.output


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """A complete answer: ``raw`` as it goes to a client of the OpenAI door, ``body`` the same parsed.

    ``native`` is the vendor's own body where the request came in the vendor's dialect; else empty.
    """

    raw: bytes
    body: Mapping[str, Any]
    model: str
    finish_reason: str | None
    usage: Usage | None
    native: bytes = b""

    @property
    def text(self) -> str:
        """The first choice's text; empty for tool calls and refusals."""
        choices = self.body.get("choices") or [{}]
        content = (choices[0].get("message") or {}).get("content")
        return content if isinstance(content, str) else ""


@dataclass(frozen=True, slots=True)
class EmbeddingsResponse:
    """Vectors in the order of the inputs: ``raw`` as it goes to a client, ``body`` the same parsed."""

    raw: bytes
    body: Mapping[str, Any]
    model: str
    usage: Usage | None


Response = ChatResponse | EmbeddingsResponse


class EventKind(Enum):
    """What a chat event means to the engine."""

    PREAMBLE = 0    # role-only or empty delta: waits for content
    CONTENT = 1     # text, reasoning, tool call, refusal: the commit point
    FINISH = 2      # carries a finish_reason
    USAGE = 3       # no choices, only usage
    DONE = 4        # the stream's normal end


@dataclass(slots=True)
class ChatEvent:
    """One event of a chat stream.

    ``raw`` is the JSON payload (an OpenAI ``chat.completion.chunk``) without framing, ``body`` the same parsed
    (None for DONE). ``native`` has the vendor's own events, framed, that it was made of, where the request came in the
    vendor's dialect. What exists only there has an empty ``raw`` and no ``body``;
    such events come only to who asked in that dialect.
    """

    kind: EventKind
    raw: bytes
    body: Mapping[str, Any] | None
    native: bytes = b""


Batch = list[ChatEvent]
"""The events of one read from the socket, in order; never empty."""
