"""The end of a pod: SIGTERM to a real process, streams that finish, listeners that close, an error frame at the end of grace."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from builders import Document, environment, runtime, until, write
from fakes.vendor import ALWAYS, FakeVendor
from fixtures_redis import free_port
from pod import Pod, question, resources, running
from stratarouter_runtime.server.lifecycle import ServeOptions, Server


@dataclass(slots=True)
class Process:
    """``strata-runtime serve`` as a process of its own."""

    process: asyncio.subprocess.Process
    port: int
    platform: int

    @property
    def url(self) -> str:
        """Its chat endpoint."""
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    async def ready(self, session: aiohttp.ClientSession) -> int:
        """Status of ``/readyz``; 0 where nobody listens."""
        try:
            async with session.get(f"http://127.0.0.1:{self.platform}/readyz") as response:
                return response.status
        except aiohttp.ClientConnectionError:
            return 0

    async def settled(self, session: aiohttp.ClientSession) -> bool:
        """Whether it is ready, or has ended."""
        return self.process.returncode is not None or await self.ready(session) == 200

    async def unready(self, session: aiohttp.ClientSession) -> bool:
        """Whether no traffic should come here any more."""
        return await self.ready(session) != 200

    async def ended(self) -> tuple[int, list[dict[str, object]]]:
        """The exit code and the log's lines."""
        output, _ = await asyncio.wait_for(self.process.communicate(), 20)
        return self.process.returncode or 0, [json.loads(each) for each in output.splitlines() if each.strip()]


@asynccontextmanager
async def process(folder: Path, *documents: Document) -> AsyncIterator[Process]:
    """A process over these resources, once it is ready."""
    path = write(folder / "all.yaml", *documents)
    port, platform = free_port(), free_port()
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stratarouter_runtime.cli", "serve", "--config", str(path), "--port", str(port), "--platform-port", str(platform),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment(POD_UID="uid-1", POD_NAME="pod-1"))
    found = Process(made, port, platform)
    try:
        async with aiohttp.ClientSession() as session:
            await until(lambda: found.settled(session), within=30)
            yield found
    finally:
        with contextlib.suppress(ProcessLookupError):
            made.kill()
        await made.wait()


def graceful(seconds: int = 6, **fields: object) -> Document:
    """A RuntimeConfig with that grace period."""
    return runtime(server={"terminationGraceSeconds": seconds, "keepaliveSeconds": 0.2}, **fields)


async def test_sigterm_lets_an_open_stream_complete(tmp_path: Path, vendor: FakeVendor) -> None:
    """Unready at once, still serving while endpoints propagate, then closed to new callers; the stream ends normally; exit 0."""
    vendor.script.fail("stall", after=8)
    async with process(tmp_path, *resources(graceful(), vendor)) as served, aiohttp.ClientSession() as session:
        async with session.post(served.url, json=question(stream=True)) as stream:
            first = await stream.content.readuntil(b"\n\n")
            served.process.send_signal(signal.SIGTERM)
            await until(lambda: served.unready(session))
            async with session.post(served.url, json=question("meanwhile")) as late:
                assert (late.status, late.headers["Connection"]) == (200, "close")
            await until(lambda: refuses(served.port))
            await until(lambda: vendor.holding == 1)
            vendor.release()
            rest = await stream.content.read()
        assert (first + rest).endswith(b"data: [DONE]\n\n")
        code, log = await served.ended()
        assert code == 0
        assert [line["message"] for line in log if line["message"] in ("serving", "draining")] == ["serving", "draining"]


async def listens(port: int) -> bool:
    """Whether new connections are accepted."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def refuses(port: int) -> bool:
    """Whether new connections are refused."""
    return not await listens(port)


async def test_the_end_of_grace_is_an_error_frame(tmp_path: Path, vendor: FakeVendor) -> None:
    """A stream that does not end in time ends so that its client can tell; the vendor's call ends; exit 0 within the grace."""
    vendor.script.fail("stall", after=8, times=ALWAYS)
    async with process(tmp_path, *resources(graceful(6), vendor)) as served, aiohttp.ClientSession() as session:
        async with session.post(served.url, json=question(stream=True, seed=3)) as stream:
            await stream.content.readuntil(b"\n\n")
            whole = asyncio.create_task(_post(session, served.url))
            await until(lambda: vendor.record.total == 2)
            started = asyncio.get_running_loop().time()
            served.process.send_signal(signal.SIGTERM)
            rest = await stream.content.read()
        last = [frame for frame in rest.decode().split("\n\n") if frame.startswith("data: ")][-1]
        assert json.loads(last.removeprefix("data: ")) == {"error": {
            "message": "The server is shutting down; send the request again.", "type": "server_error", "param": None, "code": "shutting_down"}}
        assert b"[DONE]" not in rest
        status, headers, body = await whole
        assert (status, headers["Retry-After"], body["error"]["code"]) == (503, "1", "shutting_down")
        code, _ = await served.ended()
        assert code == 0
        assert asyncio.get_running_loop().time() - started < 6
    await until(lambda: vendor.record.aborted == 2)


