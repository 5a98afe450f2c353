"""A running data plane on free ports, as ``strata-runtime serve`` runs it, with its configuration in a folder.

Also the pieces that nearly every test of it needs: a pool over a fake vendor, a chat request, an HTTP answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from builders import Document, pool, provider, secret, until, write
from fakes.vendor import FakeVendor
from stratarouter_runtime.server.lifecycle import ServeOptions, Server
from structured_fields import Item, parse_list

CREDENTIALS = {"name": "vendor", "key": "apiKey"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer; header names in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The first choice's text."""
        return str(self.json["choices"][0]["message"]["content"])

    @property
    def error(self) -> dict[str, Any]:
        """The error in OpenAI's shape, which is all there is."""
        body = self.json
        assert list(body) == ["error"]
        assert sorted(body["error"]) == ["code", "message", "param", "type"]
        error: dict[str, Any] = body["error"]
        return error

    @property
    def cache(self) -> Item:
        """The one item of ``Cache-Status``."""
        (item,) = parse_list(self.headers["Cache-Status"])
        return item

    @property
    def events(self) -> list[Any]:
        """The data of each event of a stream, decoded; ``[DONE]`` as it is."""
        frames = [frame for frame in self.body.decode().split("\n\n") if frame and not frame.startswith(":")]
        return [data if data == "[DONE]" else json.loads(data) for data in (frame.removeprefix("data: ") for frame in frames)]

    @property
    def streamed_text(self) -> str:
        """The text of all events."""
        return "".join(choice["delta"].get("content") or "" for event in self.events if event != "[DONE]"
                       for choice in event.get("choices", ()))


class Pod:
    """One running server."""

    def __init__(self, server: Server, path: Path, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.path = path
        self.session = session

    @property
    def url(self) -> str:
        """The client port."""
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def base_url(self) -> str:
        """What an SDK takes as its base URL."""
        return f"{self.url}/v1"

    @property
    def platform(self) -> str:
        """The platform port."""
        return f"http://127.0.0.1:{self.server.platform_port}"

    async def send(self, method: str, url: str, **options: Any) -> Answer:
        """Any request; a path goes to the client port."""
        url = url if url.startswith("http") else f"{self.url}{url}"
        async with self.session.request(method, url, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def chat(self, text: str = "Where is my invoice?", *, headers: Mapping[str, str] | None = None, key: str = "",
                   **fields: Any) -> Answer:
        """Ask a question; ``fields`` go into the body."""
        return await self.send("POST", "/v1/chat/completions", json=question(text, **fields), headers=bearing(key, headers))

    async def embed(self, given: Any = "text", *, headers: Mapping[str, str] | None = None, **fields: Any) -> Answer:
        """Embed texts."""
        body = {"model": "text-embedding-3-small", "input": given, "dimensions": 8, **fields}
        return await self.send("POST", "/v1/embeddings", json=body, headers=headers)

    async def config(self) -> dict[str, Any]:
        """``/config``."""
        document: dict[str, Any] = (await self.send("GET", f"{self.platform}/config")).json
        return document

    async def metrics(self) -> str:
        """``/metrics`` in the text format."""
        return (await self.send("GET", f"{self.platform}/metrics")).body.decode()

    async def figure(self, name: str, **labels: str) -> float:
        """The sum of a metric's series with these labels; 0 where there is none."""
        total = 0.0
        for line in (await self.metrics()).splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(f'{key}="{wanted}"' in series for key, wanted in labels.items()):
                total += float(value)
        return total

    def rewrite(self, *documents: Document) -> str:
        """Write another configuration without waiting; its hash."""
        return hashlib.sha256(write(self.path, *documents).read_bytes()).hexdigest()

    async def reload(self, *documents: Document) -> None:
        """Write another configuration and wait until it is acknowledged."""
        digest = self.rewrite(*documents)

        def acknowledged() -> bool:
            """the configuration is acknowledged"""
            rejection = self.server.reloader.rejection
            assert rejection is None or rejection.digest != digest, rejection
            found = self.server.status.snapshot
            return found is not None and found.digest == digest

        await until(acknowledged)


@asynccontextmanager
async def running(folder: Path, *documents: Document, secrets: Path | None = None, propagation: float = 0.0) -> AsyncIterator[Pod]:
    """A server over these resources. ``propagation``: seconds of the drain before the listeners close."""
    path = write(folder / "all.yaml", *documents)
    server = Server(ServeOptions(config=(path,), secrets=secrets, port=0, platform_port=0, propagation=propagation))
    async with server.running(), aiohttp.ClientSession() as session:
        yield Pod(server, path, session)


def served_by(vendor: FakeVendor, name: str = "primary", *models: Document | str, **fields: Any) -> Document:
    """A provider that is the fake vendor, with its key."""
    return provider(name, *(models or ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small")), endpoint=vendor.base_url,
                    credentialsSecretRef=CREDENTIALS, **fields)


def resources(runtime: Document, *vendors: FakeVendor, **fields: Any) -> list[Document]:
    """A RuntimeConfig, the pool ``chat`` of vendors by priority, and the Secret with their key."""
    providers = [served_by(vendor, name, priority=priority, **fields)
                 for priority, (vendor, name) in enumerate(zip(vendors, ("primary", "second", "third"), strict=False))]
    return [runtime, pool("chat", *providers), secret("vendor", apiKey=vendors[0].api_key)]


def question(text: str = "Where is my invoice?", **fields: Any) -> Document:
    """The body of a chat request."""
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **fields}


def bearing(key: str, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """Headers with an API key."""
    return {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}


class Line:
    """A bare connection to the client port, for what no HTTP client does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        """Send bytes."""
        self.writer.write(b"".join(parts))
        await self.writer.drain()

    async def ask(self, body: Document, *, headers: str = "") -> None:
        """Send a whole chat request."""
        raw = json.dumps(body).encode()
        await self.send(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}"
                        f"Content-Length: {len(raw)}\r\n\r\n".encode(), raw)

    async def head(self) -> str:
        """The status line and headers of the next answer."""
        return (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).decode()

    async def closed(self, within: float = 10) -> bool:
        """Whether the other side ends the connection in time; whatever still comes is read."""
        try:
            async with asyncio.timeout(within):
                while await self.reader.read(65_536):
                    pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def line(pod: Pod, *, limit: int = 65_536, receive: int = 0) -> AsyncIterator[Line]:
    """A connection; ``receive`` bounds what the kernel takes in for a client that does not read."""
    import socket

    plain = socket.socket()
    if receive:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", pod.server.port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=limit)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()
