"""One RuntimeConfig: read it live, bring its objects and pods to what it says, write what came of it.

The one writer of a RuntimeConfig's status. A *marked* pass reads and repairs everything; passes in between only look
after pods that have yet to acknowledge, on what the last marked pass has read. Invariants: what is remembered between
passes is only about pods and time, and can be lost; while the spec cannot be run, the last good release is, whole.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from .acknowledge import Acknowledgements, Acknowledger
from .clock import Clock
from .cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    POD,
    PROVIDER_POOL,
    RUNTIME_CONFIG,
    KubeApi,
    Manifest,
    metadata,
    name_of,
    selector,
    status_body,
    uid_of,
)
from .conditions import find
from .converge import Converger, Id, id_of, name_conflict
from .desired import TEMPLATE_HASH, Options, Owner, config_map_name, desired
from .errors import Conflict, Forbidden, Invalid, NotFound, Refused
from .metrics import CONDITIONS, Metrics
from .queue import Key
from .release import Release, accept, recall
from .status import Observed, pod_views, status

log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds without any movement after which a roll-out or an acknowledgement counts as stuck."""

FIGURES_EVERY = 60.0
"""Seconds between updates of volatile figures in the status."""

RETRY = 10.0
"""Seconds between looks at what stands in the way of a release and is not watched: others' objects, a quota."""

CLUSTER_REASONS = ("NameConflict", "Refused")
"""Ends of the reasons that come from the cluster, not from the configuration."""

STALLED_REASONS = frozenset({"PodRejectedConfig", "PlatformPortUnreachable", "RolloutStalled"})
_TRUTH = {"True": 1, "False": 0}


@dataclass(slots=True)
class View:
    """What a marked pass has found and made."""

    runtime: Manifest
    release: Release | None
    refusal: Refused | None
    deployment: Manifest | None
    template: str
    pods: list[Manifest]


@dataclass(slots=True)
class Memory:
    """What is remembered of a RuntimeConfig between passes."""

    view: View | None = None
    acknowledgements: Acknowledgements = field(default_factory=Acknowledgements)
    progress: tuple[object, ...] = ()
    progress_at: float = 0.0
    figures_at: float = float("-inf")


