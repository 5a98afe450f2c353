"""Pods as the operator sees them: what Kubernetes says of one, and what it says of itself.

Pure. Invariant: an answer counts only from the pod that was meant: another UID at the same address is no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .cluster import Manifest, annotations_of, metadata
from .desired import TEMPLATE_HASH
from .errors import Unreachable

TOUCH = "stratarouter.io/config-touch"
"""Annotation whose change makes the kubelet look after a pod's volumes at once."""

STATES = ("Healthy", "Degraded", "Unavailable")
"""Of a provider, from best to worst."""

CREDENTIAL_REASONS = frozenset({"ProviderUnauthorized", "CredentialsMissing"})
"""Reasons of a provider's state that a rotated Secret can heal."""


@dataclass(frozen=True, slots=True)
class ProviderState:
    """A provider as one pod finds it."""

    pool: str
    name: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A Secret's key that a pod needs and does not find."""

    secret: str
    key: str
    used_by: str

    def __str__(self) -> str:
        what = f"key {self.key} of Secret {self.secret}" if self.key else f"Secret {self.secret}"
        return f"{what} (for {self.used_by})" if self.used_by else what


@dataclass(frozen=True, slots=True)
class Report:
    """What a pod answers on ``/config``."""

    hash: str
    rejected_hash: str = ""
    error: str = ""
    providers: tuple[ProviderState, ...] = ()
    missing: tuple[Missing, ...] = ()
    entries: int = 0
    hits: int = 0
    misses: int = 0

    @property
    def wants_secrets(self) -> bool:
        """Whether a Secret that comes or changes would help."""
        refused = any(each.state != STATES[0] and each.reason in CREDENTIAL_REASONS for each in self.providers)
        return bool(self.missing) or refused


def read_report(answer: Mapping[str, Any], uid: str) -> Report:
    """A pod's answer; raises ``Unreachable`` where it is another pod's, or not of the form that was agreed on."""
    try:
        if answer["podUid"] != uid:
            raise Unreachable("AnotherPod", "another pod answers at its address")
        error, cache = answer.get("lastError") or {}, answer.get("cache") or {}
        return Report(
            hash=str(answer["hash"] or ""),
            rejected_hash=str(error.get("hash") or ""),
            error=": ".join(str(error[key]) for key in ("reason", "message") if error.get(key)),
            providers=tuple(
                ProviderState(str(each["pool"]), str(each["name"]), _state(each["state"]), str(each.get("reason") or ""))
                for each in answer.get("providers") or ()),
            missing=tuple(
                Missing(str(each["secret"]), str(each.get("key") or ""), str(each.get("usedBy") or ""))
                for each in answer.get("missingSecrets") or ()),
            entries=int(cache.get("entries") or 0), hits=int(cache.get("hits") or 0), misses=int(cache.get("misses") or 0))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreachable("PlatformPortUnreachable", f"/config answers in another form: {error!r}") from None


def _state(value: Any) -> str:
    return value if value in STATES else STATES[-1]


def is_terminating(pod: Manifest) -> bool:
    """Whether it is on its way out."""
    return "deletionTimestamp" in metadata(pod) or pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def is_running(pod: Manifest) -> bool:
    """Whether it can be asked anything."""
    status = pod.get("status", {})
    return not is_terminating(pod) and status.get("phase") == "Running" and bool(status.get("podIP"))


def is_ready(pod: Manifest) -> bool:
    """Whether Services send callers to it."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return not is_terminating(pod) and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def template_of(pod: Manifest) -> str:
    """Digest of the template it was made from."""
    return annotations_of(pod).get(TEMPLATE_HASH, "")


def next_touch(pod: Manifest, config_hash: str) -> str:
    """A value that differs from what the annotation has, whoever counted before."""
    last = annotations_of(pod).get(TOUCH, "").rpartition("-")[2]
    return f"{config_hash[:12]}-{int(last) + 1 if last.isdigit() else 1}"
