"""Have all pods taken the configuration? Ask them, and make their kubelets look.

A kubelet refreshes a pod's volumes within minutes by itself, and at once when an annotation of the pod changes: the
*touch*. Invariants: a pod has acknowledged when it, and not another pod at its address, shows the hash; touches go on
with backoff until then, and stop where the pod has refused that very configuration; at most ``CONCURRENT`` pods are
asked at once, by all RuntimeConfigs together; what is remembered of a pod goes with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from .clock import Clock
from .cluster import POD, KubeApi, Manifest, metadata, name_of, uid_of
from .errors import KubeError, OperatorError, Unreachable
from .metrics import Metrics
from .pods import TOUCH, Report, is_ready, is_running, next_touch, read_report

log = logging.getLogger(__name__)

CONCURRENT = 64
FIRST_POLL = 0.1
POLL_GROWTH = 1.4
"""Gentle, because most pods answer within a second, and a gap as long as that second would show."""
LONGEST_POLL = 5.0
"""Between questions to a pod that has not acknowledged; seconds."""
IDLE_POLL = 10.0
"""Between questions to one that has: a vendor that begins to refuse a key must be noticed while the new key matters."""
FIRST_TOUCH = 1.0
LONGEST_TOUCH = 60.0
SECRET_TOUCH = 10.0
"""Between touches of a pod that waits for a Secret, for the first ten minutes."""
PATIENCE = 600.0
SLOW_SECRET_TOUCH = 60.0
AFTER_TOUCH = 1.0
"""When a pod that waits for a Secret is asked after a touch."""


@dataclass(slots=True)
class PodMemory:
    """What is known of a pod, and when to look again. All times are the clock's monotonic seconds."""

    hash: str
    since: float
    next_poll: float
    next_touch: float
    poll_backoff: float = FIRST_POLL
    touches: int = 0
    report: Report | None = None
    failure: str = ""
    waits_since: float | None = None
    """Since when it waits for a Secret."""
    was_running: bool = False
    """Whether it ran before the configuration came, so that it had to be told."""

    @property
    def acknowledged(self) -> bool:
        return self.report is not None and self.report.hash == self.hash

    @property
    def rejected(self) -> bool:
        return not self.acknowledged and self.report is not None and self.report.rejected_hash == self.hash


@dataclass(slots=True)
class Acknowledgements:
    """The pods of one RuntimeConfig, by UID."""

    pods: dict[str, PodMemory] = field(default_factory=dict)


class Acknowledger:
    """Asks and touches pods."""

    def __init__(self, kube: KubeApi, clock: Clock, metrics: Metrics) -> None:
        self._kube = kube
        self._clock = clock
        self._metrics = metrics
        self._limit = asyncio.Semaphore(CONCURRENT)

    async def attend(self, known: Acknowledgements, pods: Sequence[Manifest], config_hash: str) -> float | None:
        """Touch and ask whoever is due; returns the seconds until the next one is, None without running pods."""
        running = {uid_of(pod): pod for pod in pods if is_running(pod)}
        now = self._clock.monotonic()
        known.pods = {uid: self._expect(known.pods.get(uid), config_hash, now) for uid in running}
        await asyncio.gather(*(self._one(known.pods[uid], pod, now) for uid, pod in running.items()))
        due = min((min(pod.next_poll, pod.next_touch) for pod in known.pods.values()), default=None)
        return None if due is None else max(0.0, due - self._clock.monotonic())

    def _expect(self, pod: PodMemory | None, config_hash: str, now: float) -> PodMemory:
        if pod is None:
            # It may well have started with this configuration, or had it from an earlier operator: ask before touching.
            return PodMemory(config_hash, since=now, next_poll=now, next_touch=now + FIRST_POLL)
        if pod.hash != config_hash:
            pod.hash, pod.since, pod.touches, pod.was_running = config_hash, now, 0, True
            pod.poll_backoff, pod.next_poll, pod.next_touch = FIRST_POLL, now + FIRST_POLL, now
        return pod

    async def _one(self, memory: PodMemory, pod: Manifest, now: float) -> None:
        async with self._limit:
            if memory.next_touch <= now:
                await self._touch(memory, pod)
            if memory.next_poll <= now:
                await self._ask(memory, pod)

    async def _touch(self, memory: PodMemory, pod: Manifest) -> None:
        now = self._clock.monotonic()
        if memory.report is None and not memory.was_running and not is_ready(pod):
            memory.next_touch = now + FIRST_TOUCH  # it is starting, and reads what there is by itself
            return
        waits = memory.acknowledged
        value = next_touch(pod, memory.hash)
        try:
            touched = await self._kube.annotate(POD, metadata(pod)["namespace"], name_of(pod), uid_of(pod), {TOUCH: value})
            pod["metadata"] = touched["metadata"]  # the next touch counts on
            self._metrics.touches.labels("secret" if waits else "configuration").inc()
        except KubeError as error:
            log.info("pod %s was not touched: %s", name_of(pod), error.message)
        if waits:
            slow = memory.waits_since is not None and now - memory.waits_since >= PATIENCE
            memory.next_touch = now + (SLOW_SECRET_TOUCH if slow else SECRET_TOUCH)
            memory.next_poll = min(memory.next_poll, now + AFTER_TOUCH)
        else:
            # 1 s, 1 s, 2 s, 4 s, ...
            memory.next_touch = now + min(LONGEST_TOUCH, FIRST_TOUCH * 2.0 ** max(0, memory.touches - 1))
            memory.touches += 1

    async def _ask(self, memory: PodMemory, pod: Manifest) -> None:
        was = memory.acknowledged
        try:
            memory.report = read_report(await self._kube.platform(pod, "/config"), uid_of(pod))
            memory.failure = ""
        except Unreachable as error:
            memory.failure = error.message
        except OperatorError as error:  # through the API server's proxy: what it says is not what the pod says
            memory.failure = error.message
        self._plan(memory, was=was)

    def _plan(self, memory: PodMemory, *, was: bool) -> None:
        """When to look next."""
        now = self._clock.monotonic()
        if memory.acknowledged and not memory.failure:
            if not was and memory.was_running:
                self._metrics.acknowledge_seconds.observe(now - memory.since)
            memory.poll_backoff, memory.next_poll = FIRST_POLL, now + IDLE_POLL
            self._plan_for_secrets(memory, was=was, now=now)
            return
        if was and memory.failure:
            memory.poll_backoff = FIRST_POLL
        memory.next_poll = now + memory.poll_backoff
        memory.poll_backoff = min(LONGEST_POLL, memory.poll_backoff * POLL_GROWTH)
        if memory.rejected:
            memory.next_touch = float("inf")
            memory.next_poll = now + LONGEST_POLL

    def _plan_for_secrets(self, memory: PodMemory, *, was: bool, now: float) -> None:
        if memory.report is None or not memory.report.wants_secrets:
            memory.waits_since, memory.next_touch = None, float("inf")
        elif memory.waits_since is None or not was:
            memory.waits_since, memory.next_touch = now, now  # it may be there already, and only the kubelet late
        else:
            memory.next_poll = min(memory.next_poll, memory.next_touch + AFTER_TOUCH)
