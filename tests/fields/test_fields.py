"""Each field of the contract does what it says it does: a hot one changes a running pod, a roll one its template.

The tests are generated from the contract. A field without a probe fails, and so does one that changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from probes import PROBES
from world import Probe, World, documents, merge

from builders import Document, pool, provider, runtime
from fakes.listeners import never_accepting
from fakes.otlp import grpc_collector, http_collector
from fakes.vendor import FakeVendor
from pod import running
from stratarouter_operator.desired import TEMPLATE_HASH, Options, Owner, desired
from stratarouter_operator.release import Release, accept
from stratarouter_runtime.config import OPERATOR_FIELDS, ContractField, fields

FIELDS = list(fields())
OWNER = Owner("assistant", "5f0c1f4e-0000-4000-8000-000000000001")
OPTIONS = Options(image="example.test/dataplane:1", service_monitors=True)
SECRET = {"name": "one", "key": "k"}

ROLLED: dict[str, tuple[Any, Any]] = {
    "RuntimeConfig.cache.redis.urlSecretRef.name": ("one", "other"),
    "RuntimeConfig.server.terminationGraceSeconds": (60, 90),
    "RuntimeConfig.state.dsnSecretRef.name": ("one", "other"),
    "RuntimeConfig.auth.apiKeysSecretRef.name": ("one", "other"),
    "RuntimeConfig.auth.adminKeysSecretRef.name": ("one", "other"),
    "RuntimeConfig.template.image": ("", "mine/dataplane:2"),
    "RuntimeConfig.template.imagePullPolicy": ("IfNotPresent", "Always"),
    "RuntimeConfig.template.resources": ({}, {"limits": {"memory": "2Gi"}}),
    "RuntimeConfig.template.nodeSelector": ({}, {"disk": "fast"}),
    "RuntimeConfig.template.tolerations": ([], [{"key": "gpu", "operator": "Exists"}]),
    "RuntimeConfig.template.affinity": ({}, {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}),
    "RuntimeConfig.template.topologySpreadConstraints": (
        [], [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]),
    "RuntimeConfig.template.annotations": ({}, {"mesh": "off"}),
    "ProviderPool.providers[].credentialsSecretRef.name": ("one", "other"),
    "ProviderPool.providers[].caBundleSecretRef.name": ("one", "other"),
}
"""Two values of each field that needs new pods."""

SHAPED: dict[str, tuple[Any, Any]] = {
    "RuntimeConfig.replicas": (1, 3),
    "RuntimeConfig.observability.serviceMonitor.enabled": (True, False),
    "RuntimeConfig.observability.serviceMonitor.interval": ("15s", "30s"),
    "RuntimeConfig.observability.serviceMonitor.labels": ({}, {"release": "prometheus"}),
}
"""Two values of each hot field that only the operator uses: running pods are kept, other objects change."""


def key(field: ContractField) -> str:
    return f"{field.kind}.{field.path}"


def of(*, apply: str, operator: bool = False) -> list[Any]:
    chosen = [each for each in FIELDS if each.apply == apply and (key(each) in SHAPED or _is_operators(each)) == operator]
    return [pytest.param(each, id=key(each)) for each in chosen]


def _is_operators(field: ContractField) -> bool:
    path = tuple(field.path.split("."))
    return field.kind == "RuntimeConfig" and any(path[:len(each)] == each for each in OPERATOR_FIELDS)


def test_every_field_is_hot_or_rolls_and_has_its_proof() -> None:
    """None is neither, and no proof is left over from a field that is gone."""
    assert {each.apply for each in FIELDS} == {"hot", "roll"}
    hot = {key(each) for each in FIELDS if each.apply == "hot"}
    assert hot == set(PROBES) | set(SHAPED)
    assert {key(each) for each in FIELDS if each.apply == "roll"} == set(ROLLED)


@pytest.mark.parametrize("field", of(apply="roll") + of(apply="roll", operator=True))
def test_a_roll_field_changes_the_template(field: ContractField) -> None:
    """Nothing else would bring it to the pods."""
    before, after = (_manifests(field, value) for value in ROLLED[key(field)])
    assert _template_hash(before) != _template_hash(after)


@pytest.mark.parametrize("field", of(apply="hot", operator=True))
def test_a_hot_field_of_the_operator_changes_objects_and_keeps_the_pods(field: ContractField) -> None:
    """The template is the same, so no pod is replaced."""
    before, after = (_manifests(field, value) for value in SHAPED[key(field)])
    assert _template_hash(before) == _template_hash(after)
    assert before != after


@pytest.mark.parametrize("field", of(apply="hot"))
def test_a_hot_field_of_the_pods_keeps_them_and_is_told_to_them(field: ContractField) -> None:
    """The operator makes the same template of both settings, and another hash for the pods to acknowledge."""
    probe = PROBES[key(field)]
    vendors = FakeVendor(port=1), FakeVendor(port=2)
    known = {"HTTP": "http://127.0.0.1:3", "GRPC": "http://127.0.0.1:4", "UNCONNECTED": "http://127.0.0.1:5/v1"}
    before, after = (_release(_filled(documents(each, *vendors), known)) for each in (probe.base, probe.changed))
    assert before.config_hash != after.config_hash
    assert _template_hash(_desired(before)) == _template_hash(_desired(after))


@pytest.mark.parametrize("field", of(apply="hot"))
async def test_a_hot_field_changes_a_running_pod(field: ContractField, tmp_path: Path) -> None:
    """Behaviour is other than before, in the same pod, without a new template."""
    probe = PROBES[key(field)]
    async with contextlib.AsyncExitStack() as stack:
        vendor, second = [await stack.enter_async_context(FakeVendor()) for _ in range(2)]
        http = await stack.enter_async_context(http_collector()) if "http" in probe.needs else None
        grpc = await stack.enter_async_context(grpc_collector()) if "grpc" in probe.needs else None
        known = {"HTTP": http.endpoint if http else "", "GRPC": grpc.endpoint if grpc else "",
                 "UNCONNECTED": f"http://{stack.enter_context(never_accepting())}/v1"}
        base, changed = (_filled(documents(each, vendor, second), known) for each in (probe.base, probe.changed))
        assert _differences(base, changed) == {key(field)}
        pod = await stack.enter_async_context(running(tmp_path, *base))
        world = World(vendor, second, pod, http, grpc)
        await _observe(probe, world, changed)


async def _observe(probe: Probe, world: World, changed: list[Document]) -> None:
    if probe.prime is not None:
        await probe.prime(world)
    server = world.pod.server
    assert await probe.observe(world) == probe.before
    for vendor in (world.vendor, world.second):
        vendor.script.clear()
    await world.pod.reload(*changed)
    assert await probe.observe(world) == probe.after
    assert world.pod.server is server


def _filled(given: list[Document], known: Mapping[str, str]) -> list[Document]:
    text = json.dumps(given)
    for word, value in known.items():
        text = text.replace(f'"{word}"', json.dumps(value)).replace(f'"{word}/v1"', json.dumps(value))
    filled: list[Document] = json.loads(text)
    return filled


def _differences(base: list[Document], changed: list[Document]) -> set[str]:
    """Paths of the contract's fields in which two sets of resources differ; a missing value is a difference, too."""
    known = {key(each) for each in FIELDS}
    found = set()
    for one, other in zip(base, changed, strict=True):
        left, right = dict(_leaves(one.get("spec"), "")), dict(_leaves(other.get("spec"), ""))
        for path in left.keys() | right.keys():
            if left.get(path) != right.get(path):
                found.add(_field(f"{one['kind']}.{re.sub(r'[0-9]+', '', path)}", known))
    return found


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Leaves by path; items of a list by their number inside brackets."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _leaves(each, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _leaves(each, f"{path}[{index}]")
    else:
        yield path, value


