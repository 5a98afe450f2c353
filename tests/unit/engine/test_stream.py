"""Streams: silent failover until the first content, the truth afterwards."""

from __future__ import annotations

import asyncio

import pytest

from fakes.engine_bench import collect
from fakes.provider import (
    USAGE,
    Stubborn,
    Wait,
    content,
    done,
    event,
    fail,
    finish,
    preamble,
    usage,
    whole,
)
from stratarouter_runtime.engine.stream import CLOSE_SECONDS, MAX_HELD
from stratarouter_runtime.model.errors import TREATMENTS, ExecutionError, Failure, Phase, ProviderError
from stratarouter_runtime.model.response import EventKind, Usage

# Missing credentials are no attempt: nothing was sent.
FAILED_OVER = [failure for failure, treatment in TREATMENTS.items()
               if treatment.failover and failure is not Failure.CREDENTIALS_MISSING]
UNHEALTHY = [failure for failure, treatment in TREATMENTS.items() if treatment.unhealthy]


def now() -> float:
    return asyncio.get_running_loop().time()


def kinds(batches):
    return [each.kind for batch in batches for each in batch]


# --- before the commit point --------------------------------------------------------------------------------------
@pytest.mark.parametrize("failure", FAILED_OVER)
@pytest.mark.parametrize("heard", [[], [preamble()], [preamble(), preamble()], [finish()]], ids=["nothing", "role", "pings", "finish"])
async def test_a_failure_before_content_is_seen_by_nobody(bench, failure, heard):
    bench.add("a", [*heard, fail(failure, phase=Phase.STREAM)])
    bench.add("b")
    stream = await bench.open()
    assert stream.candidate.provider == "b"
    assert kinds(await collect(stream)) == kinds(whole())
    assert [each.failure for each in stream.attempts] == [failure, None]
    assert bench.in_flight() == 0


@pytest.mark.parametrize("script", [[], [preamble()], [finish()], [finish(), usage()]], ids=["empty", "role", "finish", "usage"])
async def test_a_stream_that_ends_without_its_end_fails_over(bench, script):
    bench.add("a", script)
    bench.add("b")
    stream = await bench.open()
    assert stream.candidate.provider == "b"
    assert bench.observer.ends[0] == "Truncated"
    await stream.aclose()


async def test_an_end_without_content_or_finish_reason_is_no_answer(bench):
    bench.add("a", [preamble(), usage(), done()])
    bench.add("b")
    stream = await bench.open()
    assert bench.observer.ends[0] == "BadResponse"
    assert (bench.providers["a"].open, bench.providers["a"].closed) == (0, 1)
    await stream.aclose()


async def test_a_complete_answer_without_content_is_an_answer(bench):
    bench.add("a", [preamble(), finish(), usage(), done()])
    stream = await bench.open()
    assert kinds(await collect(stream)) == [EventKind.PREAMBLE, EventKind.FINISH, EventKind.USAGE, EventKind.DONE]
    assert bench.observer.ends == ["succeeded"]
    assert bench.observer.attempts[0].finish_reason == "stop"


async def test_preambles_are_held_back_and_come_with_the_first_content(bench):
    bench.add("a", [preamble(), Wait(1), preamble() + content("x"), Wait(1), finish(), done()])
    stream = await bench.open()
    assert now() == 1001
    first, *rest = await collect(stream)
    assert [each.kind for each in first] == [EventKind.PREAMBLE, EventKind.PREAMBLE, EventKind.CONTENT]
    assert kinds(rest) == [EventKind.FINISH, EventKind.DONE]


async def test_what_is_held_back_is_bounded(bench):
    bench.add("a", [*[preamble()] * 1000, content(), finish(), done()])
    stream = await bench.open()
    first, *_ = await collect(stream)
    assert len(first) == MAX_HELD + 1
    assert first[-1].kind is EventKind.CONTENT


async def test_the_only_provider_is_tried_again_before_content(bench):
    provider = bench.add("a", [preamble(), fail(Failure.CONNECTION_LOST)], fail(Failure.SERVER_ERROR))
    stream = await bench.open(delay=0.1)
    assert len(stream.attempts) == 3
    assert 0 < provider.times[1] - provider.times[0] <= 0.1
    await stream.aclose()


async def test_a_stream_that_never_says_anything_is_ended_by_the_deadline(bench):
    bench.add("a", [preamble(), Wait()])
    with pytest.raises(ExecutionError) as caught:
        await bench.open(timeout=3)
    assert (caught.value.status, now(), bench.in_flight(), bench.providers["a"].open) == (504, 1003, 0, 0)


@pytest.mark.parametrize("failure", [Failure.INVALID_REQUEST, Failure.CONTENT_POLICY])
async def test_a_refusal_before_content_is_the_callers_and_closes_the_stream(bench, failure):
    bench.add("a", fail(failure, status=400))
    bench.add("b")
    with pytest.raises(ProviderError) as caught:
        await bench.open()
    assert (caught.value.status, len(caught.value.attempts), bench.providers["a"].open) == (400, 1, 0)


