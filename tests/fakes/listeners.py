"""Addresses at which nobody answers properly: connections that are refused, never accepted, or never spoken on.

Also TLS contexts for vendors that are trusted, unknown, or somebody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

CERTIFICATES = Path(__file__).parent / "tls"
"""Self-signed, for a hundred years: ``server`` for localhost, ``other`` for another name. They guard nothing."""


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """A port that refuses connections and that nobody else can take."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@contextlib.contextmanager
def never_accepting() -> Iterator[str]:
    """A port whose queue of connections is full: whoever connects waits for ever."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """A port that accepts and never says a word."""
    gone = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while not gone.is_set() and await reader.read(65_536):
                pass
        writer.transport.abort()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        gone.set()


@contextlib.asynccontextmanager
async def hanging_up(said: bytes = b"") -> AsyncIterator[str]:
    """A port that closes every connection at once, after ``said``."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(65_536)
            writer.write(said)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def serving_as(name: str) -> ssl.SSLContext:
    """A server's context with the certificate ``server`` or ``other``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{name}.crt", CERTIFICATES / f"{name}.key")
    return context


def bundle(name: str) -> str:
    """The certificate as a CA bundle."""
    return (CERTIFICATES / f"{name}.crt").read_text()
