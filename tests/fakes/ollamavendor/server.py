"""Answers, streams and vectors as Ollama sends them.

Sources: Ollama's documentation of its API (``docs/api.md``) and the types of its SDK: what JSON does not fit those is a 400, an unknown model
a 404, and an unknown option is only logged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from fakes.scripted import Fault, Refused, ScriptedVendor, compact

MODELS = ("llama3.2", "qwen3", "nomic-embed-text")
LINES = "application/x-ndjson"
_STARTED = "2024-11-20T10:00:00.123456Z"
_TIMES = {"total_duration": 4883583458, "load_duration": 1334875, "prompt_eval_duration": 342546000, "eval_duration": 4535599000}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says; ``tool_calls`` are (id, name, arguments). ``prompt`` None: the server does not tell, as for a cached prompt."""

    text: str = ""
    thinking: str = ""
    tool_calls: tuple[tuple[str, str, Mapping[str, Any]], ...] = ()
    reason: str = "stop"
    prompt: int | None = 26
    output: int = 12


class OllamaVendor(ScriptedVendor[Reply]):
    """A running fake. It asks for a key only where it is given one."""

    def __init__(self, *, models: Iterable[str] = MODELS, dimensions: int = 8, api_key: str = "") -> None:
        super().__init__()
        self.models = tuple(models)
        self.dimensions = dimensions
        self.api_key = api_key

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.post("/api/chat", self._chat), web.post("/api/embed", self._embed), web.get("/api/tags", self._tags),
                web.get("/api/version", self._version)]

    def error_body(self, refused: Refused) -> bytes:
        return compact({"error": refused.message})

    def _model(self, request: web.Request, body: Any) -> str:
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            raise Refused(401, "unauthorized")
        if not isinstance(body, dict):
            raise Refused(400, "invalid character at the beginning of value")
        model = body.get("model")
        if not model:
            raise Refused(400, "model is required")
        if model.removesuffix(":latest") not in self.models:
            raise Refused(404, f"model '{model}' not found")
        return str(model)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = self.last.json
        model = self._model(request, body)
        _check_chat(body)
        met = self.next(_answer_to(body))
        fault = met if isinstance(met, Fault) else None
        reply = _answer_to(body) if isinstance(met, Fault) else met
        if body.get("stream", True):
            return await self.stream(request, lines_of(reply, model, logprobs=bool(body.get("logprobs"))), LINES, fault)
        return self.whole(whole(reply, model, logprobs=bool(body.get("logprobs"))), fault)

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        body = self.last.json
        model = self._model(request, body)
        given = [body["input"]] if isinstance(body.get("input"), str) else body.get("input")
        if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
            raise Refused(400, "invalid input type")
        vectors = [vector(each, body.get("dimensions") or self.dimensions) for each in given]
        met = self.next(Reply())
        answer = {"model": model, "embeddings": vectors, "total_duration": 14143917, "load_duration": 1019500, "prompt_eval_count": 4 * len(given)}
        return self.whole(compact(answer), met if isinstance(met, Fault) else None)

    async def _tags(self, request: web.Request) -> web.StreamResponse:
        details = {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"], "parameter_size": "3.2B",
                   "quantization_level": "Q4_K_M"}
        models = [{"name": f"{name}:latest", "model": f"{name}:latest", "modified_at": _STARTED, "size": 2019393189, "digest": "a80c4f17acd5",
                   "details": details} for name in self.models]
        return self.whole(compact({"models": models}))

    async def _version(self, request: web.Request) -> web.StreamResponse:
        return self.whole(compact({"version": "0.12.6"}))


