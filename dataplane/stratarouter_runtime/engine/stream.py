"""A stream from its first content on.

The commit point is the first content: before it a stream may fail and another takes its place without anybody seeing
it; after it every failure reaches the reader. Invariants: it reads upstream only when it is read; it ends normally only
after ``DONE``; closing it closes the vendor's connection and gives its place back; it belongs to one reader.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.model.plan import Attempt, Candidate, Plan
from stratarouter_runtime.model.response import Batch, ChatEvent, EventKind, Usage
from stratarouter_runtime.wire import openai_chat

from . import usage as usages
from .attempt import Running, departure, failure_in

CLOSE_SECONDS = 1.0
"""A provider that takes longer to close a stream is not waited for."""
MAX_HELD = 64
"""Events without content that are kept for the reader; a vendor may send pings for minutes."""
_CONTENT, _DONE = EventKind.CONTENT, EventKind.DONE

_log = logging.getLogger(__name__)


class Tally:
    """What a stream has said so far of itself."""

    __slots__ = ("_characters", "_pieces", "_plan", "_reported", "done", "finish_reason", "model")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._pieces = 0
        self._characters = 0
        self._reported: Usage | None = None
        self.done = False
        self.model = ""
        self.finish_reason: str | None = None

    @property
    def began(self) -> bool:
        """Whether content has come."""
        return self._pieces > 0

    @property
    def usage(self) -> Usage | None:
        """What the vendor reported; None where it did not."""
        return self._reported

    def note(self, batch: Batch) -> None:
        """Take in the events of a batch."""
        for event in batch:
            if event.kind is not _CONTENT:
                self._read(event)
                continue
            self._pieces += 1
            self._characters += usages.characters_in(event.body)
            if self._pieces == 1:
                self._read(event)

    def estimate(self) -> Usage | None:
        """What was used, also where the vendor did not tell, or had no chance to; None where nothing has come."""
        if self._reported is not None or not (self._pieces or self.done):
            return self._reported
        return usages.of_stream(self._plan, pieces=self._pieces, characters=self._characters)

    def _read(self, event: ChatEvent) -> None:
        body = event.body
        if event.kind is _DONE:
            self.done = True
        if body is None:
            return
        self.model = openai_chat.model_of(body) or self.model
        self._reported = openai_chat.usage_of(body) or self._reported
        for choice in body.get("choices") or ():
            finish = choice.get("finish_reason")
            if finish and isinstance(finish, str):
                self.finish_reason = finish


async def first_content(source: AsyncIterator[Batch], tally: Tally) -> Batch:
    """Read up to the first content, or to the end of a complete answer without any; returns all that came.

    Raises ``ProviderError`` where the stream ends before either.
    """
    held: Batch = []
    async for batch in source:
        tally.note(batch)
        if len(held) < MAX_HELD or tally.began or tally.done:
            held.extend(batch)
        if tally.began:
            return held
        if tally.done:
            if tally.finish_reason is None:
                raise ProviderError(Failure.BAD_RESPONSE, "the provider's stream was empty", phase=Phase.BODY)
            return held
    raise truncated(Phase.BODY)


def truncated(phase: Phase) -> ProviderError:
    """The failure of a stream that ended without its end."""
    return ProviderError(Failure.TRUNCATED, "the provider's stream ended before it was complete", phase=phase)


async def shut(source: Any) -> None:
    """Close a provider's stream at once; returns within a second, whatever the provider does."""
    close = getattr(source, "aclose", None)
    if close is None:
        return
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await close()
    except Exception as error:  # noqa: BLE001 (the stream is over, whatever closing it meets)
        _log.warning("a provider's stream could not be closed: %s", type(error).__name__)


class OpenStream:
    """An async iterator of batches, the first of which has content (or is a whole answer without any).

    Iterating raises ``ProviderError`` with ``Phase.STREAM`` where the stream fails. It must be closed: ``aclose()``, or
    ``async with``.
    """

    __slots__ = ("_closed", "_earlier", "_held", "_running", "_settled", "_source", "_tally")

    def __init__(self, running: Running, source: AsyncIterator[Batch], held: Batch, tally: Tally,
                 earlier: tuple[Attempt, ...]) -> None:
        self._running = running
        self._source = source
        self._held: Batch | None = held
        self._tally = tally
        self._earlier = earlier
        self._settled = False
        self._closed = False
        if tally.done:
            self._succeed()

    @property
    def candidate(self) -> Candidate:
        """Who answers."""
        return self._running.candidate

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts; the last one is this stream, final once it has ended."""
        return (*self._earlier, self._running.record)

    @property
    def complete(self) -> bool:
        """Whether the answer's end has come."""
        return self._tally.done

    @property
    def model(self) -> str:
        """The model that the vendor reported."""
        return self._tally.model

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended; None before."""
        return self._tally.finish_reason

    @property
    def usage(self) -> Usage | None:
        """What the vendor reported; an estimate where it had no chance to."""
        return self._tally.estimate()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        if self._held is not None:
            batch, self._held = self._held, None
            return batch
        if self._settled:
            await self.aclose()
            raise StopAsyncIteration
        try:
            with self._running.limit:
                batch = await self._source.__anext__()
        except BaseException as error:  # noqa: BLE001 (whatever it is, the stream is over)
            raise await self._broke(error) from None
        self._tally.note(batch)
        if self._tally.done:
            self._succeed()
        return batch

    async def aclose(self) -> None:
        """Close the vendor's stream at once. Before its end that counts as the caller's going away."""
        if self._closed:
            return
        self._closed = True
        self._held = None
        self._running.limit.disarm()
        try:
            await shut(self._source)
        finally:
            self._leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def _succeed(self) -> None:
        self._settled = True
        tally = self._tally
        self._running.succeeded(model=tally.model, finish_reason=tally.finish_reason, usage=tally.estimate())

    def _leave(self) -> None:
        if not self._settled:
            self._settled = True
            self._running.cancelled(self._tally.estimate())

    async def _broke(self, error: BaseException) -> BaseException:
        """Book what ended the stream, close it, and say what its reader gets."""
        if isinstance(error, StopAsyncIteration):
            error = truncated(Phase.STREAM)
        failure = failure_in(error, self._running.limit, Phase.STREAM)
        if failure is None:
            await self.aclose()
            return departure(error)
        failure.phase = Phase.STREAM
        self._settled = True
        self._running.failed(failure)
        told = _for_reader(failure)
        told.attempts = self.attempts
        await self.aclose()
        return told


def _for_reader(failure: ProviderError) -> ProviderError:
    """The failure as its reader gets it: a provider's own refusal (its key, its quota) is never the caller's."""
    if not failure.treatment.degraded:
        return failure
    return ProviderError(failure.failure, "the provider refused to go on with its answer", phase=Phase.STREAM)
