"""Clients that misbehave or go away: bounded in memory and time, and the vendor's call ends with them."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
import resource
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from builders import runtime, until
from fakes.vendor import ALWAYS, FakeVendor
from pod import Pod, line, question, resources, running
from stratarouter_runtime.server import exchange

CHAT = "/v1/chat/completions"
LONG = " ".join(["word" * 10_000] * 400)
"""16 MB: more than all socket buffers on the way together."""


@pytest.fixture
async def impatient(tmp_path: Path, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pod]:
    """A pod whose deadline is a second, for callers too."""
    monkeypatch.setattr(exchange, "WRITE_SLACK_SECONDS", 0.2)
    fields = {"execution": {"timeoutSeconds": 1, "maxRetries": 0}, "cache": {"enabled": False}}
    async with running(tmp_path, *resources(runtime(**fields), vendor)) as made:
        yield made


# --- reading --------------------------------------------------------------------------------------------------------------


async def test_a_body_that_does_not_arrive_in_time(impatient: Pod, vendor: FakeVendor) -> None:
    """408 at the deadline, and the connection ends."""
    async with line(impatient) as slow:
        await slow.send(b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"model"')
        head = await slow.head()
        assert head.startswith("HTTP/1.1 408 ")
        assert "connection: close" in head.lower()
        body = json.loads(await slow.reader.readuntil(b"}}"))
        assert body == {"error": {"message": "The request's body did not arrive in time.", "type": "invalid_request_error",
                                  "param": None, "code": "request_timeout"}}
        assert await slow.closed(within=5)
    assert vendor.record.total == 0


async def test_a_trickled_body_is_no_way_around_the_limit(tmp_path: Path, vendor: FakeVendor) -> None:
    """Without an announced length what has come is counted; the refusal does not wait for the rest."""
    async with running(tmp_path, *resources(runtime(server={"maxBodyBytes": 1024}), vendor)) as pod, line(pod) as raw:
        await raw.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            await raw.send(b"200\r\n" + b" " * 512 + b"\r\n")
        assert (await raw.head()).startswith("HTTP/1.1 413 ")


async def test_a_connection_half_closed_in_its_body(pod: Pod, vendor: FakeVendor) -> None:
    """Nothing is answered, nothing is asked, nothing is left in flight."""
    async with line(pod) as raw:
        await raw.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await until(lambda: pod.server.drain.in_flight == 1)
        raw.writer.write_eof()
        assert await raw.closed()
    await until(lambda: pod.server.drain.in_flight == 0)
    assert vendor.record.total == 0


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nabc\r\n0\r\n\r\n", b"-1\r\n\r\n"])
async def test_a_body_whose_framing_is_broken(pod: Pod, caplog: pytest.LogCaptureFixture, body: bytes) -> None:
    """The caller's mistake, not an internal error: 400 and the end of the connection."""
    async with line(pod) as raw:
        await raw.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", body)
        assert " 400 " in (await raw.head()).splitlines()[0]
        assert await raw.closed(within=2)
    assert "unexpected error" not in caplog.text
    assert (await pod.chat()).status == 200


async def test_a_body_whose_framing_breaks_later(impatient: Pod) -> None:
    """The HTTP parser stops there, and what never becomes whole is a body that did not arrive in time."""
    async with line(impatient) as raw:
        await raw.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await until(lambda: impatient.server.drain.in_flight == 1)
        await raw.send(b"zz\r\n")
        assert " 408 " in (await raw.head()).splitlines()[0]
        assert await raw.closed(within=2)


async def test_a_compressed_body(pod: Pod) -> None:
    """gzip is understood; what is not gzip although it says so is a 400 in the API's shape."""
    raw = json.dumps(question()).encode()
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert (await pod.send("POST", CHAT, data=gzip.compress(raw), headers=headers)).status == 200
    answer = await pod.send("POST", CHAT, data=raw, headers=headers)
    assert (answer.status, answer.error["code"]) == (400, "invalid_body")


