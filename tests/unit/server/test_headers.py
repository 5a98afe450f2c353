"""Headers of a reply, read by strict parsers: RFC 9211 Cache-Status, W3C Server-Timing, Retry-After."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.model.cache import CacheEntry, Hit, Miss
from stratarouter_runtime.model.errors import ExecutionError, RequestError
from stratarouter_runtime.model.execution import Execution
from stratarouter_runtime.model.plan import Attempt, Candidate, Plan
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives
from stratarouter_runtime.server import headers
from structured_fields import Item, Token, parse_list

CANDIDATE = Candidate("chat", "primary", "gpt-4o", "gpt-4o-2024")


def execution(**known: Any) -> Execution:
    """A request's state with some of it known."""
    made = Execution(id="exec-1", request_id="req-1", started=0.0, caller=Caller(), directives=Directives())
    for name, value in known.items():
        setattr(made, name, value)
    return made


def plan() -> Plan:
    """A plan of one candidate."""
    return Plan("billing", "chat", ChatRequest({"model": "gpt-4o"}), "default", (CANDIDATE,), 60, 4, 0.1)


def entry(**fields: Any) -> CacheEntry:
    """A stored answer."""
    return CacheEntry(**{"partition": "p", "exact": "e", "body": b"{}", "pool": "chat", "provider": "second", "model": "gpt-4o",
                         "region": "", "created": 0.0, "ttl": 3600.0, **fields})


def hit(**fields: Any) -> Hit:
    """A hit on it."""
    return Hit(**{"entry": entry(), "tier": "exact", "score": 1.0, "age": 10.5, **fields})


def cache_status(cached: Hit | Miss | None, *, stored: bool = False) -> Item:
    """The one item of a Cache-Status."""
    (item,) = parse_list(headers.of(execution(cached=cached, stored=stored))["Cache-Status"])
    return item


def test_the_ids_are_always_there() -> None:
    """Also for a request that was not understood."""
    assert headers.of(execution()) == {"x-request-id": "req-1", "x-strata-execution-id": "exec-1", "Server": "stratarouter"}


def test_an_answer_tells_who_gave_it_and_at_what_cost() -> None:
    """Route, provider, our name of the model, attempts, exact cost."""
    attempts = (Attempt(1, CANDIDATE, 0.1), Attempt(2, CANDIDATE, 0.1))
    found = headers.of(execution(plan=plan(), candidate=CANDIDATE, attempts=attempts, cost=Decimal("0.001500")))
    assert {name: value for name, value in found.items() if name.startswith("x-strata-")} == {
        "x-strata-execution-id": "exec-1", "x-strata-route": "billing", "x-strata-attempts": "2", "x-strata-provider": "primary",
        "x-strata-model": "gpt-4o", "x-strata-cost-usd": "0.0015"}


def test_an_unknown_cost_is_not_zero() -> None:
    """No header rather than a wrong one."""
    assert "x-strata-cost-usd" not in headers.of(execution(plan=plan(), candidate=CANDIDATE))


def test_an_exact_hit_in_rfc_9211() -> None:
    """`hit` with the seconds left and the tier; `Age` in whole seconds."""
    item = cache_status(hit())
    assert item == Item(Token("stratarouter"), {"hit": True, "ttl": 3589, "detail": "exact"})
    found = headers.of(execution(cached=hit(), cost=Decimal(0)))
    assert (found["Age"], found["x-strata-cost-usd"], found["x-strata-provider"]) == ("10", "0", "second")


def test_a_semantic_hit_tells_its_score() -> None:
    """Inside the detail, as a string."""
    assert cache_status(hit(tier="semantic", score=0.98765)).parameters["detail"] == "semantic score=0.9877"


@pytest.mark.parametrize(("reason", "stored", "expected"), [
    ("absent", True, {"fwd": "miss", "stored": True, "detail": "absent"}),
    ("absent", False, {"fwd": "miss", "detail": "absent"}),
    ("bypass", True, {"fwd": "bypass", "stored": True, "detail": "bypass"}),
    ("disabled", False, {"fwd": "bypass", "detail": "disabled"})])
