"""The cache for admins, on the platform port.

``GET /cache``: this pod's figures. ``POST /cache/explain``: what the cache would do with a request, and why. ``DELETE /cache`` with one
of ``key``, ``partition`` and ``tenant``: out of every pod's cache.

Invariants: as of all admin endpoints (``admin``); questions of callers are shown, answers are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from stratarouter_runtime import inspection
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import DEFAULT_TENANT, Request
from stratarouter_runtime.runtime import Runtime
from stratarouter_runtime.wire import openai_chat, openai_checks, openai_embeddings

from .admin import guarded
from .auth import TENANT, AdminKeys

_DIGEST = re.compile(r"^[0-9a-f]{64}$")
_ASKED = frozenset({"request", "tenant", "route", "similarityThreshold", "embedding"})


def add_routes(app: web.Application, keys: AdminKeys, runtime: Runtime) -> None:
    """Put the endpoints into an application."""

    async def overview(_: web.Request) -> dict[str, Any]:
        return inspection.overview(runtime.parts)

    async def explain(request: web.Request) -> dict[str, Any]:
        asked = openai_checks.parse_object(await _body(request))
        parts = runtime.parts
        with parts:
            return await inspection.explain(parts, _request(asked), **_terms(asked))

    async def delete(request: web.Request) -> dict[str, Any]:
        what = _selected(request.query)
        parts = runtime.parts
        with parts:
            return {"deleted": await inspection.delete(parts, **what)}

    app.router.add_get("/cache", guarded(keys, overview))
    app.router.add_post("/cache/explain", guarded(keys, explain))
    app.router.add_delete("/cache", guarded(keys, delete))


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise RequestError("RequestTooLarge", "The request's body is larger than 1 MiB.", status=413) from None


def _request(asked: Mapping[str, Any]) -> Request:
    """The request to look for, as its API would have it."""
    unknown = next((name for name in asked if name not in _ASKED), None)
    if unknown is not None:
        raise RequestError("UnknownParameter", f"Unknown parameter: '{unknown}'.", param=unknown)
    body = asked.get("request")
    if not isinstance(body, dict):
        raise openai_checks.missing("request") if body is None else openai_checks.wrong_type("request", "an object", body)
    return openai_embeddings.check_embeddings(body) if "input" in body and "messages" not in body else openai_chat.check_chat(body)


def _terms(asked: Mapping[str, Any]) -> dict[str, Any]:
    tenant, route, threshold, vector = (asked.get(name) for name in ("tenant", "route", "similarityThreshold", "embedding"))
    for name, value in (("tenant", tenant), ("route", route)):
        if value is not None:
            openai_checks.string(value, name)
    if threshold is not None:
        openai_checks.not_negative(threshold, "similarityThreshold")
    if vector is not None and not (isinstance(vector, list) and all(type(each) in (int, float) for each in vector)):
        raise openai_checks.wrong_type("embedding", "an array of numbers", vector)
    return {"tenant": DEFAULT_TENANT if tenant is None else tenant, "route": route, "threshold": threshold, "vector": vector}


def _selected(query: Mapping[str, str]) -> dict[str, str]:
    """What to delete: exactly one thing, so that a slip of the pen deletes nothing."""
    given = dict(query)
    if len(given) != 1 or next(iter(given)) not in ("key", "partition", "tenant"):
        raise RequestError("InvalidSelection", "Say what to delete by exactly one of the query parameters key, partition and tenant.",
                           param="query")
    ((name, value),) = given.items()
    if not (TENANT if name == "tenant" else _DIGEST).match(value):
        raise RequestError("InvalidSelection", f"Invalid '{name}': expected " + (
            "a tenant's name." if name == "tenant" else "64 hexadecimal digits, as POST /cache/explain shows them."), param=name)
    return given
