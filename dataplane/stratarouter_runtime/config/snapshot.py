"""The immutable, validated configuration that a data plane runs.

The operator writes it, the pods read it, and ``strata-runtime serve`` builds it from the same resources on disk: one
parser, one cross-resource check, one form on disk.

Invariants: a ``Snapshot`` that exists is valid; it holds the pools it uses and no others; its ``digest`` is the
SHA-256 of the exact bytes it was read from (or would be written as).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from .base import DNS_LABEL, Contract, SecretKeyRef
from .errors import ConfigError, invalid
from .pool import Provider, ProviderPool
from .runtime import DEFAULT_ROUTE, DefaultRoute, PoolRef, RuntimeConfig

GROUP = "stratarouter.io"
API_VERSION = f"{GROUP}/v1alpha1"
NAME_LENGTH = 45
"""Names become names of Services and ConfigMaps with suffixes, and those end at 63 characters."""

OPERATOR_FIELDS: tuple[tuple[str, ...], ...] = (("replicas",), ("template",), ("observability", "serviceMonitor"))
"""Paths of ``RuntimeConfig.spec`` that only the operator uses: they are left out of what pods read."""

_Spec = TypeVar("_Spec", bound=Contract)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One valid configuration: a RuntimeConfig and the pools it uses.

    ``open``: nobody configured routes or models (the library over clients): the default route serves every route's name,
    and a pool is asked for models that it does not list.
    """

    name: str
    namespace: str
    generation: int
    runtime: RuntimeConfig
    pools: Mapping[str, ProviderPool]
    digest: str = field(default="")
    open: bool = False

    @classmethod
    def of(cls, runtime: RuntimeConfig, pools: Mapping[str, ProviderPool], *, name: str, open: bool = False) -> Snapshot:  # noqa: A002
        """A snapshot of values made in Python; raises ``ConfigError`` where they do not fit each other."""
        _check(f"RuntimeConfig/{name}", runtime, pools)
        return cls(name, "default", 0, runtime, MappingProxyType(dict(pools)), open=open)._with_digest()  # noqa: SLF001 (its own class)

    @classmethod
    def build(cls, runtime: Mapping[str, Any], pools: Iterable[Mapping[str, Any]], *, digest: str = "") -> Snapshot:
        """Validate resources (as Kubernetes serves them) into a snapshot.

        Raises ``ConfigError`` that names the resource and field, the missing pool, or the unknown model.
        """
        name, spec = _read(runtime, RuntimeConfig)
        read = dict(_read(pool, ProviderPool) for pool in _used(spec, pools))
        _check(f"RuntimeConfig/{name}", spec, read)
        metadata = runtime["metadata"]
        snapshot = cls(
            name=name,
            namespace=str(metadata.get("namespace") or "default"),
            generation=_generation(f"RuntimeConfig/{name}", metadata),
            runtime=spec,
            pools=MappingProxyType(dict(sorted(read.items()))),
            digest=digest,
        )
        return snapshot if digest else snapshot._with_digest()

    def running(self, runtime: RuntimeConfig) -> Snapshot:
        """The same pools under another RuntimeConfig; raises ``ConfigError`` where that does not fit them."""
        if runtime == self.runtime:
            return self
        _check(f"RuntimeConfig/{self.name}", runtime, self.pools)
        return replace(self, runtime=runtime)._with_digest()  # noqa: SLF001 (its own class)

    def to_yaml(self) -> bytes:
        """The form pods read: the same resources, reduced to what pods use; the same value gives the same bytes."""
        spec = self.runtime.document()
        for *parents, last in OPERATOR_FIELDS:
            holder = spec
            for parent in parents:
                holder = holder.get(parent, {})
            holder.pop(last, None)
        documents = [self._resource("RuntimeConfig", self.name, spec)]
        documents += [self._resource("ProviderPool", name, pool.document()) for name, pool in self.pools.items()]
        # In ASCII: unescaped, some of Unicode's line ends would be read as other text than was written.
        return yaml.safe_dump_all(documents, sort_keys=True, explicit_start=True).encode()

    def routes(self) -> Iterator[tuple[str, DefaultRoute]]:
        """All routes by the name they are reported under, ``default`` last."""
        for route in self.runtime.routes:
            yield route.name, route
        if self.runtime.default_route is not None:
            yield DEFAULT_ROUTE, self.runtime.default_route

    def providers(self) -> Iterator[tuple[str, Provider]]:
        """Every (pool name, provider)."""
        for name, pool in self.pools.items():
            for provider in pool.providers:
                yield name, provider

    def secret_keys(self) -> Iterator[tuple[SecretKeyRef, str]]:
        """Every Secret key that is used, with what uses it."""
        redis = self.runtime.cache.redis
        if redis is not None:
            yield redis.url_secret_ref, "cache.redis"
        if self.runtime.state.dsn_secret_ref is not None:
            yield self.runtime.state.dsn_secret_ref, "state"
        for pool, provider in self.providers():
            if provider.credentials_secret_ref is not None:
                yield provider.credentials_secret_ref, f"{pool}/{provider.name}"
            if provider.ca_bundle_secret_ref is not None:
                yield provider.ca_bundle_secret_ref, f"{pool}/{provider.name} caBundle"

    def secret_names(self) -> list[str]:
        """Every Secret that is used, sorted: what a pod mounts."""
        names = {reference.name for reference, _ in self.secret_keys()}
        auth = self.runtime.auth
        if auth is not None:
            names.add(auth.api_keys_secret_ref.name)
            if auth.admin_keys_secret_ref is not None:
                names.add(auth.admin_keys_secret_ref.name)
        return sorted(names)

    @property
    def cache_scope(self) -> str:
        """Who shares cache entries: the configured scope, else this RuntimeConfig alone."""
        chosen = self.runtime.cache.scope
        return f"shared:{chosen}" if chosen else f"own:{self.namespace}/{self.name}"

    def _with_digest(self) -> Snapshot:
        return replace(self, digest=digest(self.to_yaml()))

    def _resource(self, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": name, "namespace": self.namespace}
        if kind == "RuntimeConfig":
            metadata["generation"] = self.generation
        return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def digest(content: bytes) -> str:
    """``configHash``: SHA-256 in hex of exact bytes."""
    return hashlib.sha256(content).hexdigest()


def select(documents: Iterable[Mapping[str, Any]], *, name: str | None = None, digest: str = "") -> Snapshot:
    """The snapshot of the one RuntimeConfig among ``documents``, or of the one called ``name``.

    Resources of other API groups are passed over; an unknown kind or version of ours is an error.
    """
    runtimes: list[Mapping[str, Any]] = []
    pools: list[Mapping[str, Any]] = []
    for document in documents:
        if not str(document.get("apiVersion", "")).startswith(f"{GROUP}/"):
            continue
        kind = _kind(document)
        (runtimes if kind == "RuntimeConfig" else pools).append(document)
    chosen = [each for each in runtimes if name is None or _name(each) == name]
    if len(chosen) == 1:
        namespace = _namespace(chosen[0])
        return Snapshot.build(chosen[0], [pool for pool in pools if _namespace(pool) == namespace], digest=digest)
    names = ", ".join(sorted(_name(each) for each in runtimes)) or "none"
    if name is not None and not chosen:
        raise ConfigError("RuntimeConfigNotFound", f"no RuntimeConfig is called {name!r}; there are: {names}")
    if not chosen:
        raise ConfigError("RuntimeConfigNotFound", "the configuration has no RuntimeConfig")
    raise ConfigError("RuntimeConfigAmbiguous", f"the configuration has several RuntimeConfigs ({names}); choose one by name")


def _kind(document: Mapping[str, Any]) -> str:
    kind, version = document.get("kind"), document.get("apiVersion")
    if version != API_VERSION or kind not in ("RuntimeConfig", "ProviderPool"):
        raise ConfigError("UnknownKind", f"{version} {kind} is not known; expected {API_VERSION} RuntimeConfig or ProviderPool")
    return str(kind)


def _metadata(document: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _name(document: Mapping[str, Any]) -> str:
    return str(_metadata(document).get("name") or "")


def _namespace(document: Mapping[str, Any]) -> str:
    return str(_metadata(document).get("namespace") or "default")


def _generation(resource: str, metadata: Mapping[str, Any]) -> int:
    generation = metadata.get("generation") or 0
    if not isinstance(generation, int):
        raise ConfigError("InvalidMetadata", f"{resource}: metadata.generation: must be an integer")
    return generation


def _read(document: Mapping[str, Any], model: type[_Spec]) -> tuple[str, _Spec]:
    name = _name(document)
    resource = f"{model.__name__}/{name}"
    if len(name) > NAME_LENGTH or not re.fullmatch(DNS_LABEL, name):
        raise ConfigError("InvalidName", f"{resource}: metadata.name: must be a DNS-1035 label of at most {NAME_LENGTH} characters")
    spec = document.get("spec")
    if not isinstance(spec, Mapping):
        raise ConfigError("InvalidSpec", f"{resource}: spec: must be a mapping")
    try:
        return name, model.model_validate(spec)
    except ValidationError as error:
        raise invalid(resource, error) from None


def _used(spec: RuntimeConfig, pools: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    wanted = {reference.name for _, route in _routes(spec) for reference in route.pools}
    if spec.cache.embedder.pool is not None and spec.cache.embedder.type == "pool":
        wanted.add(spec.cache.embedder.pool)
    seen: set[str] = set()
    for pool in pools:
        name = _name(pool)
        if name in seen and name in wanted:
            raise ConfigError("DuplicatePool", f"ProviderPool/{name} is there twice")
        seen.add(name)
        if name in wanted:
            yield pool


def _routes(spec: RuntimeConfig) -> Iterator[tuple[str, DefaultRoute]]:
    for index, route in enumerate(spec.routes):
        yield f"spec.routes[{index}]", route
    if spec.default_route is not None:
        yield "spec.defaultRoute", spec.default_route


def _check(resource: str, spec: RuntimeConfig, pools: Mapping[str, ProviderPool]) -> None:
    """What only all resources together can show."""
    if spec.default_route is None and not spec.routes:
        raise ConfigError("NoRoutes", f"{resource}: spec.defaultRoute: a defaultRoute or at least one route is required")
    _check_hops(resource, spec)
    missing: list[str] = []
    unknown: list[str] = []
    references = [(f"{path}.pools[{index}]", reference) for path, route in _routes(spec)
                  for index, reference in enumerate(route.pools)]
    embedder = spec.cache.embedder
    if embedder.type == "pool" and embedder.pool is not None:
        references.append(("spec.cache.embedder", PoolRef(name=embedder.pool, model=embedder.model)))
    for path, reference in references:
        pool = pools.get(reference.name)
        if pool is None:
            missing.append(f"{resource}: {path}: ProviderPool {reference.name!r} does not exist in this namespace")
        elif reference.model is not None and not _serves(pool, reference.model):
            unknown.append(f"{resource}: {path}: no provider of ProviderPool {reference.name!r} has a model {reference.model!r}")
    vectors = pools.get(embedder.pool or "")
    if embedder.type == "pool" and vectors is not None and not unknown and not _embeds(vectors, embedder.model):
        unknown.append(f"{resource}: spec.cache.embedder: the model {embedder.model!r} of ProviderPool {embedder.pool!r} has no "
                       "capability 'embeddings'")
    if missing:
        raise ConfigError("PoolNotFound", *missing, *unknown)
    if unknown:
        raise ConfigError("ModelNotFound", *unknown)


def _check_hops(resource: str, spec: RuntimeConfig) -> None:
    """A violation's route must exist and be another one."""
    names = {route.name for route in spec.routes} | ({DEFAULT_ROUTE} if spec.default_route else set())
    for (path, route), name in zip(_routes(spec), [*(route.name for route in spec.routes), DEFAULT_ROUTE], strict=False):
        target = route.policy.violation_route
        if target is not None and (target not in names or target == name):
            raise ConfigError("RouteNotFound", f"{resource}: {path}.policy.violationRoute: there is no other route {target!r}")


def _serves(pool: ProviderPool, model: str) -> bool:
    return any(each.name == model for provider in pool.providers for each in provider.models)


def _embeds(pool: ProviderPool, model: str | None) -> bool:
    return any(each.name == model and (each.capabilities is None or "embeddings" in each.capabilities)
               for provider in pool.providers for each in provider.models)
