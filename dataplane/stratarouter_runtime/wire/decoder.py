"""What every dialect's stream is read with."""

from __future__ import annotations

from typing import Protocol

from stratarouter_runtime.model.response import Batch

from .answers import AnswerError


class EventDecoder(Protocol):
    """Bytes of one stream in, canonical events out; any split of the same bytes gives the same events.

    The last event of a whole stream is ``DONE``; after it, and after an error, nothing more is given out.
    """

    @property
    def done(self) -> bool:
        """Whether the stream has come to its normal end."""

    def feed(self, chunk: bytes) -> tuple[Batch, AnswerError | None]:
        """The events that ``chunk`` completes, and the error that came after them, if one did."""

    def end(self) -> Batch:
        """The vendor closed the stream: what is missing at its end. Raises ``AnswerError`` (``Truncated``)."""
