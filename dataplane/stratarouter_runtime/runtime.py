"""The composition root: one data plane, and the order in which a request passes its rooms.

parse → authenticate → **route → plan → exact cache → semantic cache → engine → post-process** → reply: the bold part is here,
the rest belongs to the front doors. Each step takes a value and returns a value; the request's state is one
``Execution`` owned by its task.

Invariants: a request runs on the parts it began with, whatever is reloaded meanwhile, and those are closed only when
their last request has left; only complete, successful answers are stored, after the reply; every background task is
owned here, bounded in number, and cancelled with the runtime.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets as entropy
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from .assembly import Assembler, Parts
from .bridge.explanation import Explanation
from .config import AUTO_MODEL, Secrets, Snapshot
from .engine import Engine, Health, ProviderState
from .feedback import Feedback, FeedbackResult
from .model.cache import CacheEntry, CacheKey, Hit, Miss
from .model.decision import RoutingDecision
from .model.errors import ExecutionError, RequestError, StrataError
from .model.execution import Execution
from .model.plan import Attempt, Outcome, Plan
from .model.provider import ExecutionObserver
from .model.request import Caller, ChatRequest, Directives, Request
from .model.response import ChatResponse, Response
from .model.routing import CoreRouter
from .recording import Recorder
from .reply import LiveReply, ReplayedReply, Reply, replayed_response
from .routing import RoutingUnavailable
from .state import StateUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_BACKGROUND = 1_000
"""Stores waiting at once; beyond it an answer is not stored, because answering comes first."""

FIND_SECONDS = 10.0
"""How long one look at an execution may take."""


class Runtime:
    """One data plane. ``observer`` is told of attempts, ``dropped(count)`` of records that state could not keep; ``clock`` is
    monotonic seconds, ``wall`` Unix seconds. ``core_router`` routes requests for the model ``auto``, instead of the
    configuration's utterances.
    """

    def __init__(self, observer: ExecutionObserver, assembler: Assembler | None = None, *, core_router: CoreRouter | None = None,
                 dropped: Callable[[int], None] = lambda _: None,
                 clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self.health = Health(clock=clock, observer=observer)
        self._assembler = assembler or Assembler(self.health, observer, core_router=core_router, dropped=dropped)
        self._recorder = Recorder(clock=clock, wall=wall, dropped=dropped)
        self._feedback = Feedback(observer)
        self._parts: Parts | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._retiring: dict[asyncio.Task[None], Parts] = {}

    # --- life ---------------------------------------------------------------------------------------------------
    async def apply(self, snapshot: Snapshot, secrets: Secrets) -> None:
        """Take a configuration: build all its parts, then swap once. A failure changes nothing."""
        previous = self._parts
        parts = await self._assembler.assemble(snapshot, secrets, previous)
        self._parts = parts
        configured = {(pool, each.name): each for pool, each in snapshot.providers()}
        self.health.configure(configured, without_credentials=configured.keys() - parts.providers)
        for key in parts.renewed_credentials:
            self.health.forgive(key)
        if previous is not None:
            retiring = asyncio.get_running_loop().create_task(previous.retire(), name="retire")
            self._retiring[retiring] = previous
            retiring.add_done_callback(self._retired)

    async def aclose(self) -> None:
        """Stop all background work and close all connections."""
        for task in self._background:
            task.cancel()
        # Not cancelled: what they hold may be about to write what waits.
        for parts in self._retiring.values():
            parts.hurry()
        await asyncio.gather(*self._background, *self._retiring, return_exceptions=True)
        if self._parts is not None:
            await self._parts.close()
            self._parts = None

    @property
    def parts(self) -> Parts:
        """What is in force; raises ``ExecutionError`` before the first configuration."""
        if self._parts is None:
            raise ExecutionError("NotConfigured", "No configuration has been loaded yet.", status=503, retry_after=1)
        return self._parts

    # --- a request's way -----------------------------------------------------------------------------------------
    def begin(self, caller: Caller, directives: Directives, request_id: str = "", *, started: float | None = None) -> Execution:
        """The state of a new request; ``started`` where it began before it was understood."""
        identity = entropy.token_hex(12)
        return Execution(id=f"exec-{identity}", request_id=request_id or f"req-{identity}",
                         started=self._clock() if started is None else started, caller=caller, directives=directives)

    async def complete(self, execution: Execution, request: Request) -> Response:
        """A complete answer; raises ``StrataError``."""
        parts = self.parts
        with parts:
            execution.request = request
            await self._route(parts, execution, request)
            plan = self._plan(parts, execution, request)
            key = parts.cache_key(plan)
            found = await self._look_up(parts, execution, plan, key)
            if isinstance(found, Hit):
                self._feedback.remember(execution, key, parts.cache)
                return replayed_response(found.entry, request)
            began = self._clock()
            outcome = await self._execute(parts.engine, plan, execution)
            execution.stages["upstream"] = self._clock() - began
            self._book(execution, outcome)
            response: Response = outcome.response
            self._feedback.remember(execution, key, parts.cache)
            self._store(parts, execution, key, response)
            execution.stages["post"] = self._clock() - began - execution.stages["upstream"]
            return response

    @asynccontextmanager
    async def stream(self, execution: Execution, request: ChatRequest) -> AsyncIterator[Reply]:
        """An answer as batches of events, from its first content on; leaving the context ends the vendor's call."""
        parts = self.parts
        with parts:
            execution.request = request
            await self._route(parts, execution, request)
            plan = self._plan(parts, execution, request)
            key = parts.cache_key(plan)
            found = await self._look_up(parts, execution, plan, key)
            if isinstance(found, Hit):
                self._feedback.remember(execution, key, parts.cache)
                yield ReplayedReply(found.entry, request)
                return
            began = self._clock()
            source = await self._tried(execution, partial(parts.engine.open_stream, plan, execution.started + plan.timeout))
            execution.stages["upstream-ttfb"] = self._clock() - began
            execution.candidate, execution.attempts = source.candidate, source.attempts
            self._feedback.remember(execution, key, parts.cache)
            execution.stored = self._may_store(execution, key)
            trail = self._recorder.follow(parts.state, execution, parts.snapshot.runtime.state.checkpoint_interval)
            reply = LiveReply(source, request, keep=execution.stored, trail=trail)
            try:
                yield reply
            finally:
                try:
                    await reply.aclose()
                finally:
                    execution.stages["upstream"] = self._clock() - began
                    self._finish_stream(parts, execution, key, reply)

    async def route(self, execution: Execution, request: Request) -> None:
        """Decide where a request goes that leaves it to the runtime: ``execution.decision`` is set, for ``explain``.

        ``complete`` and ``stream`` do this by themselves. Raises ``RoutingUnavailable``; with a default route the decision is
        for that one instead.
        """
        parts = self.parts
        with parts:
            await self._route(parts, execution, request)

    def record(self, execution: Execution, status: int) -> None:
        """Keep what became of an execution; ``status`` as HTTP has it, 499 where its caller went away.

        The last step of every execution, whatever its door and however it ended, and to be called once. Neither waits nor
        raises. What was reloaded meanwhile counts: the record goes where records go now.
        """
        if self._parts is not None and self._parts.state is not None:
            self._recorder.record(self._parts.state, execution, status)

    async def feedback(self, caller: Caller, execution_id: str, *, correct: bool) -> FeedbackResult:
        """Take what a caller says of an answer; a wrong one leaves the cache on every pod, for good.

        Raises ``RequestError`` 404 for an execution that is unknown or another tenant's, ``ExecutionError`` 503 while the
        cache does not answer: send it again then.
        """
        parts = self.parts
        with parts:
            return await self._feedback.take(caller, execution_id, correct=correct, cache=parts.cache)

    def explain(self, execution: Execution, request: Request) -> Explanation:
        """What would be done with a request and why; nobody is called and nothing is spent."""
        return self.parts.planner.explain(request, execution.caller, execution.directives, decision=execution.decision,
                                          context=execution.context)

    def models(self) -> list[str]:
        """What a caller may ask for."""
        parts = self.parts
        return parts.planner.models(routable=parts.routing is not None)

    def cache_stats(self) -> dict[str, Any]:
        """The cache's figures, for the platform port; empty without a cache."""
        return self._parts.cache.stats() if self._parts is not None and self._parts.cache is not None else {}

    def state_stats(self) -> dict[str, Any]:
        """State's figures, for the platform port; empty where nothing is recorded."""
        return self._parts.state.stats() if self._parts is not None and self._parts.state is not None else {}

    async def execution(self, execution_id: str) -> dict[str, Any]:
        """What is known of an execution, as JSON; raises ``StrataError``: 404 where nothing is, 503 where nobody can tell now."""
        parts = self.parts
        with parts:
            if parts.state is None:
                raise RequestError("StateDisabled", "Executions are not recorded (state.backend is none).", status=404)
            try:
                async with asyncio.timeout(FIND_SECONDS):
                    found = await parts.state.find(execution_id)
            except (StateUnavailable, TimeoutError):
                raise ExecutionError("StateUnavailable", "The state's back end does not answer; try again later.", status=503,
                                     retry_after=5) from None
        if found is None:
            raise RequestError("ExecutionNotFound", "Nothing is known of such an execution.", status=404)
        return found

    def provider_states(self) -> list[ProviderState]:
        """Each provider's health, for the platform port."""
        return self.health.states()

    # --- steps ---------------------------------------------------------------------------------------------------
    async def _route(self, parts: Parts, execution: Execution, request: Request) -> None:
        if (parts.routing is None or execution.decision is not None or execution.directives.route is not None
                or not isinstance(request, ChatRequest) or request.model != AUTO_MODEL):
            return
        began, config = self._clock(), parts.snapshot.runtime
        deadline = execution.started + min(config.execution.timeout_seconds, execution.directives.timeout or math.inf)
        try:
            execution.decision = await parts.routing.decide(request, within=deadline - began)
        except RoutingUnavailable as error:
            if config.default_route is None:
                raise
            execution.decision = RoutingDecision(None, reason=error.why)
        finally:
            execution.stages["routing"] = self._clock() - began

    def _plan(self, parts: Parts, execution: Execution, request: Request) -> Plan:
        began = self._clock()
        plan = parts.planner.plan(request, execution.caller, execution.directives, decision=execution.decision,
                                  context=execution.context)
        execution.plan = plan
        execution.stages["policy"] = self._clock() - began
        return plan

    async def _look_up(self, parts: Parts, execution: Execution, plan: Plan, key: CacheKey | Miss | None) -> Hit | Miss | None:
        began = self._clock()
        control = execution.directives.cache
        found: Hit | Miss | None = None
        if isinstance(key, Miss):
            found = key
        elif key is not None:
            found = Miss("bypass") if control.no_cache else await self._ask_cache(parts, execution, plan, key)
        execution.cached = found
        execution.stages["cache"] = self._clock() - began
        if isinstance(found, Hit):
            self._book_hit(execution, found)
        elif control.only_if_cached:
            raise ExecutionError("NotCached", "The request allows only a cached answer and there is none.", status=504)
        return found

    async def _ask_cache(self, parts: Parts, execution: Execution, plan: Plan, key: CacheKey) -> Hit | Miss:
        cache, directives, terms = parts.cache, execution.directives, plan.cache
        if cache is None or terms is None:
            return Miss("disabled")
        found = await cache.lookup_exact(key, max_age=directives.cache.max_age)
        if isinstance(found, Hit) or key.text is None or parts.embedder is None:
            return self._admitted(parts, plan, found)
        threshold = parts.embedder.threshold if terms.threshold is None else terms.threshold
        found = await cache.lookup_semantic(key, threshold=max(threshold, directives.similarity_threshold or 0),
                                            vector=plan.vector if directives.vector is None else directives.vector,
                                            max_age=directives.cache.max_age)
        return self._admitted(parts, plan, found)

    def _admitted(self, parts: Parts, plan: Plan, found: Hit | Miss) -> Hit | Miss:
        """A cached answer is given only where the policy would let its provider answer now."""
        if isinstance(found, Miss):
            return found
        entry = found.entry
        refused = parts.planner.readmits(plan, provider=entry.provider, model=entry.model, region=entry.region)
        return found if refused is None else Miss("policy", refused.rule, found.score)

    async def _execute(self, engine: Engine, plan: Plan, execution: Execution) -> Outcome[Any]:
        deadline = execution.started + plan.timeout
        if plan.family == "embeddings":
            return await self._tried(execution, partial(engine.embed, plan, deadline))
        return await self._tried(execution, partial(engine.complete, plan, deadline))

    async def _tried(self, execution: Execution, work: Callable[[list[Attempt]], Awaitable[T]]) -> T:
        """Wait for the engine; what it tried in vain is kept, also where the caller leaves."""
        tried: list[Attempt] = []
        try:
            return await work(tried)
        except BaseException as error:
            execution.attempts = error.attempts if isinstance(error, StrataError) else tuple(tried)
            raise

    def _book(self, execution: Execution, outcome: Outcome[Any]) -> None:
        response = outcome.response
        execution.candidate, execution.attempts = outcome.candidate, outcome.attempts
        execution.model, execution.usage = response.model, response.usage
        if isinstance(response, ChatResponse):
            execution.finish_reason = response.finish_reason
        self._price(execution)

    def _book_hit(self, execution: Execution, hit: Hit) -> None:
        execution.model = hit.entry.model
        execution.cost = Decimal(0)
        execution.saved = None if hit.entry.cost_usd is None else Decimal(hit.entry.cost_usd)

    def _price(self, execution: Execution) -> None:
        candidate, usage = execution.candidate, execution.usage
        if candidate is not None and candidate.rate is not None and usage is not None:
            execution.cost = candidate.rate.cost(usage)

    def _finish_stream(self, parts: Parts, execution: Execution, key: CacheKey | Miss | None, reply: LiveReply) -> None:
        source = reply.source
        execution.attempts = source.attempts
        execution.model, execution.usage, execution.finish_reason = source.model, source.usage, source.finish_reason
        self._price(execution)
        response = reply.response()
        if response is not None:
            self._store(parts, execution, key, response)

    # --- storing -------------------------------------------------------------------------------------------------
    def _may_store(self, execution: Execution, key: CacheKey | Miss | None) -> bool:
        plan, candidate = execution.plan, execution.candidate
        if not isinstance(key, CacheKey) or plan is None or candidate is None:
            return False
        # A fallback's answer would be served as the primary's from then on.
        return candidate.model == plan.primary.model

    def _store(self, parts: Parts, execution: Execution, key: CacheKey | Miss | None, response: Response) -> None:
        execution.stored = self._may_store(execution, key) and _is_whole(response) and len(self._background) < MAX_BACKGROUND
        if not execution.stored or not isinstance(key, CacheKey):
            return
        entry = self._entry(execution, key, response)
        vector = execution.cached.vector if isinstance(execution.cached, Miss) else None
        given = execution.plan.vector if execution.plan is not None else None
        # A decision's, where no look-up took it.
        self._spawn(self._keep(parts, key, entry, given if vector is None else vector))

    async def _keep(self, parts: Parts, key: CacheKey, entry: CacheEntry, vector: Any) -> None:
        if parts.cache is not None:
            await parts.cache.store(key, entry, vector=vector)

    def _entry(self, execution: Execution, key: CacheKey, response: Response) -> CacheEntry:
        plan, candidate, usage = execution.plan, execution.candidate, execution.usage
        if plan is None or candidate is None or plan.cache is None:  # pragma: no cover - _may_store has checked it
            raise RuntimeError("nothing to store")
        return CacheEntry(
            partition=key.partition, exact=key.exact, body=response.raw, pool=candidate.pool, provider=candidate.provider,
            model=candidate.model, region=candidate.region, created=self._wall(), ttl=plan.cache.ttl_seconds, text=key.text,
            input_tokens=usage.input if usage else 0, output_tokens=usage.output if usage else 0,
            cost_usd=None if execution.cost is None else format(execution.cost, "f"), route=plan.route, tenant=plan.tenant)

    def _retired(self, task: asyncio.Task[None]) -> None:
        del self._retiring[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("parts of an earlier configuration could not be closed", extra={"error": type(error).__name__})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _is_whole(response: Response) -> bool:
    """Whether an answer is complete: one cut by length or by a filter is not what the next caller should get."""
    return not isinstance(response, ChatResponse) or response.finish_reason in ("stop", "tool_calls", "function_call")
