"""A parameter that a vendor has no place for: others are asked, or the caller is told, or it is dropped with leave."""

from __future__ import annotations

from typing import Any

import pytest

from builders import model, pool, provider, runtime, snapshot
from stratarouter_runtime.bridge.planner import Planner
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.plan import Plan
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives, EmbeddingsRequest, Native
from stratarouter_runtime.model.support import Unsupported, named
from stratarouter_runtime.wire import dialects

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
DROP = Directives(drop_unsupported=True)


def planner(*upstreams: tuple[str, str], context: Any = None) -> Planner:
    """Providers `p0`, `p1`, ... of one public model: (type, the vendor's name of the model)."""
    served = [provider(f"p{number}", model("m", upstreamName=name), type=kind) for number, (kind, name) in enumerate(upstreams)]
    route = {"pools": [{"name": "chat"}], **({"context": context} if context else {})}
    return Planner(snapshot(runtime(defaultRoute=route), pool("chat", *served)))


def plan(made: Planner, directives: Directives = Directives(), native: Native | None = None, **fields: Any) -> Plan:  # noqa: B008
    return made.plan(ChatRequest({**ASKED, **fields}, native=native), Caller(), directives)


def lost(made: Plan, name: str) -> list[str]:
    return [each.param for each in made.lost("chat", name, "m")]


def test_who_has_no_place_for_a_parameter_is_left_out_with_it_as_the_reason() -> None:
    """The others stay, in order, and nothing is lost."""
    made = plan(planner(("openai", "o3"), ("openai", "gpt-4o"), ("openaicompatible", "x")), temperature=0.2)
    assert [each.provider for each in made.candidates] == ["p1", "p2"]
    assert [(each.provider, reason) for each, reason in made.left_out] == [("p0", "temperature")]
    assert made.losses == ()


def test_where_none_is_left_the_error_names_parameters_and_candidates() -> None:
    """A 400 that says what to do."""
    with pytest.raises(RequestError) as caught:
        plan(planner(("openai", "o3"), ("openai", "o4-mini")), temperature=0.2, top_p=0.5)
    error = caught.value
    assert (error.status, error.reason, error.code, error.param) == (400, "UnsupportedParameter", "unsupported_parameter", "temperature")
    for name in ("p0", "p1"):
        assert f"chat/{name}/m ('temperature': this model's sampling cannot be changed, 'top_p'" in error.message
    assert "x-strata-unsupported: drop" in error.message


def test_with_leave_it_is_dropped_and_named() -> None:
    """Only for who drops it."""
    made = plan(planner(("openai", "o3"), ("openai", "gpt-4o")), DROP, temperature=0.2)
    assert [each.provider for each in made.candidates] == ["p0", "p1"]
    assert (lost(made, "p0"), lost(made, "p1")) == (["temperature"], [])
    assert made.to_document()["dropped"] == [{
        "candidate": made.primary.to_document(),
        "parameters": [{"param": "temperature", "reason": "this model's sampling cannot be changed"}]}]
    assert "dropped: temperature for chat/p0/m" in str(made)


def test_a_hint_is_dropped_without_leave_and_named() -> None:
    """It is never a reason to refuse."""
    made = plan(planner(("openai", "gpt-4o"), ("openaicompatible", "x")), metadata={"a": "b"})
    assert (lost(made, "p0"), lost(made, "p1")) == (["metadata"], [])


def test_what_the_route_adds_is_no_loss_of_the_callers() -> None:
    """The vendor does not get it, but nobody is told of what he did not send; positions are those of the caller's messages."""
    made = planner(("openai", "gpt-4o"), context={"systemPrompt": "Be kind.", "metadata": {"team": "x"}})
    assert plan(made).losses == ()
    thought = {"role": "assistant", "content": "Hm.", "reasoning_content": "..."}
    assert lost(plan(made, messages=[thought, *ASKED["messages"]]), "p0") == ["messages[0].reasoning_content"]


