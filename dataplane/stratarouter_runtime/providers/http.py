"""HTTP to one provider: one session, kept alive, bounded in connections, time and bytes.

Invariants: redirects are never followed (a key must not reach another host); an answer belongs to its request; cookies and the environment's proxies are
ignored; nothing but ``ProviderError`` and cancellation is raised; when the caller's task is cancelled or its generator
closed, the connection is closed at once.
"""

from __future__ import annotations

import asyncio
import io
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from stratarouter_runtime._version import __version__
from stratarouter_runtime.config import ConfigError, Provider
from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.wire.answers import VendorError

from .connection_errors import NETWORK_ERRORS, not_answered, not_finished
from .connector import SilentConnector
from .errors import refused
from .read_timer import ReadTimer

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of a complete answer; the largest are base64 images and batches of embeddings."""
LARGE_BODY = 1_048_576
"""From here on aiohttp warns of bytes sent in one piece; as a file they go out piece by piece."""
MAX_ERROR = 256 * 1024
"""Bytes that are read of an error's body."""
ERROR_SECONDS = 2.0
"""How long an error's body is waited for: its status is known, and another provider may be asked meanwhile."""
DNS_SECONDS = 30
KEEPALIVE_SECONDS = 30
"""Seconds an idle connection is kept: less than what vendors allow, so that they are not the ones to close it."""
USER_AGENT = f"stratarouter-runtime/{__version__}"


class Upstream:
    """The connections of one provider; ``headers`` are the vendor's own, ``ca_bundle`` is PEM instead of the system's.

    ``key`` is what no message may quote, ``parse_error`` reads the body of an error. Raises ``ConfigError`` for a bundle
    that is not PEM.
    """

    def __init__(self, config: Provider, *, key: str, headers: Mapping[str, str], ca_bundle: str | None,
                 parse_error: Callable[[bytes], VendorError]) -> None:
        self._config = config
        self.key = key
        self._parse_error = parse_error
        self._headers = {"User-Agent": USER_AGENT, "Content-Type": "application/json", **config.headers, **headers}
        self._proxy = URL(config.proxy_url) if config.proxy_url else None
        self._tls: ssl.SSLContext | bool = _trusting(ca_bundle) if ca_bundle else True
        self._timeout = aiohttp.ClientTimeout(total=None, connect=config.timeouts.connect_ms / 1000)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._open: set[aiohttp.ClientResponse] = set()

    async def aclose(self) -> None:
        """Close all connections; calls fail from now on."""
        self._closed = True
        for response in list(self._open):
            # Closing the connections alone would leave a pending read pending.
            response.content.set_exception(aiohttp.ClientConnectionError())
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def open(self, url: URL, body: bytes, headers: Mapping[str, str], *,
                   due: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful reply of which no more than the headers are read.

        ``due`` (the loop's clock) bounds the wait for them. On the way out an answer that was not read to its end is
        closed with its connection; one that was has given it back.
        """
        response = await self._send(url, body, {**self._headers, **headers}, due)
        self._open.add(response)
        try:
            if response.status != 200:
                raise await self._refusal(response, due)
            yield response
        finally:
            self._open.discard(response)
            response.close()

    async def exchange(self, url: URL, body: bytes, headers: Mapping[str, str], *, due: float) -> bytes:
        """The complete body of a successful reply, before ``due``."""
        async with self.open(url, body, {"Accept": "application/json", **headers}, due=due) as response:
            return await read_all(response, due)

    async def _send(self, url: URL, body: bytes, headers: Mapping[str, str], due: float) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout_at(due):
                return await self._connected().post(url, data=_payload(body), headers=headers, allow_redirects=False, ssl=self._tls,
                                                    proxy=self._proxy)
        except NETWORK_ERRORS as error:
            raise not_answered(error) from None
        except ValueError:
            raise ProviderError(Failure.UNAUTHORIZED, "the provider's key or headers cannot be sent as HTTP headers",
                                phase=Phase.CONNECT) from None

    def _connected(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ProviderError(Failure.CONNECT_FAILED, "the provider's connections are closed", phase=Phase.CONNECT)
        if self._session is None:
            connector = SilentConnector(limit=self._config.limits.max_concurrent_requests, ttl_dns_cache=DNS_SECONDS,
                                        keepalive_timeout=KEEPALIVE_SECONDS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=False,
                                                  cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def _refusal(self, response: aiohttp.ClientResponse, due: float) -> ProviderError:
        try:
            raw = await read_all(response, min(due, asyncio.get_running_loop().time() + ERROR_SECONDS), limit=MAX_ERROR)
        except ProviderError:
            raw = b""  # the status alone says enough
        return refused(response.status, response.headers, self._parse_error(raw), now=time.time(), key=self.key)


async def read_all(response: aiohttp.ClientResponse, due: float, *, limit: int = MAX_ANSWER) -> bytes:
    """The rest of a body, before ``due`` (the loop's clock) and within ``limit`` bytes."""
    parts: list[bytes] = []
    size = 0
    timer = ReadTimer(response)
    try:
        while part := await timer.read(due):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise ProviderError(Failure.BAD_RESPONSE, f"the provider's answer has more than {limit} bytes", phase=Phase.BODY)
    except NETWORK_ERRORS as error:
        raise not_finished(error, Phase.BODY) from None
    finally:
        timer.stop()
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _payload(body: bytes) -> bytes | io.BytesIO:
    return body if len(body) < LARGE_BODY else io.BytesIO(body)


def _trusting(bundle: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=bundle)
    except ssl.SSLError:
        raise ConfigError("InvalidCaBundle", "the CA bundle of a provider holds no valid PEM certificate") from None
