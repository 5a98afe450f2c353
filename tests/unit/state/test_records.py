"""What an execution leaves behind: names, figures and reasons, and nothing that anybody wrote to a model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.state import DECISION, KEY, NOW, PROMPT, RATE, VECTOR, execution, made
from stratarouter_runtime.model.cache import CacheEntry, Hit, Miss
from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.errors import ExecutionError
from stratarouter_runtime.model.response import Usage
from stratarouter_runtime.model.verdict import PolicyError, Verdict
from stratarouter_runtime.state import StateDataError, begun, record
from stratarouter_runtime.state.document import document
from stratarouter_runtime.state.records import MAX_STATE_BYTES, MAX_STEP, checkpoint, clean, moment, valid_id
from stratarouter_runtime.state.rows import of_execution


def test_a_record_tells_each_attempt_and_who_answered():
    """Everything that an inquiry into one execution asks for is in its record."""
    told = record(execution(), status=200, started_at=NOW, duration=0.75)
    assert (told.tenant, told.route, told.pool, told.provider, told.model) == ("acme", "billing", "chat", "fallback", "gpt-4o-2024")
    assert (told.outcome, told.status, told.duration, told.started_at) == ("Success", 200, 0.75, NOW)
    assert (told.input_tokens, told.output_tokens, told.cached_tokens) == (1_000, 20, 5)
    assert told.cost_usd == RATE.cost(Usage(1_000, 20)) == Decimal("0.0027")
    assert told.attempts == (
        {"number": 1, "candidate": "chat/primary/gpt-4o", "region": "eu", "outcome": "ServerError", "status": 500, "seconds": 0.25,
         "firstTokenSeconds": None},
        {"number": 2, "candidate": "chat/fallback/gpt-4o", "region": "eu", "outcome": "Success", "status": 200, "seconds": 0.5,
         "firstTokenSeconds": 0.125})
    assert told.plan == {"route": "billing", "family": "chat", "timeoutSeconds": 60.0, "maxAttempts": 4,
                         "candidates": ["chat/primary/gpt-4o", "chat/fallback/gpt-4o"]}


def test_no_prompt_key_or_vector_is_in_a_record_nor_in_its_document():
    """A vendor's message may quote the prompt, a decision holds the query: neither gets anywhere near the record."""
    told = record(execution(message=f"cannot answer {PROMPT!r} with key {KEY}"), status=200, started_at=NOW, duration=1)
    written = repr(told) + repr(of_execution(told)) + orjson.dumps(document(told.id, told, [], [], stored=True)).decode()
    for secret in (PROMPT, KEY, str(VECTOR[0]), "note"):
        assert secret not in written


def test_of_a_decision_names_and_figures_are_kept():
    """The route, the confidence and the highest ten scores."""
    scores = {f"route-{index}": index / 100 for index in range(50)} | {"broken": math.nan, "word": "high"}
    decided = execution()
    decided.plan = replace(decided.plan, decision=replace(DECISION, scores=scores))
    told = record(decided, status=200, started_at=NOW, duration=1)
    assert {**told.decision, "scores": None} == {"route": "billing", "confidence": 0.875, "scores": None}
    assert list(told.decision["scores"]) == [f"route-{index}" for index in range(49, 39, -1)]


@pytest.mark.parametrize("decision", [
    RoutingDecision(None), RoutingDecision(7, "high", [1]), RoutingDecision("x" * 10_000, math.nan, {1: 10**400, "b": True})])
def test_a_decision_that_nobody_has_checked_is_told_as_far_as_it_goes(decision):
    """It was refused for what it is; its record is kept all the same, and is JSON."""
    refused = execution(error=ExecutionError("InvalidValue", "no", status=400))
    refused.plan, refused.decision = None, decision
    told = record(refused, status=400, started_at=NOW, duration=1)
    assert told.decision.keys() == {"route", "confidence", "scores"}
    assert len(orjson.dumps(told.decision)) < 500


def test_why_there_was_no_route_is_told():
    """The router's reason, where it gave one."""
    decided = execution()
    decided.plan = replace(decided.plan, decision=RoutingDecision(None, 0.25, reason="below the threshold"))
    told = record(decided, status=200, started_at=NOW, duration=1)
    assert told.decision == {"route": None, "confidence": 0.25, "scores": {}, "reason": "below the threshold"}


def test_what_the_policy_found_is_told():
    """In the header's short form: of a plan that came to be, and of a refusal, which has none."""
    found = Verdict("allowedRegions", "us", ["eu"], effect="leftOut")
    planned = execution()
    planned.plan = replace(planned.plan, policy=(found,))
    assert record(planned, status=200, started_at=NOW, duration=1).plan["policy"] == "allowedRegions;effect=leftOut"
    refused = execution(error=PolicyError("billing", (Verdict("minConfidence", 0.1, 0.6),)))
    refused.plan = None
    told = record(refused, status=403, started_at=NOW, duration=1)
    assert (told.outcome, told.plan) == ("PolicyViolation", {"route": "billing", "policy": "minConfidence;effect=refused"})


@pytest.mark.parametrize(("status", "outcome"), [(200, "Success"), (499, "Cancelled"), (500, "InternalError")])
def test_without_an_error_the_status_says_how_it_ended(status, outcome):
    """A caller that went away is no success, and no defect; what ended in no error of ours is one."""
    assert record(execution(), status=status, started_at=NOW, duration=1).outcome == outcome


def test_a_failure_is_told_by_its_reason():
    """Nobody answered: the reason and the status, the attempts, and no provider."""
    failed = execution(error=ExecutionError("AllFailed", f"all failed for {PROMPT}", status=502))
    told = record(failed, status=502, started_at=NOW, duration=1)
    assert (told.outcome, told.status, told.provider, len(told.attempts)) == ("AllFailed", 502, "", 2)
    assert PROMPT not in repr(told)


