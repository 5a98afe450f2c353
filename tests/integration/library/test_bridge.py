"""The bridge over real sockets: the documented calls, and what happens when something is wrong."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from decimal import Decimal

import pytest

from builders import until
from callers import alone
from fakes.vendor import FakeVendor
from stratarouter_runtime import (
    CompletedEvent,
    ConfigError,
    CoreRuntimeBridge,
    DeltaEvent,
    ErrorEvent,
    ExecutionError,
    LLMClientRegistry,
    MissingQueryError,
    PlanEvent,
    ProviderError,
    RequestError,
    RoutingDecision,
    RuntimeConfig,
    StrataError,
)

EXACT = {"type": "none"}


def config(**keywords: object) -> RuntimeConfig:
    """Exact cache only, so that no model is loaded."""
    return RuntimeConfig(**{"cache": {"embedder": EXACT}, **keywords})  # type: ignore[arg-type]


async def test_nobody_to_ask_is_an_error_that_lists_the_ways() -> None:
    """Told by the first call, and by ``async with``."""
    bridge = CoreRuntimeBridge()
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY.*LLMClientRegistry.*RuntimeConfig.load") as raised:
        await bridge.execute("billing", query="Where is my invoice?")
    assert raised.value.reason == "NoProvider"
    with pytest.raises(ConfigError):
        async with bridge:
            pass


async def test_the_environment_names_providers(vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the vendor's own SDK reads it."""
    monkeypatch.setenv("OPENAI_API_KEY", next(iter(vendor.api_keys)))
    monkeypatch.setenv("OPENAI_BASE_URL", vendor.base_url)
    async with CoreRuntimeBridge(config()) as bridge:
        result = await bridge.execute("billing", query="Where is my invoice?")
    assert (result.provider, result.route) == ("openai", "billing")


async def test_a_decision_without_a_question_is_an_error_that_names_the_ways(registry: LLMClientRegistry) -> None:
    """Before anybody is asked."""
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        with pytest.raises(MissingQueryError):
            await bridge.execute(RoutingDecision("billing", 0.9))
        with pytest.raises(MissingQueryError):
            await bridge.execute()


@pytest.mark.parametrize(("options", "param"), [
    ({"timeout": 0}, "timeout"), ({"timeout": float("nan")}, "timeout"), ({"timeout": "1"}, "timeout"), ({"similarity_threshold": 2}, "similarity_threshold"),
    ({"route": ""}, "route"), ({"max_age": -1}, "max_age"), ({"context": {"tenant": ""}}, "context.tenant"), ({"context": 3}, "context"),
    ({"messages": []}, "query")])
async def test_what_is_wrong_with_a_call_is_named(registry: LLMClientRegistry, options: dict[str, object], param: str) -> None:
    """As over HTTP."""
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        with pytest.raises(RequestError) as raised:
            await bridge.execute("billing", query="hello", **options)  # type: ignore[arg-type]
        assert raised.value.param == param


async def test_an_unknown_option_is_a_type_error(registry: LLMClientRegistry) -> None:
    """As of any function."""
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        with pytest.raises(TypeError, match="timout"):
            await bridge.execute("billing", query="hello", timout=3)  # type: ignore[call-arg]


async def test_a_closed_bridge_says_so(registry: LLMClientRegistry) -> None:
    """Whether or not it has been used; closing again does nothing."""
    used, unused = CoreRuntimeBridge(config(), registry=registry), CoreRuntimeBridge(config(), registry=registry)
    await used.execute("billing", query="hello")
    for bridge in (used, unused):
        await bridge.aclose()
        await bridge.aclose()
        with pytest.raises(ExecutionError, match="closed") as raised:
            await bridge.execute("billing", query="hello")
        assert raised.value.reason == "Closed"


async def test_the_result_tells_who_what_and_at_which_price(registry: LLMClientRegistry, vendor: FakeVendor) -> None:
    """The second time it is the cache's, for nothing; also right away."""
    bridge = CoreRuntimeBridge(config(), registry=registry)
    result = await bridge.execute(RoutingDecision("billing", 0.9), query="Where is my invoice?", context={"user_id": "u1"})
    assert result.response.startswith("You asked:")
    assert result.completion is not None
    assert result.completion["choices"][0]["message"]["content"] == result.response
    assert not result.cache_hit
    assert result.usage is not None
    assert result.usage.total > 0
    assert len(result.attempts) == 1
    assert result.execution_id.startswith("exec-")
    assert result.execution_id in repr(result)
    assert result.plan is not None
    assert (result.route, result.provider, result.plan.metadata) == ("billing", "openai", {"user_id": "u1"})
    again = await bridge.execute(RoutingDecision("billing", 0.9), query="Where is my invoice?", context={"user_id": "u2"})
    assert (again.cache_hit, again.cost_usd, again.attempts, again.response) == (True, Decimal(0), (), result.response)
    assert again.provider == "openai"
    assert vendor.record.total == 1
    await bridge.aclose()


