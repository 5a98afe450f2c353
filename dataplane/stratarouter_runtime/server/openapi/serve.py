"""``GET /openapi.json`` and ``GET /docs``.

Both are public: they say how to ask, and nothing of who runs here with what. Invariant: the page needs no script and
nothing from elsewhere, and its ``Content-Security-Policy`` allows neither.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from functools import cache

import orjson
from aiohttp import web

from .document import document
from .page import STYLE, render

_COMMON = {"Server": "stratarouter", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}


def add_routes(app: web.Application) -> None:
    """Put both into an application."""
    for path, made in (("/openapi.json", _json), ("/docs", _html)):
        app.router.add_get(path, _handler(made))


def _handler(made: Callable[[], tuple[bytes, dict[str, str]]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def serve(request: web.Request) -> web.Response:
        body, headers = made()
        if headers["ETag"] in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers={**_COMMON, "ETag": headers["ETag"]})
        return web.Response(body=body, headers={**_COMMON, **headers})

    return serve


@cache
def _json() -> tuple[bytes, dict[str, str]]:
    # Tools in a browser (an editor, a page that tries calls) may read it from elsewhere: it is public.
    body = orjson.dumps(document())
    return body, {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*", "ETag": _etag(body)}


@cache
def _html() -> tuple[bytes, dict[str, str]]:
    style = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    body = render(document()).encode()
    return body, {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer",
                  "ETag": _etag(body)}


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
