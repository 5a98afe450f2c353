"""Look at everything from time to time, so that nothing stays wrong because an event was lost.

Invariant: the list that marks keys also replaces the index, so what has vanished unseen is forgotten.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn

from .clock import Clock
from .cluster import PROVIDER_POOL, RUNTIME_CONFIG, SERVICE_MONITOR, KubeApi
from .errors import KubeError
from .index import Index, named
from .queue import Key, WorkQueue
from .reconcile import RuntimeReconciler
from .settings import Settings

log = logging.getLogger(__name__)


class Resync:
    """The periodic look."""

    def __init__(self, kube: KubeApi, settings: Settings, clock: Clock, *, index: Index, queue: WorkQueue,
                 runtimes: RuntimeReconciler) -> None:
        self._kube = kube
        self._settings = settings
        self._clock = clock
        self._index = index
        self._queue = queue
        self._runtimes = runtimes

    async def wait_for_kinds(self) -> None:
        """Return when the API server serves our kinds: the CRDs may come after the operator."""
        waited = False
        while not (await self._served()):
            if not waited:
                log.warning("the CustomResourceDefinitions of %s are not served yet; waiting", RUNTIME_CONFIG.group)
            waited = True
            await self._clock.sleep(self._settings.retry_seconds)

    async def run(self) -> NoReturn:
        """Look again and again; a look that fails is no reason to end."""
        while True:
            await self._clock.sleep(self._settings.resync_seconds)
            try:
                await self.once()
            except KubeError as error:
                log.warning("resync: %s: %s", error.reason, error.message)

    async def once(self) -> None:
        """Probe the optional API, list all resources, mark all keys."""
        self._runtimes.service_monitors = await self._kube.serves(SERVICE_MONITOR)
        namespaces = self._settings.watch_namespaces or (None,)
        runtimes, pools = [], []
        for namespace in namespaces:
            runtimes += await self._kube.find(RUNTIME_CONFIG, namespace)
            pools += await self._kube.find(PROVIDER_POOL, namespace)
        self._index.replace(runtimes)
        for kind, found in ((RUNTIME_CONFIG, runtimes), (PROVIDER_POOL, pools)):
            for each in found:
                self._queue.mark(Key(kind.name, *named(each)))

    async def _served(self) -> bool:
        try:
            return all(await asyncio.gather(self._kube.serves(RUNTIME_CONFIG), self._kube.serves(PROVIDER_POOL)))
        except KubeError as error:
            log.warning("waiting for the API server: %s: %s", error.reason, error.message)
            return False
