"""What an answer used where its vendor does not tell: estimated, and marked so.

Source: ``model.tokens`` for texts. Invariant: what the vendor tells is never touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.plan import Plan
from stratarouter_runtime.model.response import ChatResponse, EmbeddingsResponse, Usage
from stratarouter_runtime.model.tokens import request_tokens, text_tokens

CHARACTERS_PER_TOKEN = 4
"""English prose."""


def of_answer(plan: Plan, response: ChatResponse | EmbeddingsResponse) -> Usage:
    """The tokens of a whole answer."""
    if response.usage is not None:
        return response.usage
    output = 0
    if isinstance(response, ChatResponse):
        messages = (choice.get("message") for choice in response.body.get("choices") or () if isinstance(choice, Mapping))
        output = sum(text_tokens(text) for message in messages for text in _texts(message))
    return Usage(input=_input(plan), output=output, estimated=True)


def of_stream(plan: Plan, *, pieces: int, characters: int) -> Usage:
    """The tokens of a stream that has told none: vendors send about a token an event, or more text in fewer events."""
    return Usage(input=_input(plan), output=max(pieces, characters // CHARACTERS_PER_TOKEN), estimated=True)


def characters_in(body: Mapping[str, Any] | None) -> int:
    """The length of what one event says."""
    found = 0
    for choice in (body or {}).get("choices") or ():
        delta = choice.get("delta")
        text = delta.get("content") if isinstance(delta, Mapping) else None
        found += len(text) if type(text) is str and text else sum(len(each) for each in _texts(delta))
    return found


def _input(plan: Plan) -> int:
    try:
        return request_tokens(plan.request)
    except RequestError:  # what cannot be written as JSON was never sent
        return 0


def _texts(message: Any) -> Iterator[str]:
    """What the model wrote: text, thoughts, refusals, and the names and arguments of calls."""
    if not isinstance(message, Mapping):
        return
    for name in ("content", "reasoning_content", "refusal"):
        value = message.get(name)
        if isinstance(value, str):
            yield value
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            yield from (value for name in ("name", "arguments") if isinstance(value := function.get(name), str))
