"""``CoreRuntimeBridge``: from a routing decision to an answer, in-process.

Invariant: it is the pod's engine behind another door: the same plan, policies, cache, failover, records and figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from stratarouter_runtime.asking import Asked, asked
from stratarouter_runtime.bridge.explanation import Explanation
from stratarouter_runtime.config import RuntimeConfig
from stratarouter_runtime.feedback import FeedbackResult
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives
from stratarouter_runtime.results import ExecutionResult

from .door import Door
from .options import CallOptions, caller, directives
from .registry import LLMClientRegistry
from .resources import Resources, gather
from .routing import sorted_out
from .stream import ExecutionStream

Question = ChatRequest | Mapping[str, Any]
"""A chat request in OpenAI's shape."""


class CoreRuntimeBridge:
    """Executes routing decisions.

    ``config`` default: ``RuntimeConfig()``. Its providers are the pools it was loaded with, else the clients of ``registry`` in
    order, else those whose usual environment variables are set. ``core_router`` (an object with ``route(query, embedding)`` or
    ``route(query)``) decides where questions without a decision go.

    It starts with its first call, or by ``async with``, and belongs to that event loop. ``aclose`` ends it.
    """

    def __init__(self, config: RuntimeConfig | None = None, *, registry: LLMClientRegistry | None = None,
                 core_router: Any = None) -> None:
        if config is not None and not isinstance(config, RuntimeConfig):
            raise TypeError(f"config must be a RuntimeConfig, not {type(config).__name__}")
        if registry is not None and not isinstance(registry, LLMClientRegistry):
            raise TypeError(f"registry must be an LLMClientRegistry, not {type(registry).__name__}")
        self._config = config or RuntimeConfig()
        self._registry = registry
        router, decide = sorted_out(core_router) if core_router is not None else (None, None)
        self._door = Door("bridge", self._resources, version=lambda: registry.version if registry is not None else 0,
                          core_router=router, decide=decide)

    @property
    def config(self) -> RuntimeConfig:
        """The configuration it was made with."""
        return self._config

    async def execute(self, decision: object = None, *, query: str | None = None,
                      messages: Sequence[Mapping[str, Any]] | None = None, request: Question | None = None,
                      context: Mapping[str, Any] | None = None, **options: Unpack[CallOptions]) -> ExecutionResult:
        """The answer to a question, where the decision says.

        ``decision``: a ``RoutingDecision``, a route's name, or what StrataRouter's routers return. The question: ``query``,
        ``messages`` or ``request`` (with further OpenAI parameters), else the decision's own query, else ``context["messages"]``
        or ``context["query"]``. ``context``: values for placeholders and metadata; its ``tenant`` has a cache of its own.

        Raises ``StrataError``: ``MissingQueryError`` where nobody asks anything, ``RequestError`` for what is wrong with the
        call, ``PolicyError`` for what the route's policy refuses, ``ExecutionError`` where nobody answered; ``ConfigError``
        where the configuration cannot run.
        """
        return await self._door.complete(*_understood(decision, options, query=query, messages=messages, request=request,
                                                      context=context))

    def stream(self, decision: object = None, *, query: str | None = None, messages: Sequence[Mapping[str, Any]] | None = None,
               request: Question | None = None, context: Mapping[str, Any] | None = None,
               **options: Unpack[CallOptions]) -> ExecutionStream:
        """As ``execute``, as events: ``plan``, ``delta``, then ``completed`` or ``error``.

        What fails before the first event is raised by the iteration, as ``execute`` raises it.
        """
        return self._door.stream(lambda: _understood(decision, options, query=query, messages=messages, request=request,
                                                     context=context, stream=True))

    async def plan(self, decision: object = None, *, query: str | None = None, messages: Sequence[Mapping[str, Any]] | None = None,
                   request: Question | None = None, context: Mapping[str, Any] | None = None,
                   **options: Unpack[CallOptions]) -> Explanation:
        """What ``execute`` would do and why, as a value that prints itself; no provider is called.

        A refusal is in its ``refusal``; raises only for what is no question at all.
        """
        return await self._door.explain(*_understood(decision, options, query=query, messages=messages, request=request,
                                                     context=context))

    async def feedback(self, execution_id: str, *, correct: bool, context: Mapping[str, Any] | None = None) -> FeedbackResult:
        """Say whether an answer was correct: it is counted, and a wrong one leaves the cache, on every pod that shares it.

        ``context["tenant"]`` is the one that asked. Raises ``StrataError``: ``ExecutionNotFound`` for an execution that is not
        known (any more), ``CacheUnavailable`` where it could not be taken and is to be sent again.
        """
        return await self._door.feedback(caller(context or {}), execution_id, correct=correct)

    def metrics(self) -> str:
        """The figures of this bridge in Prometheus' text format; empty before its first call and with ``metrics_enabled=False``."""
        return self._door.metrics()

    async def start(self) -> None:
        """Start what the first call would. Raises ``ConfigError`` where the configuration cannot run."""
        await self._door.start()

    async def aclose(self) -> None:
        """End open streams, write what is to be recorded, close all connections; calls fail from now on."""
        await self._door.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def _resources(self) -> Resources:
        return gather(self._config, self._registry.clients if self._registry is not None else None)


def _understood(decision: object, options: CallOptions, **question: Any) -> tuple[Asked, Caller, Directives]:
    found = asked(decision, **question)
    return found, caller(found.context), directives(**options)
