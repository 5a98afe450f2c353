"""Embeddings of the Gemini API (``embedContent``, ``batchEmbedContents``) and of Vertex AI (``predict``, ``embedContent``).

Sources: Gemini API reference, "Embeddings"; Vertex AI "Text embeddings API" (instances, predictions, and what one call may hold:
250 texts and 20,000 tokens, of ``gemini-embedding-001`` a single text; each text counts with at most 2,048 tokens, where it is cut).
Invariants: several calls hold the inputs in order; the answer has one vector for each input in the encoding asked for; usage is the
sum, estimated where the vendor tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from stratarouter_runtime.model.request import EmbeddingsRequest
from stratarouter_runtime.model.response import EmbeddingsResponse, Usage

from .answers import bad_answer, reported
from .gemini_errors import error_in
from .openai_embeddings import encode
from .reading import inner, items, objects, text
from .support import Unsupported

BATCH = 100
"""Texts of one ``batchEmbedContents``."""
INSTANCES = 250
CALL_TOKENS = 20_000
TEXT_TOKENS = 2_048
_BYTES_PER_TOKEN = 3
"""A careful estimate: English has about four, and too small a call only costs another one."""

_READ = frozenset({"model", "input", "encoding_format", "dimensions", "task_type", "input_type", "title", "auto_truncate"})
_TASKS: Mapping[str, str] = {
    "search_query": "RETRIEVAL_QUERY", "query": "RETRIEVAL_QUERY", "search_document": "RETRIEVAL_DOCUMENT",
    "document": "RETRIEVAL_DOCUMENT", "passage": "RETRIEVAL_DOCUMENT", "classification": "CLASSIFICATION", "clustering": "CLUSTERING"}
"""``input_type`` as Cohere and others call it."""


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """One call: the method of the model's address, and the body."""

    method: str
    body: bytes


def unsupported(body: Mapping[str, Any]) -> list[Unsupported]:
    """All of a request that has no place there. Never raises, whatever JSON the body is."""
    found = [Unsupported(name, "Gemini has no such parameter", hint=name == "user")
             for name, value in body.items() if name not in _READ and value is not None]
    given = body.get("input")
    if any(not isinstance(item, str) for item in (given if isinstance(given, list) else [given])):
        found.append(Unsupported("input", "Gemini embeds texts, not tokens"))
    if body.get("input_type") is not None and _task(body) is None:
        found.append(Unsupported("input_type", "Gemini knows no such type of input"))
    return found


def gemini_calls(request: EmbeddingsRequest, model: str) -> list[EmbeddingCall]:
    """The calls of the Gemini API; ``model`` with its collection (``models/...``)."""
    options = _options(request.body)
    options.pop("autoTruncate", None)
    wanted = [{"model": model, "content": {"parts": [{"text": text(each)}]}, **options} for each in request.inputs]
    if len(wanted) == 1:
        return [EmbeddingCall("embedContent", orjson.dumps(wanted[0]))]
    return [EmbeddingCall("batchEmbedContents", orjson.dumps({"requests": wanted[start:start + BATCH]}))
            for start in range(0, len(wanted), BATCH)]


def vertex_calls(request: EmbeddingsRequest, model: str) -> list[EmbeddingCall]:
    """The calls of Vertex AI. Models newer than ``gemini-embedding-001`` have only ``embedContent``, a text at a time."""
    if _only_content(model):
        options = _options(request.body)
        return [EmbeddingCall("embedContent", orjson.dumps({
            "content": {"parts": [{"text": text(each)}]}, **({"embedContentConfig": options} if options else {})}))
            for each in request.inputs]
    return [EmbeddingCall("predict", orjson.dumps(_prediction(batch, request.body))) for batch in _batches(request.inputs, model)]


