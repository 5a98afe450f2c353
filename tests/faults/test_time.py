"""The one deadline, the one budget, and what a caller that waits sees meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from builders import Document, pool, runtime, secret
from fakes.vendor import ALWAYS, FakeVendor
from faults.case import SOON
from faults.world import SLACK
from pod import Answer, running, served_by

KEPT = {"x-strata-timeout-ms": "200"}
LONG = {"connectMs": 30_000, "firstTokenMs": 30_000, "idleMs": 30_000, "totalMs": 30_000}


@pytest.fixture
async def vendor() -> AsyncIterator[FakeVendor]:
    """The faulty one."""
    async with FakeVendor() as made:
        yield made


@pytest.fixture
async def second() -> AsyncIterator[FakeVendor]:
    """The one that could answer."""
    async with FakeVendor() as made:
        yield made


def settings(*vendors: FakeVendor, timeouts: Document, execution: Document | None = None, server: Document | None = None,
             breaker: Document | None = None) -> list[Document]:
    """Vendors in the order of their priority; only the first has these timeouts."""
    terms = {"timeoutSeconds": 20, "maxRetries": 3, "retryDelayMs": 1, **(execution or {})}
    providers = [served_by(vendor, f"p{number}", priority=number, timeouts=timeouts if number == 0 else LONG,
                           circuitBreaker={"consecutiveFailures": 50, "minimumRequests": 1000, **(breaker or {})})
                 for number, vendor in enumerate(vendors)]
    return [runtime(execution=terms, server=server or {}, cache={"enabled": False}), pool("chat", *providers),
            secret("vendor", apiKey=vendors[0].api_key)]


async def timed(work: Any) -> tuple[Answer, float]:
    """An answer and its seconds."""
    began = asyncio.get_running_loop().time()
    answer: Answer = await work
    return answer, asyncio.get_running_loop().time() - began


@pytest.mark.parametrize("fault", ["black_hole", "headers_trickle", "continue_forever", "body_missing", "body_trickle", "refusal_stall",
                                   "comments_forever", "preambles_forever", "event_forever", "role_stall", "json_stall"])
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_the_callers_deadline_ends_whatever_hangs(tmp_path: Path, vendor: FakeVendor, fault: str, *, stream: bool) -> None:
    """504 at the deadline that the caller chose, though the provider's own times are longer; its call is closed at once."""
    if not stream and fault in ("comments_forever", "preambles_forever", "event_forever", "role_stall"):
        fault = "body_stall"
    vendor.script.fail(fault, times=ALWAYS)
    async with running(tmp_path, *settings(vendor, timeouts=LONG)) as pod:
        answer, seconds = await timed(pod.chat(headers=KEPT, stream=stream))
        assert (answer.status, answer.error["code"], answer.error["type"]) == (504, "deadline_exceeded", "server_error")
        assert 0.19 <= seconds <= 0.2 + SLACK
        assert vendor.record.total == int(answer.headers["x-strata-attempts"]) == 1
        await vendor.record.until(lambda record: record.total == record.completed + record.aborted, seconds=1 + SLACK)
        assert await pod.figure("stratarouter_runtime_timeouts_total", provider="p0") == 1
        assert (await pod.config())["providers"][0]["state"] == "Healthy"  # a caller may choose any deadline


@pytest.mark.parametrize("fault", ["content_stall", "content_comments_forever", "content_forever", "content_event_forever"])
async def test_the_deadline_ends_a_stream_inside_it(tmp_path: Path, vendor: FakeVendor, second: FakeVendor, fault: str) -> None:
    """After content the error is in the stream, nobody else is asked, and nothing follows it."""
    vendor.script.fail(fault, times=ALWAYS)
    async with running(tmp_path, *settings(vendor, second, timeouts=LONG)) as pod:
        answer, seconds = await timed(pod.chat(headers=KEPT, stream=True))
        assert answer.status == 200
        assert answer.events[-1]["error"]["code"] == "timeout"
        assert "[DONE]" not in answer.events
        assert 0.19 <= seconds <= 0.2 + SLACK
        assert second.record.total == 0
        await vendor.record.until(lambda record: record.aborted == 1, seconds=1 + SLACK)
        assert await pod.figure("stratarouter_runtime_requests_total", status="504") == 1


async def test_the_caller_cannot_lengthen_the_deadline(tmp_path: Path, vendor: FakeVendor) -> None:
    """``timeoutSeconds`` holds, whatever ``x-strata-timeout-ms`` says."""
    vendor.script.fail("black_hole", times=ALWAYS)
    async with running(tmp_path, *settings(vendor, timeouts=LONG, execution={"timeoutSeconds": 0.3})) as pod:
        answer, seconds = await timed(pod.chat(headers={"x-strata-timeout-ms": "60000"}))
        assert answer.status == 504
        assert seconds <= 0.3 + SLACK


