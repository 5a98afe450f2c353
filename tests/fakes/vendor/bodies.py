"""Successful answers in the exact shape, field order and spacing of each flavour.

Sources: OpenAI API reference and the types of its Python SDK, recorded replies; vLLM's ``ChatCompletionResponse`` and
``ChatCompletionStreamResponse``; Ollama's ``openai`` package. OpenAI indents JSON replies by two, the others do not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import vectors
from .answers import Reply, prompt_tokens, words
from .errors import Flavour

DONE = b"[DONE]"
FINGERPRINT = "fp_44709d6fcb"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """All that the wire shapes are made of."""

    flavour: Flavour
    number: int
    """Counts requests; ids derive from it."""
    model: str
    created: int
    request: Mapping[str, Any]
    replies: tuple[Reply, ...]

    @property
    def id(self) -> str:
        """The completion's id, in the flavour's format."""
        if self.flavour == "ollama":
            return f"chatcmpl-{self.number}"
        if self.flavour == "openai":
            return "chatcmpl-" + base62(f"completion {self.number}", 29)
        return "chatcmpl-" + hashlib.md5(str(self.number).encode(), usedforsecurity=False).hexdigest()

    @property
    def wants_usage(self) -> bool:
        """Whether a stream was asked to end with its usage."""
        return bool((self.request.get("stream_options") or {}).get("include_usage"))


def base62(seed: str, length: int) -> str:
    """A deterministic random-looking string."""
    number = int.from_bytes(hashlib.sha512(seed.encode()).digest(), "big")
    return "".join(_ALPHABET[number // 62**place % 62] for place in range(length))


def dump(shape: JsonObject, flavour: Flavour) -> bytes:
    """A reply's body."""
    if flavour == "openai":
        return json.dumps(shape, indent=2, ensure_ascii=False).encode() + b"\n"
    tail = b"\n" if flavour == "ollama" else b""
    return compact(shape) + tail


def compact(shape: JsonObject) -> bytes:
    """An event's data."""
    return json.dumps(shape, separators=(",", ":"), ensure_ascii=False).encode()


def completion(answer: Answer) -> bytes:
    """The body of ``POST /v1/chat/completions``."""
    head = {"id": answer.id, "object": "chat.completion", "created": answer.created, "model": answer.model}
    choices = [_choice(answer.flavour, index, reply) for index, reply in enumerate(answer.replies)]
    usage = usage_of(answer)
    if answer.flavour == "openai":
        shape = {**head, "choices": choices, "usage": usage, "service_tier": "default",
                 "system_fingerprint": FINGERPRINT}
    elif answer.flavour == "ollama":
        shape = {**head, "system_fingerprint": "fp_ollama", "choices": choices, "usage": usage}
    else:
        shape = {**head, "choices": choices, "service_tier": None, "system_fingerprint": None, "usage": usage,
                 "prompt_logprobs": None, "prompt_token_ids": None, "kv_transfer_params": None}
    return dump(shape, answer.flavour)


def events(answer: Answer) -> Iterator[bytes]:
    """The data of each event of a stream, ``[DONE]`` last; the role-only one first (Ollama sends none)."""
    for index, reply in enumerate(answer.replies):
        for delta, finish in _deltas(answer.flavour, reply):
            yield compact(_chunk(answer, index, delta, finish))
    if answer.wants_usage:
        yield compact(_usage_chunk(answer))
    yield DONE