def read_embeddings(answers: Sequence[bytes], request: EmbeddingsRequest, *, model: str) -> EmbeddingsResponse:
    """The answers to all calls as one. Raises ``AnswerError``."""
    vectors: list[Any] = []
    tokens = 0
    for raw in answers:
        body = _object(raw)
        vectors += _vectors(body)
        tokens += _tokens(body)
    if len(vectors) != len(request.inputs):
        raise bad_answer(f"the vendor's answer has {len(vectors)} embeddings for {len(request.inputs)} inputs")
    usage = Usage(input=tokens) if tokens else Usage(input=sum(map(_estimate, request.inputs)), estimated=True)
    made = {"object": "list", "model": model, "usage": {"prompt_tokens": usage.input, "total_tokens": usage.input},
            "data": [{"object": "embedding", "index": index, "embedding": encode(vector) if request.encoding == "base64" else vector}
                     for index, vector in enumerate(vectors)]}
    return EmbeddingsResponse(raw=orjson.dumps(made), body=made, model=model, usage=usage)


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the caller says of the vectors, in Google's words."""
    named = (("taskType", _task(body)), ("title", body.get("title")), ("outputDimensionality", body.get("dimensions")),
             ("autoTruncate", body.get("auto_truncate")))
    return {name: value for name, value in named if value is not None}


def _task(body: Mapping[str, Any]) -> str | None:
    if text(body.get("task_type")):
        return text(body.get("task_type")).upper()
    return _TASKS.get(text(body.get("input_type")).lower())


def _prediction(texts: Sequence[Any], body: Mapping[str, Any]) -> dict[str, Any]:
    options = _options(body)
    each = {name: options.pop(key) for name, key in (("task_type", "taskType"), ("title", "title")) if key in options}
    made: dict[str, Any] = {"instances": [{"content": text(content), **each} for content in texts]}
    return {**made, "parameters": options} if options else made


def _only_content(model: str) -> bool:
    name = model.rsplit("/", 1)[-1]
    return name.startswith("gemini-embedding-") and not name.startswith(("gemini-embedding-001", "gemini-embedding-exp"))


def _batches(inputs: Sequence[Any], model: str) -> Iterator[list[Any]]:
    """Inputs in order, as many as one call may hold."""
    most = 1 if "gemini-embedding" in model else INSTANCES
    batch: list[Any] = []
    tokens = 0
    for each in inputs:
        size = min(_estimate(each), TEXT_TOKENS)
        if batch and (len(batch) >= most or tokens + size > CALL_TOKENS):
            yield batch
            batch, tokens = [], 0
        batch.append(each)
        tokens += size
    if batch:
        yield batch


def _estimate(given: Any) -> int:
    return max(1, -(-len(text(given).encode("utf-8", "replace")) // _BYTES_PER_TOKEN))


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise bad_answer("the vendor's answer is not valid JSON") from None
    error = error_in(body)
    if error is not None:
        raise reported(error)
    if not isinstance(body, dict):
        raise bad_answer("the vendor's answer is not a JSON object")
    return body


def _rows(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The embeddings of one answer, whatever method it answers."""
    if "predictions" in body:
        return [inner(each.get("embeddings")) for each in objects(body["predictions"])]
    if "embeddings" in body:
        return list(objects(body["embeddings"]))
    return [inner(body.get("embedding"))] if "embedding" in body else []


def _vectors(body: Mapping[str, Any]) -> list[list[Any]]:
    found = [items(row.get("values")) for row in _rows(body)]
    if any(not vector or not {type(value) for value in vector} <= {float, int} for vector in found):
        raise bad_answer("the vendor's answer has an embedding that is not made of numbers")
    return found


def _tokens(body: Mapping[str, Any]) -> int:
    told = inner(body.get("usageMetadata")).get("promptTokenCount")
    counts = [told] if told is not None else [inner(row.get("statistics")).get(name)
                                              for row in _rows(body) for name in ("token_count", "tokenCount")]
    # Vertex AI counts in decimals.
    return sum(int(each) for each in counts if isinstance(each, int | float) and each > 0)
