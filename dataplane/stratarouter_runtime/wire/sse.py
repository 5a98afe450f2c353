"""Server-sent events: an incremental decoder over bytes, and frames.

Source: the WHATWG HTML standard, "Server-sent events". Only the data of events is of interest here: every dialect
repeats the event's name inside it. Invariants: any split of the same bytes gives the same payloads; memory is bounded
by ``max_event`` and one read; an event that the end of the stream cuts off is never given out.
"""

from __future__ import annotations

from collections.abc import Iterable

DONE = b"[DONE]"
"""The data of the event with which OpenAI's streams end."""

KEEPALIVE = b": keepalive\n\n"
"""A comment: keeps intermediaries from closing a silent stream and is ignored by every client."""

MAX_EVENT = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_PREFIX = b"data: "
_PREFIX_LENGTH = len(_PREFIX)


class EventTooLarge(Exception):  # noqa: N818 (says what is wrong)
    """One event has more than ``max_event`` bytes."""


class SseDecoder:
    """Bytes in, the data of complete events out. Lines may end in LF, CRLF or CR.

    With ``bare`` JSON that stands between events without ``data:`` is an event as well: Google's errors in mid-stream.
    """

    __slots__ = ("_after_cr", "_at_start", "_held", "_held_size", "_max_event", "_other")

    def __init__(self, *, max_event: int = MAX_EVENT, bare: bool = False) -> None:
        self._other = _bare_or_data_of if bare else _data_of
        self._held: list[bytes] = []
        """The incomplete event, with LF line ends."""
        self._held_size = 0
        self._after_cr = False
        self._at_start = True
        self._max_event = max_event

    @property
    def incomplete(self) -> bool:
        """Whether an event has begun and not ended."""
        return self._held_size > 0

    @property
    def begun(self) -> bytes:
        """The data of the event that has begun and not ended, as far as it came."""
        return self._other(b"".join(self._held)) if self._held_size else b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads that ``chunk`` completes, in order. Raises ``EventTooLarge``."""
        if not chunk:
            return []
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_line_feeds(chunk)
        if self._at_start:
            chunk = self._without_bom(chunk)
        if not chunk:
            return []
        if b"\n" not in chunk or (self._held_size and not self._completes(chunk)):
            # Completes no event: keeping the pieces apart makes a large event linear, not quadratic.
            self._hold(chunk)
            return []
        if self._held_size:
            chunk = self._with_held(chunk)
        elif chunk.find(b"\n") == len(chunk) - 2 and chunk.startswith(_PREFIX) and chunk.endswith(b"\n\n"):
            # Nearly always a read is one event of one line.
            return [chunk[_PREFIX_LENGTH:-2]] if len(chunk) > _PREFIX_LENGTH + 2 else []
        blocks = chunk.split(b"\n\n")
        rest = blocks.pop()
        if rest:
            self._hold(rest)
        payloads = [block[_PREFIX_LENGTH:] if block.startswith(_PREFIX) and b"\n" not in block else self._other(block)
                    for block in blocks]
        return payloads if all(payloads) else [payload for payload in payloads if payload]

    def _completes(self, chunk: bytes) -> bool:
        """Whether the event that is held ends in the chunk: at a blank line in it, or one that begins with it."""
        return b"\n\n" in chunk or (chunk.startswith(b"\n") and self._held[-1].endswith(b"\n"))

    def _with_held(self, chunk: bytes) -> bytes:
        self._held.append(chunk)
        chunk = b"".join(self._held)
        self._held.clear()
        self._held_size = 0
        return chunk

    def _hold(self, piece: bytes) -> None:
        self._held.append(piece)
        self._held_size += len(piece)
        if self._held_size > self._max_event:
            raise EventTooLarge

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        """A CR ends a line at once; the LF that may follow it, also in the next chunk, is part of the same end."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _without_bom(self, chunk: bytes) -> bytes:
        start = b"".join(self._held) + chunk
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._held = [start]
            self._held_size = 0  # not yet known to belong to an event
            return b""
        self._held.clear()
        self._at_start = False
        return start.removeprefix(_BOM)


def frame(payload: bytes) -> bytes:
    """One event. ``payload`` has no line ends, as compact JSON has none."""
    return b"data: " + payload + b"\n\n"


def frames(payloads: Iterable[bytes]) -> bytes:
    """Events in a row as one piece of bytes; empty for none."""
    joined = b"\n\ndata: ".join(payloads)
    return b"data: " + joined + b"\n\n" if joined else b""


def _bare_or_data_of(block: bytes) -> bytes:
    return _data_of(block) or (block if block.lstrip().startswith((b"{", b"[")) else b"")


def _data_of(block: bytes) -> bytes:
    """The data of an event written in several lines: comments, other fields, data over lines."""
    data = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
    return b"\n".join(data)
