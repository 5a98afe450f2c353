"""Requests that ask the same at the same time, answered by one call.

Invariants: only what the cache may hold is shared, by the cache's own key, so nobody gets an answer that is another
tenant's, model's or prompt's; who joins is bound by its own policy and deadline; a request that asks for anything of its
own (a deadline, a threshold, an age, a fresh answer) takes no part; near-identical requests join only a call that has
just begun, and nobody waits for one to begin.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from .assembly import Parts
from .batch import Flight, Flights, NearFlights, SharedStreams, until
from .caching import semantic
from .engine import OpenStream
from .model.cache import CacheKey, Hit, Miss, Vector
from .model.errors import ExecutionError, StrataError
from .model.plan import Attempt, Outcome, Plan
from .model.request import Directives
from .model.response import Batch


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked, apart from who asks: all that an answer depends on.

    ``exact`` is what the exact tier said; ``tried`` takes in the attempts that are made for this request.
    """

    parts: Parts
    plan: Plan
    key: CacheKey | Miss | None
    exact: Hit | Miss | None
    directives: Directives
    deadline: float
    tried: list[Attempt] = field(default_factory=list)

    @property
    def shared(self) -> CacheKey | None:
        """The key under which others may ask the same; None where this request is alone."""
        return self.key if isinstance(self.key, CacheKey) and self.parts.snapshot.runtime.batch.enabled and not self.own else None

    @property
    def own(self) -> bool:
        """Whether it asks for something that others have not asked for."""
        directives, control = self.directives, self.directives.cache
        return (directives.timeout is not None or directives.similarity_threshold is not None or directives.vector is not None
                or control.no_cache or control.only_if_cached or control.no_store or control.max_age is not None)

    def admits(self, found: Hit | Miss | None, source: Outcome[Any] | OpenStream | None) -> bool:
        """Whether this request's policy lets it take what answered another."""
        given = found.entry if isinstance(found, Hit) else source.candidate if source is not None else None
        return given is not None and self.parts.planner.readmits(
            self.plan, provider=given.provider, model=given.model, region=given.region) is None


@dataclass(slots=True)
class Answer:
    """What answered: an entry of the cache (``found``), or a provider. ``near``: the exact key of the call that was asked almost the same.

    ``vector`` is the question's, where it was computed; ``kept`` whether somebody has stored the answer; ``since`` the cache's
    moment when the call began, whoever joined it later; ``cache`` and ``upstream`` are seconds; ``gathered`` is how many
    requests the call answered together (embeddings).
    """

    found: Hit | Miss | None
    outcome: Outcome[Any] | None = None
    near: str = ""
    vector: Vector | None = None
    kept: bool = False
    since: str = ""
    cache: float = 0.0
    upstream: float = 0.0
    gathered: int = 1


@dataclass(slots=True)
class Opened:
    """What a stream is read from: an entry of the cache (``answer.found``), or a provider's ``stream``.

    ``near``: the exact key of another's that was asked almost the same; ``kept``: whether somebody has stored the answer.
    """

    answer: Answer
    stream: OpenStream | None = None
    batches: AsyncIterator[Batch] | None = None
    near: str = ""
    kept: bool = False

    def __aiter__(self) -> AsyncIterator[Batch]:
        """The batches; none for an entry of the cache."""
        return self.batches or self.stream or _nothing()


Following = tuple[Opened, AsyncIterator[Batch], bool]
"""What a stream is read from, its batches for one reader, and whether somebody else has begun it."""


