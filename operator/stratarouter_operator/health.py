"""The operator's own HTTP: ``/healthz`` and ``/readyz`` on one port, ``/metrics`` on another.

Outside kopf, and on followers too: a process that waits for the Lease is well. What is wrong for good ends the process
instead of being told here, so these answer as long as the event loop turns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from .metrics import Metrics
from .settings import Settings


@asynccontextmanager
async def served(settings: Settings, metrics: Metrics) -> AsyncIterator[None]:
    """Listen while the context is open; raises ``OSError`` where a port is taken."""

    async def well(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def expose(_: web.Request) -> web.Response:
        return web.Response(body=metrics.expose(), headers={"Content-Type": metrics.content_type})

    runners = []
    try:
        for port, routes in ((settings.health_port, [web.get("/healthz", well), web.get("/readyz", well)]),
                             (settings.metrics_port, [web.get("/metrics", expose)])):
            if port:
                application = web.Application()
                application.add_routes(routes)
                runner = web.AppRunner(application, access_log=None)
                runners.append(runner)
                await runner.setup()
                await web.TCPSite(runner, settings.host, port).start()
        yield
    finally:
        for runner in runners:
            await runner.cleanup()
