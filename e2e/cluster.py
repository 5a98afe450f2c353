"""The cluster as the tests see it: kubectl and helm as processes, and waiting with a bound.

Nothing here knows what kind of cluster it is: KUBECONFIG names it, and what differs arrives in variables that the
Makefile sets.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

import yaml

ROOT = Path(__file__).resolve().parent.parent
MANIFESTS = ROOT / "e2e/manifests"
SYSTEM = "stratarouter-system"
RELEASE = "stratarouter-runtime"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}

_T = TypeVar("_T")
Object = dict[str, Any]


class CommandError(Exception):
    """A command ended with an error; the message is what it said."""


def setting(name: str) -> str:
    """A variable that the Makefile sets."""
    value = os.environ.get(name)
    if not value:
        raise CommandError(f"{name} is not set; run the tests with `make e2e`")
    return value


def run(*command: str, given: str | None = None, timeout: float = 180) -> str:
    """The standard output of a command that must succeed."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT)
    if done.returncode:
        raise CommandError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def kubectl(*arguments: str, given: str | None = None, timeout: float = 180) -> str:
    """Run kubectl."""
    return run(setting("KUBECTL"), *arguments, given=given, timeout=timeout)


def helm(*arguments: str, given: str | None = None) -> str:
    """Run helm."""
    return run(setting("HELM"), *arguments, given=given, timeout=300)


def wait_for(what: str, check: Callable[[], _T | None], seconds: float, *, every: float = 0.25) -> _T:
    """The first true answer of ``check``; fails after ``seconds`` with what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := check():
                return found
            seen: object = found
        except CommandError as error:
            seen = error
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still waiting for {what}; last: {seen}")
        time.sleep(every)


@contextmanager
def watch(namespace: str, kind: str, name: str, jsonpath: str, seconds: float) -> Iterator[Iterator[str]]:
    """Lines that ``kubectl get --watch`` writes, the present state first, for so many seconds at most."""
    command = (setting("KUBECTL"), "--namespace", namespace, "get", kind, name, "--watch", "-o", f"jsonpath={jsonpath}",
               f"--request-timeout={seconds:g}s")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        try:
            yield iter(process.stdout)
        finally:
            process.kill()


def documents(path: Path) -> list[Object]:
    """The documents of a YAML file or of a folder's, with the images that the Makefile names."""
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    text = "\n---\n".join(each.read_text() for each in files).replace("E2E_IMAGE", os.environ.get("E2E_IMAGE", ""))
    return [each for each in yaml.safe_load_all(text) if each]


def prometheus(path: str, **query: str) -> Any:
    """``data`` of an answer of the Prometheus that ``E2E_PROMETHEUS_SERVICE`` names, through the API server."""
    namespace, _, service = setting("E2E_PROMETHEUS_SERVICE").partition("/")
    url = f"/api/v1/namespaces/{namespace}/services/{service}/proxy/api/v1/{path}?{urlencode(query)}"
    return json.loads(kubectl("get", "--raw", url))["data"]


def series(expression: str) -> list[Object]:
    """The result of an instant query."""
    found: list[Object] = prometheus("query", query=expression)["result"]
    return found


def wait_for_prometheus(what: str, check: Callable[[], _T | None], seconds: float) -> _T:
    """Wait for what needs a new configuration of Prometheus.

    It comes as a volume, which the kubelet refreshes in a minute or two, and at once when an annotation of the pod
    changes.
    """
    namespace = setting("E2E_PROMETHEUS_SERVICE").partition("/")[0]

    def hurried() -> _T | None:
        kubectl("--namespace", namespace, "annotate", "pods", "-l", "app.kubernetes.io/name=prometheus", "--overwrite",
                f"stratarouter.io/e2e={time.time_ns()}")
        return check()
    return wait_for(what, hurried, seconds, every=3)


