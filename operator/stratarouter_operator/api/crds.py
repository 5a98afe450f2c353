"""The CustomResourceDefinitions.

Pure. Invariants: the spec's schema comes from the contract alone; names are checked by the API server, because names
of Services and ConfigMaps are made of them.
"""

from __future__ import annotations

from typing import Any

from stratarouter_operator.cluster import PROVIDER_POOL, RUNTIME_CONFIG, Kind
from stratarouter_runtime.config import GROUP, NAME_LENGTH, ProviderPool, RuntimeConfig

from .schema import Schema, structural
from .status import ProviderPoolStatus, RuntimeConfigStatus

NAME_RULE = {
    "rule": f"self.metadata.name.size() <= {NAME_LENGTH} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "message": f"metadata.name must be a DNS-1035 label of at most {NAME_LENGTH} characters: lower case letters, digits "
               "and hyphens, starting with a letter",
}


def runtime_config() -> Schema:
    """The CRD of ``RuntimeConfig``."""
    columns = [
        _condition_column("Accepted"), _condition_column("Ready"),
        _column("Replicas", "integer", ".status.replicas"),
        _column("Updated", "integer", ".status.updatedReplicas", "Pods that run the configuration."),
        _condition_column("Degraded", priority=1),
        _column("Endpoint", "string", ".status.endpoint", priority=1),
        _column("Hash", "string", ".status.configHash", priority=1),
        _column("Age", "date", ".metadata.creationTimestamp"),
    ]
    subresources = {"status": {}, "scale": {
        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}}
    return _crd(RUNTIME_CONFIG, "rtc", _envelope(
        "A data plane: how it routes, executes, caches and reports, and in what shape it runs.",
        structural(RuntimeConfig), structural(RuntimeConfigStatus)), columns, subresources)


def provider_pool() -> Schema:
    """The CRD of ``ProviderPool``."""
    columns = [
        _condition_column("Accepted"),
        _column("Strategy", "string", ".spec.strategy"),
        _column("Used By", "string", ".status.usedBy"),
        _column("Age", "date", ".metadata.creationTimestamp"),
    ]
    return _crd(PROVIDER_POOL, "ppool", _envelope(
        "Providers that can serve each other's traffic.",
        structural(ProviderPool), structural(ProviderPoolStatus)), columns, {"status": {}})


def _envelope(description: str, spec: Schema, status: Schema) -> Schema:
    spec.pop("default", None)
    return {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/v1alpha1"},
            "kind": {"type": "string", "description": "The kind of the resource."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
        "x-kubernetes-validations": [NAME_RULE],
    }


def _crd(kind: Kind, short: str, schema: Schema, columns: list[Schema], subresources: Schema) -> Schema:
    version = {
        "name": kind.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": columns, "subresources": subresources,
    }
    names = {"kind": kind.name, "listKind": f"{kind.name}List", "plural": kind.plural, "singular": kind.name.lower(),
             "shortNames": [short], "categories": ["stratarouter"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {"group": kind.group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _column(name: str, kind: str, path: str, description: str = "", *, priority: int = 0) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    if description:
        column["description"] = description
    if priority:
        column["priority"] = priority
    return column


def _condition_column(condition: str, *, priority: int = 0) -> dict[str, Any]:
    return _column(condition, "string", f'.status.conditions[?(@.type=="{condition}")].status', priority=priority)
