"""What a route adds to a request: its system prompt, with placeholders filled, and metadata.

**Prompt.** The route's system prompt is a system message of its own, placed before all messages of the caller. The
caller's own system and developer messages stay where they are, after it: they add to it and never replace or precede
it. Requests for embeddings get no prompt.

**Placeholders.** ``$name`` is replaced where the route declares ``name`` among its ``variables``, by the text of the
context's value (text as it is, numbers in decimal, truth values as ``true`` and ``false``); ``$$`` is a dollar sign;
any other ``$x`` stays as it is. Values are inserted once: a placeholder inside a value is text. A declared name that the
context lacks is an error.

**Metadata.** The route's wins over the context's, which wins over the caller's ``metadata``. Of the context count all
text, numbers and truth values but ``query``, ``messages`` and ``tenant``; a declared variable that is too long for
metadata is only for the prompt. Where the route or the context adds any, the whole must fit what OpenAI allows: 16 keys
of 64 characters, texts of 512. Otherwise the caller's stays as it is, and traces and logs get what fits. It goes to the
vendor with chat requests only: the embeddings API has none.

Invariants: pure; the caller's mapping is never changed; raises nothing but ``RequestError``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stratarouter_runtime.config.policy import RouteContext
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import ChatRequest, Request

MAX_KEYS, MAX_KEY, MAX_VALUE = 16, 64, 512

_RESERVED = frozenset({"query", "messages", "tenant"})
_PLACEHOLDER = re.compile(r"\$(?:\$|([A-Za-z_][A-Za-z0-9_]*))")
_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str


class Enrichment:
    """What one route adds; prepared once for a snapshot."""

    def __init__(self, route: str, config: RouteContext) -> None:
        self._route = route
        self._variables = config.variables
        self._pieces = _parsed(config.system_prompt, frozenset(config.variables)) if config.system_prompt else ()
        self._metadata: Mapping[str, str] = dict(config.metadata)

    def apply(self, request: Request, context: Mapping[str, Any] | None) -> tuple[Request, Mapping[str, str]]:
        """The request to send, and the metadata for traces and logs.

        Raises ``RequestError``: ``MissingVariable``, ``InvalidVariable`` or ``InvalidMetadata``.
        """
        if context is not None and not isinstance(context, Mapping):
            raise RequestError("InvalidRequest", f"Invalid 'context': expected an object, but got {type(context).__name__}.",
                               param="context", code="invalid_type")
        own = self._metadata
        added = own if not context else {**self._of_context(context), **own}
        caller = request.body.get("metadata")
        metadata = _merged(caller, added) if added else _fitting(caller)
        if not isinstance(request, ChatRequest):
            return request, metadata
        changes: dict[str, Any] = {}
        if self._pieces:
            messages = request.body.get("messages")
            changes["messages"] = [{"role": "system", "content": self._prompt(context or {})},
                                   *(messages if isinstance(messages, list | tuple) else ())]
        if added:
            changes["metadata"] = metadata
        return (request.with_body({**request.body, **changes}) if changes else request), metadata

    def _prompt(self, context: Mapping[str, Any]) -> str:
        values = {name: self._value(name, context) for name in self._variables}
        return "".join(values[piece.name] if isinstance(piece, _Variable) else piece for piece in self._pieces)

    def _value(self, name: str, context: Mapping[str, Any]) -> str:
        value = context.get(name)
        if value is None:
            raise RequestError(
                "MissingVariable", f"The route '{self._route}' needs '{name}' in the request's context, which does not have it.",
                param=f"context.{name}")
        text = _text(value)
        if text is None:
            raise RequestError(
                "InvalidVariable", f"Invalid 'context.{name}': the route '{self._route}' needs a text, a number or a truth value, "
                f"but got {type(value).__name__}.", param=f"context.{name}")
        return text

    def _of_context(self, context: Mapping[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in context.items():
            if key in _RESERVED or not isinstance(key, str):
                continue
            text = _text(value)
            if text is not None and not (key in self._variables and not _fits(key, text)):
                found[key] = text
        return found


def metadata_of(request: Request, metadata: Mapping[str, str]) -> Mapping[str, Any]:
    """All metadata of a request, for rules about it: also the caller's values that are no texts."""
    caller = request.body.get("metadata")
    return {**caller, **metadata} if isinstance(caller, Mapping) else metadata


def _parsed(prompt: str, declared: frozenset[str]) -> tuple[str | _Variable, ...]:
    pieces: list[str | _Variable] = []
    end = 0
    for match in _PLACEHOLDER.finditer(prompt):
        name = match[1]
        if name is not None and name not in declared:
            continue
        pieces += [prompt[end:match.start()], "$" if name is None else _Variable(name)]
        end = match.end()
    return (*pieces, prompt[end:])


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= 1_024):
        return str(value)
    return None


def _merged(caller: Any, added: Mapping[str, str]) -> Mapping[str, str]:
    merged = {**caller, **added} if isinstance(caller, Mapping) else dict(added)
    for key, value in merged.items():
        if not _fits(key, value):
            raise RequestError(
                "InvalidMetadata", f"Invalid 'metadata': keys are texts of at most {MAX_KEY} characters and values texts of at "
                f"most {MAX_VALUE}, which {str(key)[:MAX_KEY]!r} is not.", param="metadata")
    if len(merged) > MAX_KEYS:
        raise RequestError(
            "InvalidMetadata", f"Invalid 'metadata': with what the route and the context add it has {len(merged)} keys, and "
            f"vendors take at most {MAX_KEYS}.", param="metadata")
    return merged


def _fitting(caller: Any) -> Mapping[str, str]:
    """Of metadata that only the vendor judges, what is fit for traces and logs."""
    if not caller or not isinstance(caller, Mapping):
        return _NOTHING
    fit = [(key, value) for key, value in caller.items() if _fits(key, value)]
    return dict(fit[:MAX_KEYS])


def _fits(key: Any, value: Any) -> bool:
    return isinstance(key, str) and isinstance(value, str) and 0 < len(key) <= MAX_KEY and len(value) <= MAX_VALUE
