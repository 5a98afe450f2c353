"""The flat keywords of ``RuntimeConfig(...)`` in Python: one table from each to the field that it sets.

They are for Python alone: YAML and custom resources have the nested form only, and the parser that reads those never
comes here. Invariants: a field is set once, flat or nested; a keyword that nobody knows is an error that names the nearest
one; the value of a URL is in no error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from .base import Contract
from .errors import ConfigError

if TYPE_CHECKING:
    from .runtime import (
        AuthConfig,
        BatchConfig,
        CacheConfig,
        DefaultRoute,
        ExecutionConfig,
        ObservabilityConfig,
        Route,
        RoutingConfig,
        ServerConfig,
        Template,
    )
    from .state import StateConfig

FLAT: Mapping[str, tuple[str, ...]] = {
    "execution_timeout": ("execution", "timeout_seconds"),
    "max_retries": ("execution", "max_retries"),
    "retry_delay_ms": ("execution", "retry_delay_ms"),
    "cache_enabled": ("cache", "enabled"),
    "cache_backend": ("cache", "backend"),
    "cache_ttl": ("cache", "ttl_seconds"),
    "cache_similarity_threshold": ("cache", "similarity_threshold"),
    "cache_max_entries": ("cache", "max_entries"),
    "cache_max_temperature": ("cache", "max_temperature"),
    "cache_scope": ("cache", "scope"),
    "batch_enabled": ("batch", "enabled"),
    "batch_window_ms": ("batch", "window_ms"),
    "batch_max_size": ("batch", "max_size"),
    "batch_similarity_threshold": ("batch", "similarity_threshold"),
    "batch_similarity": ("batch", "similarity_threshold"),
    "state_backend": ("state", "backend"),
    "checkpoint_interval": ("state", "checkpoint_interval"),
    "metrics_enabled": ("observability", "metrics"),
    "tracing_enabled": ("observability", "tracing", "enabled"),
    "tracing_endpoint": ("observability", "tracing", "otlp_endpoint"),
    "tracing_sample_percent": ("observability", "tracing", "sample_percent"),
    "log_level": ("observability", "log_level"),
}
"""Keyword to field."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A back end that needs a URL: the block and its word for it, the field that refers to the Secret, and its usual name."""

    block: str
    word: str
    field: tuple[str, str]
    reference: tuple[str, str]
    variable: str


URLS: Mapping[str, Backend] = {
    "redis_url": Backend("cache", "redis", ("redis", "url_secret_ref"), ("redis", "url"), "REDIS_URL"),
    "db_url": Backend("state", "postgresql", ("", "dsn_secret_ref"), ("postgres", "dsn"), "DATABASE_URL"),
}
"""Keywords whose value is a secret: it stays out of the model, which only refers to it."""


class Keywords(TypedDict, total=False):
    """All keywords of ``RuntimeConfig(...)``: the nested blocks, and the flat ones of ``FLAT`` and ``URLS``."""

    replicas: int
    execution: ExecutionConfig
    cache: CacheConfig
    batch: BatchConfig
    state: StateConfig
    routing: RoutingConfig
    observability: ObservabilityConfig
    server: ServerConfig
    routes: tuple[Route, ...] | list[Route]
    default_route: DefaultRoute | None
    auth: AuthConfig | None
    template: Template
    execution_timeout: float
    max_retries: int
    retry_delay_ms: int
    cache_enabled: bool
    cache_backend: Literal["memory", "redis"]
    cache_ttl: int
    cache_similarity_threshold: float | None
    cache_max_entries: int
    cache_max_temperature: float
    cache_scope: str
    batch_enabled: bool
    batch_window_ms: int
    batch_max_size: int
    batch_similarity_threshold: float
    batch_similarity: float
    state_backend: Literal["none", "memory", "postgresql"]
    checkpoint_interval: int
    metrics_enabled: bool
    tracing_enabled: bool
    tracing_endpoint: str
    tracing_sample_percent: float
    log_level: Literal["debug", "info", "warning", "error"]
    redis_url: str | SecretStr | None
    db_url: str | SecretStr | None


def nested(given: Mapping[str, Any], model: type[Contract]) -> dict[str, Any]:
    """The keywords as the model's own fields, URLs left out.

    Raises ``ConfigError``: ``UnknownKeyword``, or ``KeywordTwice`` where two say the same.
    """
    spec: dict[str, Any] = {}
    for name, value in given.items():
        field = _field(name, model)
        if field is not None:
            spec[field] = value
        elif name not in FLAT and name not in URLS:
            raise _unknown(name, model)
    for keyword, path in FLAT.items():
        if keyword in given:
            _put(spec, path, given[keyword], keyword)
    for backend in URLS.values():
        _refer(spec, backend)
    return spec


