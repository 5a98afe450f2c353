"""The fake of Google's API: the Gemini API, or Vertex AI, byte for byte, which refuses what Google refuses and fails on demand.

    async with GeminiVendor() as vendor:                    # or GeminiVendor(vertex=("project", "europe-west4"))
        vendor.say(text("hello"))
        vendor.fail("rate_limited", times=2)
        ... call vendor.endpoint with vendor.api_key ...
        assert vendor.record.total == 3
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from fakes.vendor.record import Received, Record
from fakes.vendor.sending import destroy

from . import bodies, checks, errors
from .bodies import Reply
from .faults import FAULTS, Fault

_log = logging.getLogger("fakes.geminivendor")

API_KEY = "AIzaSyFAKE-0123456789abcdefghijklmnopq"
TOKEN = "ya29.fake-token-0123456789"
MODELS = ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-flash-preview", "gemini-3-pro-preview", "gemini-flash-latest")
EMBEDDERS = {"gemini-embedding-001": 3072, "text-embedding-005": 768, "text-multilingual-embedding-002": 768, "gemini-embedding-2": 3072}
EMBED = {"model", "content", "taskType", "title", "outputDimensionality"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class GeminiVendor:
    """One API on one port. ``vertex``: project and location, then it is Vertex AI and takes the bearer ``tokens``.

    ``models``: what chats. ``interval``: seconds between the events of a stream.
    """

    def __init__(self, *, vertex: tuple[str, str] | None = None, api_keys: Iterable[str] = (API_KEY,), tokens: Iterable[str] = (TOKEN,),
                 models: Iterable[str] = MODELS, interval: float = 0.0) -> None:
        self.vertex = vertex
        self.api_keys, self.tokens = set(api_keys), set(tokens)
        self.models = set(models)
        self.interval = interval
        self.record = Record()
        self.port = 0
        self._script: deque[list[Any]] = deque()
        self._runner: web.AppRunner | None = None
        self._released = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1, logger=_log)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def endpoint(self) -> str:
        """What an SDK takes as its base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_key(self) -> str:
        """A key that is accepted."""
        return next(iter(self.api_keys), API_KEY)

    def say(self, reply: Reply, *, times: int = 1) -> None:
        """Answer the next chats with this."""
        self._script.append([reply, times])

    def fail(self, fault: str | Fault, *, times: int = 1) -> None:
        """Let the next requests meet a fault; -1: all."""
        self._script.append([FAULTS[fault] if isinstance(fault, str) else fault, times])

    def clear(self) -> None:
        """Back to normal."""
        self._script.clear()

    def release(self) -> None:
        """Let held requests go on."""
        self._released.set()
        self._released = asyncio.Event()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=32 * 1024 * 1024)
        if self.vertex is None:
            collections = ["/{version:v1beta|v1}/models/{model}:{method}"]
        else:
            project, location = self.vertex
            collections = [f"/{{version:v1beta1|v1}}/projects/{project}/locations/{location}/publishers/google/models/{{model}}:{{method}}"]
        for path in collections:
            app.router.add_post(path, self._method)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        raw = await request.read()
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.record.add(Received(request.method, request.path_qs, headers, raw, str(peer)))
        try:
            self._authenticate(request)
            response = await handler(request)
        except errors.ApiError as error:
            response = self._json(error.body, status=error.status)
        except web.HTTPNotFound:
            response = web.Response(status=404, body=b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", content_type="text/html")
        except (asyncio.CancelledError, ConnectionError):
            self.record.aborted += 1
            self.record.tell()
            raise
        self.record.completed += 1
        self.record.tell()
        return response

    def _authenticate(self, request: web.Request) -> None:
        if self.vertex is not None:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or token not in self.tokens:
                raise errors.token_refused()
            return
        key = request.headers.get("x-goog-api-key") or request.query.get("key", "")
        if not key:
            raise errors.no_key()
        if key not in self.api_keys:
            raise errors.wrong_key()

    async def _method(self, request: web.Request) -> web.StreamResponse:
        model, method = request.match_info["model"], request.match_info["method"]
        met = self._next()
        if isinstance(met, Fault) and met.error is not None:
            return self._json(met.error, status=met.status, kind=met.kind)
        if isinstance(met, Fault) and met.name == "reset":
            destroy(request)
            return web.Response()
        if isinstance(met, Fault) and met.name == "hold":
            await self._released.wait()
        chats = method in ("generateContent", "streamGenerateContent")
        served = self.models if chats else EMBEDDERS
        if model not in served:
            raise errors.ApiError(404, errors.MESSAGES[404].replace("models/x", f"models/{model}").replace("generateContent", method))
        body = checks.parse(await request.read())
        if chats:
            return await self._chat(request, model, method, body, met)
        vectors = _vertex_vectors if self.vertex is not None else _gemini_vectors
        made = vectors(model, method, body)
        if made is None:
            raise errors.ApiError(404, errors.MESSAGES[404].replace("models/x", f"models/{model}").replace("generateContent", method))
        return self._json(made)

    async def _chat(self, request: web.Request, model: str, method: str, body: dict[str, Any], met: Any) -> web.StreamResponse:
        checks.check_generate(body, model)
        reply = met if isinstance(met, Reply) else met.reply if isinstance(met, Fault) and met.reply else bodies.reply_to(body, model)
        fault = met if isinstance(met, Fault) else None
        shape = {"model": model, "number": self.record.total, "vertex": self.vertex is not None}
        if method == "generateContent":
            return self._json(fault.whole if fault and fault.whole is not None else bodies.whole(reply, body, **shape))
        made = bodies.events(reply, body, **shape)
        if request.query.get("alt") != "sse" or (fault and fault.name == "unstreamed"):
            return self._json(made)
        return await self._stream(request, made, fault)

    async def _stream(self, request: web.Request, made: list[dict[str, Any]], fault: Fault | None) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Server": "scaffolding on HTTPServer2",
                                               "X-Content-Type-Options": "nosniff"})
        await response.prepare(request)
        frames = [bodies.frame(bodies.compact(event)) for event in made]
        if fault is not None:
            frames = fault.frames(frames)
        for piece in frames:
            if piece is None:
                destroy(request)
                return response
            await response.write(piece)
            if self.interval:
                await asyncio.sleep(self.interval)
        if fault is not None and fault.name == "stall":
            await self._released.wait()
        await response.write_eof()
        return response

    def _next(self) -> Any:
        if not self._script:
            return None
        entry = self._script[0]
        if entry[1] > 0:
            entry[1] -= 1
            if not entry[1]:
                self._script.popleft()
        return entry[0]

    @staticmethod
    def _json(shape: Any, *, status: int = 200, kind: str = "application/json") -> web.Response:
        body = shape if isinstance(shape, bytes) else errors.dump(shape)
        return web.Response(body=body, status=status, headers={"Content-Type": f"{kind}; charset=UTF-8"})


