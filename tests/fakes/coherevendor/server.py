"""Answers, streams and vectors as Cohere sends them.

Sources: Cohere API reference ("Chat (v2)", "Chat (v2) with streaming", "Embed (v2)"), its documentation of errors, and the types of
its SDK.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from fakes.scripted import Fault, Refused, ScriptedVendor, compact

from .checks import check_chat, check_embed

MODELS = ("command-a-03-2025", "command-a-reasoning-08-2025", "command-r7b-12-2024", "embed-v4.0")
ID = "c14c80c3-18eb-4519-9460-6c92edd8cfb4"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says. ``tool_calls`` are (id, name, arguments); ``citations`` as the vendor writes them."""

    text: str = ""
    thinking: str = ""
    plan: str = ""
    tool_calls: tuple[tuple[str, str, str], ...] = ()
    citations: tuple[Mapping[str, Any], ...] = ()
    finish: str = ""
    error: str = ""
    billed: tuple[int, int] = (12, 7)
    tokens: tuple[int, int] = (212, 9)
    cached: int | None = None

    @property
    def finish_reason(self) -> str:
        """Its own, else what follows from the rest."""
        return self.finish or ("TOOL_CALL" if self.tool_calls else "COMPLETE")

    @property
    def usage(self) -> dict[str, Any]:
        """Units and tokens."""
        made: dict[str, Any] = {"billed_units": dict(zip(("input_tokens", "output_tokens"), self.billed, strict=True)),
                                "tokens": dict(zip(("input_tokens", "output_tokens"), self.tokens, strict=True))}
        return made if self.cached is None else {**made, "cached_tokens": self.cached}


class CohereVendor(ScriptedVendor[Reply]):
    """A running fake. Any key but ``api_key`` is refused."""

    api_key = "co-fake-key"

    def __init__(self, *, models: Iterable[str] = MODELS, dimensions: int = 8) -> None:
        super().__init__()
        self.models = tuple(models)
        self.dimensions = dimensions

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.post("/v2/chat", self._chat), web.post("/v2/embed", self._embed)]

    def error_body(self, refused: Refused) -> bytes:
        return compact({"id": ID, "message": refused.message})

    def _check(self, request: web.Request, body: Any) -> None:
        key = request.headers.get("Authorization", "")
        if not key:
            raise Refused(401, "no api key supplied")
        if key != f"Bearer {self.api_key}":
            raise Refused(401, "invalid api token")
        model = body.get("model") if isinstance(body, dict) else None
        if model not in self.models:
            raise Refused(404, f"model '{model}' not found, make sure the correct model ID was used and that you have access to the model.")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = self.last.json
        self._check(request, body)
        check_chat(body)
        met = self.next(_answer_to(body))
        fault = met if isinstance(met, Fault) else None
        reply = _answer_to(body) if isinstance(met, Fault) else met
        if body.get("stream"):
            return await self.stream(request, [frame(event) for event in events_of(reply, logprobs=bool(body.get("logprobs")))]
                                     + [b"data: [DONE]\n\n"], "text/event-stream", fault)
        return self.whole(compact(completion(reply, logprobs=bool(body.get("logprobs")))), fault)

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        body = self.last.json
        self._check(request, body)
        count = check_embed(body)
        inputs = body.get("texts") or body.get("images") or [str(each) for each in body["inputs"]]
        kinds = body.get("embedding_types", ["float"])
        vectors = [vector(each, body.get("output_dimension") or self.dimensions) for each in inputs]
        made = {kind: vectors if kind == "float" else [_base64(each) for each in vectors] for kind in kinds}
        answer = {"id": ID, "embeddings": made, "texts": body.get("texts") or [],
                  "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 3 * count}},
                  "response_type": "embeddings_by_type"}
        met = self.next(Reply())
        return self.whole(compact(answer), met if isinstance(met, Fault) else None)


def completion(reply: Reply, *, logprobs: bool = False) -> dict[str, Any]:
    """A whole answer."""
    message: dict[str, Any] = {"role": "assistant"}
    if reply.tool_calls:
        message["tool_plan"] = reply.plan
        message["tool_calls"] = [_call(*each) for each in reply.tool_calls]
    content = ([{"type": "thinking", "thinking": reply.thinking}] if reply.thinking else []) + (
        [{"type": "text", "text": reply.text}] if reply.text else [])
    if content:
        message["content"] = content
    if reply.citations:
        message["citations"] = list(reply.citations)
    made = {"id": ID, "message": message, "finish_reason": reply.finish_reason, "usage": reply.usage}
    return {**made, "logprobs": [_logprob(each) for each in _pieces(reply.text)]} if logprobs else made


def events_of(reply: Reply, *, logprobs: bool = False) -> list[dict[str, Any]]:
    """The same as the events of a stream."""
    events: list[dict[str, Any]] = [{"id": ID, "type": "message-start", "delta": {"message": {
        "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}}]
    index = 0
    for kind, said in (("thinking", reply.thinking), ("text", reply.text)):
        if said:
            events.append({"type": "content-start", "index": index, "delta": {"message": {"content": {"type": kind, kind: ""}}}})
            events += [{"type": "content-delta", "index": index, "delta": {"message": {"content": {kind: piece}}},
                        **({"logprobs": _logprob(piece)} if logprobs and kind == "text" else {})} for piece in _pieces(said)]
            if kind == "text":
                events += [event for number, each in enumerate(reply.citations) for event in (
                    {"type": "citation-start", "index": number, "delta": {"message": {"citations": dict(each)}}},
                    {"type": "citation-end", "index": number})]
            events.append({"type": "content-end", "index": index})
            index += 1
    events += [{"type": "tool-plan-delta", "delta": {"message": {"tool_plan": piece}}} for piece in _pieces(reply.plan)]
    for number, (name, function, arguments) in enumerate(reply.tool_calls, index):
        events.append({"type": "tool-call-start", "index": number, "delta": {"message": {"tool_calls": _call(name, function, "")}}})
        events += [{"type": "tool-call-delta", "index": number, "delta": {"message": {"tool_calls": {"function": {"arguments": piece}}}}}
                   for piece in _pieces(arguments)]
        events.append({"type": "tool-call-end", "index": number})
    end: dict[str, Any] = {"error": reply.error} if reply.error else {}
    return [*events, {"type": "message-end", "delta": {**end, "finish_reason": reply.finish_reason, "usage": reply.usage}}]


def frame(event: Mapping[str, Any]) -> bytes:
    """One event."""
    return b"event: " + event["type"].encode() + b"\ndata: " + compact(event) + b"\n\n"


def vector(text: str, dimensions: int) -> list[float]:
    """A vector that depends on the text alone; exact in 32 bits."""
    digest = hashlib.sha256(text.encode()).digest()
    return [(digest[index % 32] - 128) / 128 for index in range(dimensions)]


def _answer_to(body: Mapping[str, Any]) -> Reply:
    tools = body.get("tools")
    if body.get("tool_choice") == "REQUIRED":
        return Reply(plan="I will use the tool.", tool_calls=(("tool_0", tools[0]["function"]["name"], '{"city":"Oslo"}'),))
    if body.get("response_format", {}).get("type") == "json_object":
        return Reply(text='{"answer":42}')
    return Reply(text="The answer is forty-two.")


def _call(name: str, function: str, arguments: str) -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": function, "arguments": arguments}}


def _pieces(text: str) -> list[str]:
    return [text[start:start + 6] for start in range(0, len(text), 6)]


def _logprob(piece: str) -> dict[str, Any]:
    return {"text": piece, "token_ids": [7, 9], "logprobs": [-0.25, -0.5]}


def _base64(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
