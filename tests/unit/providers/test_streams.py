"""Claims: a stream's events have the vendor's own bytes and come as they are sent; every way in which a stream can break
raises after the events before it; times are those configured; leaving closes the vendor's call at once."""

from __future__ import annotations

import asyncio

import pytest

from fakes.vendor import FakeVendor
from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.model.response import EventKind
from stratarouter_runtime.wire.openai_chat import check_chat
from stratarouter_runtime.wire.openai_stream import client_frames, fold

CHAT = check_chat({"model": "public-name", "messages": [{"role": "user", "content": "hi"}], "stream": True})


async def events_of(provider, call, request=CHAT):
    """The events, and the error they ended with."""
    events = []
    try:
        async for batch in provider.stream(request, call):
            assert batch
            events += batch
    except ProviderError as error:
        return events, error
    return events, None


async def test_the_vendors_bytes_come_through(provider, vendor, call):
    vendor.script.say("one two three")
    events, error = await events_of(provider, call())
    assert error is None
    assert [event.kind.name for event in events] == ["PREAMBLE", "CONTENT", "CONTENT", "CONTENT", "FINISH", "USAGE", "DONE"]
    assert events[1].raw.startswith(b'{"id":"chatcmpl-')
    assert client_frames(events, include_usage=True).endswith(b"data: [DONE]\n\n")
    assert fold(events).text == "one two three"
    assert vendor.record.last.json == {**CHAT.body, "model": "gpt-4o", "stream_options": {"include_usage": True}}
    assert vendor.record.last.headers["accept"] == "text/event-stream"


async def test_events_come_while_the_vendor_is_still_speaking(provider, vendor, call):
    vendor.script.fail("stall", after=2)
    batches = provider.stream(CHAT, call())
    kinds = []
    while EventKind.CONTENT not in kinds:
        kinds += [event.kind for event in await anext(batches)]
    assert not vendor.record.completed
    vendor.release()
    rest = [event.kind async for batch in batches for event in batch]
    assert rest[-1] is EventKind.DONE


async def test_a_finished_stream_gives_its_connection_back(provider, vendor, call):
    for _ in range(3):
        assert (await events_of(provider, call()))[1] is None
    await provider.chat(CHAT, call())
    assert (vendor.record.total, vendor.record.connections) == (4, 1)


async def test_a_consumer_that_stops_at_done_gives_the_connection_back_too(provider, vendor, call):
    for _ in range(3):
        batches = provider.stream(CHAT, call())
        async for batch in batches:
            if batch[-1].kind is EventKind.DONE:
                break
        await batches.aclose()
    assert (vendor.record.total, vendor.record.connections) == (3, 1)


async def test_a_vendor_that_does_not_end_the_body_after_done_costs_a_moment_only(provider, vendor, call):
    """Nothing more is read after [DONE]; the answer is whole although its connection is not."""
    vendor.script.fail("trickle", delay=0.0)
    hold = vendor.hold
    sent = 0

    async def hold_at_the_end(seconds):
        nonlocal sent
        sent += 1
        await hold(None if sent == len(expected) else 0.0)
    expected = (await events_of(provider, call()))[0]
    vendor.script.fail("trickle", delay=0.0)
    vendor.hold = hold_at_the_end
    events, error = await events_of(provider, call())
    assert (error, events[-1].kind, len(events)) == (None, EventKind.DONE, len(expected))
    await vendor.record.until(lambda record: record.aborted == 1)


@pytest.mark.parametrize("fault", ["crlf", "cr", "comments", "multi_line_data", "bom", "split_bytes", "gzip", "trickle", "no_usage",
                                   "no_done"])
async def test_every_framing_is_read(provider, vendor, call, fault):
    plain = fold((await events_of(provider, call()))[0])
    vendor.script.fail(fault)
    events, error = await events_of(provider, call())
    assert error is None
    assert events[-1].kind is EventKind.DONE
    assert fold(events).text == plain.text
    assert fold(events).usage == (None if fault == "no_usage" else plain.usage)


