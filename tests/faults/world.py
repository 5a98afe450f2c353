"""Vendors that fail, one that does not, and a real server between them and the official SDK.

Each case has a provider of its own, and each kind of request a model of its own, so that one case's breakers, limits and
figures are never another's. ``NAME-alone`` is the route to the faulty provider only, ``NAME-backed`` has the healthy one
behind it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai

from builders import Document, pool, provider, runtime, secret, until
from fakes.vendor import ALWAYS, FakeVendor, Reply
from pod import Pod, running
from stratarouter_runtime.telemetry.logs import JsonFormatter

from .case import Case
from .expected import ATTEMPTS

KEY = "Vendor.Key.Without.Any.Usual.Shape-0123456789"
SPARE_KEY = "sk-spare-abcdefghijklmnop0123"
CLIENT_KEY = "tenant.Key-that-must-not-travel-987654"
TIMEOUT = 20.0
"""Seconds of a request, in which no case here comes to its deadline."""
SLACK = 2.5
"""Seconds for a busy machine."""


@dataclass(slots=True)
class Told:
    """What a caller got: the very bytes, and what the SDK made of them."""

    status: int
    headers: httpx2.Headers
    body: bytes
    seconds: float
    answer: Any
    error: Exception | None

    @property
    def events(self) -> list[Any]:
        """The events of a stream; ``[DONE]`` as it is."""
        frames = [each for each in self.body.decode().split("\n\n") if each and not each.startswith(":")]
        assert all(each.startswith("data: ") for each in frames), frames
        return [data if data == "[DONE]" else json.loads(data) for data in (each.removeprefix("data: ") for each in frames)]


class Recorder(httpx2.AsyncHTTPTransport):
    """Keeps each reply's bytes, by request id, and hands them on to the SDK."""

    def __init__(self) -> None:
        super().__init__(retries=0)
        self.kept: dict[str, tuple[int, httpx2.Headers, bytes]] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Read the whole reply; raises where it has no proper end."""
        response = await super().handle_async_request(request)
        body = await response.aread()
        self.kept[request.headers["x-request-id"]] = (response.status_code, response.headers, body)
        return httpx2.Response(response.status_code, headers=response.headers, content=body, request=request)


class Lines(logging.Handler):
    """Every line of the log, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.written: list[str] = []
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line, but not the vendors' own."""
        if record.name == "fakes.vendor":
            return
        self.written.append(self.format(record))


@contextmanager
def watched_log() -> Iterator[Lines]:
    """The log of everything in the process, while it is open."""
    lines, root = Lines(), logging.getLogger()
    root.addHandler(lines)
    try:
        yield lines
    finally:
        root.removeHandler(lines)


class World:
    """What is running."""

    def __init__(self, pod: Pod, *, faulty: FakeVendor, spare: FakeVendor, sdk: openai.AsyncOpenAI, recorder: Recorder,
                 lines: Lines) -> None:
        self.pod = pod
        self.faulty = faulty
        self.spare = spare
        self.sdk = sdk
        self.lines = lines
        self.met: list[Case] = []
        """The cases that have been met."""
        self._recorder = recorder
        self._numbers = itertools.count()

    async def ask(self, route: str, kind: str, text: str, headers: dict[str, str] | None = None, **fields: Any) -> Told:
        """One request through the SDK. ``kind`` is json, stream or embed, and also the model's name."""
        number = f"fault-{next(self._numbers)}"
        extra = {"x-request-id": number, "x-strata-route": route, **(headers or {})}
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer, error = None, None
        try:
            answer = await self._call(kind, text, extra, fields)
        except openai.APIError as raised:
            error = raised
        seconds = loop.time() - began
        assert number in self._recorder.kept, f"no complete reply: {error!r} ({error.__cause__!r})" if error else "no reply"
        return Told(*self._recorder.kept.pop(number), seconds, answer, error)

    async def only_cached(self, route: str, kind: str, text: str, **fields: Any) -> tuple[int, str, bytes]:
        """Status, ``Cache-Status`` and body of the same request, where only the cache may answer."""
        path, body = "/v1/chat/completions", {"model": kind, "messages": [{"role": "user", "content": text}], **fields}
        if kind == "embed":
            path, body = "/v1/embeddings", {"model": kind, "input": [text, "two"], "dimensions": 8, "encoding_format": "base64", **fields}
        headers = {"Cache-Control": "only-if-cached", "x-strata-route": route, "Authorization": f"Bearer {CLIENT_KEY}"}
        told = await self.pod.send("POST", path, json=body, headers=headers)
        return told.status, told.headers.get("Cache-Status", ""), told.body

    async def _call(self, kind: str, text: str, extra: dict[str, str], fields: dict[str, Any]) -> Any:
        if kind == "embed":
            return await self.sdk.embeddings.create(model=kind, input=[text, "two"], dimensions=8, extra_headers=extra, extra_body=fields)
        messages: Any = [{"role": "user", "content": text}]
        if kind == "json":
            return await self.sdk.chat.completions.create(model=kind, messages=messages, extra_headers=extra, extra_body=fields)
        chunks = await self.sdk.chat.completions.create(model=kind, messages=messages, stream=True, extra_headers=extra, extra_body=fields)
        return [chunk async for chunk in chunks]

    async def settled(self) -> None:
        """Wait until no request is being booked and nothing is stored in the background any more."""
        await until(lambda: not self.pod.server.drain.in_flight and not self.pod.server.runtime._background)

    def calls(self, vendor: FakeVendor, text: str) -> int:
        """How often a vendor was asked this."""
        quoted = json.dumps(text).encode()
        return sum(quoted in each.raw for each in vendor.record.requests)

    async def state(self, name: str) -> tuple[str, str]:
        """A provider's state and reason in ``/config``."""
        found = [each for each in (await self.pod.config())["providers"] if each["name"] == name]
        return found[0]["state"], found[0]["reason"]

    def secrets(self) -> Iterable[str]:
        """What no reply and no line of the log may hold."""
        yield from (KEY, SPARE_KEY, CLIENT_KEY)
        yield from (f":{vendor.port}" for vendor in (self.faulty, self.spare))


