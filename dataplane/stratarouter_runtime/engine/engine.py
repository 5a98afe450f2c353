"""Executes plans: one deadline and one attempt budget over all candidates.

Invariants: no task is started; every attempt ends in exactly one of succeeded, failed and cancelled; whatever a provider
does, a request is over at its deadline; a caller that goes away ends the provider's call at once.
"""

from __future__ import annotations

import asyncio
import random as randomness
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar, cast

from stratarouter_runtime.model.errors import Phase
from stratarouter_runtime.model.plan import Attempt, Outcome, Plan
from stratarouter_runtime.model.provider import Call, ExecutionObserver, Provider
from stratarouter_runtime.model.request import ChatRequest, EmbeddingsRequest
from stratarouter_runtime.model.response import ChatResponse, EmbeddingsResponse, Response

from . import usage as usages
from .attempt import Running, departure, failure_in
from .chain import Chain
from .deadline import Deadline, loop_time
from .health import Health
from .stream import OpenStream, Tally, first_content, shut

ResponseT = TypeVar("ResponseT", bound=Response)


class Engine:
    """Executes plans over ``providers`` by (pool, provider).

    ``health`` outlives it; ``observer`` is told of every attempt; ``clock`` is the event loop's time in seconds, the one
    that deadlines are on.
    """

    def __init__(self, providers: Mapping[tuple[str, str], Provider], health: Health, observer: ExecutionObserver, *,
                 clock: Callable[[], float] = loop_time, random: randomness.Random | None = None,
                 sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._providers = providers
        self._health = health
        self._observer = observer
        self._clock = clock
        self._random = random or randomness.Random()  # noqa: S311 (spreads load, guards nothing)
        self._sleep = sleep

    async def complete(self, plan: Plan, deadline: float, tried: list[Attempt] | None = None) -> Outcome[ChatResponse]:
        """A whole chat answer. Raises ``ExecutionError``, or the ``ProviderError`` that the caller's request caused.

        ``tried`` gets each attempt without an answer when it ends, for who wants to know of them though the caller left.
        """
        return await self._answer(plan, deadline, tried, _chat)

    async def embed(self, plan: Plan, deadline: float, tried: list[Attempt] | None = None) -> Outcome[EmbeddingsResponse]:
        """Vectors for all inputs, of one vector space. As ``complete`` otherwise."""
        return await self._answer(plan, deadline, tried, _embed)

    async def open_stream(self, plan: Plan, deadline: float, tried: list[Attempt] | None = None) -> OpenStream:
        """A chat answer as a stream, open once its first content has come. As ``complete`` until then."""
        chain = self._chain(plan, deadline, tried)
        try:
            while True:
                stream = await self._open(chain, await self._next(chain))
                if stream is not None:
                    return stream
        except BaseException:
            chain.limit.disarm()
            raise

    async def _answer(self, plan: Plan, deadline: float, tried: list[Attempt] | None,
                      invoke: Callable[[Provider, Plan, Call], Awaitable[ResponseT]]) -> Outcome[ResponseT]:
        chain = self._chain(plan, deadline, tried)
        limit = chain.limit
        try:
            while True:
                running = await self._next(chain)
                try:
                    with limit:
                        response = await invoke(self._providers[running.candidate.provider_key], plan, running.call)
                except BaseException as error:  # noqa: BLE001 (each is booked)
                    self._take(chain, running, error)
                    continue
                finish = response.finish_reason if isinstance(response, ChatResponse) else None
                if response.usage is None:
                    response = replace(response, usage=usages.of_answer(plan, response))
                running.succeeded(model=response.model, finish_reason=finish, usage=response.usage)
                return Outcome(response, running.candidate, (*chain.attempts, running.record))
        finally:
            limit.disarm()

    async def _open(self, chain: Chain, running: Running) -> OpenStream | None:
        """Open the attempt's stream; None where it failed before its first content."""
        tally = Tally(chain.plan)
        source = None
        try:
            request = cast("ChatRequest", chain.plan.request)
            with chain.limit:
                source = self._providers[running.candidate.provider_key].stream(request, running.call)
                held = await first_content(source, tally)
        except BaseException as error:  # noqa: BLE001 (each is booked)
            try:
                self._take(chain, running, error)
            finally:
                await shut(source)
            return None
        running.committed()
        return OpenStream(running, source, held, tally, tuple(chain.attempts))

    def _take(self, chain: Chain, running: Running, error: BaseException) -> None:
        """Book the end of an attempt without an answer; raises where it is the end of the request."""
        failure = failure_in(error, chain.limit, Phase.HEADERS)
        if failure is None:
            running.cancelled(None)
            chain.attempts.append(running.record)
            try:
                raise departure(error)
            finally:
                del error  # else it and this frame hold each other, and all that the request has, until garbage is collected
        running.failed(failure)
        chain.failed(running, failure)

    async def _next(self, chain: Chain) -> Running:
        """The next attempt, once it may begin."""
        while True:
            turn = chain.choose()
            if isinstance(turn, Running):
                return turn
            await self._sleep(max(0.0, turn - self._clock()))

    def _chain(self, plan: Plan, deadline: float, tried: list[Attempt] | None) -> Chain:
        attempts = [] if tried is None else tried
        return Chain(plan, Deadline(deadline, self._clock), attempts, providers=self._providers, health=self._health,
                     observer=self._observer, random=self._random)


def _chat(provider: Provider, plan: Plan, call: Call) -> Awaitable[ChatResponse]:
    return provider.chat(cast("ChatRequest", plan.request), call)


def _embed(provider: Provider, plan: Plan, call: Call) -> Awaitable[EmbeddingsResponse]:
    return provider.embed(cast("EmbeddingsRequest", plan.request), call)
