"""Google's errors: ``google.rpc.Status`` as JSON, alone or in a list.

Sources: Google API design guide "Errors" (AIP-193); ``google/rpc/error_details.proto`` (ErrorInfo, QuotaFailure, RetryInfo); Gemini
API "Troubleshooting". A bad key is ``INVALID_ARGUMENT`` there, told apart by its ``ErrorInfo``; a quota that is used up for the day
looks like a rate limit but for its ``quotaId``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from .answers import VendorError
from .openai_errors import MAX_MESSAGE
from .reading import inner, objects, text

LONGEST_WAIT = 86_400.0
"""Seconds; nothing here plans further ahead."""

QUOTA = "insufficient_quota"
"""The code of a quota that waiting for seconds does not help."""

_TELLING = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "BILLING_DISABLED", "SERVICE_DISABLED", "CONSUMER_SUSPENDED",
                      "CONSUMER_INVALID", "API_KEY_SERVICE_BLOCKED", "USER_PROJECT_DENIED", "LOCATION_POLICY_VIOLATED"})
"""Reasons of an ErrorInfo that say more than the status: our own account or key is not in order."""
_ACCOUNT = re.compile(r"user location is not supported|enable billing|api key (not valid|expired)", re.IGNORECASE)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")
_IN_WORDS = re.compile(r"retry in (\d+(?:\.\d+)?)s", re.IGNORECASE)


def parse_error(raw: bytes) -> VendorError:
    """The vendor's words in the body of an error reply; empty where it is not JSON (a proxy's page says nothing)."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return VendorError()
    return error_in(body) or VendorError()


def error_in(body: Any) -> VendorError | None:
    """The error that a reply or an event consists of, None where it is none."""
    if isinstance(body, list):
        return next((error for error in map(error_in, body[:8]) if error is not None), None)
    error = inner(body).get("error")
    if isinstance(error, str) and error:
        # As the token endpoint and some proxies write it.
        return VendorError(message=_cut(text(inner(body).get("error_description")) or error), type=_cut(error))
    if not isinstance(error, Mapping) or not error:
        return None
    message, status, code = text(error.get("message")), text(error.get("status")), error.get("code")
    return VendorError(message=_cut(message), type=_cut(status), wait=_wait(error, message),
                       code=_reason(error, status, message) or (str(code) if type(code) is int else ""))


def _reason(error: Mapping[str, Any], status: str, message: str) -> str:
    """What the details say more than the status; empty where nothing."""
    for detail in _details(error, "ErrorInfo"):
        if text(detail.get("reason")) in _TELLING:
            return text(detail.get("reason"))
    if status in ("INVALID_ARGUMENT", "FAILED_PRECONDITION") and _ACCOUNT.search(message):
        return "API_KEY_INVALID"
    for detail in _details(error, "QuotaFailure"):
        for violation in objects(detail.get("violations")):
            if "PerDay" in text(violation.get("quotaId")) or violation.get("quotaValue") in ("0", 0):
                return QUOTA
    return ""


def _wait(error: Mapping[str, Any], message: str) -> float | None:
    for detail in _details(error, "RetryInfo"):
        found = _SECONDS.fullmatch(text(detail.get("retryDelay")))
        if found:
            return min(float(found[1]), LONGEST_WAIT)
    found = _IN_WORDS.search(message)
    return min(float(found[1]), LONGEST_WAIT) if found else None


def _details(error: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [detail for detail in objects(error.get("details")) if text(detail.get("@type")).endswith(f"google.rpc.{kind}")]


def _cut(value: str) -> str:
    return value if len(value) <= MAX_MESSAGE else value[:MAX_MESSAGE] + "..."
