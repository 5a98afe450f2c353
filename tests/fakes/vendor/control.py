"""The fake's script over HTTP, for when it runs in another process.

``GET /__control`` counters and what is scripted; ``GET /__control/requests`` what was received; ``DELETE /__control``
back to normal; ``POST /__control/faults`` ``{"fault": NAME, "model": "*", "times": 1, ...changes}`` (times -1: until
cleared); ``POST /__control/release``; ``POST /__control/refuse`` ``{"seconds": 2}`` refuses connections for so long;
``PUT /__control/keys`` ``["sk-..."]`` sets the keys accepted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from .server import FakeVendor


class Control:
    """The handlers; owns the task that ends a refusal."""

    def __init__(self, vendor: FakeVendor) -> None:
        self._vendor = vendor
        self._refusals: set[asyncio.Task[None]] = set()

    async def show(self, request: web.Request) -> web.Response:
        """Counters and the script."""
        return web.json_response({**self._vendor.record.summary(), "pending": self._vendor.script.pending()})

    async def requests(self, request: web.Request) -> web.Response:
        """What was received, oldest first."""
        return web.json_response([
            {"method": one.method, "path": one.path, "headers": dict(one.headers), "body": one.raw.decode("latin-1")}
            for one in self._vendor.record.requests])

    async def clear(self, request: web.Request) -> web.Response:
        """Back to normal, counters at zero."""
        self._vendor.script.clear()
        self._vendor.record.clear()
        self._vendor.release()
        return web.json_response({})

    async def faults(self, request: web.Request) -> web.Response:
        """Script a fault."""
        wanted: dict[str, Any] = await request.json()
        try:
            self._vendor.script.fail(wanted.pop("fault"), **wanted)
        except (KeyError, TypeError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        return web.json_response({"pending": self._vendor.script.pending()})

    async def release(self, request: web.Request) -> web.Response:
        """Let held requests go on."""
        self._vendor.release()
        return web.json_response({})

    async def keys(self, request: web.Request) -> web.Response:
        """Set the keys accepted."""
        self._vendor.api_keys = set(await request.json())
        return web.json_response({"keys": len(self._vendor.api_keys)})

    async def refuse(self, request: web.Request) -> web.Response:
        """Refuse connections for some seconds, starting once this reply is out."""
        seconds = float((await request.json()).get("seconds", 1.0))
        task = asyncio.create_task(self._refuse(seconds))
        self._refusals.add(task)
        task.add_done_callback(self._refusals.discard)
        return web.json_response({"seconds": seconds}, headers={"Connection": "close"})

    async def end(self, app: web.Application) -> None:
        """Cancel what is under way."""
        for task in self._refusals:
            task.cancel()
        await asyncio.gather(*self._refusals, return_exceptions=True)

    async def _refuse(self, seconds: float) -> None:
        await asyncio.sleep(0.05)
        await self._vendor.stop_listening()
        await asyncio.sleep(seconds)
        await self._vendor.listen()


def add_to(app: web.Application, vendor: FakeVendor) -> None:
    """Add the control endpoints."""
    control = Control(vendor)
    app.on_cleanup.append(control.end)
    app.add_routes([
        web.get("/__control", control.show), web.delete("/__control", control.clear),
        web.get("/__control/requests", control.requests), web.post("/__control/faults", control.faults),
        web.post("/__control/release", control.release), web.post("/__control/refuse", control.refuse),
        web.put("/__control/keys", control.keys)])
