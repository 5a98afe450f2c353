"""What is part of a key: everything that can change the answer, and nothing else."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from stratarouter_runtime.cache import derive_key
from stratarouter_runtime.cache.key import LEFT_OUT, MAX_TEXT
from stratarouter_runtime.model.cache import CacheKey, Miss
from stratarouter_runtime.model.plan import CacheTerms, Candidate, Plan
from stratarouter_runtime.model.request import ChatRequest, EmbeddingsRequest, Native
from stratarouter_runtime.model.support import Unsupported

TERMS = CacheTerms(scope="ns/name", ttl_seconds=60, max_temperature=1)
PRIMARY = Candidate("chat", "one", "gpt-4o", "gpt-4o")
BODY = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": "How do I pay?"},
    ],
    "max_tokens": 100,
}


def plan(body=BODY, **fields):
    given = {"route": "default", "family": "chat", "request": ChatRequest(body), "tenant": "acme", "candidates": (PRIMARY,),
             "timeout": 60.0, "max_attempts": 4, "retry_delay": 0.1, "cache": TERMS, **fields}
    return Plan(**given)


def key(body=BODY, embedder="minilm", **fields):
    found = derive_key(plan(body, **fields), embedder)
    assert isinstance(found, CacheKey), found
    return found


def changed(**fields):
    return {**copy.deepcopy(BODY), **fields}


def asking(content, *, role="user", **fields):
    body = changed(**fields)
    body["messages"][-1] = {"role": role, "content": content}
    return body


def test_no_terms_mean_no_key():
    """A route without a cache."""
    assert derive_key(plan(cache=None), "minilm") == Miss("disabled")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (changed(temperature=1.1), "temperature"),
        (changed(n=2), "n"),
        (changed(seed=2**70), "not-json"),
        (asking("\ud800"), "not-json"),
    ],
)
def test_what_must_not_be_cached_has_no_key(body, detail):
    """With the reason; nothing raises."""
    assert derive_key(plan(body), "minilm") == Miss("ineligible", detail)


@pytest.mark.parametrize("body", [changed(temperature=1), changed(temperature=None), changed(temperature=0), changed(n=1), changed(n=None)])
def test_what_may_be_cached_has_one(body):
    """Up to the limit, and where the request does not say."""
    assert isinstance(derive_key(plan(body), "minilm"), CacheKey)


def test_the_same_request_has_the_same_key_in_any_spelling():
    """The order of fields and the form of a plain text do not matter."""
    again = dict(reversed(copy.deepcopy(BODY).items()))
    again["messages"][-1]["content"] = [{"type": "text", "text": "How do I pay?"}]
    assert key(again) == key()


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_what_cannot_change_the_answer_is_left_out(name):
    """Each field of the documented list."""
    assert key(changed(**{name: "other"})) == key()


@pytest.mark.parametrize(
    "other",
    [
        changed(max_tokens=101),
        changed(temperature=0.5),
        changed(seed=7),
        changed(response_format={"type": "json_object"}),
        changed(tool_choice="none"),
        changed(a_field_of_next_year=True),
        {**BODY, "messages": BODY["messages"][1:]},
        {**BODY, "messages": [{"role": "system", "content": "Be long."}, *BODY["messages"][1:]]},
        {**BODY, "messages": [*BODY["messages"][:2], {"role": "assistant", "content": "Yes?"}, BODY["messages"][3]]},
        {**BODY, "messages": [*BODY["messages"][:3], {**BODY["messages"][3], "name": "ann"}]},
    ],
)
def test_whatever_else_differs_is_another_partition(other):
    """Also a field nobody has heard of: no answer crosses it, in either tier."""
    assert key(other).partition != key().partition
    assert key(other).exact != key().exact


@pytest.mark.parametrize(
    "fields",
    [
        {"tenant": "other"},
        {"cache": replace(TERMS, scope="ns/other")},
        {"candidates": (replace(PRIMARY, pool="other"),)},
        {"candidates": (replace(PRIMARY, model="other"),)},
        {"embedder": "other"},
    ],
)
def test_scope_tenant_primary_and_embedder_are_walls(fields):
    """The partition is the hard boundary."""
    assert key(**fields).partition != key().partition
    assert key(**fields).exact != key().exact


def test_providers_of_one_pool_share_answers():
    """Which of them answered is recorded in the entry, where policy is checked again."""
    assert key(candidates=(replace(PRIMARY, provider="two", region="us"),)) == key()


def test_route_and_ttl_are_no_walls():
    """They say how long and for whom an answer is kept, not what it is."""
    other = key(route="other", cache=replace(TERMS, ttl_seconds=5, threshold=0.99))
    assert (other.partition, other.exact) == (key().partition, key().exact)


def test_only_the_question_differs_within_a_partition():
    """The semantic tier compares questions whose surroundings are the same."""
    other = key(asking("How can I pay?"))
    assert other.partition == key().partition
    assert other.exact != key().exact
    assert (other.text, other.exact_only) == ("How can I pay?", "")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (changed(tools=[{"type": "function", "function": {"name": "f"}}]), "tools"),
        (changed(functions=[{"name": "f"}]), "tools"),
        (changed(logprobs=True), "output"),
        (changed(modalities=["text", "audio"]), "output"),
        (asking("An answer", role="assistant"), "last-message"),
        (asking("42", role="tool"), "last-message"),
        (asking([{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "u"}}]), "not-text"),
        (asking([{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]), "not-text"),
        (asking(None), "not-text"),
        (asking([]), "not-text"),
        (asking("  \n"), "empty"),
        (asking("x" * (MAX_TEXT + 1)), "long"),
    ],
)
def test_what_is_no_plain_question_uses_the_exact_tier_only(body, why):
    """With the reason; the whole request is then in the key."""
    found = key(body)
    assert (found.text, found.exact_only) == (None, why)
    assert found.exact != key(asking("Something else")).exact


def test_without_an_embedder_there_is_only_the_exact_tier():
    """And the question is in the key."""
    found = key(embedder="")
    assert (found.text, found.exact_only) == (None, "no-embedder")
    assert found.exact != key(asking("Another?"), embedder="").exact


def test_embeddings_are_exact_and_never_meet_chat():
    """Families are walls; so is each input."""
    def embedded(text):
        body = {"model": "e", "input": text}
        return key(body, family="embeddings", request=EmbeddingsRequest(body, (text,)))

    assert embedded("a").exact_only == "embeddings"
    assert embedded("a").text is None
    assert embedded("a").exact != embedded("b").exact
    assert embedded("a") == embedded("a")


def test_deriving_a_key_changes_nothing():
    """The request goes on to the vendor."""
    body = copy.deepcopy(BODY)
    key(body)
    assert body == BODY


def test_what_was_dropped_with_leave_is_part_of_the_key_and_hints_are_not():
    """Who did not give that leave must not get the answer."""
    hint, loss = Unsupported("store", "x", hint=True), Unsupported("temperature", "y")
    assert key(losses=((PRIMARY, (hint,)),)) == key()
    dropped = key(losses=((PRIMARY, (hint, loss)),))
    assert dropped.exact != key().exact
    assert dropped.partition != key().partition


def test_what_an_answer_in_canonical_form_would_not_have_is_not_cached():
    """A vendor's own tool leaves traces that only its own dialect has."""
    beyond = Native("responses", {}, (Unsupported("tools[0]", "x"),))
    assert derive_key(plan(request=ChatRequest(BODY, native=beyond)), "minilm") == Miss("ineligible", "native")
    carried = Native("responses", {}, (Unsupported("store", "x", hint=True),))
    assert derive_key(plan(request=ChatRequest(BODY, native=carried)), "minilm") == key()
