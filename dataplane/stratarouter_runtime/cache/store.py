"""What keeps entries: this process or a shared Redis.

Invariants: every method is bounded in time; a store that cannot answer raises ``StoreUnavailable`` and nothing else.
"""

from __future__ import annotations

from typing import Protocol

from stratarouter_runtime.model.cache import CacheEntry, Vector


class StoreUnavailable(Exception):  # noqa: N818 (says what is the case)
    """The store does not answer now: a look-up is a miss, an answer is not stored."""


class Follower(Protocol):
    """Who must hear of entries, whoever put them: the index."""

    def added(self, partition: str, exact: str, vector: Vector, expires: float, text: str) -> None:
        """An entry with a vector is there; ``expires`` in Unix seconds, ``text`` the question it answers."""

    def removed(self, exact: str) -> None:
        """An entry is gone."""

    def cleared(self) -> None:
        """Everything known may be wrong: forget it, all that exists is told again."""


class Store(Protocol):
    """Keeps entries by their exact key."""

    @property
    def up(self) -> bool:
        """Whether it answers."""

    @property
    def errors(self) -> int:
        """Commands that failed or took too long, since the start."""

    async def get(self, exact: str) -> CacheEntry | None:
        """One entry."""

    async def put(self, entry: CacheEntry, vector: Vector | None) -> bool:
        """Keep an entry and tell every follower; False where it is too large."""

    async def delete(self, exact: str) -> None:
        """Forget an entry and tell every follower."""

    def stats(self) -> dict[str, int]:
        """``entries`` and ``bytes`` where it knows them."""

    async def start(self, follower: Follower) -> None:
        """Tell ``follower`` of what exists and of every change; returns before all is told."""

    async def aclose(self) -> None:
        """Stop its tasks, close its connections."""


class MissingStore:
    """Stands where the Redis URL's Secret is missing: every look-up is a miss."""

    up = False
    errors = 0

    async def get(self, exact: str) -> CacheEntry | None:  # noqa: ARG002 (the protocol's)
        raise StoreUnavailable("the Redis URL is missing")

    async def put(self, entry: CacheEntry, vector: Vector | None) -> bool:  # noqa: ARG002 (the protocol's)
        raise StoreUnavailable("the Redis URL is missing")

    async def delete(self, exact: str) -> None:  # noqa: ARG002 (the protocol's)
        raise StoreUnavailable("the Redis URL is missing")

    def stats(self) -> dict[str, int]:
        return {}

    async def start(self, follower: Follower) -> None:
        """There is nothing to follow."""

    async def aclose(self) -> None:
        """There is nothing to close."""
