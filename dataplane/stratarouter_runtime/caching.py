"""What a request asks of the cache, and what its answer leaves there.

Invariants: an answer is given only where the policy would let its provider answer now; only whole answers of the plan's
primary model are kept, because a fallback's would be served as the primary's from then on.
"""

from __future__ import annotations

from decimal import Decimal

from .assembly import Parts
from .model.cache import CacheEntry, CacheKey, Hit, Miss
from .model.plan import Candidate, Plan
from .model.request import Directives
from .model.response import ChatResponse, Response, Usage


async def exact(parts: Parts, plan: Plan, key: CacheKey, directives: Directives) -> Hit | Miss:
    """The same request, answered before."""
    if parts.cache is None:
        return Miss("disabled")
    return admitted(parts, plan, await parts.cache.lookup_exact(key, max_age=directives.cache.max_age))


async def semantic(parts: Parts, plan: Plan, key: CacheKey, directives: Directives, found: Miss) -> Hit | Miss:
    """A request that asks the same in other words; ``found`` is what the exact tier said, and stays where there is no other."""
    if parts.cache is None or parts.embedder is None or plan.cache is None or key.text is None:
        return found
    threshold = parts.embedder.threshold if plan.cache.threshold is None else plan.cache.threshold
    return admitted(parts, plan, await parts.cache.lookup_semantic(
        key, threshold=max(threshold, directives.similarity_threshold or 0),
        vector=plan.vector if directives.vector is None else directives.vector, max_age=directives.cache.max_age))


def admitted(parts: Parts, plan: Plan, found: Hit | Miss) -> Hit | Miss:
    """A cached answer is given only where the policy would let its provider answer now."""
    if isinstance(found, Miss):
        return found
    entry = found.entry
    refused = parts.planner.readmits(plan, provider=entry.provider, model=entry.model, region=entry.region)
    return found if refused is None else Miss("policy", refused.rule, found.score)


def may_keep(key: CacheKey | Miss | None, plan: Plan, candidate: Candidate) -> bool:
    """Whether an answer of this candidate, once it is whole, belongs into the cache."""
    return isinstance(key, CacheKey) and candidate.model == plan.primary.model


def is_whole(response: Response) -> bool:
    """Whether an answer is complete: one cut by length or by a filter is not what the next caller should get."""
    return not isinstance(response, ChatResponse) or response.finish_reason in ("stop", "tool_calls", "function_call")


def entry_of(plan: Plan, key: CacheKey, candidate: Candidate, response: Response, *, usage: Usage | None, cost: Decimal | None,
             ttl: float, now: float) -> CacheEntry:
    """An answer as the cache keeps it; ``now`` in Unix seconds."""
    return CacheEntry(
        partition=key.partition, exact=key.exact, body=response.raw, pool=candidate.pool, provider=candidate.provider,
        model=candidate.model, region=candidate.region, created=now, ttl=ttl, text=key.text,
        input_tokens=usage.input if usage else 0, output_tokens=usage.output if usage else 0,
        cost_usd=None if cost is None else format(cost, "f"), route=plan.route, tenant=plan.tenant)
