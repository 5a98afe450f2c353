"""The look at everything: it finds what events hid, and survives an API server that is away."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from builders import pool, runtime
from fakes.kube import FakeKube
from fakes.operator_clock import FakeClock, settle
from stratarouter_operator.cluster import PROVIDER_POOL, RUNTIME_CONFIG, SERVICE_MONITOR, Kind
from stratarouter_operator.errors import Unavailable
from stratarouter_operator.index import Index
from stratarouter_operator.metrics import Metrics
from stratarouter_operator.queue import Key, WorkQueue
from stratarouter_operator.reconcile import RuntimeReconciler
from stratarouter_operator.resync import Resync
from stratarouter_operator.settings import Settings


class Around:
    """A resync with all it needs, and the keys it marks."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.kube = FakeKube()
        self.clock = FakeClock()
        self.index = Index()
        self.marked: list[Key] = []
        metrics = Metrics()
        self.runtimes = RuntimeReconciler(self.kube, self.clock, metrics, image="i")

        async def work(key: Key, *, marked: bool) -> None:
            self.marked.append(key)

        self.queue = WorkQueue(work, workers=1, clock=self.clock, metrics=metrics)
        self.queue.mark = self.marked.append  # type: ignore[method-assign]
        self.resync = Resync(self.kube, settings or Settings(), self.clock, index=self.index, queue=self.queue, runtimes=self.runtimes)


async def test_every_resource_is_marked_and_the_index_made_new() -> None:
    around = Around()
    around.index.learn({"metadata": {"namespace": "default", "name": "gone"}, "spec": runtime()["spec"]})
    around.kube.put(runtime("assistant"))
    around.kube.put(pool("chat"), "elsewhere")
    await around.resync.once()
    assert around.marked == [Key("RuntimeConfig", "default", "assistant"), Key("ProviderPool", "elsewhere", "chat")]
    assert around.index.users(("default", "chat")) == [("default", "assistant")]


async def test_only_the_namespaces_that_are_watched_count() -> None:
    around = Around(dataclasses.replace(Settings(), watch_namespaces=("one", "two")))
    for namespace in ("one", "two", "three"):
        around.kube.put(pool("chat"), namespace)
    await around.resync.once()
    assert [key.namespace for key in around.marked] == ["one", "two"]


async def test_the_optional_api_is_probed_each_time() -> None:
    around = Around()
    await around.resync.once()
    assert not around.runtimes.service_monitors
    around.kube.unserved.discard(SERVICE_MONITOR.name)
    await around.resync.once()
    assert around.runtimes.service_monitors


async def test_a_look_that_fails_is_followed_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    around = Around()
    around.kube.put(pool("chat"))
    failures = 2

    async def serves(kind: Kind) -> bool:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise Unavailable("ApiServerUnreachable", "no answer")
        return False

    around.kube.serves = serves  # type: ignore[method-assign]
    task = asyncio.create_task(around.resync.run())
    await around.clock.advance(250)
    assert around.marked == []
    assert "ApiServerUnreachable" in caplog.text
    await around.clock.advance(120)
    assert len(around.marked) == 1
    task.cancel()


async def test_the_crds_may_come_after_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    around = Around()
    around.kube.unserved |= {RUNTIME_CONFIG.name, PROVIDER_POOL.name}
    waiting = asyncio.create_task(around.resync.wait_for_kinds())
    await around.clock.advance(60)
    assert not waiting.done()
    assert caplog.text.count("not served yet") == 1
    around.kube.unserved.discard(RUNTIME_CONFIG.name)
    await around.clock.advance(10)
    assert not waiting.done(), "both are needed"
    around.kube.unserved.discard(PROVIDER_POOL.name)
    await around.clock.advance(10)
    assert waiting.done()


async def test_an_api_server_that_is_away_at_start_is_waited_for() -> None:
    around = Around()
    away = True

    async def serves(kind: Kind) -> bool:
        if away:
            raise Unavailable("ApiServerUnreachable", "no answer")
        return True

    around.kube.serves = serves  # type: ignore[method-assign]
    waiting = asyncio.create_task(around.resync.wait_for_kinds())
    await around.clock.advance(30)
    assert not waiting.done()
    away = False
    await around.clock.advance(3)
    await settle()
    assert waiting.done()