def whole(reply: Reply, model: str, *, logprobs: bool = False) -> bytes:
    """A whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    if reply.thinking:
        message["thinking"] = reply.thinking
    if reply.tool_calls:
        message["tool_calls"] = [_call(number, *each) for number, each in enumerate(reply.tool_calls)]
    return compact(_line(model, message, reply, [_logprob(each) for each in _pieces(reply.text)] if logprobs else None))


def lines_of(reply: Reply, model: str, *, logprobs: bool = False) -> list[bytes]:
    """The same as the lines of a stream."""
    made = [_line(model, {"role": "assistant", "content": "", "thinking": piece}) for piece in _pieces(reply.thinking)]
    made += [_line(model, {"role": "assistant", "content": piece}, logprobs=[_logprob(piece)] if logprobs else None) for piece in _pieces(reply.text)]
    made += [_line(model, {"role": "assistant", "content": "", "tool_calls": [_call(number, *each)]}) for number, each in enumerate(reply.tool_calls)]
    return [compact(each) + b"\n" for each in [*made, _line(model, {"role": "assistant", "content": ""}, reply)]]


def vector(text: str, dimensions: int) -> list[float]:
    """A vector that depends on the text alone; exact in 32 bits."""
    digest = hashlib.sha256(text.encode()).digest()
    return [(digest[index % 32] - 128) / 128 for index in range(dimensions)]


def _line(model: str, message: Mapping[str, Any], end: Reply | None = None, logprobs: list[Any] | None = None) -> dict[str, Any]:
    line: dict[str, Any] = {"model": model, "created_at": _STARTED, "message": message}
    if end is None:
        line["done"] = False
    else:
        line |= {"done_reason": end.reason, "done": True, **_TIMES}
        line |= {name: count for name, count in (("prompt_eval_count", end.prompt), ("eval_count", end.output)) if count}
    return line if logprobs is None else {**line, "logprobs": logprobs}


def _check_chat(body: Mapping[str, Any]) -> None:
    if body.get("format") not in (None, "", "json") and not isinstance(body["format"], dict):
        raise Refused(400, f"invalid format: {body['format']!r}; expected \"json\" or a JSON schema")
    if not isinstance(body.get("options") or {}, dict):
        raise Refused(400, "json: cannot unmarshal into Go struct field ChatRequest.options of type map[string]interface {}")
    for name, kind in (("num_predict", int), ("seed", int), ("temperature", (int, float)), ("stop", list)):
        if name in (body.get("options") or {}) and not isinstance(body["options"][name], kind):
            raise Refused(400, f'option "{name}" must be of another type')
    for message in body.get("messages") or ():
        if message.get("role") not in ("system", "user", "assistant", "tool") or not isinstance(message.get("content", ""), str):
            raise Refused(400, "json: cannot unmarshal into Go struct field ChatRequest.messages.content of type string")
        for image in message.get("images") or ():
            _check_image(image)
        for call in message.get("tool_calls") or ():
            if not isinstance(call["function"]["arguments"], dict):
                raise Refused(400, "json: cannot unmarshal string into Go struct field ToolCallFunction.arguments of type api.ToolCallFunctionArguments")


def _check_image(image: Any) -> None:
    try:
        base64.b64decode(image, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Refused(400, "illegal base64 data at input byte 4") from None


def _answer_to(body: Mapping[str, Any]) -> Reply:
    if body.get("format"):
        return Reply(text='{"answer": 42}')
    if body.get("tools") and body["messages"][-1]["role"] != "tool":
        return Reply(tool_calls=(("call_k7x", body["tools"][0]["function"]["name"], {"city": "Oslo"}),))
    return Reply(thinking="Six sevens." if body.get("think") else "", text="The answer is forty-two.")


def _call(number: int, identity: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return ({"id": identity} if identity else {}) | {"function": {"index": number, "name": name, "arguments": arguments}}


def _pieces(text: str) -> list[str]:
    return [text[start:start + 6] for start in range(0, len(text), 6)]


def _logprob(piece: str) -> dict[str, Any]:
    return {"token": piece, "logprob": -0.25, "bytes": list(piece.encode()), "top_logprobs": [{"token": piece, "logprob": -0.25}]}
