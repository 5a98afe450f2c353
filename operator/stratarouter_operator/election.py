"""Leader election over a Lease, so that of several operators one writes.

Invariants: another's Lease is taken only after this process has itself watched it stand still for its whole duration,
so clocks of two machines are never compared; leadership counts from the moment a renewal was *sent*; when a renewal
has not succeeded within its deadline, ``check`` refuses every write from then on and ``hold`` raises.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from .clock import Clock, micro_timestamp
from .cluster import LEASE, KubeApi, Manifest, metadata
from .errors import Conflict, KubeError, LeadershipLost, NotFound, OperatorError
from .metrics import Metrics
from .settings import Settings

log = logging.getLogger(__name__)


class Election:
    """One candidate."""

    def __init__(self, kube: KubeApi, settings: Settings, clock: Clock, metrics: Metrics,
                 jitter: Callable[[], float] = random.random) -> None:
        self._kube = kube
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._jitter = jitter
        self._seen: tuple[str, float] = ("", float("-inf"))
        self._valid_until = float("-inf")

    async def acquire(self) -> None:
        """Return when the Lease is ours."""
        log.info("waiting for Lease %s/%s as %s", self._settings.lease_namespace, self._settings.lease_name, self._settings.identity)
        while not await self._attempt():
            # Jitter keeps followers from asking in step.
            await self._clock.sleep(self._settings.retry_seconds * (1 + 0.2 * self._jitter()))
        self._metrics.leader.set(1)
        log.info("leading")

    async def hold(self) -> NoReturn:
        """Renew until that fails for too long; then raise ``LeadershipLost``."""
        try:
            while True:
                await self._clock.sleep(self._settings.retry_seconds)
                self.check()
                await self._before(self._valid_until, self._attempt())
                self.check()
        finally:
            self._valid_until = float("-inf")
            self._metrics.leader.set(0)

    def check(self) -> None:
        """Raise ``LeadershipLost`` unless the Lease is surely ours."""
        if self._clock.monotonic() >= self._valid_until:
            raise LeadershipLost("LeadershipLost", "the Lease was not renewed in time")

    async def release(self) -> None:
        """Give the Lease up, so that a follower need not wait; does nothing where it is not ours."""
        self._valid_until = float("-inf")
        try:
            lease = await self._read()
            if lease is None or lease["spec"].get("holderIdentity") != self._settings.identity:
                return
            lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_timestamp(self._clock.now())}
            await self._kube.replace(LEASE, self._settings.lease_namespace, lease)
            log.info("released the Lease")
        except OperatorError as error:
            log.warning("the Lease could not be released: %s", error.message)

    async def _attempt(self) -> bool:
        """Take or renew the Lease once; raises ``LeadershipLost`` where it was ours and is another's now."""
        sent = self._clock.monotonic()
        try:
            lease = await self._read()
            if lease is None:
                await self._kube.create(LEASE, self._settings.lease_namespace, self._fresh())
            elif self._is_free(lease, sent):
                await self._kube.replace(LEASE, self._settings.lease_namespace, self._taken(lease))
            else:
                if self._valid_until > float("-inf"):
                    raise LeadershipLost("LeadershipLost", f"{lease['spec'].get('holderIdentity')} holds the Lease")
                return False
        except Conflict:
            return False  # somebody was faster; or an earlier write of ours arrived after all: the next look tells
        except KubeError as error:
            log.warning("Lease: %s: %s", error.reason, error.message)
            return False
        self._valid_until = sent + self._settings.renew_deadline_seconds
        return True

    async def _read(self) -> Manifest | None:
        try:
            lease = await self._kube.get(LEASE, self._settings.lease_namespace, self._settings.lease_name)
        except NotFound:
            return None
        lease.setdefault("spec", {})
        return lease

    def _is_free(self, lease: Manifest, now: float) -> bool:
        version = str(metadata(lease)["resourceVersion"])
        if version != self._seen[0]:
            self._seen = (version, now)
        holder = lease["spec"].get("holderIdentity")
        if not holder or holder == self._settings.identity:
            return True
        duration = float(lease["spec"].get("leaseDurationSeconds") or self._settings.lease_seconds)
        return now >= self._seen[1] + duration

    def _taken(self, lease: Manifest) -> Manifest:
        now = micro_timestamp(self._clock.now())
        spec = dict(lease["spec"])
        if spec.get("holderIdentity") != self._settings.identity:
            spec |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        spec |= {"holderIdentity": self._settings.identity, "renewTime": now,
                 "leaseDurationSeconds": int(self._settings.lease_seconds)}
        return {**lease, "spec": spec}

    def _fresh(self) -> Manifest:
        return self._taken({
            "apiVersion": LEASE.api_version, "kind": LEASE.name, "spec": {},
            "metadata": {"name": self._settings.lease_name, "namespace": self._settings.lease_namespace}})

    async def _before(self, moment: float, attempt: Coroutine[Any, Any, bool]) -> None:
        """Run ``attempt``, but no longer than until ``moment``: a call that hangs must not outlive the deadline."""
        running = asyncio.ensure_future(attempt)
        limit = asyncio.ensure_future(self._clock.sleep(max(0.0, moment - self._clock.monotonic())))
        try:
            await asyncio.wait([running, limit], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            running.cancel()
            limit.cancel()
