"""Cohere's embed API, version 2: canonical embeddings as its calls, and its answers to them as one.

Source: Cohere API reference, "Embed (v2)": at most 96 inputs a call. ``input_type`` and ``truncate`` are taken from the
canonical body under their own names; without one the inputs are documents. Inputs that are ``data:`` URLs of images are embedded as
images. Invariant: one vector for each input, in order, in the encoding that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import EmbeddingsRequest
from stratarouter_runtime.model.response import EmbeddingsResponse

from . import reading
from .answers import bad_answer
from .cohere_response import said_instead
from .openai_chat import read_object
from .openai_embeddings import embeddings_response

MAX_INPUTS = 96
DEFAULT_INPUT_TYPE = "search_document"
"""Vectors of documents can be compared with each other, which is what a caller who knows no types does."""

_OWN = ("truncate", "max_tokens", "priority")


def upstream_embeddings(request: EmbeddingsRequest, *, model: str) -> list[bytes]:
    """The bodies of the calls for all inputs in order. Raises ``RequestError`` for inputs that are tokens."""
    body = request.body
    if any(not isinstance(each, str) for each in request.inputs):
        raise RequestError("InvalidRequest", "Invalid 'input': the provider takes texts, not tokens.", param="input", code="invalid_type")
    common: dict[str, Any] = {"model": model, "input_type": body.get("input_type") or DEFAULT_INPUT_TYPE,
                              "embedding_types": [request.encoding]}
    if body.get("dimensions") is not None:
        common["output_dimension"] = body["dimensions"]
    common |= {name: body[name] for name in _OWN if body.get(name) is not None}
    inputs = request.inputs
    return [orjson.dumps({**common, **_inputs(inputs[start:start + MAX_INPUTS])}) for start in range(0, len(inputs), MAX_INPUTS)]


def read_embeddings(answers: Iterable[bytes], request: EmbeddingsRequest, *, model: str) -> EmbeddingsResponse:
    """The answers to ``upstream_embeddings`` as one. Raises ``AnswerError``."""
    vectors: list[Any] = []
    tokens = 0
    for raw in answers:
        body = read_object(raw)
        vectors += _vectors(body)
        billed = reading.inner(body, "meta", "billed_units")
        tokens += reading.count(billed.get("input_tokens")) + reading.count(billed.get("image_tokens"))
    return embeddings_response(vectors, request, model=model, tokens=tokens)


def _inputs(inputs: Sequence[str]) -> dict[str, Any]:
    if not any(each.startswith("data:image/") for each in inputs):
        return {"texts": inputs}
    return {"inputs": [{"content": [{"type": "image_url", "image_url": {"url": each}} if each.startswith("data:image/") else
                                    {"type": "text", "text": each}]} for each in inputs]}


def _vectors(body: Mapping[str, Any]) -> list[Any]:
    found = body.get("embeddings")
    if isinstance(found, Mapping):
        found = found.get("float") or found.get("base64")
    if not isinstance(found, list):
        raise said_instead(body) or bad_answer("the vendor's answer has no list of embeddings")
    return found