async def _post(session: aiohttp.ClientSession, url: str) -> tuple[int, dict[str, str], dict[str, dict[str, str]]]:
    async with session.post(url, json=question(seed=4)) as response:
        return response.status, dict(response.headers), await response.json()


async def test_a_second_signal_ends_at_once(tmp_path: Path, vendor: FakeVendor) -> None:
    """Who presses Ctrl-C twice means it."""
    vendor.script.fail("black_hole", times=ALWAYS)
    async with process(tmp_path, *resources(graceful(600), vendor)) as served, aiohttp.ClientSession() as session:
        hanging = asyncio.create_task(_post(session, served.url))
        await until(lambda: vendor.record.total == 1)
        served.process.send_signal(signal.SIGINT)
        await until(lambda: served.unready(session))
        served.process.send_signal(signal.SIGINT)
        code, _ = await served.ended()
        assert code == 0
        with pytest.raises(aiohttp.ClientError):
            await hanging


async def test_a_configuration_that_cannot_run_is_told_on_the_terminal(tmp_path: Path, vendor: FakeVendor) -> None:
    """Exit 2 and the field; no traceback."""
    async with process(tmp_path, runtime(execution={"maxRetries": -1}), *resources(runtime(), vendor)[1:]) as served:
        output, _ = await asyncio.wait_for(served.process.communicate(), 20)
    assert served.process.returncode == 2
    assert output.decode() == (
        "strata-runtime: InvalidSpec\n"
        "  RuntimeConfig/assistant: spec.execution.maxRetries: Input should be greater than or equal to 0\n")


async def test_a_port_that_is_taken_is_told_on_the_terminal(tmp_path: Path, vendor: FakeVendor) -> None:
    """Exit 2; everything that was started is stopped."""
    async with running(tmp_path, *resources(runtime(), vendor)) as pod:
        made = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stratarouter_runtime.cli", "serve", "--config", str(pod.path), "--port", str(pod.server.port),
            "--platform-port", "0", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        output, _ = await asyncio.wait_for(made.communicate(), 20)
    assert made.returncode == 2
    assert "address already in use" in output.decode()
    assert "Traceback" not in output.decode()


# --- in process, by the clock of the test -----------------------------------------------------------------------------------


async def test_an_idle_pod_drains_at_once(tmp_path: Path, vendor: FakeVendor) -> None:
    """Nothing is waited for where nothing is in flight."""
    async with running(tmp_path, *resources(graceful(3_600), vendor)) as pod:
        async with asyncio.timeout(2):
            await pod.server.drained()
        assert not await listens(pod.server.port)
        ready = await pod.send("GET", f"{pod.platform}/readyz")
        assert (ready.status, ready.body) == (503, b"draining\n")
        assert (await pod.send("GET", f"{pod.platform}/healthz")).status == 200


async def test_a_kept_connection_is_served_to_its_end(tmp_path: Path, vendor: FakeVendor) -> None:
    """A request on a connection that was there before the listeners closed is answered, and the connection then ends."""
    async with running(tmp_path, *resources(graceful(3_600), vendor), propagation=0.0) as pod:
        await pod.chat()
        vendor.script.fail("black_hole")
        hanging = asyncio.create_task(_chat(pod))
        await until(lambda: pod.server.drain.in_flight == 1)
        draining = asyncio.create_task(pod.server.drained())
        await until(lambda: pod.server.status.draining)
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        await draining


async def _chat(pod: Pod) -> None:
    await pod.chat("hanging")


async def test_leaving_stops_everything_that_was_started(tmp_path: Path, vendor: FakeVendor) -> None:
    """No task, no connection and no listener is left, also where loading failed half way."""
    before = asyncio.all_tasks()
    async with running(tmp_path, *resources(runtime(), vendor)) as pod:
        await pod.chat()
        port, platform = pod.server.port, pod.server.platform_port
    assert not await listens(port)
    assert not await listens(platform)
    broken = write(tmp_path / "broken.yaml", runtime())
    server = Server(ServeOptions(config=(broken,), port=0, platform_port=0))
    with pytest.raises(ValueError, match=r"does not exist"):
        async with server.running():
            pass
    await until(lambda: not asyncio.all_tasks() - before)
