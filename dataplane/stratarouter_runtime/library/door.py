"""The in-process door: from understood calls to results, over a ``Runtime`` that the first call starts.

Invariants: every call is counted, traced, logged and recorded once, however it ends, as over HTTP; whoever goes away
(a task that is cancelled, a stream that is dropped) ends the provider's call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field

from stratarouter_runtime.asking import Asked
from stratarouter_runtime.bridge.explanation import Explanation
from stratarouter_runtime.feedback import FeedbackResult
from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.errors import ExecutionError, StrataError
from stratarouter_runtime.model.execution import Execution
from stratarouter_runtime.model.request import Caller, Directives, EmbeddingsRequest
from stratarouter_runtime.model.response import ChatResponse, EmbeddingsResponse
from stratarouter_runtime.model.routing import CoreRouter
from stratarouter_runtime.results import ExecutionResult, delta_of, result_of
from stratarouter_runtime.runtime import Runtime
from stratarouter_runtime.telemetry import Telemetry, surrounding

from .events import CompletedEvent, DeltaEvent, PlanEvent
from .lazily import Lazily
from .resources import Resources
from .stream import ExecutionStream, Put

logger = logging.getLogger(__name__)

CALLER_LEFT = 499
"""As HTTP's status for a client that went away; only metrics, logs and state see it."""
SLACK_SECONDS = 5.0
"""How much longer than its deadline an answer waits for an app that does not read it."""

Decide = Callable[[Asked], Awaitable[RoutingDecision | None]]
"""Decides where a question goes before the runtime would."""