async def test_a_compressed_bomb_is_stopped_at_the_limit(pod: Pod) -> None:
    """The limit is on what it unpacks to, and that is not held in memory beyond the limit."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(b" " * 1_048_576) for _ in range(96)), packer.flush()])
    before = peak_megabytes()
    answer = await pod.send("POST", CHAT, data=io.BytesIO(bomb), headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert peak_megabytes() - before < 90


async def test_a_large_body_costs_what_its_bytes_cost(pod: Pod) -> None:
    """Reading 32 MiB is linear: copying all that has come with each read would take seconds."""
    started = time.process_time()
    answer = await pod.send("POST", CHAT, data=io.BytesIO(b" " * (32 * 1024 * 1024)))
    assert answer.status == 400
    assert time.process_time() - started < 1.0


def peak_megabytes() -> float:
    """The most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- clients that do not read ---------------------------------------------------------------------------------------------


async def test_a_client_that_stops_reading_a_stream(impatient: Pod, vendor: FakeVendor) -> None:
    """What waits for it stays within a megabyte; past the deadline its connection and the vendor's end."""
    # The vendor repeats the question six times and is not done when the client stops.
    vendor.script.fail("stall", after=560)
    async with line(impatient, receive=4096) as deaf:
        await deaf.ask(question(" ".join(["word" * 2_500] * 95), stream=True, n=6))
        await deaf.head()
        await until(lambda: 0 < waiting(impatient) < 1_048_576)
        await until(lambda: impatient.server.drain.in_flight == 0, within=5)
        await until(lambda: vendor.record.aborted == 1, within=2)
        await until(lambda: not connections(impatient), within=2)
        assert await deaf.closed(within=2)
    assert await impatient.figure("stratarouter_runtime_requests_total", status="499") == 1


async def test_a_client_that_stops_reading_an_answer(impatient: Pod, vendor: FakeVendor, caplog: pytest.LogCaptureFixture) -> None:
    """The connection is aborted, so that the answer does not stay in memory; no second answer follows into the first."""
    vendor.script.say(LONG)
    async with line(impatient, receive=4096) as deaf:
        await deaf.ask(question())
        await deaf.head()
        await until(lambda: impatient.server.drain.in_flight == 0, within=5)
        await until(lambda: not connections(impatient), within=2)
    assert "unexpected error" not in caplog.text
    assert await impatient.figure("stratarouter_runtime_requests_total", status="499") == 1


async def test_a_client_that_reads_slowly_gets_everything(pod: Pod, vendor: FakeVendor) -> None:
    """Within the deadline nothing is lost, streamed or not."""
    vendor.script.say(LONG, times=2)
    for stream in (True, False):
        async with line(pod, receive=65_536) as slow:
            await slow.ask(question(stream=stream, seed=int(stream)), headers="Connection: close\r\n")
            await slow.head()
            received = 0
            while part := await slow.reader.read(65_536):
                received += len(part)
            assert received > len(LONG)


async def test_many_deaf_clients_do_not_keep_others_waiting(impatient: Pod, vendor: FakeVendor) -> None:
    """Eight of them, and an ordinary call is answered at once."""
    vendor.script.say(" ".join(["word" * 10_000] * 150), model="gpt-4o-mini", times=8)
    deaf = [line(impatient, receive=4096) for _ in range(8)]
    lines = [await each.__aenter__() for each in deaf]
    for each in lines:
        await each.ask(question(model="gpt-4o-mini", stream=True))
    await until(lambda: vendor.record.total == 8)
    assert (await impatient.chat()).status == 200
    for each in deaf:
        await each.__aexit__(None, None, None)


def connections(pod: Pod) -> list[Any]:
    """Connections on the client port that have not been closed."""
    (site,) = pod.server._sites
    server = site._runner.server
    assert server is not None
    return [each for each in server.connections if each.transport is not None and not each.transport.is_closing()]


def waiting(pod: Pod) -> int:
    """Bytes that wait in this process for clients to read."""
    return sum(each.transport.get_write_buffer_size() for each in connections(pod))


# --- clients that go away -------------------------------------------------------------------------------------------------


async def leaves(pod: Pod, vendor: FakeVendor, *, stream: bool, after: int = 0) -> None:
    """Ask, read so many bytes of the answer's body (none: once the vendor has the request), and go away without a word."""
    async with line(pod) as raw:
        await raw.ask(question(stream=stream))
        if after:
            await raw.head()
            await raw.reader.readexactly(after)
        else:
            await until(lambda: vendor.record.total == 1)


