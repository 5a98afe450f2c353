"""StrataRouter Runtime: from a routing decision to an answer, in-process or in pods.

Everything here is imported when it is first asked for (PEP 562): the bare package costs next to nothing, so that command
lines, the operator, and apps that use one part of it do not pay for the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .bridge.explanation import Explanation
    from .config import (
        BatchConfig,
        CacheConfig,
        ConfigError,
        DefaultRoute,
        EmbedderConfig,
        ExecutionConfig,
        Limits,
        Model,
        ObservabilityConfig,
        Policy,
        PoolRef,
        Price,
        Provider,
        ProviderPool,
        RedisConfig,
        Route,
        RouteCache,
        RouteContext,
        RuntimeConfig,
        SecretKeyRef,
        ServerConfig,
        StateConfig,
        Timeouts,
        TimeWindow,
        TracingConfig,
    )
    from .feedback import FeedbackResult
    from .library.bridge import CoreRuntimeBridge
    from .library.cache import CachedResponse, CacheManager
    from .library.client import Client
    from .library.clients import (
        AnthropicClient,
        AzureOpenAIClient,
        CohereClient,
        GoogleClient,
        LocalClient,
        OpenAIClient,
        OpenAICompatibleClient,
        VertexAIClient,
    )
    from .library.embeddings import EmbeddingsResult
    from .library.events import CompletedEvent, DeltaEvent, ErrorEvent, PlanEvent, StreamEvent
    from .library.registry import LLMClientRegistry
    from .library.stream import ExecutionStream
    from .model.decision import MissingQueryError, RoutingDecision
    from .model.errors import ExecutionError, Failure, ProviderError, RequestError, StrataError
    from .model.plan import Attempt, Candidate, Plan
    from .model.request import ChatRequest
    from .model.response import ChatResponse, Usage
    from .model.verdict import PolicyError, Verdict
    from .results import ExecutionResult
    from .state import StateManager
    from .state.manager import ExecutionState
    from .state.records import Checkpoint, StateDataError
    from .state.store import StateUnavailable

_HOME = {
    "bridge.explanation": ("Explanation",),
    "config": (
        "BatchConfig", "CacheConfig", "ConfigError", "DefaultRoute", "EmbedderConfig", "ExecutionConfig", "Limits", "Model", "ObservabilityConfig",
        "Policy", "PoolRef", "Price", "Provider", "ProviderPool", "RedisConfig", "Route", "RouteCache", "RouteContext", "RuntimeConfig",
        "SecretKeyRef", "ServerConfig", "StateConfig", "TimeWindow", "Timeouts", "TracingConfig"),
    "feedback": ("FeedbackResult",),
    "library.bridge": ("CoreRuntimeBridge",),
    "library.cache": ("CacheManager", "CachedResponse"),
    "library.client": ("Client",),
    "library.clients": (
        "AnthropicClient", "AzureOpenAIClient", "CohereClient", "GoogleClient", "LocalClient", "OpenAIClient", "OpenAICompatibleClient",
        "VertexAIClient"),
    "library.embeddings": ("EmbeddingsResult",),
    "library.events": ("CompletedEvent", "DeltaEvent", "ErrorEvent", "PlanEvent", "StreamEvent"),
    "library.registry": ("LLMClientRegistry",),
    "library.stream": ("ExecutionStream",),
    "model.decision": ("MissingQueryError", "RoutingDecision"),
    "model.errors": ("ExecutionError", "Failure", "ProviderError", "RequestError", "StrataError"),
    "model.plan": ("Attempt", "Candidate", "Plan"),
    "model.request": ("ChatRequest",),
    "model.response": ("ChatResponse", "Usage"),
    "model.verdict": ("PolicyError", "Verdict"),
    "results": ("ExecutionResult",),
    "state": ("StateManager",),
    "state.manager": ("ExecutionState",),
    "state.records": ("Checkpoint", "StateDataError"),
    "state.store": ("StateUnavailable",),
}
"""Where each public name lives."""

_HOMES = {name: home for home, names in _HOME.items() for name in names}

__all__ = [
    "AnthropicClient",
    "Attempt",
    "AzureOpenAIClient",
    "BatchConfig",
    "CacheConfig",
    "CacheManager",
    "CachedResponse",
    "Candidate",
    "ChatRequest",
    "ChatResponse",
    "Checkpoint",
    "Client",
    "CohereClient",
    "CompletedEvent",
    "ConfigError",
    "CoreRuntimeBridge",
    "DefaultRoute",
    "DeltaEvent",
    "EmbedderConfig",
    "EmbeddingsResult",
    "ErrorEvent",
    "ExecutionConfig",
    "ExecutionError",
    "ExecutionResult",
    "ExecutionState",
    "ExecutionStream",
    "Explanation",
    "Failure",
    "FeedbackResult",
    "GoogleClient",
    "LLMClientRegistry",
    "Limits",
    "LocalClient",
    "MissingQueryError",
    "Model",
    "ObservabilityConfig",
    "OpenAIClient",
    "OpenAICompatibleClient",
    "Plan",
    "PlanEvent",
    "Policy",
    "PolicyError",
    "PoolRef",
    "Price",
    "Provider",
    "ProviderError",
    "ProviderPool",
    "RedisConfig",
    "RequestError",
    "Route",
    "RouteCache",
    "RouteContext",
    "RoutingDecision",
    "RuntimeConfig",
    "SecretKeyRef",
    "ServerConfig",
    "StateConfig",
    "StateDataError",
    "StateManager",
    "StateUnavailable",
    "StrataError",
    "StreamEvent",
    "TimeWindow",
    "Timeouts",
    "TracingConfig",
    "Usage",
    "Verdict",
    "VertexAIClient",
    "__version__",
]


if not TYPE_CHECKING:  # a type checker that saw it would take every name for one of ours

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(f".{home}", __name__), name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith(__name__):
                raise
            raise ImportError(f"{name} needs {error.name}: pip install 'stratarouter-runtime[runtime]'", name=error.name) from error
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
