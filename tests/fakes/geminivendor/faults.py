"""What can go wrong at Google, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import errors
from .bodies import Reply, compact, frame, text

Frames = list[bytes | None]
"""None: the connection is reset here."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: an error in place of the answer (``error``), another whole answer, a reply of the model, or what becomes of the
    frames of a stream."""

    name: str
    error: Any = None
    status: int = 200
    kind: str = "application/json"
    whole: Any = None
    reply: Reply | None = None
    change: Callable[[list[bytes]], Frames] | None = None

    def frames(self, made: list[bytes]) -> Frames:
        """The frames of a stream that meets it."""
        return self.change(made) if self.change is not None else list(made)


def refusal(name: str, error: errors.ApiError) -> Fault:
    """An error reply."""
    return Fault(name, error=error.body, status=error.status)


_OVERLOADED = errors.status_body(503)
_BLOCKED = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4},
            "modelVersion": "gemini-2.5-flash", "responseId": "blocked1"}
_EMPTY = {"usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}, "modelVersion": "gemini-2.5-flash", "responseId": "empty1"}


def _event(shape: Any) -> bytes:
    return frame(compact(shape))


def _catalogue() -> list[Fault]:
    return [
        *(refusal(f"http_{status}", errors.ApiError(status)) for status in errors.STATUSES),
        refusal("rate_limited", errors.exhausted()),
        refusal("rate_limited_words", errors.ApiError(429)),
        refusal("quota_per_day", errors.exhausted("38s", "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "250")),
        refusal("no_quota", errors.exhausted("11s", "GenerateContentInputTokensPerModelPerMinute-FreeTier", "0")),
        refusal("key_invalid", errors.wrong_key()),
        refusal("location", errors.ApiError(400, "User location is not supported for the API use.", name="FAILED_PRECONDITION")),
        refusal("context_length", errors.ApiError(
            400, "The input token count (1234567) exceeds the maximum number of tokens allowed (1048576).")),
        Fault("list_503", error=[_OVERLOADED], status=503),
        Fault("html_502", error=b"<html><title>Error 502 (Server Error)!!1</title></html>", status=502, kind="text/html"),
        Fault("error_in_200", error=_OVERLOADED),
        Fault("empty_200", error=b""),
        Fault("garbage_200", error=b'{"candidates": [{"content"'),
        Fault("blocked", whole=_BLOCKED, change=lambda made: [_event(_BLOCKED)]),
        Fault("no_candidates", whole=_EMPTY, change=lambda made: [_event(_EMPTY)]),
        Fault("filtered", reply=Reply(events=((), ), finish="SAFETY", more={"safetyRatings": [
            {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}]})),
        Fault("malformed_call", reply=Reply(events=((), ), finish="MALFORMED_FUNCTION_CALL",
                                            more={"finishMessage": "Malformed function call: print(default_api.f(x=1))"})),
        Fault("cut", change=lambda made: list(made[:3])),
        Fault("reset_mid_stream", change=lambda made: [*made[:3], None]),
        Fault("cut_in_character", change=lambda made: [*made[:2], 'data: {"candidates": [{"content": {"parts": [{"text": "€'.encode()[:-2]]),
        Fault("error_event", change=lambda made: [*made[:3], _event(_OVERLOADED)]),
        Fault("error_event_first", change=lambda made: [_event(_OVERLOADED)]),
        Fault("bare_error", change=lambda made: [*made[:3], errors.dump(_OVERLOADED)]),
        Fault("garbage_event", change=lambda made: [*made[:2], b"data: {\r\n\r\n", *made[2:]]),
        Fault("comments", change=lambda made: [b": hello\r\n\r\n", *(piece + b"\r\n:\r\n\r\n" for piece in made)]),
        Fault("line_feeds", change=lambda made: [piece.replace(b"\r\n", b"\n") for piece in made]),
        Fault("unstreamed"), Fault("reset"), Fault("hold"),
        Fault("stall", change=lambda made: list(made[:2])),
        Fault("said_in_part", reply=text("half an answer", finish="RECITATION")),
    ]


FAULTS = {fault.name: fault for fault in _catalogue()}
"""Every fault by name."""

