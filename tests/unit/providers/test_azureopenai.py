"""What Azure says of its filters, in whatever shape; and its streams' events without a choice."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.model.response import EventKind
from stratarouter_runtime.providers.azureopenai import parse_error
from stratarouter_runtime.providers.errors import classify
from stratarouter_runtime.wire.azure_stream import AzureStream

FILTER = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{"prompt_index": 0}]}


def framed(*bodies: Any) -> bytes:
    return b"".join(b"data: " + (orjson.dumps(each) if each != "[DONE]" else b"[DONE]") + b"\n\n" for each in bodies)


def chunk(text: str = "", finish: str | None = None) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


@pytest.mark.parametrize("code", ["content_filter", "400", "BadRequest", None])
def test_a_filters_refusal_is_known_by_its_inner_error(code: str | None) -> None:
    """Some versions of the API give no telling code."""
    raw = orjson.dumps({"error": {"message": "filtered", "code": code, "param": "prompt", "innererror": {"code": "ResponsibleAIPolicyViolation"}}})
    assert classify(400, parse_error(raw)) is Failure.CONTENT_POLICY


@pytest.mark.parametrize(("status", "body", "failure"), [
    (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}, Failure.NOT_FOUND),
    (400, {"error": {"code": "OperationNotSupported", "message": "The chatCompletion operation does not work with the specified model, ada."}},
     Failure.NOT_FOUND),
    (401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key"}}, Failure.UNAUTHORIZED),
    (401, {"statusCode": 401, "message": "Unauthorized. Access token is missing, invalid, audience is incorrect"}, Failure.UNAUTHORIZED),
    (429, {"error": {"code": "429", "message": "Requests to the ChatCompletions_Create Operation have exceeded call rate limit"}},
     Failure.RATE_LIMITED),
    (429, {"error": {"code": "NoCapacity", "message": "The system is currently experiencing high demand"}}, Failure.RATE_LIMITED),
    (400, {"error": {"code": "context_length_exceeded", "message": "This model's maximum context length is 8192 tokens."}}, Failure.CONTEXT_LENGTH)])
def test_azures_errors_mean_what_they_say(status: int, body: dict[str, Any], failure: Failure) -> None:
    """As recorded of the service."""
    assert classify(status, parse_error(orjson.dumps(body))) is failure


def test_what_the_filters_say_moves_into_the_next_event_that_has_a_choice() -> None:
    """Every event has a choice then, but the usage that was asked for."""
    usage = {"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    events, error = AzureStream().feed(framed(FILTER, chunk("Hi"), chunk("", "stop"), usage, "[DONE]"))
    assert error is None
    assert [each.kind for each in events] == [EventKind.CONTENT, EventKind.FINISH, EventKind.USAGE, EventKind.DONE]
    assert orjson.loads(events[0].raw) == events[0].body == {**chunk("Hi"), "prompt_filter_results": [{"prompt_index": 0}]}
    assert events[1].raw == orjson.dumps(chunk("", "stop"))


@given(st.lists(st.integers(1, 400), max_size=6))
def test_any_split_gives_the_same_events(cuts: list[int]) -> None:
    raw = framed(FILTER, chunk("Grüße, "), chunk("Welt"), chunk("", "stop"), "[DONE]")
    whole, _ = AzureStream().feed(raw)
    stream, got = AzureStream(), []
    places = [0, *sorted(set(cuts)), len(raw)]
    for start, end in itertools.pairwise(places):
        got += stream.feed(raw[start:end])[0]
    assert [(each.kind, each.raw) for each in got] == [(each.kind, each.raw) for each in whole]
    assert stream.done
