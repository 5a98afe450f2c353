"""What can go wrong in the operator, named by what the caller must do about it.

    OperatorError
    ├── KubeError             a call to the API server failed
    │   ├── NotFound          the object, or its kind, is not there
    │   ├── Conflict          somebody else was faster, or it is another incarnation: read again
    │   │   └── AlreadyExists the name is taken
    │   ├── Forbidden         not allowed: permissions, quota or an admission policy
    │   ├── Invalid           the object is refused as it is; the same object will be refused again
    │   └── Unavailable       time-outs, overload, a server that is away: try again later
    ├── Unreachable           a pod's platform port did not answer as it should
    ├── Refused               a user's configuration cannot be run; becomes ``Accepted=False``
    └── LeadershipLost        another operator may be at work: write nothing more

Invariants: ``reason`` is CamelCase and becomes the condition's reason or the metric's label; no message holds a token.
"""

# ruff: noqa: N818  (the names say what happened, as HTTP does; the base says that they are errors)
from __future__ import annotations


class OperatorError(Exception):
    """Base of all errors of the operator."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class KubeError(OperatorError):
    """A call to the API server failed; ``status`` is HTTP's, 0 where there was no answer."""

    def __init__(self, reason: str, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(reason, message)
        self.status = status
        self.retry_after = retry_after


class NotFound(KubeError):
    """The object or its kind does not exist."""


class Conflict(KubeError):
    """The object is not the one that was read."""


class AlreadyExists(Conflict):
    """An object of this name exists."""


class Forbidden(KubeError):
    """Permissions, a quota or an admission policy say no."""


class Invalid(KubeError):
    """The API server refuses the object as it is."""


class Unavailable(KubeError):
    """The API server cannot answer now."""


class Unreachable(OperatorError):
    """A pod's platform port did not answer, or not with what a data plane answers."""


class Refused(OperatorError):
    """A configuration that cannot be run; ``reason`` and ``message`` go into ``Accepted``."""


class LeadershipLost(OperatorError):
    """The Lease is no longer surely ours."""
