"""How the engine meets providers, and how both are observed.

Invariants: a provider does exactly one attempt a call; it raises ``ProviderError`` and nothing else (besides
cancellation, which closes the upstream connection at once); a stream that ends without ``DONE`` has raised.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from .errors import ProviderError
from .plan import Candidate, Headers
from .request import ChatRequest, Dialect, EmbeddingsRequest, Family
from .response import Batch, ChatResponse, EmbeddingsResponse, Usage


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt's terms. ``deadline`` is absolute, on the event loop's clock; ``headers`` carry the trace context.

    ``model`` is the model's public name, ``dialects`` what it can be asked in besides OpenAI's chat completions.
    No answer may have more than ``max_output_tokens``; None: only the caller limits it.
    """

    upstream_model: str
    deadline: float
    headers: Headers = field(default_factory=dict)
    model: str = ""
    dialects: frozenset[Dialect] = frozenset()
    max_output_tokens: int | None = None


class Provider(Protocol):
    """One upstream account or endpoint."""

    async def chat(self, request: ChatRequest, call: Call) -> ChatResponse:
        """A complete answer (whatever ``request.stream`` says)."""

    def stream(self, request: ChatRequest, call: Call) -> AsyncIterator[Batch]:
        """The answer as events, a batch a read; an async generator that closes its connection when closed."""

    async def embed(self, request: EmbeddingsRequest, call: Call) -> EmbeddingsResponse:
        """Vectors for all inputs."""

    async def aclose(self) -> None:
        """Close all connections."""


class AttemptScope(Protocol):
    """Observes one attempt; ``headers`` go upstream."""

    @property
    def headers(self) -> Headers:
        """Trace context to send."""

    def first_token(self, seconds: float) -> None:
        """The first content came after so long."""

    def succeeded(self, *, model: str, finish_reason: str | None, usage: Usage | None) -> None:
        """The attempt is over and answered."""

    def failed(self, error: ProviderError) -> None:
        """The attempt is over and failed."""

    def cancelled(self, usage: Usage | None = None) -> None:
        """The attempt is over because the caller went away; what was used is still booked."""


class ExecutionObserver(Protocol):
    """What the engine tells of its decisions."""

    def attempt(self, candidate: Candidate, number: int, family: Family, *, retry: bool) -> AttemptScope:
        """An attempt begins; ``retry`` where the same candidate is tried again."""

    def skipped(self, candidate: Candidate, reason: str) -> None:
        """A candidate was passed over without an attempt."""

    def breaker(self, candidate: Candidate, state: str) -> None:
        """A breaker changed to ``closed``, ``half_open`` or ``open``."""

    def feedback(self, route: str, model: str, verdict: str) -> None:
        """A caller said ``correct`` or ``wrong`` of an answer."""
