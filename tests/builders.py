"""Resources as a user writes them: plain mappings with sensible content, changed by keyword.

Pure but for ``write``. Keywords are the fields' own names (camelCase), so that a test reads like the YAML it stands for.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stratarouter_runtime.config import API_VERSION, Snapshot

Document = dict[str, Any]
ENDPOINT = "http://127.0.0.1:9/v1"


def model(name: str = "gpt-4o", **fields: Any) -> Document:
    """A model of a provider."""
    return {"name": name, **fields}


def provider(name: str = "primary", *models: Document | str, **fields: Any) -> Document:
    """A provider without credentials that nobody answers for; without models it has ``gpt-4o``."""
    served = [each if isinstance(each, dict) else model(each) for each in models or ("gpt-4o",)]
    return {"name": name, "type": "openaicompatible", "endpoint": ENDPOINT, "models": served, **fields}


def pool(name: str = "chat", *providers: Document, namespace: str = "", **fields: Any) -> Document:
    """A ProviderPool; without providers it has ``provider()``."""
    return _resource("ProviderPool", name, namespace, {"providers": list(providers or (provider(),)), **fields})


def runtime(name: str = "assistant", *, namespace: str = "", generation: int | None = None, **fields: Any) -> Document:
    """A RuntimeConfig whose default route is the pool ``chat`` and whose cache is exact only and in memory."""
    spec = {"cache": {"embedder": {"type": "none"}}, "defaultRoute": {"pools": [{"name": "chat"}]}, **fields}
    document = _resource("RuntimeConfig", name, namespace, {key: value for key, value in spec.items() if value is not None})
    if generation is not None:
        document["metadata"]["generation"] = generation
    return document


def secret(name: str, values: Mapping[str, str] | None = None, **more: str) -> Document:
    """A Secret manifest with ``stringData``."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {**(values or {}), **more}}


def snapshot(document: Document | None = None, *pools: Document) -> Snapshot:
    """A valid snapshot; without arguments the smallest one."""
    return Snapshot.build(document or runtime(), pools or (pool(),))


def dump(*documents: Document) -> bytes:
    """Documents as one YAML file."""
    return yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True).encode()


def write(path: Path, *documents: Document) -> Path:
    """Write a YAML file at once, as an editor that saves safely does."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_bytes(dump(*documents))
    scratch.replace(path)
    return path


def mount(root: Path, name: str, values: Mapping[str, str | bytes] | None) -> None:
    """Lay out or rotate a Secret volume as the kubelet does: a dated folder, the ``..data`` link to it, a link for each key.

    The link is swapped in one step. None: the Secret does not exist, and its optional volume is empty.
    """
    volume = root / name
    volume.mkdir(parents=True, exist_ok=True)
    link = volume / "..data"
    previous = link.readlink() if link.is_symlink() else None
    number = int(str(previous).rsplit("_", 1)[1]) + 1 if previous else 0
    dated = volume / f"..2026_01_02_03_04_05_{number}"
    if values is not None:
        dated.mkdir()
        for key, value in values.items():
            (dated / key).write_bytes(value if isinstance(value, bytes) else value.encode())
        scratch = volume / "..data_tmp"
        scratch.symlink_to(dated.name)
        scratch.replace(link)
        for key in values:
            with contextlib.suppress(FileExistsError):
                (volume / key).symlink_to(Path("..data") / key)
    elif previous:
        link.unlink()
    for entry in volume.iterdir():
        if not entry.name.startswith("..") and entry.name not in (values or {}):
            entry.unlink()
    if previous:
        for file in (volume / previous).iterdir():
            file.unlink()
        (volume / previous).rmdir()


async def until(condition: Any, *, within: float = 10.0) -> None:
    """Wait for something that happens elsewhere, told by a function or a coroutine function; fails with what was waited for."""
    deadline = asyncio.get_running_loop().time() + within
    while not (await found if inspect.isawaitable(found := condition()) else found):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"did not happen within {within:g} s: {getattr(condition, '__doc__', None) or condition}")
        await asyncio.sleep(0.005)


def environment(**values: str) -> dict[str, str]:
    """This process's environment for a child, with changes."""
    return {**os.environ, **values}


def full_context() -> Document:
    """A context with every field."""
    return {"systemPrompt": "You answer for $customer.", "variables": ["customer"], "metadata": {"team": "billing"}}


def full_policy(route: str) -> Document:
    """A policy with every rule; a violation leads to ``route``."""
    return {
        "minConfidence": 0.6, "maxCostPerRequestUsd": "0.05", "maxInputTokens": 8000, "allowedRegions": ["eu"],
        "allowedProviders": ["primary"], "blockedProviders": ["other"], "allowedModels": ["gpt-4o"], "requiredMetadata": ["tenant"],
        "timeWindows": [{"days": ["Mon"], "from": "08:00", "to": "18:00", "timeZone": "Europe/Berlin"}],
        "onViolation": "route", "violationRoute": route}


