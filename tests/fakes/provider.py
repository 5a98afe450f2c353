"""A provider that plays a script, and an observer that writes down what it is told.

``ScriptedProvider`` keeps to the protocol of ``model.provider`` (one attempt a call, ``ProviderError`` and nothing else,
cancellation closes at once) except where a script breaks it on purpose.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.model.plan import Candidate, Headers
from stratarouter_runtime.model.provider import Call
from stratarouter_runtime.model.request import ChatRequest, EmbeddingsRequest, Family
from stratarouter_runtime.model.response import (
    Batch,
    ChatEvent,
    ChatResponse,
    EmbeddingsResponse,
    EventKind,
    Usage,
)

USAGE = Usage(input=3, output=2)


# --- what a script is made of -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Wait:
    """Take so many seconds; None: until cancelled."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Stubborn:
    """Take so many seconds and swallow so many cancellations meanwhile."""

    seconds: float
    swallows: int = 1


Step = Any
"""An exception to raise, a ``Wait`` or ``Stubborn``, a batch of events to yield, or a function to call."""


def fail(failure: Failure, *, status: int = 502, retry_after: float | None = None, message: str = "vendor's words",
         phase: Phase = Phase.HEADERS) -> ProviderError:
    """A failure."""
    return ProviderError(failure, message, phase=phase, status=status, retry_after=retry_after)


def event(kind: EventKind, **body: Any) -> ChatEvent:
    """An event; its body says who sent it."""
    if kind is EventKind.DONE:
        return ChatEvent(kind, b"[DONE]", None)
    chunk = {"model": "vendor-model", "choices": [], **body}
    return ChatEvent(kind, repr(chunk).encode(), chunk)


def preamble() -> Batch:
    """The role."""
    return [event(EventKind.PREAMBLE, choices=[{"index": 0, "delta": {"role": "assistant"}}])]


def content(text: str = "hello") -> Batch:
    """A piece of text."""
    return [event(EventKind.CONTENT, choices=[{"index": 0, "delta": {"content": text}}])]


def finish() -> Batch:
    """The finish reason."""
    return [event(EventKind.FINISH, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])]


def usage() -> Batch:
    """The usage chunk."""
    return [event(EventKind.USAGE, usage={"prompt_tokens": USAGE.input, "completion_tokens": USAGE.output})]


def done() -> Batch:
    """The end."""
    return [event(EventKind.DONE)]


def whole() -> list[Batch]:
    """A good stream."""
    return [preamble(), content(), content("world"), finish(), usage(), done()]


# --- the provider -------------------------------------------------------------------------------------------------
class ScriptedProvider:
    """Each call plays the next script; when none is left, ``always``, or else a good answer."""

    def __init__(self, *scripts: list[Step] | Step, always: list[Step] | Step | None = None) -> None:
        self._scripts = deque(each if isinstance(each, list) else [each] for each in scripts)
        self.always: list[Step] | None = always if isinstance(always, list) or always is None else [always]
        self.calls: list[Call] = []
        self.times: list[float] = []
        self.open = 0
        """Calls and streams that have begun and not ended."""
        self.most_open = 0
        self.closed = 0
        """Streams that were closed before their end."""
        self.closing: Wait | None = None
        """What closing a stream takes."""
        self.read = 0
        """Batches asked for."""
        self.usage: Usage | None = USAGE
        """What whole answers tell of their tokens."""

    def then(self, *scripts: list[Step] | Step) -> None:
        """Add scripts."""
        self._scripts.extend(each if isinstance(each, list) else [each] for each in scripts)

    async def chat(self, request: ChatRequest, call: Call) -> ChatResponse:
        """Play a script; then a good answer."""
        await self._play(call)
        body = {"model": "vendor-model", "choices": [{"message": {"role": "assistant", "content": "hello"}}]}
        return ChatResponse(raw=b"{}", body=body, model="vendor-model", finish_reason="stop", usage=self.usage)

    async def embed(self, request: EmbeddingsRequest, call: Call) -> EmbeddingsResponse:
        """Play a script; then a vector."""
        await self._play(call)
        return EmbeddingsResponse(raw=b"{}", body={"data": []}, model=call.upstream_model, usage=self.usage)

    async def stream(self, request: ChatRequest, call: Call) -> AsyncIterator[Batch]:
        """Play a script that yields batches; without one, a good stream."""
        script = self._begin(call, default=whole())
        ended = False
        try:
            for step in script:
                if isinstance(step, list):
                    self.read += 1
                    yield step
                else:
                    await self._step(step)
            ended = True
        except Exception:
            ended = True
            raise
        finally:
            self.open -= 1
            self.closed += not ended
            if self.closing is not None:
                await self._step(self.closing)

    async def aclose(self) -> None:
        """It holds nothing."""

    def _begin(self, call: Call, default: list[Step]) -> list[Step]:
        self.calls.append(call)
        self.times.append(asyncio.get_running_loop().time())
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        if self._scripts:
            return self._scripts.popleft()
        return default if self.always is None else self.always

    async def _play(self, call: Call) -> None:
        try:
            for step in self._begin(call, default=[]):
                await self._step(step)
        finally:
            self.open -= 1

    async def _step(self, step: Step) -> None:
        if isinstance(step, BaseException):
            # A fresh one each time: an exception that is raised twice grows.
            raise fail(step.failure, status=step.status, retry_after=step.retry_after, message=step.message,
                       phase=step.phase) if isinstance(step, ProviderError) else type(step)(*step.args)
        if isinstance(step, Wait):
            await (asyncio.Event().wait() if step.seconds is None else asyncio.sleep(step.seconds))
        elif isinstance(step, Stubborn):
            await _stubbornly(step)
        elif callable(step):
            step()


