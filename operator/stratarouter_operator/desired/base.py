"""What all manifests share: names, labels, the owner, and the digest of themselves."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from stratarouter_operator.cluster import COMPONENT_LABEL, RUNTIME_CONFIG, Kind, Manifest, selector
from stratarouter_operator.release import Release
from stratarouter_runtime.config import contract_digest

MANIFEST_HASH = "stratarouter.io/manifest-hash"
"""Annotation: digest of the manifest as it was last applied. A field that is no longer wanted shows here alone."""

TEMPLATE_HASH = "stratarouter.io/template-hash"
"""Annotation of a pod: digest of the template it was made from."""

ROLL_HASH = "stratarouter.io/roll-hash"
"""Annotation of a pod: digest of the settings that need new pods."""

NAME_LABEL = "app.kubernetes.io/name"
PRODUCT = "stratarouter-runtime"
DATAPLANE = "dataplane"
PLATFORM = "platform"

HTTP_PORT = 8080


@dataclass(frozen=True, slots=True)
class Owner:
    """The RuntimeConfig that owns everything here."""

    name: str
    uid: str

    def reference(self) -> Manifest:
        """The controller reference; it blocks no deletion, so that no rights on finalizers are needed."""
        return {"apiVersion": RUNTIME_CONFIG.api_version, "kind": RUNTIME_CONFIG.name, "name": self.name, "uid": self.uid,
                "controller": True}


@dataclass(frozen=True, slots=True)
class Options:
    """What a manifest depends on besides the release."""

    image: str
    """Image of the data plane where the release names none."""

    service_monitors: bool
    """Whether the cluster has the Prometheus Operator's API."""


def config_map_name(name: str) -> str:
    """The ConfigMap of this version of the contract: pods of another version keep theirs until they are gone."""
    return f"{name}-config-{contract_digest()}"


def service_account_name(name: str) -> str:
    """Not the bare name: every namespace has a ServiceAccount ``default`` already."""
    return f"{name}-runtime"


def pod_labels(name: str) -> dict[str, str]:
    """Labels of the pods; also of what selects them."""
    return {NAME_LABEL: PRODUCT, COMPONENT_LABEL: DATAPLANE, **selector(name)}


def match_labels(name: str) -> dict[str, str]:
    """Immutable in a Deployment: what tells these pods from all others, and nothing that could ever change."""
    labels = pod_labels(name)
    return {key: labels[key] for key in sorted(labels)}


def digest_of(value: Any) -> str:
    """Ten hex digits of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:10]


def manifest(kind: Kind, release: Release, owner: Owner, *, name: str | None = None, component: str = DATAPLANE,
             labels: dict[str, str] | None = None, body: Manifest) -> Manifest:
    """A complete object with metadata and the digest of itself."""
    made: Manifest = {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "name": name or release.name,
            "namespace": release.namespace,
            "labels": {**(labels or {}), **pod_labels(release.name), COMPONENT_LABEL: component},
            "ownerReferences": [owner.reference()],
        },
        **body,
    }
    made["metadata"]["annotations"] = {MANIFEST_HASH: digest_of(made)}
    return made
