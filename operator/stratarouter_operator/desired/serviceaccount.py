"""The pods' identity: it can do nothing, and its token is not mounted."""

from __future__ import annotations

from stratarouter_operator.cluster import SERVICE_ACCOUNT, Manifest
from stratarouter_operator.release import Release

from .base import Owner, manifest, service_account_name


def service_account(release: Release, owner: Owner) -> Manifest:
    """A ServiceAccount of its own, so that a cluster's policies can name these pods."""
    return manifest(SERVICE_ACCOUNT, release, owner, name=service_account_name(release.name),
                    body={"automountServiceAccountToken": False})
