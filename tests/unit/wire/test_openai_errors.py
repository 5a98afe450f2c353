"""Claims: our errors have OpenAI's shape; a vendor's words are found in every shape vendors use."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.wire.answers import VendorError
from stratarouter_runtime.wire.openai_errors import MAX_MESSAGE, error_body, error_frame, parse_error

ERROR = RequestError("ModelNotFound", "no such model", status=404, param="model")


def test_an_error_has_exactly_openais_four_fields():
    assert error_body(ERROR) == (b'{"error":{"message":"no such model","type":"invalid_request_error","param":"model",'
                                 b'"code":"model_not_found"}}')


def test_an_error_in_a_stream_is_one_frame_with_the_same_body():
    assert error_frame(ERROR) == b"data: " + error_body(ERROR) + b"\n\n"


@pytest.mark.parametrize(("raw", "expected"), [
    (b'{"error":{"message":"m","type":"t","param":"p","code":"c"}}', VendorError("m", "t", "p", "c")),
    (b'{"error":{"message":"m","type":"t","param":null,"code":null}}', VendorError("m", "t")),
    (b'{"error":{"message":"m","code":400}}', VendorError("m", code="400")),
    (b'{"error":{"message":"m","code":true,"param":3}}', VendorError("m")),
    (b'{"error":"m"}', VendorError("m")),
    (b'{"error":["m"]}', VendorError('["m"]')),
    (b'[{"error":{"message":"m","code":429,"status":"RESOURCE_EXHAUSTED"}}]', VendorError("m", code="429")),
    (b'{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}',
     VendorError("m", "BadRequestError", None, "400")),
    (b'{"detail":"Not Found"}', VendorError("Not Found")),
    (b'{"detail":[{"loc":["body","messages",0],"msg":"field required"},{"msg":"also"}]}',
     VendorError("messages.0: field required; also")),
    (b'{"message":"m","type":"t","code":"c"}', VendorError("m", "t", None, "c")),
    (b"<html>Bad Gateway</html>", VendorError()), (b"", VendorError()), (b"[]", VendorError()), (b"3", VendorError()),
    (b"{}", VendorError()), (b'{"error":null}', VendorError()), (b'{"error":{}}', VendorError()), (b'{"detail":{}}', VendorError()),
])
def test_the_vendors_words_are_found(raw, expected):
    assert parse_error(raw) == expected


def test_a_long_message_is_cut():
    assert len(parse_error(orjson.dumps({"error": {"message": "x" * 10_000}})).message) == MAX_MESSAGE + 3


def test_what_an_error_quotes_is_bounded_and_can_be_written():
    """A header's bytes that are no UTF-8 come as lone surrogates, which JSON cannot hold."""
    error = RequestError("RouteNotFound", "the route \udcff" + "x" * 100_000, param="p" * 100_000, code="c" * 100_000)
    told = orjson.loads(error_body(error))["error"]
    assert told["message"].startswith("the route ?xxx")
    assert {len(told[name]) for name in ("message", "param", "code")} == {MAX_MESSAGE + 3}


def test_an_error_nested_too_deeply_says_nothing():
    assert parse_error(b'{"error":' + b"[" * 600 + b"]" * 600 + b"}") == VendorError()


@given(st.binary() | st.recursive(
    st.none() | st.integers() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "message", "detail", "loc", "msg", "code", "type", "object"]), inner, max_size=4)).map(
            lambda value: orjson.dumps(value) if not _too_big(value) else b""))
def test_no_body_breaks_it(raw):
    assert isinstance(parse_error(raw), VendorError)


def _too_big(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False
