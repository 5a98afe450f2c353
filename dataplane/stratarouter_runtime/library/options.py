"""What a caller in-process may ask of one call, beside the question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import DEFAULT_TENANT, CacheControl, Caller, Directives

MAX_TENANT = 253
MAX_TIMEOUT = 3_600.0


class CallOptions(TypedDict, total=False):
    """Options of one call, all of which may be left out.

    ``timeout``: seconds, may only shorten the configured one. ``route``: the route's name, where no decision names one.
    ``similarity_threshold``: may only raise the cache's. ``no_store``: no look-up, no store; ``no_cache``, or a ``max_age`` of 0: store only;
    ``only_if_cached``: a cached answer or a ``NotCached`` error; ``max_age``: seconds that a cached answer may be old.
    ``drop_unsupported``: a parameter that a vendor has no place for is left out, and named in the result's ``warnings``,
    instead of being a reason not to ask it.
    """

    timeout: float | None
    route: str | None
    similarity_threshold: float | None
    no_store: bool
    no_cache: bool
    only_if_cached: bool
    max_age: float | None
    drop_unsupported: bool


def directives(*, timeout: float | None = None, route: str | None = None, similarity_threshold: float | None = None,
               no_store: bool = False, no_cache: bool = False, only_if_cached: bool = False, max_age: float | None = None,
               drop_unsupported: bool = False, chain: tuple[str, ...] = ()) -> Directives:
    """The options as the runtime takes them. Raises ``RequestError`` for one out of bounds, ``TypeError`` for an unknown one."""
    _within("timeout", timeout, 0.001, MAX_TIMEOUT)
    _within("similarity_threshold", similarity_threshold, 0, 1)
    _within("max_age", max_age, 0, float("inf"))
    if route is not None and (not isinstance(route, str) or not route):
        raise RequestError("InvalidRequest", "Invalid 'route': expected a route's name.", param="route", code="invalid_value")
    return Directives(route=route, timeout=timeout, similarity_threshold=similarity_threshold, chain=chain,
                      drop_unsupported=drop_unsupported,
                      cache=CacheControl(no_store=no_store, no_cache=no_cache or max_age == 0,
                                         only_if_cached=only_if_cached, max_age=max_age))


def caller(context: Mapping[str, Any]) -> Caller:
    """Who asks: ``context["tenant"]``, a text or a number."""
    tenant = context.get("tenant")
    if tenant is None:
        return Caller(DEFAULT_TENANT)
    named = str(tenant) if isinstance(tenant, str | int) and not isinstance(tenant, bool) else ""
    if not 0 < len(named) <= MAX_TENANT:
        raise RequestError("InvalidTenant", f"Invalid 'context.tenant': expected 1 to {MAX_TENANT} characters.", param="context.tenant")
    return Caller(named)


def _within(name: str, value: float | None, low: float, high: float) -> None:
    # Not written as `value < low or value > high`: that would let NaN pass.
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high):
        raise RequestError("InvalidRequest", f"Invalid '{name}': expected a number from {low:g} to {high:g}.", param=name,
                           code="invalid_value")
