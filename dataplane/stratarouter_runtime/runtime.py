"""The composition root: one data plane, and the order in which a request passes its rooms.

parse → authenticate → **route → plan → exact cache → coalesce → semantic cache → engine → post-process** → reply: the bold part is here,
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
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

from . import caching
from .assembly import Assembler, Parts
from .bridge.explanation import Explanation
from .config import AUTO_MODEL, Secrets, Snapshot
from .engine import Health, ProviderState
from .feedback import Feedback, FeedbackResult
from .model.cache import Cache, CacheEntry, CacheKey, Hit, Miss
from .model.decision import RoutingDecision
from .model.errors import ExecutionError, RequestError, StrataError
from .model.execution import Execution
from .model.plan import Attempt, Candidate, Outcome, Plan
from .model.provider import ExecutionObserver
from .model.request import Caller, ChatRequest, Directives, Request
from .model.response import ChatResponse, Response
from .model.routing import CoreRouter
from .recording import Recorder
from .reply import LiveReply, ReplayedReply, Reply, replayed_response
from .routing import RoutingUnavailable
from .sharing import Answer, Ask, NotCachedError, Opened, Sharing
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
        self._sharing = Sharing(clock)
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
            ask = await self._asked(parts, execution, request)
            if isinstance(ask.exact, Hit):
                return self._replayed(ask, execution, ask.exact, request)
            answer, joined = await self._tried(execution, ask.tried, self._sharing.answer(ask))
            self._looked_up(execution, answer, joined=joined)
            if isinstance(answer.found, Hit):
                return self._replayed(ask, execution, answer.found, request)
            outcome = answer.outcome
            if outcome is None:  # pragma: no cover - what is no hit has been answered
                raise RuntimeError("no answer")
            execution.stages["upstream"] = answer.upstream
            execution.gathered = answer.gathered
            self._book(execution, outcome)
            began = self._clock()
            if joined:
                self._book_joined(execution, near=bool(answer.near))
            self._remember(ask, execution, answer)
            answer.kept = self._store(ask, execution, outcome.candidate, outcome.response, answer) or answer.kept
            execution.stages["post"] = self._clock() - began
            response: Response = outcome.response
            return response

    @asynccontextmanager
    async def stream(self, execution: Execution, request: ChatRequest) -> AsyncIterator[Reply]:
        """An answer as batches of events, from its first content on; leaving the context ends the vendor's call."""
        parts = self.parts
        with parts:
            ask = await self._asked(parts, execution, request)
            if isinstance(ask.exact, Hit):
                yield ReplayedReply(self._replay(ask, execution, ask.exact).entry, request)
                return
            began = self._clock()
            following = self._sharing.stream(ask)
            opened, batches, joined = await self._tried(execution, ask.tried, following.__aenter__())
            reply: LiveReply | None = None
            looking = 0.0 if joined else opened.answer.cache
            try:
                self._looked_up(execution, opened.answer, joined=joined)
                found, source = opened.answer.found, opened.stream
                if isinstance(found, Hit) or source is None:
                    yield ReplayedReply(self._replay(ask, execution, found).entry, request)
                    return
                execution.stages["upstream-ttfb"] = self._clock() - began - looking
                execution.candidate, execution.attempts = source.candidate, source.attempts
                self._remember(ask, execution, opened)
                execution.stored = caching.may_keep(ask.key, ask.plan, source.candidate) and not opened.kept
                # What somebody else's call says is on that call's record.
                trail = None if joined else self._recorder.follow(parts.state, execution, parts.snapshot.runtime.state.checkpoint_interval)
                reply = LiveReply(source, batches, request, keep=execution.stored, trail=trail)
                yield reply
            finally:
                try:
                    # What goes wrong with the reader is no affair of those who follow the same stream.
                    await following.__aexit__(None, None, None)
                finally:
                    if reply is not None:
                        reply.close()
                        execution.stages["upstream"] = self._clock() - began - looking
                        self._finish_stream(ask, execution, opened, reply, joined=joined)

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

    def routing_state(self) -> dict[str, Any]:
        """Whether it routes by itself, for the platform port: ``ready`` once all utterances are known; empty without any."""
        routing = self._parts.routing if self._parts is not None else None
        return {} if routing is None else {"ready": routing.ready, "routes": routing.router is not None}

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

    async def _asked(self, parts: Parts, execution: Execution, request: Request) -> Ask:
        """The route, the plan, and what the exact tier says."""
        execution.request = request
        await self._route(parts, execution, request)
        plan = self._plan(parts, execution, request)
        began = self._clock()
        control = execution.directives.cache
        key = parts.cache_key(plan)
        if not isinstance(key, CacheKey):
            exact: Hit | Miss | None = key
        elif control.no_cache:
            exact = Miss("bypass")
        else:
            exact = await caching.exact(parts, plan, key, execution.directives)
        execution.cached = exact
        execution.stages["cache"] = self._clock() - began
        return Ask(parts, plan, key, exact, execution.directives, execution.started + plan.timeout)

    def _plan(self, parts: Parts, execution: Execution, request: Request) -> Plan:
        began = self._clock()
        plan = parts.planner.plan(request, execution.caller, execution.directives, decision=execution.decision,
                                  context=execution.context)
        execution.plan = plan
        execution.stages["policy"] = self._clock() - began
        return plan

    async def _tried(self, execution: Execution, tried: list[Attempt], work: Awaitable[T]) -> T:
        """Wait for an answer; what was tried in vain is kept, also where the caller leaves."""
        try:
            return await work
        except BaseException as error:
            execution.attempts = error.attempts if isinstance(error, StrataError) else tuple(tried)
            if isinstance(error, NotCachedError):
                execution.cached = error.found
            raise

    def _looked_up(self, execution: Execution, answer: Answer, *, joined: bool) -> None:
        execution.cached = answer.found
        if not joined:
            execution.stages["cache"] = execution.stages.get("cache", 0.0) + answer.cache

    def _replayed(self, ask: Ask, execution: Execution, hit: Hit, request: Request) -> Response:
        return replayed_response(self._replay(ask, execution, hit).entry, request)

    def _replay(self, ask: Ask, execution: Execution, hit: Hit | Miss | None) -> Hit:
        booked = self._book_hit(execution, hit)
        self._remember(ask, execution, None)
        return booked

    def _remember(self, ask: Ask, execution: Execution, answer: Answer | Opened | None) -> None:
        """For what its caller may say of it: where its answer is kept is another's place where another's call answered."""
        key = ask.key
        if answer is not None and answer.near and isinstance(key, CacheKey):
            key = replace(key, exact=answer.near)
        self._feedback.remember(execution, key, ask.parts.cache)

    def _book(self, execution: Execution, outcome: Outcome[Any]) -> None:
        response = outcome.response
        execution.candidate, execution.attempts = outcome.candidate, outcome.attempts
        execution.model, execution.usage = response.model, response.usage
        if isinstance(response, ChatResponse):
            execution.finish_reason = response.finish_reason
        self._price(execution)

    def _book_hit(self, execution: Execution, hit: Hit | Miss | None) -> Hit:
        if not isinstance(hit, Hit):  # pragma: no cover - what is no hit has a stream
            raise TypeError("not a hit")
        execution.cached = hit
        execution.model = hit.entry.model
        execution.cost = Decimal(0)
        execution.saved = None if hit.entry.cost_usd is None else Decimal(hit.entry.cost_usd)
        return hit

    def _book_joined(self, execution: Execution, *, near: bool) -> None:
        """Somebody else's call answered: it costs this request nothing, and this request made no attempt."""
        execution.joined = "near" if near else "identical"
        execution.saved, execution.cost, execution.attempts = execution.cost, Decimal(0), ()

    def _price(self, execution: Execution) -> None:
        candidate, usage = execution.candidate, execution.usage
        if candidate is not None and candidate.rate is not None and usage is not None:
            execution.cost = candidate.rate.cost(usage)

    def _finish_stream(self, ask: Ask, execution: Execution, opened: Opened, reply: LiveReply, *, joined: bool) -> None:
        source = reply.source
        execution.attempts = source.attempts
        execution.model, execution.usage, execution.finish_reason = source.model, source.usage, source.finish_reason
        self._price(execution)
        response = reply.response() if execution.stored else None
        execution.stored = False
        if response is not None:
            opened.kept = self._store(ask, execution, source.candidate, response, opened) or opened.kept
        if joined:
            self._book_joined(execution, near=bool(opened.near))

    # --- storing -------------------------------------------------------------------------------------------------
    def _store(self, ask: Ask, execution: Execution, candidate: Candidate, response: Response, answer: Answer | Opened) -> bool:
        """Keep an answer, after the reply; whether it will be."""
        key, terms, cache = ask.key, ask.plan.cache, ask.parts.cache
        if (answer.kept or cache is None or terms is None or not isinstance(key, CacheKey)
                or not caching.may_keep(key, ask.plan, candidate) or not caching.is_whole(response)
                or len(self._background) >= MAX_BACKGROUND):
            return False
        execution.stored = True
        entry = caching.entry_of(ask.plan, key, candidate, response, usage=execution.usage, cost=execution.cost,
                                 ttl=terms.ttl_seconds, now=self._wall())
        given = answer.answer if isinstance(answer, Opened) else answer
        # The vector may be a decision's, where no look-up took it. What was found wrong meanwhile is not stored by who joined later.
        self._spawn(self._keep(cache, replace(key, since=given.since), entry, ask.plan.vector if given.vector is None else given.vector))
        return True

    async def _keep(self, cache: Cache, key: CacheKey, entry: CacheEntry, vector: Any) -> None:
        await cache.store(key, entry, vector=vector)

    def _retired(self, task: asyncio.Task[None]) -> None:
        del self._retiring[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("parts of an earlier configuration could not be closed", extra={"error": type(error).__name__})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

