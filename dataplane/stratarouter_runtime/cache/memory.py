"""Entries of this process alone, bounded by number and bytes; the least recently used go first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from stratarouter_runtime.model.cache import CacheEntry, Vector

from .codec import MAX_ENTRY_BYTES
from .store import Follower, Unshared

MAX_BYTES = 512 * 1024 * 1024
OVERHEAD = 1_024
"""Bytes an entry costs besides its body: its fields and its place in the tables."""
DELETIONS = 10_000
"""Deletions remembered; who began before one that is forgotten stores nothing, because it may have been theirs."""


class MemoryStore:
    """A ``Store`` that never fails. ``clock`` is Unix seconds."""

    def __init__(self, *, max_entries: int, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.time) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, CacheEntry] = OrderedDict()
        self._bytes = 0
        self._follower: Follower | None = None
        self._moment = 0
        self._deleted: OrderedDict[str, int] = OrderedDict()
        self._forgotten = 0
        self.notes = Unshared()
        self.up = True
        self.errors = 0

    def moment(self) -> str:
        return str(self._moment)

    async def get(self, exact: str) -> CacheEntry | None:
        entry = self._entries.get(exact)
        if entry is None:
            return None
        if entry.expires() <= self._clock():
            self._drop(exact)
            return None
        self._entries.move_to_end(exact)
        return entry

    async def put(self, entry: CacheEntry, vector: Vector | None, *, since: str = "") -> bool:
        if since and any(int(since) < self._deleted.get(mark, self._forgotten)
                         for mark in (entry.exact, f"p:{entry.partition}", f"t:{entry.tenant}")):
            return False
        size = _size(entry)
        if size > min(MAX_ENTRY_BYTES, self._max_bytes):
            return False
        former = self._entries.pop(entry.exact, None)
        if former is not None:
            self._bytes -= _size(former)
        self._entries[entry.exact] = entry
        self._bytes += size
        if vector is not None and self._follower is not None:
            self._follower.added(entry.partition, entry.exact, vector, entry.expires(), entry.text or "")
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))
        return True

    async def delete(self, exact: str) -> bool:
        self._mark(exact)
        if exact not in self._entries:
            return False
        self._drop(exact)
        return True

    async def drop(self, *, partition: str = "", tenant: str = "") -> int:
        self._mark(f"t:{tenant}" if tenant else f"p:{partition}")
        gone = [each.exact for each in self._entries.values() if (each.tenant == tenant if tenant else each.partition == partition)]
        for exact in gone:
            self._drop(exact)
        return len(gone)

    async def clear(self) -> None:
        for exact in list(self._entries):
            self._drop(exact)

    def stats(self) -> dict[str, int]:
        return {"entries": len(self._entries), "bytes": self._bytes}

    async def start(self, follower: Follower) -> None:
        self._follower = follower

    async def aclose(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0

    def _mark(self, what: str) -> None:
        self._moment += 1
        self._deleted[what] = self._moment
        self._deleted.move_to_end(what)
        if len(self._deleted) > DELETIONS:
            _, self._forgotten = self._deleted.popitem(last=False)

    def _drop(self, exact: str) -> None:
        self._bytes -= _size(self._entries.pop(exact))
        if self._follower is not None:
            self._follower.removed(exact)


def _size(entry: CacheEntry) -> int:
    return len(entry.body) + len(entry.text or "") + OVERHEAD
