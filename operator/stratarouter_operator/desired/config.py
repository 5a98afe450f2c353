"""The ConfigMap that hands the configuration to the pods and remembers it for the operator."""

from __future__ import annotations

from stratarouter_operator.cluster import CONFIG_MAP, Manifest
from stratarouter_operator.release import SHAPE_FILE, SNAPSHOT_FILE, Release

from .base import Owner, config_map_name, manifest


def config_map(release: Release, owner: Owner) -> Manifest:
    """``snapshot.yaml`` for the pods, ``shape.yaml`` for the operator: one generation, whole."""
    data = {SNAPSHOT_FILE: release.snapshot.decode(), SHAPE_FILE: release.shape.decode()}
    return manifest(CONFIG_MAP, release, owner, name=config_map_name(release.name), body={"data": data})
