"""An API server in memory, as the operator sees one.

It passes the same contract suite as the real one (``fakes.kube_contract``). What it adds for tests: a user's hand
(``put``, ``edit``), a log of writes, faults between two writes, and pods that answer on their platform port.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from stratarouter_operator.cluster import (
    BY_NAME,
    DEPLOYMENT,
    LEASE,
    MANAGER,
    POD,
    PROVIDER_POOL,
    RUNTIME_CONFIG,
    SERVICE,
    SERVICE_MONITOR,
    Kind,
    Manifest,
    controller_uid,
)
from stratarouter_operator.errors import AlreadyExists, Conflict, Invalid, NotFound, Unreachable

from .apply import decode, encode, merge, owned, paths, remove

WITH_GENERATION = (RUNTIME_CONFIG.name, PROVIDER_POOL.name, DEPLOYMENT.name)
Id = tuple[str, str, str]


class Killed(BaseException):
    """The process ends here; no handler of ours may catch it."""


class FakeKube:
    """The API server."""

    def __init__(self) -> None:
        self.objects: dict[Id, Manifest] = {}
        self.writes: list[tuple[str, str, str]] = []
        """(verb, kind, name) of every write that was asked for and not a dry run."""
        self.unserved: set[str] = {SERVICE_MONITOR.name}
        self.before_write: Callable[[str, str, str], None] = lambda *_: None
        self.judge: Callable[[Manifest], str | None] = lambda _: None
        """Why the API server refuses a manifest, by schema or by admission."""
        self.answers: dict[str, Callable[[], Any]] = {}
        """What pods answer on ``/config``, by UID."""
        self.asked: list[str] = []
        self._version = 0
        self._uids = 0
        self._moment = datetime(2026, 1, 1, tzinfo=UTC)

    # --- what the operator calls -----------------------------------------------------------------------------------
    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        return copy.deepcopy(self._live(kind, namespace, name))

    async def find(self, kind: Kind, namespace: str | None, *, labels: Mapping[str, str] | None = None) -> list[Manifest]:
        self._served(kind)
        wanted = (labels or {}).items()
        return [copy.deepcopy(each) for (name, space, _), each in sorted(self.objects.items())
                if name == kind.name and namespace in (None, space) and wanted <= (each["metadata"].get("labels") or {}).items()]

    async def serves(self, kind: Kind) -> bool:
        return kind.name not in self.unserved

    async def create(self, kind: Kind, namespace: str, body: Manifest, *, dry_run: bool = False) -> Manifest:
        self._served(kind)
        self._write("create", kind, body["metadata"]["name"], dry_run=dry_run)
        self._judge(body)
        if (kind.name, namespace, body["metadata"]["name"]) in self.objects:
            raise AlreadyExists("AlreadyExists", f"{kind.plural} {body['metadata']['name']!r} already exists", status=409)
        made = copy.deepcopy(body)
        if kind in (RUNTIME_CONFIG, PROVIDER_POOL, DEPLOYMENT):
            made.pop("status", None)
        fields = encode(owned(made))
        made["metadata"] |= {
            "namespace": namespace, "uid": f"uid-{self._uids + 1}", "managedFields": [_entry("Update", fields)],
            "creationTimestamp": self._moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if kind.name in WITH_GENERATION:
            made["metadata"]["generation"] = 1
        _default(kind, made)
        if not dry_run:
            self._uids += 1
            self._moment += timedelta(seconds=1)
            self._store(kind, made)
        return copy.deepcopy(made)

    async def apply(self, kind: Kind, namespace: str, body: Manifest, *, dry_run: bool = False) -> Manifest:
        self._write("apply", kind, body["metadata"]["name"], dry_run=dry_run)
        self._judge(body)
        live = self._incarnation(kind, namespace, body)
        made = _applied(live, body)
        if not dry_run:
            self._update(kind, live, made)
        return copy.deepcopy(made)

    async def adopt(self, kind: Kind, namespace: str, live: Manifest, managed_fields: list[Manifest]) -> Manifest:
        self._write("adopt", kind, live["metadata"]["name"])
        now = self._live(kind, namespace, live["metadata"]["name"])
        if now["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]:
            raise Conflict("Conflict", "the object has been modified", status=409)
        made = copy.deepcopy(now)
        made["metadata"]["managedFields"] = copy.deepcopy(managed_fields)
        self._update(kind, now, made)
        return copy.deepcopy(made)

    async def replace(self, kind: Kind, namespace: str, body: Manifest) -> Manifest:
        self._write("replace", kind, body["metadata"]["name"])
        live = self._live(kind, namespace, body["metadata"]["name"])
        if live["metadata"]["resourceVersion"] != body["metadata"].get("resourceVersion"):
            raise Conflict("Conflict", "the object has been modified", status=409)
        made = copy.deepcopy(body)
        self._update(kind, live, made)
        return copy.deepcopy(made)

    async def apply_status(self, kind: Kind, namespace: str, body: Manifest) -> Manifest:
        self._write("status", kind, body["metadata"]["name"])
        live = self._live(kind, namespace, body["metadata"]["name"])
        if body["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]:
            raise Conflict("Conflict", "the object has been modified", status=409)
        made = _applied(live, {**body, "metadata": {}}, subresource="status")
        self._update(kind, live, made)
        return copy.deepcopy(made)

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> None:
        self._write("scale", kind, name)
        live = self._live(kind, namespace, name)
        made = copy.deepcopy(live)
        made["spec"]["replicas"] = replicas
        fields = [each for each in made["metadata"]["managedFields"] if each.get("subresource") != "scale"]
        made["metadata"]["managedFields"] = [*fields, _entry("Update", {"f:spec": {"f:replicas": {}}}, "scale")]
        self._update(kind, live, made)

    async def annotate(self, kind: Kind, namespace: str, name: str, uid: str, annotations: Mapping[str, str]) -> Manifest:
        self._write("annotate", kind, name)
        live = self._live(kind, namespace, name)
        if live["metadata"]["uid"] != uid:
            raise Conflict("Conflict", "uid mismatch", status=409)
        made = copy.deepcopy(live)
        made["metadata"].setdefault("annotations", {}).update(annotations)
        self._update(kind, live, made)
        return copy.deepcopy(made)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        self._write("delete", kind, name)
        try:
            live = self._live(kind, namespace, name)
        except NotFound:
            return
        if live["metadata"]["uid"] != uid:
            raise Conflict("Conflict", "uid mismatch", status=409)
        self.remove(kind, namespace, name)

    async def platform(self, pod: Manifest, path: str) -> Manifest:
        self.asked.append(pod["metadata"]["name"])
        answer = self.answers.get(pod["metadata"]["uid"], lambda: None)()
        if not isinstance(answer, dict):
            raise Unreachable("PlatformPortUnreachable", str(answer or "connection refused"))
        return json.loads(json.dumps(answer))

    # --- what tests do ---------------------------------------------------------------------------------------------
    def put(self, manifest: Manifest, namespace: str = "default") -> Manifest:
        """What a user applies: create it, or set its fields; a change of the spec is a new generation."""
        kind, name = BY_NAME[manifest["kind"]], manifest["metadata"]["name"]
        key = (kind.name, namespace, name)
        if key not in self.objects:
            self._uids += 1
            made = copy.deepcopy(manifest)
            made["metadata"] |= {"namespace": namespace, "uid": f"uid-{self._uids}", "generation": 1, "managedFields": [],
                                 "creationTimestamp": self._moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
            _default(kind, made)
            self._store(kind, made)
            return copy.deepcopy(made)
        return self.edit(kind, name, lambda live: live.update(spec=copy.deepcopy(manifest["spec"])), namespace)

    def edit(self, kind: Kind, name: str, change: Callable[[Manifest], Any], namespace: str = "default") -> Manifest:
        """What somebody changes by hand."""
        live = self._live(kind, namespace, name)
        made = copy.deepcopy(live)
        change(made)
        self._update(kind, live, made)
        return copy.deepcopy(made)

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete, and what it controls with it, as the garbage collector does."""
        gone = self.objects.pop((kind.name, namespace, name))
        for (plural, space, inner), each in list(self.objects.items()):
            if controller_uid(each) == gone["metadata"]["uid"]:
                self.remove(BY_NAME[plural], space, inner)

    def live(self, kind: Kind, name: str, namespace: str = "default") -> Manifest:
        """The object itself, not a copy."""
        return self._live(kind, namespace, name)

    def names(self, kind: Kind) -> list[str]:
        """Names of all objects of a kind."""
        return sorted(name for plural, _, name in self.objects if plural == kind.name)

    def start_pod(self, name: str, deployment: Manifest, *, ready: bool = True) -> Manifest:
        """A pod of a Deployment, as its controller makes one and a kubelet runs it."""
        template = deployment["spec"]["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **copy.deepcopy(template["metadata"])},
               "spec": copy.deepcopy(template["spec"])}
        self.put(pod, deployment["metadata"]["namespace"])
        live = self._live(POD, deployment["metadata"]["namespace"], name)
        live["status"] = {"phase": "Running", "podIP": "10.0.0.1",
                          "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
        return live

    # --- inside ----------------------------------------------------------------------------------------------------
    def _live(self, kind: Kind, namespace: str, name: str) -> Manifest:
        self._served(kind)
        try:
            return self.objects[kind.name, namespace, name]
        except KeyError:
            raise NotFound("NotFound", f"{kind.plural} {name!r} not found", status=404) from None

    def _incarnation(self, kind: Kind, namespace: str, body: Manifest) -> Manifest:
        uid = body["metadata"].get("uid")
        live = self.objects.get((kind.name, namespace, body["metadata"]["name"]))
        if live is None or uid != live["metadata"]["uid"]:
            raise Conflict("Conflict", "uid mismatch: the object that was meant does not exist", status=409)
        return live

    def _served(self, kind: Kind) -> None:
        if kind.name in self.unserved:
            raise NotFound("Http404", "404 page not found", status=404)

    def _write(self, verb: str, kind: Kind, name: str, *, dry_run: bool = False) -> None:
        if not dry_run and kind is not LEASE:
            self.before_write(verb, kind.name, name)
            self.writes.append((verb, kind.name, name))

    def _judge(self, body: Manifest) -> None:
        if (why := self.judge(body)) is not None:
            raise Invalid("Invalid", why, status=422)

    def _store(self, kind: Kind, made: Manifest) -> None:
        self._version += 1
        made["metadata"]["resourceVersion"] = str(self._version)
        self.objects[kind.name, made["metadata"]["namespace"], made["metadata"]["name"]] = made

    def _update(self, kind: Kind, live: Manifest, made: Manifest) -> None:
        if made == live:
            return  # nothing changed: the API server writes nothing
        if kind.name in WITH_GENERATION and made.get("spec") != live.get("spec"):
            made["metadata"]["generation"] = live["metadata"]["generation"] + 1
        self._store(kind, made)


def _entry(operation: str, fields: dict[str, Any], subresource: str = "") -> Manifest:
    return {"manager": MANAGER, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields,
            **({"subresource": subresource} if subresource else {})}


def _applied(live: Manifest, body: Manifest, *, subresource: str = "") -> Manifest:
    """Server-side apply, forced, as ``MANAGER``."""
    before: list[Manifest] = live["metadata"].get("managedFields") or []
    mine = [each for each in before if each["operation"] == "Apply" and each.get("subresource", "") == subresource]
    others = [each for each in before if each not in mine]
    wanted = owned(body) if not subresource else paths({"status": body["status"]})
    had = {path for each in mine for path in decode(each["fieldsV1"])}
    kept = {path for each in others for path in decode(each["fieldsV1"])}
    made = copy.deepcopy(live)
    content = {key: value for key, value in body.items() if key not in ("metadata", "apiVersion", "kind")}
    meta = {key: value for key, value in body["metadata"].items() if key not in ("uid", "name", "namespace")}
    for key, value in content.items():
        made[key] = merge(made.get(key), value, key)
    made["metadata"] = merge(made["metadata"], meta)
    for path in sorted(had - wanted - kept):
        if not any(other[:len(path)] == path for other in wanted):
            remove(made, path)
    entry = _entry("Apply", encode(wanted), subresource)
    made["metadata"]["managedFields"] = [*others, entry]
    if sorted(before, key=str) == sorted(made["metadata"]["managedFields"], key=str):
        made["metadata"]["managedFields"] = before
    return made


def _default(kind: Kind, made: Manifest) -> None:
    if kind is DEPLOYMENT:
        made["spec"].setdefault("replicas", 1)
    if kind is SERVICE:
        made["spec"].setdefault("clusterIP", "10.96.0.1")
        made["spec"].setdefault("type", "ClusterIP")
