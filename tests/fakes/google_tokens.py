"""Google's token servers on a local port: the OAuth token endpoint, which checks signatures, and the metadata server.

Sources: RFC 7523 as Google documents it for service accounts; "View and query VM metadata". ``faults`` are used up in order: a
status, ``invalid_grant``, ``garbage``, ``endless``, ``pieces`` (an answer byte by byte), or ``hold`` (until ``release``).
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections import deque
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
EMAIL = "runtime@billed.iam.gserviceaccount.com"
METADATA = "/computeMetadata/v1/instance/service-accounts/default/"


@functools.cache
def _pair() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


class TokenServer:
    """``issued`` are the tokens given out so far; each lives for ``lifetime`` seconds."""

    def __init__(self, *, lifetime: int = 3600) -> None:
        self.lifetime = lifetime
        self.issued: list[str] = []
        self.requests: list[str] = []
        """Method and URL of each request."""
        self.faults: deque[str | int] = deque()
        self.port = 0
        self.holding = 0
        self._released = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def host(self) -> str:
        """As ``GCE_METADATA_HOST`` takes it."""
        return f"127.0.0.1:{self.port}"

    def key_file(self, **changes: Any) -> str:
        """The JSON key of a service account whose tokens come from here."""
        return json.dumps({
            "type": "service_account", "project_id": "billed", "private_key_id": "0f1e2d3c4b5a", "private_key": _pair()[0],
            "client_email": EMAIL, "client_id": "100000000000000000001", "token_uri": f"http://{self.host}/token",
            "universe_domain": "googleapis.com", **changes})

    def release(self) -> None:
        """Let held requests go on."""
        self._released.set()
        self._released = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.raw_path}")
        raw = await request.text()
        fault = self.faults.popleft() if self.faults else None
        if fault == "hold":
            self.holding += 1
            await self._released.wait()
            self.holding -= 1
        if isinstance(fault, int):
            return web.json_response({"error": "access_denied", "error_description": f"{EMAIL} {raw[:60]}"}, status=fault)
        if fault == "invalid_grant":
            return web.json_response({"error": "invalid_grant", "error_description": f"Invalid JWT Signature of {EMAIL}."}, status=400)
        if fault == "garbage":
            return web.Response(body=b"<html>\xff", content_type="text/html")
        if fault == "endless":
            return web.Response(body=b" " * 1_000_000)
        if fault == "pieces":
            return await self._in_pieces(request)
        return self._metadata(request) if request.path.startswith("/computeMetadata/") else self._oauth(request, raw)

    async def _in_pieces(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for byte in json.dumps(self._issue()).encode():
            await response.write(bytes([byte]))
        await response.write_eof()
        return response

    def _oauth(self, request: web.Request, raw: str) -> web.Response:
        form = {name: values[0] for name, values in parse_qs(raw).items()}
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        try:
            claims = jwt.decode(form["assertion"], certs=_pair()[1])
        except ValueError:
            return web.json_response({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, status=400)
        if claims["iss"] != EMAIL or claims["scope"] != SCOPE or not claims["aud"].endswith("/token"):
            return web.json_response({"error": "invalid_scope"}, status=400)
        return web.json_response(self._issue())

    def _metadata(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata-Flavor") != "Google":
            return web.Response(status=403)
        headers = {"Metadata-Flavor": "Google"}
        if request.path == METADATA + "token":
            return web.json_response(self._issue(), headers=headers)
        if request.path == METADATA:
            return web.json_response({"aliases": ["default"], "email": EMAIL, "scopes": [SCOPE]}, headers=headers)
        return web.Response(status=404, headers=headers)

    def _issue(self) -> dict[str, Any]:
        self.issued.append(f"ya29.c.issued-{len(self.issued)}-0123456789abcdefghij")
        return {"access_token": self.issued[-1], "expires_in": self.lifetime, "token_type": "Bearer"}