async def test_tenants_have_caches_of_their_own(registry: LLMClientRegistry, vendor: FakeVendor) -> None:
    """The tenant is the context's."""
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        for tenant in ("a", "b", None, 3):
            result = await bridge.execute("x", query="Where is my invoice?", context={"tenant": tenant})
            assert not result.cache_hit
        assert (await bridge.execute("x", query="Where is my invoice?", context={"tenant": 3})).cache_hit
    assert vendor.record.total == 4


async def test_cache_control_is_the_callers(registry: LLMClientRegistry, vendor: FakeVendor) -> None:
    """``no_store`` neither looks nor stores, ``no_cache`` stores only, ``only_if_cached`` asks nobody."""
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        with pytest.raises(ExecutionError) as raised:
            await bridge.execute("x", query="hello", only_if_cached=True)
        assert raised.value.reason == "NotCached"
        assert vendor.record.total == 0
        await bridge.execute("x", query="hello", no_store=True)
        assert not (await bridge.execute("x", query="hello", no_cache=True)).cache_hit
        assert (await bridge.execute("x", query="hello", only_if_cached=True)).cache_hit
        assert not (await bridge.execute("x", query="hello", max_age=0)).cache_hit
    assert vendor.record.total == 3


async def test_a_failing_client_is_followed_by_the_next(registry: LLMClientRegistry, vendor: FakeVendor) -> None:
    """Which is asked for a model of its own."""
    vendor.script.fail("http_503")
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        result = await bridge.execute("x", query="hello")
    assert [each.outcome for each in result.attempts] == ["Overloaded", "Success"]
    assert (result.provider, result.model, result.cost_usd) == ("local", "meta-llama/Llama-3.1-8B-Instruct", Decimal(0))


async def test_an_error_tells_what_was_tried_and_of_which_execution(vendor: FakeVendor) -> None:
    """And holds no key."""
    vendor.script.fail("http_500", times=9)
    async with CoreRuntimeBridge(config(max_retries=1, retry_delay_ms=1), registry=alone(vendor)) as bridge:
        with pytest.raises(ExecutionError) as raised:
            await bridge.execute("x", query="hello")
    assert len(raised.value.attempts) == 2
    assert raised.value.execution_id.startswith("exec-")
    assert next(iter(vendor.api_keys)) not in str(raised.value)