def urls(given: Mapping[str, Any], model: Contract) -> dict[str, dict[str, bytes]]:
    """The URLs by the Secret and key that the model refers to. Raises ``ConfigError`` for one that no back end would use."""
    found: dict[str, dict[str, bytes]] = {}
    for keyword, backend in URLS.items():
        value = given.get(keyword)
        if value is None:
            continue
        reference = referred(model, backend)
        if reference is None:
            raise ConfigError("UnusedUrl", f"{keyword} is used by {backend.block}_backend={backend.word!r} only")
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(plain, str):
            raise ConfigError("InvalidUrl", f"{keyword} must be a string")
        found.setdefault(reference[0], {})[reference[1]] = plain.encode()
    return found


def referred(model: Contract, backend: Backend) -> tuple[str, str] | None:
    """Secret and key that a model's back end is to be reached by; None where another back end is chosen."""
    holder: Any = getattr(model, backend.block, None)
    if holder is None or holder.backend != backend.word:
        return None
    for part in backend.field:
        holder = getattr(holder, part) if part and holder is not None else holder
    return None if holder is None else (holder.name, holder.key)


def has(model: type[Contract], path: tuple[str, ...]) -> bool:
    """Whether the contract has a field."""
    first, *rest = path
    info = model.model_fields.get(first)
    if info is None or not rest:
        return info is not None
    return isinstance(info.annotation, type) and issubclass(info.annotation, Contract) and has(info.annotation, tuple(rest))


def explained(error: ValidationError, given: Mapping[str, Any]) -> None:
    """Note below an error which keywords the fields it names were set by."""
    wrong = {tuple(str(part) for part in each["loc"]) for each in error.errors(include_url=False, include_input=False)}
    for keyword, path in FLAT.items():
        if keyword in given and wrong & {path, tuple(to_camel(part) for part in path)}:
            error.add_note(f"{'.'.join(path)} was given as {keyword}")


def _put(spec: dict[str, Any], path: tuple[str, ...], value: Any, keyword: str) -> None:
    *blocks, last = path
    for block in blocks:
        spec[block] = _opened(spec.get(block), block)
        spec = spec[block]
    if last in spec:
        raise ConfigError("KeywordTwice", f"{keyword} sets {'.'.join(path)}, which is given already; give one of them")
    spec[last] = value


def _opened(value: Any, block: str) -> dict[str, Any]:
    """A block as a mapping of what was set in it, by the Python names."""
    if value is None:
        return {}
    if isinstance(value, Contract):
        return {name: getattr(value, name) for name in value.model_fields_set}
    if isinstance(value, Mapping):
        return {_snake(str(name)): each for name, each in value.items()}
    raise ConfigError("InvalidKeyword", f"{block} must be a model or a mapping, not {type(value).__name__}")


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _refer(spec: dict[str, Any], backend: Backend) -> None:
    """Refer to the usual Secret where a back end was chosen and nothing says where it is."""
    block = spec.get(backend.block)
    if not isinstance(block, Mapping) or block.get("backend") != backend.word:
        return
    holder, last = backend.field
    name, key = backend.reference
    opened = _opened(block, backend.block)
    opened.setdefault(holder or last, {last: {"name": name, "key": key}} if holder else {"name": name, "key": key})
    spec[backend.block] = opened


def _field(name: str, model: type[Contract]) -> str | None:
    """The field that a nested keyword names, in Python or as YAML has it."""
    if name in model.model_fields:
        return name
    return next((field for field, info in model.model_fields.items() if info.alias == name), None)


def _unknown(name: str, model: type[Contract]) -> ConfigError:
    near = difflib.get_close_matches(name, list(dict.fromkeys([*FLAT, *URLS, *model.model_fields])), n=1)
    if near:
        return ConfigError("UnknownKeyword", f"RuntimeConfig has no keyword {name!r}; did you mean {near[0]!r}?")
    # Somebody may have used the name of a nested field.
    inside = [f"{block}.{field}" for block, field in _inner(model) if field == name]
    inside = inside or [f"{block}.{field}" for block, field in _inner(model) if difflib.get_close_matches(name, [field])]
    flat = {".".join(path): keyword for keyword, path in FLAT.items()}
    hint = f"; did you mean {flat.get(inside[0], inside[0])!r}?" if inside else f"; there are: {', '.join(sorted({*FLAT, *URLS, *model.model_fields}))}"
    return ConfigError("UnknownKeyword", f"RuntimeConfig has no keyword {name!r}{hint}")


def _inner(model: type[Contract]) -> Iterator[tuple[str, str]]:
    for block, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Contract):
            yield from ((block, field) for field in info.annotation.model_fields)