def test_a_miss_in_rfc_9211(reason: str, stored: bool, expected: dict[str, Any]) -> None:
    """Why it was forwarded, and whether the answer is kept."""
    item = cache_status(Miss(reason), stored=stored)
    assert item == Item(Token("stratarouter"), expected)
    assert isinstance(item.parameters["fwd"], Token)


def test_a_near_miss_tells_the_guards_reason_and_the_score() -> None:
    """Fit for quotes, whatever the detail holds."""
    item = cache_status(Miss("guard", 'numbers "12" \\ ü\r\n', 0.97))
    assert item.parameters["detail"] == "guard numbers _12_ _ ___ score=0.9700"


def test_nothing_was_asked_nothing_is_said() -> None:
    """A request without cache has no Cache-Status."""
    assert "Cache-Status" not in headers.of(execution(plan=plan()))


@given(st.text(max_size=300), st.text(max_size=300))
def test_every_detail_gives_a_valid_header(reason: str, detail: str) -> None:
    """No text of a cache can break out of the quotes or the line."""
    value = headers.cache_status(execution(cached=Miss(reason, detail)))
    (item,) = parse_list(value)
    assert item.value == "stratarouter"
    assert len(value) < 400


def test_server_timing_has_each_stage_in_milliseconds() -> None:
    """W3C Server Timing: token;dur=number, comma separated, in the order of the way."""
    value = headers.of(execution(stages={"parse": 0.0001, "upstream-ttfb": 1.23456, "upstream": 2.0}))["Server-Timing"]
    assert value == "parse;dur=0.10, upstream-ttfb;dur=1234.56, upstream;dur=2000.00"
    assert all(re.fullmatch(r"[a-z-]+;dur=\d+\.\d\d", part) for part in value.split(", "))


@pytest.mark.parametrize(("status", "wait", "expected"), [
    (429, 0.2, "1"), (429, 7.0, "7"), (503, 7.01, "8"), (503, 0.0, "1"), (503, 1e6, "1000000"), (502, 7.0, None), (429, None, None)])
def test_retry_after_is_whole_seconds_rounded_up(status: int, wait: float | None, expected: str | None) -> None:
    """On 429 and 503 alone; who comes back too early is refused again."""
    error = ExecutionError("Whatever", "x", status=status, retry_after=wait)
    assert headers.of_error(execution(), error).get("Retry-After") == expected


def test_an_error_has_the_headers_of_what_was_decided() -> None:
    """So that a failed request can be traced to its route."""
    found = headers.of_error(execution(plan=plan()), RequestError("InvalidRequest", "x"))
    assert (found["x-request-id"], found["x-strata-route"], found["x-strata-attempts"]) == ("req-1", "billing", "0")


@pytest.mark.parametrize(("value", "text"), [
    ("0", "0"), ("0E-9", "0"), ("0.000000100", "0.0000001"), ("1E+3", "1000"), ("10.00", "10"), ("100", "100"), ("0.10", "0.1")])
def test_money_has_no_exponent_and_no_trailing_zeros(value: str, text: str) -> None:
    """A number any program reads, exact."""
    assert headers.money(Decimal(value)) == text
    assert Decimal(headers.money(Decimal(value))) == Decimal(value)


@given(st.text(max_size=400))
def test_a_safe_value_fits_a_header(value: str) -> None:
    """Printable ASCII without quotes, bounded."""
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{0,256}", headers.safe(value))


@pytest.mark.parametrize("text", ["a, ", "a b", ";x", "a;X=1", "a;x=", '"a', "a;x=é", "1234567890123456", "?2", "a,,b"])
def test_the_strict_reader_is_strict(text: str) -> None:
    """What RFC 8941 refuses, so does the parser these tests trust."""
    with pytest.raises(ValueError, match=r"."):
        parse_list(text)


def test_the_strict_reader_reads() -> None:
    """Tokens, strings, numbers, booleans and parameters."""
    assert parse_list('a;x;y=1;z="q\\"";w=?0;v=1.5, "b c" , -7') == [
        Item(Token("a"), {"x": True, "y": 1, "z": 'q"', "w": False, "v": 1.5}), Item("b c"), Item(-7)]