@dataclass(slots=True)
class _Running:
    """What the first call has started."""

    runtime: Runtime
    telemetry: Telemetry
    stack: AsyncExitStack
    version: int
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def own(self, task: asyncio.Task[None]) -> None:
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class Door:
    """Runs calls. ``resources`` tells what to run them on (it may read files), ``version`` changes whenever that would.

    ``core_router`` and ``decide`` decide where questions without a decision go.
    """

    def __init__(self, what: str, resources: Callable[[], Resources], *, version: Callable[[], int] = lambda: 0,
                 core_router: CoreRouter | None = None, decide: Decide | None = None) -> None:
        self._resources = resources
        self._version = version
        self._core_router = core_router
        self._own_decide = decide
        self._lazily = Lazily(what, self._start, _stop)

    async def start(self) -> None:
        """Start what the first call would. Raises ``ConfigError``."""
        await self._running()

    async def aclose(self) -> None:
        """End open streams, write what is to be kept, close all connections."""
        await self._lazily.aclose()

    def metrics(self) -> str:
        """What Prometheus would scrape, as text; empty before the first call and where metrics are off."""
        running = self._lazily.value
        if running is None or not running.runtime.parts.snapshot.runtime.observability.metrics:
            return ""
        runtime = running.runtime
        return running.telemetry.render(cache=runtime.cache_stats(), state=runtime.state_stats())[0].decode()

    async def complete(self, asked: Asked, caller: Caller, directives: Directives) -> ExecutionResult:
        """A whole answer; raises ``StrataError``."""
        running = await self._running()
        with _telling(running, _begun(running, asked, caller, directives), "library") as execution:
            await self._decide(asked, execution)
            response = await running.runtime.complete(execution, asked.request)
            if not isinstance(response, ChatResponse):  # pragma: no cover - a chat request is answered by a chat response
                raise TypeError("not a chat response")
        # Lets the storing of the answer begin, so that the same question asked right afterwards finds it.
        await asyncio.sleep(0)
        return result_of(execution, response)

    async def embed(self, request: EmbeddingsRequest, caller: Caller, directives: Directives) -> tuple[Execution, EmbeddingsResponse]:
        """Vectors; raises ``StrataError``."""
        running = await self._running()
        with _telling(running, running.runtime.begin(caller, directives), "library-embeddings") as execution:
            response = await running.runtime.complete(execution, request)
            if not isinstance(response, EmbeddingsResponse):  # pragma: no cover - as asked
                raise TypeError("not an embeddings response")
        return execution, response

    async def feedback(self, caller: Caller, execution_id: str, *, correct: bool) -> FeedbackResult:
        """What is said of an answer; raises ``StrataError``."""
        return await (await self._running()).runtime.feedback(caller, execution_id, correct=correct)

    def stream(self, ask: Callable[[], tuple[Asked, Caller, Directives]]) -> ExecutionStream:
        """An answer as events; what was asked is understood when the first one is."""

        async def work(put: Put) -> None:
            asked, caller, directives = ask()
            running = await self._running()
            task = asyncio.current_task()
            if task is not None:
                running.own(task)
            await self._streamed(running, asked, _begun(running, asked, caller, directives), put)

        return ExecutionStream(work)

    async def explain(self, asked: Asked, caller: Caller, directives: Directives) -> Explanation:
        """What would be done and why; no provider is called."""
        running = await self._running()
        execution = _begun(running, asked, caller, directives)
        await self._decide(asked, execution)
        await running.runtime.route(execution, asked.request)
        return running.runtime.explain(execution, asked.request)

    async def _streamed(self, running: _Running, asked: Asked, begun: Execution, put: Put) -> None:
        text: list[str] = []
        with _telling(running, begun, "library") as execution:
            await self._decide(asked, execution)
            try:
                async with running.runtime.stream(execution, asked.request) as reply:
                    plan = execution.plan
                    if plan is None:  # pragma: no cover - a stream has a plan
                        raise RuntimeError("a stream without a plan")
                    async with asyncio.timeout(plan.timeout + SLACK_SECONDS):
                        await put(PlanEvent(plan))
                        async for batch in reply:
                            for event in batch:
                                if delta := delta_of(event.body):
                                    said = delta.get("content")
                                    text.append(said if isinstance(said, str) else "")
                                    await put(DeltaEvent(text[-1], delta))
                    whole = reply.response()
            except TimeoutError:
                raise ExecutionError("DeadlineExceeded", "The answer was not read in time.", status=504) from None
        await put(CompletedEvent(result_of(execution, whole, "".join(text) if whole is None else None)))

    async def _decide(self, asked: Asked, execution: Execution) -> None:
        if self._own_decide is not None and asked.decision is None and execution.directives.route is None:
            execution.decision = await self._own_decide(asked)

    async def _running(self) -> _Running:
        running = await self._lazily.get()
        if running.version != self._version():
            async with running.changing:
                version = self._version()
                if running.version != version:
                    await _apply(running, await asyncio.to_thread(self._resources))
                    running.version = version
        return running

    async def _start(self) -> _Running:
        version = self._version()
        resources = await asyncio.to_thread(self._resources)
        telemetry = Telemetry(embedded=True)
        runtime = Runtime(telemetry.observer, core_router=self._core_router, dropped=telemetry.state_dropped)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(telemetry.aclose)
            stack.push_async_callback(runtime.aclose)
            running = _Running(runtime, telemetry, stack, version)
            await _apply(running, resources)
            running.stack = stack.pop_all()
            return running


async def _apply(running: _Running, resources: Resources) -> None:
    await running.runtime.apply(resources.snapshot, resources.secrets)
    await running.telemetry.configure(resources.snapshot)
    for warning in resources.warnings:
        logger.warning(warning)


async def _stop(running: _Running) -> None:
    for task in list(running.tasks):
        task.cancel()
    await asyncio.gather(*running.tasks, return_exceptions=True)
    await running.stack.aclose()


def _begun(running: _Running, asked: Asked, caller: Caller, directives: Directives) -> Execution:
    execution = running.runtime.begin(caller, directives)
    execution.decision, execution.context = asked.decision, asked.context
    return execution


@contextmanager
def _telling(running: _Running, execution: Execution, operation: str) -> Iterator[Execution]:
    """Around all the work of one execution: how it ends is told once, and an error says which execution it ended."""
    try:
        with running.telemetry.request(execution, surrounding(), operation) as scope:
            try:
                yield execution
                scope.status = 200
            except StrataError as error:
                error.execution_id = execution.id
                execution.error, scope.status = error, error.status
                raise
            except asyncio.CancelledError:
                scope.status = CALLER_LEFT
                raise
            finally:
                running.runtime.record(execution, scope.status)
    finally:
        # It has been told; an error and the request that it ended must not keep each other in memory.
        execution.error = None
