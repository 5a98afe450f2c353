"""Claims: Google's errors are read in every form it sends them, with the wait they ask for, and mean what they mean to us."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.geminivendor import FAULTS
from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.providers.errors import classify, refused
from stratarouter_runtime.wire.gemini_errors import error_in, parse_error


def read(fault):
    return parse_error(orjson.dumps(FAULTS[fault].error))


@pytest.mark.parametrize(("fault", "failure", "wait"), [
    ("http_400", Failure.INVALID_REQUEST, None), ("http_401", Failure.UNAUTHORIZED, None), ("http_403", Failure.UNAUTHORIZED, None),
    ("http_404", Failure.NOT_FOUND, None), ("http_409", Failure.CONFLICT, None), ("http_499", Failure.TIMEOUT, None),
    ("http_500", Failure.SERVER_ERROR, None), ("http_503", Failure.OVERLOADED, None), ("http_504", Failure.TIMEOUT, None),
    ("rate_limited", Failure.RATE_LIMITED, 21.0), ("rate_limited_words", Failure.RATE_LIMITED, 21.5),
    ("quota_per_day", Failure.QUOTA_EXHAUSTED, 38.0), ("no_quota", Failure.QUOTA_EXHAUSTED, 11.0),
    ("key_invalid", Failure.UNAUTHORIZED, None), ("location", Failure.UNAUTHORIZED, None),
    ("context_length", Failure.CONTEXT_LENGTH, None), ("list_503", Failure.OVERLOADED, None)])
def test_what_an_error_means(fault, failure, wait):
    vendor = read(fault)
    assert classify(FAULTS[fault].status, vendor) is failure
    assert vendor.wait == wait
    # The same without its status, as in mid-stream.
    assert classify(0, vendor) is failure


def test_the_client_reads_the_vendors_words_without_addresses():
    error = refused(429, {}, read("rate_limited"), now=0.0)
    assert (error.failure, error.retry_after, error.status, error.type) == (Failure.RATE_LIMITED, 21.0, 429, "RESOURCE_EXHAUSTED")
    assert error.message.startswith("You exceeded your current quota")
    assert "://" not in error.message


@pytest.mark.parametrize("reason", ["BILLING_DISABLED", "SERVICE_DISABLED", "CONSUMER_SUSPENDED"])
def test_an_account_that_is_not_in_order_is_our_misconfiguration(reason):
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}]
    vendor = error_in({"error": {"code": 403, "message": "x", "status": "PERMISSION_DENIED", "details": details}})
    assert classify(403, vendor) in (Failure.UNAUTHORIZED, Failure.QUOTA_EXHAUSTED)


@pytest.mark.parametrize(("delay", "wait"), [("0.1s", 0.1), ("3600s", 3600.0), ("1e99s", None), ("999999999s", 86_400.0), ("", None), (5, None), ({}, None)])
def test_the_delay(delay, wait):
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    assert error_in({"error": {"code": 429, "details": details}}).wait == wait


@pytest.mark.parametrize("raw", [b"", b"<html>", b"{}", b"[]", b'{"error": {}}', b'{"error": null}', b'{"error": 5}', b'"x"'])
def test_what_says_nothing_says_nothing(raw):
    assert parse_error(raw).message == ""


def test_an_oauth_error_is_read_too():
    vendor = parse_error(b'{"error": "invalid_grant", "error_description": "Bad."}')
    assert (vendor.type, vendor.message) == ("invalid_grant", "Bad.")


scalars = st.none() | st.booleans() | st.integers(-5, 2**63) | st.floats(allow_nan=False) | st.text(max_size=8)
NAMES = ("error", "code", "message", "status", "details", "@type", "reason", "violations", "quotaId", "retryDelay")
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5), max_leaves=12)


@given(anything)
def test_nothing_is_ever_raised(body):
    classify(400, parse_error(orjson.dumps({"error": body})))
    parse_error(orjson.dumps(body))