@pytest.mark.parametrize(("fault", "stream", "after"), [
    ("black_hole", False, 0), ("black_hole", True, 0), ("slow_first_token", True, 0), ("stall", True, 40), ("stall", False, 0)],
    ids=["before-headers", "before-headers-streamed", "before-content", "in-content", "whole-answer"])
async def test_the_vendors_call_ends_within_a_second(pod: Pod, vendor: FakeVendor, fault: str, stream: bool, after: int) -> None:
    """In every phase: before its headers, before its first content, in the middle, while a whole answer is awaited."""
    vendor.script.fail(fault, times=ALWAYS)
    await leaves(pod, vendor, stream=stream, after=after)
    gone = time.monotonic()
    await until(lambda: vendor.record.aborted == 1, within=1)
    await until(lambda: pod.server.drain.in_flight == 0, within=1)
    assert time.monotonic() - gone < 1
    assert vendor.record.total == 1  # a client's going away is no reason to ask another


async def test_a_client_that_leaves_while_backing_off(tmp_path: Path, vendor: FakeVendor) -> None:
    """Nobody is asked again on behalf of somebody who is gone."""
    fields = {"execution": {"timeoutSeconds": 60, "maxRetries": 3, "retryDelayMs": 60_000}}
    async with running(tmp_path, *resources(runtime(**fields), vendor)) as pod:
        vendor.script.fail("http_503", times=ALWAYS)
        async with line(pod) as raw:
            await raw.ask(question())
            await until(lambda: vendor.record.total == 1)
        await until(lambda: pod.server.drain.in_flight == 0, within=1)
        assert vendor.record.total == 1


async def test_what_was_used_is_booked_when_a_client_leaves(pod: Pod, vendor: FakeVendor) -> None:
    """Tokens that streamed before it left, and the status 499; the provider is not blamed."""
    vendor.script.fail("stall", after=6)
    await leaves(pod, vendor, stream=True, after=400)
    await until(lambda: pod.server.drain.in_flight == 0)
    assert await pod.figure("stratarouter_runtime_requests_total", status="499") == 1
    assert await pod.figure("stratarouter_runtime_tokens_used_total", provider="primary") > 0
    assert [each["state"] for each in (await pod.config())["providers"]] == ["Healthy", "Healthy"]


async def test_a_client_that_left_leaves_no_noise(pod: Pod, vendor: FakeVendor, caplog: pytest.LogCaptureFixture) -> None:
    """It happens all day: no traceback, no error in the log."""
    vendor.script.fail("stall", after=6, times=ALWAYS)
    for _ in range(3):
        await leaves(pod, vendor, stream=True, after=200)
    await until(lambda: pod.server.drain.in_flight == 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_pipelined_requests_are_answered_in_order(pod: Pod) -> None:
    """HTTP/1.1 allows them on one connection."""
    async with line(pod) as raw:
        await raw.ask(question("first"))
        await raw.ask(question("second"))
        text = ""
        while text.count("HTTP/1.1 200") < 2 or text.count("You asked") < 2:
            text += (await asyncio.wait_for(raw.reader.read(65_536), 10)).decode()
        assert text.index('\\"first\\"') < text.index('\\"second\\"')


async def test_hundreds_of_clients_that_leave_at_once(pod: Pod, vendor: FakeVendor) -> None:
    """Nothing is left in flight, here or at the vendor, and the next call is served."""
    vendor.script.fail("black_hole", model="gpt-4o-mini", times=ALWAYS)

    async def ask(session: aiohttp.ClientSession, number: int) -> None:
        async with session.post(f"{pod.base_url}/chat/completions", json=question(f"Question {number}", model="gpt-4o-mini")):
            pass

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        tasks = [asyncio.create_task(ask(session, number)) for number in range(300)]
        await until(lambda: vendor.record.total >= 250)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: pod.server.drain.in_flight == 0, within=3)
    await until(lambda: vendor.record.aborted == vendor.record.total, within=3)
    assert pod.server.runtime.health.in_flight(("chat", "primary")) == 0
    assert (await pod.chat()).status == 200