def _field(path: str, known: set[str]) -> str:
    """The contract's field that a path leads to or into (a map's key, an item of a list)."""
    while path not in known and path:
        path = path[:-2] if path.endswith("[]") else path.rpartition(".")[0]
    return path


def _manifests(field: ContractField, value: Any) -> dict[str, Any]:
    spec: Document = {"cache": {"enabled": False, "redis": {"urlSecretRef": SECRET}}, "state": {"dsnSecretRef": SECRET},
                      "auth": {"apiKeysSecretRef": {"name": "one"}, "adminKeysSecretRef": {"name": "one"}}}
    with_refs = provider("primary", credentialsSecretRef=SECRET, caBundleSecretRef=SECRET)
    if field.kind == "RuntimeConfig":
        spec = merge(spec, _nested(field.path.split("."), value))
    else:
        with_refs = merge(with_refs, _nested(field.path.removeprefix("providers[].").split("."), value))
    return _desired(accept(runtime("assistant", namespace="default", generation=4, **spec), [pool("chat", with_refs, namespace="default")]))


def _release(resources: list[Document]) -> Release:
    config, *others = resources
    return accept(config, [each for each in others if each["kind"] == "ProviderPool"])


def _desired(release: Release) -> dict[str, Any]:
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in desired(release, OWNER, OPTIONS)
            if not each["metadata"]["name"].startswith("assistant-config-")}


def _nested(path: list[str], value: Any) -> Document:
    return {path[0]: _nested(path[1:], value) if len(path) > 1 else value}


def _template_hash(manifests: Mapping[str, Any]) -> str:
    found: str = manifests["Deployment/assistant"]["spec"]["template"]["metadata"]["annotations"][TEMPLATE_HASH]
    return found