def _said(content: dict[str, Any]) -> str:
    return " ".join(part.get("text", "") for part in content["parts"])


def _gemini_vectors(model: str, method: str, body: dict[str, Any]) -> dict[str, Any] | None:
    if method == "embedContent":
        checks.check_embed(body, EMBED)
        return {"embedding": {"values": bodies.vector(_said(body["content"]), body.get("outputDimensionality") or EMBEDDERS[model])}}
    if method != "batchEmbedContents":
        return None
    wanted = body.get("requests", [])
    if len(wanted) > 100:
        raise errors.ApiError(400, "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n")
    for each in wanted:
        checks.check_embed(each, EMBED)
        if each.get("model") != f"models/{model}":
            raise errors.ApiError(400, "* BatchEmbedContentsRequest.requests[0].model: Model does not match the one in the parent.\n")
    return {"embeddings": [{"values": bodies.vector(_said(each["content"]), each.get("outputDimensionality") or EMBEDDERS[model])}
                           for each in wanted]}


def _vertex_vectors(model: str, method: str, body: dict[str, Any]) -> dict[str, Any] | None:
    if method == "embedContent" and model not in ("text-embedding-005", "text-multilingual-embedding-002"):
        config = body.pop("embedContentConfig", {})
        checks.check_embed({**body, **config}, EMBED | {"autoTruncate"})
        said = _said(body["content"])
        return {"embedding": {"values": bodies.vector(said, EMBEDDERS[model])}, "usageMetadata": {"promptTokenCount": bodies.tokens_of(said)},
                "truncated": False}
    if method != "predict" or model == "gemini-embedding-2":
        return None
    checks._known(body, {"instances", "parameters"}, "")
    instances, parameters = body.get("instances", []), body.get("parameters", {})
    checks._known(parameters, {"outputDimensionality", "autoTruncate"}, "parameters")
    most = 1 if model == "gemini-embedding-001" else 250
    if not 1 <= len(instances) <= most:
        raise errors.ApiError(400, f"{len(instances)} instance(s) is not allowed for this model. Max: {most}.")
    for each in instances:
        checks._known(each, {"content", "taskType", "title", "mimeType"}, "instances")
    if sum(bodies.tokens_of(each["content"]) for each in instances) > 20_000:
        raise errors.ApiError(400, "Unable to submit request because the input token count is more than 20000.")
    size = parameters.get("outputDimensionality") or EMBEDDERS[model]
    return {"predictions": [{"embeddings": {
        "statistics": {"truncated": False, "token_count": float(bodies.tokens_of(each["content"]))},
        "values": bodies.vector(each["content"], size)}} for each in instances],
        "metadata": {"billableCharacterCount": sum(len(each["content"]) for each in instances)}}
