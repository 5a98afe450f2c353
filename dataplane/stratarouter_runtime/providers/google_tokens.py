"""Access tokens of Google Cloud through ``google-auth``, kept until shortly before they expire.

Sources: google-auth; Google Cloud "Authenticate as a workload" (metadata server) and "Service account keys". Invariants: the event
loop never waits for a signature or a socket; however many wait, one renewal is under way; a token that is still good is used while
the next is fetched; nobody waits past its deadline; no message holds anything of a key or of what a token server said but its
error's code.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import aiohttp

from stratarouter_runtime.model.errors import Failure, Phase, ProviderError

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
RENEW_SECONDS = 225.0
"""How long before its end a token is renewed: the metadata server gives a new one only for its last four minutes."""
LAST_SECONDS = 20.0
"""A token this near its end is not used any more: it would expire on the way."""
PAUSE_SECONDS = 5.0
"""Least time between two renewals of a token that is still good, and between attempts where there is none a fifth of it."""
ANSWER_SECONDS = 10.0
"""How long a token server may take."""
MAX_ANSWER = 64 * 1024

_CLOSED = "the provider's connections are closed"
_CODE = re.compile(r"[a-z_]{1,64}")
_KINDS: Mapping[str, tuple[str, str]] = {
    "service_account": ("google.oauth2.service_account", "from_service_account_info"),
    "authorized_user": ("google.oauth2.credentials", "from_authorized_user_info"),
    "external_account": ("google.auth.identity_pool", "from_info")}
"""By the key file's ``type``: google-auth's module, and how its credentials are made."""


class _TokenServerError(Exception):
    """The token server did not answer as it should. Not one of google-auth's errors, so that it is not retried there with sleeps."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class _KeyFileError(Exception):
    """What the Secret holds is no key."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What google-auth reads of an HTTP response."""

    status: int
    headers: Mapping[str, str]
    data: bytes


@dataclass(frozen=True, slots=True)
class _Failed:
    """How the last renewal failed."""

    failure: Failure
    message: str

    def error(self) -> ProviderError:
        """A new error each time: whoever raises one adds frames to it."""
        status = 401 if self.failure is Failure.UNAUTHORIZED else 502
        return ProviderError(self.failure, self.message, phase=Phase.CONNECT, status=status)


