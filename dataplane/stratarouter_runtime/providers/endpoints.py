"""From what a user writes as an endpoint to what paths are appended to.

A vendor's SDK takes a base URL that ends in its API's version; whether a user includes that must not matter.
"""

from __future__ import annotations

import re

from yarl import URL

_VERSION = re.compile(r"/v\d+[a-z0-9]*$")


def versioned(endpoint: str, version: str = "v1") -> str:
    """With the version at its end, added where no version is there: never doubled."""
    base = endpoint.rstrip("/")
    return base if _VERSION.search(base) else f"{base}/{version}"


def versioned_host(endpoint: str, version: str = "v1") -> str:
    """As ``versioned``, but an endpoint with a path of its own is taken as it is (``/v1beta/openai``)."""
    base = endpoint.rstrip("/")
    return base if URL(base).path.strip("/") else versioned(base, version)


def root(endpoint: str) -> str:
    """Without a version or ``/api`` at its end: the server's own root, for one that has several APIs under it."""
    return _VERSION.sub("", endpoint.rstrip("/")).removesuffix("/api")


def of_version(endpoint: str, version: str) -> str:
    """With exactly this version at its end, whichever one was there: for vendors whose versions are different APIs."""
    return f"{_VERSION.sub('', endpoint.rstrip('/'))}/{version}"