async def test_a_provider_that_fails_before_it_streams_at_all_fails_over(bench):
    provider = bench.add("a")
    bench.add("b")

    def broken(request, call):
        raise ValueError

    provider.stream = broken
    assert (await bench.open()).candidate.provider == "b"
    assert bench.observer.ends[0] == "BadResponse"


# --- after the commit point ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("failure", list(TREATMENTS))
async def test_a_failure_after_content_reaches_the_reader_and_nobody_takes_over(bench, failure):
    bench.add("a", [preamble(), content(), fail(failure, phase=Phase.BODY, retry_after=5)])
    other = bench.add("b")
    stream = await bench.open()
    seen = []
    with pytest.raises(ProviderError) as caught:
        await collect(stream, seen)
    assert kinds(seen) == [EventKind.PREAMBLE, EventKind.CONTENT]
    assert (caught.value.failure, caught.value.phase, other.calls) == (failure, Phase.STREAM, [])
    assert caught.value.attempts == stream.attempts
    assert stream.attempts[-1].failure is failure
    assert bench.observer.ends == [failure.value]
    assert (bench.in_flight(), bench.providers["a"].open) == (0, 0)


@pytest.mark.parametrize("failure", [failure for failure, treatment in TREATMENTS.items() if treatment.degraded])
async def test_a_providers_own_refusal_mid_stream_is_not_told_in_the_vendors_words(bench, failure):
    """It speaks of our key, our quota, our configuration: the reader could only take it for their own."""
    refusal = ProviderError(failure, "Incorrect API key provided", phase=Phase.BODY, status=401, type="invalid_request_error",
                            code="invalid_api_key", param="key")
    bench.add("a", [content(), refusal])
    with pytest.raises(ProviderError) as caught:
        await collect(await bench.open())
    told = caught.value
    assert (told.status, told.type, told.code, told.param) == (502, "server_error", ProviderError(failure, "", phase=Phase.BODY).code, None)
    assert "API key" not in told.message
    assert told.attempts[-1].message == refusal.message


@pytest.mark.parametrize("failure", UNHEALTHY)
async def test_a_failure_mid_stream_is_told_to_the_breaker(bench, failure):
    bench.add("a", always=[content(), fail(failure)], consecutive_failures=3)
    for _ in range(3):
        with pytest.raises(ProviderError):
            await collect(await bench.open())
    assert bench.state("a") == ("Unavailable", "BreakerOpen")


async def test_a_stream_that_is_cut_is_an_error_and_not_an_end(bench):
    """A truncated stream is never a success."""
    bench.add("a", [content(), finish()])
    stream = await bench.open()
    with pytest.raises(ProviderError) as caught:
        await collect(stream)
    assert (caught.value.failure, caught.value.phase) == (Failure.TRUNCATED, Phase.STREAM)
    assert bench.observer.ends == ["Truncated"]


async def test_the_deadline_ends_a_stream_that_goes_on_too_long(bench):
    bench.add("a", [content(), *[Wait(1), content()] * 100], consecutive_failures=1)
    stream = await bench.open(timeout=5.5)
    seen = []
    with pytest.raises(ProviderError) as caught:
        await collect(stream, seen)
    assert (len(seen), now(), caught.value.failure, caught.value.status) == (6, 1005.5, Failure.TIMEOUT, 504)
    assert bench.state("a") == ("Healthy", ""), "a long answer does not speak against a provider"
    assert bench.providers["a"].open == 0


async def test_a_reader_that_comes_back_after_the_deadline_gets_an_error(bench):
    bench.add("a")
    stream = await bench.open(timeout=5)
    assert await anext(stream)
    await asyncio.sleep(10)
    with pytest.raises(ProviderError) as caught:
        await anext(stream)
    assert caught.value.failure is Failure.TIMEOUT
    assert bench.in_flight() == 0