class Sharing:
    """The calls in flight. ``clock`` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._flights: Flights[Answer] = Flights()
        self._streams: SharedStreams[Opened] = SharedStreams()

    async def answer(self, ask: Ask) -> tuple[Answer, bool]:
        """A whole answer, and whether somebody else has asked for it. Raises ``StrataError``."""
        key = ask.shared
        if key is None:
            return await self._called(ask, await self._looked_up(ask)), False
        answer, joined = await self._flights.share(key.exact, lambda: self._lead(ask, key), deadline=ask.deadline)
        if joined and not ask.admits(answer.found, answer.outcome):
            return await self._called(ask, await self._looked_up(ask)), False
        return answer, joined or bool(answer.near)

    @asynccontextmanager
    async def stream(self, ask: Ask) -> AsyncIterator[Following]:
        """A stream whose first content has come; leaving ends the vendor's call unless others follow it."""
        key = ask.shared
        if key is not None:
            reader, joined = await self._streams.follow(key.exact, lambda: self._lead_stream(ask, key), deadline=ask.deadline)
            async with reader:
                opened = await reader.ready()
                if not joined or ask.admits(opened.answer.found, opened.stream):
                    yield opened, reader, joined or bool(opened.near)
                    return
        async with self._opened(ask, await self._looked_up(ask)) as opened:
            yield opened, aiter(opened), False

    # --- one call for all -------------------------------------------------------------------------------------------
    async def _lead(self, ask: Ask, key: CacheKey) -> Answer:
        with ask.parts:  # whoever asked first may leave, and with it its hold on them
            answer = await self._looked_up(ask)
            if isinstance(answer.found, Hit):
                return answer
            near = ask.parts.near_calls
            await self._describe(ask, key, near, answer)
            other = near.find(key, answer.vector)
            flight = None if other is None else self._flights.get(other)
            joined = None if flight is None else await self._joined(ask, flight)
            if joined is not None:
                return Answer(answer.found, joined.outcome, near=other or "", kept=True, cache=answer.cache)
            async with self._announced(ask, key, near, answer):
                return await self._called(ask, answer)

    async def _joined(self, ask: Ask, flight: Flight[Answer]) -> Answer | None:
        """The answer to almost the same question; None where it is not to be had, or not for this request."""
        try:
            answer = await until(flight.wait(), ask.deadline)
        except StrataError:
            return None
        return answer if answer.outcome is not None and ask.admits(answer.found, answer.outcome) else None

    @asynccontextmanager
    async def _lead_stream(self, ask: Ask, key: CacheKey) -> AsyncIterator[Opened]:
        with ask.parts:
            answer = await self._looked_up(ask)
            near = ask.parts.near_streams
            if not isinstance(answer.found, Hit):
                await self._describe(ask, key, near, answer)
                other = near.find(key, answer.vector)
                reader = None if other is None else await self._streams.joined(other, ask.deadline)
                if reader is not None:
                    async with reader:
                        source = await reader.ready()
                        if source.stream is not None and ask.admits(source.answer.found, source.stream):
                            yield Opened(answer, source.stream, reader, near=other or "", kept=True)
                            return
            async with self._announced(ask, key, near, answer), self._opened(ask, answer) as opened:
                yield opened

    # --- the question's vector, for those who ask almost the same -----------------------------------------------------
    async def _describe(self, ask: Ask, key: CacheKey, near: NearFlights, answer: Answer) -> None:
        """Compute the vector where it is needed now: somebody has just asked something in the same partition."""
        if answer.vector is None and near.expects(key):
            answer.vector = await self._embedded(ask, key)

    @asynccontextmanager
    async def _announced(self, ask: Ask, key: CacheKey, near: NearFlights, answer: Answer) -> AsyncIterator[None]:
        """While a call is under way it may be joined. Its vector, needed to store the answer anyway, is computed meanwhile."""
        if key.text is None or not near.enabled or isinstance(answer.found, Hit):
            yield
            return
        near.opened(key, answer.vector)
        later = None if answer.vector is not None else asyncio.get_running_loop().create_task(self._described(ask, key, near, answer))
        try:
            yield
        finally:
            near.closed(key)
            if later is not None and not later.done():
                later.cancel()

    async def _described(self, ask: Ask, key: CacheKey, near: NearFlights, answer: Answer) -> None:
        answer.vector = await self._embedded(ask, key)
        if answer.vector is not None:
            near.described(key, answer.vector)

    async def _embedded(self, ask: Ask, key: CacheKey) -> Vector | None:
        embedder = ask.parts.embedder
        if embedder is None or key.text is None or not embedder.fits(key.text):
            return None
        return await embedder.embed(key.text)

    # --- steps ------------------------------------------------------------------------------------------------------
    async def _looked_up(self, ask: Ask) -> Answer:
        """What the semantic tier says. Raises ``ExecutionError`` 504 where nothing else may answer."""
        began = self._clock()
        found = ask.exact
        if isinstance(found, Miss) and isinstance(ask.key, CacheKey) and not ask.directives.cache.no_cache:
            found = await semantic(ask.parts, ask.plan, ask.key, ask.directives, found)
        if ask.directives.cache.only_if_cached and not isinstance(found, Hit):
            raise NotCachedError(found)
        return Answer(found, vector=found.vector if isinstance(found, Miss) else None, cache=self._clock() - began,
                      since=ask.key.since if isinstance(ask.key, CacheKey) else "")

    async def _called(self, ask: Ask, answer: Answer) -> Answer:
        if isinstance(answer.found, Hit):
            return answer
        began = self._clock()
        if ask.plan.family == "embeddings":
            answer.outcome, answer.gathered = await ask.parts.embeddings.call(ask.plan, ask.deadline, ask.tried, own=ask.own)
        else:
            answer.outcome = await ask.parts.engine.complete(ask.plan, ask.deadline, ask.tried)
        answer.upstream = self._clock() - began
        return answer

    @asynccontextmanager
    async def _opened(self, ask: Ask, answer: Answer) -> AsyncIterator[Opened]:
        if isinstance(answer.found, Hit):
            yield Opened(answer)
            return
        async with await ask.parts.engine.open_stream(ask.plan, ask.deadline, ask.tried) as stream:
            yield Opened(answer, stream)


class NotCachedError(ExecutionError):
    """Only a cached answer was allowed and there is none; ``found`` says why."""

    def __init__(self, found: Hit | Miss | None) -> None:
        super().__init__("NotCached", "The request allows only a cached answer and there is none.", status=504)
        self.found = found


async def _nothing() -> AsyncIterator[Batch]:
    return
    yield  # makes this a generator
