"""The generated files: structural, bounded, complete, and as committed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, Field

from stratarouter_operator.api.crds import provider_pool, runtime_config
from stratarouter_operator.api.generate import CHART_HEAD, CHART_TAIL, MAX_CRD, generated, main
from stratarouter_operator.api.schema import structural
from stratarouter_runtime.config import fields

ROOT = Path(__file__).parents[3]
CRDS = {"RuntimeConfig": runtime_config(), "ProviderPool": provider_pool()}


def schema(kind: str) -> Any:
    [version] = CRDS[kind]["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def walk(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every schema below one, with its path."""
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from walk(node[key], f"{path}[]")


ALL = [(kind, path, node) for kind in CRDS for path, node in walk(schema(kind)) if path != ".metadata"]


def test_the_committed_files_are_what_the_contract_generates() -> None:
    assert main(["--check", "--root", str(ROOT)]) == 0


def test_a_difference_is_told_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--root", str(tmp_path)]
    assert main([*arguments, "--check"]) == 1
    assert "crds/runtimeconfigs.yaml" in capsys.readouterr().err
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    (tmp_path / "crds/runtimeconfigs.yaml").write_text("edited by hand\n")
    assert main([*arguments, "--check"]) == 1


def test_generation_is_deterministic() -> None:
    assert generated() == generated()


@pytest.mark.parametrize("kind", sorted(CRDS))
def test_a_crd_is_small_enough_for_kubectl_apply(kind: str) -> None:
    assert len(json.dumps(CRDS[kind])) < MAX_CRD


@pytest.mark.parametrize(("kind", "path", "node"), ALL, ids=[f"{kind}{path}" for kind, path, _ in ALL])
def test_schemas_are_structural_and_bounded(kind: str, path: str, node: dict[str, Any]) -> None:
    """No references, no alternatives, a type everywhere, a bound on everything that can grow."""
    assert not {"$ref", "$defs", "anyOf", "allOf", "oneOf", "title", "const", "x-strata-apply", "propertyNames"} & set(node)
    assert node.get("type") in ("object", "array", "string", "integer", "number", "boolean")
    assert node.get("default", ...) is not None
    if path in ("", ".spec", ".status", ".apiVersion", ".kind"):
        return
    if node["type"] == "string":
        assert "maxLength" in node or "enum" in node
    elif node["type"] == "array":
        assert "maxItems" in node
    elif node["type"] == "object" and "additionalProperties" in node:
        assert "maxProperties" in node
    elif node["type"] in ("integer", "number") and not path.startswith(".status"):
        assert {"minimum", "maximum"} <= set(node)


def test_every_field_of_the_contract_is_in_the_schema() -> None:
    known = {(kind, path.removeprefix(".spec.")) for kind, path, _ in ALL if path.startswith(".spec.")}
    missing = [each for each in fields() if (each.kind, each.path) not in known]
    assert missing == []


def test_every_field_of_the_contract_is_in_the_reference() -> None:
    page = generated()["docs/reference.md"]
    for each in fields():
        assert f"| `{each.path.rpartition('.')[2]}` |" in page
        assert each.description.split(". ")[0].replace("|", "\\|") in " ".join(page.split())


def test_an_object_without_required_fields_has_a_default_so_that_the_inner_ones_apply() -> None:
    spec = schema("RuntimeConfig")["properties"]["spec"]["properties"]
    assert spec["execution"]["default"] == {}
    assert spec["cache"]["default"]["enabled"] is True, "its rule is tried on the default as it is written"
    assert "default" not in spec["auth"]


def test_keyed_lists_are_maps_and_ordered_ones_atomic() -> None:
    spec = schema("RuntimeConfig")["properties"]["spec"]["properties"]
    assert (spec["routes"]["x-kubernetes-list-type"], spec["routes"]["x-kubernetes-list-map-keys"]) == ("map", ["name"])
    assert spec["routes"]["items"]["properties"]["pools"]["x-kubernetes-list-type"] == "atomic"


def test_fragments_of_kubernetes_keep_what_they_are_given() -> None:
    template = schema("RuntimeConfig")["properties"]["spec"]["properties"]["template"]["properties"]
    assert template["affinity"]["x-kubernetes-preserve-unknown-fields"] is True
    assert template["tolerations"]["items"]["x-kubernetes-preserve-unknown-fields"] is True


def test_money_is_a_decimal_string() -> None:
    price = dict(walk(schema("ProviderPool")))[".spec.providers[].models[].price.inputPerMillionTokens"]
    assert price["type"] == "string"
    assert "pattern" in price


def test_subresources_and_columns() -> None:
    [version] = CRDS["RuntimeConfig"]["spec"]["versions"]
    assert version["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}
    assert "status" in CRDS["ProviderPool"]["spec"]["versions"][0]["subresources"]
    assert [name for crd in CRDS.values() for name in crd["spec"]["names"]["shortNames"]] == ["rtc", "ppool"]


def test_the_charts_copy_is_the_crd_that_helm_keeps() -> None:
    for name in ("runtimeconfigs", "providerpools"):
        content = generated()[f"charts/stratarouter-runtime/templates/crds/{name}.yaml"]
        crd = yaml.safe_load(content.removeprefix(CHART_HEAD).removesuffix(CHART_TAIL))
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert crd == yaml.safe_load(generated()[f"crds/{name}.yaml"])


class Lossy(BaseModel):
    """A model with something that no structural schema can say."""

    either: int | str = Field(1)


class Anything(BaseModel):
    """A model with a map of anything, whose content the API server would throw away."""

    things: dict[str, Any] = Field(default_factory=dict)


@pytest.mark.parametrize("model", [Lossy, Anything])
def test_what_has_no_structural_form_is_an_error_and_not_lost(model: type[BaseModel]) -> None:
    with pytest.raises(TypeError):
        structural(model)
