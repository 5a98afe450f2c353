"""What everything is compared with: the same library (aiohttp), doing the least that answers.

``POST /v1/chat/completions`` passes the request to the vendor and its answer, whole or as a stream, back: no routing, no
checks, no metrics. ``POST /hit`` reads the request and answers with a completion it has in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from aiohttp import ClientSession, TCPConnector, web
from benchmarks.vendor import completion

UPSTREAM = web.AppKey("upstream", str)
SESSION = web.AppKey("session", ClientSession)
HIT = completion()


async def proxy(request: web.Request) -> web.StreamResponse:
    """Pass through."""
    body = await request.read()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-bench"}
    async with request.app[SESSION].post(request.app[UPSTREAM], data=body, headers=headers) as answer:
        if answer.content_type != "text/event-stream":
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.headers["Content-Type"]})
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def hit(request: web.Request) -> web.Response:
    """Answer from memory."""
    await request.read()
    return web.Response(body=HIT, content_type="application/json")


async def _session(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession(connector=TCPConnector(limit=0)) as app[SESSION]:
        yield


def application(upstream: str) -> web.Application:
    """The bare server."""
    app = web.Application()
    app[UPSTREAM] = upstream
    app.cleanup_ctx.append(_session)
    app.add_routes([web.post("/v1/chat/completions", proxy), web.post("/hit", hit)])
    return app


async def main(port: int, upstream: str) -> None:
    runner = web.AppRunner(application(upstream), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
