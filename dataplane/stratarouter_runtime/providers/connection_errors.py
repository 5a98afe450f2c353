"""What can go wrong on the way to a vendor and back, as our errors.

Invariant: no text of the network library reaches a message: it names hosts and addresses.
"""

from __future__ import annotations

import errno
import socket

import aiohttp

from stratarouter_runtime.model.errors import Failure, Phase, ProviderError

NETWORK_ERRORS = (aiohttp.ClientError, OSError, TimeoutError)
"""All that aiohttp raises for a call that was well formed."""


def not_answered(error: Exception) -> ProviderError:
    """The call failed before there was a status."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _unreachable(f"the proxy answered with status {error.status}")
    for kinds, why in _UNREACHABLE:
        if isinstance(error, kinds):
            return _unreachable(why)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unreachable(_reason(error.os_error))
    for kind, failure, phase, message in _UNANSWERED:
        if isinstance(error, kind):
            return ProviderError(failure, message, phase=phase)
    return ProviderError(Failure.CONNECTION_LOST, "the connection was lost before the provider answered", phase=Phase.HEADERS)


_UNREACHABLE: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError, aiohttp.ServerFingerprintMismatch), "TLS failed"),
    ((aiohttp.ClientConnectorDNSError, aiohttp.InvalidURL), "its name does not resolve"),
    ((aiohttp.ClientProxyConnectionError,), "the proxy cannot be reached"))
_UNANSWERED: tuple[tuple[type[Exception], Failure, Phase, str], ...] = (
    (aiohttp.ConnectionTimeoutError, Failure.TIMEOUT, Phase.CONNECT, "connecting to the provider took too long"),
    (TimeoutError, Failure.TIMEOUT, Phase.HEADERS, "the provider did not answer in time"),
    (aiohttp.ClientResponseError, Failure.BAD_RESPONSE, Phase.HEADERS, "the provider's answer is not valid HTTP"))
"""Most specific first."""


def not_finished(error: Exception, phase: Phase) -> ProviderError:
    """The answer had begun and did not end."""
    if isinstance(error, TimeoutError):
        return ProviderError(Failure.TIMEOUT, "the provider's answer took too long", phase=phase)
    return ProviderError(Failure.TRUNCATED, "the connection was lost before the provider's answer was complete", phase=phase)


def _unreachable(why: str) -> ProviderError:
    return ProviderError(Failure.CONNECT_FAILED, f"the provider cannot be reached: {why}", phase=Phase.CONNECT)


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its name does not resolve"
    return errno.errorcode.get(error.errno or 0, "connecting failed")
