"""Gemini's parts as what OpenAI's messages and deltas hold: text, thoughts, calls, pictures; with finish reasons and usage.

Source: Gemini API reference, ``GenerateContentResponse``, ``Candidate``, ``Part``, ``FinishReason``, ``UsageMetadata``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from . import gemini_thoughts as thoughts
from .answers import AnswerError, VendorError, bad_answer, reported
from .reading import count, inner, items, objects, text

FILTERED = frozenset({
    "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION", "PUP_LIMITED_DISABLED"})
_LENGTH = frozenset({"MAX_TOKENS", "CONTINUATION"})
_PLAIN = frozenset({"STOP", *_LENGTH})
UNSPECIFIED = frozenset({"", "FINISH_REASON_UNSPECIFIED"})


class Calls:
    """Numbers the tool calls of one candidate and names those that the vendor left unnamed.

    Names derive from the answer's id and the call's place, so that the same answer gives the same names however it is read.
    """

    __slots__ = ("_answer", "count")

    def __init__(self, answer: str) -> None:
        self._answer = answer
        self.count = 0

    def of(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """A ``functionCall`` part as a tool call, with its ``index`` first."""
        call, index = inner(part["functionCall"]), self.count
        self.count += 1
        name, args = text(call.get("name")), call.get("args")
        ident = text(call.get("id")) or "call_" + hashlib.sha256(f"{self._answer} {index}".encode()).hexdigest()[:24]
        made = {"index": index, "id": ident, "type": "function",
                "function": {"name": name, "arguments": orjson.dumps(args if isinstance(args, Mapping) else {}).decode()}}
        signature = text(part.get("thoughtSignature"))
        return {**made, "extra_content": thoughts.extra_of(signature)} if signature else made


def delta_of(parts: list[Any], calls: Calls) -> dict[str, Any]:
    """The parts of one event, or of a whole candidate, as a delta: only what is there. Raises ``AnswerError``."""
    gathered: dict[str, list[Any]] = {}
    for part in parts:
        if not isinstance(part, Mapping):
            raise bad_answer("the vendor's answer has a part that is no object")
        call = calls.of(part) if "functionCall" in part else None
        for name, value in (("tool_calls", call),) if call is not None else _said(part):
            gathered.setdefault(name, []).append(value)
        signature = text(part.get("thoughtSignature"))
        if signature:
            gathered.setdefault("reasoning_details", []).append(thoughts.detail_of(signature, call["id"] if call is not None else ""))
    return {name: "".join(values) if name in _TEXTS else values for name, values in gathered.items()}


_TEXTS = frozenset({"content", "reasoning_content"})


def _said(part: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a part that calls nothing adds to a delta, by the field it belongs to."""
    words = part.get("text")
    if isinstance(words, str):
        yield "reasoning_content" if part.get("thought") else "content", words
        return
    words = _shown(part)
    if words:
        yield "content", words
    picture = _picture(part)
    if picture is not None:
        yield "images", picture


def finish_of(reason: str, *, called: bool, empty: bool) -> str:
    """OpenAI's word for why a candidate ended. Raises ``AnswerError`` where it failed and said nothing."""
    if reason in FILTERED:
        return "content_filter"
    if reason in _LENGTH:
        return "length"
    if reason != "STOP" and empty:
        raise bad_answer(f"the model ended without an answer: {reason[:64]}")
    return "tool_calls" if called else "stop"


def native_of(reason: str) -> dict[str, str]:
    """The vendor's own word, where OpenAI's says less."""
    return {} if reason in _PLAIN else {"native_finish_reason": reason[:64]}


def blocked(body: Mapping[str, Any]) -> AnswerError | None:
    """The error of an answer that has no candidates because the prompt was refused."""
    feedback = inner(body.get("promptFeedback"))
    reason = text(feedback.get("blockReason"))
    if not reason:
        return None
    detail = text(feedback.get("blockReasonMessage"))
    message = f"The prompt was blocked by the provider's policy ({reason[:64]})" + (f": {detail[:500]}" if detail else ".")
    return reported(VendorError(message=message, type="invalid_request_error", code="content_policy_violation"))


def usage_of(metadata: Any) -> dict[str, Any] | None:
    """``usageMetadata`` as OpenAI's usage: cached tokens are part of the prompt, thoughts of the completion."""
    if not isinstance(metadata, Mapping):
        return None
    asked = count(metadata.get("promptTokenCount")) + count(metadata.get("toolUsePromptTokenCount"))
    thought = count(metadata.get("thoughtsTokenCount"))
    said = count(metadata.get("candidatesTokenCount")) + thought
    if not asked and not said:
        return None
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said,
            "prompt_tokens_details": {"cached_tokens": count(metadata.get("cachedContentTokenCount")),
                                      "audio_tokens": _spoken(metadata.get("promptTokensDetails"))},
            "completion_tokens_details": {"reasoning_tokens": thought, "audio_tokens": _spoken(metadata.get("candidatesTokensDetails"))}}


def logprobs_of(result: Any) -> dict[str, Any] | None:
    """``logprobsResult`` as OpenAI's log probabilities."""
    chosen = list(objects(inner(result).get("chosenCandidates")))
    if not chosen:
        return None
    tops = items(inner(result).get("topCandidates"))
    return {"content": [{**_token(each), "top_logprobs": [_token(top) for top in objects(inner(tops[place]).get("candidates"))]
                         if place < len(tops) else []} for place, each in enumerate(chosen)], "refusal": None}


def _token(candidate: Mapping[str, Any]) -> dict[str, Any]:
    token, probability = text(candidate.get("token")), candidate.get("logProbability")
    return {"token": token, "logprob": probability if isinstance(probability, int | float) else 0.0,
            "bytes": list(token.encode("utf-8", "replace"))}


def _spoken(details: Any) -> int:
    return sum(count(each.get("tokenCount")) for each in objects(details) if each.get("modality") == "AUDIO")


def _picture(part: Mapping[str, Any]) -> dict[str, Any] | None:
    inline = inner(part.get("inlineData"))
    kind, data = text(inline.get("mimeType")), text(inline.get("data"))
    if not kind.startswith("image/") or not data or part.get("thought"):
        return None
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}


def _shown(part: Mapping[str, Any]) -> str:
    """Code that the vendor ran, and its output, as text."""
    code = text(inner(part.get("executableCode")).get("code"))
    output = text(inner(part.get("codeExecutionResult")).get("output"))
    return f"```python\n{code}\n```\n" if code else f"```\n{output}\n```\n" if output else ""
