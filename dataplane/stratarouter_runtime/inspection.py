"""Looking into the cache, and taking out of it, for admins.

Invariants: nobody is called and nothing is stored; answers are not shown; what is deleted is gone on every pod, for good.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from .assembly import Parts
from .cache import StoreUnavailable
from .cache.explanation import CacheExplanation, NeighbourNote, entry_document
from .model.cache import Cache, CacheEntry, Miss
from .model.errors import ExecutionError, RequestError
from .model.plan import Plan
from .model.request import Caller, Directives, Request
from .pool_embedder import PoolEmbedder

logger = logging.getLogger(__name__)

T = TypeVar("T")


def overview(parts: Parts) -> dict[str, Any]:
    """The cache of this pod: its figures, and what it compares with. Raises ``RequestError`` 404 where there is none."""
    cache, embedder = _cache(parts), parts.embedder
    return {**cache.stats(), "scope": parts.snapshot.cache_scope, "embedder": embedder.id if embedder else "",
            "threshold": embedder.threshold if embedder else None}


async def explain(parts: Parts, request: Request, *, tenant: str, route: str | None = None, threshold: float | None = None,
                  vector: Sequence[float] | None = None, wall: Callable[[], float] = time.time) -> dict[str, Any]:
    """What the cache would do with a tenant's request and why.

    ``vector`` is the question's; without one the local embedder makes it, and a pool's is not asked. Raises ``StrataError``: what
    planning raises, 404 without a cache, 503 while the cache does not answer.
    """
    cache = _cache(parts)
    plan = parts.planner.plan(request, Caller(tenant), Directives(route=route, similarity_threshold=threshold, vector=vector))
    key = parts.cache_key(plan)
    told: dict[str, Any] = {"route": plan.route, "tenant": plan.tenant, "primary": plan.primary.to_document()}
    if key is None or isinstance(key, Miss):
        why = Miss("disabled") if key is None else key
        return {**told, "cacheable": False, "outcome": _words(why.reason, why.detail)}
    terms = plan.cache
    given = parts.embedder.threshold if parts.embedder else None
    least = terms.threshold if terms and terms.threshold is not None else given
    if least is not None:
        least = max(least, threshold or 0.0)
    found = await _asked(cache.explain(key, threshold=least, vector=plan.vector if vector is None else vector,
                                       embed=not isinstance(parts.embedder, PoolEmbedder)))
    now = wall()
    return {
        **told, "cacheable": True, "scope": key.scope, "partition": key.partition, "key": key.exact, "threshold": found.threshold,
        "exact": None if found.exact is None else {**entry_document(found.exact, now), "policy": _refusal(parts, plan, found.exact)},
        "neighbours": [{**each.to_document(now), "policy": _refusal(parts, plan, each.entry)} for each in found.near],
        "unsearched": found.unsearched, "outcome": _outcome(parts, plan, found)}


async def delete(parts: Parts, *, key: str = "", partition: str = "", tenant: str = "") -> int:
    """Take an entry, a partition or a tenant out of the cache of every pod; how many entries. Raises ``StrataError``: 404, 503."""
    cache = _cache(parts)
    count = int(await _asked(cache.delete(key))) if key else await _asked(cache.drop(partition=partition, tenant=tenant))
    logger.info("entries were taken out of the cache", extra={"count": count})
    return count


def _cache(parts: Parts) -> Cache:
    if parts.cache is None:
        raise RequestError("CacheDisabled", "There is no cache (cache.enabled is false).", status=404)
    return parts.cache


async def _asked(work: Awaitable[T]) -> T:
    try:
        return await work
    except StoreUnavailable:
        raise ExecutionError("CacheUnavailable", "The cache does not answer; try again later.", status=503, retry_after=5) from None


def _refusal(parts: Parts, plan: Plan, entry: CacheEntry | None) -> str | None:
    """The policy's rule that forbids an entry; None where it may be given."""
    refused = None if entry is None else parts.planner.readmits(plan, provider=entry.provider, model=entry.model, region=entry.region)
    return None if refused is None else refused.rule


def _outcome(parts: Parts, plan: Plan, found: CacheExplanation) -> str:
    """What the look-up comes to, in the words of ``Cache-Status``."""
    if found.exact is not None:
        refused = _refusal(parts, plan, found.exact)
        return "hit exact" if refused is None else _words("policy", refused)
    answers = next((each for each in found.near if each.close and each.guard.allowed and each.entry is not None), None)
    if answers is not None:
        refused = _refusal(parts, plan, answers.entry)
        return "hit semantic" if refused is None else _words("policy", refused)
    return _missed(found.near, found.unsearched)


def _missed(near: tuple[NeighbourNote, ...], unsearched: str) -> str:
    if not near:
        return _words("absent", unsearched)
    close = [each for each in near if each.close]
    guarded = next((each.guard.reason for each in close if not each.guard.allowed), "")
    return "below-threshold" if not close else _words("guard", guarded) if guarded else "absent"


def _words(reason: str, detail: str) -> str:
    return f"{reason} {detail}".strip()