async def test_a_named_model_is_asked_of_the_first_client_even_where_it_lists_others(registry: LLMClientRegistry, vendor: FakeVendor) -> None:
    """What there is, the vendor knows."""
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        result = await bridge.execute("x", request={"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]})
    assert vendor.record.last.model == "gpt-4o"
    assert result.provider == "openai"


async def test_a_timeout_is_the_callers_to_shorten(registry: LLMClientRegistry, vendor: FakeVendor, local: FakeVendor) -> None:
    """All within it."""
    vendor.script.fail("black_hole", times=9)
    local.script.fail("black_hole", times=9)
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        with pytest.raises(StrataError) as raised:
            await bridge.execute("x", query="hello", timeout=0.2)
    assert raised.value.status == 504


async def test_a_task_that_is_cancelled_ends_the_vendors_call(registry: LLMClientRegistry, vendor: FakeVendor) -> None:
    """And leaves the bridge as it was."""
    vendor.script.fail("black_hole")
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        asking = asyncio.create_task(bridge.execute("x", query="hello"))
        await until(lambda: vendor.record.total == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await bridge.execute("x", query="hello")).response


async def test_first_uses_at_once_start_it_once(registry: LLMClientRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many."""
    from stratarouter_runtime.library import bridge as module

    gathered = []
    gather = module.gather
    monkeypatch.setattr(module, "gather", lambda *given: gathered.append(1) or gather(*given))
    bridge = CoreRuntimeBridge(config(), registry=registry)
    results = await asyncio.gather(*(bridge.execute("x", query=f"question {number}") for number in range(8)))
    assert len({each.execution_id for each in results}) == 8
    assert gathered == [1]
    await bridge.aclose()


async def test_a_first_use_that_is_cancelled_leaves_the_next_one_to_start(registry: LLMClientRegistry) -> None:
    """Nothing of it stays open."""
    bridge = CoreRuntimeBridge(config(), registry=registry)
    first = asyncio.create_task(bridge.execute("x", query="hello"))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await bridge.execute("x", query="hello")).response
    await bridge.aclose()


def test_each_asyncio_run_starts_it_anew_and_closes_it() -> None:
    """A script that never closes: its loop's end does, so that nothing is left open and what was to be recorded is."""
    closed: list[object] = []

    async def asking(bridge: CoreRuntimeBridge) -> tuple[str, object]:
        result = await bridge.execute("x", query="hello")
        async for event in bridge.stream("x", query="hello again"):
            if isinstance(event, DeltaEvent):
                break
        running = bridge._door._lazily.value
        assert running is not None
        running.stack.callback(closed.append, running)
        return result.response, running

    with vendor_in_a_thread() as vendor:
        bridge = CoreRuntimeBridge(config(), registry=alone(vendor))
        (said, first), (again, second) = asyncio.run(asking(bridge)), asyncio.run(asking(bridge))
        assert said == again
        assert closed == [first, second]
        assert first is not second
        del bridge, first, second
        gc.collect()


async def test_a_bridge_that_is_dropped_closes_itself(vendor: FakeVendor) -> None:
    """In a notebook, where a cell is run again."""
    closed = asyncio.Event()
    bridge = CoreRuntimeBridge(config(), registry=alone(vendor))
    await bridge.execute("x", query="hello")
    running = bridge._door._lazily.value
    assert running is not None
    running.stack.callback(closed.set)
    del bridge, running
    gc.collect()
    await asyncio.wait_for(closed.wait(), 10)


@contextmanager
def vendor_in_a_thread() -> Iterator[FakeVendor]:
    """A vendor that outlives the test's own event loops."""
    started: Future[tuple[FakeVendor, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        async with FakeVendor() as vendor:
            stop = asyncio.Event()
            started.set_result((vendor, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    vendor, loop, stop = started.result(10)
    try:
        yield vendor
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


async def test_another_event_loop_at_the_same_time_is_refused(registry: LLMClientRegistry) -> None:
    """Connections belong to one."""
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        with pytest.raises(ExecutionError, match="another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(bridge.execute("x", query="hello")))


async def test_a_client_that_is_registered_later_counts(registry: LLMClientRegistry, local: FakeVendor) -> None:
    """From the next call on."""
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        await bridge.execute("x", query="hello")
        registry.unregister("openai")
        assert (await bridge.execute("x", query="hello again")).provider == "local"


# --- streams --------------------------------------------------------------------------------------------------------
async def test_a_stream_is_plan_deltas_and_result(registry: LLMClientRegistry) -> None:
    """And from the cache the second time."""
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        for hit in (False, True):
            events = [event async for event in bridge.stream("billing", query="hello", context={"user_id": "u"})]
            assert isinstance(events[0], PlanEvent)
            assert events[0].plan.route == "billing"
            deltas = [event.text for event in events if isinstance(event, DeltaEvent)]
            last = events[-1]
            assert isinstance(last, CompletedEvent)
            assert "".join(deltas) == last.result.response
            assert last.result.cache_hit is hit
            assert last.result.finish_reason == "stop"
            assert len(events) == len(deltas) + 2


async def test_what_fails_before_the_first_event_is_raised(vendor: FakeVendor) -> None:
    """As ``execute`` raises it."""
    vendor.script.fail("http_400")
    async with CoreRuntimeBridge(config(), registry=alone(vendor)) as bridge:
        with pytest.raises(MissingQueryError):
            await anext(bridge.stream("x"))
        stream = bridge.stream("x", query="hello")
        with pytest.raises(ProviderError):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_an_answer_that_breaks_off_ends_with_an_error_event(vendor: FakeVendor) -> None:
    """``text`` and ``result`` raise it, so that half an answer never looks like a whole one."""
    async with CoreRuntimeBridge(config(), registry=alone(vendor)) as bridge:
        vendor.script.fail("cut", times=3)
        events = [event async for event in bridge.stream("x", query="hello")]
        assert isinstance(events[-1], ErrorEvent)
        assert events[-1].error.reason
        with pytest.raises(StrataError):
            async for _ in bridge.stream("x", query="hello").text():
                pass
        with pytest.raises(StrataError):
            await bridge.stream("x", query="hello").result()


@pytest.mark.parametrize("how", ["break", "drop", "close", "leave", "cancel", "bridge"])
async def test_stopping_early_ends_the_vendors_call(how: str, vendor: FakeVendor) -> None:
    """However a reader stops; the place it took is free again."""
    vendor.script.fail("stall", times=1)
    async with CoreRuntimeBridge(config(), registry=alone(vendor)) as bridge:
        stream = bridge.stream("x", query="hello")
        await anext(stream)
        running = bridge._door._lazily.value
        assert running is not None
        health = running.runtime.health
        assert health.in_flight(("openai", "openai")) == 1
        if how == "break":
            async for _ in stream:
                break
            del stream
        elif how == "drop":
            del stream
        elif how == "close":
            await stream.aclose()
        elif how == "leave":
            async with stream:
                pass
        elif how == "cancel":
            async def read() -> None:
                async for _ in stream:
                    pass

            reading = asyncio.create_task(read())
            await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        else:
            await bridge.aclose()
        await until(lambda: health.in_flight(("openai", "openai")) == 0)


# --- explaining, telemetry ------------------------------------------------------------------------------------------
async def test_a_plan_explains_itself_and_calls_nobody(registry: LLMClientRegistry, vendor: FakeVendor) -> None:
    """In words and as JSON."""
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        plan = await bridge.plan("billing", query="hello", context={"user_id": "u"}, timeout=3)
    assert vendor.record.total == 0
    assert plan.plan is not None
    assert "1. openai/openai/gpt-4o-mini" in str(plan)
    assert plan.to_document()["allowed"] is True
    assert plan.plan.timeout == 3


async def test_figures_are_the_bridges_own(registry: LLMClientRegistry) -> None:
    """In a registry of its own, and none where metrics are off."""
    import prometheus_client

    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        await bridge.execute("x", query="hello")
        assert 'stratarouter_runtime_requests_total{provider="openai"' in bridge.metrics()
        assert "stratarouter" not in prometheus_client.generate_latest().decode()
    async with CoreRuntimeBridge(config(metrics_enabled=False), registry=registry) as bridge:
        await bridge.execute("x", query="hello")
        assert bridge.metrics() == ""


async def test_the_apps_logging_stays_as_it_is(registry: LLMClientRegistry) -> None:
    """Except for the level of our own loggers where one was given."""
    import logging

    root, ours = logging.getLogger(), logging.getLogger("stratarouter_runtime")
    before = (root.level, list(root.handlers), ours.level, list(ours.handlers))
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        await bridge.execute("x", query="hello")
        assert (root.level, list(root.handlers), ours.level, list(ours.handlers)) == before
    try:
        async with CoreRuntimeBridge(config(log_level="error"), registry=registry):
            assert ours.level == logging.ERROR
            assert (root.level, list(root.handlers)) == before[:2]
    finally:
        ours.setLevel(before[2])


async def test_an_apps_own_span_is_the_parent(vendor: FakeVendor) -> None:
    """And reaches the vendor, whether or not the bridge traces."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("app")
    async with CoreRuntimeBridge(config(), registry=alone(vendor)) as bridge:
        with tracer.start_as_current_span("app's own") as span:
            await bridge.execute("x", query="hello")
        assert f"{span.get_span_context().trace_id:032x}" in vendor.record.last.headers["traceparent"]
        await bridge.execute("x", query="without one")
        assert "traceparent" not in vendor.record.last.headers
    assert not isinstance(trace.get_tracer_provider(), TracerProvider)


async def test_a_judged_answer_is_counted_and_a_wrong_one_is_asked_again(registry: LLMClientRegistry) -> None:
    """By its own tenant only."""
    async with CoreRuntimeBridge(config(), registry=registry) as bridge:
        result = await bridge.execute("x", query="hello", context={"tenant": "a"})
        with pytest.raises(RequestError) as raised:
            await bridge.feedback(result.execution_id, correct=False)
        assert raised.value.reason == "ExecutionNotFound"
        for identity, correct in ((result.execution_id, "no"), (result.execution_id, 0), ("", False), ("x" * 129, False), (7, False)):
            with pytest.raises(RequestError) as raised:
                await bridge.feedback(identity, correct=correct, context={"tenant": "a"})  # type: ignore[arg-type]
            assert raised.value.status == 400
        taken = await bridge.feedback(result.execution_id, correct=False, context={"tenant": "a"})
        assert (taken.counted, taken.evicted) == (True, True)
        assert not (await bridge.execute("x", query="hello", context={"tenant": "a"})).cache_hit