@pytest.mark.parametrize(("fault", "expected"), [
    ("reset_after_headers", (Failure.TRUNCATED, Phase.BODY, 0)), ("reset_mid_stream", (Failure.TRUNCATED, Phase.STREAM, None)),
    ("cut", (Failure.TRUNCATED, Phase.STREAM, 2)), ("cut_connection", (Failure.TRUNCATED, Phase.STREAM, 2)),
    ("cut_in_character", (Failure.TRUNCATED, Phase.STREAM, 2)), ("error_event", (Failure.SERVER_ERROR, Phase.STREAM, 2)),
    ("error_event_first", (Failure.SERVER_ERROR, Phase.BODY, 0)), ("garbage_event", (Failure.BAD_RESPONSE, Phase.STREAM, 2)),
    ("empty_200", (Failure.BAD_RESPONSE, Phase.BODY, 0)), ("html_200", (Failure.BAD_RESPONSE, Phase.BODY, 0)),
    ("error_in_200", (Failure.SERVER_ERROR, Phase.BODY, 0)), ("truncated_json", (Failure.BAD_RESPONSE, Phase.BODY, 0)),
    ("http_429", (Failure.RATE_LIMITED, Phase.BODY, 0)), ("http_503", (Failure.OVERLOADED, Phase.BODY, 0)),
    ("redirect", (Failure.NOT_FOUND, Phase.BODY, 0)), ("reset_before_headers", (Failure.CONNECTION_LOST, Phase.HEADERS, 0)),
    ("close_before_headers", (Failure.CONNECTION_LOST, Phase.HEADERS, 0))])
async def test_what_a_vendor_does_instead_of_finishing(provider, vendor, call, fault, expected):
    failure, phase, contents = expected
    vendor.script.fail(fault)
    events, error = await events_of(provider, call())
    assert error is not None
    assert (error.failure, error.phase) == (failure, phase)
    assert EventKind.DONE not in [event.kind for event in events]
    # A reset may overtake what was sent before it.
    assert contents is None or [event.kind for event in events].count(EventKind.CONTENT) == contents
    assert vendor.record.total == 1


@pytest.mark.parametrize("flavour", ["vllm", "vllm-old", "ollama"])
async def test_other_servers_stream_and_fail_in_their_own_way(make, call, flavour):
    async with FakeVendor(flavour=flavour, models=["m"]) as vendor:
        provider = make(vendor, type="openaicompatible" if flavour == "ollama" else "vllm")
        events, error = await events_of(provider, call("m"))
        assert error is None
        assert (events[-1].kind, fold(events).finish_reason) == (EventKind.DONE, "stop")
        vendor.script.fail("error_event")
        events, error = await events_of(provider, call("m"))
        assert (error.failure, error.phase) == (Failure.SERVER_ERROR, Phase.STREAM)
        assert EventKind.DONE not in [event.kind for event in events]


async def test_an_event_without_bound_is_refused(provider, vendor, call, monkeypatch):
    monkeypatch.setattr("stratarouter_runtime.wire.openai_stream.ChatStream.__init__.__kwdefaults__", {"choices": 1, "max_event": 10_000})
    vendor.script.fail("huge_event", size=1_000_000)
    assert (await events_of(provider, call()))[1].failure is Failure.BAD_RESPONSE


async def test_a_server_that_cannot_stream_is_taken_as_one_that_did(provider, vendor, call):
    """It answers with a whole completion; the events say the same."""
    vendor.script.fail("unstreamed", times=2)
    whole = await provider.chat(CHAT, call())
    events, error = await events_of(provider, call())
    assert error is None
    assert [event.kind.name for event in events if event.kind is not EventKind.CONTENT] == ["PREAMBLE", "FINISH", "USAGE", "DONE"]
    assert (fold(events).text, fold(events).usage) == (whole.text, whole.usage)


async def test_the_first_content_has_its_own_time_which_a_preamble_does_not_end(make, vendor, call):
    vendor.script.fail("slow_first_token")
    events, error = await events_of(make(vendor, timeouts={"firstTokenMs": 50}), call())
    assert [event.kind for event in events] == [EventKind.PREAMBLE]
    assert (error.failure, error.phase) == (Failure.TIMEOUT, Phase.BODY)
    await vendor.record.until(lambda record: record.aborted == 1)


async def test_silent_headers_count_towards_the_first_content(make, vendor, call):
    vendor.script.fail("black_hole")
    _, error = await events_of(make(vendor, timeouts={"firstTokenMs": 50}), call())
    assert (error.failure, error.phase) == (Failure.TIMEOUT, Phase.HEADERS)


