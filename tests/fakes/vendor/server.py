"""The fake vendor: an HTTP server that speaks an OpenAI-compatible API byte for byte, and fails on demand.

In process::

    async with FakeVendor() as vendor:
        vendor.script.fail("http_503", model="gpt-4o", times=2)
        ... call vendor.base_url with vendor.api_key ...
        assert vendor.record.total == 3

On its own: ``python -m fakes.vendor --port 9100`` (with ``tests/`` on ``PYTHONPATH``); the same script is then reached
over ``/__control`` (see ``control.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from . import bodies, checks, control, odd_streams, raw, responses, sending, vectors
from .answers import Reply, reply_to
from .bodies import Answer
from .errors import ApiError, Flavour, error_body, missing_key, of_status, wrong_key
from .faults import Fault, Script
from .record import Received, Record

_log = logging.getLogger("fakes.vendor")
"""Apart from the log of other servers in the process: here broken connections are the point."""

API_KEY = "sk-fake-0123456789abcdef1234"
MAX_BODY = 26_214_400

DEFAULT_MODELS: Mapping[Flavour, Mapping[str, str]] = {
    "openai": {
        "gpt-4o": "gpt-4o-2024-11-20", "gpt-4o-2024-11-20": "gpt-4o-2024-11-20",
        "gpt-4o-mini": "gpt-4o-mini-2024-07-18", "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
        "text-embedding-3-small": "text-embedding-3-small", "text-embedding-3-large": "text-embedding-3-large"},
    "vllm": {"meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B-Instruct", "bge-m3": "bge-m3"},
    "vllm-old": {"meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B-Instruct"},
    "ollama": {"llama3": "llama3", "llama3.2": "llama3.2", "nomic-embed-text": "nomic-embed-text",
               "all-minilm": "all-minilm"},
}
"""Model asked for → model reported, as each flavour serves them by default."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeVendor:
    """One vendor on one port; use as an async context manager or ``start``/``stop``.

    ``models``: what is served (default: ``DEFAULT_MODELS`` of the flavour), and the name each is reported under; a plain
    iterable reports them as they are; None serves anything. ``api_keys``: the keys accepted (may be changed while
    running); empty, and the default key in other flavours than ``openai``, accepts every call.
    ``interval``: seconds between the frames of a stream. ``pad_words``: least number of words of an answer. ``tls``: speak
    HTTPS with this context.
    """

    def __init__(self, *, flavour: Flavour = "openai", models: Mapping[str, str] | Iterable[str] | None = (),
                 api_keys: Iterable[str] = (API_KEY,), interval: float = 0.0, pad_words: int = 0,
                 host: str = "127.0.0.1", port: int = 0, dimensions: int | None = None, tls: ssl.SSLContext | None = None,
                 clock: Callable[[], float] = time.time) -> None:
        self.flavour: Flavour = flavour
        self.models = _models(flavour, models)
        self.api_keys = set(api_keys) if flavour == "openai" else set(api_keys) - {API_KEY}
        self.interval = interval
        self.pad_words = pad_words
        self.dimensions = dimensions
        self.script = Script()
        self.record = Record()
        self.written = 0
        """Bytes of faults of phase ``wire`` that callers have taken."""
        self.host, self.port = host, port
        self._tls = tls
        self._clock = clock
        self._released = asyncio.Event()
        self.holding = 0
        """Requests that wait for ``release``."""
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.stop()

    @property
    def base_url(self) -> str:
        """What an SDK takes as its base URL."""
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}/v1"

    @property
    def api_key(self) -> str:
        """A key that is accepted."""
        return next(iter(self.api_keys), API_KEY)

    async def start(self) -> None:
        """Listen; the port stays the same over ``stop_listening`` and ``listen``."""
        runner = web.AppRunner(self._app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1, logger=_log)
        await runner.setup()
        self._runner = runner
        await self.listen()

    async def stop(self) -> None:
        """Let go of held requests, close everything."""
        self.release()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = self._site = None

    async def listen(self) -> None:
        """Accept connections (again)."""
        if self._site is None and self._runner is not None:
            self._site = web.TCPSite(self._runner, self.host, self.port, reuse_address=True, ssl_context=self._tls)
            await self._site.start()
            if not self.port:
                self.port = self._runner.addresses[0][1]

    async def stop_listening(self) -> None:
        """Refuse connections and reset those that exist."""
        if self._site is not None and self._runner is not None:
            # Only the listening socket: the site's own stop() would wait for the requests in flight.
            site, self._site = self._site, None
            if site._server is not None:
                site._server.close()
            self._runner._unreg_site(site)
            for connection in list(self._runner.server.connections if self._runner.server else ()):
                if connection.transport is not None:
                    connection.transport.abort()

    def release(self) -> None:
        """Let every held request go on (or fail, where the fault says so)."""
        self._released.set()
        self._released = asyncio.Event()

    async def hold(self, seconds: float | None) -> None:
        """Wait for so long; None waits for ``release``."""
        if seconds is None:
            self.holding += 1
            try:
                await self._released.wait()
            finally:
                self.holding -= 1
        else:
            await asyncio.sleep(seconds)

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._bookkeeping], client_max_size=MAX_BODY)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/responses", self._responses)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/v1/models/{model:.+}", self._get_model)
        app.router.add_get("/health", self._health)
        if self.flavour == "ollama":
            app.router.add_get("/api/tags", self._tags)
            app.router.add_get("/", self._health)
        control.add_to(app, self)
        return app

    @web.middleware
    async def _bookkeeping(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/__control") or request.path == "/health":
            return await handler(request)
        try:
            response = await self._answered(request, handler)
        except (asyncio.CancelledError, ConnectionError):
            self.record.aborted += 1
            self.record.tell()
            raise
        self.record.completed += 1
        self.record.tell()
        return response

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            try:
                raw = await request.read()
            except web.HTTPRequestEntityTooLarge:
                raise of_status(413, "") from None
            self._remember(request, raw)
            self._check_key(request)
            return await handler(request)
        except ApiError as error:
            return sending.whole(error_body(error, self.flavour), self._headers(), status=error.status)
        except web.HTTPNotFound:
            unknown = ApiError(404, f"Invalid URL ({request.method} {request.path})")
            return sending.whole(error_body(unknown, self.flavour), self._headers(), status=404)

    def _remember(self, request: web.Request, raw: bytes) -> None:
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.record.add(Received(request.method, request.path_qs, headers, raw, str(peer)))

    def _check_key(self, request: web.Request) -> None:
        if not self.api_keys or not request.path.startswith("/v1"):
            return
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise missing_key()
        if key.strip() not in self.api_keys:
            raise wrong_key(key.strip())

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        model = self.record.last.model
        met = self.script.next(model)
        fault = met if isinstance(met, Fault) else None
        if fault is not None and fault.phase == "connect":
            early = await self._connect_fault(request, fault)
            if early is not None:
                return early
        body = checks.parse(await request.read())
        reported = self._reported(body, fault)
        checks.check_chat(body)
        answer = self._answer(body, reported, met if isinstance(met, Reply) else None)
        if fault is not None and fault.phase == "wire":
            events = self._events(answer) if body.get("stream") else None
            return await self._wire(request, fault, self._completion(answer), events)
        if body.get("stream") and (fault is None or fault.phase != "answer"):
            return await sending.stream(request, self._events(answer), self._headers(), fault=fault,
                                        interval=self.interval, hold=self.hold, flavour=self.flavour)
        return await self._json(request, self._completion(answer), fault, model)

    def _completion(self, answer: Answer) -> bytes:
        return bodies.completion(answer)

    def _events(self, answer: Answer) -> Iterable[bytes]:
        return bodies.events(answer)

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        """OpenAI's newer API; of the faults those of phases ``answer`` and, for streams, ``stream``."""
        model = self.record.last.model
        met = self.script.next(model)
        fault = met if isinstance(met, Fault) else None
        body = checks.parse(await request.read())
        reported = checks.check_model(body, self.models, self.flavour)
        responses.check(body)
        said = met if isinstance(met, Reply) else responses.reply(body)
        terms: dict[str, Any] = {"number": self.record.total, "model": reported, "created": int(self._clock())}
        if not body.get("stream") or (fault is not None and fault.phase == "answer"):
            return await self._json(request, json.dumps(responses.whole(body, said, **terms), indent=2, ensure_ascii=False).encode(), fault, model)
        response = web.StreamResponse(headers={**self._headers(), "Content-Type": sending.STREAM_TYPE})
        await response.prepare(request)
        for count, event in enumerate(responses.events(body, said, **terms)):
            if fault is not None and count == fault.after:
                if fault.name in ("error_event", "error_event_first"):
                    told = {"type": "server_error", "code": "server_error", "message": "The server had an error.", "param": None}
                    await response.write(responses.framed({"type": "error", "sequence_number": count, "error": told}))
                    await response.write_eof()
                else:
                    sending.destroy(request, politely=True)
                return response
            await response.write(responses.framed(event))
        await response.write_eof()
        return response

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        model = self.record.last.model
        met = self.script.next(model)
        fault = met if isinstance(met, Fault) else None
        if fault is not None and fault.phase == "connect":
            early = await self._connect_fault(request, fault)
            if early is not None:
                return early
        body = checks.parse(await request.read())
        reported = self._reported(body, fault)
        inputs = checks.check_embeddings(body)
        dimensions = self.dimensions or vectors.DIMENSIONS.get(model, vectors.DEFAULT_DIMENSIONS)
        good = bodies.embeddings(self._answer(body, reported, Reply(text="")), inputs, dimensions)
        if fault is not None and fault.phase == "wire":
            return await self._wire(request, fault, good, None)
        return await self._json(request, good, fault, model)

    async def _json(self, request: web.Request, good: bytes, fault: Fault | None, model: str) -> web.StreamResponse:
        if fault is not None and fault.phase == "answer":
            if fault.name == "rate_limited_date":
                when = email.utils.formatdate(self._clock() + 7, usegmt=True)
                fault = Fault(fault.name, "answer", status=429, headers={"Retry-After": when})
            return await sending.broken(request, fault, good, self._headers(), model=model, flavour=self.flavour)
        if fault is not None and fault.phase == "framing":
            return await sending.framed(request, good, self._headers(), fault)
        if fault is not None and fault.phase == "stream":
            await self.hold(fault.delay) if fault.name in ("stall", "slow_first_token") else sending.destroy(request)
        return sending.whole(good, self._headers())

    async def _wire(self, request: web.Request, fault: Fault, good: bytes, events: Iterable[bytes] | None) -> web.StreamResponse:
        make = raw.WIRE_FAULTS.get(fault.name) or odd_streams.STREAM_FAULTS[fault.name]
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return await raw.send(request, make(raw.wire_of(good, events, key)), hold=self.hold, wrote=self._wrote)

    def _wrote(self, size: int) -> None:
        self.written += size

    async def _connect_fault(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        match fault.name:
            case "reset_before_headers":
                sending.destroy(request)
            case "close_before_headers":
                sending.destroy(request, politely=True)
            case "black_hole":
                await self.hold(None)
                sending.destroy(request)
            case _:
                await self.hold(fault.delay)
                return None
        return web.Response()

    def _reported(self, body: dict[str, Any], fault: Fault | None) -> str:
        named = str(body.get("model", ""))
        return named if fault is not None and named.startswith("fault-") else checks.check_model(
            body, self.models, self.flavour)

    def _answer(self, body: dict[str, Any], model: str, reply: Reply | None) -> Answer:
        count = body.get("n") or 1
        replies = tuple(reply or reply_to(body, pad_words=self.pad_words) for _ in range(count))
        return Answer(self.flavour, self.record.total, model, int(self._clock()), body, replies)

    async def _list_models(self, request: web.Request) -> web.StreamResponse:
        names = sorted(self.models or DEFAULT_MODELS[self.flavour])
        return sending.whole(bodies.models(names, self.flavour, int(self._clock())), self._headers())

    async def _get_model(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["model"]
        checks.check_model({"model": name}, self.models, self.flavour)
        card = bodies.model_card(name, self.flavour, int(self._clock()))
        return sending.whole(bodies.dump(card, self.flavour), self._headers())

    async def _tags(self, request: web.Request) -> web.StreamResponse:
        details = {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
                   "parameter_size": "8.0B", "quantization_level": "Q4_0"}
        tags = [{"name": f"{name}:latest", "model": f"{name}:latest", "modified_at": "2024-11-20T10:00:00Z",
                 "size": 4661224676, "digest": "365c0bd3c000", "details": details}
                for name in sorted(self.models or DEFAULT_MODELS["ollama"])]
        return sending.whole(bodies.compact({"models": tags}), {}, kind="application/json; charset=utf-8")

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="Ollama is running" if self.flavour == "ollama" else "")

    def _headers(self) -> dict[str, str]:
        if self.flavour != "openai":
            return {"Server": "uvicorn"} if self.flavour != "ollama" else {}
        remaining = max(0, 9_999 - self.record.total % 10_000)
        return {
            "access-control-expose-headers": "X-Request-ID", "openai-organization": "org-fake",
            "openai-processing-ms": "42", "openai-version": "2020-10-01", "Server": "cloudflare",
            "x-ratelimit-limit-requests": "10000", "x-ratelimit-limit-tokens": "2000000",
            "x-ratelimit-remaining-requests": str(remaining), "x-ratelimit-remaining-tokens": "1999000",
            "x-ratelimit-reset-requests": "6ms", "x-ratelimit-reset-tokens": "30ms",
            "x-request-id": "req_" + bodies.base62(f"request {self.record.total}", 32).lower()}


@contextlib.asynccontextmanager
async def fake_vendor(**options: Any) -> AsyncIterator[FakeVendor]:
    """A running fake vendor on a free port; options as for ``FakeVendor``."""
    async with FakeVendor(**options) as vendor:
        yield vendor


def _models(flavour: Flavour, given: Mapping[str, str] | Iterable[str] | None) -> dict[str, str] | None:
    if given is None:
        return None
    if isinstance(given, Mapping):
        return dict(given)
    return {name: name for name in given} or dict(DEFAULT_MODELS[flavour])
