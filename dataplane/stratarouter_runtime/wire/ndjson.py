"""Newline-delimited JSON: an incremental decoder over bytes.

Source: the ndjson specification: one JSON text a line, ended by LF, before which a CR is white space; blank lines are
ignored. Invariants: any split of the same bytes gives the same lines; memory is bounded by ``max_line`` and one read.
"""

from __future__ import annotations

from .sse import MAX_EVENT, EventTooLarge

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r"


class NdjsonDecoder:
    """Bytes in, complete lines out."""

    __slots__ = ("_first", "_held", "_held_size", "_max_line")

    def __init__(self, *, max_line: int = MAX_EVENT) -> None:
        self._held: list[bytes] = []
        self._held_size = 0
        self._first = True
        self._max_line = max_line

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that ``chunk`` completes, in order. Raises ``EventTooLarge``."""
        *ended, rest = chunk.split(b"\n")
        if ended and self._held:
            # Keeping the pieces apart until then makes a large line linear, not quadratic.
            ended[0] = b"".join([*self._held, ended[0]])
            self._held.clear()
            self._held_size = 0
        if any(len(line) > self._max_line for line in ended):
            raise EventTooLarge
        if rest:
            self._held.append(rest)
            self._held_size += len(rest)
            if self._held_size > self._max_line:
                raise EventTooLarge
        return [line for each in ended if (line := self._stripped(each))]

    def rest(self) -> bytes:
        """The line that the end of the stream ended, if it had begun."""
        line = self._stripped(b"".join(self._held))
        self._held.clear()
        self._held_size = 0
        return line

    def _stripped(self, line: bytes) -> bytes:
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        return line.strip(_BLANK)