async def _stubbornly(step: Stubborn) -> None:
    until = asyncio.get_running_loop().time() + step.seconds
    swallows = step.swallows
    while (left := until - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            if not swallows:
                raise
            swallows -= 1


# --- the observer -------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Observed:
    """One attempt as the observer saw it; ``end`` is ``succeeded``, a failure's name, ``cancelled`` or empty."""

    candidate: Candidate
    number: int
    retry: bool
    end: str = ""
    first: float | None = None
    model: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    headers: Headers = field(default_factory=lambda: {"traceparent": "00-1"})

    def first_token(self, seconds: float) -> None:
        """Told once, before the end."""
        assert self.first is None
        assert not self.end
        self.first = seconds

    def succeeded(self, *, model: str, finish_reason: str | None, usage: Usage | None) -> None:
        """A good end."""
        self._end("succeeded")
        self.model, self.finish_reason, self.usage = model, finish_reason, usage

    def failed(self, error: ProviderError) -> None:
        """A bad end."""
        self._end(error.failure.value)

    def cancelled(self, usage: Usage | None = None) -> None:
        """An end from outside."""
        self._end("cancelled")
        self.usage = usage

    def _end(self, how: str) -> None:
        assert not self.end, f"the attempt ended twice: {self.end}, {how}"
        self.end = how


class Observer:
    """Writes down what the engine tells."""

    def __init__(self, on_attempt: Callable[[], None] | None = None) -> None:
        self.attempts: list[Observed] = []
        self.skips: list[tuple[str, str]] = []
        self.breakers: list[tuple[str, str]] = []
        self.feedbacks: list[tuple[str, str, str]] = []
        self._on_attempt = on_attempt

    @property
    def ends(self) -> list[str]:
        """How each attempt ended."""
        return [each.end for each in self.attempts]

    def attempt(self, candidate: Candidate, number: int, family: Family, *, retry: bool) -> Observed:
        """An attempt begins."""
        if self._on_attempt is not None:
            self._on_attempt()
        self.attempts.append(Observed(candidate, number, retry))
        return self.attempts[-1]

    def skipped(self, candidate: Candidate, reason: str) -> None:
        """A candidate was passed over."""
        self.skips.append((candidate.provider, reason))

    def breaker(self, candidate: Candidate, state: str) -> None:
        """A breaker changed."""
        self.breakers.append((candidate.provider, state))

    def feedback(self, route: str, model: str, verdict: str) -> None:
        """A caller judged an answer."""
        self.feedbacks.append((route, model, verdict))
