"""The one table from what a vendor answers to what it means, and the errors made of it.

Invariants: what a failure's consequences are (retry, failover, who caused it) stands in ``model.errors.TREATMENTS``
alone; here is only which failure it is. A message is the vendor's own where it has one, without keys and URLs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from stratarouter_runtime.model.errors import TREATMENTS, Failure, Phase, ProviderError, RequestError
from stratarouter_runtime.wire.answers import AnswerError, VendorError

from .retry_after import retry_after

BY_CODE: Mapping[str, Failure] = {
    # Google's names of status, and the reasons in its ErrorInfo.
    **dict.fromkeys(("api_key_invalid", "api_key_expired", "service_disabled", "consumer_suspended", "consumer_invalid",
                     "api_key_service_blocked", "user_project_denied", "location_policy_violated", "unauthenticated",
                     "permission_denied"), Failure.UNAUTHORIZED),
    "billing_disabled": Failure.QUOTA_EXHAUSTED, "resource_exhausted": Failure.RATE_LIMITED, "unavailable": Failure.OVERLOADED,
    "deadline_exceeded": Failure.TIMEOUT, "not_found": Failure.NOT_FOUND,
    **dict.fromkeys(("context_length_exceeded", "context_window_exceeded", "model_context_window_exceeded",
                     "exceed_context_size_error"), Failure.CONTEXT_LENGTH),
    **dict.fromkeys(("content_policy_violation", "content_filter", "content_filter_error", "moderation_blocked",
                     "responsibleaipolicyviolation"), Failure.CONTENT_POLICY),
    **dict.fromkeys(("insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded",
                     "project_spend_limit_exceeded", "organization_usage_limit_exceeded", "billing_hard_limit_reached",
                     "billing_not_active", "insufficient_balance", "monthly_limit_exceeded", "billing_error"), Failure.QUOTA_EXHAUSTED),
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "rate_limit_reached", "too_many_requests", "ratelimiterror"),
                    Failure.RATE_LIMITED),
    **dict.fromkeys(("overloaded_error", "engine_overloaded", "slow_down", "model_overloaded", "serviceunavailableerror"),
                    Failure.OVERLOADED),
    **dict.fromkeys(("invalid_api_key", "authentication_error", "authenticationerror", "account_deactivated",
                     "permission_error", "unsupported_country_region_territory"), Failure.UNAUTHORIZED),
    **dict.fromkeys(("model_not_found", "model_not_available", "not_found_error", "notfounderror",
                     "deploymentnotfound", "operationnotsupported"), Failure.NOT_FOUND)}
"""By the vendor's code, else its type, in lower case: more telling than a status, which has many meanings."""

BY_STATUS: Mapping[int, Failure] = {
    401: Failure.UNAUTHORIZED, 402: Failure.QUOTA_EXHAUSTED, 403: Failure.UNAUTHORIZED, 407: Failure.UNAUTHORIZED,
    498: Failure.UNAUTHORIZED, 404: Failure.NOT_FOUND, 405: Failure.NOT_FOUND, 410: Failure.NOT_FOUND,
    408: Failure.TIMEOUT, 499: Failure.TIMEOUT, 504: Failure.TIMEOUT, 524: Failure.TIMEOUT,
    409: Failure.CONFLICT, 425: Failure.CONFLICT,
    429: Failure.RATE_LIMITED, 503: Failure.OVERLOADED, 529: Failure.OVERLOADED}

BY_GENERAL_TYPE: Mapping[str, Failure] = {
    "invalid_request_error": Failure.INVALID_REQUEST, "invalid_argument": Failure.INVALID_REQUEST, "badrequesterror": Failure.INVALID_REQUEST,
    "request_too_large": Failure.INVALID_REQUEST, "timeout_error": Failure.TIMEOUT}
"""By type alone, for errors that come without a status (inside a 200, in mid-stream)."""

_CONTEXT = re.compile(r"maximum context length|context (length|window|size)|prompt is too long|maximum model length|too many tokens"
                      r"|exceeds the maximum number of tokens|exceed context limit", re.IGNORECASE)
"""Local servers give no code for it, only words."""

