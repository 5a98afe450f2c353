"""Configuration on disk: the resources as YAML, and the Secrets beside them.

Invariants: only regular YAML files are read, in sorted order, up to a size; the digest covers the exact bytes read,
so that for a single file it is the SHA-256 of that file; errors name the file.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError
from .secrets import SecretData
from .snapshot import Snapshot, digest, select

MAX_BYTES = 8 * 1024 * 1024
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read from disk: the snapshot, and the Secrets that lay beside it."""

    snapshot: Snapshot
    secrets: SecretData


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a configuration, before anybody knows whether they are valid."""

    files: tuple[tuple[Path, bytes], ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all bytes in order."""
        return digest(b"".join(content for _, content in self.files))

    def load(self, *, name: str | None = None) -> Loaded:
        """Validate; raises ``ConfigError`` that names the file or the field."""
        documents = [document for path, content in self.files for document in _documents(path, content)]
        snapshot = select(documents, name=name, digest=self.digest)
        return Loaded(snapshot, _secrets(documents, snapshot.namespace))


def read(paths: Iterable[str | Path]) -> Content:
    """Read files and folders; raises ``ConfigError`` that names the one that cannot be read."""
    return Content(tuple((path, _content(path)) for each in paths for path in _files(Path(each))))


def load(paths: Iterable[str | Path], *, name: str | None = None) -> Loaded:
    """Read and validate resources from files and folders."""
    return read(paths).load(name=name)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.suffix in (".yaml", ".yml") and not each.name.startswith("."))
        if not found:
            raise ConfigError("FileNotFound", f"{path}: the folder has no .yaml file")
        return found
    return [path]


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError("FileNotFound", f"{path}: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError("FileTooLarge", f"{path}: larger than {MAX_BYTES} bytes")
    return content


def _documents(path: Path, content: bytes) -> list[Mapping[str, Any]]:
    try:
        # A safe loader: it builds plain values only.
        documents = [each for each in yaml.load_all(content, Loader=_LOADER) if each is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a date that is none
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigError("InvalidYaml", f"{path}:{where} {getattr(error, 'problem', None) or 'not YAML'}") from None
    for document in documents:
        if not isinstance(document, Mapping):
            raise ConfigError("InvalidYaml", f"{path}: each document must be a mapping")
    return documents


def _secrets(documents: Iterable[Mapping[str, Any]], namespace: str) -> SecretData:
    secrets: dict[str, dict[str, bytes]] = {}
    for document in documents:
        metadata = document.get("metadata")
        if document.get("apiVersion") != "v1" or document.get("kind") != "Secret" or not isinstance(metadata, Mapping):
            continue
        if str(metadata.get("namespace") or "default") != namespace:
            continue
        secrets.setdefault(str(metadata.get("name") or ""), {}).update(_secret(str(metadata.get("name")), document))
    return secrets


def _secret(name: str, document: Mapping[str, Any]) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    data, plain = document.get("data") or {}, document.get("stringData") or {}
    for field, given in (("data", data), ("stringData", plain)):
        if not isinstance(given, Mapping):
            raise ConfigError("InvalidSecret", f"Secret/{name}: {field}: must be a mapping")
    for key, encoded in data.items():
        try:
            values[str(key)] = base64.b64decode(str(encoded), validate=True)
        except (binascii.Error, ValueError):
            raise ConfigError("InvalidSecret", f"Secret/{name}: data.{key}: not base64") from None
    values.update({str(key): str(value).encode() for key, value in plain.items()})
    return values
