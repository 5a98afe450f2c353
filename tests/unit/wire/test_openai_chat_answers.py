"""Claims: a good answer is kept byte for byte; everything else a vendor can send instead is an AnswerError."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.model.response import Usage
from stratarouter_runtime.wire.answers import AnswerError
from stratarouter_runtime.wire.openai_chat import read_chat, refreshed, usage_of

ANSWER = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-11-20",
          "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello", "refusal": None}, "logprobs": None,
                       "finish_reason": "stop"}],
          "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "prompt_tokens_details": {"cached_tokens": 4}},
          "vendor_extra": {"kept": [1, 2.50]}}


def test_a_good_answer_is_kept_byte_for_byte():
    raw = orjson.dumps(ANSWER, option=orjson.OPT_INDENT_2) + b"\n"
    response = read_chat(raw)
    assert response.raw is raw
    assert (response.model, response.text, response.finish_reason) == ("gpt-4o-2024-11-20", "hello", "stop")
    assert response.usage == Usage(input=9, output=2, cached=4)


@pytest.mark.parametrize("raw", [
    b"", b"  \n", b"<html><body>Bad Gateway</body></html>", b"[]", b"null", b'"text"', orjson.dumps(ANSWER)[:-20], b'{"id":"\xff"}',
    b"{}", b'{"choices":[]}', b'{"choices":"none"}', b'{"choices":[1]}', b'{"choices":[{}]}', b'{"choices":[{"message":"x"}]}',
    b'{"choices":[{"message":{"content":5}}]}', b'{"choices":[{"message":{"tool_calls":"pay"}}]}',
    b'{"choices":[{"message":{"tool_calls":[{},7]}}]}', b'{"choices":' + b"[" * 300 + b"]" * 300 + b"}"])
def test_what_is_no_completion_is_a_bad_response(raw):
    with pytest.raises(AnswerError) as caught:
        read_chat(raw)
    assert caught.value.failure is Failure.BAD_RESPONSE


@pytest.mark.parametrize(("body", "message", "code"), [
    ({"error": {"message": "overloaded", "type": "server_error", "code": 503}}, "overloaded", "503"),
    ({"error": "plain words"}, "plain words", ""),
    ({"object": "error", "message": "old vLLM", "type": "BadRequestError", "param": None, "code": 400}, "old vLLM", "400"),
    ({**ANSWER, "error": {"message": "late"}}, "late", ""),
])
def test_an_error_inside_a_200_is_the_vendors_error(body, message, code):
    with pytest.raises(AnswerError) as caught:
        read_chat(orjson.dumps(body))
    assert caught.value.failure is None
    assert (caught.value.vendor.message, caught.value.vendor.code) == (message, code)


def test_a_null_error_is_none():
    assert read_chat(orjson.dumps({**ANSWER, "error": None})).text == "hello"


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["choices", "message", "content", "usage", "error", "prompt_tokens", "model",
                                                       "finish_reason", "prompt_tokens_details"]), inner, max_size=5), max_leaves=15))
def test_any_json_is_an_answer_or_an_answer_error(body):
    try:
        response = read_chat(orjson.dumps(body))
    except AnswerError:
        return
    assert response.usage is None or min(response.usage.input, response.usage.output, response.usage.cached) >= 0
    assert isinstance(response.text, str)


@pytest.mark.parametrize(("usage", "expected"), [
    (None, None), ({}, None), ("many", None), ({"prompt_tokens": None}, None),
    ({"prompt_tokens": 3, "completion_tokens": None, "total_tokens": 3}, Usage(input=3)),
    ({"prompt_tokens": -3, "completion_tokens": 2}, Usage(output=2)),
    ({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(input=3, output=2)),
])
def test_usage_is_what_the_vendor_tells(usage, expected):
    assert usage_of({"usage": usage}) == expected


def test_a_stored_answer_gets_a_new_id_and_time_and_nothing_else():
    again = orjson.loads(refreshed(ANSWER, id="chatcmpl-2", created=7))
    assert again == {**ANSWER, "id": "chatcmpl-2", "created": 7}
