"""Trace context is read as the SDK's own propagator reads it, and written so that it reads it back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from stratarouter_runtime.telemetry.propagation import TraceParent, parse

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def reference(headers):
    """What the SDK makes of the same headers."""
    context = get_current_span(TraceContextTextMapPropagator().extract(headers)).get_span_context()
    return (context.trace_id, context.span_id, int(context.trace_flags)) if context.is_valid else None


def ours(headers):
    parent = parse(headers)
    return parent and (int(parent.trace_id, 16), int(parent.span_id, 16), parent.flags)


@pytest.mark.parametrize("value", [
    "", "garbage", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-1", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-more", f"00-{TRACE}-{SPAN}-01\n",
    f"00-{TRACE[:-1]}-{SPAN}-01", f"0x-{TRACE}-{SPAN}-01", "00-" * 5000,
])
def test_what_is_not_valid_is_no_parent(value):
    """A broken header starts a new trace; it never breaks a request."""
    assert parse({"traceparent": value, "tracestate": "a=1"}) is None


@pytest.mark.parametrize("value", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f" 00-{TRACE}-{SPAN}-03\t", f"cc-{TRACE}-{SPAN}-01-what-comes"])
def test_what_is_valid_is_read_as_the_sdk_reads_it(value):
    """Future versions and surrounding blanks included."""
    assert ours({"traceparent": value}) == reference({"traceparent": value}) is not None


@given(st.one_of(st.text(max_size=80), st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", fullmatch=True)))
def test_any_text_is_read_as_the_sdk_reads_it(value):
    """We are faster, not different."""
    headers = {"traceparent": value}
    assert ours(headers) == reference(headers)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_what_is_written_reads_back(trace, span, flags):
    """Every position survives the wire."""
    parent = TraceParent(f"{trace:032x}", f"{span:016x}", flags, "vendor=1")
    assert parse(parent.headers()) == parent
    assert reference(parent.headers()) == (trace, span, flags)


def test_several_tracestate_headers_are_one_list():
    """RFC 9110: repeated fields are combined with commas, in order."""
    headers = CIMultiDict([("Traceparent", f"00-{TRACE}-{SPAN}-01"), ("Tracestate", "a=1"), ("tracestate", "b=2")])
    assert parse(headers).state == "a=1,b=2"


def test_a_tracestate_that_is_too_long_is_dropped_alone():
    """It is somebody else's baggage; the trace goes on."""
    parent = parse({"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=" + "x" * 600})
    assert (parent.trace_id, parent.state) == (TRACE, "")
