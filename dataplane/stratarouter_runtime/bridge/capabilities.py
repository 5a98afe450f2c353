"""What a request needs of a model, and which candidates lack it.

Invariants: pure; the order of the candidates stays; a model whose capabilities are not listed can do all that its type
can, and one whose window is unknown takes any length. Whether a model chats or embeds is not decided here: that is
how candidates are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.plan import Candidate
from stratarouter_runtime.model.request import Request

from .limits import output_tokens, within

CONTEXT = "contextTokens"
_IMAGES = frozenset({"image_url", "image", "input_image"})


class Needs:
    """What a request needs, by the contract's names of capabilities; each with the parameter that needs it."""

    def __init__(self, request: Request, input_tokens: Callable[[], int]) -> None:
        self._body = request.body
        self._input_tokens = input_tokens
        self._chat = request.family == "chat"
        self.capabilities: Mapping[str, str] = _capabilities(self._body) if self._chat else {}

    def lacking(self, candidate: Candidate) -> str | None:
        """The first thing a candidate lacks; None where it can serve the request."""
        if candidate.capabilities is not None:
            for name in self.capabilities:
                if name not in candidate.capabilities:
                    return name
        if candidate.context_tokens is not None and self._window(candidate) > candidate.context_tokens:
            return CONTEXT
        return None

    def refusal(self, left_out: Sequence[tuple[Candidate, str]]) -> RequestError:
        """The error where no candidate is left."""
        reason = left_out[0][1]
        if all(each == CONTEXT for _, each in left_out):
            largest = max(each.context_tokens or 0 for each, _ in left_out)
            return RequestError(
                "ContextLengthExceeded", f"The request has an estimated {self._window(left_out[0][0])} tokens, and the largest window is "
                f"{largest} tokens: {_listed(left_out)}.", param="messages" if self._chat else "input")
        return RequestError(
            "CapabilityMissing", f"The request needs what no candidate can do: {_listed(left_out)}.",
            param=self.capabilities.get(reason, "messages"))

    def _window(self, candidate: Candidate) -> int:
        """Tokens of input and output together, at this candidate."""
        output = within(output_tokens(self._body), candidate.max_output_tokens) if self._chat else None
        return self._input_tokens() + (output or 0)


def _listed(left_out: Iterable[tuple[Candidate, str]]) -> str:
    return ", ".join(f"{each} ({reason})" for each, reason in left_out)


def _capabilities(body: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("tools", "functions"):
        if body.get(name):
            found.setdefault("tools", name)
    image = _image(body.get("messages"))
    if image is not None:
        found["vision"] = image
    form = body.get("response_format")
    if isinstance(form, Mapping) and form.get("type") == "json_schema":
        found["jsonSchema"] = "response_format"
    return found


def _image(messages: Any) -> str | None:
    """Where the first image is."""
    if not isinstance(messages, list | tuple):
        return None
    for index, message in enumerate(messages):
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, list | tuple):
            for number, part in enumerate(content):
                if isinstance(part, Mapping) and part.get("type") in _IMAGES:
                    return f"messages[{index}].content[{number}]"
    return None
