"""Exact and semantic look-up and store, over one store, one index and one embedder.

Invariants: a look-up never raises: whatever fails is a miss with a reason; every hit is checked again for its partition
and its expiry, whatever the index or the store said; an answer found by similarity is given only if the guard allows it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from stratarouter_runtime.model.cache import CacheEntry, CacheKey, Embedder, Hit, Miss, Note, Vector

from .explanation import CacheExplanation, NeighbourNote
from .guard import verdict, warm
from .index import Neighbour, VectorIndex
from .store import Store, StoreUnavailable

STORING_SECONDS = 0.1
"""How long an exact look-up waits for an answer that is just being stored under its key."""
NEIGHBOURS = 5
"""The guard may refuse the nearest and allow a later one."""


class SemanticCache:
    """The ``Cache`` of a data plane. ``embedder`` None: exact tier only; ``clock`` is Unix seconds."""

    def __init__(self, store: Store, index: VectorIndex | None, embedder: Embedder | None, *,
                 clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._index = index
        self._embedder = embedder
        self._clock = clock
        self._counts = {"exactHits": 0, "semanticHits": 0, "misses": 0}
        self._storing: dict[str, asyncio.Event] = {}
        self.shed = 0

    async def start(self) -> None:
        """Follow the store; what exists is indexed in the background while the exact tier serves."""
        if self._embedder is not None:
            await asyncio.to_thread(warm)
        await self._store.start(self)

    async def aclose(self) -> None:
        """Stop following, close the store and the index. The embedder belongs to whoever made it."""
        await self._store.aclose()
        if self._index is not None:
            self._index.close()

    async def lookup_exact(self, key: CacheKey, *, max_age: float | None = None) -> Hit | Miss:
        """The same canonical request in the same partition; one that is just being stored is waited for, briefly."""
        storing = self._storing.get(key.exact)
        if storing is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(STORING_SECONDS):
                    await storing.wait()
        try:
            entry = await self._store.get(key.exact)
        except StoreUnavailable:
            return self._miss(Miss("backend"), final=key.text is None)
        if entry is None or not self._usable(entry, key, max_age):
            return self._miss(Miss("absent", key.exact_only), final=key.text is None)
        self._counts["exactHits"] += 1
        return Hit(entry, "exact", 1.0, self._age(entry))

    async def lookup_semantic(self, key: CacheKey, *, threshold: float | None = None, vector: Sequence[float] | None = None,
                              max_age: float | None = None) -> Hit | Miss:
        """The nearest allowed question of the same partition."""
        embedder, index = self._embedder, self._index
        if embedder is None or index is None or key.text is None:
            return self._miss(Miss("exact-only", key.exact_only))
        if key.partition not in index and vector is None:
            # Nothing can answer: the vector is only needed for storing, which is off the request's path. A given one goes on,
            # because the entry must be stored with it: the embedder's would be of another space than the caller's next.
            return self._miss(Miss("absent"))
        given = await self._vector(embedder, key.text, vector)
        if isinstance(given, Miss):
            return self._miss(given)
        near = index.search(key.partition, given, NEIGHBOURS, self._clock())
        if not near:
            return self._miss(Miss("absent", vector=given))
        least = embedder.threshold if threshold is None else threshold
        # Float32 cosines of equal vectors fall a rounding error short of 1.
        close = [neighbour for neighbour in near if neighbour.score >= least - 1e-6]
        if not close:
            return self._miss(Miss("below-threshold", score=near[0].score, vector=given))
        return await self._judge(key, close, given, max_age)

    async def store(self, key: CacheKey, entry: CacheEntry, *, vector: Sequence[float] | None = None) -> bool:
        """Keep an answer, with its question's vector where the semantic tier may use it."""
        done = self._storing[key.exact] = asyncio.Event()
        try:
            return await self._store_now(key, entry, vector)
        finally:
            done.set()
            if self._storing.get(key.exact) is done:
                del self._storing[key.exact]

    async def _store_now(self, key: CacheKey, entry: CacheEntry, vector: Sequence[float] | None) -> bool:
        unit: Vector | None = None
        if key.text is not None and self._embedder is not None:
            found = await self._vector(self._embedder, key.text, vector)
            unit = None if isinstance(found, Miss) else found
        try:
            kept = await self._store.put(entry, unit, since=key.since)
        except StoreUnavailable:
            return False
        if kept and unit is not None and key.text is not None:
            self.added(entry.partition, entry.exact, unit, entry.expires(), key.text)
        return kept

    def moment(self) -> str:
        """Now, in the order of deletions."""
        return self._store.moment()

    async def delete(self, exact: str) -> bool:
        """Forget an entry everywhere and for good; whether there was one. Raises ``StoreUnavailable``."""
        self.removed(exact)
        return await self._store.delete(exact)

    async def drop(self, *, partition: str = "", tenant: str = "") -> int:
        """Forget a partition or a tenant everywhere and for good; how many entries. Raises ``StoreUnavailable``."""
        return await self._store.drop(partition=partition, tenant=tenant)

    async def explain(self, key: CacheKey, *, threshold: float | None, vector: Sequence[float] | None, embed: bool) -> CacheExplanation:
        """What a look-up would find and why; ``embed`` False: only a given vector is used. Raises ``StoreUnavailable``."""
        exact = await self._store.get(key.exact)
        near, why = await self._near(key, vector, embed=embed)
        least = threshold if threshold is not None or self._embedder is None else self._embedder.threshold
        found = [NeighbourNote(each.exact, each.text, each.score, least is None or each.score >= least - 1e-6,
                               verdict(each.text, key.text or ""), await self._store.get(each.exact)) for each in near]
        return CacheExplanation(exact if exact is not None and self._usable(exact, key, None) else None, least, tuple(found), why)

    def note(self, execution: str, note: Note) -> None:
        """Let all pods that share the store know of an execution's answer."""
        self._store.notes.write(execution, note)

    async def recall(self, execution: str) -> Note | None:
        """What any pod noted; raises ``StoreUnavailable``."""
        return await self._store.notes.read(execution)

    async def claimed(self, execution: str, verdict: str) -> bool:
        """Whether any pod claimed it; raises ``StoreUnavailable``."""
        return await self._store.notes.claimed(execution, verdict)

    async def claim(self, execution: str, verdict: str) -> bool:
        """True for the first of all pods; raises ``StoreUnavailable``."""
        return await self._store.notes.claim(execution, verdict)

    async def clear(self) -> bool:
        """Forget all entries of this scope; False where the store does not answer."""
        self.cleared()
        try:
            await self._store.clear()
        except StoreUnavailable:
            return False
        return True

    def stats(self) -> dict[str, Any]:
        """Figures of this pod."""
        figures = self._store.stats()
        indexed = len(self._index) if self._index is not None else 0
        held = self._index.bytes if self._index is not None else 0
        hits = self._counts["exactHits"] + self._counts["semanticHits"]
        return {"entries": figures.get("entries", indexed), "bytes": figures.get("bytes", 0) + held, "indexed": indexed,
                "hits": hits, **self._counts, "backend": "up" if self._store.up else "down", "backendErrors": self._store.errors,
                "embedderShed": self.shed}

    # --- the store's follower ---
    def added(self, partition: str, exact: str, vector: Vector, expires: float, text: str) -> None:
        """Index an entry that somebody put."""
        if self._index is not None and expires > self._clock():
            self._index.add(partition, exact, vector, expires, text)

    def removed(self, exact: str) -> None:
        """Forget an entry that is gone."""
        if self._index is not None:
            self._index.remove(exact)

    def dropped(self, partition: str) -> None:
        """Forget a partition."""
        if self._index is not None:
            self._index.drop(partition)

    def cleared(self) -> None:
        """Forget all; what exists is told again."""
        if self._index is not None:
            self._index.clear()

    # --- steps ---
    async def _vector(self, embedder: Embedder, text: str, given: Sequence[float] | None) -> Vector | Miss:
        if given is not None:
            vector = np.asarray(given, dtype=np.float32)
            length = float(np.linalg.norm(vector)) if vector.ndim == 1 else 0.0
            return vector / length if length > 0 and np.isfinite(length) else Miss("embedder", "the given vector is no direction")
        if not embedder.fits(text):
            return Miss("exact-only", "window")
        embedded = await embedder.embed(text)
        if embedded is None:
            self.shed += 1
            return Miss("embedder")
        return embedded

    async def _near(self, key: CacheKey, vector: Sequence[float] | None, *, embed: bool) -> tuple[list[Neighbour], str]:
        """The nearest entries, whatever their score; or why none was looked for."""
        if self._embedder is None or self._index is None or key.text is None:
            return [], key.exact_only or "no-embedder"
        if vector is None and not embed:
            return [], "embedder"
        given = await self._vector(self._embedder, key.text, vector)
        if isinstance(given, Miss):
            return [], given.detail or given.reason
        return self._index.search(key.partition, given, NEIGHBOURS, self._clock()), ""

    async def _judge(self, key: CacheKey, close: list[Neighbour], vector: Vector, max_age: float | None) -> Hit | Miss:
        """The nearest that the guard allows and that is still there."""
        refused = Miss("absent", score=close[0].score, vector=vector)
        for neighbour in close:
            said = verdict(neighbour.text, key.text or "")
            if not said.allowed:
                if refused.reason != "guard":
                    refused = Miss("guard", said.reason, neighbour.score, vector)
                continue
            try:
                entry = await self._store.get(neighbour.exact)
            except StoreUnavailable:
                return self._miss(Miss("backend", vector=vector))
            if entry is None:
                self.removed(neighbour.exact)
            elif entry.text == neighbour.text and self._usable(entry, key, max_age):
                self._counts["semanticHits"] += 1
                return Hit(entry, "semantic", neighbour.score, self._age(entry))
        return self._miss(refused)

    def _usable(self, entry: CacheEntry, key: CacheKey, max_age: float | None) -> bool:
        now = self._clock()
        return (entry.partition == key.partition and now < entry.expires()
                and (max_age is None or now - entry.created <= max_age))

    def _age(self, entry: CacheEntry) -> float:
        return max(0.0, self._clock() - entry.created)

    def _miss(self, miss: Miss, *, final: bool = True) -> Miss:
        if final:
            self._counts["misses"] += 1
        return miss
