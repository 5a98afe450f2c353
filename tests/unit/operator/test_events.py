"""Events mark the keys that they concern, and only when something has changed that matters."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from builders import pool, runtime
from fakes.operator_world import a_running_world
from stratarouter_operator import events as module
from stratarouter_operator.cluster import CONFIG_MAP, DEPLOYMENT, POD, PROVIDER_POOL, RUNTIME_CONFIG, SERVICE, Manifest
from stratarouter_operator.events import Events
from stratarouter_operator.index import Index, pools_of
from stratarouter_operator.queue import Key

RTC = Key("RuntimeConfig", "default", "assistant")
CHAT = Key("ProviderPool", "default", "chat")


def stored(manifest: Manifest, *, uid: str = "u1", version: int = 1, generation: int = 1) -> Manifest:
    made = copy.deepcopy(manifest)
    made["metadata"] |= {"namespace": "default", "uid": uid, "resourceVersion": str(version), "generation": generation}
    return made


class Marks:
    def __init__(self) -> None:
        self.index = Index()
        self.keys: list[Key] = []
        self.events = Events(self.index, self.keys.append)

    def take(self, *arguments: Any) -> list[Key]:
        self.keys.clear()
        self.events.take(*arguments)
        return list(self.keys)


def test_a_runtimeconfig_marks_itself_and_its_pools() -> None:
    assert Marks().take(RUNTIME_CONFIG, "ADDED", stored(runtime("assistant"))) == [RTC, CHAT]


def test_a_pool_that_is_no_longer_mentioned_is_told() -> None:
    marks = Marks()
    marks.take(RUNTIME_CONFIG, "ADDED", stored(runtime("assistant")))
    other = stored(runtime("assistant", defaultRoute={"pools": [{"name": "local"}]}), generation=2)
    assert marks.take(RUNTIME_CONFIG, "MODIFIED", other) == [RTC, CHAT, Key("ProviderPool", "default", "local")]
    assert marks.take(PROVIDER_POOL, "ADDED", stored(pool("chat"), uid="p")) == [CHAT]


def test_a_pool_marks_itself_and_whoever_mentions_it() -> None:
    marks = Marks()
    marks.take(RUNTIME_CONFIG, "ADDED", stored(runtime("assistant")))
    assert marks.take(PROVIDER_POOL, None, stored(pool("chat"), uid="p")) == [CHAT, RTC]
    elsewhere = stored(pool("chat"), uid="q")
    elsewhere["metadata"]["namespace"] = "elsewhere"
    assert marks.take(PROVIDER_POOL, "ADDED", elsewhere) == [Key("ProviderPool", "elsewhere", "chat")]


@pytest.mark.parametrize(("kind", "manifest"), [(RUNTIME_CONFIG, runtime("assistant")), (PROVIDER_POOL, pool("chat"))])
def test_a_status_marks_nothing(kind: Any, manifest: Manifest) -> None:
    marks = Marks()
    marks.take(kind, "ADDED", stored(manifest))
    changed = stored({**manifest, "status": {"observedGeneration": 1}}, version=2)
    changed["metadata"]["annotations"] = {"somebody": "1"}
    assert marks.take(kind, "MODIFIED", changed) == []
    assert marks.take(kind, "MODIFIED", stored(manifest, version=3, generation=2)) != []


def test_a_relist_that_shows_nothing_new_marks_nothing() -> None:
    marks = Marks()
    marks.take(RUNTIME_CONFIG, "ADDED", stored(runtime("assistant")))
    assert marks.take(RUNTIME_CONFIG, None, stored(runtime("assistant"))) == []


def test_a_deletion_marks_and_is_forgotten() -> None:
    marks = Marks()
    marks.take(RUNTIME_CONFIG, "ADDED", stored(runtime("assistant")))
    assert marks.take(RUNTIME_CONFIG, "DELETED", stored(runtime("assistant"), version=2)) == [RTC, CHAT]
    assert marks.index.users(("default", "chat")) == []
    assert marks.take(RUNTIME_CONFIG, "ADDED", stored(runtime("assistant"), uid="u2")) == [RTC, CHAT]


async def test_owned_objects_mark_their_owner_when_they_drift() -> None:
    world = await a_running_world()
    marks = Marks()
    for kind, name in ((SERVICE, "assistant"), (DEPLOYMENT, "assistant"), (CONFIG_MAP, world.kube.names(CONFIG_MAP)[0])):
        live = copy.deepcopy(world.kube.live(kind, name))
        assert marks.take(kind, None, live) == [RTC]
        live["metadata"]["resourceVersion"] = "99"
        live["metadata"]["managedFields"] = []
        assert marks.take(kind, "MODIFIED", live) == []
        live["metadata"]["labels"]["app.kubernetes.io/instance"] = "other"
        assert marks.take(kind, "MODIFIED", live) == [RTC], "the owner counts, not the label"
        assert marks.take(kind, "DELETED", live) == [RTC]


async def test_pods_mark_when_their_readiness_changes_and_not_when_they_are_touched() -> None:
    world = await a_running_world()
    marks = Marks()
    pod = copy.deepcopy(world.kube.live(POD, min(world.pods)))
    assert marks.take(POD, "ADDED", pod) == [RTC]
    pod["metadata"]["annotations"]["stratarouter.io/config-touch"] = "abc-1"
    pod["status"]["startTime"] = "2026-01-01T00:00:00Z"
    assert marks.take(POD, "MODIFIED", pod) == []
    for change in ({"conditions": []}, {"podIP": "10.0.0.2"}, {"phase": "Failed"}):
        pod["status"] |= change
        assert marks.take(POD, "MODIFIED", pod) == [RTC]
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert marks.take(POD, "MODIFIED", pod) == [RTC]


async def test_a_deployment_marks_when_its_pods_or_troubles_change() -> None:
    world = await a_running_world()
    marks = Marks()
    live = copy.deepcopy(world.kube.live(DEPLOYMENT, "assistant"))
    marks.take(DEPLOYMENT, None, live)
    live["status"]["conditions"] = [{"type": "Available", "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z"}]
    assert marks.take(DEPLOYMENT, "MODIFIED", live) == [RTC]
    live["status"]["conditions"][0]["lastUpdateTime"] = "2026-01-01T00:00:09Z"
    assert marks.take(DEPLOYMENT, "MODIFIED", live) == []


def test_what_nobody_owns_marks_nothing() -> None:
    stray = stored({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray"}})
    assert Marks().take(POD, "ADDED", stray) == []


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 10)
    marks = Marks()
    for number in range(50):
        marks.take(PROVIDER_POOL, "ADDED", stored(pool("chat"), uid=f"u{number}"))
    assert len(marks.events._seen) == 10


def test_pools_are_found_wherever_a_runtimeconfig_can_mention_them() -> None:
    spec = {"routes": [{"name": "a", "pools": [{"name": "one"}, {"name": "two"}]}],
            "defaultRoute": {"pools": [{"name": "three"}]}, "cache": {"embedder": {"type": "pool", "pool": "four", "model": "m"}}}
    assert pools_of({"spec": spec}) == {"one", "two", "three", "four"}
    assert pools_of({"spec": {"routes": None}}) == frozenset()
    assert pools_of({}) == frozenset()


def test_a_new_list_replaces_what_the_index_knows() -> None:
    index = Index()
    index.learn(stored(runtime("gone")))
    index.replace([stored(runtime("assistant"))])
    assert index.users(("default", "chat")) == [("default", "assistant")]
