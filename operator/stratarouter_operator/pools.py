"""One ProviderPool: is it in order by itself, and who uses it?

Invariant: the only thing written is its status; what a pool means for the data planes is decided with them.
"""

from __future__ import annotations

from pydantic import ValidationError

from stratarouter_runtime.config import ProviderPool
from stratarouter_runtime.config.errors import invalid

from .clock import Clock
from .cluster import PROVIDER_POOL, RUNTIME_CONFIG, KubeApi, Manifest, metadata, name_of, status_body
from .conditions import Condition, merged
from .errors import NotFound
from .index import pools_of
from .queue import Key

MAX_USERS = 1024


class PoolReconciler:
    """Work for the queue: keys of ProviderPools."""

    def __init__(self, kube: KubeApi, clock: Clock) -> None:
        self._kube = kube
        self._clock = clock

    async def __call__(self, key: Key, *, marked: bool) -> None:  # noqa: ARG002  (the queue's form; every pass is whole)
        try:
            pool = await self._kube.get(PROVIDER_POOL, key.namespace, key.name)
        except NotFound:
            return
        runtimes = await self._kube.find(RUNTIME_CONFIG, key.namespace)
        users = sorted(name_of(each) for each in runtimes if key.name in pools_of(each))[:MAX_USERS]
        before = pool.get("status") or {}
        wanted = {
            "observedGeneration": metadata(pool)["generation"],
            **({"usedBy": users} if users else {}),  # an empty set is not stored
            "conditions": merged([_accepted(pool)], before.get("conditions") or [], self._clock.now()),
        }
        if wanted != before:
            await self._kube.apply_status(PROVIDER_POOL, key.namespace, status_body(pool, wanted))


def _accepted(pool: Manifest) -> Condition:
    generation = int(metadata(pool)["generation"])
    try:
        ProviderPool.model_validate(pool["spec"])
    except ValidationError as error:
        found = invalid(f"ProviderPool/{name_of(pool)}", error)
        return Condition("Accepted", "False", found.reason, "; ".join(found.problems), generation)
    return Condition("Accepted", "True", "Valid", "the spec is valid", generation)
