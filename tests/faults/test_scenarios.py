"""Faults in time: vendors that flap, recover, hang for some, die under load, or stay away."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from builders import Document, pool, runtime, secret, until
from fakes.vendor import ALWAYS, FakeVendor
from fakes.vendor.raw import POISON
from faults.world import SLACK
from pod import Answer, Pod, line, question, running, served_by
from stratarouter_runtime.server import exchange

LONG = {"connectMs": 30_000, "firstTokenMs": 30_000, "idleMs": 30_000, "totalMs": 30_000}


@pytest.fixture
async def vendor() -> AsyncIterator[FakeVendor]:
    """The primary."""
    async with FakeVendor() as made:
        yield made


@pytest.fixture
async def second() -> AsyncIterator[FakeVendor]:
    """The fallback."""
    async with FakeVendor() as made:
        yield made


@pytest.fixture
def exceptions_unwritten() -> Iterator[None]:
    """Our own formatter reads no source files for a traceback; pytest's would, on the event loop."""
    logger = logging.getLogger("stratarouter_runtime.server.exchange")
    logger.disabled = True
    yield
    logger.disabled = False


def settings(*vendors: FakeVendor, primary: Document | None = None, execution: Document | None = None, **fields: object) -> list[Document]:
    """Vendors in the order of their priority; ``primary`` has further fields of the first."""
    terms = {"timeoutSeconds": 20, "maxRetries": 3, "retryDelayMs": 1, **(execution or {})}
    providers = [served_by(vendor, f"p{number}", priority=number, **{"timeouts": LONG, **((primary or {}) if number == 0 else {})})
                 for number, vendor in enumerate(vendors)]
    return [runtime(execution=terms, cache={"enabled": False}, **fields), pool("chat", *providers), secret("vendor", apiKey=vendors[0].api_key)]


async def storm(pod: Pod, count: int, name: str = "storm", **fields: object) -> list[Answer]:
    """So many callers at once, every second one with a stream."""
    return await asyncio.gather(*(pod.chat(f"{name} {each}", stream=each % 2 == 0, **fields) for each in range(count)))


async def state(pod: Pod, name: str = "p0") -> tuple[str, str]:
    """A provider's state and reason."""
    (found,) = [each for each in (await pod.config())["providers"] if each["name"] == name]
    return found["state"], found["reason"]


