"""Builds the parts of a data plane from a snapshot, and takes over from the previous ones what has not changed.

Invariants: a provider's connections, the cache with its entries, the embedder with its weights, and state with what waits
to be written survive a reload that does not concern them; a failure while building closes what was built and changes nothing; a part is closed when
the last request that began on it has left.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

from .batch import NearFlights
from .bridge import prices
from .bridge.planner import Planner
from .cache import derive_key, open_cache, open_minilm, same_question
from .config import ConfigError, Provider, Secrets, Snapshot, text
from .core import Router
from .engine import Engine, Health
from .gathering import EmbeddingCalls
from .model.cache import Cache, CacheKey, Embedder, Miss
from .model.plan import Plan
from .model.provider import ExecutionObserver
from .model.routing import CoreRouter
from .pool_embedder import PoolEmbedder
from .providers import create_provider
from .routing import Routing
from .state import Backend, StateService, open_state
from .utterances import UtteranceRouter, UtteranceVectors


class Closeable(Protocol):
    """A part that holds connections, tasks or memory."""

    async def aclose(self) -> None:
        """Free them."""


T = TypeVar("T", bound=Closeable)

LOCAL_SLOTS, POOL_SLOTS = 4, 32
"""Requests that embed at once in order to be routed: a local model works on one, and has a short queue for all."""

Credentials = dict[tuple[str, str], str | None]
"""The key of each provider; None where it is missing."""


class Shared:
    """A part and how many generations of parts hold it."""

    def __init__(self, value: Closeable) -> None:
        self.value = value
        self._holders = 0

    def hold(self) -> Shared:
        """One more generation uses it."""
        self._holders += 1
        return self

    async def release(self) -> None:
        """One generation less; the last one closes it."""
        self._holders -= 1
        if self._holders == 0:
            await self.value.aclose()


class Parts:
    """What one configuration made: everything a request needs on its way."""

    def __init__(self, snapshot: Snapshot, engine: Engine, *, providers: frozenset[tuple[str, str]], cache: Cache | None, embedder: Embedder | None,
                 routing: Routing | None, state: StateService | None, shared: dict[Hashable, Shared],
                 renewed: list[tuple[str, str]]) -> None:
        self.snapshot = snapshot
        self.planner = Planner(snapshot)
        self.engine = engine
        self.providers = providers
        self.cache = cache
        self.embedder = embedder
        self.routing = routing
        self.state = state
        self.shared = shared
        self.renewed_credentials = renewed
        self.embeddings = EmbeddingCalls(engine, snapshot.runtime.batch)
        self.near_calls, self.near_streams = _near(snapshot), _near(snapshot)
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    def __enter__(self) -> Self:
        self._users += 1
        self._unused.clear()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._users -= 1
        if not self._users:
            self._unused.set()

    def cache_key(self, plan: Plan) -> CacheKey | Miss | None:
        """Where the plan's answer belongs; a ``Miss`` that says why it is not cached; None where nothing is."""
        if self.cache is None or plan.cache is None:
            return None
        key = derive_key(plan, self.embedder.id if self.embedder else "")
        return key if isinstance(key, Miss) else replace(key, since=self.cache.moment())

    async def retire(self) -> None:
        """Close what nobody else holds, once the last request has left, or ``hurry`` is called."""
        await self._unused.wait()
        await self.close()

    def hurry(self) -> None:
        """Wait for no request any more."""
        self._unused.set()

    async def close(self) -> None:
        """Give up all parts."""
        shared, self.shared = self.shared, {}
        for each in reversed(shared.values()):
            await each.release()