async def test_waiting_for_a_limit_ends_at_the_deadline(tmp_path: Path, vendor: FakeVendor) -> None:
    """A Retry-After that fits is waited for and then answered; one that does not fit is told to the caller at once."""
    vendor.script.fail("bare_429", headers={"retry-after-ms": "150"})
    vendor.script.say("patience")
    vendor.script.fail("bare_429", headers={"Retry-After": "7"}, times=ALWAYS)
    async with running(tmp_path, *settings(vendor, timeouts=LONG, execution={"timeoutSeconds": 5})) as pod:
        answer, seconds = await timed(pod.chat())
        assert (answer.status, answer.text, answer.headers["x-strata-attempts"]) == (200, "patience", "2")
        assert 0.15 <= seconds <= 0.15 + SLACK
        answer, seconds = await timed(pod.chat("another"))
        assert (answer.status, answer.error["code"]) == (429, "rate_limited")
        assert 6 <= int(answer.headers["Retry-After"]) <= 7
        assert seconds <= SLACK


@pytest.mark.parametrize("attempts", [1, 2, 3, 4])
async def test_the_budget_is_one_for_the_whole_chain(tmp_path: Path, vendor: FakeVendor, second: FakeVendor, attempts: int) -> None:
    """Four failing providers get as many calls together as the budget has, in their order, never one more."""
    async with FakeVendor() as third, FakeVendor() as fourth:
        chain = [vendor, second, third, fourth]
        for each in chain:
            each.script.fail("http_500", times=ALWAYS)
        async with running(tmp_path, *settings(*chain, timeouts=LONG, execution={"maxRetries": attempts - 1})) as pod:
            for stream in (False, True):
                answer = await pod.chat(stream=stream)
                assert (answer.status, answer.headers["x-strata-attempts"]) == (502, str(attempts))
            assert [each.record.total for each in chain] == [2] * attempts + [0] * (4 - attempts)


async def test_the_only_provider_gets_the_whole_budget(tmp_path: Path, vendor: FakeVendor) -> None:
    """Nobody else is eligible: it is tried again after each backoff, and answers the last try."""
    vendor.script.fail("http_503", times=3)
    async with running(tmp_path, *settings(vendor, timeouts=LONG)) as pod:
        answer = await pod.chat()
        assert (answer.status, answer.headers["x-strata-attempts"], vendor.record.total) == (200, "4", 4)
        assert await pod.figure("stratarouter_runtime_retries_total", provider="p0") == 3


@pytest.mark.parametrize("fault", ["role_stall", "comments_forever", "black_hole", "preambles_forever"])
async def test_keepalives_fix_the_status_but_failover_stays_silent(tmp_path: Path, vendor: FakeVendor, second: FakeVendor, fault: str) -> None:
    """Comments come while nothing is said, then the fallback's answer alone, which is whole."""
    vendor.script.fail(fault, times=ALWAYS)
    second.script.say("from the second")
    async with running(tmp_path, *settings(vendor, second, timeouts={**SOON, "firstTokenMs": 600}, server={"keepaliveSeconds": 0.1})) as pod:
        answer = await pod.chat(stream=True)
        assert answer.status == 200
        assert answer.body.startswith(b": keepalive\n\n: keepalive\n\n")
        assert answer.streamed_text == "from the second"
        assert answer.events[-1] == "[DONE]"
        assert len({event["id"] for event in answer.events[:-1]}) == 1


async def test_a_failure_after_a_keepalive_is_inside_the_stream(tmp_path: Path, vendor: FakeVendor) -> None:
    """The status has gone out as 200; the error that would have been a 502 is the stream's only event."""
    vendor.script.fail("role_stall", times=ALWAYS)
    async with running(tmp_path, *settings(vendor, timeouts={**SOON, "firstTokenMs": 300}, server={"keepaliveSeconds": 0.1},
                                           execution={"maxRetries": 0})) as pod:
        answer = await pod.chat(stream=True)
        assert (answer.status, len(answer.events)) == (200, 1)
        assert answer.events[0]["error"]["code"] == "all_attempts_failed"
        assert await pod.figure("stratarouter_runtime_requests_total", status="502") == 1


async def test_comments_go_on_while_a_committed_stream_is_silent(tmp_path: Path, vendor: FakeVendor) -> None:
    """Between content and the idle timeout the connection is kept."""
    vendor.script.fail("content_stall", times=ALWAYS)
    async with running(tmp_path, *settings(vendor, timeouts={**LONG, "idleMs": 500}, server={"keepaliveSeconds": 0.1})) as pod:
        answer = await pod.chat(stream=True)
        assert answer.body.count(b": keepalive\n\n") >= 2
        assert answer.events[-1]["error"]["code"] == "timeout"


async def test_short_deadlines_of_one_caller_take_no_provider_from_the_others(tmp_path: Path, vendor: FakeVendor) -> None:
    """Twenty callers that wait 50 ms each say nothing about a vendor that needs 100."""
    vendor.script.fail("slow_headers", delay=0.1, times=ALWAYS)
    async with running(tmp_path, *settings(vendor, timeouts=LONG, breaker={"consecutiveFailures": 2, "minimumRequests": 2})) as pod:
        hasty: list[Answer] = await asyncio.gather(*(pod.chat(f"q{each}", headers={"x-strata-timeout-ms": "50"}) for each in range(20)))
        assert {each.status for each in hasty} == {504}
        assert (await pod.chat("patient")).status == 200
        assert (await pod.config())["providers"][0]["state"] == "Healthy"


