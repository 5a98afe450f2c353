"""The servers of ``make demo``: two fake vendors and the data plane, as programs of their own.

Invariants: whatever ends the demo ends them; a port that somebody else has is replaced by a free one; the real vendor's key
stands only in a file that nobody else can read and that goes with the demo.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "local"
PORTS = {"primary": 9999, "fallback": 9998, "client": 8080, "platform": 9090}
FAKE_KEY = "sk-demo-this-key-opens-nothing"
START_SECONDS = 60.0


class NotAsClaimedError(Exception):
    """A step did not show what it says."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Where everything listens."""

    ports: dict[str, int]
    config: Path
    log: Path
    real: bool

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['client']}/v1"

    def platform(self, path: str) -> bytes:
        """Read the platform port."""
        return fetch(f"http://127.0.0.1:{self.ports['platform']}{path}")

    def vendor(self, name: str, method: str, path: str, body: object = None) -> None:
        """Tell a fake vendor how to behave."""
        fetch(f"http://127.0.0.1:{self.ports[name]}/__control{path}", method, body)


def fetch(url: str, method: str = "GET", body: object = None) -> bytes:
    """One small HTTP call."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 (http, ours)
    with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310 (http, ours)
        answered: bytes = reply.read()
        return answered


def choose_ports() -> dict[str, int]:
    """The usual ports, or free ones where those are taken."""
    chosen: dict[str, int] = {}
    for name, usual in PORTS.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", usual))
            except OSError:
                probe.bind(("127.0.0.1", 0))
            chosen[name] = probe.getsockname()[1]
    return chosen


def configuration(folder: Path, ports: dict[str, int], key: str | None) -> Path:
    """``examples/local/`` as it is; a copy with other ports, or with the real vendor, where it must differ."""
    moved = any(ports[name] != PORTS[name] for name in ("primary", "fallback"))
    if not moved and key is None:
        return EXAMPLE
    copy = folder / "config"
    copy.mkdir()
    for each in EXAMPLE.glob("*.yaml"):
        text = each.read_text()
        for name in ("primary", "fallback"):
            text = text.replace(f"http://127.0.0.1:{PORTS[name]}/v1", f"http://127.0.0.1:{ports[name]}/v1")
        if key is not None:
            text = re.sub(r"\n +endpoint: http\S+", "", text.replace("type: openaicompatible", "type: openai"))
            text = text.replace(FAKE_KEY, key)
        (copy / each.name).write_text(text)
    return copy


@contextmanager
def program(arguments: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a session of its own, so that Ctrl-C reaches only the demo, which then ends it."""
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT,  # noqa: S603
                                   env={**os.environ, **(environment or {})}, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(0.3)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # it drains; a second signal ends it at once
            process.wait(10)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the URL answers 200."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            fetch(url)
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
        else:
            return
    raise NotAsClaimedError(f"{url} does not answer:\n{log.read_text()[-2000:]}")


@contextmanager
def running(key: str | None) -> Iterator[Stack]:
    """Vendors and data plane; all end with the block."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="strata-demo-")))
        ports, log = choose_ports(), folder / "log"
        for name in ("primary", "fallback") if key is None else ():
            arguments = ["-m", "fakes.vendor", "--port", str(ports[name]), "--interval-ms", "60",
                         "--api-key", FAKE_KEY]
            vendor = stack.enter_context(program(arguments, log, {"PYTHONPATH": str(ROOT / "tests")}))
            wait_for(f"http://127.0.0.1:{ports[name]}/health", vendor, log)
        config = configuration(folder, ports, key)
        serve = ["-m", "stratarouter_runtime.cli", "serve", "--config", str(config), "--port", str(ports["client"]),
                 "--platform-port", str(ports["platform"])]
        server = stack.enter_context(program(serve, log))
        wait_for(f"http://127.0.0.1:{ports['platform']}/readyz", server, log)
        yield Stack(ports, config, log, real=key is not None)