def test_who_speaks_the_callers_dialect_loses_nothing_and_others_what_lies_beyond() -> None:
    """A request that came in as a Responses request, with a tool that only such vendors have."""
    native = Native("responses", {}, (Unsupported("tools[0]", "it is the vendor's own tool"), Unsupported("truncation", "...", hint=True)))
    made = plan(planner(("openai", "gpt-4o"), ("openaicompatible", "x")), native=native, metadata={"a": "b"})
    assert [each.provider for each in made.candidates] == ["p0"]
    assert made.losses == ()
    assert [(each.provider, reason) for each, reason in made.left_out] == [("p1", "tools[0]")]
    with pytest.raises(RequestError) as caught:
        plan(planner(("openaicompatible", "x")), native=native)
    assert caught.value.param == "tools[0]"
    assert lost(plan(planner(("openaicompatible", "x")), DROP, native=native), "p0") == ["tools[0]", "truncation"]


def test_a_model_without_the_capability_does_not_speak_it() -> None:
    """A gateway of OpenAI's type without the Responses API."""
    served = provider("p0", model("m", capabilities=["chat", "tools"]), type="openai")
    made = Planner(snapshot(runtime(), pool("chat", served)))
    native = Native("responses", {}, (Unsupported("tools[0]", "it is the vendor's own tool"),))
    with pytest.raises(RequestError):
        plan(made, native=native)


def test_embeddings_have_a_table_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Token arrays where a vendor takes only texts."""
    monkeypatch.setattr(dialects, "EMBEDDINGS", {"openai": lambda body: [Unsupported("input", "it takes no tokens")]})
    with pytest.raises(RequestError) as caught:
        planner(("openai", "m")).plan(EmbeddingsRequest({"model": "m", "input": [1]}, ([1],)), Caller(), Directives())
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "input")


def test_an_explanation_tells_who_is_out_and_what_is_dropped() -> None:
    """Also where nobody is left."""
    made = planner(("openai", "o3"))
    refused = made.explain(ChatRequest({**ASKED, "temperature": 0.2}), Caller(), Directives())
    assert refused.refusal is not None
    assert [(each.included, each.reasons) for each in refused.candidates] == [(False, ("temperature",))]
    allowed = made.explain(ChatRequest({**ASKED, "temperature": 0.2}), Caller(), DROP)
    assert allowed.to_document()["plan"]["dropped"][0]["parameters"][0]["param"] == "temperature"


@pytest.mark.parametrize("message", [
    {"role": "tool", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "x"}]}, {"role": "user", "content": "x", "name": "n"},
    {"role": "assistant", "content": None}, {"role": "critic", "content": "x"}])
def test_anything_but_texts_in_turns_is_looked_at(message: dict[str, Any]) -> None:
    """Codecs are asked about all that some dialect may lack."""
    assert not dialects.is_plain(ChatRequest({"model": "m", "messages": [message]}))


def test_texts_in_turns_are_not_looked_at() -> None:
    """The usual request costs nothing; a system message in the middle is not usual."""
    system, user, answer = ({"role": role, "content": "x"} for role in ("system", "user", "assistant"))
    assert dialects.is_plain(ChatRequest({"model": "m", "messages": [system, user, answer, user], "max_tokens": 5, "stream": True}))
    assert not dialects.is_plain(ChatRequest({"model": "m", "messages": [user, system]}))
    assert not dialects.is_plain(ChatRequest({"model": "m", "messages": [user], "seed": 1}))


def test_losses_are_named_once_each() -> None:
    assert named([]) == ""
    assert named([Unsupported("a", "x"), Unsupported("b", "y"), Unsupported("a", "z")]) == "dropped: a, b"


@pytest.mark.parametrize(("given", "refused"), [("x", []), (["x", "y"], []), ([1, 2], ["input"]), ([[1], [2]], ["input"])])
def test_an_api_of_texts_takes_no_tokens(given: Any, refused: list[str]) -> None:
    """Token arrays are one vendor's own."""
    assert [each.param for each in dialects.texts_only({"input": given})] == refused
    assert [(each.param, each.hint) for each in dialects.texts_only({"input": "x", "user": "u"})] == [("user", True)]