class Namespace:
    """A namespace of its own that enforces the restricted Pod Security level."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create(self) -> None:
        """Make it; whatever an earlier run left under that name goes first."""
        kubectl("delete", "namespace", self.name, "--ignore-not-found", "--timeout=120s")
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": RESTRICTED}})

    def delete(self) -> None:
        """Remove it, without waiting."""
        kubectl("delete", "namespace", self.name, "--ignore-not-found", "--wait=false")

    def kubectl(self, *arguments: str, given: str | None = None, timeout: float = 180) -> str:
        """kubectl in this namespace."""
        return kubectl("--namespace", self.name, *arguments, given=given, timeout=timeout)

    def apply(self, *objects: Object) -> None:
        """kubectl apply."""
        scope = () if objects[0]["kind"] == "Namespace" else ("--namespace", self.name)
        kubectl(*scope, "apply", "-f", "-", given=yaml.safe_dump_all(objects))

    def apply_file(self, path: Path) -> None:
        """kubectl apply of a file or folder."""
        self.apply(*documents(path))

    def get(self, kind: str, name: str) -> Object:
        """One object."""
        found: Object = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def exists(self, kind: str, name: str) -> bool:
        """Whether an object is there."""
        return bool(self.kubectl("get", kind, name, "--ignore-not-found", "-o", "name").strip())

    def all(self, kind: str, **labels: str) -> list[Object]:
        """Objects of a kind, or of several, with these labels (``instance`` is ``app.kubernetes.io/instance``)."""
        selector = ",".join(f"app.kubernetes.io/{key}={value}" for key, value in labels.items())
        found: list[Object] = json.loads(self.kubectl("get", kind, "-l", selector, "-o", "json"))["items"]
        return found

    def patch(self, kind: str, name: str, changes: Object) -> None:
        """Merge changes into an object."""
        self.kubectl("patch", kind, name, "--type=merge", "--patch", json.dumps(changes))

    def wait(self, condition: str, resource: str, seconds: int) -> None:
        """kubectl wait, as a user would."""
        self.kubectl("wait", f"--for={condition}", resource, f"--timeout={seconds}s", timeout=seconds + 30)

    def calls(self, *wanted: Mapping[str, Any]) -> list[Object]:
        """Calls with the openai SDK from the pod ``caller``, one after the other."""
        output = self.kubectl("exec", "-i", "caller", "--", "python", "programs/calls.py", given=json.dumps(wanted))
        found: list[Object] = json.loads(output)
        return found

    def load(self, base_url: str, model: str, rate: float) -> Load:
        """Steady calls from the pod ``caller`` until ``stop``."""
        return Load(self.name, base_url, model, rate)

    def vendor(self, service: str) -> Vendor:
        """The control of a fake vendor: ``vendor-primary:9999``."""
        return Vendor(self.name, service)


class Load:
    """Calls at a steady rate in the background, under way once this exists; each failure counts."""

    def __init__(self, namespace: str, base_url: str, model: str, rate: float) -> None:
        command = (setting("KUBECTL"), "--namespace", namespace, "exec", "-i", "caller", "--",
                   "python", "programs/load.py", base_url, model, str(rate))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._process.stdout.readline()  # the first answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def stop(self) -> Object:
        """End it and report: ``calls``, ``failed``, ``failures``, ``slowest``."""
        output, errors = self._process.communicate("", timeout=90)
        if self._process.returncode:
            raise CommandError(f"the load ended early: {errors}")
        found: Object = json.loads(output)
        return found


class Vendor:
    """A fake vendor's ``/__control``, through the API server."""

    def __init__(self, namespace: str, service: str) -> None:
        self._url = f"/api/v1/namespaces/{namespace}/services/{service}/proxy/__control"

    def requests(self) -> list[Object]:
        """What it received since ``clear``, oldest first, the newest thousand."""
        found: list[Object] = json.loads(kubectl("get", "--raw", f"{self._url}/requests"))
        return found

    def keys_seen(self) -> set[str]:
        """The API keys it was sent since ``clear``."""
        return {each["headers"].get("authorization", "").removeprefix("Bearer ") for each in self.requests()}

    def clear(self) -> None:
        """Back to normal, counters at zero."""
        kubectl("delete", "--raw", self._url)

    def fail(self, fault: str, *, model: str = "*", times: int = -1) -> None:
        """Let the next calls meet a fault; -1: until ``clear``."""
        body = {"fault": fault, "model": model, "times": times}
        kubectl("create", "--raw", f"{self._url}/faults", "-f", "-", given=json.dumps(body))

    def accept(self, *keys: str) -> None:
        """Set the API keys it accepts."""
        kubectl("replace", "--raw", f"{self._url}/keys", "-f", "-", given=json.dumps(keys))
