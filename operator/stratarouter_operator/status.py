"""What the status says, computed from what was seen.

Pure: observations in, JSON out. Invariants: ``Ready.observedGeneration`` is the newest generation that all ready pods
serve, so that ``kubectl wait --for=condition=Ready`` returns when the spec that was applied is at work; a condition
never claims what no pod has said; volatile figures are taken over only when asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from .acknowledge import PodMemory
from .cluster import Manifest, name_of, uid_of
from .conditions import Condition, find, merged, some
from .desired import pod_labels
from .errors import Refused
from .pods import STATES, ProviderState, is_ready, is_terminating, template_of
from .release import Release


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod that is not on its way out."""

    name: str
    ready: bool
    current: bool
    """Whether it was made from the current template."""
    memory: PodMemory | None
    """What it says of itself; None where it does not run."""

    @property
    def acknowledged(self) -> bool:
        return self.memory is not None and self.memory.acknowledged


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything a status is made of."""

    name: str
    namespace: str
    generation: int
    previous: Manifest
    """The status as it is."""
    release: Release | None
    """What runs, or is to run."""
    refusal: Refused | None
    """Why the spec as it is does not."""
    deployment: Manifest | None
    pods: tuple[PodView, ...]

    @property
    def rolled_out(self) -> bool:
        """Whether all wanted pods are there, ready and of the current template, and no others."""
        wanted = 0 if self.release is None else self.release.runtime.replicas
        ready = sum(pod.ready and pod.current for pod in self.pods)
        return self.deployment is not None and ready == wanted == len(self.pods)

    @property
    def unacknowledged(self) -> list[PodView]:
        """Running pods that do not show the configuration."""
        return [pod for pod in self.pods if pod.memory is not None and not pod.acknowledged]

    @property
    def settled(self) -> bool:
        """Whether nothing is under way any more."""
        return self.rolled_out and not self.unacknowledged

    def progress(self) -> tuple[object, ...]:
        """Differs whenever something moves: while it stays the same for long, the roll-out is stuck."""
        return (self.generation, self.release.config_hash if self.release else "",
                frozenset((pod.name, pod.ready, pod.current, pod.acknowledged) for pod in self.pods))


def pod_views(pods: Iterable[Manifest], known: dict[str, PodMemory], template: str) -> tuple[PodView, ...]:
    """The pods that are to stay, in order."""
    return tuple(
        PodView(name_of(pod), ready=is_ready(pod), current=template_of(pod) == template, memory=known.get(uid_of(pod)))
        for pod in sorted(pods, key=name_of) if not is_terminating(pod))


def status(seen: Observed, now: datetime, *, stalled: bool, figures: bool) -> Manifest:
    """The whole status; ``stalled`` when nothing has moved for too long, ``figures`` when volatile ones are due."""
    previous = seen.previous.get("conditions") or []
    conditions = [_accepted(seen), _resolved(seen, previous), _progressing(seen, stalled=stalled), _ready(seen, previous),
                  _degraded(seen, stalled=stalled)]
    made: Manifest = {
        "observedGeneration": seen.generation,
        "replicas": int(((seen.deployment or {}).get("status") or {}).get("replicas") or 0),
        "selector": ",".join(f"{key}={value}" for key, value in sorted(pod_labels(seen.name).items())),
        "updatedReplicas": sum(pod.acknowledged for pod in seen.pods),
        "endpoint": f"http://{seen.name}.{seen.namespace}.svc:8080",
        "conditions": merged(conditions, previous, now),
    }
    if seen.release is not None:
        made["configHash"] = seen.release.config_hash
    if providers := _providers(seen.pods):
        made["providers"] = [{"pool": each.pool, "name": each.name, "state": each.state, "reason": each.reason[:256]}
                             for each in providers]
    cache = _cache(seen.pods) if figures else seen.previous.get("cache")
    if cache:
        made["cache"] = cache
    return made


def _accepted(seen: Observed) -> Condition:
    if seen.refusal is not None:
        return Condition("Accepted", "False", seen.refusal.reason, seen.refusal.message, seen.generation)
    return Condition("Accepted", "True", "Valid", "spec and pools are a valid configuration", seen.generation)


def _resolved(seen: Observed, previous: Sequence[Manifest]) -> Condition:
    told = [pod for pod in seen.pods if pod.current and pod.acknowledged]
    missing = {str(each) for pod in told if pod.memory and pod.memory.report for each in pod.memory.report.missing}
    if missing:
        return Condition("ResolvedRefs", "False", "SecretNotFound", f"missing: {some(missing)}", seen.generation)
    before = find(previous, "ResolvedRefs")
    if not told and before and any(pod.current and pod.memory and pod.memory.report for pod in seen.pods):
        # The pods are about to take a newer configuration: what they said of the last one still holds, for that one.
        return Condition("ResolvedRefs", before["status"], before["reason"], before["message"], before["observedGeneration"])
    if not told:
        return Condition("ResolvedRefs", "Unknown", "NotReported", "no pod of the current template has reported yet",
                         seen.generation)
    return Condition("ResolvedRefs", "True", "AllFound", "", seen.generation)


def _progressing(seen: Observed, *, stalled: bool) -> Condition:
    if seen.release is None:
        return Condition("Progressing", "False", "NotAccepted", "there is no accepted configuration to run", seen.generation)
    if seen.settled:
        return Condition("Progressing", "False", "Complete", f"{_count(seen)} run the configuration", seen.generation)
    if stalled:
        return _stalled(seen)
    if not seen.rolled_out:
        ready = sum(pod.ready and pod.current for pod in seen.pods)
        message = f"{ready} of {seen.release.runtime.replicas} pods are ready with the current template"
        return Condition("Progressing", "True", "RollingOut", message, seen.generation)
    waiting = some(pod.name for pod in seen.unacknowledged)
    return Condition("Progressing", "True", "AwaitingAcknowledgement", f"waiting for {waiting}", seen.generation)


def _stalled(seen: Observed) -> Condition:
    memories = {pod.name: pod.memory for pod in seen.unacknowledged if pod.memory is not None}
    rejected = {name: memory for name, memory in memories.items() if memory.rejected}
    if rejected:
        name, memory = min(rejected.items())
        error = memory.report.error if memory.report else ""
        return Condition("Progressing", "False", "PodRejectedConfig", f"{some(rejected)}: {name} says: {error}", seen.generation)
    unreachable = {name: memory for name, memory in memories.items() if memory.failure}
    if unreachable:
        name, memory = min(unreachable.items())
        return Condition("Progressing", "False", "PlatformPortUnreachable",
                         f"{some(unreachable)}: {name}: {memory.failure}", seen.generation)
    if not seen.rolled_out:
        late = [pod.name for pod in seen.pods if not (pod.ready and pod.current)]
        message = f"not ready with the current template: {some(late)}" if late else "pods are missing"
        return Condition("Progressing", "False", "RolloutStalled", _with_deployment(message, seen.deployment), seen.generation)
    return Condition("Progressing", "False", "RolloutStalled", f"not acknowledged by {some(memories)}", seen.generation)


def _with_deployment(message: str, deployment: Manifest | None) -> str:
    """With what the Deployment says hinders it: a quota, an admission policy, its own deadline."""
    conditions = ((deployment or {}).get("status") or {}).get("conditions") or []
    failure = find(conditions, "ReplicaFailure")
    if failure.get("status") == "True":
        return f"{message}; {failure.get('reason')}: {failure.get('message')}"
    return message


def _ready(seen: Observed, previous: Sequence[Manifest]) -> Condition:
    ready = [pod for pod in seen.pods if pod.ready]
    if not ready:
        reason = "NotAccepted" if seen.release is None else "NoReadyPods"
        return Condition("Ready", "False", reason, "no pod is ready", seen.generation)
    if seen.release is not None and all(pod.current and pod.acknowledged for pod in ready):
        generation = seen.release.generation
    else:  # what they have served before, as far as anyone has been told
        before = find(previous, "Ready")
        generation = int(before.get("observedGeneration", 0)) if before.get("status") == "True" else 0
    return Condition("Ready", "True", "PodsReady", f"{len(ready)} of {len(seen.pods)} pods are ready", generation)


def _degraded(seen: Observed, *, stalled: bool) -> Condition:
    if seen.release is None:
        return Condition("Degraded", "True", "NotAccepted", "there is no accepted configuration to run", seen.generation)
    if seen.refusal is not None:
        message = f"the configuration of generation {seen.release.generation} keeps serving"
        return Condition("Degraded", "True", "LastGoodInUse", message, seen.generation)
    if stalled and seen.unacknowledged:
        names = some(pod.name for pod in seen.unacknowledged)
        return Condition("Degraded", "True", "UnacknowledgedPods", f"not on the configuration: {names}", seen.generation)
    out = [f"{each.pool}/{each.name} ({each.reason or each.state})" for each in _providers(seen.pods) if each.state == STATES[-1]]
    if out:
        return Condition("Degraded", "True", "ProvidersOut", some(out), seen.generation)
    return Condition("Degraded", "False", "AsConfigured", "", seen.generation)


def _providers(pods: Iterable[PodView]) -> list[ProviderState]:
    worst: dict[tuple[str, str], ProviderState] = {}
    for pod in pods:
        for each in pod.memory.report.providers if pod.acknowledged and pod.memory and pod.memory.report else ():
            key = (each.pool, each.name)
            if key not in worst or STATES.index(each.state) > STATES.index(worst[key].state):
                worst[key] = each
    return [worst[key] for key in sorted(worst)][:1024]


def _cache(pods: Iterable[PodView]) -> Manifest | None:
    reports = [pod.memory.report for pod in pods if pod.memory and pod.memory.report]
    if not reports:
        return None
    hits, looked = sum(each.hits for each in reports), sum(each.hits + each.misses for each in reports)
    return {"entries": max(each.entries for each in reports), "hitRate": f"{hits / looked:.2f}" if looked else "0.00"}


def _count(seen: Observed) -> str:
    return f"{len(seen.pods)} pod{'' if len(seen.pods) == 1 else 's'}"