_QUOTA = re.compile(r"credit balance is too low|reached your specified API usage limits", re.IGNORECASE)
"""Anthropic says it with the status and the type of a request that is wrong."""

_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>)\]]+", re.IGNORECASE)
_KEY = re.compile(r"\bBearer\s+\S+|\b(?:sk|gsk|xai)[-_][A-Za-z0-9*_.-]{8,}|\b(?:AIza|ya29\.|AQ\.)[A-Za-z0-9_.-]{20,}"
                  r"|\b(?:org|proj|user)[-_][A-Za-z0-9]{16,}", re.IGNORECASE)
"""Keys as vendors write them, masked ones too, and the ids of accounts."""


def classify(status: int, vendor: VendorError) -> Failure:
    """Which failure a reply is. ``status`` below 400: the vendor reported it without one."""
    for name in (vendor.code, vendor.type):
        failure = BY_CODE.get(name.lower())
        if failure is not None:
            return failure
    if status < 400:
        status = _status_in(vendor)
    if status in (400, 413, 422) and _CONTEXT.search(vendor.message):
        return Failure.CONTEXT_LENGTH
    if status == 400 and _QUOTA.search(vendor.message):
        return Failure.QUOTA_EXHAUSTED
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status:
        return Failure.SERVER_ERROR if status >= 500 else Failure.INVALID_REQUEST
    return BY_GENERAL_TYPE.get(vendor.type.lower(), Failure.SERVER_ERROR)


def refused(status: int, headers: Mapping[str, str], vendor: VendorError, *, now: float, key: str = "") -> ProviderError:
    """The error of a reply that is not a success."""
    if 300 <= status < 400:
        return ProviderError(Failure.NOT_FOUND, f"the provider redirected (status {status}), which is never followed",
                             phase=Phase.BODY, status=status)
    return _made(classify(status, vendor), vendor, status=status, phase=Phase.BODY, key=key,
                 wait=_wait(retry_after(status, headers, vendor.message, now=now), vendor))


def broken(error: AnswerError, *, phase: Phase, key: str = "") -> ProviderError:
    """The error of a success that is none: another shape, cut off, or an error inside a 200."""
    if error.failure is not None:
        return ProviderError(error.failure, error.message, phase=phase)
    status = _status_in(error.vendor)
    return _made(classify(0, error.vendor), error.vendor, status=status, phase=phase, key=key,
                 wait=_wait(retry_after(status, {}, error.vendor.message, now=0.0), error.vendor))


@contextmanager
def cannot_carry() -> Iterator[None]:
    """Turns a codec's refusal of what its dialect has no place for into the error of an attempt."""
    try:
        yield
    except RequestError as error:
        raise ProviderError(Failure.INVALID_REQUEST, error.message, phase=Phase.CONNECT, status=400, type=error.type, param=error.param,
                            code=error.code) from None


def redact(text: str, key: str = "") -> str:
    """A vendor's message without the key, anything that looks like one, and URLs."""
    if key:
        text = text.replace(key, "[key]")
    return _KEY.sub("[key]", _URL.sub("[url]", text))


def _made(failure: Failure, vendor: VendorError, *, status: int, phase: Phase, key: str, wait: float | None) -> ProviderError:
    client = TREATMENTS[failure].client
    if client and not 400 <= status < 500:
        status = 400  # a client's mistake must not look like a server's
    message = redact(vendor.message, key) or f"the provider answered with status {status}"
    return ProviderError(
        failure, message, phase=phase, status=status or 502, param=vendor.param, retry_after=wait,
        type=vendor.type or ("invalid_request_error" if client else "server_error"),
        # A number says no more than the status does.
        code=vendor.code if vendor.code and not vendor.code.isdigit() else None)


def _wait(asked: float | None, vendor: VendorError) -> float | None:
    """The longer of what headers and body ask for."""
    if asked is None or vendor.wait is None:
        return vendor.wait if asked is None else asked
    return max(asked, vendor.wait)


def _status_in(vendor: VendorError) -> int:
    """The status that an error without one names as its code; 0 for none."""
    status = int(vendor.code) if vendor.code.isdecimal() and len(vendor.code) == 3 else 0
    return status if 400 <= status < 600 else 0
