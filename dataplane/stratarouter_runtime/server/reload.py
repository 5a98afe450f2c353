"""Hot reload: watch the configuration and the Secrets on disk, and hand changes to the runtime.

Invariants: the current configuration keeps serving whatever the new one is; what was refused is shown with its hash
and the reason; a change is looked for by ``stat`` alone (the kubelet swaps a volume's ``..data`` link at once, so a
file is never half written); the event loop does no file I/O.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stratarouter_runtime.config import (
    ConfigError,
    Content,
    MountedSecrets,
    Secrets,
    Snapshot,
    StaticSecrets,
    capture,
    read,
)

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
RETRY_SECONDS = 5.0
"""A configuration that failed for a reason outside of it (a connection, memory) is tried again so often."""

Apply = Callable[[Snapshot, Secrets], Awaitable[None]]
Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A configuration that was not taken, and why."""

    digest: str
    reason: str
    message: str


class ConfigSource:
    """Resources and Secrets on disk."""

    def __init__(self, paths: Iterable[str | Path], *, name: str | None = None, secrets: Path | None = None) -> None:
        self._paths = tuple(Path(path) for path in paths)
        self._name = name
        self._secrets = secrets

    def fingerprint(self) -> Fingerprint:
        """Changes whenever a file does: path, inode, modification time and size of each."""
        return tuple(_stat(path) for path in self._files())

    def read(self) -> Content:
        """The bytes as they are now."""
        return read(self._paths)

    def load(self, content: Content) -> tuple[Snapshot, StaticSecrets]:
        """The validated configuration, and the values of the Secrets it uses; raises ``ConfigError``."""
        loaded = content.load(name=self._name)
        secrets: Secrets = StaticSecrets(loaded.secrets)
        if self._secrets is not None:
            secrets = MountedSecrets(self._secrets, fallback=secrets)
        return loaded.snapshot, capture(secrets, loaded.snapshot.secret_names())

    def _files(self) -> Iterator[str]:
        for path in self._paths:
            yield from _walk(path)
        if self._secrets is not None:
            yield from _walk(self._secrets)


class Reloader:
    """Polls a source and applies what changed."""

    def __init__(self, source: ConfigSource, apply: Apply, *, reloaded: Callable[[bool], None] = lambda _: None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._apply = apply
        self._reloaded = reloaded
        self._clock = clock
        self._seen: Fingerprint = ()
        self._retry_at: float | None = None
        self.rejection: Rejection | None = None

    async def load(self) -> None:
        """Load for the first time; raises ``ConfigError``."""
        self._seen = await asyncio.to_thread(self._source.fingerprint)
        content = await asyncio.to_thread(self._source.read)
        snapshot, secrets = await asyncio.to_thread(self._source.load, content)
        await self._apply(snapshot, secrets)
        self._reloaded(True)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.poll()

    async def poll(self) -> None:
        """Look once, and apply what changed since."""
        seen = await asyncio.to_thread(self._source.fingerprint)
        due = self._retry_at is not None and self._clock() >= self._retry_at
        if seen == self._seen and not due:
            return
        self._seen, self._retry_at = seen, None
        await self._take()

    async def _take(self) -> None:
        digest = ""
        try:
            content = await asyncio.to_thread(self._source.read)
            digest = content.digest
            snapshot, secrets = await asyncio.to_thread(self._source.load, content)
            await self._apply(snapshot, secrets)
        except ConfigError as error:
            self._reject(Rejection(digest, error.reason, str(error)))
        except Exception as error:
            self._retry_at = self._clock() + RETRY_SECONDS
            self._reject(Rejection(digest, "ApplyFailed", f"{type(error).__name__}: the configuration could not be built"))
            logger.debug("building the configuration failed", exc_info=True)
        else:
            self.rejection = None
            self._reloaded(True)
            logger.info("configuration loaded", extra={"config_hash": digest, "generation": snapshot.generation})

    def _reject(self, rejection: Rejection) -> None:
        if rejection != self.rejection:
            logger.error("configuration refused; the last good one keeps serving",
                         extra={"config_hash": rejection.digest, "reason": rejection.reason, "error": rejection.message})
        self.rejection = rejection
        self._reloaded(False)


def _walk(path: Path, depth: int = 2) -> Iterator[str]:
    """The path, and what is in it down to ``depth`` folders, sorted; the kubelet's own ``..`` entries left out."""
    yield str(path)
    try:
        inside = sorted(path.iterdir()) if depth and path.is_dir() else []
    except OSError:  # also is_dir() raises, where a folder above may not be searched
        return
    for each in inside:
        if not each.name.startswith(".."):
            yield from _walk(each, depth - 1)


def _stat(path: str) -> tuple[str, int, int, int]:
    try:
        found = Path(path).stat()
    except OSError:
        return path, 0, 0, 0
    return path, found.st_ino, found.st_mtime_ns, found.st_size