class Assembler:
    """Builds ``Parts``. ``core_router``: routes instead of the utterances that the configuration has. ``dropped(count)`` hears of
    records that state could not keep; it must not raise.
    """

    def __init__(self, health: Health, observer: ExecutionObserver, *, core_router: CoreRouter | None = None,
                 dropped: Callable[[int], None] = lambda _: None) -> None:
        self._health = health
        self._observer = observer
        self._core_router = core_router
        self._dropped = dropped
        self._credentials: Credentials = {}

    async def assemble(self, snapshot: Snapshot, secrets: Secrets, previous: Parts | None) -> Parts:
        """Parts for a snapshot; raises ``ConfigError`` for what only shows while building (a bad CA bundle)."""
        build = _Build(previous.shared if previous else {})
        try:
            providers, credentials = await self._providers(build, snapshot, secrets)
            engine = Engine(providers, self._health, self._observer)
            embedder = await self._embedder(build, snapshot)
            cache = await self._cache(build, snapshot, secrets, embedder)
            routing = await self._routing(build, snapshot, embedder)
            state = await self._state(build, snapshot, secrets)
            unpriced = prices.unpriced(provider for _, provider in snapshot.providers())
            if unpriced:
                await asyncio.to_thread(prices.look_up, unpriced)
        except BaseException:
            await build.undo()
            raise
        # From here on nothing fails: the previous parts may share the embedder.
        if isinstance(embedder, PoolEmbedder):
            embedder.bind(snapshot, engine)
        if routing is not None:
            routing.start()
        renewed = [key for key, secret in credentials.items() if key in self._credentials and self._credentials[key] != secret]
        self._credentials = credentials
        return Parts(snapshot, engine, providers=frozenset(providers), cache=cache, embedder=embedder, routing=routing, state=state,
                     shared=build.shared, renewed=renewed)

    async def _providers(self, build: _Build, snapshot: Snapshot, secrets: Secrets) -> tuple[dict[tuple[str, str], Any], Credentials]:
        """The providers whose credentials are there, and the credentials of all."""
        providers: dict[tuple[str, str], Any] = {}
        credentials: Credentials = {}
        for pool, config in snapshot.providers():
            key = (pool, config.name)
            reference = config.credentials_secret_ref
            secret = text(secrets, reference) if reference else ""
            credentials[key] = secret
            bundle = _bundle(pool, config, secrets)
            if secret is None or (bundle is None and config.ca_bundle_secret_ref is not None):
                continue  # out until its key, or what it is to trust, appears; the others serve
            identity = ("provider", pool, _connection(config), _fingerprint(secret), _fingerprint(bundle or ""))
            providers[key] = await build.part(identity, partial(create_provider, config, api_key=secret, ca_bundle=bundle))
        return providers, credentials

    async def _embedder(self, build: _Build, snapshot: Snapshot) -> Embedder | None:
        config = snapshot.runtime.cache.embedder
        needed = snapshot.runtime.cache.enabled or snapshot.runtime.routable or self._core_router is not None
        if not needed or config.type == "none":
            return None
        if config.type == "minilm":
            return await build.part(("minilm",), open_minilm)
        return await build.part(PoolEmbedder.identity(snapshot), lambda: PoolEmbedder(snapshot))

    async def _cache(self, build: _Build, snapshot: Snapshot, secrets: Secrets, embedder: Embedder | None) -> Cache | None:
        config = snapshot.runtime.cache
        if not config.enabled:
            return None
        url = text(secrets, config.redis.url_secret_ref) if config.backend == "redis" and config.redis else None
        identity = ("cache", config.backend, _fingerprint(url or ""), snapshot.cache_scope, config.max_entries,
                    embedder.id if embedder else "")
        return await build.part(identity, lambda: open_cache(config, url=url, scope=snapshot.cache_scope, embedder=embedder))

    async def _routing(self, build: _Build, snapshot: Snapshot, embedder: Embedder | None) -> Routing | None:
        given = self._core_router
        if given is None and not snapshot.runtime.routable:
            return None
        if embedder is None:
            raise ConfigError("EmbedderRequired", "a router needs an embedder: cache.embedder.type must not be none")
        slots = POOL_SLOTS if isinstance(embedder, PoolEmbedder) else LOCAL_SLOTS
        if given is not None:
            return await build.part(("routing", id(given), embedder.id), lambda: Routing(embedder, lambda: given, slots=slots))
        utterances = [(route.name, text) for route in snapshot.runtime.routes for text in route.utterances]
        threshold = snapshot.runtime.routing.threshold
        vectors = await build.part(("utterance-vectors", embedder.id), lambda: UtteranceVectors(embedder))

        async def make() -> Routing:
            await asyncio.to_thread(_check_core)
            router = UtteranceRouter(utterances, threshold, vectors)
            if not isinstance(embedder, PoolEmbedder):
                # Nobody outside is needed, so a pod that is ready routes. A pool has its engine only after this.
                await router.prepare()
            return Routing(embedder, lambda: router.router, slots=slots, owned=router)

        return await build.part(("routing", embedder.id, threshold, tuple(utterances)), make)

    async def _state(self, build: _Build, snapshot: Snapshot, secrets: Secrets) -> StateService | None:
        config = snapshot.runtime.state
        if config.backend == "none":
            return None
        reference = config.dsn_secret_ref if config.backend == "postgresql" else None
        dsn = text(secrets, reference) if reference else None
        identity = ("state", config.backend, _fingerprint(dsn or ""))
        return await build.part(identity, partial(_open_state, config.backend, dsn, self._dropped))


def _check_core() -> None:
    """Import the Rust core (a third of a second)."""
    try:
        Router()
    except ImportError as error:
        raise ConfigError("RouterNotInstalled", f"spec.routes: {error}") from None


class _Build:
    """The parts being built: each by its identity, taken over where the previous generation has it."""

    def __init__(self, previous: dict[Hashable, Shared]) -> None:
        self._previous = previous
        self.shared: dict[Hashable, Shared] = {}

    async def part(self, identity: Hashable, make: Callable[[], T | Awaitable[T]]) -> T:
        shared = self._previous.get(identity) or self.shared.get(identity)
        if shared is None:
            made = make()
            shared = Shared(await made if isinstance(made, Awaitable) else made)
        if identity not in self.shared:
            self.shared[identity] = shared.hold()
        return cast("T", shared.value)

    async def undo(self) -> None:
        for shared in reversed(self.shared.values()):
            await shared.release()


async def _open_state(backend: Backend, dsn: str | None, dropped: Callable[[int], None]) -> StateService:
    # In a thread: the first time for PostgreSQL its driver is imported.
    state = await asyncio.to_thread(open_state, backend, dsn, dropped=dropped)
    state.start()
    return state


def _near(snapshot: Snapshot) -> NearFlights:
    batch = snapshot.runtime.batch
    window = batch.window_ms / 1000 if batch.enabled else 0.0
    return NearFlights(same_question, window=window, threshold=batch.similarity_threshold, clock=time.monotonic)


def _bundle(pool: str, config: Provider, secrets: Secrets) -> str | None:
    reference = config.ca_bundle_secret_ref
    if reference is None:
        return None
    bundle = text(secrets, reference)
    if bundle is not None and "BEGIN CERTIFICATE" not in bundle:
        raise ConfigError("InvalidCaBundle", f"ProviderPool/{pool}: provider {config.name!r}: key {reference.key!r} of Secret "
                                             f"{reference.name!r} holds no PEM certificate")
    return bundle


def _connection(config: Provider) -> str:
    """What a provider's connections depend on: prices, models and breakers may change without reconnecting."""
    return config.model_dump_json(exclude={"models", "circuit_breaker", "priority", "weight", "region"})


def _fingerprint(secret: str) -> str:
    """Tells secrets apart without keeping them."""
    return hashlib.sha256(secret.encode()).hexdigest()