class Figures:
    """The metrics of one scrape."""

    def __init__(self, text: str) -> None:
        self._series: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for line in text.splitlines():
            series, _, value = line.rpartition(" ")
            name, _, labels = series.partition("{")
            if not name.startswith("#"):
                self._series[name.removeprefix("stratarouter_runtime_")].append((labels, float(value)))

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric's series with these labels."""
        return sum(self.labelled(name, **labels).values())

    def labelled(self, name: str, **labels: str) -> dict[str, float]:
        """A metric's series with these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return {series: value for series, value in self._series[name] if all(each in series for each in wanted)}


def configuration(cases: Sequence[Case], faulty: FakeVendor, spare: FakeVendor) -> list[Document]:
    """The resources: a pool for each case, the spare one, and two routes for each case."""
    models = [{"name": kind, "upstreamName": f"good-{kind}", "embeddingSpace": "space"} for kind in ("json", "stream", "embed")]
    patient = {"connectMs": 15_000, "firstTokenMs": 15_000, "idleMs": 15_000, "totalMs": 15_000}
    healthy = provider("spare", *models, endpoint=spare.base_url, timeouts=patient, credentialsSecretRef={"name": "spare", "key": "k"})
    routes = []
    for case in cases:
        routes += [{"name": f"{case.label}-alone", "pools": [{"name": f"{case.label}-a"}]},
                   {"name": f"{case.label}-backed", "pools": [{"name": f"{case.label}-b"}, {"name": "spare"}]}]
    settings: Document = {
        "execution": {"timeoutSeconds": TIMEOUT, "maxRetries": ATTEMPTS - 1, "retryDelayMs": 1}, "routes": routes,
        "defaultRoute": {"pools": [{"name": "spare"}]}, "auth": {"apiKeysSecretRef": {"name": "tenants"}},
        "observability": {"logLevel": "debug"}}
    pools = [pool(f"{case.label}-{letter}", _faulty(case, letter, faulty, patient)) for case in cases for letter in "ab"]
    return [runtime(**settings), pool("spare", healthy), *pools, secret("faulty", k=KEY), secret("spare", k=SPARE_KEY),
            secret("tenants", acme=CLIENT_KEY)]


def _faulty(case: Case, letter: str, vendor: FakeVendor, patient: Document) -> Document:
    models = [{"name": kind, "upstreamName": f"{case.name}.{kind}", "embeddingSpace": "space"} for kind, _ in case.expected()]
    fields: Document = {"endpoint": vendor.base_url, "credentialsSecretRef": {"name": "faulty", "key": "k"}, "timeouts": patient,
                        "circuitBreaker": {"consecutiveFailures": ATTEMPTS, "openSeconds": 600}, **case.provider}
    return provider(f"{case.label}-{letter}", *models, **fields)


def script(vendor: FakeVendor, case: Case) -> None:
    """Have every request for the case's models meet its fault."""
    what = case.fault or case.name
    for kind, _ in case.expected():
        model = f"{case.name}.{kind}"
        if isinstance(what, Reply):
            vendor.script.say(what, model=model, times=ALWAYS)
        else:
            vendor.script.fail(what, model=model, times=ALWAYS, **case.changes)


@asynccontextmanager
async def world(folder: Path, cases: Sequence[Case], *more: Document) -> AsyncIterator[World]:
    """Everything running over these cases."""
    async with AsyncExitStack() as stack:
        lines = stack.enter_context(watched_log())
        faulty = await stack.enter_async_context(FakeVendor(models=None, api_keys=[KEY]))
        spare = await stack.enter_async_context(FakeVendor(models=None, api_keys=[SPARE_KEY]))
        for case in cases:
            if "endpoint" not in case.provider:
                script(faulty, case)
        pod = await stack.enter_async_context(running(folder, *configuration(cases, faulty, spare), *more))
        recorder = Recorder()
        http = httpx2.AsyncClient(transport=recorder, timeout=60)
        sdk = await stack.enter_async_context(openai.AsyncOpenAI(base_url=pod.base_url, api_key=CLIENT_KEY, max_retries=0, http_client=http))
        yield World(pod, faulty=faulty, spare=spare, sdk=sdk, recorder=recorder, lines=lines)
