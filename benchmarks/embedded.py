"""The library inside a program of one's own, for what HTTP has no header for: a caller that brings the query's vector.

An aiohttp handler like the bare one, but the answer comes from ``Runtime``; the vectors are made beforehand, and
``x-question`` says which one belongs to a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import numpy as np
from aiohttp import web
from benchmarks.scenarios import QUESTIONS
from numpy.typing import NDArray

from stratarouter_runtime.config import StaticSecrets, load
from stratarouter_runtime.model.errors import StrataError
from stratarouter_runtime.model.request import Caller, Directives
from stratarouter_runtime.runtime import Runtime
from stratarouter_runtime.server import headers
from stratarouter_runtime.telemetry import Telemetry
from stratarouter_runtime.wire import openai_chat

DIMENSIONS = 384
NOISE = 0.01
Vectors = NDArray[np.float32]


def vectors() -> Vectors:
    """A unit vector for each question, far from all others."""
    drawn = np.random.default_rng(7).standard_normal((QUESTIONS, DIMENSIONS)).astype(np.float32)
    return _unit(drawn)


def near(found: Vectors) -> Vectors:
    """The same questions as somebody else would put them: cosine about 0.98."""
    moved = found + NOISE * np.random.default_rng(8).standard_normal(found.shape).astype(np.float32)
    return _unit(moved)


def _unit(rows: Vectors) -> Vectors:
    lengths: Vectors = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


class Service:
    """The handler."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        stored = vectors()
        self._vectors = {"stored": stored, "near": near(stored)}

    async def answer(self, request: web.Request) -> web.Response:
        kind, _, number = request.headers["x-question"].partition("-")
        vector = self._vectors[kind][int(number)]
        execution = self._runtime.begin(Caller(), Directives(vector=vector))
        try:
            response = await self._runtime.complete(execution, openai_chat.parse_chat(await request.read()))
        except StrataError as error:
            return web.Response(status=error.status, text=error.message)
        return web.Response(body=response.raw, content_type="application/json", headers=headers.of(execution))


async def main(port: int, config: Path) -> None:
    loaded = load([config])
    telemetry = Telemetry()
    async with telemetry.running():
        runtime = Runtime(telemetry.observer)
        await runtime.apply(loaded.snapshot, StaticSecrets(loaded.secrets))
        app = web.Application()
        app.router.add_post("/v1/chat/completions", Service(runtime).answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
