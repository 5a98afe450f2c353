"""What keeps entries: this process or a shared Redis.

Invariants: every method is bounded in time; a store that cannot answer raises ``StoreUnavailable`` and nothing else.
"""

from __future__ import annotations

from typing import Protocol

from stratarouter_runtime.model.cache import CacheEntry, Note, Vector


class StoreUnavailable(Exception):  # noqa: N818 (says what is the case)
    """The store does not answer now: a look-up is a miss, an answer is not stored."""


class Follower(Protocol):
    """Who must hear of entries, whoever put them: the index."""

    def added(self, partition: str, exact: str, vector: Vector, expires: float, text: str) -> None:
        """An entry with a vector is there; ``expires`` in Unix seconds, ``text`` the question it answers."""

    def removed(self, exact: str) -> None:
        """An entry is gone."""

    def dropped(self, partition: str) -> None:
        """All entries of a partition are gone."""

    def cleared(self) -> None:
        """Everything known may be wrong: forget it, all that exists is told again."""


class Notes(Protocol):
    """What pods note of executions for each other; see ``Cache.note``, ``recall``, ``claimed`` and ``claim``."""

    def write(self, execution: str, note: Note) -> None:
        """Tell the other pods; never waits."""

    async def read(self, execution: str) -> Note | None:
        """What somebody wrote."""

    async def claimed(self, execution: str, verdict: str) -> bool:
        """Whether somebody claimed it."""

    async def claim(self, execution: str, verdict: str) -> bool:
        """Whether nobody had before."""


class Unshared:
    """The ``Notes`` of a cache that is a pod's own: there is nobody to tell, and the pod itself remembers."""

    def write(self, execution: str, note: Note) -> None:
        """Nobody else needs it."""

    async def read(self, execution: str) -> Note | None:  # noqa: ARG002 (the protocol's)
        return None

    async def claimed(self, execution: str, verdict: str) -> bool:  # noqa: ARG002 (the protocol's)
        return False

    async def claim(self, execution: str, verdict: str) -> bool:  # noqa: ARG002 (the protocol's)
        return True


class Store(Protocol):
    """Keeps entries by their exact key."""

    @property
    def notes(self) -> Notes:
        """What is noted beside the entries."""

    def moment(self) -> str:
        """Now, in the order of deletions; what ``put`` takes as ``since``."""

    @property
    def up(self) -> bool:
        """Whether it answers."""

    @property
    def errors(self) -> int:
        """Commands that failed or took too long, since the start."""

    async def get(self, exact: str) -> CacheEntry | None:
        """One entry."""

    async def put(self, entry: CacheEntry, vector: Vector | None, *, since: str = "") -> bool:
        """Keep an entry and tell every follower; False where it is too large, or its key was deleted after ``since``."""

    async def delete(self, exact: str) -> bool:
        """Forget an entry and tell every follower; whether there was one."""

    async def drop(self, *, partition: str = "", tenant: str = "") -> int:
        """Forget all entries of one partition or one tenant, as ``delete`` does, and say how many."""

    async def clear(self) -> None:
        """Forget all entries of this scope; whoever still knows of one finds it gone."""

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
    notes = Unshared()

    def moment(self) -> str:
        return ""

    async def get(self, exact: str) -> CacheEntry | None:  # noqa: ARG002 (the protocol's)
        raise StoreUnavailable("the Redis URL is missing")

    async def put(self, entry: CacheEntry, vector: Vector | None, *, since: str = "") -> bool:  # noqa: ARG002 (the protocol's)
        raise StoreUnavailable("the Redis URL is missing")

    async def delete(self, exact: str) -> bool:  # noqa: ARG002 (the protocol's)
        raise StoreUnavailable("the Redis URL is missing")

    async def drop(self, *, partition: str = "", tenant: str = "") -> int:  # noqa: ARG002 (the protocol's)
        raise StoreUnavailable("the Redis URL is missing")

    async def clear(self) -> None:
        raise StoreUnavailable("the Redis URL is missing")

    def stats(self) -> dict[str, int]:
        return {}

    async def start(self, follower: Follower) -> None:
        """There is nothing to follow."""

    async def aclose(self) -> None:
        """There is nothing to close."""
