"""How long a vendor asks to be left alone, in every form vendors use.

Sources: RFC 9110 section 10.2.3 (seconds or a date); OpenAI's ``retry-after-ms`` and ``x-ratelimit-reset-*`` durations
(``120ms``, ``1s``, ``6m0s``); OpenAI's message (``Please try again in 20s.``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST = 86_400.0
"""Seconds; a longer wait is taken as this: nothing here plans further ahead than a day."""

_UNITS: Mapping[str, float] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.IGNORECASE)
_IN_WORDS = re.compile(rf"try again in ((?:{_PART.pattern})+)", re.IGNORECASE)


def retry_after(status: int, headers: Mapping[str, str], message: str, *, now: float) -> float | None:
    """Seconds to wait, None where the vendor does not say. ``now`` in Unix seconds, for dates."""
    asked = _milliseconds(headers.get("retry-after-ms"))
    if asked is None:
        asked = _seconds_or_date(headers.get("Retry-After"), now)
    if asked is None and status == 429:
        asked = _of_limits(headers, message)
    return None if asked is None else min(max(asked, 0.0), LONGEST)


def duration(text: str | None) -> float | None:
    """``6m0s`` and the like, or plain seconds, in seconds; None where it is neither."""
    if text is None:
        return None
    text = text.strip()
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS[unit.lower()] for number, unit in _PART.findall(text.lower()))
    return _number(text)


def _milliseconds(text: str | None) -> float | None:
    number = _number(text)
    return None if number is None else number / 1000


def _seconds_or_date(text: str | None, now: float) -> float | None:
    if text is None:
        return None
    asked = duration(text)
    if asked is not None:
        return asked
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def _of_limits(headers: Mapping[str, str], message: str) -> float | None:
    """When the exhausted limit is full again; where none says it is exhausted, what the message says, else the last of them.

    A limit that is not exhausted tells when it would be full, and does so in every reply: that is no answer to a refusal.
    """
    resets = {kind: duration(headers.get(f"x-ratelimit-reset-{kind}")) for kind in ("requests", "tokens")}
    known = {kind: seconds for kind, seconds in resets.items() if seconds is not None}
    exhausted = [seconds for kind, seconds in known.items() if headers.get(f"x-ratelimit-remaining-{kind}") == "0"]
    if exhausted:
        return max(exhausted)
    said = _in_words(message)
    return max(known.values(), default=None) if said is None else said


def _in_words(message: str) -> float | None:
    found = _IN_WORDS.search(message)
    return duration(found[1]) if found else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
