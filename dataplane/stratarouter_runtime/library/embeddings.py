"""Vectors of texts, for apps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson

from stratarouter_runtime.model.execution import Execution
from stratarouter_runtime.model.request import EmbeddingsRequest
from stratarouter_runtime.model.response import EmbeddingsResponse, Usage
from stratarouter_runtime.wire import openai_embeddings


@dataclass(frozen=True, slots=True)
class EmbeddingsResult:
    """``vectors`` in the order of the texts; the rest as in an ``ExecutionResult``."""

    vectors: tuple[tuple[float, ...], ...] = field(repr=False)
    model: str
    provider: str = ""
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    execution_id: str = ""


def embeddings_request(texts: str | Sequence[str], model: str, dimensions: int | None) -> EmbeddingsRequest:
    """The texts as a request; raises ``RequestError``."""
    body: dict[str, Any] = {"model": model, "input": texts if isinstance(texts, str) else list(texts)}
    if dimensions is not None:
        body["dimensions"] = dimensions
    return openai_embeddings.parse_embeddings(orjson.dumps(body))


def embedded(execution: Execution, response: EmbeddingsResponse) -> EmbeddingsResult:
    """What came of it."""
    listed = sorted(response.body["data"], key=lambda each: int(each["index"]))
    return EmbeddingsResult(
        vectors=tuple(tuple(float(number) for number in each["embedding"]) for each in listed), model=response.model,
        provider=execution.candidate.provider if execution.candidate is not None else "", usage=response.usage,
        cost_usd=execution.cost, execution_id=execution.id)
