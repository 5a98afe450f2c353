"""Memory under attack from both sides, of a real process: what one request may hold is bounded, and given back."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import itertools
import json
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from builders import environment, runtime, until, write
from fakes.vendor import ALWAYS, FakeVendor
from pod import line, question, resources, running
from stratarouter_runtime.model.execution import Execution

MEBIBYTE = 1024 * 1024
ANSWER, EVENT = 64, 16
"""Mebibytes of the largest answer and the largest event that are read."""


@dataclass(slots=True)
class Process:
    """``strata-runtime serve`` as a process of its own."""

    number: int
    port: int
    session: aiohttp.ClientSession

    def peak(self) -> float:
        """The most memory it has held since ``forget``, in MiB."""
        return self._figure("VmHWM")

    def now(self) -> float:
        """The memory it holds, in MiB."""
        return self._figure("VmRSS")

    def holds_less_than(self, most: float) -> bool:
        """what a refused answer took is free again"""
        return self.now() < most

    def forget(self) -> float:
        """Begin a new peak (``proc(5)``, clear_refs); what it is now."""
        Path(f"/proc/{self.number}/clear_refs").write_text("5")
        return self.peak()

    def _figure(self, name: str) -> float:
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self.number}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    async def chat(self, text: str, **fields: object) -> tuple[int, bytes]:
        """Status and body."""
        async with self.session.post(f"http://127.0.0.1:{self.port}/v1/chat/completions", json=question(text, **fields)) as response:
            return response.status, await response.read()


@asynccontextmanager
async def serving(folder: Path, vendor: FakeVendor) -> AsyncIterator[Process]:
    """A warm process in front of a vendor."""
    fields = {"execution": {"timeoutSeconds": 20, "maxRetries": 0}, "cache": {"enabled": False}, "server": {"maxBodyBytes": MEBIBYTE}}
    path = write(folder / "all.yaml", *resources(runtime(**fields), vendor, circuitBreaker={"consecutiveFailures": 1000, "minimumRequests": 1000}))
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stratarouter_runtime.cli", "serve", "--config", str(path), "--port", "0", "--platform-port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=environment())
    assert made.stdout is not None
    try:
        while True:
            told = json.loads(await asyncio.wait_for(made.stdout.readline(), 30))
            if told["message"] == "serving":
                break
        drained = asyncio.create_task(_drain(made.stdout))
        async with aiohttp.ClientSession() as session:
            process = Process(made.pid, int(told["address"].rpartition(":")[2]), session)
            for each in range(20):
                assert (await process.chat(f"warm {each}", stream=each % 2 == 0))[0] == 200
            yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            made.kill()
        await made.wait()
        drained.cancel()


async def _drain(log: asyncio.StreamReader) -> None:
    while await log.read(65_536):
        pass


@pytest.fixture
async def vendor() -> AsyncIterator[FakeVendor]:
    """The vendor that means harm."""
    async with FakeVendor() as made:
        yield made


ENDLESS = {
    "gzip_bomb": (False, 1.5 * ANSWER), "huge_body": (False, 1.5 * ANSWER), "endless_headers": (False, 8), "huge_header": (False, 8),
    "refusal_endless": (False, 8), "event_endless": (True, 2 * EVENT), "lines_endless": (True, 2 * EVENT)}
"""Whether as a stream, and the most MiB that it may cost."""


async def test_answers_without_end(tmp_path: Path, vendor: FakeVendor) -> None:
    """Each is refused at its bound; what it took is free again at once, not when the garbage collector comes by."""
    async with serving(tmp_path, vendor) as process:
        for fault, (stream, most) in ENDLESS.items():
            before = process.forget()
            for each in range(2):
                vendor.script.fail(fault)
                status, body = await process.chat(f"{fault} {each}", stream=stream)
                assert status == 502 or b'data: {"error":' in body
            assert process.peak() - before < most, fault
            # The refusal is sent while the last of it is still being given back. What the allocator keeps is less than one answer.
            await until(partial(process.holds_less_than, before + most / 2 + 8), within=1)


async def test_no_request_waits_for_the_garbage_collector(tmp_path: Path, vendor: FakeVendor) -> None:
    """However it ends, nothing refers to it in a circle: with its body and its answer it would stay in memory."""
    ends = {"well": None, "failing": "http_500", "refused": "http_400", "misconfigured": "http_401", "broken": "cut", "hanging": "black_hole",
            "silent": "content_stall", "deep": "event_deep"}
    fields = {"execution": {"timeoutSeconds": 5, "maxRetries": 1, "retryDelayMs": 1}, "server": {"keepaliveSeconds": 0.1}}
    times = {"timeouts": {"firstTokenMs": 150, "idleMs": 150, "totalMs": 150}}
    async with running(tmp_path, *resources(runtime(**fields), vendor, **times)) as pod:
        await pod.chat("warm")
        for (name, fault), stream in itertools.product(ends.items(), (False, True)):
            vendor.script.clear()
            if fault is not None:
                vendor.script.fail(fault, times=ALWAYS)
            gc.collect()
            gc.disable()
            try:
                await pod.chat(f"{name} {stream}", stream=stream)
                await pod.chat("unknown", model="nobody", stream=stream)
                async with line(pod) as leaving:
                    await leaving.ask(question(f"{name} {stream} leaves", stream=stream))
                await until(lambda: not pod.server.drain.in_flight and not pod.server.runtime._background)
                for _ in range(3):
                    await asyncio.sleep(0)  # the tasks that worked on them come to their end
                assert not [each for each in gc.get_objects() if type(each) is Execution], (name, stream)
            finally:
                gc.enable()


async def test_clients_that_read_nothing_slow_their_vendor(tmp_path: Path, vendor: FakeVendor) -> None:
    """Twenty streams that never end and that nobody reads: the vendor is held back, and memory stays flat."""
    async with serving(tmp_path, vendor) as process:
        vendor.script.fail("content_flood", times=ALWAYS)
        before = process.forget()
        clients = []
        for each in range(20):
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.setblocking(False)
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", process.port))
            raw = json.dumps(question(f"deaf {each}", stream=True)).encode()
            await asyncio.get_running_loop().sock_sendall(plain, b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                                                          % (len(raw), raw))
            clients.append(plain)
        await vendor.record.until(lambda record: record.total == 20 + 20)
        for _ in range(50):  # until no more is taken from the vendor
            written = vendor.written
            await asyncio.sleep(0.2)
            if written == vendor.written:
                break
        assert vendor.written < 20 * 16 * MEBIBYTE
        assert process.peak() - before < 64
        for plain in clients:
            plain.close()
        await vendor.record.until(lambda record: record.aborted == 20, seconds=5)


async def test_uploads_without_end(tmp_path: Path, vendor: FakeVendor) -> None:
    """Twelve bodies at once, each sixty times the limit once unpacked, or in chunks without end: 413, at the limit."""
    bomb = gzip.compress(b" " * 64 * MEBIBYTE)
    async with serving(tmp_path, vendor) as process:
        url = f"http://127.0.0.1:{process.port}/v1/chat/completions"
        before = process.forget()

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(64):
                yield b" " * 65_536

        async def upload(each: int) -> int:
            options = {"data": endless()} if each % 2 else {"data": bomb, "headers": {"Content-Encoding": "gzip"}}
            async with process.session.post(url, **options) as response:
                return response.status

        assert set(await asyncio.gather(*(upload(each) for each in range(12)))) == {413}
        assert process.peak() - before < 12 * 4
        assert (await process.chat("and now?"))[0] == 200


async def test_a_thousand_requests_leave_no_memory_behind(tmp_path: Path, vendor: FakeVendor) -> None:
    """Good ones, failing ones, ones whose client leaves: what is held after the second five hundred is what was after the first."""
    async with serving(tmp_path, vendor) as process:
        for fault in ("http_500", "cut", "error_event", "html_200", "reset_mid_stream"):
            vendor.script.fail(fault, model="gpt-4o-mini", times=100)

        async def round_of(count: int) -> float:
            for start in range(0, count, 50):
                await asyncio.gather(*(process.chat(f"{start} {each}", model="gpt-4o-mini" if each % 5 == 0 else "gpt-4o", stream=each % 2 == 0)
                                       for each in range(50)))
            return process.now()

        first = await round_of(500)
        assert await round_of(500) - first < 8
