"""Claim: every form in which vendors ask for patience is understood, and nothing they send breaks it."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from stratarouter_runtime.providers.retry_after import LONGEST, duration, retry_after

NOW = 1_732_000_000.0


def asked(status=429, message="", **headers):
    return retry_after(status, CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}), message, now=NOW)


@pytest.mark.parametrize(("text", "seconds"), [
    ("1s", 1.0), ("6m0s", 360.0), ("120ms", 0.12), ("23h55m16.126s", 86116.126), ("8.64s", 8.64), ("1d2h", 93600.0), ("7", 7.0),
    ("0.5", 0.5), (" 2s ", 2.0), ("1H", 3600.0), (None, None), ("", None), ("soon", None), ("5x", None), ("-1", None), ("nan", None),
    ("inf", None), ("1s and more", None)])
def test_durations(text, seconds):
    assert duration(text) == (pytest.approx(seconds) if seconds is not None else None)


@pytest.mark.parametrize(("headers", "seconds"), [
    ({"Retry_After": "7"}, 7.0), ({"retry_after": "1.5"}, 1.5), ({"Retry_After": "20s"}, 20.0),
    ({"Retry_After": formatdate(NOW + 30, usegmt=True)}, 30.0), ({"Retry_After": formatdate(NOW - 30, usegmt=True)}, 0.0),
    ({"retry_after_ms": "250"}, 0.25), ({"retry_after_ms": "250", "Retry_After": "9"}, 0.25), ({"Retry_After": "99999999"}, LONGEST),
    ({"x_ratelimit_reset_requests": "6m0s", "x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_tokens": "120ms"}, 360.0),
    ({"x_ratelimit_reset_requests": "6m0s", "x_ratelimit_remaining_requests": "9", "x_ratelimit_reset_tokens": "120ms",
      "x_ratelimit_remaining_tokens": "0"}, 0.12),
    ({"x_ratelimit_reset_requests": "6ms", "x_ratelimit_reset_tokens": "40s"}, 40.0),
    ({"Retry_After": "1", "x_ratelimit_reset_requests": "6m0s"}, 1.0),
    ({}, None), ({"Retry_After": "tomorrow"}, None), ({"retry_after_ms": "x"}, None)])
def test_the_header_that_says_most_precisely_counts(headers, seconds):
    assert asked(**headers) == (pytest.approx(seconds) if seconds is not None else None)


def test_the_words_of_the_message_count_where_no_header_does():
    assert asked(message="Limit 3, Used 3. Please try again in 6m0.5s. Visit us") == pytest.approx(360.5)
    assert asked(message="Please try again later") is None


def test_the_words_count_before_limits_that_are_not_exhausted():
    """OpenAI tells in every reply when each limit would be full again, which is not when it was exceeded."""
    full = {"x_ratelimit_reset_requests": "6ms", "x_ratelimit_remaining_requests": "9000", "x_ratelimit_reset_tokens": "30ms"}
    assert asked(message="Please try again in 20s.", **full) == 20.0
    assert asked(message="Please try again in 20s.", **full | {"x_ratelimit_remaining_requests": "0"}) == 0.006


def test_reset_headers_say_nothing_about_other_statuses():
    """OpenAI sends them with every reply."""
    assert asked(status=503, x_ratelimit_reset_requests="6m0s") is None
    assert asked(status=503, Retry_After="3") == 3.0


@given(st.text(), st.text(), st.text())
def test_nothing_breaks_it(first, second, message):
    seconds = asked(Retry_After=first, x_ratelimit_reset_tokens=second, message=message)
    assert seconds is None or 0.0 <= seconds <= LONGEST
