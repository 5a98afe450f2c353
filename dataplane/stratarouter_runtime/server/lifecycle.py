"""A pod's life: load, listen, reload, drain, stop.

Invariants: both ports listen before the first request is accepted; SIGTERM and SIGINT drain (a second one stops at
once); everything that was started is stopped in the reverse order.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from stratarouter_runtime.config import Secrets, Snapshot
from stratarouter_runtime.runtime import Runtime
from stratarouter_runtime.telemetry import Telemetry

from . import anthropic, cache_admin, execute, feedback, http_log, openai, openapi, platform_port, responses
from .auth import Authenticator
from .drain import PROPAGATION_SECONDS, Drain
from .exchange import Door
from .platform_port import PodStatus
from .reload import ConfigSource, Reloader

logger = logging.getLogger(__name__)

MAX_HEADER_BYTES = 32 * 1024
KEEPALIVE_SECONDS = 75.0
"""Idle seconds after which a client's connection is closed; longer than the usual 60 of load balancers."""
GC_THRESHOLD = 10_000
"""New objects until the youngest are looked through for cycles."""
SHUTDOWN_MARGIN = 1.0
"""Seconds of the grace period kept for ending what is left."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What ``strata-runtime serve`` was asked for."""

    config: tuple[Path, ...]
    name: str | None = None
    secrets: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    platform_port: int = 9090
    propagation: float = PROPAGATION_SECONDS


class Server:
    """One running pod; see ``running``."""

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self.telemetry = Telemetry()
        self.runtime = Runtime(self.telemetry.observer, dropped=self.telemetry.state_dropped)
        self.authenticator = Authenticator()
        self.drain = Drain()
        self.status = PodStatus(self.authenticator, providers=self.runtime.provider_states, cache=self.runtime.cache_stats,
                                routing=self.runtime.routing_state, state=self.runtime.state_stats)
        source = ConfigSource(options.config, name=options.name, secrets=options.secrets)
        self.reloader = Reloader(source, self._apply, reloaded=self.telemetry.reloaded)
        self.status.rejection = lambda: self.reloader.rejection
        self.port = options.port
        self.platform_port = options.platform_port
        self._sites: list[web.TCPSite] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load and listen; on leaving, stop without waiting for what is in flight (``drained`` waits)."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.telemetry.running())
            stack.push_async_callback(self.runtime.aclose)
            await self.reloader.load()
            platform = platform_port.application(self.status, self._scrape, self.runtime.execution)
            cache_admin.add_routes(platform, self.status.admins, self.runtime)
            self.platform_port = await self._listen(stack, platform, self.options.platform_port, client=False)
            self.port = await self._listen(stack, self._client_application(), self.options.port, client=True)
            watch = asyncio.create_task(self.reloader.run(), name="reload")
            stack.push_async_callback(_end, watch)
            logger.info("serving", extra={"address": f"http://{self.options.host}:{self.port}",
                                          "platform": f"http://{self.options.host}:{self.platform_port}"})
            yield

    async def drained(self) -> None:
        """Stop taking requests and wait for those in flight, within the grace period."""
        grace = self.runtime.parts.snapshot.runtime.server.termination_grace_seconds
        self.drain.draining = self.status.draining = True
        logger.info("draining", extra={"in_flight": self.drain.in_flight, "grace_seconds": grace})
        await asyncio.sleep(min(self.options.propagation, grace / 2))
        for site in self._sites:
            await site.stop()
        left = grace - min(self.options.propagation, grace / 2) - SHUTDOWN_MARGIN
        if not await self.drain.wait_idle(left):
            logger.warning("ending what is still in flight", extra={"in_flight": self.drain.in_flight})
            self.drain.abort()
            await self.drain.wait_idle(SHUTDOWN_MARGIN / 2)

    async def _apply(self, snapshot: Snapshot, secrets: Secrets) -> None:
        await self.runtime.apply(snapshot, secrets)
        self.authenticator.load(snapshot.runtime.auth, secrets)
        self.status.admins.load(snapshot.runtime.auth, secrets)
        # Awaited, so that what is acknowledged as loaded is traced as configured.
        await self.telemetry.configure(snapshot)
        self.status.loaded(snapshot, secrets)

    def _client_application(self) -> web.Application:
        app = web.Application()
        parts = (self.runtime, self.authenticator, self.telemetry, self.drain)
        execute.add_routes(app, Door(*parts, execute.ExecuteErrors()))
        feedback.add_routes(app, Door(*parts, openai.ERRORS))
        openapi.add_routes(app)
        anthropic.add_routes(app, anthropic.MessagesDoor(*parts, openai.ERRORS))
        responses.add_routes(app, Door(*parts, openai.ERRORS))
        openai.add_routes(app, Door(*parts, openai.ERRORS))
        return app

    async def _listen(self, stack: AsyncExitStack, app: web.Application, port: int, *, client: bool) -> int:
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS,
                               max_line_size=MAX_HEADER_BYTES, max_field_size=MAX_HEADER_BYTES, shutdown_timeout=0.1, logger=http_log.logger)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, self.options.host, port, backlog=1024)
        await site.start()
        if client:
            self._sites.append(site)
        address = runner.addresses[0]
        return int(address[1])

    def _scrape(self, accept: str) -> tuple[bytes, str]:
        return self.telemetry.render(accept, cache=self.runtime.cache_stats(), state=self.runtime.state_stats())


async def serve(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT; raises ``ConfigError`` where there is nothing valid to start with."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    server = Server(options)
    async with server.running():
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        _settle_memory()
        await stop.wait()
        stop.clear()
        draining = asyncio.create_task(server.drained(), name="drain")
        again = asyncio.create_task(stop.wait(), name="second signal")
        await asyncio.wait({draining, again}, return_when=asyncio.FIRST_COMPLETED)
        await _end(again)
        await _end(draining)


def _settle_memory() -> None:
    """Give back what only start-up needed, and leave the rest of what it made (modules, code) out of later collections."""
    gc.collect()
    gc.freeze()
    # A request makes some hundred objects and hardly any cycles: look for those less often than after every few requests.
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
    # Loading a local model takes much more than it keeps; glibc gives the rest back only when asked.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def _end(task: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