class GoogleTokens:
    """The tokens of one account: of the key file ``key``, or of the metadata server where that is empty.

    ``proxy`` and ``ca_bundle`` (PEM, trusted besides the system's) are for token servers; the metadata server is always near.
    ``clock`` in Unix seconds.
    """

    def __init__(self, key: str, *, proxy: str | None = None, ca_bundle: str | None = None,
                 clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._proxy = proxy if key else None
        self._tls = _trusting(ca_bundle) if ca_bundle else True
        self._clock = clock
        self._credentials: Any = None
        self._token = ""
        self._expires = self._not_before = 0.0
        self._failure: _Failed | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._sending: asyncio.Task[Any] | None = None
        """The request that is under way; touched on the loop alone."""
        self._closed = False

    async def token(self, due: float) -> str:
        """A token that is good for now, before ``due`` (the loop's clock). Raises ``ProviderError``."""
        now = self._clock()
        left = self._expires - now if self._token else 0.0
        if left <= LAST_SECONDS:
            return await self._awaited(due, now)
        if left <= RENEW_SECONDS and now >= self._not_before:
            self._renew()
        return self._token

    def forget(self) -> None:
        """The vendor refused the token: the next call fetches another."""
        self._token = ""

    async def aclose(self) -> None:
        """Stop a renewal that is under way; no more tokens."""
        self._closed = True
        if self._sending is not None:
            self._sending.cancel()
        if self._renewal is not None:
            await asyncio.wait([self._renewal])

    async def _awaited(self, due: float, now: float) -> str:
        if self._closed:
            raise _Failed(Failure.CONNECT_FAILED, _CLOSED).error()
        if self._renewal is None and self._failure is not None and now < self._not_before:
            raise self._failure.error()  # moments ago: the server is not asked for each request
        try:
            async with asyncio.timeout_at(due):
                # Whoever leaves takes the renewal from nobody else.
                await asyncio.shield(self._renew())
        except TimeoutError:
            raise ProviderError(Failure.TIMEOUT, "no access token for the provider came in time", phase=Phase.CONNECT) from None
        if self._failure is not None:
            raise self._failure.error()
        return self._token

    def _renew(self) -> asyncio.Task[None]:
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renewed())
        return self._renewal

    async def _renewed(self) -> None:
        """Fetch a token; what goes wrong is remembered, and raised by those who have no other."""
        loop = asyncio.get_running_loop()
        try:
            token, expires = await asyncio.to_thread(self._fetch, loop)
        except _TokenServerError as error:
            self._fail(error.failure, str(error))
        except _KeyFileError as error:
            self._fail(Failure.UNAUTHORIZED, f"the provider's credentials are no key file: {error}")
        except Exception as error:  # noqa: BLE001 (google-auth raises its own errors, and any other for what a server sends wrong)
            kind = Failure.OVERLOADED if getattr(error, "retryable", False) else Failure.UNAUTHORIZED
            self._fail(kind, f"no access token for the provider: {_code_of(error)}")
        else:
            self._token, self._expires, self._failure = token, expires, None
            self._not_before = self._clock() + PAUSE_SECONDS
        finally:
            self._renewal = None

    def _fail(self, failure: Failure, message: str) -> None:
        self._failure = _Failed(failure, message)
        self._not_before = self._clock() + PAUSE_SECONDS / 5

    # --- in a thread ------------------------------------------------------------------------------------------------
    def _fetch(self, loop: asyncio.AbstractEventLoop) -> tuple[str, float]:
        if self._credentials is None:
            self._credentials = _credentials_of(self._key)

        def request(url: str, method: str = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **_: Any) -> _Answer:  # noqa: ARG001
            """google-auth's transport, over the loop that waits for it."""
            try:
                return asyncio.run_coroutine_threadsafe(self._send(url, method, body, headers), loop).result()
            except concurrent.futures.CancelledError:
                raise _closed() from None

        self._credentials.refresh(request)
        expiry = self._credentials.expiry
        expires = expiry.replace(tzinfo=UTC).timestamp() if expiry is not None else self._clock() + 3600.0
        return str(self._credentials.token), expires

    async def _send(self, url: str, method: str, body: Any, headers: Any) -> _Answer:
        if self._closed:
            raise _closed()
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        self._sending = asyncio.current_task()
        try:
            async with aiohttp.ClientSession(timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session, session.request(
                    method, url, data=body, headers=headers, allow_redirects=False, proxy=self._proxy, ssl=self._tls) as response:
                data = await _bounded(response)
        except TimeoutError:
            raise _TokenServerError(Failure.TIMEOUT, "the provider's token server did not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise _TokenServerError(Failure.CONNECT_FAILED, "the provider's token server cannot be reached") from None
        finally:
            self._sending = None
        if response.status >= 500 or response.status in (408, 429):
            raise _TokenServerError(Failure.OVERLOADED, f"the provider's token server answered with status {response.status}")
        return _Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, data)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    data = b""
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > MAX_ANSWER:
            raise _TokenServerError(Failure.BAD_RESPONSE, f"the provider's token server answered with more than {MAX_ANSWER} bytes")
    return data


def _credentials_of(key: str) -> Any:
    """google-auth's credentials. Raises ``_KeyFileError``.

    Imported only here: what they sign with is a large library that only pools with Vertex AI should pay for.
    """
    if not key:
        return _imported("google.auth.compute_engine").Credentials(scopes=SCOPES)
    try:
        info = json.loads(key)
    except ValueError:
        raise _KeyFileError("not JSON") from None
    kind = info.get("type") if isinstance(info, dict) else None
    known = _KINDS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise _KeyFileError(f"its type is none of {', '.join(_KINDS)}")
    module, make = known
    try:
        return getattr(_imported(module).Credentials, make)(info, scopes=SCOPES)
    except Exception:  # noqa: BLE001 (whatever is wrong in the file; what google-auth says of it may quote it)
        raise _KeyFileError(f"a {kind} with fields missing or wrong") from None


def _imported(name: str) -> Any:
    return importlib.import_module(name)


def _closed() -> _TokenServerError:
    return _TokenServerError(Failure.CONNECT_FAILED, _CLOSED)


def _code_of(error: Exception) -> str:
    """OAuth's code of a refusal, which is all that may be told of it."""
    for part in error.args:
        code = part.get("error") if isinstance(part, dict) else None
        if isinstance(code, str) and _CODE.fullmatch(code):
            return code
    return "it was refused"


def _trusting(bundle: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=bundle)
    return context
