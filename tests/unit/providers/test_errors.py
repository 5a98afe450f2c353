"""Claim: one table says what each vendor error means; messages carry no keys and no URLs."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.model.errors import Failure, Phase
from stratarouter_runtime.providers.errors import broken, classify, redact, refused
from stratarouter_runtime.wire.answers import AnswerError, VendorError, bad_answer, reported
from stratarouter_runtime.wire.openai_errors import parse_error


@pytest.mark.parametrize(("status", "vendor", "failure"), [
    (400, VendorError("bad", "invalid_request_error"), Failure.INVALID_REQUEST),
    (400, VendorError(code="context_length_exceeded"), Failure.CONTEXT_LENGTH),
    (400, VendorError("This model's maximum context length is 4096 tokens. However, you requested 5000.", "BadRequestError",
                      code="400"), Failure.CONTEXT_LENGTH),
    (400, VendorError("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", "BadRequestError", code="400"),
     Failure.CONTEXT_LENGTH),
    (400, VendorError("the request exceeds the available context size", "exceed_context_size_error"), Failure.CONTEXT_LENGTH),
    (400, VendorError(code="content_policy_violation"), Failure.CONTENT_POLICY),
    (400, VendorError(code="content_filter"), Failure.CONTENT_POLICY),
    (400, VendorError(code="ResponsibleAIPolicyViolation"), Failure.CONTENT_POLICY),
    (400, VendorError(code="model_not_found"), Failure.NOT_FOUND),
    (401, VendorError(code="invalid_api_key"), Failure.UNAUTHORIZED),
    (401, VendorError(), Failure.UNAUTHORIZED),
    (402, VendorError("Insufficient Balance"), Failure.QUOTA_EXHAUSTED),
    (403, VendorError(type="request_forbidden", code="unsupported_country_region_territory"), Failure.UNAUTHORIZED),
    (404, VendorError(), Failure.NOT_FOUND),
    (404, VendorError(type="NotFoundError", code="404"), Failure.NOT_FOUND),
    (405, VendorError(), Failure.NOT_FOUND),
    (408, VendorError(), Failure.TIMEOUT),
    (409, VendorError(), Failure.CONFLICT),
    (413, VendorError("Request too large", "tokens", code="rate_limit_exceeded"), Failure.RATE_LIMITED),
    (413, VendorError(), Failure.INVALID_REQUEST),
    (422, VendorError("messages.0: field required"), Failure.INVALID_REQUEST),
    (429, VendorError(type="requests", code="rate_limit_exceeded"), Failure.RATE_LIMITED),
    (429, VendorError(type="insufficient_quota", code="insufficient_quota"), Failure.QUOTA_EXHAUSTED),
    (429, VendorError(type="insufficient_quota", code="credit_balance_exhausted"), Failure.QUOTA_EXHAUSTED),
    (429, VendorError(type="insufficient_quota", code="a_new_one"), Failure.QUOTA_EXHAUSTED),
    (429, VendorError(), Failure.RATE_LIMITED),
    (429, VendorError(code="monthly_limit_exceeded"), Failure.QUOTA_EXHAUSTED),
    (498, VendorError(), Failure.UNAUTHORIZED),
    (499, VendorError(), Failure.TIMEOUT),
    (500, VendorError(), Failure.SERVER_ERROR),
    (500, VendorError("maximum context length"), Failure.SERVER_ERROR),
    (502, VendorError(), Failure.SERVER_ERROR),
    (503, VendorError(), Failure.OVERLOADED),
    (503, VendorError(code="slow_down"), Failure.OVERLOADED),
    (504, VendorError(), Failure.TIMEOUT),
    (529, VendorError(type="overloaded_error"), Failure.OVERLOADED),
    (418, VendorError(), Failure.INVALID_REQUEST),
    (204, VendorError(), Failure.SERVER_ERROR),
    (0, VendorError("boom", "server_error"), Failure.SERVER_ERROR),
    (0, VendorError("boom", "invalid_request_error"), Failure.INVALID_REQUEST),
    (0, VendorError("boom", "BadRequestError", code="400"), Failure.INVALID_REQUEST),
    (0, VendorError(code="429"), Failure.RATE_LIMITED),
    (0, VendorError("plain words"), Failure.SERVER_ERROR),
    (0, VendorError(code="9999"), Failure.SERVER_ERROR),
])
def test_the_table(status, vendor, failure):
    assert classify(status, vendor) is failure


@given(st.integers(0, 700), st.text(), st.text(), st.text())
def test_everything_is_some_failure(status, message, kind, code):
    assert isinstance(classify(status, VendorError(message, kind, None, code)), Failure)


def test_the_vendors_words_reach_the_client():
    body = {"error": {"message": "max_tokens is too large: 999999.", "type": "invalid_request_error", "param": "max_tokens",
                      "code": "invalid_value"}}
    error = refused(400, {}, parse_error(orjson.dumps(body)), now=0)
    assert (error.status, error.message, error.type, error.param, error.code) == (
        400, "max_tokens is too large: 999999.", "invalid_request_error", "max_tokens", "invalid_value")
    assert error.treatment.client


def test_a_reply_without_words_gets_ours():
    error = refused(502, {}, VendorError(), now=0)
    assert (error.message, error.type, error.code) == ("the provider answered with status 502", "server_error", "server_error")


def test_a_numeric_code_is_no_code():
    assert refused(400, {}, VendorError("x", "BadRequestError", code="400"), now=0).code == "invalid_request"


def test_a_redirect_is_our_misconfiguration():
    error = refused(307, {"Location": "https://elsewhere.example"}, VendorError(), now=0)
    assert (error.failure, error.treatment.degraded) == (Failure.NOT_FOUND, True)
    assert "elsewhere" not in error.message


def test_patience_is_kept():
    assert refused(429, {"Retry-After": "3"}, VendorError(), now=0).retry_after == 3.0


@pytest.mark.parametrize(("error", "failure", "status"), [
    (bad_answer("odd"), Failure.BAD_RESPONSE, 502), (AnswerError(Failure.TRUNCATED, "cut"), Failure.TRUNCATED, 502),
    (reported(VendorError("boom", "server_error")), Failure.SERVER_ERROR, 502),
    (reported(VendorError("slow down", code="429")), Failure.RATE_LIMITED, 429),
    (reported(VendorError("too long", code="context_length_exceeded")), Failure.CONTEXT_LENGTH, 400)])
def test_a_success_that_is_none(error, failure, status):
    made = broken(error, phase=Phase.STREAM)
    assert (made.failure, made.status, made.phase) == (failure, status, Phase.STREAM)


@pytest.mark.parametrize(("text", "clean"), [
    ("Incorrect API key provided: sk-proj-abcDEF123456. See https://platform.openai.com/account/api-keys.",
     "Incorrect API key provided: [key] See [url]"),
    ("Incorrect API key provided: sk-fake*********1234.", "Incorrect API key provided: [key]"),
    ("Authorization: Bearer abc.def", "Authorization: [key]"),
    ("in organization org-AbCdEfGhIjKlMnOpQrSt on", "in organization [key] on"),
    ("cannot reach http://10.0.0.1:8000/v1/x?y=z now", "cannot reach [url] now"),
    ("the secret hunter2 leaked", "the secret [key] leaked"),
    ("a risk-based task for org-wide use of key-value pairs", "a risk-based task for org-wide use of key-value pairs")])
def test_keys_and_urls_are_taken_out(text, clean):
    assert redact(text, "hunter2") == clean
