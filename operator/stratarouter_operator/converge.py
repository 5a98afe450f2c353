"""Bring the objects of one RuntimeConfig to what is desired.

Level-triggered: every pass reads everything and writes only what differs, so a pass that ends between any two writes
is finished by the next. Invariants: nothing is written before the whole release is known to be possible (names are
free, the API server takes every manifest in a dry run), so that one generation applies wholly or not at all; absent
objects are created by POST, present ones applied only if they are ours; deletion names the UID.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from .cluster import (
    BY_NAME,
    CONFIG_MAP,
    DEPLOYMENT,
    OWNED,
    SERVICE_MONITOR,
    KubeApi,
    Manifest,
    annotations_of,
    metadata,
    name_of,
    selector,
    uid_of,
)
from .desired import MANIFEST_HASH, Owner
from .errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound, Refused
from .metrics import Metrics
from .ownership import adopted_fields, is_ours, needs_apply

log = logging.getLogger(__name__)

Id = tuple[str, str]
"""Kind and name of an object."""

ADOPTIONS = 5
"""Attempts within one pass; the next pass goes on."""

USER_SHAPED = frozenset({DEPLOYMENT.name, SERVICE_MONITOR.name})
"""Kinds whose manifests carry what a user wrote: only these can be refused for it."""


def id_of(manifest: Manifest) -> Id:
    """Kind and name."""
    return str(manifest["kind"]), name_of(manifest)


class Converger:
    """Reads, checks and writes objects; remembers nothing."""

    def __init__(self, kube: KubeApi, metrics: Metrics) -> None:
        self._kube = kube
        self._metrics = metrics

    async def owned(self, namespace: str, owner: Owner, *, service_monitors: bool) -> dict[Id, Manifest]:
        """All objects that the owner controls and that carry our labels."""
        kinds = [*OWNED, *([SERVICE_MONITOR] if service_monitors else [])]
        found = await asyncio.gather(*(self._kube.find(kind, namespace, labels=selector(owner.name)) for kind in kinds))
        return {id_of(each): each for objects in found for each in objects if is_ours(each, owner.uid)}

    async def claim(self, wanted: Sequence[Manifest], owned: dict[Id, Manifest], owner: Owner) -> list[Manifest]:
        """Look up what is wanted but not among ``owned``: ours without its labels is added to it, others' are returned."""
        missing = [each for each in wanted if id_of(each) not in owned]
        taken = []
        for live in await asyncio.gather(*(self._find(each) for each in missing)):
            if live is None:
                continue
            if is_ours(live, owner.uid):
                owned[id_of(live)] = live
            else:
                taken.append(live)
        return taken

    async def rehearse(self, wanted: Sequence[Manifest], owned: dict[Id, Manifest], replicas: int) -> None:
        """Let the API server judge every manifest that carries a user's words and is new; raises ``Refused``."""
        for each in wanted:
            live = owned.get(id_of(each))
            if each["kind"] not in USER_SHAPED or (live is not None and _same(each, live)):
                continue
            kind, namespace = BY_NAME[each["kind"]], metadata(each)["namespace"]
            try:
                if live is None:
                    await self._kube.create(kind, namespace, _new(each, replicas), dry_run=True)
                else:
                    await self._kube.apply(kind, namespace, _of(each, live), dry_run=True)
            except (Invalid, Forbidden) as error:
                raise Refused(f"{kind.name}Refused", f"{kind.name} {name_of(each)}: {error.message}") from None

    async def ensure(self, wanted: Manifest, live: Manifest | None, owner: Owner, replicas: int) -> Manifest:
        """Create or repair one object; raises ``Refused`` where the name has become somebody else's."""
        kind, namespace = BY_NAME[wanted["kind"]], metadata(wanted)["namespace"]
        if live is None:
            live = await self._create(wanted, owner, replicas)
        live = await self._adopt(live)
        if needs_apply(wanted, live):
            before, live = live, await self._kube.apply(kind, namespace, _of(wanted, live))
            if metadata(before)["resourceVersion"] != metadata(live)["resourceVersion"]:
                self._wrote("applied", live)
        return live

    async def scale(self, deployment: Manifest, replicas: int) -> None:
        """Set the number of pods where it differs."""
        if deployment["spec"].get("replicas") != replicas:
            await self._kube.scale(DEPLOYMENT, metadata(deployment)["namespace"], name_of(deployment), replicas)
            self._wrote("scaled", deployment)

    async def prune(self, wanted: Sequence[Manifest], owned: dict[Id, Manifest], pods: Sequence[Manifest]) -> None:
        """Delete what is owned (and so has our labels) and no longer wanted; a ConfigMap stays while a pod mounts it."""
        keep = {id_of(each) for each in wanted}
        mounted = {name for pod in pods for name in _mounted(pod)}
        for key, live in owned.items():
            if key in keep or (live["kind"] == CONFIG_MAP.name and name_of(live) in mounted):
                continue
            await self._kube.delete(BY_NAME[live["kind"]], metadata(live)["namespace"], name_of(live), uid_of(live))
            self._wrote("deleted", live)

    async def _create(self, wanted: Manifest, owner: Owner, replicas: int) -> Manifest:
        kind, namespace = BY_NAME[wanted["kind"]], metadata(wanted)["namespace"]
        try:
            live = await self._kube.create(kind, namespace, _new(wanted, replicas))
        except AlreadyExists:
            live = await self._kube.get(kind, namespace, name_of(wanted))
            if not is_ours(live, owner.uid):
                raise name_conflict([live]) from None
            return live
        self._wrote("created", live)
        return live

    async def _adopt(self, live: Manifest) -> Manifest:
        kind, namespace = BY_NAME[live["kind"]], metadata(live)["namespace"]
        for _ in range(ADOPTIONS):
            if (fields := adopted_fields(live)) is None:
                return live
            try:
                return await self._kube.adopt(kind, namespace, live, fields)
            except Conflict:  # its controller writes to a new Deployment at the same time
                live = await self._kube.get(kind, namespace, name_of(live))
        raise Conflict("Conflict", f"{kind.name} {name_of(live)} changes faster than it can be adopted")

    async def _find(self, wanted: Manifest) -> Manifest | None:
        try:
            return await self._kube.get(BY_NAME[wanted["kind"]], metadata(wanted)["namespace"], name_of(wanted))
        except NotFound:
            return None

    def _wrote(self, action: str, live: Manifest) -> None:
        self._metrics.writes.labels(live["kind"], action).inc()
        log.info("%s %s %s/%s", action, live["kind"], metadata(live)["namespace"], name_of(live))


def name_conflict(taken: Sequence[Manifest]) -> Refused:
    """Names that are somebody else's."""
    names = ", ".join(f"{each['kind']} {name_of(each)}" for each in taken)
    return Refused("NameConflict", f"{names}: exists and is not controlled by this RuntimeConfig; it is left as it is")


def _same(wanted: Manifest, live: Manifest) -> bool:
    return annotations_of(live).get(MANIFEST_HASH) == annotations_of(wanted)[MANIFEST_HASH]


def _new(wanted: Manifest, replicas: int) -> Manifest:
    """As it is created: with the number of pods, which later belongs to the scale subresource."""
    if wanted["kind"] != DEPLOYMENT.name:
        return wanted
    return {**wanted, "spec": {**wanted["spec"], "replicas": replicas}}


def _of(wanted: Manifest, live: Manifest) -> Manifest:
    """The manifest for this incarnation alone: with another UID the API server answers with a conflict."""
    return {**wanted, "metadata": {**metadata(wanted), "uid": uid_of(live)}}


def _mounted(pod: Manifest) -> list[str]:
    volumes = pod["spec"].get("volumes") or ()
    return [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
