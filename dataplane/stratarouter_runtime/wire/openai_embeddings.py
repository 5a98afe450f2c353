"""OpenAI embeddings: requests and answers, with the encoding made here where a vendor has only the other.

Source: OpenAI API reference, "Create embeddings": base64 is of little-endian 32-bit floats. Invariant: a response has
exactly one vector for each input, in the order of the inputs, in the encoding that was asked for.
"""

from __future__ import annotations

import array
import base64
import binascii
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson

from stratarouter_runtime.model.request import EmbeddingsRequest
from stratarouter_runtime.model.response import EmbeddingsResponse

from . import openai_checks as checks
from .answers import bad_answer
from .openai_chat import model_of, read_object, usage_of

Encoding = Literal["float", "base64"]

_CHECKS: Mapping[str, checks.Check] = {"dimensions": checks.positive, "encoding_format": checks.string, "user": checks.string}
_NUMBERS = frozenset({float, int})
_INPUT_KINDS = "one of a string, an array of strings, an array of integers or an array of arrays of integers"


def parse_embeddings(raw: bytes) -> EmbeddingsRequest:
    """A client's body as a validated request. Raises ``RequestError`` naming the parameter."""
    return check_embeddings(checks.parse_object(raw))


def check_embeddings(body: Mapping[str, Any]) -> EmbeddingsRequest:
    """An OpenAI-shaped mapping as a validated request. Raises ``RequestError`` naming the parameter."""
    checks.check_model(body)
    given = body.get("input")
    if given is None:
        raise checks.missing("input")
    inputs = _inputs(given)
    checks.check_fields(body, _CHECKS)
    return EmbeddingsRequest(body=body, inputs=inputs, encoding=_encoding(body.get("encoding_format") or "float"))


def upstream_embeddings(request: EmbeddingsRequest, *, model: str) -> bytes:
    """The body for a vendor of the same wire: the client's, with the model it is known by there."""
    return orjson.dumps({**request.body, "model": model})


def read_embeddings(raw: bytes, request: EmbeddingsRequest) -> EmbeddingsResponse:
    """A vendor's successful body as a response; ``raw`` is kept where it is already what was asked for.

    Raises ``AnswerError``.
    """
    body = read_object(raw)
    data = body.get("data")
    if not isinstance(data, list) or any(not isinstance(row, Mapping) for row in data):
        raise bad_answer("the vendor's answer has no list of embeddings")
    _expect(data, request)
    ordered = _in_order(data)
    encoded = [_in_encoding(row, request.encoding) for row in ordered]
    changed = any(new is not old for new, old in zip(encoded, data, strict=True))
    if changed:
        body = {**body, "data": encoded}
    return EmbeddingsResponse(raw=orjson.dumps(body) if changed else raw, body=body, model=model_of(body),
                              usage=usage_of(body))


def embeddings_response(vectors: list[Any], request: EmbeddingsRequest, *, model: str, tokens: int | None) -> EmbeddingsResponse:
    """Vectors of a vendor of another dialect, in the order of the inputs, as a response. ``tokens`` None: it did not tell.

    Raises ``AnswerError``.
    """
    _expect(vectors, request)
    data = [_in_encoding({"object": "embedding", "index": index, "embedding": vector}, request.encoding)
            for index, vector in enumerate(vectors)]
    body: dict[str, Any] = {"object": "list", "data": data, "model": model}
    if tokens is not None:
        body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return EmbeddingsResponse(raw=orjson.dumps(body), body=body, model=model, usage=usage_of(body))


def vectors_of(body: Mapping[str, Any]) -> list[Sequence[float]]:
    """The vectors of a response's body as numbers, whatever their encoding. Raises ``AnswerError``."""
    return [_floats(row["embedding"]) if isinstance(row["embedding"], str) else row["embedding"] for row in body["data"]]


def encode(vector: Sequence[float]) -> str:
    """Numbers as base64 of little-endian 32-bit floats. Raises ``AnswerError`` for what is no number."""
    try:
        values = array.array("f", vector)
    except (TypeError, OverflowError):
        raise bad_answer("the vendor's answer has an embedding that is not made of numbers") from None
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode()


def _floats(text: str) -> array.array[float]:
    values = array.array("f")
    try:
        values.frombytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise bad_answer("the vendor's answer has an embedding that is not base64 of floats") from None
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _inputs(given: Any) -> tuple[Any, ...]:
    if type(given) is str:
        return (given,)
    if type(given) is not list:
        raise checks.wrong_type("input", _INPUT_KINDS, given)
    if not given:
        raise checks.refusal("Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array "
                             "instead.", param="input", code="empty_array")
    kinds = {type(item) for item in given}
    if kinds == {int}:
        return (given,)
    if kinds not in ({str}, {list}):
        odd = next(index for index, item in enumerate(given) if type(item) is not type(given[0]) or type(item) not in (str, list))
        raise checks.wrong_type(f"input[{odd}]", "a string or an array of integers, the same for all items", given[odd])
    if kinds == {list}:
        for index, tokens in enumerate(given):
            if not tokens or any(type(token) is not int for token in tokens):
                raise checks.refusal(f"Invalid 'input[{index}]': expected an array of integers with minimum length 1.",
                                     param=f"input[{index}]", code="invalid_type")
    return tuple(given)


def _encoding(name: str) -> Encoding:
    if name == "float":
        return "float"
    if name == "base64":
        return "base64"
    raise checks.refusal(f"Invalid value: '{name}'. Supported values are: 'float' and 'base64'.", param="encoding_format")


def _expect(vectors: list[Any], request: EmbeddingsRequest) -> None:
    if len(vectors) != len(request.inputs):
        raise bad_answer(f"the vendor's answer has {len(vectors)} embeddings for {len(request.inputs)} inputs")


def _in_order(data: list[Any]) -> list[Any]:
    indices = [row.get("index") for row in data]
    if indices == list(range(len(data))) or not all(isinstance(index, int) for index in indices):
        return data
    if sorted(indices) != list(range(len(data))):
        raise bad_answer("the vendor's answer has embeddings whose indices are not those of the inputs")
    return sorted(data, key=lambda row: int(row["index"]))


def _in_encoding(row: Mapping[str, Any], encoding: Encoding) -> Mapping[str, Any]:
    vector = row.get("embedding")
    if isinstance(vector, str) and vector:
        values = _floats(vector)
        return row if encoding == "base64" else {**row, "embedding": values.tolist()}
    if isinstance(vector, list) and vector:
        if encoding == "base64":
            return {**row, "embedding": encode(vector)}
        # What is not a number, NaN too, comes as null.
        if set(map(type, vector)) <= _NUMBERS:
            return row
    raise bad_answer("the vendor's answer has an embedding that is neither numbers nor base64")