class RuntimeReconciler:
    """Work for the queue: keys of RuntimeConfigs."""

    def __init__(self, kube: KubeApi, clock: Clock, metrics: Metrics, *, image: str) -> None:
        self._kube = kube
        self._clock = clock
        self._metrics = metrics
        self._image = image
        self._converger = Converger(kube, metrics)
        self._acknowledger = Acknowledger(kube, clock, metrics)
        self._memories: dict[Key, Memory] = {}
        self.service_monitors = False
        """Whether the cluster has the Prometheus Operator's API; probed at each resync."""

    async def __call__(self, key: Key, *, marked: bool) -> float | None:
        memory = self._memories.setdefault(key, Memory())
        if marked or memory.view is None:
            memory.view = None
            runtime = await self._read(key)
            if runtime is None:  # what it owned goes with it
                self._memories.pop(key, None)
                self._metrics.forget(key.namespace, key.name)
                return None
            memory.view = await self._converge(runtime)
        try:
            delay = await self._attend(memory, memory.view)
        except Conflict:  # it has changed since it was read; no failure, but nothing of it counts any more
            memory.view = None
            return 0.0
        if memory.view.refusal is None or not memory.view.refusal.reason.endswith(CLUSTER_REASONS):
            return delay
        memory.view = None  # what stands in the way is not watched: look at everything again
        return min(RETRY, RETRY if delay is None else delay)

    async def _read(self, key: Key) -> Manifest | None:
        try:
            runtime = await self._kube.get(RUNTIME_CONFIG, key.namespace, key.name)
        except NotFound:
            return None
        return None if "deletionTimestamp" in metadata(runtime) else runtime

    async def _converge(self, runtime: Manifest) -> View:
        namespace, owner = metadata(runtime)["namespace"], Owner(name_of(runtime), uid_of(runtime))
        pools, pods, owned = await asyncio.gather(
            self._kube.find(PROVIDER_POOL, namespace),
            self._kube.find(POD, namespace, labels=selector(owner.name)),
            self._owned(namespace, owner))
        refusal: Refused | None = None
        release: Release | None = None
        try:
            release = await self._accept(runtime, pools, owned, owner)
        except Refused as error:
            refusal = error
            release = _last_good(owned, owner.name)
        if release is None:
            return View(runtime, None, refusal, owned.get((DEPLOYMENT.name, owner.name)), "", pods)
        conflict = await self._write(release, owned, owner, pods, tolerant=refusal is not None)
        deployment = owned.get((DEPLOYMENT.name, owner.name))
        return View(runtime, release, refusal or conflict, deployment, _template(deployment), pods)

    async def _owned(self, namespace: str, owner: Owner) -> dict[Id, Manifest]:
        try:
            return await self._converger.owned(namespace, owner, service_monitors=self.service_monitors)
        except NotFound:  # the Prometheus Operator's API has gone since the last probe
            self.service_monitors = False
            return await self._converger.owned(namespace, owner, service_monitors=False)

    async def _accept(self, runtime: Manifest, pools: list[Manifest], owned: dict[Id, Manifest], owner: Owner) -> Release:
        """The release of the spec as it is, once everything about it is known to be possible; raises ``Refused``."""
        release = accept(runtime, pools)
        wanted = desired(release, owner, self._options())
        if taken := await self._converger.claim(wanted, owned, owner):
            raise name_conflict(taken)
        await self._converger.rehearse(wanted, owned, release.runtime.replicas)
        return release

    async def _write(self, release: Release, owned: dict[Id, Manifest], owner: Owner, pods: list[Manifest], *,
                     tolerant: bool) -> Refused | None:
        """Write all that differs; ``tolerant`` keeps going past names that are somebody else's.

        Returns what came up in spite of the rehearsal: a name just taken, a quota just full.
        """
        wanted, replicas = desired(release, owner, self._options()), release.runtime.replicas
        taken = {id_of(each) for each in await self._converger.claim(wanted, owned, owner)} if tolerant else set()
        conflict: Refused | None = None
        for each in wanted:
            if id_of(each) in taken:
                continue
            try:
                owned[id_of(each)] = await self._converger.ensure(each, owned.get(id_of(each)), owner, replicas)
            except Refused as error:
                conflict = error
            except (Invalid, Forbidden) as error:
                conflict = Refused(f"{each['kind']}Refused", f"{each['kind']} {name_of(each)}: {error.message}")
        if (deployment := owned.get((DEPLOYMENT.name, owner.name))) is not None:
            await self._converger.scale(deployment, replicas)
        await self._converger.prune(wanted, owned, pods)
        return conflict

    async def _attend(self, memory: Memory, view: View) -> float | None:
        """Look after the pods, then write the status where it has changed."""
        due: float | None = None
        if view.release is not None:
            due = await self._acknowledger.attend(memory.acknowledgements, view.pods, view.release.config_hash)
        seen = self._observed(memory, view)
        now = self._clock.monotonic()
        waits = self._patience(memory, seen, now)
        figures = now - memory.figures_at >= FIGURES_EVERY
        wanted = status(seen, self._clock.now(), stalled=waits <= 0, figures=figures)
        if figures and "cache" in wanted:
            memory.figures_at = now
        if wanted != seen.previous:
            await self._write_status(view, wanted)
        self._expose(seen, wanted)
        delays = [each for each in (due, waits if not seen.settled and waits > 0 else None) if each is not None]
        return min(delays, default=None)

    def _observed(self, memory: Memory, view: View) -> Observed:
        return Observed(
            name=name_of(view.runtime), namespace=metadata(view.runtime)["namespace"],
            generation=int(metadata(view.runtime)["generation"]), previous=view.runtime.get("status") or {},
            release=view.release, refusal=view.refusal, deployment=view.deployment,
            pods=pod_views(view.pods, memory.acknowledgements.pods, view.template))

    def _patience(self, memory: Memory, seen: Observed, now: float) -> float:
        """Seconds that are left for something to move."""
        progress = seen.progress()
        if progress != memory.progress:
            # A fresh operator goes on from what the status says: it does not make something stuck look alive again.
            fresh, before = not memory.progress, find(seen.previous.get("conditions") or [], "Progressing")
            stuck = (fresh and before.get("reason") in STALLED_REASONS and before.get("observedGeneration") == seen.generation
                     and seen.release is not None and seen.previous.get("configHash") == seen.release.config_hash)
            memory.progress, memory.progress_at = progress, now - PATIENCE if stuck else now
        return memory.progress_at + PATIENCE - now

    async def _write_status(self, view: View, wanted: Manifest) -> None:
        made = await self._kube.apply_status(RUNTIME_CONFIG, metadata(view.runtime)["namespace"], status_body(view.runtime, wanted))
        _log_changes(view.runtime, wanted)
        view.runtime["status"] = wanted
        view.runtime["metadata"]["resourceVersion"] = metadata(made)["resourceVersion"]

    def _expose(self, seen: Observed, made: Manifest) -> None:
        self._metrics.unacknowledged.labels(seen.namespace, seen.name).set(len(seen.unacknowledged))
        for name in CONDITIONS:
            value = _TRUTH.get(find(made["conditions"], name)["status"], -1)
            self._metrics.condition.labels(seen.namespace, seen.name, name).set(value)

    def _options(self) -> Options:
        return Options(image=self._image, service_monitors=self.service_monitors)


def _last_good(owned: dict[Id, Manifest], name: str) -> Release | None:
    """The newest release that is kept, of this version of the contract if there is one; None where none can be read."""
    kept = [live for (kind, _), live in owned.items() if kind == CONFIG_MAP.name and name_of(live).startswith(f"{name}-config-")]
    kept.sort(key=lambda each: (name_of(each) == config_map_name(name), metadata(each)["creationTimestamp"]), reverse=True)
    for each in kept:
        try:
            return recall(each.get("data") or {})
        except Refused as error:
            log.warning("ConfigMap %s/%s: %s", metadata(each)["namespace"], name_of(each), error.message)
    return None


def _template(deployment: Manifest | None) -> str:
    if deployment is None:
        return ""
    annotations = deployment["spec"]["template"]["metadata"].get("annotations") or {}
    return str(annotations.get(TEMPLATE_HASH, ""))


def _log_changes(runtime: Manifest, wanted: Manifest) -> None:
    before = (runtime.get("status") or {}).get("conditions") or []
    for condition in wanted["conditions"]:
        old = find(before, condition["type"])
        if (old.get("status"), old.get("reason")) != (condition["status"], condition["reason"]):
            log.info("%s/%s: %s is %s (%s) %s", metadata(runtime)["namespace"], name_of(runtime), condition["type"],
                     condition["status"], condition["reason"], condition["message"])
