"""``CacheManager``: the exact and the semantic cache alone, for answers that an app makes itself.

Invariants: an entry answers only within its partition; what is near is given only where the guard allows it, as in the
runtime; a back end that does not answer is a miss, never an error; nothing is connected before the first use.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import orjson
from pydantic import SecretStr

from stratarouter_runtime.cache import open_cache, open_minilm
from stratarouter_runtime.cache.service import SemanticCache
from stratarouter_runtime.config import CacheConfig, ConfigError, RedisConfig, SecretKeyRef
from stratarouter_runtime.model.cache import CacheEntry, CacheKey, Embedder, Hit, Miss, Tier
from stratarouter_runtime.results import ExecutionResult

from .lazily import Lazily

DEFAULT_THRESHOLD = 0.95
"""Cosine from which two texts count as the same question for vectors that nobody has calibrated."""

MAX_NAME = 1_024


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """A cached answer: ``response`` as it was set, to the question ``query``.

    ``score`` is the cosine (1 in the exact tier), ``age`` in seconds.
    """

    response: Any
    query: str
    tier: Tier
    score: float
    age: float


class CacheManager:
    """Answers by their question, in memory or in a Redis that others share.

    ``redis_url``: for ``redis``. ``ttl``: seconds an answer may be reused. ``similarity_threshold``: the cosine from which two
    questions count as the same; default 0.95, or what the embedder is calibrated for. ``max_entries``: those kept in this
    process. ``embedder``: ``"minilm"`` (the local model) or an ``Embedder``, for calls that bring no vector; without one the
    semantic tier lives on the callers' vectors alone, which must all be of one model. ``scope``: managers of the same scope
    share a Redis. Raises ``ConfigError`` for what is out of bounds.
    """

    def __init__(self, backend: Literal["memory", "redis"] = "memory", redis_url: str | SecretStr | None = None, *, ttl: int = 3_600,
                 similarity_threshold: float | None = None, max_entries: int = 100_000,
                 embedder: Literal["minilm"] | Embedder | None = None, scope: str = "",
                 clock: Callable[[], float] = time.time) -> None:
        if backend == "redis" and not redis_url:
            raise ConfigError("MissingUrl", "backend 'redis' needs redis_url, for example redis://localhost:6379/0")
        if backend == "memory" and redis_url:
            raise ConfigError("UnusedUrl", "redis_url is used by backend='redis' only")
        unused = RedisConfig(url_secret_ref=SecretKeyRef(name="redis", key="url"))
        self._config = CacheConfig(backend=backend, redis=unused if backend == "redis" else None, ttl_seconds=ttl,
                                   similarity_threshold=similarity_threshold, max_entries=max_entries, scope=scope)
        self._url = redis_url.get_secret_value() if isinstance(redis_url, SecretStr) else redis_url
        self._chosen = embedder
        self._clock = clock
        self._opened = Lazily("cache manager", self._open, _close)

    async def get_exact(self, query: str, *, partition: str = "default") -> CachedResponse | None:
        """The answer to the very same question; None where there is none."""
        opened = await self._opened.get()
        return _response(await opened.cache.lookup_exact(_key(opened, query, partition)))

    async def get_semantic(self, query: str, embedding: Sequence[float] | None = None, *, partition: str = "default",
                           similarity_threshold: float | None = None) -> CachedResponse | None:
        """The answer to the nearest question that the guard takes for the same; None where there is none.

        ``embedding`` is the question's vector, of the model of all others; ``ValueError`` where there is neither one nor an
        embedder. ``similarity_threshold``: for this look-up.
        """
        opened = await self._opened.get()
        self._check(embedding)
        vector = None if embedding is None else _checked(embedding)
        threshold = self._config.similarity_threshold if similarity_threshold is None else similarity_threshold
        return _response(await opened.cache.lookup_semantic(_key(opened, query, partition), threshold=threshold, vector=vector))

    async def get(self, query: str, embedding: Sequence[float] | None = None, *, partition: str = "default") -> CachedResponse | None:
        """``get_exact``, else ``get_semantic`` where there is a vector or an embedder."""
        found = await self.get_exact(query, partition=partition)
        if found is not None or (embedding is None and self._chosen is None):
            return found
        return await self.get_semantic(query, embedding, partition=partition)

    async def set(self, query: str, embedding: Sequence[float] | None, response: Any, *, partition: str = "default",
                  ttl: float | None = None) -> bool:
        """Keep an answer; False where the back end did not take it.

        ``response``: what JSON can hold, or an ``ExecutionResult`` (its text is kept); ``TypeError`` for anything else.
        Without ``embedding`` and embedder it is found by ``get_exact`` only. ``ttl``: seconds, for this answer.
        """
        if ttl is not None and not ttl > 0:
            raise ValueError("ttl must be more than 0 seconds")
        opened = await self._opened.get()
        key = _key(opened, query, partition)
        vector = None if embedding is None else _checked(embedding)
        body = _body(response)
        entry = CacheEntry(partition=key.partition, exact=key.exact, body=body, pool="", provider="", model="", region="",
                           created=self._clock(), ttl=ttl or self._config.ttl_seconds, text=query)
        return await opened.cache.store(key, entry, vector=vector)

    async def delete(self, query: str, *, partition: str = "default") -> bool:
        """Forget an answer, everywhere; False where the back end does not answer."""
        opened = await self._opened.get()
        return await opened.cache.delete(_key(opened, query, partition).exact)

    async def clear(self) -> bool:
        """Forget all answers of this scope, everywhere; False where the back end does not answer."""
        opened = await self._opened.get()
        return await opened.cache.clear()

    async def stats(self) -> dict[str, Any]:
        """``entries``, ``bytes``, ``hits``, ``exactHits``, ``semanticHits``, ``misses``, ``backend`` (``up`` or ``down``) and the like."""
        return (await self._opened.get()).cache.stats()

    async def aclose(self) -> None:
        """Close its connections; what is in memory is gone."""
        await self._opened.aclose()

    async def __aenter__(self) -> Self:
        await self._opened.get()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"CacheManager(backend={self._config.backend!r}, ttl={self._config.ttl_seconds}, max_entries={self._config.max_entries})"

    async def _open(self) -> _Opened:
        own = self._chosen == "minilm"
        embedder = await open_minilm() if self._chosen == "minilm" else self._chosen or _Vectors()
        try:
            cache = await open_cache(self._config, url=self._url, scope=f"manager:{self._config.scope}", embedder=embedder)
        except BaseException:
            if own:
                await embedder.aclose()
            raise
        return _Opened(cache, embedder, own)

    def _check(self, embedding: Sequence[float] | None) -> None:
        if embedding is None and self._chosen is None:
            raise ValueError("get_semantic needs the question's embedding, or a manager with an embedder: CacheManager(embedder='minilm')")


@dataclass(frozen=True, slots=True)
class _Opened:
    cache: SemanticCache
    embedder: Embedder
    own: bool


async def _close(opened: _Opened) -> None:
    try:
        await opened.cache.aclose()
    finally:
        if opened.own:
            await opened.embedder.aclose()


class _Vectors:
    """Stands for the model that the callers' vectors come from."""

    id = "callers"
    threshold = DEFAULT_THRESHOLD

    def fits(self, text: str) -> bool:  # noqa: ARG002 (the protocol's)
        return True

    async def embed(self, text: str) -> None:  # noqa: ARG002
        return None

    async def aclose(self) -> None:
        """It holds nothing."""


def _key(opened: _Opened, query: str, partition: str) -> CacheKey:
    for name, value in (("query", query), ("partition", partition)):
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    digest = _sha256("manager", opened.embedder.id, partition)
    return CacheKey(scope="", partition=digest, exact=_sha256(digest, query), family="chat", tenant="", route="", model="", text=query)


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _body(response: Any) -> bytes:
    value = response.response if isinstance(response, ExecutionResult) else response
    try:
        return orjson.dumps({"response": value})
    except TypeError as error:
        raise TypeError(f"a response must be what JSON can hold, or an ExecutionResult: {error}") from None


def _checked(embedding: Sequence[float]) -> list[float]:
    """The vector as plain numbers; raises ``ValueError`` for what points nowhere."""
    try:
        vector = [float(number) for number in embedding]
    except TypeError:
        vector = []
    if not any(vector) or not all(map(math.isfinite, vector)):
        raise ValueError("an embedding must be one row of finite numbers that are not all 0")
    return vector


def _response(found: Hit | Miss) -> CachedResponse | None:
    if isinstance(found, Miss):
        return None
    entry = found.entry
    return CachedResponse(orjson.loads(entry.body)["response"], entry.text or "", found.tier, found.score, found.age)