def test_a_hit_is_told_with_what_it_saved_and_whose_answer_it_was():
    """The entry's provider answered once; now the cache did, for nothing."""
    found = execution()
    found.attempts, found.candidate, found.cost, found.saved = (), None, Decimal(0), Decimal("0.01")
    found.cached = Hit(CacheEntry(partition="p", exact="e", body=PROMPT.encode(), pool="chat", provider="primary", model="gpt-4o",
                                  region="eu", created=NOW, ttl=60, text=PROMPT), "semantic", 0.97, 3.0)
    told = record(found, status=200, started_at=NOW, duration=0.01)
    assert (told.cache, told.provider, told.cost_usd, told.saved_usd) == ("hit:semantic", "primary", 0, Decimal("0.01"))
    assert PROMPT not in repr(told)
    found.cached = Miss("guard", detail=PROMPT)
    assert record(found, status=200, started_at=NOW, duration=0.01).cache == "miss:guard"


def test_an_execution_that_was_refused_before_a_plan_leaves_a_record_too():
    """What failed first of all is as much worth knowing."""
    refused = execution(error=ExecutionError("ModelNotFound", "no", status=404))
    refused.plan, refused.usage, refused.attempts, refused.cost = None, None, (), None
    told = record(refused, status=404, started_at=NOW, duration=0.001)
    assert (told.route, told.family, told.plan, told.input_tokens, told.cost_usd) == ("", "", {}, None, None)


def test_what_has_only_begun_has_no_outcome():
    """An execution whose process died shows that nobody knows how it ended."""
    told = begun(execution(), started_at=NOW)
    assert (told.outcome, told.status, told.duration, told.route) == ("", None, None, "billing")
    assert document("exec-1", told, [], [], stored=True)["outcome"] is None


def test_what_a_caller_or_vendor_names_is_bounded_and_free_of_what_no_column_holds():
    """NUL, half a surrogate pair, a name of a megabyte, more tokens than there are: all become something that can be stored."""
    odd = execution(usage=Usage(10**30, -5))
    odd.request_id, odd.model, odd.finish_reason = "r" * 1_000_000, "gpt\0\ud800", "\udfff"
    told = record(odd, status=200, started_at=NOW, duration=1)
    assert (len(told.request_id), told.model, told.finish_reason) == (200, "gpt\N{REPLACEMENT CHARACTER}?", "?")
    assert (told.input_tokens, told.output_tokens) == (2**63 - 1, 0)


@given(st.text(st.characters(), max_size=300))
def test_clean_text_can_be_stored_and_stays_as_it_is(text):
    """Cleaning is done once: it is valid UTF-8 without NUL, at most 200 characters, and cleaning it again changes nothing."""
    once = clean(text)
    assert once.encode().decode() == clean(once) == once
    assert len(once) <= 200
    assert "\0" not in once


@given(st.floats(0, 4e9))
def test_a_time_survives_a_timestamp_of_microseconds(seconds):
    """Both back ends give the same time back."""
    kept = moment(seconds)
    assert of_execution(made(started_at=kept))[5].timestamp() == kept


@pytest.mark.parametrize("identity", ["", "x" * 201, "a\0b", "a\ud800b"])
def test_an_id_that_cannot_be_stored_is_none(identity):
    """Such an id is refused for an app's checkpoint and found nowhere."""
    assert not valid_id(identity)
    with pytest.raises(StateDataError, match="execution id"):
        checkpoint(identity, 0, {}, NOW)


@pytest.mark.parametrize("step", [-1, MAX_STEP + 1])
def test_a_step_is_a_number_that_json_and_a_column_hold(step):
    """Steps start at 0."""
    with pytest.raises(StateDataError, match="step must be"):
        checkpoint("job", step, {}, NOW)


def _endless():
    data = {}
    data["again"] = data
    return data


def _deep():
    data = {}
    for _ in range(200_000):
        data = {"deeper": data}
    return data


@pytest.mark.parametrize("data", [
    {"x": math.nan}, {"x": math.inf}, {"x": {PROMPT}}, {"x": PROMPT.encode()}, {"x": 10**5_000}, {(1, 2): PROMPT}, _endless(), _deep(),
    {"x": Decimal(1)}], ids=["nan", "infinity", "set", "bytes", "number", "key", "endless", "deep", "decimal"])
def test_state_that_json_cannot_hold_is_refused_without_being_quoted(data):
    """What would come back as something else, or never, is an error at once, on any back end."""
    with pytest.raises(StateDataError, match="must be a mapping that JSON can hold") as raised:
        checkpoint("job", 0, data, NOW)
    assert PROMPT not in str(raised.value)


def test_state_of_more_than_four_mebibytes_is_refused():
    """The bound is on the JSON, and the message says how much it was."""
    with pytest.raises(StateDataError, match=f"takes {MAX_STATE_BYTES + 1} bytes"):
        checkpoint("job", 0, {"x": "y" * (MAX_STATE_BYTES - 7)}, NOW)
    assert len(checkpoint("job", 0, {"x": "y" * (MAX_STATE_BYTES - 8)}, NOW).encoded) == MAX_STATE_BYTES


def test_a_kept_state_cannot_be_changed_afterwards():
    """Neither through what was given nor through what is read."""
    data = {"items": [1, 2]}
    kept = checkpoint("job", 0, data, NOW)
    data["items"].append(3)
    kept.state_data["items"].append(4)
    assert kept.state_data == {"items": [1, 2]} == json.loads(kept.encoded)
