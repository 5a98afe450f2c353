"""What an in-process runtime runs on: a snapshot and its secrets, from what the app has.

Providers are, in this order: the pools that came with the configuration (``RuntimeConfig.load``), the clients of a registry,
those that the environment describes. With clients and neither routes nor a default route configured, the snapshot is
open: the clients in their order serve whatever route a decision names.

A back end's URL that is not given is read from ``REDIS_URL`` or ``DATABASE_URL``, for configurations made in Python only:
YAML names a Secret. Without one the runtime does as a pod without its Secret: misses, or records dropped and counted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

from stratarouter_runtime.config import (
    ConfigError,
    DefaultRoute,
    PoolRef,
    ProviderPool,
    RuntimeConfig,
    SecretKeyRef,
    Snapshot,
    StaticSecrets,
    capture,
)
from stratarouter_runtime.config.keywords import URLS, Backend, referred

from .client import Client
from .clients import CLIENTS, from_environment

NAME = "python"
"""The name of a configuration made in Python."""


@dataclass(frozen=True, slots=True)
class Resources:
    """A valid snapshot, its secrets, and what the app should hear."""

    snapshot: Snapshot
    secrets: StaticSecrets
    warnings: tuple[str, ...] = ()


def gather(config: RuntimeConfig, clients: Mapping[str, Client] | None = None) -> Resources:
    """What a configuration runs on; may read files. Raises ``ConfigError``, ``NoProvider`` where there is nobody to ask."""
    origin = config.origin
    if origin.snapshot is not None:
        snapshot = origin.snapshot.running(config)
        return Resources(snapshot, capture(origin.secrets, snapshot.secret_names()))
    clients = clients or from_environment()
    if not clients:
        raise ConfigError("NoProvider", _nobody())
    secrets: dict[str, dict[str, bytes]] = {}
    pools = {name: _pool(name, number, client, secrets) for number, (name, client) in enumerate(clients.items())}
    warnings = tuple(_locate(keyword, backend, config, secrets) for keyword, backend in URLS.items())
    is_open = config.default_route is None and not config.routes
    if is_open:
        chain = tuple(PoolRef.model_construct(name=name, model=None) for name in clients)
        config = config.model_copy(update={"default_route": DefaultRoute.model_construct(pools=chain)})
    snapshot = Snapshot.of(config, pools, name=f"{NAME}-{_fingerprint(clients)}", open=is_open)
    return Resources(snapshot, StaticSecrets(secrets), tuple(each for each in warnings if each))


def _pool(name: str, number: int, client: Client, secrets: dict[str, dict[str, bytes]]) -> ProviderPool:
    """A client as a pool of its own; a registry's name need not be one that Kubernetes allows."""
    secret = f"client-{number}"
    key, bundle = client.key.get_secret_value(), client.ca_bundle
    values = {"apiKey": key.encode()} if key else {}
    values |= {"ca.crt": bundle.encode()} if bundle else {}
    if values:
        secrets[secret] = values
    provider = client.config.model_copy(update={
        "name": name,
        "credentials_secret_ref": SecretKeyRef(name=secret, key="apiKey") if key else None,
        "ca_bundle_secret_ref": SecretKeyRef(name=secret, key="ca.crt") if bundle else None})
    return ProviderPool(providers=(provider,))


def _locate(keyword: str, backend: Backend, config: RuntimeConfig, secrets: dict[str, dict[str, bytes]]) -> str:
    """Where a back end is; what the app should hear where nobody says."""
    reference = referred(config, backend)
    if reference is None or (backend.block == "cache" and not config.cache.enabled):
        return ""
    secret, key = reference
    value = config.origin.secrets.read(secret, key) or os.environ.get(backend.variable, "").strip().encode()
    if value:
        secrets.setdefault(secret, {})[key] = value
        return ""
    lost = "every look-up is a miss" if backend.block == "cache" else "what is to be recorded is dropped and counted"
    return f"{backend.block}_backend is {backend.word!r} and nothing says where it is: give {keyword}=..., or set {backend.variable}; {lost}"


def _fingerprint(clients: Mapping[str, Client]) -> str:
    """Tells apps on one Redis apart whose clients have the same names and are others."""
    told = [(name, client.config.type, client.config.endpoint or "") for name, client in clients.items()]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:8]


def _nobody() -> str:
    variables = ", ".join(name for each in CLIENTS for name in each.key_variables)
    return (f"there is no provider to ask. Set a vendor's usual variable ({variables}); or give clients: registry = LLMClientRegistry(); "
            "registry.register('openai', OpenAIClient(api_key=...)); CoreRuntimeBridge(config, registry=registry); or read pools: "
            "RuntimeConfig.load('examples/local/')")
