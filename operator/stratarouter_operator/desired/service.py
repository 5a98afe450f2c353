"""The two Services: one for callers, one for whoever watches the pods."""

from __future__ import annotations

from stratarouter_operator.cluster import PLATFORM_PORT, SERVICE, Manifest
from stratarouter_operator.release import Release

from .base import HTTP_PORT, PLATFORM, Owner, manifest, match_labels


def service(release: Release, owner: Owner) -> Manifest:
    """``NAME``: port 8080 and nothing else; the platform port is not for callers."""
    ports = [{"name": "http", "port": HTTP_PORT, "targetPort": "http", "protocol": "TCP"}]
    return manifest(SERVICE, release, owner, body={"spec": {"selector": match_labels(release.name), "ports": ports}})


def platform_service(release: Release, owner: Owner) -> Manifest:
    """``NAME-platform``: headless, so that each pod is scraped, the ones that are not ready too."""
    ports = [{"name": "platform", "port": PLATFORM_PORT, "targetPort": "platform", "protocol": "TCP"}]
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": match_labels(release.name), "ports": ports}
    return manifest(SERVICE, release, owner, name=f"{release.name}-platform", component=PLATFORM, body={"spec": spec})
