"""``strata-operator``: start in order, end at once when any part ends.

Order: connection, health, Lease, kinds, one look at everything, then queue, resync and watches side by side.
Invariant: the process ends when kopf returns, a worker dies or the Lease is lost, and whatever starts it starts it
again; on SIGTERM or SIGINT work stops first, then the Lease is released.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

import kopf

from .clock import SystemClock
from .cluster import PROVIDER_POOL, RUNTIME_CONFIG
from .election import Election
from .errors import OperatorError
from .events import Events
from .handlers import spawn
from .health import served
from .index import Index
from .kube import Kube
from .logs import configure, trace
from .metrics import Metrics
from .pools import PoolReconciler
from .queue import Key, WorkQueue
from .reconcile import RuntimeReconciler
from .resync import Resync
from .settings import Settings, parse

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    settings = parse(sys.argv[1:] if arguments is None else arguments)
    configure(settings.log_level)
    sys.exit(asyncio.run(run(settings)))


async def run(settings: Settings) -> int:
    """Run until told to stop or until something ends; returns the exit status."""
    stop = asyncio.Event()
    _listen(stop)
    metrics, clock = Metrics(), SystemClock()
    try:
        async with served(settings, metrics), Kube.connect(settings.platform_access, metrics) as kube:
            election = Election(kube, settings, clock, metrics)
            return await _until_stopped(stop, _lead(settings, kube, election, metrics, stop), election, elects=settings.elects)
    except (OperatorError, OSError) as error:
        log.critical("%s", error)
        return 1


async def _lead(settings: Settings, kube: Kube, election: Election, metrics: Metrics, stop: asyncio.Event) -> None:
    """Become the leader, then work; never returns normally."""
    clock = SystemClock()
    if settings.elects:
        await election.acquire()
        kube.fence = election.check
    else:
        metrics.leader.set(1)
    index = Index()
    runtimes = RuntimeReconciler(kube, clock, metrics, image=settings.dataplane_image)
    pools = PoolReconciler(kube, clock)

    async def work(key: Key, *, marked: bool) -> float | None:
        if key.kind == RUNTIME_CONFIG.name:
            return await runtimes(key, marked=marked)
        assert key.kind == PROVIDER_POOL.name  # noqa: S101  (no other key is ever marked)
        await pools(key, marked=marked)
        return None

    queue = WorkQueue(work, workers=settings.workers, clock=clock, metrics=metrics)
    resync = Resync(kube, settings, clock, index=index, queue=queue, runtimes=runtimes)
    async with asyncio.TaskGroup() as group:
        # From the first moment on: what follows can take longer than the Lease lives.
        if settings.elects:
            group.create_task(election.hold(), name="lease")
        await resync.wait_for_kinds()
        await resync.once()
        group.create_task(queue.run(), name="queue")
        group.create_task(resync.run(), name="resync")
        group.create_task(_watch(Events(index, queue.mark), kube, settings, stop), name="watches")


async def _watch(events: Events, kube: Kube, settings: Settings, stop: asyncio.Event) -> None:
    """kopf, until it returns; that ends the process."""
    first = True

    async def login() -> kopf.AiohttpSession:
        nonlocal first
        if not first:  # kopf asks again when the server has refused what it got
            await kube.refresh()
        first = False
        return kopf.AiohttpSession(server=kube.server, aiohttp_session=kube.session())

    existing = asyncio.all_tasks()
    tasks = await spawn(events, login, namespaces=settings.watch_namespaces, identity=settings.identity)
    _listen(stop)  # kopf has taken the signals; here they stop the work before the watches
    await kopf.run_tasks(tasks, ignored=existing)
    raise OperatorError("WatchesEnded", "the watches have ended")


async def _until_stopped(stop: asyncio.Event, leading: Coroutine[Any, Any, None], election: Election, *, elects: bool) -> int:
    work = asyncio.create_task(leading, name="leader")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not work.done():
        log.info("stopping")
        work.cancel()
    [outcome] = await asyncio.gather(work, return_exceptions=True)
    if elects:
        await election.release()
    if isinstance(outcome, Exception):
        log.critical("ending: %s", trace(outcome))
        return 1
    return 0


def _listen(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


if __name__ == "__main__":
    main()
