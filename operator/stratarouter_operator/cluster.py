"""What the operator needs of a cluster: the kinds it handles, and the calls it makes.

Invariants: the table of kinds is fixed, there is no discovery; every write names the incarnation it means, so that an
object deleted and made again meanwhile is never mistaken for the one that was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from stratarouter_runtime.config import GROUP

Manifest = dict[str, Any]
"""An object as JSON has it."""

MANAGER = "stratarouter-operator"
"""Field manager, and the value of ``app.kubernetes.io/managed-by``."""

INSTANCE_LABEL = "app.kubernetes.io/instance"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
COMPONENT_LABEL = "app.kubernetes.io/component"

PLATFORM_PORT = 9090


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object and where the API server keeps it; all are namespaced."""

    group: str
    version: str
    plural: str
    name: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_path(self) -> str:
        """URL path of its group and version."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path; without ``namespace`` the collection of all namespaces."""
        parts = [self.group_path]
        parts += [f"namespaces/{namespace}"] if namespace else []
        parts += [self.plural, *(part for part in (name, subresource) if part)]
        return "/".join(parts)


RUNTIME_CONFIG = Kind(GROUP, "v1alpha1", "runtimeconfigs", "RuntimeConfig")
PROVIDER_POOL = Kind(GROUP, "v1alpha1", "providerpools", "ProviderPool")
POD = Kind("", "v1", "pods", "Pod")
SERVICE = Kind("", "v1", "services", "Service")
SERVICE_ACCOUNT = Kind("", "v1", "serviceaccounts", "ServiceAccount")
CONFIG_MAP = Kind("", "v1", "configmaps", "ConfigMap")
DEPLOYMENT = Kind("apps", "v1", "deployments", "Deployment")
DISRUPTION_BUDGET = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
SERVICE_MONITOR = Kind("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor")
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease")

OWNED: tuple[Kind, ...] = (SERVICE_ACCOUNT, CONFIG_MAP, SERVICE, DISRUPTION_BUDGET, DEPLOYMENT)
"""Kinds of which each RuntimeConfig has its own, in the order they are written: the pods' needs before the pods."""

BY_NAME: Mapping[str, Kind] = {
    kind.name: kind for kind in (RUNTIME_CONFIG, PROVIDER_POOL, POD, *OWNED, SERVICE_MONITOR, LEASE)}


class KubeApi(Protocol):
    """The calls. All raise the ``KubeError`` tree; answers are plain JSON objects."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """One object."""

    async def find(self, kind: Kind, namespace: str | None, *, labels: Mapping[str, str] | None = None) -> list[Manifest]:
        """All objects of a kind with these labels."""

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server knows the kind; asks its discovery for this one group and version."""

    async def create(self, kind: Kind, namespace: str, body: Manifest, *, dry_run: bool = False) -> Manifest:
        """Make an object that must not exist yet."""

    async def apply(self, kind: Kind, namespace: str, body: Manifest, *, dry_run: bool = False) -> Manifest:
        """Server-side apply as ``MANAGER``, forced; ``body`` carries the UID of the object it means."""

    async def adopt(self, kind: Kind, namespace: str, live: Manifest, managed_fields: list[Manifest]) -> Manifest:
        """Replace the record of who owns which field, unless the object has changed since ``live``."""

    async def replace(self, kind: Kind, namespace: str, body: Manifest) -> Manifest:
        """Put an object in place of the one with the same ``resourceVersion``."""

    async def apply_status(self, kind: Kind, namespace: str, body: Manifest) -> Manifest:
        """Server-side apply of the status alone.

        It means the ``resourceVersion`` that ``body`` carries and raises ``Conflict`` for any other: at the status, the
        API server does not compare UIDs.
        """

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> None:
        """Write the scale subresource."""

    async def annotate(self, kind: Kind, namespace: str, name: str, uid: str, annotations: Mapping[str, str]) -> Manifest:
        """Set annotations of the incarnation ``uid``; raises ``Conflict`` where it is another one."""

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete the incarnation ``uid``, what it owns in the background; an absent one is no error."""

    async def platform(self, pod: Manifest, path: str) -> Manifest:
        """GET a JSON object from a pod's platform port; raises ``Unreachable``."""


def metadata(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object's metadata."""
    found: Mapping[str, Any] = manifest["metadata"]
    return found


def status_body(live: Mapping[str, Any], status: Manifest) -> Manifest:
    """What ``apply_status`` takes for an object as it was read."""
    meta = {key: metadata(live)[key] for key in ("name", "namespace", "resourceVersion")}
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": meta, "status": status}


def name_of(manifest: Mapping[str, Any]) -> str:
    """The object's name."""
    return str(metadata(manifest)["name"])


def uid_of(manifest: Mapping[str, Any]) -> str:
    """The object's UID; empty for one that is not stored yet."""
    return str(metadata(manifest).get("uid", ""))


def labels_of(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    """The object's labels."""
    return metadata(manifest).get("labels") or {}


def annotations_of(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    """The object's annotations."""
    return metadata(manifest).get("annotations") or {}


def controller_uid(manifest: Mapping[str, Any]) -> str | None:
    """UID of the object that controls this one."""
    owners = metadata(manifest).get("ownerReferences") or ()
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), None)


def selector(name: str) -> dict[str, str]:
    """Labels that all objects of the RuntimeConfig ``name`` carry."""
    return {INSTANCE_LABEL: name, MANAGED_BY_LABEL: MANAGER}
