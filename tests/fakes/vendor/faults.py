"""Faults on demand: what can go wrong between a vendor and its caller, by name, and the script that says when.

A fault's ``phase`` says where it acts: ``connect`` before the request is even looked at, ``answer`` in place of the
answer, ``stream`` inside a stream after ``after`` frames, ``framing`` in how an otherwise correct answer is sent, ``wire``
in the very bytes that are written.
A ``delay`` of None holds until the client leaves or ``FakeVendor.release()`` is called, so that tests need no sleeps.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .answers import Reply
from .odd_bodies import ODD_BODIES
from .odd_streams import STREAM_FAULTS
from .raw import WIRE_FAULTS

Phase = Literal["connect", "answer", "stream", "framing", "wire"]
ANY = "*"
ALWAYS = -1
STATUSES = (400, 401, 402, 403, 404, 405, 408, 409, 413, 422, 425, 429, 500, 501, 502, 503, 504, 520, 524, 529)
"""``http_STATUS`` has the vendor's own body, ``html_STATUS`` a proxy's page, ``bare_STATUS`` none."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. Which of the fields matter depends on ``name``; the defaults make every one usable as it is."""

    name: str
    phase: Phase
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int = 3
    """Frames of a stream that are sent first (the role-only one is the first)."""
    delay: float | None = None
    """Seconds to wait; None holds."""
    size: int = 0
    """Bytes, for faults about size."""
    code: str = ""
    """Vendor's error code, where a status has several."""


def _catalogue() -> dict[str, Fault]:
    faults = [
        Fault("reset_before_headers", "connect"),
        Fault("close_before_headers", "connect"),
        Fault("black_hole", "connect"),
        Fault("slow_headers", "connect", delay=0.2),
        Fault("html_200", "answer"),
        *(Fault(name, "answer") for name in ODD_BODIES),
        *(Fault(name, "wire") for name in (*WIRE_FAULTS, *STREAM_FAULTS)),
        Fault("wrong_length", "answer"),
        Fault("wrong_content_type", "answer"),
        Fault("unstreamed", "answer"),
        Fault("huge_body", "answer", size=64 * 1024 * 1024),
        Fault("error_in_200", "answer"),
        Fault("redirect", "answer", status=307, headers={"Location": "http://127.0.0.1:9/stolen"}),
        *(Fault(f"{kind}_{status}", "answer", status=status) for kind in ("http", "bare", "html") for status in STATUSES),
        Fault("key_echo", "answer", status=500),
        Fault("rate_limited_seconds", "answer", status=429, headers={"Retry-After": "7"}),
        Fault("rate_limited_date", "answer", status=429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        Fault("rate_limited_ms", "answer", status=429, headers={"retry-after-ms": "250"}),
        Fault("rate_limited_reset", "answer", status=429,
              headers={"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s",
                       "x-ratelimit-remaining-tokens": "100", "x-ratelimit-reset-tokens": "120ms"}),
        Fault("quota", "answer", status=429, code="insufficient_quota"),
        Fault("context_length", "answer", status=400, code="context_length_exceeded"),
        Fault("content_policy", "answer", status=400, code="content_policy_violation"),
        Fault("reset_after_headers", "stream", after=0),
        Fault("reset_mid_stream", "stream"),
        Fault("slow_first_token", "stream", after=1),
        Fault("stall", "stream"),
        Fault("cut", "stream"),
        Fault("cut_connection", "stream"),
        Fault("cut_in_character", "stream"),
        Fault("error_event", "stream"),
        Fault("error_event_first", "stream", after=1),
        Fault("garbage_event", "stream"),
        Fault("huge_event", "stream", size=8 * 1024 * 1024),
        Fault("no_done", "stream"),
        Fault("no_usage", "stream"),
        Fault("trickle", "framing", delay=0.01),
        Fault("gzip", "framing"),
        Fault("crlf", "framing"),
        Fault("cr", "framing"),
        Fault("comments", "framing"),
        Fault("multi_line_data", "framing"),
        Fault("bom", "framing"),
        Fault("split_bytes", "framing"),
    ]
    return {fault.name: fault for fault in faults}


FAULTS = _catalogue()
"""Every fault by name."""


def fault(name: str, **changes: Any) -> Fault:
    """A fault of the catalogue, with some fields changed. Raises ``KeyError`` for an unknown name."""
    return replace(FAULTS[name], **changes)


@dataclass(slots=True)
class _Entry:
    what: Fault | Reply
    times: int


class Script:
    """What the next requests for a model meet: entries are used up in order, ``times=ALWAYS`` stays."""

    def __init__(self) -> None:
        self._entries: dict[str, deque[_Entry]] = defaultdict(deque)

    def fail(self, what: Fault | str, *, model: str = ANY, times: int = 1, **changes: Any) -> None:
        """Let the next ``times`` requests for ``model`` (``"*"``: any) meet a fault."""
        chosen = fault(what, **changes) if isinstance(what, str) else replace(what, **changes)
        self._entries[model].append(_Entry(chosen, times))

    def say(self, reply: Reply | str, *, model: str = ANY, times: int = 1) -> None:
        """Let the next ``times`` chat requests for ``model`` be answered with ``reply``."""
        self._entries[model].append(_Entry(Reply(text=reply) if isinstance(reply, str) else reply, times))

    def clear(self) -> None:
        """Back to normal."""
        self._entries.clear()

    def next(self, model: str) -> Fault | Reply | None:
        """What this request meets. A model named ``fault-NAME`` always meets the fault NAME."""
        if model.startswith("fault-") and model[6:] in FAULTS:
            return FAULTS[model[6:]]
        for key in (model, ANY):
            queue = self._entries.get(key)
            if queue:
                entry = queue[0]
                if entry.times != ALWAYS:
                    entry.times -= 1
                    if entry.times <= 0:
                        queue.popleft()
                return entry.what
        return None

    def pending(self) -> dict[str, list[str]]:
        """What is still scripted, for the control endpoint."""
        return {model: [entry.what.name if isinstance(entry.what, Fault) else "reply" for entry in queue]
                for model, queue in self._entries.items() if queue}
