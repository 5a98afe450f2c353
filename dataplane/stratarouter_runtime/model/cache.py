"""How the runtime meets the semantic cache, and the cache its embedder.

Invariants: an entry answers only keys of its own partition; a look-up never raises and never waits longer than tens
of milliseconds: whatever goes wrong is a miss with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from .request import Family

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector: TypeAlias = NDArray[np.float32]
else:
    # numpy takes a tenth of a second to import and is not needed to describe a vector.
    Vector = Sequence[float]

Tier = Literal["exact", "semantic"]


class Embedder(Protocol):
    """Turns text into unit vectors. ``id`` changes whenever the vectors would: vectors of two ids never mix."""

    @property
    def id(self) -> str:
        """Names the vector space."""

    @property
    def threshold(self) -> float:
        """The calibrated cosine from which two texts count as the same question."""

    def fits(self, text: str) -> bool:
        """Whether the whole text is seen: what is cut at a window looks alike."""

    async def embed(self, text: str) -> Vector | None:
        """The unit vector (float32); None when busy or failing, which counts as a miss."""

    async def aclose(self) -> None:
        """Free what it holds."""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Where an answer belongs.

    ``partition`` and ``exact`` are SHA-256 in hex; ``text`` is what the semantic tier compares, None where that
    tier must not be used, for the reason in ``exact_only``. ``since`` is the cache's moment when the request began (see
    ``Cache.moment``); empty for who does not mind deletions that came meanwhile.
    """

    scope: str
    partition: str
    exact: str
    family: Family
    tenant: str
    route: str
    model: str
    text: str | None = None
    exact_only: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A complete, successful answer.

    ``body`` is the response as OpenAI JSON; ``text`` the question it answered; ``created`` in Unix seconds,
    ``ttl`` in seconds; ``input_tokens`` and ``output_tokens`` and ``cost_usd`` (a decimal string, None where unknown)
    are what it had cost.
    """

    partition: str
    exact: str
    body: bytes
    pool: str
    provider: str
    model: str
    region: str
    created: float
    ttl: float
    text: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: str | None = None
    route: str = ""
    tenant: str = ""

    def expires(self) -> float:
        """Unix seconds from which it must not be used."""
        return self.created + self.ttl


@dataclass(frozen=True, slots=True)
class Hit:
    """A usable entry. ``score`` is the cosine (1 in the exact tier), ``age`` in seconds."""

    entry: CacheEntry
    tier: Tier
    score: float
    age: float


@dataclass(frozen=True, slots=True)
class Miss:
    """No usable entry.

    ``reason`` is one of few words (``absent``, ``below-threshold``, ``guard``, ``backend``, ``embedder``, ...) and a
    metric's label; ``detail`` says more (the guard's reason); ``score`` is the nearest cosine; ``vector`` the text's
    vector where it was computed, so that storing need not compute it again.
    """

    reason: str
    detail: str = ""
    score: float | None = None
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Which answer an execution gave: what feedback on it needs to know.

    ``exact`` is the key of the cache entry that the answer came from or went into, empty where there is none;
    ``keep`` is for how many seconds the note is of use.
    """

    tenant: str
    route: str
    model: str
    exact: str
    keep: float


class Cache(Protocol):
    """Exact and semantic look-up and store."""

    def moment(self) -> str:
        """Now, in the order of deletions: an answer to a request that began before a deletion must not be stored after it."""

    async def lookup_exact(self, key: CacheKey, *, max_age: float | None = None) -> Hit | Miss:
        """The same canonical request in the same partition."""

    async def lookup_semantic(self, key: CacheKey, *, threshold: float | None = None, vector: Sequence[float] | None = None,
                              max_age: float | None = None) -> Hit | Miss:
        """The nearest allowed question of the same partition; ``threshold`` None: the embedder's own."""

    async def store(self, key: CacheKey, entry: CacheEntry, *, vector: Sequence[float] | None = None) -> bool:
        """Keep an answer; False where it could not be kept, or was deleted after ``key.since``. Called after the reply.

        ``vector``: its question's, in any length.
        """

    async def delete(self, exact: str) -> bool:
        """Forget an entry on every pod, for good: a store that is late brings it back nowhere. Whether there was one.

        Raises ``StoreUnavailable``: then it may still be there.
        """

    async def explain(self, key: CacheKey, *, threshold: float | None, vector: Sequence[float] | None, embed: bool) -> Any:
        """What a look-up would find and why; without ``embed`` only by a given vector. Raises ``StoreUnavailable``."""

    async def drop(self, *, partition: str = "", tenant: str = "") -> int:
        """Forget all entries of a partition or a tenant, as ``delete`` does; how many. Raises ``StoreUnavailable``."""

    def note(self, execution: str, note: Note) -> None:
        """Let all pods that share the cache know of an execution's answer. Never waits; may be lost with the back end."""

    async def recall(self, execution: str) -> Note | None:
        """What any pod noted; raises ``StoreUnavailable``."""

    async def claimed(self, execution: str, verdict: str) -> bool:
        """Whether ``claim`` was called for this; raises ``StoreUnavailable``."""

    async def claim(self, execution: str, verdict: str) -> bool:
        """True for the first of all pods that asks; raises ``StoreUnavailable``."""

    def stats(self) -> dict[str, Any]:
        """``entries``, ``bytes``, ``backend`` (``up`` or ``down``) and the like; nothing secret."""

    async def start(self) -> None:
        """Start its tasks and load what exists; returns before loading is done."""

    async def aclose(self) -> None:
        """Stop its tasks and close its connections."""