FULL_RUNTIME: Document = {
    "replicas": 3,
    "execution": {"timeoutSeconds": 30, "maxRetries": 2, "retryDelayMs": 50},
    "cache": {
        "enabled": False, "backend": "redis", "redis": {"urlSecretRef": {"name": "redis", "key": "url"}}, "scope": "shared",
        "ttlSeconds": 60, "maxEntries": 1000, "maxTemperature": 0.5, "similarityThreshold": 0.97,
        "embedder": {"type": "pool", "pool": "chat", "model": "embed", "similarityThreshold": 0.96}},
    "batch": {"enabled": False, "windowMs": 20, "maxSize": 16, "similarityThreshold": 0.99},
    "observability": {
        "metrics": False, "serviceMonitor": {"enabled": False, "interval": "30s", "labels": {"release": "prometheus"}},
        "tracing": {"enabled": True, "otlpEndpoint": "http://otel:4318/v1/traces", "protocol": "http", "samplePercent": 12.5},
        "logLevel": "debug"},
    "server": {"maxBodyBytes": 2048, "keepaliveSeconds": 0.5, "terminationGraceSeconds": 30},
    "routes": [{"name": "billing", "pools": [{"name": "chat", "model": "gpt-4o"}], "context": full_context(),
                "policy": full_policy("default"), "cache": {"similarityThreshold": 0.99}, "utterances": ["Where is my invoice?"]}],
    "defaultRoute": {"pools": [{"name": "chat", "model": "gpt-4o"}], "context": full_context(), "policy": full_policy("billing"),
                     "cache": {"similarityThreshold": 0.98}},
    "routing": {"threshold": 0.6},
    "state": {"backend": "postgresql", "dsnSecretRef": {"name": "postgres", "key": "dsn"}, "checkpointInterval": 5},
    "auth": {"apiKeysSecretRef": {"name": "keys"}, "adminKeysSecretRef": {"name": "admins"}, "trustedTenantHeader": True},
    "template": {
        "image": "registry.example/runtime:1", "imagePullPolicy": "Always", "resources": {"limits": {"memory": "2Gi"}},
        "nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}}, "annotations": {"team": "billing"},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]},
}
"""A ``RuntimeConfig.spec`` that sets every field of the contract, none to its default."""

FULL_POOL: Document = {
    "strategy": "weighted",
    "providers": [{
        "name": "primary", "type": "vllm", "endpoint": "https://vendor.example/v1",
        "azureopenai": {"apiVersion": "2024-10-21", "auth": "entra"},
        "vertexai": {"project": "billed", "location": "europe-west4"},
        "credentialsSecretRef": {"name": "vendor", "key": "apiKey"}, "headers": {"OpenAI-Organization": "org"},
        "proxyUrl": "http://proxy:3128", "caBundleSecretRef": {"name": "ca", "key": "ca.crt"}, "region": "eu",
        "priority": 1, "weight": 50,
        "models": [
            {"name": "gpt-4o", "upstreamName": "gpt-4o-2024-11-20", "capabilities": ["chat"], "contextTokens": 128000, "maxOutputTokens": 4096,
             "embeddingSpace": "space",
             "price": {"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10.00", "cachedInputPerMillionTokens": "1.25"}},
            {"name": "embed", "capabilities": ["embeddings"]}],
        "limits": {"maxConcurrentRequests": 8},
        "timeouts": {"connectMs": 100, "firstTokenMs": 200, "idleMs": 300, "totalMs": 400},
        "circuitBreaker": {"errorRatePercent": 20, "minimumRequests": 5, "windowSeconds": 10, "consecutiveFailures": 3,
                           "openSeconds": 7, "halfOpenProbes": 2}}],
}
"""A ``ProviderPool.spec`` that sets every field of the contract, none to its default."""


def full() -> tuple[Document, Document]:
    """A RuntimeConfig and its pool with every field set."""
    return (_resource("RuntimeConfig", "assistant", "", copy.deepcopy(FULL_RUNTIME)),
            _resource("ProviderPool", "chat", "", copy.deepcopy(FULL_POOL)))


def steps(path: str) -> list[str | int]:
    """``routes[].pools[].model`` as the keys and indices of the first such leaf."""
    found: list[str | int] = []
    for part in path.split("."):
        found.append(part.removesuffix("[]"))
        if part.endswith("[]"):
            found.append(0)
    return found


def at(spec: Any, path: str) -> Any:
    """The value of the first leaf of that path; raises ``KeyError``."""
    for step in steps(path):
        spec = spec[step]
    return spec


def put(spec: Document, path: str, value: Any) -> Document:
    """The spec with the first leaf of that path set, and what holds it made where it is missing; a copy."""
    changed = copy.deepcopy(spec)
    holder: Any = changed
    *parents, last = way = steps(path)
    for step, following in zip(parents, way[1:], strict=True):
        if isinstance(step, str) and step not in holder:
            holder[step] = [{}] if isinstance(following, int) else {}
        holder = holder[step]
    holder[last] = value
    return changed


def _resource(kind: str, name: str, namespace: str, spec: Document) -> Document:
    metadata: Document = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
