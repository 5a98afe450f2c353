"""Servers under measurement as processes of their own: start, CPU time, memory, stop.

Invariants: the server measured has core 0 for itself where there are two cores or more, everything else (vendor, load
generator) the others; CPU time is that of the whole process, all threads, user and system, in nanoseconds from the
kernel's own accounting; a child never outlives the benchmark.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 15.0
SIGNAL_SECONDS = 0.2


def cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0))


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Child:
    """A Python program that listens on ``port``; ``measured`` gives it core 0."""

    def __init__(self, arguments: Sequence[str], port: int, *, measured: bool, environment: Mapping[str, str] | None = None) -> None:
        self.port = port
        self._process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **(environment or {})},
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        available = cores()
        if len(available) > 1:
            os.sched_setaffinity(self._process.pid, {available[0]} if measured else set(available[1:]))
        # Linux: the clock of another process, `clock_getcpuclockid(3)` written out.
        self._clock = (~self._process.pid << 3) | 2
        self._log = _Tail(self._process)

    def __enter__(self) -> Self:
        self.wait_listening()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def wait_listening(self) -> None:
        """Return once the port answers; raises ``RuntimeError`` with the program's last words if it never does."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"the server did not start:\n{self._log.text()}")

    def cpu_seconds(self) -> float:
        """CPU time used so far."""
        return time.clock_gettime(self._clock)

    def resident_bytes(self) -> int:
        """Resident memory now."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the process is gone")

    def toggle_profile(self) -> None:
        """Let a program that runs under ``sampled`` begin or end its samples."""
        self._process.send_signal(signal.SIGUSR1)
        time.sleep(SIGNAL_SECONDS)

    def stop(self) -> None:
        """End it, gently first."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()


class _Tail:
    """Reads a program's log away, as a container's runtime would, and keeps the end of it."""

    KEPT = 4_000

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._stream = process.stderr
        self._end = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        return self._end.decode(errors="replace")

    def close(self) -> None:
        self._thread.join()
        if self._stream is not None:
            self._stream.close()

    def _read(self) -> None:
        assert self._stream is not None
        while piece := os.read(self._stream.fileno(), 65_536):
            self._end = (self._end + piece)[-self.KEPT:]
