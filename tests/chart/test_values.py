"""The schema of the values: everything is listed, and nothing else is taken."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

CHART = Path(__file__).resolve().parents[2] / "charts/stratarouter-runtime"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def compare(schema, values, path=""):
    """Problems between a schema and the defaults it describes."""
    if "properties" not in schema:
        return [] if schema else [f"{path}: anything goes"]
    problems = [f"{path}: takes unknown keys"] if schema.get("additionalProperties") is not False else []
    described = set(schema["properties"]) - ({"global"} if not path else set())
    problems += [f"{path}.{key}: not on both sides" for key in described ^ set(values)]
    for key in described & set(values):
        problems += compare(schema["properties"][key], values[key], f"{path}.{key}")
    return problems


def test_schema_and_defaults_list_the_same_values():
    assert compare(SCHEMA, VALUES) == []


def test_defaults_are_valid():
    jsonschema.validate(VALUES, SCHEMA)


@pytest.mark.parametrize(("value", "named"), [
    ("replica=2", "replica"),
    ("image.tagg=1", "tagg"),
    ("replicas=two", "replicas"),
    ("replicas=-1", "replicas"),
    ("logLevel=loud", "logLevel"),
    ("watchNamespaces={Not_a_namespace}", "watchNamespaces"),
    ("image.pullPolicy=Sometimes", "pullPolicy"),
    ("monitoring.rules.errorRate.ratio=5", "ratio"),
    ("monitoring.rules.latency.window=soon", "window"),
    ("monitoring.dashboard.enabled=maybe", "enabled"),
])
def test_helm_refuses_a_wrong_value_and_names_it(render, value, named):
    with pytest.raises(ValueError, match=named):
        render(value)