async def test_a_flapping_primary_is_seen_by_nobody(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Good, bad, good, bad: every caller is answered, and no request asks either of them twice."""
    for fault in itertools.islice(itertools.cycle(["http_500", "reset_before_headers", "html_200", "error_event_first"]), 12):
        vendor.script.say("well")
        vendor.script.fail(fault)
    async with running(tmp_path, *settings(vendor, second, primary={"circuitBreaker": {"consecutiveFailures": 3, "minimumRequests": 100}})) as pod:
        answers = [await pod.chat(f"flap {each}", stream=each % 3 == 0) for each in range(24)]
        assert {each.status for each in answers} == {200}
        assert all(each.events[-1] == "[DONE]" for each in answers[::3])
        assert {each.headers["x-strata-attempts"] for each in answers} <= {"1", "2"}
        assert vendor.record.total + second.record.total == sum(int(each.headers["x-strata-attempts"]) for each in answers)
        assert await state(pod) == ("Healthy", "")


async def test_when_all_are_down_callers_are_sent_away_without_calls(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """502 while breakers learn; then 503 with Retry-After, and of any number of callers at most one at a time probes."""
    for each in (vendor, second):
        each.script.fail("http_500", times=ALWAYS)
    async with running(tmp_path, *settings(vendor, second, primary={"circuitBreaker": {"consecutiveFailures": 2, "openSeconds": 600}},
                                           execution={"maxRetries": 1})) as pod:
        first = [await pod.chat(f"learning {each}") for each in range(5)]
        assert {each.status for each in first} == {502}
        assert await state(pod) == ("Unavailable", "BreakerOpen")
        assert await state(pod, "p1") == ("Unavailable", "BreakerOpen")
        before = vendor.record.total + second.record.total
        vendor.script.clear()
        second.script.clear()
        vendor.script.fail("black_hole", times=ALWAYS)
        second.script.fail("black_hole", times=ALWAYS)
        probing = asyncio.create_task(pod.chat("the probe", headers={"x-strata-timeout-ms": "1500"}))
        await until(lambda: vendor.record.total + second.record.total == before + 1)
        refused = await storm(pod, 40)
        assert {(each.status, each.error["code"]) for each in refused} == {(503, "no_provider_available")}
        assert all(1 <= int(each.headers["Retry-After"]) <= 600 for each in refused)
        assert {each.headers["x-strata-attempts"] for each in refused} == {"0"}
        assert vendor.record.total + second.record.total == before + 1
        assert (await probing).status == 504


async def test_a_primary_that_recovers_gets_its_traffic_back_after_one_probe(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """While open it is not called; once due one caller of many probes it, the rest are answered by the other."""
    vendor.script.fail("http_503", times=2)
    async with running(tmp_path, *settings(vendor, second, primary={"circuitBreaker": {"consecutiveFailures": 2, "openSeconds": 1}})) as pod:
        assert {each.status for each in [await pod.chat(f"down {each}") for each in range(2)]} == {200}
        assert await state(pod) == ("Unavailable", "BreakerOpen")
        assert {each.headers["x-strata-provider"] for each in await storm(pod, 20, "open")} == {"p1"}
        assert vendor.record.total == 2
        breaker = next(iter(pod.server.runtime.health._records.values())).breaker
        await until(lambda: asyncio.get_running_loop().time() >= breaker.due)
        vendor.script.fail("slow_headers", delay=0.3)
        answers = await storm(pod, 30, "due")
        assert {each.status for each in answers} == {200}
        assert vendor.record.total == 3
        assert await state(pod) == ("Healthy", "")
        assert (await pod.chat("back")).headers["x-strata-provider"] == "p0"


async def test_a_slow_provider_takes_no_more_than_its_places(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Four callers hang on it until they fail over; forty others are answered by the other one at once."""
    vendor.script.fail("black_hole", times=ALWAYS)
    limits = {"limits": {"maxConcurrentRequests": 4}, "timeouts": {**LONG, "firstTokenMs": 5_000, "totalMs": 5_000}}
    async with running(tmp_path, *settings(vendor, second, primary=limits)) as pod:
        hanging = [asyncio.create_task(pod.chat(f"hang {each}")) for each in range(4)]
        await vendor.record.until(lambda record: record.total == 4)
        began = asyncio.get_running_loop().time()
        answers = await storm(pod, 40)
        assert asyncio.get_running_loop().time() - began < 4.5  # before anything has timed out
        assert {(each.status, each.headers["x-strata-provider"], each.headers["x-strata-attempts"]) for each in answers} == {(200, "p1", "1")}
        assert vendor.record.total == 4
        assert await pod.figure("stratarouter_runtime_candidates_skipped_total", provider="p0", reason="ProviderFull") == 40
        vendor.release()
        assert {each.status for each in await asyncio.gather(*hanging)} == {200}


@pytest.mark.parametrize("fault", ["http_503", "reset_before_headers", "http_429", "black_hole", "http_401"])
async def test_a_storm_on_a_dying_primary(tmp_path: Path, vendor: FakeVendor, second: FakeVendor, fault: str) -> None:
    """No caller fails while a healthy candidate exists, and the calls to the dying one end with its breaker."""
    times = {"timeouts": {**LONG, "firstTokenMs": 300, "totalMs": 300}, "circuitBreaker": {"consecutiveFailures": 3, "openSeconds": 600}}
    async with running(tmp_path, *settings(vendor, second, primary=times)) as pod:
        assert {each.headers["x-strata-provider"] for each in await storm(pod, 10, "well")} == {"p0"}
        vendor.script.fail(fault, times=ALWAYS)
        waves = [await storm(pod, 20, f"wave {each}") for each in range(4)]
        assert {each.status for wave in waves for each in wave} == {200}
        assert all(each.events[-1] == "[DONE]" for wave in waves for each in wave[::2])
        # All of the first wave may be under way before the first of them has failed; after that nobody calls.
        assert vendor.record.total <= 10 + 20
        assert {each.headers["x-strata-provider"] for each in waves[-1]} == {"p1"}


async def test_a_vendor_that_dies_with_streams_open(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Streams that had begun end with an error inside; those that had not are answered by the other one."""
    vendor.script.fail("content_stall", times=10)
    vendor.script.fail("role_stall", times=10)
    async with running(tmp_path, *settings(vendor, second)) as pod:
        begun = [asyncio.create_task(pod.chat(f"begun {each}", stream=True)) for each in range(10)]
        await vendor.record.until(lambda record: record.total == 10)
        waiting = [asyncio.create_task(pod.chat(f"waiting {each}", stream=True)) for each in range(10)]
        await vendor.record.until(lambda record: record.total == 20)
        await asyncio.sleep(0.05)  # until their first content has been passed on
        await vendor.stop_listening()
        ended = await asyncio.gather(*begun)
        assert {each.events[-1]["error"]["code"] for each in ended} == {"truncated"}
        assert not any("[DONE]" in each.events for each in ended)
        answered = await asyncio.gather(*waiting)
        assert {each.status for each in answered} == {200}
        assert all(each.events[-1] == "[DONE]" for each in answered)


@pytest.mark.parametrize(("fault", "stream"), [
    ("black_hole", False), ("body_stall", False), ("black_hole", True), ("role_stall", True), ("comments_forever", True), ("content_stall", True),
    ("content_forever", True)])
async def test_a_client_that_goes_away_takes_its_vendor_call_with_it(tmp_path: Path, vendor: FakeVendor, fault: str, *, stream: bool) -> None:
    """Within a second, in every phase; its place is free, nothing counts against the provider, and what was used is booked."""
    vendor.script.fail(fault, times=ALWAYS)
    async with running(tmp_path, *settings(vendor)) as pod:
        async with line(pod) as client:
            await client.ask(question("bye", stream=stream))
            if fault.startswith("content"):
                await client.head()
            else:
                await vendor.record.until(lambda record: record.total == 1)
        await vendor.record.until(lambda record: record.aborted == 1, seconds=1 + SLACK)
        await until(lambda: not pod.server.drain.in_flight)
        assert all(each.in_flight == 0 for each in pod.server.runtime.health._bulkheads.values())
        assert vendor.record.total == 1
        assert await state(pod) == ("Healthy", "")
        assert await pod.figure("stratarouter_runtime_attempts_total", outcome="cancelled") == 1
        assert await pod.figure("stratarouter_runtime_requests_total", status="499") == 1
        assert (await pod.figure("stratarouter_runtime_tokens_used_total", type="output") > 0) == fault.startswith("content")


async def test_a_client_that_goes_away_while_it_waits_for_a_limit_calls_nobody(tmp_path: Path, vendor: FakeVendor) -> None:
    """Not even when the wait is over."""
    vendor.script.fail("bare_429", headers={"retry-after-ms": "300"})
    async with running(tmp_path, *settings(vendor)) as pod:
        async with line(pod) as client:
            await client.ask(question("bye"))
            await vendor.record.until(lambda record: record.completed == 1)
        await until(lambda: not pod.server.drain.in_flight, within=1 + SLACK)
        (record,) = pod.server.runtime.health._records.values()
        await until(lambda: record.limited_until < asyncio.get_running_loop().time())
        await asyncio.sleep(0.01)
        assert vendor.record.total == 1


async def test_a_client_that_does_not_take_the_end_of_an_execution_is_dropped(tmp_path: Path, vendor: FakeVendor,
                                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads what is said, but not the summary after it, which is as large: the connection ends with its time."""
    monkeypatch.setattr(exchange, "WRITE_SLACK_SECONDS", 0.2)
    vendor.script.say("x" * 12_000_000)
    async with running(tmp_path, *settings(vendor, execution={"timeoutSeconds": 1})) as pod:
        async with line(pod, receive=4096) as client:
            raw = json.dumps({"query": "a long one", "request": {"model": "gpt-4o"}, "stream": True}).encode()
            await client.send(b"POST /v1/execute HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(raw), raw))
            await client.head()
            await client.reader.readexactly(12_000_000)
            await until(lambda: not pod.server.drain.in_flight, within=1.2 + SLACK)
        assert await pod.figure("stratarouter_runtime_requests_total", status="499") == 1


async def test_an_execution_that_breaks_off_says_so_in_its_stream(tmp_path: Path, vendor: FakeVendor) -> None:
    """The plan, what was said, and an error event instead of the summary."""
    vendor.script.fail("error_after_content", times=ALWAYS)
    async with running(tmp_path, *settings(vendor)) as pod:
        answer = await pod.send("POST", "/v1/execute", json={"query": "hi", "request": {"model": "gpt-4o"}, "stream": True})
        names = [each.partition("\n")[0] for each in answer.body.decode().strip().split("\n\n")]
        assert (answer.status, names[0], names[-1]) == (200, "event: plan", "event: error")
        assert "event: delta" in names
        assert "event: completed" not in names


async def test_a_key_never_follows_a_redirect(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Whatever the status; the other host hears nothing at all."""
    async with FakeVendor(models=None, api_keys=[]) as thief:
        for status in (301, 302, 303, 307, 308):
            vendor.script.fail("redirect", status=status, headers={"Location": f"{thief.base_url}/chat/completions"})
        async with running(tmp_path, *settings(vendor, second)) as pod:
            answers = [await pod.chat(f"redirected {each}", stream=each % 2 == 0) for each in range(5)]
            assert {each.status for each in answers} == {200}
            assert vendor.record.total >= 1
            assert thief.record.total == 0
            assert await state(pod) == ("Degraded", "ProviderNotFound")


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("fault", ["second_answer", "second_answer_later"])
async def test_a_second_answer_on_a_connection_is_given_to_nobody(tmp_path: Path, vendor: FakeVendor, fault: str, *, stream: bool) -> None:
    """Bytes behind an answer's end belong to no request: the next caller on that connection must not get them."""
    async with running(tmp_path, *settings(vendor)) as pod:
        for each in range(5):
            vendor.script.fail(fault)
            first = await pod.chat(f"first {each}", stream=stream)
            following = await asyncio.gather(*(pod.chat(f"next {each} {number}") for number in range(3)))
            assert f"first {each}" in (first.streamed_text if stream else first.text)
            assert [answer.status for answer in following] == [200] * 3
            for number, answer in enumerate(following):
                assert f"next {each} {number}" in answer.text
                assert POISON not in answer.body


async def test_a_connection_that_the_vendor_closes_between_calls_costs_nobody_anything(tmp_path: Path, vendor: FakeVendor) -> None:
    """It said keep-alive and closed: the next call goes over a new one."""
    vendor.script.fail("closed_after", times=ALWAYS)
    async with running(tmp_path, *settings(vendor)) as pod:
        answers = [await pod.chat(f"again {each}", stream=each % 2 == 0) for each in range(10)]
        assert {each.status for each in answers} == {200}
        assert await pod.figure("stratarouter_runtime_requests_total", status="200") == 10


async def test_vectors_of_another_model_are_never_given(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """The fallback is healthy, but its vectors would mean something else."""
    vendor.script.fail("http_500", times=ALWAYS)
    providers = [served_by(vendor, "p0", {"name": "embed", "upstreamName": "text-embedding-3-small"}),
                 served_by(second, "p1", {"name": "embed", "upstreamName": "text-embedding-3-large"}, priority=1)]
    documents = [runtime(execution={"maxRetries": 1, "retryDelayMs": 1}), pool("chat", *providers), secret("vendor", apiKey=vendor.api_key)]
    async with running(tmp_path, *documents) as pod:
        answer = await pod.embed(model="embed")
        assert (answer.status, answer.error["code"]) == (502, "all_attempts_failed")
        assert second.record.total == 0


@pytest.mark.usefixtures("exceptions_unwritten")
async def test_an_exception_in_one_execution_is_that_ones_500(tmp_path: Path, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its id and nothing of what went wrong; others are served, and a reply that was complete stays so."""
    async with running(tmp_path, *settings(vendor)) as pod:
        planner = pod.server.runtime.parts.planner
        plan = planner.plan

        def broken(request: object, *rest: object, **more: object) -> object:
            if "break" in json.dumps(request.body):  # type: ignore[attr-defined]
                raise RuntimeError("a secret prompt")
            return plan(request, *rest, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(planner, "plan", broken)
        answers = await asyncio.gather(*(pod.chat("break" if each % 2 else "fine", stream=each % 4 > 1) for each in range(8)))
        assert [each.status for each in answers] == [200, 500] * 4
        assert all(each.headers["x-strata-execution-id"] in each.error["message"] for each in answers[1::2])
        assert all("secret" not in each.error["message"] for each in answers[1::2])
        monkeypatch.setattr(pod.server.runtime, "_finish_stream", _defect)
        whole = await pod.chat("the books", stream=True)
        assert (whole.status, whole.events[-1]) == (200, "[DONE]")
        monkeypatch.undo()
        assert (await pod.chat("fine again")).status == 200


def _defect(*_: object) -> None:
    raise RuntimeError("a secret prompt")
