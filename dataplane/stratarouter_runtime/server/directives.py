"""What a caller asks of the runtime in headers.

Invariant: a header that cannot be understood is an error that names it, never silently ignored; ``Cache-Control``
follows RFC 9111, where unknown directives are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import CacheControl, Directives

_NONE = Directives()
_REQUEST_ID = re.compile(r"^[\x21-\x7e]{1,128}$")
_HEADERS = ("cache-control", "x-strata-route", "x-strata-timeout-ms", "x-strata-similarity-threshold", "x-strata-unsupported")


def directives(headers: Mapping[str, str]) -> Directives:
    """Read the headers; raises ``RequestError`` that names the one that is wrong."""
    if not any(name in headers for name in _HEADERS):
        return _NONE
    timeout = _number(headers, "x-strata-timeout-ms", low=1, high=3_600_000)
    return Directives(
        route=headers.get("x-strata-route") or None,
        timeout=None if timeout is None else timeout / 1000,
        similarity_threshold=_number(headers, "x-strata-similarity-threshold", low=0, high=1),
        cache=cache_control(headers.get("cache-control", "")),
        drop_unsupported=_drops(headers.get("x-strata-unsupported", "")),
    )


def _drops(sent: str) -> bool:
    """``drop`` or, as without the header, ``refuse``."""
    wanted = sent.strip().lower()
    if wanted not in ("", "drop", "refuse"):
        raise RequestError("InvalidHeader", "The header x-strata-unsupported must be 'drop' or 'refuse'.", param="x-strata-unsupported")
    return wanted == "drop"


def request_id(headers: Mapping[str, str]) -> str:
    """The caller's ``x-request-id`` where it is printable and of sensible length, else empty."""
    sent = headers.get("x-request-id", "")
    return sent if _REQUEST_ID.match(sent) else ""


def cache_control(value: str) -> CacheControl:
    """A request's ``Cache-Control``."""
    if not value:
        return CacheControl()
    found: dict[str, str] = {}
    for part in value.split(","):
        name, _, argument = part.strip().partition("=")
        found[name.strip().lower()] = argument.strip().strip('"')
    max_age = found.get("max-age")
    return CacheControl(
        no_store="no-store" in found,
        # A max-age of nothing is how browsers and proxies say no-cache.
        no_cache="no-cache" in found or max_age == "0",
        only_if_cached="only-if-cached" in found,
        max_age=float(max_age) if max_age and max_age.isascii() and max_age.isdigit() else None,
    )


def _number(headers: Mapping[str, str], name: str, *, low: float, high: float) -> float | None:
    sent = headers.get(name)
    if sent is None:
        return None
    try:
        value = float(sent)
    except ValueError:
        value = float("nan")
    # Not written as `value < low or value > high`: that would let NaN pass.
    if not low <= value <= high:
        raise RequestError("InvalidHeader", f"The header {name} must be a number from {low:.10g} to {high:.10g}.", param=name)
    return value
