"""The Deployment: the pods and all they are allowed to be.

The pods satisfy the restricted Pod Security level, have no API token, write nowhere but ``/tmp``, and see Secrets as
optional volumes: one that is missing keeps no pod from starting, and the pod says so itself.
"""

from __future__ import annotations

from typing import Any

from stratarouter_operator.cluster import DEPLOYMENT, PLATFORM_PORT, Manifest
from stratarouter_operator.release import SNAPSHOT_FILE, Release
from stratarouter_runtime.config import Template

from .base import (
    HTTP_PORT,
    ROLL_HASH,
    TEMPLATE_HASH,
    Options,
    Owner,
    config_map_name,
    digest_of,
    manifest,
    match_labels,
    pod_labels,
    service_account_name,
)

CONTAINER = "runtime"
CONFIG_FOLDER = "/etc/stratarouter/config"
SECRETS_FOLDER = "/etc/stratarouter/secrets"
USER = 65532
DEFAULT_RESOURCES: Manifest = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}


def deployment(release: Release, owner: Owner, options: Options) -> Manifest:
    """All pods of a release; a change of the template replaces them without one being missing meanwhile."""
    spec = {
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": match_labels(release.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "template": _template(release, options),
    }
    return manifest(DEPLOYMENT, release, owner, body={"spec": spec})


def _template(release: Release, options: Options) -> Manifest:
    settings = release.runtime.template
    annotations = {**settings.annotations, ROLL_HASH: release.roll_hash}
    template: Manifest = {
        "metadata": {"labels": pod_labels(release.name), "annotations": annotations},
        "spec": {
            "serviceAccountName": service_account_name(release.name),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": release.runtime.server.termination_grace_seconds,
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [_container(release, options)],
            "volumes": _volumes(release),
            **_placement(settings, release.name),
        },
    }
    annotations[TEMPLATE_HASH] = digest_of(template)
    return template


def _container(release: Release, options: Options) -> Manifest:
    settings = release.runtime.template
    return {
        "name": CONTAINER,
        "image": settings.image or options.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["strata-runtime"],
        "args": ["serve", "--config", CONFIG_FOLDER, "--secrets", SECRETS_FOLDER, "--host", "0.0.0.0",
                 "--port", str(HTTP_PORT), "--platform-port", str(PLATFORM_PORT)],
        "env": [_field("POD_NAME", "metadata.name"), _field("POD_NAMESPACE", "metadata.namespace"), _field("POD_UID", "metadata.uid")],
        "ports": [{"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
                  {"name": "platform", "containerPort": PLATFORM_PORT, "protocol": "TCP"}],
        "resources": settings.resources or DEFAULT_RESOURCES,
        # Start-up loads a local model; until it is over, the liveness probe waits.
        "startupProbe": _probe("/healthz", periodSeconds=1, failureThreshold=120),
        "livenessProbe": _probe("/healthz", periodSeconds=10, failureThreshold=6, timeoutSeconds=5),
        "readinessProbe": _probe("/readyz", periodSeconds=2, failureThreshold=3, timeoutSeconds=2),
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  (the pod's own empty volume)
            *({"name": _volume_name(secret), "mountPath": f"{SECRETS_FOLDER}/{secret}", "readOnly": True}
              for secret in release.secrets),
        ],
    }


def _volumes(release: Release) -> list[Manifest]:
    # Only the snapshot: the pods hash what they see, and the shape is not their business.
    items = [{"key": SNAPSHOT_FILE, "path": SNAPSHOT_FILE}]
    return [
        {"name": "config", "configMap": {"name": config_map_name(release.name), "items": items}},
        {"name": "tmp", "emptyDir": {}},
        *({"name": _volume_name(secret), "secret": {"secretName": secret, "optional": True, "defaultMode": 0o440}}
          for secret in release.secrets),
    ]


def _placement(settings: Template, name: str) -> Manifest:
    """What of the template passes through; empty values are left out, as the API server leaves them out."""
    spread = [{"labelSelector": {"matchLabels": match_labels(name)}, **each} for each in settings.topology_spread_constraints]
    placed: dict[str, Any] = {
        "nodeSelector": settings.node_selector,
        "tolerations": list(settings.tolerations),
        "affinity": settings.affinity,
        "topologySpreadConstraints": spread,
    }
    return {key: value for key, value in placed.items() if value}


def _volume_name(secret: str) -> str:
    # A Secret's name can be longer than a volume's, and have dots.
    return f"secret-{digest_of(secret)}"


def _field(name: str, path: str) -> Manifest:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _probe(path: str, **settings: int) -> Manifest:
    return {"httpGet": {"path": path, "port": "platform"}, **settings}
