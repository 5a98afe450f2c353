"""Where an answer belongs: its partition, its exact key, and the text the semantic tier compares.

The key is taken from the enriched request by deny-list: a field nobody has heard of is part of it. Left out are, and
why:

- ``model``: the caller's name for it; the plan's primary (pool, model) stands in the partition instead, so that
  two names of one model share answers and one name of two models does not.
- ``stream``, ``stream_options``: how the answer travels, not what it is; the cache replays either way.
- ``user``, ``safety_identifier``, ``prompt_cache_key``, ``prompt_cache_retention``: who asks and how the vendor
  caches; tenants are kept apart by the partition.
- ``metadata``, ``store``: what the vendor keeps about the call.
- ``service_tier``: how fast and at what price.
- what the plan had to drop with the caller's leave is named in it: who did not give that leave must not get the answer.
- a request of Anthropic's Messages API is part of the key as it came, beside its canonical form: it may say more.
- ``encoding_format`` stays in for embeddings: there it changes the bytes that are stored.

Invariants: pure; equal keys mean that the same answer is right; a partition holds only what could answer each other:
the same scope, tenant, API family, primary, system prompt, history, tools, parameters and embedder.

Source of the canonical form: JSON with sorted keys, as RFC 8785 in spirit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.cache import CacheKey, Miss
from stratarouter_runtime.model.plan import CacheTerms, Plan
from stratarouter_runtime.model.request import ChatRequest, Request

VERSION = "1"
"""Changes when the same request would get another key; entries of the old one are then never found."""

LEFT_OUT = frozenset({
    "model", "stream", "stream_options", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "metadata", "store", "service_tier"})

_DROPPED, _NATIVE = "strata:dropped", "strata:native"

MAX_TEXT = 4_000
"""Characters; longer questions use the exact tier only."""


def derive_key(plan: Plan, embedder: str) -> CacheKey | Miss:
    """The key of a plan's answer, or a ``Miss`` that says why it must not be cached.

    ``embedder`` is the embedder's id, empty where there is only the exact tier.
    """
    if plan.cache is None:
        return Miss("disabled")
    try:
        return _derived(plan, plan.cache, embedder)
    except TypeError:
        # In-process callers may pass what JSON cannot say (an integer beyond 64 bits, half of a surrogate pair).
        return Miss("ineligible", "not-json")


def _derived(plan: Plan, terms: CacheTerms, embedder: str) -> CacheKey | Miss:
    body = {name: value for name, value in plan.request.body.items() if name not in LEFT_OUT}
    if plan.losses and (dropped := _dropped(plan)):
        body[_DROPPED] = dropped
    if plan.family == "embeddings":
        return _key(plan, terms, embedder, body, text=None, why="embeddings")
    refused = _ineligible(body, terms) or ("native" if _beyond_canonical(plan) else "")
    if refused:
        return Miss("ineligible", refused)
    text, why = _question(body)
    if text is not None and not embedder:
        text, why = None, "no-embedder"
    return _key(plan, terms, embedder, body, text=text, why=why)


def _key(plan: Plan, terms: CacheTerms, embedder: str, body: dict[str, Any], *, text: str | None, why: str) -> CacheKey:
    primary = plan.primary
    around = body
    if text is not None:
        # The question itself is what the semantic tier compares; everything around it must be the same.
        around = _without_question(body)
    own = _native(plan.request, questioned=text is not None)
    if own is not None:
        around = {**around, _NATIVE: own}
    partition = _sha256([VERSION, terms.scope, plan.tenant, plan.family, primary.pool, primary.model, embedder, around])
    return CacheKey(scope=terms.scope, partition=partition, exact=_sha256([partition, text]), family=plan.family,
                    tenant=plan.tenant, route=plan.route, model=primary.model, text=text, exact_only=why)


def _without_question(body: Mapping[str, Any]) -> dict[str, Any]:
    *history, last = body["messages"]
    return {**body, "messages": [*history, {**last, "content": None}]}


def _native(request: Request, *, questioned: bool) -> list[Any] | None:
    """A request in another dialect as it came, which may say more than its canonical form: two of them are the same only as a whole.

    The canonical form tells what was asked last; here is everything around it.
    """
    native = request.native if isinstance(request, ChatRequest) else None
    if native is None or native.dialect != "anthropic":
        return None
    body = {name: value for name, value in native.body.items() if name not in LEFT_OUT}
    return [native.dialect, dict(native.headers), _without_question(body) if questioned else body]


def _dropped(plan: Plan) -> list[str]:
    """The parameters, hints aside, that some candidate of the plan is not told."""
    return sorted({each.param for _, losses in plan.losses for each in losses if not each.hint})


def _beyond_canonical(plan: Plan) -> bool:
    """Whether the request asks for what an answer in canonical form, as the cache keeps it, would not have."""
    request = plan.request
    return isinstance(request, ChatRequest) and request.native is not None and any(not each.hint for each in request.native.beyond)


def _ineligible(body: Mapping[str, Any], terms: CacheTerms) -> str:
    temperature = body.get("temperature")
    if temperature is not None and temperature > terms.max_temperature:
        return "temperature"
    if (body.get("n") or 1) > 1:
        return "n"
    return ""


def _question(body: Mapping[str, Any]) -> tuple[str | None, str]:
    """The text to compare; or None, and why only the exact tier may answer."""
    if body.get("tools") or body.get("functions"):
        return None, "tools"
    if body.get("logprobs") or body.get("audio") or "audio" in (body.get("modalities") or ()):
        return None, "output"
    messages = body["messages"]
    last = messages[-1]
    if last.get("role") != "user":
        return None, "last-message"
    content = last.get("content")
    if isinstance(content, list) and len(content) == 1 and set(content[0]) == {"type", "text"}:
        # A text in one block without anything else is the same as the text itself.
        content = content[0]["text"]
    if not isinstance(content, str):
        return None, "not-text"
    if not content.strip():
        return None, "empty"
    return (content, "") if len(content) <= MAX_TEXT else (None, "long")


def _sha256(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
