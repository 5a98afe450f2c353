"""The PodDisruptionBudget."""

from __future__ import annotations

from stratarouter_operator.cluster import DISRUPTION_BUDGET, Manifest
from stratarouter_operator.release import Release

from .base import Owner, manifest, match_labels


def disruption_budget(release: Release, owner: Owner) -> Manifest | None:
    """One pod at a time may be evicted; none for a single replica, which it would pin to its node for ever."""
    if release.runtime.replicas <= 1:
        return None
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",  # a pod that serves nobody holds up no node
        "selector": {"matchLabels": match_labels(release.name)},
    }
    return manifest(DISRUPTION_BUDGET, release, owner, body={"spec": spec})
