"""W3C Trace Context (https://www.w3.org/TR/trace-context/): the headers by which services share a trace.

Invariant: what is not a valid ``traceparent`` is no parent at all, and its ``tracestate`` is dropped with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
STATE_LIMIT = 512
"""Longest ``tracestate`` that is passed on; the standard asks for at least so much."""
SAMPLED = 0x01
RANDOM = 0x02
"""The flag that says that the trace id is random (Trace Context level 2)."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


class TraceParent(NamedTuple):
    """A position in a trace; ids in lower-case hex, ``state`` the raw ``tracestate``."""

    trace_id: str
    span_id: str
    flags: int
    state: str = ""

    @property
    def sampled(self) -> bool:
        """Whether the caller records this trace."""
        return bool(self.flags & SAMPLED)

    def headers(self) -> dict[str, str]:
        """The headers that make the next service a child of this position."""
        headers = {TRACEPARENT: f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"}
        if self.state:
            headers[TRACESTATE] = self.state
        return headers


def parse(headers: Mapping[str, str]) -> TraceParent | None:
    """The caller's position, from headers whose look-up ignores case (or that have lower-case names)."""
    raw = headers.get(TRACEPARENT)
    if raw is None:
        return None
    match = _TRACEPARENT.fullmatch(raw.strip(" \t"))
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceParent(trace_id, span_id, int(flags, 16), _state(headers))


def _state(headers: Mapping[str, str]) -> str:
    several = getattr(headers, "getall", None)
    state = headers.get(TRACESTATE, "") if several is None else ",".join(several(TRACESTATE, ()))
    return state if len(state) <= STATE_LIMIT else ""
