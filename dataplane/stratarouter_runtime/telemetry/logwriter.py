"""Log lines on their way to a file descriptor, without the event loop waiting for whoever reads it.

A container's standard output is a pipe; when its reader pauses, a write blocks, and with it every request of the pod.
Lines wait here in a bounded queue for a thread that writes many at once.

Invariants: ``put`` never blocks; at most ``LIMIT`` bytes wait; a line is written whole or dropped whole, in order.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque

LIMIT = 4 * 1024 * 1024
"""Bytes that may wait: some ten thousand requests' lines."""
PAUSE = 0.01
"""Seconds between two writes: lines of that time share one system call and one change of threads."""
CHUNK = 1_000
"""Lines of one write."""


class LineWriter:
    """Writes lines from a thread of its own. ``put`` may be called from one thread at a time."""

    def __init__(self, descriptor: int, *, limit: int = LIMIT) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._taken_in = 0
        self._written = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._given_up = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> bool:
        """Take a line, its newline included; False where it was dropped because too many wait."""
        if self._taken_in - self._written + len(line) > self._limit or self._closing.is_set():
            return False
        self._taken_in += len(line)
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()
        return True

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, for at most ``timeout`` seconds; blocks."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)
        self._given_up = True

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self._drain()
            self._closing.wait(PAUSE)
        self._drain()

    def _drain(self) -> None:
        while self._lines:
            data = b"".join([self._lines.popleft() for _ in range(min(CHUNK, len(self._lines)))])
            self._write(data)
            self._written += len(data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._given_up:
            try:
                view = view[os.write(self._descriptor, view):]
            except BlockingIOError:
                # Somebody made the descriptor non-blocking; wait for room, but look up now and then.
                select.select([], [self._descriptor], [], 0.5)
            except OSError:
                return  # nobody reads any more, and there is nowhere to say so
