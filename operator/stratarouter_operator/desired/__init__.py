"""What should be there: a release in, manifests out.

Pure: the same release, owner and options give the same manifests, byte for byte. Invariants: each manifest names its
owner and carries our labels and a digest of itself, so that a later version sees what it would change; ``replicas``
is in none of them, because the scale subresource is who writes it; nothing is set that the API server would drop.
"""

from __future__ import annotations

from stratarouter_operator.cluster import Manifest
from stratarouter_operator.release import Release

from .base import MANIFEST_HASH, TEMPLATE_HASH, Options, Owner, config_map_name, pod_labels
from .config import config_map
from .deployment import deployment
from .disruption import disruption_budget
from .monitoring import service_monitor
from .service import platform_service, service
from .serviceaccount import service_account

__all__ = ["MANIFEST_HASH", "TEMPLATE_HASH", "Options", "Owner", "config_map_name", "desired", "pod_labels"]


def desired(release: Release, owner: Owner, options: Options) -> list[Manifest]:
    """All objects of a release, in the order in which they are written: the pods' needs before the pods."""
    manifests = [
        service_account(release, owner),
        config_map(release, owner),
        service(release, owner),
        platform_service(release, owner),
        disruption_budget(release, owner),
        deployment(release, owner, options),
        service_monitor(release, owner, options),
    ]
    return [manifest for manifest in manifests if manifest is not None]
