"""The cache's embedder over a pool's embeddings: a network call through the engine, in any language the model knows.

Invariants: vectors of two spaces never mix: the id covers the upstream name or the declared space of the model's first
provider, and the engine fails over only within that; a failure or a full embedder is a miss, never an error.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Hashable, Sequence
from random import Random
from typing import Any

from .bridge.candidates import PoolCandidates
from .cache.guard import SURFACE_VERSION, surface
from .config import EmbedderConfig, ProviderPool, Snapshot
from .engine import Engine
from .model.cache import Vector
from .model.errors import StrataError
from .model.plan import Candidate, Plan
from .model.request import EmbeddingsRequest
from .wire import openai_embeddings
from .wire.answers import AnswerError

DEFAULT_THRESHOLD = 0.95
"""Cosine from which two texts count as the same question for a model nobody has calibrated: on the strict side."""
TIMEOUT_SECONDS = 2.0
"""Longer than that, asking the model itself is the better use of the caller's time."""
BULK_TIMEOUT_SECONDS = 30.0
"""Nobody waits for many texts at once."""
MAX_IN_FLIGHT = 64
MAX_CHARACTERS = 8_000
"""About 2,000 tokens: within the window of every current embedding model, so that no text is cut."""
INTERNAL_ROUTE = "cache"
"""The route under which its calls are reported."""


class PoolEmbedder:
    """Embeds with a model of a pool."""

    def __init__(self, snapshot: Snapshot) -> None:
        config, _, candidates = _chosen(snapshot)
        self._id = _space(candidates[0], config)
        self._in_flight = 0
        self.bind(snapshot, None)

    def bind(self, snapshot: Snapshot, engine: Engine | None) -> None:
        """Use this configuration and engine from now on; the vector space is the same."""
        config, _, candidates = _chosen(snapshot)
        self._candidates = tuple(candidates)
        self._threshold = config.similarity_threshold or DEFAULT_THRESHOLD
        self._engine = engine

    @staticmethod
    def identity(snapshot: Snapshot) -> Hashable:
        """Equal for two snapshots whose vectors may be compared."""
        config, _, candidates = _chosen(snapshot)
        return "pool-embedder", _space(candidates[0], config)

    @property
    def id(self) -> str:
        """Names the vector space."""
        return self._id

    @property
    def threshold(self) -> float:
        """The configured threshold, or the default."""
        return self._threshold

    def fits(self, text: str) -> bool:
        """Whether no current embedding model would cut the text."""
        return len(text) <= MAX_CHARACTERS

    async def embed(self, text: str) -> Vector | None:
        """The unit vector; None where the pool does not give one in time."""
        if self._engine is None or self._in_flight >= MAX_IN_FLIGHT:
            return None
        self._in_flight += 1
        try:
            return await self._ask(self._engine, text)
        except (StrataError, AnswerError):
            return None
        finally:
            self._in_flight -= 1

    async def embed_many(self, texts: Sequence[str]) -> list[Vector] | None:
        """The unit vectors of some tens of texts, in one call off any request's path; None where it fails."""
        if self._engine is None:
            return None
        try:
            found = await self._call(self._engine, [surface(text) or text for text in texts], BULK_TIMEOUT_SECONDS)
        except (StrataError, AnswerError):
            return None
        vectors = [vector for each in found if (vector := _unit(each)) is not None]
        return vectors if len(vectors) == len(texts) else None

    async def aclose(self) -> None:
        """It holds nothing of its own."""
        self._engine = None

    async def _ask(self, engine: Engine, text: str) -> Vector | None:
        said = surface(text)  # case, courtesy and typing errors make no other question
        return _unit((await self._call(engine, said, TIMEOUT_SECONDS))[0])

    async def _call(self, engine: Engine, given: str | list[str], timeout: float) -> Sequence[Any]:  # noqa: ASYNC109 (the plan's)
        body = {"model": self._candidates[0].model, "input": given, "encoding_format": "float"}
        request = EmbeddingsRequest(body=body, inputs=(given,) if isinstance(given, str) else tuple(given))
        plan = Plan(route=INTERNAL_ROUTE, family="embeddings", request=request, tenant="", candidates=self._candidates,
                    timeout=timeout, max_attempts=len(self._candidates), retry_delay=0.05)
        outcome = await engine.embed(plan, asyncio.get_running_loop().time() + timeout)
        return openai_embeddings.vectors_of(outcome.response.body)


def _chosen(snapshot: Snapshot) -> tuple[EmbedderConfig, ProviderPool, list[Candidate]]:
    config = snapshot.runtime.cache.embedder
    pool = snapshot.pools[config.pool or ""]
    candidates = PoolCandidates(config.pool or "", pool).serve("embeddings", config.model or "", Random(0))  # noqa: S311 (order)
    return config, pool, candidates


def _space(candidate: Candidate, config: EmbedderConfig) -> str:
    name = candidate.embedding_space or f"{candidate.upstream_model}"
    return "pool-" + hashlib.sha256(f"{name}\0{config.type}\0{SURFACE_VERSION}".encode()).hexdigest()[:16]


def _unit(values: object) -> Vector | None:
    import numpy as np  # noqa: PLC0415 (a tenth of a second to import, and only the cache needs it)

    vector = np.asarray(values, dtype=np.float32)
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 and np.isfinite(length) else None
