"""The Prometheus Operator's ServiceMonitor."""

from __future__ import annotations

from stratarouter_operator.cluster import COMPONENT_LABEL, SERVICE_MONITOR, Manifest, selector
from stratarouter_operator.release import Release

from .base import PLATFORM, Options, Owner, manifest


def service_monitor(release: Release, owner: Owner, options: Options) -> Manifest | None:
    """Scrapes ``NAME-platform`` and nothing else; none where that API does not exist or it is switched off."""
    observability = release.runtime.observability
    if not (options.service_monitors and observability.metrics and observability.service_monitor.enabled):
        return None
    spec = {
        "selector": {"matchLabels": {**selector(release.name), COMPONENT_LABEL: PLATFORM}},
        "endpoints": [{"port": "platform", "path": "/metrics", "interval": observability.service_monitor.interval}],
    }
    return manifest(SERVICE_MONITOR, release, owner, component=PLATFORM, labels=dict(observability.service_monitor.labels),
                    body={"spec": spec})
