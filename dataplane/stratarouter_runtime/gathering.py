"""Embeddings of several requests in one call to the vendor, and each request's share of the answer.

Invariants: only requests of one tenant that differ in nothing but their inputs travel together; each gets its own inputs'
vectors, in order; the shares of tokens add up to what the vendor reported.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from .batch import Gatherer
from .config import BatchConfig
from .engine import Engine
from .model.errors import Failure, Phase, ProviderError
from .model.plan import Attempt, Outcome, Plan
from .model.request import EmbeddingsRequest
from .model.response import EmbeddingsResponse, Usage


@dataclass(frozen=True, slots=True)
class _Call:
    plan: Plan
    deadline: float
    tried: list[Attempt]


class EmbeddingCalls:
    """Makes embeddings calls, gathered where others are under way; ``config`` says how long and how many inputs."""

    def __init__(self, engine: Engine, config: BatchConfig) -> None:
        self._engine = engine
        window = config.window_ms / 1000 if config.enabled else 0.0
        self._gatherer: Gatherer[_Call, Outcome[EmbeddingsResponse]] = Gatherer(
            self._together, self._alone, window=window, max_size=config.max_size)

    async def call(self, plan: Plan, deadline: float, tried: list[Attempt], *, own: bool) -> tuple[Outcome[EmbeddingsResponse], int]:
        """The vectors for a plan's inputs, and how many requests the call answered; ``own``: only this one."""
        call = _Call(plan, deadline, tried)
        group = None if own else group_of(plan)
        if group is None:
            return await self._alone(call), 1
        return await self._gatherer.call(group, call, len(_inputs(plan)))

    async def _alone(self, call: _Call) -> Outcome[EmbeddingsResponse]:
        return await self._engine.embed(call.plan, call.deadline, call.tried)

    async def _together(self, calls: Sequence[_Call]) -> Sequence[Outcome[EmbeddingsResponse]]:
        plans = [call.plan for call in calls]
        return shares(plans, await self._engine.embed(merged(plans), min(call.deadline for call in calls), []))


def group_of(plan: Plan) -> Hashable:
    """What requests must have in common; None where this one travels alone (its inputs are no plain texts)."""
    request = plan.request
    if not isinstance(request, EmbeddingsRequest) or not all(isinstance(each, str) for each in request.inputs):
        return None
    around = {name: value for name, value in request.body.items() if name != "input"}
    try:
        terms = orjson.dumps(around, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None
    return plan.tenant, plan.route, plan.candidates, plan.max_attempts, terms


def merged(plans: Sequence[Plan]) -> Plan:
    """One plan for the inputs of all."""
    inputs = tuple(text for plan in plans for text in _inputs(plan))
    first = plans[0].request
    if not isinstance(first, EmbeddingsRequest):  # pragma: no cover - group_of has seen to it
        raise TypeError("not an embeddings request")
    return replace(plans[0], request=replace(first, body={**first.body, "input": list(inputs)}, inputs=inputs))


def shares(plans: Sequence[Plan], outcome: Outcome[EmbeddingsResponse]) -> list[Outcome[EmbeddingsResponse]]:
    """The answer, split as the inputs were gathered."""
    response = outcome.response
    rows = response.body["data"]
    sizes = [len(_inputs(plan)) for plan in plans]
    if len(rows) != sum(sizes):  # pragma: no cover - the codecs have counted them
        raise ProviderError(Failure.BAD_RESPONSE, "the vendor's answer has another number of embeddings", phase=Phase.BODY)
    weights = [sum(len(text) + 1 for text in _inputs(plan)) for plan in plans]
    usages = _split(response.usage, weights)
    found, start = [], 0
    for size, usage in zip(sizes, usages, strict=True):
        data = [{**row, "index": index} for index, row in enumerate(rows[start:start + size])]
        found.append(replace(outcome, response=_share(response, data, usage)))
        start += size
    return found


def _share(response: EmbeddingsResponse, data: list[dict[str, Any]], usage: Usage | None) -> EmbeddingsResponse:
    body = {**response.body, "data": data}
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage.input, "total_tokens": usage.input}
    return replace(response, body=body, raw=orjson.dumps(body), usage=usage)


def _split(usage: Usage | None, weights: Sequence[int]) -> list[Usage | None]:
    """By the length of the texts, to the last token (the largest remainders get what is left over)."""
    if usage is None:
        return [None] * len(weights)
    total = sum(weights)
    exact = [usage.input * weight / total for weight in weights]
    tokens = [int(each) for each in exact]
    by_remainder = sorted(range(len(weights)), key=lambda index: exact[index] - tokens[index], reverse=True)
    for index in by_remainder[:usage.input - sum(tokens)]:
        tokens[index] += 1
    return [Usage(input=each, estimated=usage.estimated) for each in tokens]


def _inputs(plan: Plan) -> tuple[Any, ...]:
    return plan.request.inputs if isinstance(plan.request, EmbeddingsRequest) else ()
