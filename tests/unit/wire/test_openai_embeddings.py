"""Claims: one vector an input, in order, in the encoding asked for, whatever the vendor sends; else an error."""

from __future__ import annotations

import base64
import struct

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.model.errors import Failure, RequestError
from stratarouter_runtime.model.response import Usage
from stratarouter_runtime.wire.answers import AnswerError
from stratarouter_runtime.wire.openai_embeddings import (
    encode,
    parse_embeddings,
    read_embeddings,
    upstream_embeddings,
    vectors_of,
)

FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8)


def request(given="x", **more):
    return parse_embeddings(orjson.dumps({"model": "m", "input": given, **more}))


def answer(*vectors, indices=None):
    rows = [{"object": "embedding", "index": i, "embedding": v} for i, v in zip(indices or range(len(vectors)), vectors, strict=True)]
    return orjson.dumps({"object": "list", "data": rows, "model": "emb", "usage": {"prompt_tokens": 3, "total_tokens": 3}})


def base64_of(*numbers):
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(("given", "inputs"), [
    ("x", ("x",)), ("", ("",)), (["a", "b"], ("a", "b")), ([1, 2], ([1, 2],)), ([[1], [2, 3]], ([1], [2, 3]))])
def test_every_form_of_input_is_understood(given, inputs):
    assert request(given).inputs == inputs


@pytest.mark.parametrize(("change", "param", "code"), [
    ({"input": None}, "input", "missing_required_parameter"),
    ({"input": []}, "input", "empty_array"),
    ({"input": 5}, "input", "invalid_type"),
    ({"input": {"a": 1}}, "input", "invalid_type"),
    ({"input": ["a", 1]}, "input[1]", "invalid_type"),
    ({"input": [1, "a"]}, "input[0]", "invalid_type"),
    ({"input": [1, 2.5]}, "input[0]", "invalid_type"),
    ({"input": [None]}, "input[0]", "invalid_type"),
    ({"input": [True]}, "input[0]", "invalid_type"),
    ({"input": [[1], []]}, "input[1]", "invalid_type"),
    ({"input": [[1], ["a"]]}, "input[1]", "invalid_type"),
    ({"model": None}, "model", "missing_required_parameter"),
    ({"encoding_format": "hex"}, "encoding_format", "invalid_value"),
    ({"encoding_format": 1}, "encoding_format", "invalid_type"),
    ({"dimensions": 0}, "dimensions", "integer_below_min_value"),
    ({"dimensions": "8"}, "dimensions", "invalid_type"),
])
def test_a_wrong_parameter_is_named(change, param, code):
    with pytest.raises(RequestError) as caught:
        parse_embeddings(orjson.dumps({"model": "m", "input": "x", **change}))
    assert (caught.value.param, caught.value.code, caught.value.status) == (param, code, 400)


def test_only_the_model_changes_upstream():
    asked = request(["a"], dimensions=8, encoding_format="base64", extra=1)
    assert orjson.loads(upstream_embeddings(asked, model="up")) == {
        "model": "up", "input": ["a"], "dimensions": 8, "encoding_format": "base64", "extra": 1}


def test_an_answer_that_is_as_asked_is_kept_byte_for_byte():
    raw = answer([0.25, 0.5])
    response = read_embeddings(raw, request())
    assert response.raw is raw
    assert (response.model, response.usage) == ("emb", Usage(input=3))


def test_base64_is_made_where_the_vendor_has_only_numbers():
    response = read_embeddings(answer([0.25, -2.0]), request(encoding_format="base64"))
    assert orjson.loads(response.raw)["data"][0]["embedding"] == base64_of(0.25, -2.0)
    assert response.body["data"][0]["embedding"] == base64_of(0.25, -2.0)


def test_numbers_are_made_where_the_vendor_sends_base64():
    response = read_embeddings(answer(base64_of(0.25, -2.0)), request())
    assert orjson.loads(response.raw)["data"][0]["embedding"] == [0.25, -2.0]


def test_vectors_are_put_in_the_order_of_the_inputs():
    response = read_embeddings(answer([1.0], [0.0], indices=[1, 0]), request(["a", "b"]))
    assert [row["embedding"] for row in orjson.loads(response.raw)["data"]] == [[0.0], [1.0]]


def test_a_vendor_that_sends_no_indices_is_taken_by_position():
    raw = orjson.dumps({"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]})
    assert vectors_of(read_embeddings(raw, request(["a", "b"])).body) == [[1.0], [2.0]]


@pytest.mark.parametrize("raw", [
    b"", b"<html>", b"{}", b'{"data":{}}', b'{"data":[]}', b'{"data":["x"]}', b'{"data":[{}]}', answer([]), answer(""),
    answer(None), answer(5), answer([1.0], [1.0]), answer("not base64!"), answer("AAAA"), answer([1.0], indices=[3]),
    answer(["a", "b"]), answer([1.0, None]), answer([[1.0]]), answer([True])])
def test_what_is_no_list_of_embeddings_is_a_bad_response(raw):
    with pytest.raises(AnswerError) as caught:
        read_embeddings(raw, request())
    assert caught.value.failure is Failure.BAD_RESPONSE


def test_vectors_of_something_else_than_numbers_are_not_encoded():
    with pytest.raises(AnswerError):
        read_embeddings(answer(["a", "b"]), request(encoding_format="base64"))


@pytest.mark.parametrize("vector", ["not base64!", "AAAA", "AAAAA"])
def test_base64_is_checked_though_it_is_passed_on(vector):
    with pytest.raises(AnswerError):
        read_embeddings(answer(vector), request(encoding_format="base64"))


@given(FLOATS)
def test_encoding_loses_nothing(vector):
    decoded = vectors_of({"data": [{"embedding": encode(vector)}]})[0]
    assert list(decoded) == vector
