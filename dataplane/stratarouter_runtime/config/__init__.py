"""The contract between operator and data plane: what may be configured, and the validated whole of it.

Invariant: imports nothing else of ours. Defaults live here and nowhere else; CRDs, the values schema and the
reference are generated from these models.
"""

from __future__ import annotations

from .base import Contract, SecretKeyRef, SecretRef
from .contract import KINDS, ContractField, contract_digest, fields
from .errors import ConfigError
from .files import Content, Loaded, load, read
from .policy import Policy, RouteContext, TimeWindow
from .pool import (
    DEFAULT_ENDPOINTS,
    TYPE_CAPABILITIES,
    AzureOpenAI,
    Capability,
    CircuitBreaker,
    Limits,
    Model,
    Price,
    Provider,
    ProviderPool,
    ProviderType,
    Timeouts,
)
from .runtime import (
    AUTO_MODEL,
    DEFAULT_ROUTE,
    MAX_UTTERANCES,
    AuthConfig,
    BatchConfig,
    CacheConfig,
    DefaultRoute,
    EmbedderConfig,
    ExecutionConfig,
    ObservabilityConfig,
    PoolRef,
    RedisConfig,
    Route,
    RouteCache,
    RoutingConfig,
    RuntimeConfig,
    ServerConfig,
    ServiceMonitorConfig,
    Template,
    TracingConfig,
)
from .secrets import MountedSecrets, SecretData, Secrets, StaticSecrets, capture, text
from .snapshot import API_VERSION, GROUP, NAME_LENGTH, OPERATOR_FIELDS, Snapshot, digest, select
from .state import StateConfig

__all__ = [
    "API_VERSION",
    "AUTO_MODEL",
    "DEFAULT_ENDPOINTS",
    "DEFAULT_ROUTE",
    "GROUP",
    "KINDS",
    "MAX_UTTERANCES",
    "NAME_LENGTH",
    "OPERATOR_FIELDS",
    "TYPE_CAPABILITIES",
    "AuthConfig",
    "AzureOpenAI",
    "BatchConfig",
    "CacheConfig",
    "Capability",
    "CircuitBreaker",
    "ConfigError",
    "Content",
    "Contract",
    "ContractField",
    "DefaultRoute",
    "EmbedderConfig",
    "ExecutionConfig",
    "Limits",
    "Loaded",
    "Model",
    "MountedSecrets",
    "ObservabilityConfig",
    "Policy",
    "PoolRef",
    "Price",
    "Provider",
    "ProviderPool",
    "ProviderType",
    "RedisConfig",
    "Route",
    "RouteCache",
    "RouteContext",
    "RoutingConfig",
    "RuntimeConfig",
    "SecretData",
    "SecretKeyRef",
    "SecretRef",
    "Secrets",
    "ServerConfig",
    "ServiceMonitorConfig",
    "Snapshot",
    "StateConfig",
    "StaticSecrets",
    "Template",
    "TimeWindow",
    "Timeouts",
    "TracingConfig",
    "capture",
    "contract_digest",
    "digest",
    "fields",
    "load",
    "read",
    "select",
    "text",
]
