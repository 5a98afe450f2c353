"""Health and metrics answer on their own ports, and end with the process."""

from __future__ import annotations

import socket

import aiohttp
import pytest

from stratarouter_operator.health import served
from stratarouter_operator.metrics import Metrics
from stratarouter_operator.settings import Settings


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_health_and_metrics_are_apart() -> None:
    settings = Settings(host="127.0.0.1", health_port=free(), metrics_port=free())
    metrics = Metrics()
    metrics.leader.set(1)
    async with served(settings, metrics), aiohttp.ClientSession() as session:
        for path in ("/healthz", "/readyz"):
            async with session.get(f"http://127.0.0.1:{settings.health_port}{path}") as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n")
        async with session.get(f"http://127.0.0.1:{settings.metrics_port}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert "stratarouter_operator_leader 1.0" in await answer.text()
        async with session.get(f"http://127.0.0.1:{settings.health_port}/metrics") as answer:
            assert answer.status == 404
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://127.0.0.1:{settings.health_port}/healthz")


async def test_metrics_can_be_switched_off() -> None:
    async with served(Settings(host="127.0.0.1", health_port=free(), metrics_port=0), Metrics()):
        pass


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    port = free()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            async with served(Settings(host="127.0.0.1", health_port=port, metrics_port=taken.getsockname()[1]), Metrics()):
                pass
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))
