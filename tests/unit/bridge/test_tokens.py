"""Token estimates: on the safe side of what tokenizers count, for any text, without a tokenizer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import ChatRequest, EmbeddingsRequest
from stratarouter_runtime.model.tokens import IMAGE, IMAGE_LOW, MESSAGE, REPLY, request_tokens, text_tokens


@pytest.mark.parametrize(("text", "counted"), [
    # As published for cl100k_base, and for older vocabularies where those need more.
    ("antidisestablishmentarianism", 6), ("2 + 2 = 4", 7), ("お誕生日おめでとう", 14), ("tiktoken is great!", 6), ("", 0)])
def test_an_estimate_is_not_below_what_tokenizers_count(text: str, counted: int) -> None:
    """Nor more than twice as much."""
    assert counted <= text_tokens(text) <= 2 * counted


def test_prose_costs_no_more_than_half_as_much_again() -> None:
    """An estimate too high would keep requests from models that can take them: these 44 characters are 10 tokens."""
    assert 10 <= text_tokens("The quick brown fox jumps over the lazy dog.") <= 15


@pytest.mark.parametrize(("text", "least"), [
    ("请问我的发票在哪里", 9), ("내 송장은 어디에 있습니까", 10), ("Где мой счёт", 5), ("🙂🙂🙂", 6), ("1234567890", 10), ("}{][", 4)])
def test_every_script_is_counted(text: str, least: int) -> None:
    """Chinese, Korean, Cyrillic, emoji, digits, punctuation: at least as dense as they are."""
    assert text_tokens(text) >= least


@given(st.text(alphabet=st.characters(), max_size=60), st.text(alphabet=st.characters(), max_size=60))
def test_an_estimate_grows_with_the_text_and_never_exceeds_its_bytes(first: str, second: str) -> None:
    """Also with lone surrogates; no byte-level tokenizer needs more tokens than bytes."""
    whole = text_tokens(first + second)
    assert max(text_tokens(first), text_tokens(second)) <= whole <= text_tokens(first) + text_tokens(second)
    assert whole <= len((first + second).encode("utf-8", "surrogatepass"))


def chat(*messages: Any, **fields: Any) -> int:
    """The estimate of a chat request."""
    return request_tokens(ChatRequest({"model": "m", "messages": list(messages), **fields}))


def test_a_conversation_counts_all_of_its_text() -> None:
    """Each message, its delimiters, and the beginning of the reply."""
    hello = text_tokens("hello")
    assert chat({"role": "user", "content": "hello"}) == REPLY + MESSAGE + hello
    assert chat({"role": "system", "content": "hello"}, {"role": "user", "content": [{"type": "text", "text": "hello"}]}) == (
        REPLY + 2 * (MESSAGE + hello))


@pytest.mark.parametrize(("part", "tokens"), [
    ({"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}, IMAGE),
    ({"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}, IMAGE_LOW),
    ({"type": "input_audio", "input_audio": {"data": "A" * 2_560_000, "format": "wav"}}, 10_000),
    ({"type": "file", "file": {"file_id": "file-1"}}, IMAGE)])
def test_media_count_by_constants(part: dict[str, Any], tokens: int) -> None:
    """Not by the text of their base64."""
    assert chat({"role": "user", "content": [part]}) == REPLY + MESSAGE + tokens


@pytest.mark.parametrize("more", [
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
    {"functions": [{"name": "f"}]}, {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}])
def test_tools_and_schemas_count(more: dict[str, Any]) -> None:
    """Vendors put them before the model as text."""
    hello = {"role": "user", "content": "hello"}
    assert chat(hello, **more) > chat(hello)


def test_tool_calls_and_names_count() -> None:
    """History is input as well."""
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
    assert chat(call) > chat({"role": "assistant", "content": None})


def test_inputs_to_embed_count_by_text_or_by_token() -> None:
    """All of them."""
    assert request_tokens(EmbeddingsRequest({}, ("hello", "hello"))) == 2 * text_tokens("hello")
    assert request_tokens(EmbeddingsRequest({}, ([1, 2, 3],))) == 3


def test_what_is_not_json_is_a_refusal() -> None:
    """In-process callers can give anything."""
    with pytest.raises(RequestError) as caught:
        chat({"role": "user", "content": "x"}, tools=[object()])
    assert caught.value.param == "tools"