async def test_json_instead_of_a_stream_must_come_in_the_time_of_the_first_content(make, vendor, call):
    vendor.script.fail("json_stall")
    provider = make(vendor, timeouts={"firstTokenMs": 100})
    _, error = await asyncio.wait_for(events_of(provider, call(seconds=60)), 10)
    assert (error.failure, error.phase) == (Failure.TIMEOUT, Phase.BODY)


@pytest.mark.parametrize("fault", ["chunk_size_garbage", "chunk_size_huge", "chunk_torn"])
async def test_framing_that_breaks_after_content_is_no_silence(provider, vendor, call, fault):
    """aiohttp closes the connection then, but leaves the pending read to itself."""
    vendor.script.fail(fault)
    events, error = await asyncio.wait_for(events_of(provider, call(seconds=60)), 10)
    assert events
    assert (error.failure, error.phase) == (Failure.TRUNCATED, Phase.STREAM)


async def test_silence_after_content_has_its_own_time(make, vendor, call):
    vendor.script.fail("stall")
    events, error = await events_of(make(vendor, timeouts={"idleMs": 50}), call())
    assert [event.kind.name for event in events] == ["PREAMBLE", "CONTENT", "CONTENT"]
    assert (error.failure, error.phase) == (Failure.TIMEOUT, Phase.STREAM)


async def test_a_slow_but_steady_stream_is_not_silent(make, vendor, call):
    vendor.script.fail("trickle", delay=0.02)
    _, error = await events_of(make(vendor, timeouts={"idleMs": 250, "firstTokenMs": 5000}), call())
    assert error is None


@pytest.mark.parametrize("limit", ["deadline", "total"])
async def test_the_whole_stream_has_its_time_however_steady(make, vendor, call, limit):
    vendor.pad_words = 500
    vendor.script.fail("trickle", delay=0.005)
    provider = make(vendor, timeouts={"totalMs": 100} if limit == "total" else {})
    events, error = await events_of(provider, call(seconds=0.1 if limit == "deadline" else 30))
    assert error.failure is Failure.TIMEOUT
    assert events


async def test_a_slow_consumer_does_not_make_the_vendor_look_silent(make, vendor, call):
    provider = make(vendor, timeouts={"idleMs": 30})
    vendor.script.fail("stall", after=2)
    batches = provider.stream(CHAT, call())
    first = await anext(batches)
    loop = asyncio.get_running_loop()
    later = loop.create_future()
    loop.call_later(0.1, later.set_result, None)
    vendor.release()
    await later
    rest = [event.kind async for batch in batches for event in batch]
    assert first
    assert rest[-1] is EventKind.DONE


@pytest.mark.parametrize("fault", ["black_hole", "slow_first_token", "stall"])
async def test_a_caller_that_is_cancelled_ends_the_vendors_call_in_every_phase(provider, vendor, call, fault):
    vendor.script.fail(fault)
    task = asyncio.create_task(events_of(provider, call()))
    await vendor.record.until(lambda record: record.total == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await vendor.record.until(lambda record: record.aborted == 1, seconds=1)


async def test_a_caller_that_stops_iterating_ends_the_vendors_call(provider, vendor, call):
    vendor.script.fail("stall")
    batches = provider.stream(CHAT, call())
    await anext(batches)
    await batches.aclose()
    await vendor.record.until(lambda record: record.aborted == 1, seconds=1)


@pytest.mark.parametrize("fault", ["black_hole", "slow_first_token", "stall"])
async def test_closing_the_provider_ends_its_calls(provider, vendor, call, fault):
    vendor.script.fail(fault)
    task = asyncio.create_task(events_of(provider, call()))
    await vendor.record.until(lambda record: record.total == 1)
    await provider.aclose()
    _, error = await asyncio.wait_for(task, 2)
    assert error.failure in (Failure.TRUNCATED, Failure.CONNECTION_LOST)


async def test_closing_the_provider_ends_a_read_that_has_begun(provider, vendor, call):
    vendor.script.fail("stall")
    batches = provider.stream(CHAT, call())
    assert await anext(batches)
    reading = asyncio.create_task(collect(batches))
    for _ in range(20):
        await asyncio.sleep(0)
    await provider.aclose()
    with pytest.raises(ProviderError) as caught:
        await asyncio.wait_for(reading, 2)
    assert caught.value.failure is Failure.TRUNCATED


async def collect(batches):
    return [event async for batch in batches for event in batch]
