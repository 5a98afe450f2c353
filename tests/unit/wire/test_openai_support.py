"""What OpenAI refuses of a chat request is named and left out; everything else stays, unknown parameters too."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.wire import openai_models
from stratarouter_runtime.wire.openai_support import accepted, unsupported

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
THOUGHT = {"role": "assistant", "content": "Four.", "reasoning_content": "2 + 2", "reasoning_details": [{"signature": "x"}]}
FIXED = {"temperature": 0.2, "top_p": 0.5, "presence_penalty": 1, "frequency_penalty": -1, "logprobs": True, "top_logprobs": 2,
         "logit_bias": {"5": 1}}
json_values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5),
                           lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6)
bodies = st.dictionaries(st.sampled_from([*FIXED, "messages", "tools", "metadata", "store", "reasoning_effort", "stop", "max_tokens"]),
                         json_values, max_size=6)
names = st.sampled_from(["gpt-4o", "o3", "o4-mini", "gpt-5", "x"])


def params(body: dict[str, Any], *names: str) -> list[tuple[str, bool]]:
    """What is named, and whether as a hint."""
    return [(each.param, each.hint) for each in unsupported(body, *names)]


def test_an_ordinary_request_is_passed_on_as_it_is() -> None:
    """The very same object: nothing is copied for nothing."""
    body = {**ASKED, **FIXED, "max_tokens": 5, "stop": ["x"], "vendor_specific": 1}
    assert unsupported(body, "gpt-4o") == []
    assert accepted(body, "gpt-4o") is body


def test_signatures_of_another_vendors_calls_do_not_reach_openai() -> None:
    """A conversation with tools that Gemini began goes on here."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    signed = {**call, "extra_content": {"google": {"thought_signature": "c2ln"}}}
    body = {**ASKED, "messages": [{"role": "assistant", "content": None, "tool_calls": [signed, call], "images": []}]}
    assert params(body, "gpt-4o") == [("messages[0].images", True), ("messages[0].tool_calls[0].extra_content", True)]
    assert accepted(body, "gpt-4o") == {**ASKED, "messages": [{"role": "assistant", "content": None, "tool_calls": [call, call]}]}


def test_metadata_goes_only_with_what_is_stored() -> None:
    """OpenAI answers 400 to metadata without ``store``."""
    body = {**ASKED, "metadata": {"team": "billing"}}
    assert params(body, "gpt-4o") == [("metadata", True)]
    assert accepted(body, "gpt-4o") == ASKED
    stored = {**body, "store": True}
    assert (params(stored, "gpt-4o"), accepted(stored, "gpt-4o")) == ([], stored)


def test_another_vendors_thoughts_and_marks_do_not_reach_openai() -> None:
    """A conversation that began elsewhere goes on here."""
    marked = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}
    body = {**ASKED, "messages": [{"role": "user", "content": [marked, {"type": "text", "text": "Hi"}]}, THOUGHT],
            "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}]}
    assert params(body, "gpt-4o") == [("messages[0].content[0].cache_control", True), ("messages[1].reasoning_content", True),
                                      ("messages[1].reasoning_details", True), ("tools[0].cache_control", True)]
    assert accepted(body, "gpt-4o") == {
        **ASKED, "messages": [{"role": "user", "content": [{"type": "text", "text": "Long."}, {"type": "text", "text": "Hi"}]},
                              {"role": "assistant", "content": "Four."}],
        "tools": [{"type": "function", "function": {"name": "f"}}]}
    assert body["messages"][1] is THOUGHT


@pytest.mark.parametrize("name", ["o1", "o3", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5-mini", "gpt-5-nano-2025-08-07",
                                  "openai/o3", "ft:o4-mini-2025-04-16:acme::abc"])
def test_a_reasoning_model_is_not_told_how_to_sample(name: str) -> None:
    """Each parameter is named, none as a hint: another model may do what was asked."""
    body = {**ASKED, **FIXED}
    assert params(body, name) == [(each, False) for each in FIXED]
    assert accepted(body, name) == ASKED


def test_what_asks_for_nothing_is_no_loss() -> None:
    """Frameworks send a temperature of 1 unasked."""
    body = {**ASKED, "temperature": 1.0, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logprobs": False,
            "top_logprobs": None, "logit_bias": {}}
    assert unsupported(body, "o3") == []
    assert accepted(body, "o3") == ASKED


@pytest.mark.parametrize(("name", "refused"), [("o3", True), ("o4-mini", True), ("gpt-5-mini", True), ("o1", False), ("o3-mini", False),
                                               ("gpt-4o", False), ("gpt-5.1", False)])
def test_newer_reasoning_models_take_no_stop_sequences(name: str, refused: bool) -> None:
    """The older ones do."""
    assert params({**ASKED, "stop": ["x"]}, name) == ([("stop", False)] if refused else [])


@pytest.mark.parametrize("name", ["gpt-5.1", "gpt-5.2-pro", "gpt-5-chat-latest", "gpt-6", "llama3", "my-deployment"])
def test_what_is_not_sure_is_left_to_the_vendor(name: str) -> None:
    """Its own refusal reaches the client."""
    assert unsupported({**ASKED, **FIXED}, name) == []


@pytest.mark.parametrize(("names", "renamed"), [
    (("o3",), True), (("gpt-5.1",), True), (("my-deployment", "o4-mini"), True), (("gpt-5-chat-latest",), False), (("gpt-4o",), False),
    (("ollama",), False), (("o3x",), False)])
def test_reasoning_models_get_their_own_limit(names: tuple[str, ...], renamed: bool) -> None:
    """``max_tokens`` is refused by them; what was asked for is the same."""
    body = {**ASKED, "max_tokens": 9}
    assert unsupported(body, *names) == []
    assert accepted(body, *names) == ({**ASKED, "max_completion_tokens": 9} if renamed else body)


def test_where_both_limits_are_given_the_newer_one_counts() -> None:
    assert accepted({**ASKED, "max_tokens": 9, "max_completion_tokens": 5}, "o3") == {**ASKED, "max_completion_tokens": 5}


def test_a_model_that_never_reasons_is_not_told_how_hard_to() -> None:
    """It would refuse; as a hint it is no reason to ask another."""
    body = {**ASKED, "reasoning_effort": "high"}
    assert (params(body, "gpt-4o"), accepted(body, "gpt-4o")) == ([("reasoning_effort", True)], ASKED)
    assert (params(body, "o3"), accepted(body, "o3")) == ([], body)


@given(bodies, names)
def test_what_is_left_out_is_what_is_named(body: dict[str, Any], name: str) -> None:
    """Whatever JSON it is: what stays has nothing more to name, and nobody's body is changed."""
    before = orjson.dumps(body)
    kept = accepted(body, name)
    assert unsupported(kept, name) == []
    assert orjson.dumps(body) == before
    if openai_models.reasons(name):
        assert kept.get("max_tokens") is None
