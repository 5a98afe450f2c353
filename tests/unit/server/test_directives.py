"""Headers a caller sends to the runtime: understood, or refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import CacheControl, Directives
from stratarouter_runtime.server.directives import cache_control, directives, request_id


def read(**headers: str) -> Directives:
    """The directives of headers (underscores are hyphens)."""
    return directives(CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}))


def test_without_any_header_there_are_none() -> None:
    """The usual request."""
    assert read() == Directives()
    assert read(content_type="application/json") == Directives()


def test_all_headers_are_read_in_any_case() -> None:
    """Milliseconds become seconds."""
    made = read(X_Strata_Route="billing", X_Strata_Timeout_MS="1500", X_Strata_Similarity_Threshold="0.97", Cache_Control="no-cache")
    assert made == Directives(route="billing", timeout=1.5, similarity_threshold=0.97, cache=CacheControl(no_cache=True))


def test_an_empty_route_is_none() -> None:
    """A proxy that always sets the header decides nothing by an empty one."""
    assert read(x_strata_route="").route is None


@pytest.mark.parametrize("sent", ["", "0", "-1", "3600001", "soon", "nan", "inf", "-inf", "1e9", "0x10", "1,5", "1 2"])
def test_a_timeout_that_is_none_is_refused_by_name(sent: str) -> None:
    """Never ignored: the caller would wait longer than it asked."""
    with pytest.raises(RequestError) as caught:
        read(x_strata_timeout_ms=sent)
    error = caught.value
    assert (error.status, error.code, error.param) == (400, "invalid_header", "x-strata-timeout-ms")
    assert error.message == "The header x-strata-timeout-ms must be a number from 1 to 3600000."


@pytest.mark.parametrize("sent", ["", "-0.1", "1.01", "high", "nan"])
def test_a_threshold_that_is_none_is_refused_by_name(sent: str) -> None:
    """A cosine between 0 and 1."""
    with pytest.raises(RequestError) as caught:
        read(x_strata_similarity_threshold=sent)
    assert caught.value.param == "x-strata-similarity-threshold"
    assert caught.value.message == "The header x-strata-similarity-threshold must be a number from 0 to 1."


@pytest.mark.parametrize(("value", "expected"), [
    ("", CacheControl()),
    ("no-store", CacheControl(no_store=True)),
    ("No-Cache", CacheControl(no_cache=True)),
    ("only-if-cached", CacheControl(only_if_cached=True)),
    ("max-age=60", CacheControl(max_age=60)),
    ('max-age="60"', CacheControl(max_age=60)),
    ("max-age=0", CacheControl(no_cache=True, max_age=0)),
    (" no-store ,max-age = 5, x-unknown=1, ", CacheControl(no_store=True, max_age=5)),
    ("max-age=-1", CacheControl()), ("max-age=1.5", CacheControl()), ("max-age", CacheControl()), ("max-age=²", CacheControl()),
    ("must-revalidate", CacheControl()), (",,;=", CacheControl()),
])
def test_cache_control_follows_rfc_9111(value: str, expected: CacheControl) -> None:
    """Unknown directives and invalid arguments are ignored, case does not matter."""
    assert cache_control(value) == expected


@given(st.text(max_size=40))
def test_cache_control_reads_anything(value: str) -> None:
    """No header breaks the parser, and a max-age is a number of seconds."""
    found = cache_control(value)
    assert found.max_age is None or found.max_age >= 0


@pytest.mark.parametrize(("sent", "kept"), [
    ("req-1", "req-1"), ("a" * 128, "a" * 128), ("a" * 129, ""), ("", ""), ("a b", ""), ("ä", ""), ("a\tb", ""), ('{"a":1}', '{"a":1}')])
def test_a_request_id_is_kept_where_it_is_fit_for_a_header(sent: str, kept: str) -> None:
    """It is sent back and logged; anything else gets one of ours."""
    assert request_id(CIMultiDict({"X-Request-Id": sent})) == kept


@pytest.mark.parametrize(("sent", "drops"), [("drop", True), (" DROP ", True), ("refuse", False), ("", False)])
def test_leave_to_drop_is_given_by_one_word(sent: str, drops: bool) -> None:
    assert read(x_strata_unsupported=sent).drop_unsupported is drops


def test_any_other_word_is_refused_by_name() -> None:
    with pytest.raises(RequestError) as caught:
        read(x_strata_unsupported="yes")
    assert caught.value.param == "x-strata-unsupported"
