"""kopf: the watches, and nothing else. Every event is handed on as it comes.

Only ``on.event`` handlers are used: they put no finalizer and no annotation on anybody's object, and keep no state in
the cluster. kopf's peering is not a lock and is switched off; its posting of Kubernetes events is too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import kopf

from .cluster import INSTANCE_LABEL, MANAGED_BY_LABEL, MANAGER, OWNED, POD, PROVIDER_POOL, RUNTIME_CONFIG, Kind
from .events import Events

Login = Callable[[], Awaitable[kopf.AiohttpSession]]

WATCHED: tuple[Kind, ...] = (RUNTIME_CONFIG, PROVIDER_POOL, *OWNED, POD)
"""The ServiceMonitor is not among them: its API can come and go, and a watch on it would end the process."""


def registry(events: Events, login: Login) -> kopf.OperatorRegistry:
    """All handlers, in a registry of their own."""
    made = kopf.OperatorRegistry()

    @kopf.on.login(registry=made)
    async def _login(**_: Any) -> kopf.AiohttpSession:
        return await login()

    for kind in WATCHED:
        _watch(made, kind, events)
    return made


def _watch(made: kopf.OperatorRegistry, kind: Kind, events: Events) -> None:
    @kopf.on.event(*_selector(kind), registry=made, id=f"watch-{kind.plural}")
    async def _event(event: Any, **_: Any) -> None:
        events.take(kind, event["type"], event["object"])


def settings() -> kopf.OperatorSettings:
    """Settings of kopf where its defaults are not what an operator beside others needs."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    # The kinds are known and served before the start: no watch on CRDs and namespaces, and no rights for it.
    chosen.scanning.disabled = True
    chosen.process.ultimate_exiting_timeout = None  # this process ends by itself
    chosen.networking.request_timeout = 60.0
    chosen.networking.connect_timeout = 10.0
    for kind in (*OWNED, POD):
        chosen.watching.label_selectors[_selector(kind)] = f"{MANAGED_BY_LABEL}={MANAGER},{INSTANCE_LABEL}"
    return chosen


async def spawn(events: Events, login: Login, *, namespaces: Sequence[str], identity: str) -> Any:
    """Start kopf's tasks; to be run with ``kopf.run_tasks``."""
    # Without an identity kopf asks who the user is, and an image's user 65532 has no name.
    who: Any = identity
    return await kopf.spawn_tasks(
        registry=registry(events, login), settings=settings(), standalone=True, clusterwide=not namespaces,
        namespaces=list(namespaces), identity=who)


def _selector(kind: Kind) -> Any:
    return (kind.group, kind.version, kind.plural) if kind.group else (kind.version, kind.plural)
