"""Values of Secrets, from manifests or from mounted folders.

Invariants: a value never appears in a ``repr`` or an error; a missing Secret or key is ``None``, never an exception,
because it can appear later; mounted values are read when asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from .base import SecretKeyRef

SecretData = Mapping[str, Mapping[str, bytes]]
"""Secret name to key to value."""

MAX_VALUE = 1024 * 1024
"""Kubernetes keeps Secrets below 1 MiB."""


class Secrets(Protocol):
    """Where values of Secrets come from."""

    def keys(self, secret: str) -> tuple[str, ...] | None:
        """Keys of a Secret in sorted order; None where it does not exist."""

    def read(self, secret: str, key: str) -> bytes | None:
        """A value; None where Secret or key do not exist or cannot be read."""


class StaticSecrets:
    """Secrets out of manifests."""

    def __init__(self, data: SecretData | None = None) -> None:
        self._data = data or {}

    def __repr__(self) -> str:
        return f"StaticSecrets({sorted(self._data)})"

    def keys(self, secret: str) -> tuple[str, ...] | None:
        values = self._data.get(secret)
        return None if values is None else tuple(sorted(values))

    def read(self, secret: str, key: str) -> bytes | None:
        return self._data.get(secret, {}).get(key)


class MountedSecrets:
    """Secrets as volumes: ``root/<secret>/<key>``; what is not there is looked up in ``fallback``."""

    def __init__(self, root: Path, fallback: Secrets | None = None) -> None:
        self._root = root
        self._fallback = fallback or StaticSecrets()

    def __repr__(self) -> str:
        return f"MountedSecrets({str(self._root)!r})"

    def keys(self, secret: str) -> tuple[str, ...] | None:
        try:
            # Dot entries are the kubelet's own bookkeeping (`..data` and its timestamped folder).
            found = tuple(sorted(each.name for each in (self._root / secret).iterdir() if not each.name.startswith("..")))
        except OSError:
            return self._fallback.keys(secret)
        # An optional volume of a Secret that does not exist is an empty folder.
        return found or self._fallback.keys(secret)

    def read(self, secret: str, key: str) -> bytes | None:
        try:
            with (self._root / secret / key).open("rb") as file:
                return file.read(MAX_VALUE)
        except OSError:
            return self._fallback.read(secret, key)


def capture(secrets: Secrets, names: Iterable[str]) -> StaticSecrets:
    """The values of the named Secrets as they are now, so that requests read no files."""
    data: dict[str, dict[str, bytes]] = {}
    for name in names:
        keys = secrets.keys(name)
        if keys is not None:
            data[name] = {key: value for key in keys if (value := secrets.read(name, key)) is not None}
    return StaticSecrets(data)


def text(secrets: Secrets, reference: SecretKeyRef) -> str | None:
    """The value a reference names, as text without surrounding white space; None where missing, empty or not UTF-8."""
    value = secrets.read(reference.name, reference.key)
    try:
        return (value or b"").decode().strip() or None
    except UnicodeDecodeError:
        return None
