"""Everything that can go wrong with a request, and what must be done about it.

    StrataError
    ├── RequestError      the caller's fault: 4xx, never retried
    ├── ProviderError     one attempt at one candidate failed; ``failure`` decides what happens next
    └── ExecutionError    the request as a whole failed although it was in order

Invariants: ``reason`` is CamelCase and is the metric's label, the log's field and (in snake case) the client's
``code``; a message never holds a key, a URL with credentials, or a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from .plan import Attempt

_CAMEL = re.compile(r"(?<!^)(?=[A-Z])")


def code_of(reason: str) -> str:
    """A reason as the ``code`` of an error body: ``ModelNotFound`` is ``model_not_found``."""
    return _CAMEL.sub("_", reason).lower()


class StrataError(Exception):
    """Base of all errors that reach a caller.

    ``status`` is the HTTP status, ``type`` and ``param`` are OpenAI's fields of an error body,
    ``retry_after`` is in seconds; ``attempts`` tells what was tried before it was raised, ``execution_id`` of which
    execution (empty before there is one).
    """

    def __init__(self, reason: str, message: str, *, status: int, type: str = "server_error",  # noqa: A002 (OpenAI's name)
                 param: str | None = None, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status
        self.type = type
        self.param = param
        self.code = code_of(reason) if code is None else code
        self.retry_after = retry_after
        self.attempts: tuple[Attempt, ...] = ()
        self.execution_id = ""

    def kept(self) -> Self:
        """The same, to be kept with its request: without the frames it passed.

        Those hold the request, so that together they would stay in memory, a large answer's bytes among them, until the
        garbage collector comes by.
        """
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self


class RequestError(StrataError):
    """The caller's request cannot be served as it is."""

    def __init__(self, reason: str, message: str, *, status: int = 400, type: str = "invalid_request_error",  # noqa: A002
                 param: str | None = None, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(reason, message, status=status, type=type, param=param, code=code, retry_after=retry_after)


class ExecutionError(StrataError):
    """No candidate answered."""

    def __init__(self, reason: str, message: str, *, status: int, retry_after: float | None = None,
                 attempts: tuple[Attempt, ...] = ()) -> None:
        kind = "rate_limit_error" if status == 429 else "server_error"
        super().__init__(reason, message, status=status, type=kind, retry_after=retry_after)
        self.attempts = attempts


class Phase(Enum):
    """How far an attempt had come when it failed."""

    CONNECT = "connect"      # nothing was sent
    HEADERS = "headers"      # sent, no status yet
    BODY = "body"            # status known, no content forwarded
    STREAM = "stream"        # content had been forwarded


class Failure(StrEnum):
    """Why an attempt failed; each has exactly one ``Treatment``."""

    CONNECT_FAILED = "ConnectFailed"
    CONNECTION_LOST = "ConnectionLost"
    TIMEOUT = "Timeout"
    RATE_LIMITED = "RateLimited"
    OVERLOADED = "Overloaded"
    SERVER_ERROR = "ServerError"
    CONFLICT = "Conflict"
    BAD_RESPONSE = "BadResponse"
    TRUNCATED = "Truncated"
    UNAUTHORIZED = "ProviderUnauthorized"
    NOT_FOUND = "ProviderNotFound"
    QUOTA_EXHAUSTED = "QuotaExhausted"
    CREDENTIALS_MISSING = "CredentialsMissing"
    CONTEXT_LENGTH = "ContextLengthExceeded"
    CONTENT_POLICY = "ContentPolicyViolation"
    INVALID_REQUEST = "InvalidRequest"


@dataclass(frozen=True, slots=True)
class Treatment:
    """What the engine does about a failure.

    ``retry``: the same candidate may be tried again later. ``failover``: another candidate may be tried.
    ``client``: the caller caused it and gets the vendor's own status. ``unhealthy``: it speaks against the
    candidate's health (the breaker counts it). ``degraded``: the operator must be told: our configuration is wrong.
    """

    retry: bool = False
    failover: bool = True
    client: bool = False
    unhealthy: bool = True
    degraded: bool = False


_TRANSIENT = Treatment(retry=True)
_MISCONFIGURED = Treatment(unhealthy=False, degraded=True)

TREATMENTS: Mapping[Failure, Treatment] = MappingProxyType({
    Failure.CONNECT_FAILED: _TRANSIENT,
    Failure.CONNECTION_LOST: _TRANSIENT,
    Failure.TIMEOUT: _TRANSIENT,
    Failure.RATE_LIMITED: Treatment(retry=True, unhealthy=False),
    Failure.OVERLOADED: _TRANSIENT,
    Failure.SERVER_ERROR: _TRANSIENT,
    Failure.CONFLICT: Treatment(retry=True, unhealthy=False),
    Failure.BAD_RESPONSE: _TRANSIENT,
    Failure.TRUNCATED: _TRANSIENT,
    Failure.UNAUTHORIZED: _MISCONFIGURED,
    Failure.NOT_FOUND: _MISCONFIGURED,
    Failure.QUOTA_EXHAUSTED: _MISCONFIGURED,
    Failure.CREDENTIALS_MISSING: _MISCONFIGURED,
    # Another model may have a larger window, so it is worth another candidate though the caller caused it.
    Failure.CONTEXT_LENGTH: Treatment(client=True, unhealthy=False),
    Failure.CONTENT_POLICY: Treatment(failover=False, client=True, unhealthy=False),
    Failure.INVALID_REQUEST: Treatment(failover=False, client=True, unhealthy=False),
})
"""The one table of what is retried and what is failed over."""


class ProviderError(StrataError):
    """One attempt failed.

    ``status`` is the vendor's (502 where it sent none), ``message`` the vendor's own, with keys and URLs removed;
    ``retry_after`` in seconds as the vendor asked.
    """

    def __init__(self, failure: Failure, message: str, *, phase: Phase, status: int = 502, type: str = "server_error",  # noqa: A002
                 param: str | None = None, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(failure.value, message, status=status, type=type, param=param, code=code, retry_after=retry_after)
        self.failure = failure
        self.phase = phase

    @property
    def treatment(self) -> Treatment:
        """What the engine does about it."""
        return TREATMENTS[self.failure]
