"""The platform port: ``/metrics``, ``/healthz``, ``/readyz``, ``/config``, and the admin endpoints.

Invariants: it answers while the client port is busy or drained; readiness speaks of this pod alone, never of vendors,
Redis or PostgreSQL; nothing it shows without an admin key is secret.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
from aiohttp import web

from stratarouter_runtime._version import __version__
from stratarouter_runtime.config import Secrets, Snapshot, text
from stratarouter_runtime.engine import ProviderState

from . import admin
from .auth import AdminKeys, Authenticator
from .reload import Rejection


class Scrape(Protocol):
    """Renders metrics for an ``Accept`` header."""

    def __call__(self, accept: str) -> tuple[bytes, str]:
        """Body and content type."""


@dataclass(slots=True)
class PodStatus:
    """What this pod knows of itself."""

    authenticator: Authenticator
    snapshot: Snapshot | None = None
    secrets: Secrets | None = None
    loaded_at: datetime | None = None
    draining: bool = False
    rejection: Callable[[], Rejection | None] = lambda: None
    providers: Callable[[], list[ProviderState]] = list
    cache: Callable[[], dict[str, Any]] = dict
    state: Callable[[], dict[str, Any]] = dict
    routing: Callable[[], dict[str, Any]] = dict
    admins: AdminKeys = field(default_factory=AdminKeys)
    identity: dict[str, str] = field(default_factory=lambda: {
        "podName": os.environ.get("POD_NAME", ""), "podUid": os.environ.get("POD_UID", "")})

    def loaded(self, snapshot: Snapshot, secrets: Secrets) -> None:
        """A configuration came into force."""
        self.snapshot, self.secrets, self.loaded_at = snapshot, secrets, datetime.now(UTC)

    def unready(self) -> str:
        """Why traffic must not come here; empty when it may."""
        if self.snapshot is None:
            return "no configuration is loaded"
        if self.draining:
            return "draining"
        missing = self.authenticator.missing_secret
        return f"the Secret {missing!r} holds no API keys" if missing else ""

    def missing_secrets(self) -> list[dict[str, str]]:
        """Secrets and keys that are referenced and not there."""
        if self.snapshot is None or self.secrets is None:
            return []
        found = [{"secret": reference.name, "key": reference.key, "usedBy": user}
                 for reference, user in self.snapshot.secret_keys() if text(self.secrets, reference) is None]
        whole = ((self.authenticator.missing_secret, "auth"), (self.admins.missing_secret, "auth.adminKeys"))
        return found + [{"secret": secret, "key": "", "usedBy": user} for secret, user in whole if secret]

    def document(self) -> dict[str, Any]:
        """``/config``."""
        rejection = self.rejection()
        return {
            "hash": self.snapshot.digest if self.snapshot else "",
            "generation": self.snapshot.generation if self.snapshot else 0,
            "name": self.snapshot.name if self.snapshot else "",
            "namespace": self.snapshot.namespace if self.snapshot else "",
            **self.identity,
            "version": __version__,
            "loadedAt": self.loaded_at.isoformat(timespec="milliseconds") if self.loaded_at else None,
            "ready": not self.unready(),
            "lastError": {"hash": rejection.digest, "reason": rejection.reason, "message": rejection.message} if rejection else None,
            "providers": [{"pool": each.pool, "name": each.provider, "state": each.state, "reason": each.reason}
                          for each in self.providers()],
            "missingSecrets": self.missing_secrets(),
            "cache": self.cache(),
            "routing": self.routing(),
            "state": self.state(),
        }


def application(status: PodStatus, scrape: Scrape, execution: admin.FindExecution) -> web.Application:
    """The platform port's application; ``execution`` finds one for its admins."""

    async def metrics(request: web.Request) -> web.Response:
        if status.snapshot is not None and not status.snapshot.runtime.observability.metrics:
            return web.Response(status=404, text="metrics are switched off (observability.metrics)\n")
        body, content_type = scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        why = status.unready()
        return web.Response(status=503, text=f"{why}\n") if why else web.Response(text="ok\n")

    async def config(_: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(status.document()), content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz),
                    web.get("/config", config)])
    admin.add_routes(app, status.admins, execution)
    return app
