"""Which codec tells what a provider's dialect cannot carry: the one table from a provider's type to its function.

Types that are not here take OpenAI's wire as it is. Invariant: pure and total, as the codecs are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stratarouter_runtime.model.plan import Candidate
from stratarouter_runtime.model.request import ChatRequest, Request

from . import anthropic_request, cohere_request, gemini_embeddings, gemini_request, ollama_request, openai_support
from .support import Unsupported

Telling = Callable[[Mapping[str, Any]], Sequence[Unsupported]]


def texts_only(body: Mapping[str, Any]) -> list[Unsupported]:
    """What an embeddings API that takes texts and no tokens has no place for."""
    given = body.get("input")
    first = given[0] if isinstance(given, list) and given else None
    left = [Unsupported("input", "it embeds texts, not tokens")] if isinstance(first, int | list) else []
    return left if body.get("user") is None else [*left, Unsupported("user", "it has no such parameter", hint=True)]


CHAT: Mapping[str, Telling] = {
    "cohere": cohere_request.unsupported, "google": gemini_request.unsupported, "vertexai": gemini_request.unsupported,
    "ollama": ollama_request.unsupported}
"""Of chat requests, by the provider's type."""

EMBEDDINGS: Mapping[str, Telling] = {
    "cohere": texts_only, "google": gemini_embeddings.unsupported, "vertexai": gemini_embeddings.unsupported,
    "ollama": texts_only}
"""Of requests for embeddings."""

BY_MODEL: Mapping[str, Callable[..., Sequence[Unsupported]]] = {
    "openai": openai_support.unsupported, "azureopenai": openai_support.unsupported, "anthropic": anthropic_request.unsupported}
"""Of chat requests, where it also depends on the model: given its public name and the vendor's."""

SOME = frozenset({*CHAT, *EMBEDDINGS, *BY_MODEL})
"""Types with anything to tell."""

_PLAIN = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"})
_TEXT = frozenset({"role", "content"})
_ANYWHERE = frozenset({"user", "assistant"})
_FIRST = frozenset({"system", "developer"})


def losses(request: Request, candidate: Candidate) -> Sequence[Unsupported]:
    """What a candidate cannot be told of a request: nothing where it speaks the dialect the request came in."""
    if not isinstance(request, ChatRequest):
        tell = EMBEDDINGS.get(candidate.type)
        return tell(request.body) if tell is not None else ()
    beyond: Sequence[Unsupported] = ()
    if request.native is not None:
        if request.native.dialect in candidate.dialects:
            return ()
        beyond = request.native.beyond
    tell, by_model = CHAT.get(candidate.type), BY_MODEL.get(candidate.type)
    if tell is not None:
        return [*beyond, *tell(request.body)]
    return beyond if by_model is None else [*beyond, *by_model(request.body, candidate.upstream_model, candidate.model)]


def is_plain(request: Request) -> bool:
    """Whether every dialect carries it: texts in turns, and no parameter that any vendor lacks."""
    body = request.body
    if not isinstance(request, ChatRequest) or not body.keys() <= _PLAIN or (request.native is not None and request.native.beyond):
        return False
    allowed = _ANYWHERE | _FIRST
    for message in body.get("messages") or ():
        if type(message) is not dict or not message.keys() <= _TEXT:
            return False
        if message.get("role") not in allowed or type(message.get("content")) is not str:
            return False
        allowed = _ANYWHERE
    return True