async def test_after_an_error_the_stream_is_over(bench):
    bench.add("a", [content(), fail(Failure.SERVER_ERROR)])
    stream = await bench.open()
    with pytest.raises(ProviderError):
        await collect(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await stream.aclose()
    assert bench.observer.ends == ["ServerError"]


async def test_a_defect_after_content_is_a_failure_of_the_stream(bench):
    bench.add("a", [content(), KeyError("prompt")])
    with pytest.raises(ProviderError) as caught:
        await collect(await bench.open())
    assert (caught.value.failure, caught.value.phase) == (Failure.BAD_RESPONSE, Phase.STREAM)


# --- the end ------------------------------------------------------------------------------------------------------
async def test_a_good_stream_is_booked_once_with_what_the_vendor_reported(bench):
    bench.add("a")
    stream = await bench.open()
    await collect(stream)
    await stream.aclose()
    (seen,) = bench.observer.attempts
    assert (seen.end, seen.model, seen.finish_reason, seen.usage) == ("succeeded", "vendor-model", "stop", USAGE)
    assert bench.in_flight() == 0


async def test_the_first_token_and_the_duration_are_measured(bench):
    bench.add("a", [Wait(1), preamble(), Wait(2), content(), Wait(4), finish(), done()])
    stream = await bench.open()
    assert stream.attempts[0].first_token == 3
    await collect(stream)
    assert (stream.attempts[0].first_token, stream.attempts[0].duration) == (3, 7)
    assert bench.observer.attempts[0].first == 3


async def test_one_batch_may_hold_everything(bench):
    bench.add("a", [preamble() + content() + finish() + usage() + done()])
    stream = await bench.open()
    assert len(await collect(stream)) == 1
    assert bench.observer.ends == ["succeeded"]


async def test_what_comes_after_the_end_is_not_read(bench):
    bench.add("a", [content(), finish(), done(), fail(Failure.SERVER_ERROR)])
    assert kinds(await collect(await bench.open()))[-1] is EventKind.DONE
    assert bench.observer.ends == ["succeeded"]


# --- closing ------------------------------------------------------------------------------------------------------
async def test_a_finish_reason_that_is_no_text_is_none(bench):
    """It goes into figures, spans and the cache's decisions; the vendor's event is passed on as it is."""
    bench.add("a", [content(), [event(EventKind.FINISH, choices=[{"index": 0, "finish_reason": {"because": 1}}])], done()])
    stream = await bench.open()
    assert len(await collect(stream)) == 3
    assert stream.finish_reason is None


async def test_closing_early_closes_the_vendors_stream_and_books_what_was_used(bench):
    provider = bench.add("a", [preamble(), *[content()] * 10, finish(), done()], limit=1)
    stream = await bench.open()
    await anext(stream)
    await anext(stream)
    assert bench.in_flight() == 1, "a stream holds its slot until it is closed"
    await stream.aclose()
    (seen,) = bench.observer.attempts
    assert (seen.end, seen.usage) == ("cancelled", Usage(input=8, output=2, estimated=True))
    assert (provider.closed, provider.open, bench.in_flight()) == (1, 0, 0)
    assert [batch async for batch in stream] == []


async def test_closing_early_books_a_usage_that_was_reported(bench):
    bench.add("a", [content() + usage(), content(), done()])
    stream = await bench.open()
    await stream.aclose()
    assert bench.observer.attempts[0].usage == USAGE


async def test_closing_a_stream_that_was_never_read_closes_it(bench):
    provider = bench.add("a")
    stream = await bench.open()
    await stream.aclose()
    await stream.aclose()
    assert (provider.closed, bench.observer.ends, bench.in_flight()) == (1, ["cancelled"], 0)


@pytest.mark.parametrize("closing", [Wait(), Stubborn(3600, swallows=0), fail(Failure.SERVER_ERROR), ValueError("x")])
async def test_a_provider_that_cannot_close_holds_nobody(bench, closing):
    provider = bench.add("a")
    provider.closing = closing
    stream = await bench.open()
    await stream.aclose()
    assert now() <= 1000 + CLOSE_SECONDS
    assert bench.in_flight() == 0


async def test_nothing_is_read_before_it_is_asked_for(bench):
    """Backpressure: a client that reads slowly slows the vendor."""
    provider = bench.add("a", [preamble(), content(), *[content()] * 100, done()])
    stream = await bench.open()
    await anext(stream)
    await asyncio.sleep(30)
    assert provider.read == 2
    await anext(stream)
    assert provider.read == 3
    await stream.aclose()


async def test_a_request_that_is_over_leaves_no_timer(bench):
    bench.add("a")
    await collect(await bench.open(timeout=1000))
    await bench.complete(timeout=1000)
    bench.providers["a"].always = [fail(Failure.INVALID_REQUEST)]
    for run in (bench.open, bench.complete):
        with pytest.raises(ProviderError):
            await run(timeout=1000)
    assert [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()] == []


# --- probes -------------------------------------------------------------------------------------------------------
async def test_a_probing_stream_closes_the_breaker_with_its_first_content(bench):
    """Otherwise everybody would wait for the end of one long answer."""
    primary = bench.add("a", fail(Failure.SERVER_ERROR), consecutive_failures=1, open_seconds=10)
    bench.add("b")
    await (await bench.open()).aclose()
    await asyncio.sleep(10)
    stream = await bench.open()
    assert bench.state("a") == ("Healthy", "")
    assert (await bench.open()).candidate.provider == "a"
    assert len(primary.calls) == 3
    await collect(stream)


async def test_a_probing_stream_that_is_cut_opens_it_again_at_once(bench):
    primary = bench.add("a", *[fail(Failure.SERVER_ERROR)] * 5, consecutive_failures=5, open_seconds=10)
    bench.add("b")
    for _ in range(5):
        await (await bench.open()).aclose()
    assert bench.state("a") == ("Unavailable", "BreakerOpen")
    primary.then([content(), fail(Failure.CONNECTION_LOST)])
    await asyncio.sleep(10)
    with pytest.raises(ProviderError):
        await collect(await bench.open())
    assert bench.state("a") == ("Unavailable", "BreakerOpen")


@pytest.mark.parametrize("kind", [EventKind.PREAMBLE, EventKind.USAGE])
async def test_pings_and_usage_are_no_content(bench, kind):
    bench.add("a", [[event(kind)], fail(Failure.SERVER_ERROR)])
    bench.add("b")
    assert (await bench.open()).candidate.provider == "b"