def usage_of(answer: Answer) -> JsonObject:
    """Tokens of the whole call."""
    asked = prompt_tokens(answer.request)
    said = sum(reply.tokens for reply in answer.replies)
    if answer.flavour == "ollama":
        return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    if answer.flavour != "openai":
        return {"prompt_tokens": asked, "total_tokens": asked + said, "completion_tokens": said,
                "prompt_tokens_details": None}
    thought = sum(len(words(reply.reasoning or "")) for reply in answer.replies)
    return {
        "prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": sum(reply.cached for reply in answer.replies), "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": thought, "audio_tokens": 0,
                                      "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}


def embeddings(answer: Answer, inputs: list[Any], default_dimensions: int) -> bytes:
    """The body of ``POST /v1/embeddings``."""
    dimensions = answer.request.get("dimensions") or default_dimensions
    encoding = answer.request.get("encoding_format") or "float"
    tokens = sum(vectors.token_count(item) for item in inputs)
    rows = [vectors.encoded(vectors.embed(vectors.as_text(item), dimensions), encoding) for item in inputs]
    if answer.flavour == "openai":
        data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
        usage: JsonObject = {"prompt_tokens": tokens, "total_tokens": tokens}
        return dump({"object": "list", "data": data, "model": answer.model, "usage": usage}, "openai")
    if answer.flavour == "ollama":
        data = [{"object": "embedding", "embedding": row, "index": index} for index, row in enumerate(rows)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return dump({"object": "list", "data": data, "model": answer.model, "usage": usage}, "ollama")
    data = [{"index": index, "object": "embedding", "embedding": row} for index, row in enumerate(rows)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0, "prompt_tokens_details": None}
    return dump({"id": f"embd-{answer.id[9:]}", "object": "list", "created": answer.created, "model": answer.model,
                 "data": data, "usage": usage}, answer.flavour)


def models(names: list[str], flavour: Flavour, created: int) -> bytes:
    """The body of ``GET /v1/models``."""
    return dump({"object": "list", "data": [model_card(name, flavour, created) for name in names]}, flavour)


def model_card(name: str, flavour: Flavour, created: int) -> JsonObject:
    """One entry of the list, also the body of ``GET /v1/models/{name}``."""
    owner = {"openai": "system", "ollama": "library"}.get(flavour, "vllm")
    card: JsonObject = {"id": name, "object": "model", "created": created, "owned_by": owner}
    if flavour.startswith("vllm"):
        card |= {"root": name, "parent": None, "max_model_len": 8192, "permission": []}
    return card


def _choice(flavour: Flavour, index: int, reply: Reply) -> JsonObject:
    calls = [_tool_call(call, position) for position, call in enumerate(reply.tool_calls)]
    message: JsonObject = {"role": "assistant", "content": reply.text}
    if flavour == "ollama":
        message["content"] = reply.text or ""
        message |= {"reasoning": reply.reasoning} if reply.reasoning else {}
        message |= {"tool_calls": [_ollama_call(call, index) for index, call in enumerate(calls)]} if calls else {}
        return {"index": index, "message": message, "finish_reason": reply.finish}
    if flavour == "openai":
        message |= {"tool_calls": calls} if calls else {}
        message |= {"refusal": reply.refusal, "annotations": []}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": reply.finish}
    message |= {"refusal": reply.refusal, "annotations": None, "audio": None, "function_call": None}
    # Newer versions leave out an empty list of calls.
    message |= {"tool_calls": calls} if calls or flavour == "vllm-old" else {}
    message |= {"reasoning" if flavour == "vllm" else "reasoning_content": reply.reasoning}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": reply.finish, "stop_reason": None,
            "token_ids": None}


def _tool_call(call: tuple[str, str], index: int) -> JsonObject:
    name, arguments = call
    return {"id": "call_" + base62(f"{index} {name} {arguments}", 24), "type": "function",
            "function": {"name": name, "arguments": arguments}}


def _ollama_call(call: JsonObject, index: int) -> JsonObject:
    return {"id": call["id"][:13].lower(), "index": index, "type": "function", "function": call["function"]}


def _deltas(flavour: Flavour, reply: Reply) -> Iterator[tuple[JsonObject, str | None]]:
    """The deltas of one choice, each with its finish reason."""
    constant: JsonObject = {"role": "assistant"} if flavour == "ollama" else {}
    if flavour == "openai":
        content = None if reply.tool_calls and reply.text is None else ""
        yield {"role": "assistant", "content": content, "refusal": None}, None
    elif flavour != "ollama":
        yield {"role": "assistant", "content": ""}, None
    thought = "reasoning" if flavour != "vllm-old" else "reasoning_content"
    for piece in words(reply.reasoning or ""):
        yield {**constant, **({"content": ""} if constant else {}), thought: piece}, None
    for piece in reply.pieces():
        yield {**constant, "content": piece}, None
    for piece in words(reply.refusal or ""):
        yield {**constant, "refusal": piece}, None
    if flavour == "ollama" and reply.tool_calls:
        # It never splits its calls.
        calls = [_ollama_call(_tool_call(call, index), index) for index, call in enumerate(reply.tool_calls)]
        yield {**constant, "content": "", "tool_calls": calls}, None
    else:
        for index, call in enumerate(reply.tool_calls):
            yield from _tool_call_deltas(index, call)
    ending: JsonObject = {} if flavour == "openai" else {**constant, "content": ""}
    yield ending, reply.finish


def _tool_call_deltas(index: int, call: tuple[str, str]) -> Iterator[tuple[JsonObject, None]]:
    opened = _tool_call(call, index)
    opened["function"]["arguments"] = ""
    yield {"tool_calls": [{"index": index, **opened}]}, None
    for piece in words(call[1]):
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, None


def _chunk(answer: Answer, index: int, delta: JsonObject, finish: str | None) -> JsonObject:
    head = {"id": answer.id, "object": "chat.completion.chunk", "created": answer.created, "model": answer.model}
    choice: JsonObject = {"index": index, "delta": delta}
    if answer.flavour == "ollama":
        return {**head, "system_fingerprint": "fp_ollama", "choices": [{**choice, "finish_reason": finish}]}
    choice |= {"logprobs": None, "finish_reason": finish}
    if answer.flavour != "openai":
        choice |= ({"stop_reason": None} if finish else {}) | {"token_ids": None}
        return {**head, "choices": [choice]}
    shape = {**head, "service_tier": "default", "system_fingerprint": FINGERPRINT, "choices": [choice]}
    return shape | ({"usage": None} if answer.wants_usage else {}) | _obfuscation(answer, json.dumps(delta))


def _usage_chunk(answer: Answer) -> JsonObject:
    head = {"id": answer.id, "object": "chat.completion.chunk", "created": answer.created, "model": answer.model}
    usage = usage_of(answer)
    if answer.flavour == "ollama":
        return {**head, "system_fingerprint": "fp_ollama", "choices": [], "usage": usage}
    if answer.flavour != "openai":
        return {**head, "choices": [], "usage": {name: value for name, value in usage.items() if value is not None}}
    shape = {**head, "service_tier": "default", "system_fingerprint": FINGERPRINT, "choices": [], "usage": usage}
    return shape | _obfuscation(answer, "usage")


def _obfuscation(answer: Answer, said: str) -> JsonObject:
    """Padding against guessing a text from the sizes of its pieces; on unless it was declined."""
    if (answer.request.get("stream_options") or {}).get("include_obfuscation", True) is False:
        return {}
    return {"obfuscation": base62(f"{answer.number} {said}", 16 - len(said) % 16)}
