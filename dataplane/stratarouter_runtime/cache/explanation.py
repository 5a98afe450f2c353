"""What a look-up would find, for people: the entry of the same request, and the nearest questions with what the guard says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stratarouter_runtime.model.cache import CacheEntry

from .guard import GuardVerdict


@dataclass(frozen=True, slots=True)
class NeighbourNote:
    """A near question. ``close``: its score reaches the threshold; ``entry`` None: it has gone since it was indexed."""

    exact: str
    text: str
    score: float
    close: bool
    guard: GuardVerdict
    entry: CacheEntry | None

    def to_document(self, now: float) -> dict[str, Any]:
        """As JSON has it; without the answer."""
        return {
            "key": self.exact, "question": self.text, "score": round(self.score, 6), "close": self.close,
            "guard": {"allowed": self.guard.allowed, "reason": self.guard.reason, "detail": self.guard.detail},
            "entry": None if self.entry is None else entry_document(self.entry, now)}


@dataclass(frozen=True, slots=True)
class CacheExplanation:
    """``exact`` answers the same request; ``near`` come nearest first; ``unsearched`` says why none were looked for."""

    exact: CacheEntry | None
    threshold: float | None
    near: tuple[NeighbourNote, ...]
    unsearched: str = ""


def entry_document(entry: CacheEntry, now: float) -> dict[str, Any]:
    """An entry without the answer; times in seconds."""
    return {"key": entry.exact, "pool": entry.pool, "provider": entry.provider, "model": entry.model, "region": entry.region,
            "route": entry.route, "tenant": entry.tenant, "age_seconds": round(max(0.0, now - entry.created), 3),
            "expires_seconds": round(entry.expires() - now, 3), "bytes": len(entry.body), "cost_usd": entry.cost_usd}
