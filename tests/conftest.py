"""What all tests share: real services, and the rule that the event loop is never blocked.

Blocking calls are seen by a Python audit hook: one that our own code makes on a thread that runs an event loop (a file
opened, a name resolved, a sleep, a process started) fails the test. Imports do not count: they happen once.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

pytest_plugins = ["fixtures_redis", "fixtures_postgres"]

_BLOCKING = frozenset({"open", "time.sleep", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen", "os.listdir",
                       "os.scandir", "os.system"})
_OURS = ("/dataplane/stratarouter_runtime/", "/operator/stratarouter_operator/")
_found: list[str] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _BLOCKING or asyncio._get_running_loop() is None:
        return
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return
        if "/asyncio/" in name:
            return  # the loop itself: a callback's code would have come before
        if any(part in name for part in _OURS):
            _found.append(f"{event}{arguments[:1]!r} in {name}:{frame.f_lineno}")
            return
        frame = frame.f_back


sys.addaudithook(_audit)


@pytest.fixture(autouse=True)
def event_loop_is_never_blocked() -> Iterator[None]:
    """Fails a test in which our code made a blocking call on the event loop's thread."""
    _found.clear()
    yield
    assert not _found, f"blocking calls in the event loop: {_found}"
