"""A release: what was accepted comes back from the ConfigMap as it was."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from builders import pool, provider, runtime
from stratarouter_operator.desired import Options, Owner, desired
from stratarouter_operator.errors import Refused
from stratarouter_operator.release import SHAPE_FILE, SNAPSHOT_FILE, Release, accept, recall

SECRET = {"name": "openai", "key": "apiKey"}
SHAPED = {"replicas": 7, "template": {"image": "mine:2", "nodeSelector": {"disk": "fast"}},
          "observability": {"serviceMonitor": {"labels": {"release": "prometheus"}}, "logLevel": "debug"}}


def release(**spec: Any) -> Release:
    document = runtime("assistant", namespace="prod", generation=3, **spec)
    return accept(document, [pool("chat", provider("primary", credentialsSecretRef=SECRET), namespace="prod")])


def kept(made: Release) -> dict[str, str]:
    return {SNAPSHOT_FILE: made.snapshot.decode(), SHAPE_FILE: made.shape.decode()}


@pytest.mark.parametrize("spec", [{}, SHAPED, {"auth": {"apiKeysSecretRef": {"name": "keys"}}}])
def test_what_is_recalled_is_what_was_accepted(spec: dict[str, Any]) -> None:
    made = release(**spec)
    assert recall(kept(made)) == made


def test_it_leads_to_the_same_manifests() -> None:
    made, owner, options = release(**SHAPED), Owner("assistant", "u"), Options("image", service_monitors=True)
    assert desired(recall(kept(made)), owner, options) == desired(made, owner, options)


@given(st.integers(0, 1000), st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(max_size=40), max_size=4))
def test_any_shape_survives(replicas: int, annotations: dict[str, str]) -> None:
    made = release(replicas=replicas, template={"annotations": annotations})
    assert recall(kept(made)) == made


def test_the_hash_is_that_of_the_exact_bytes_the_pods_read() -> None:
    made = release()
    assert made.config_hash == hashlib.sha256(made.snapshot).hexdigest()


def test_the_shape_is_not_the_pods_business() -> None:
    assert release(**SHAPED).snapshot == release(observability={"logLevel": "debug"}).snapshot
    shape = yaml.safe_load(release(**SHAPED).shape)
    assert shape["spec"]["replicas"] == 7
    assert "logLevel" not in shape["spec"]["observability"]


def test_all_secrets_are_known() -> None:
    made = release(auth={"apiKeysSecretRef": {"name": "keys"}},
                   cache={"backend": "redis", "redis": {"urlSecretRef": {"name": "redis", "key": "url"}}})
    assert made.secrets == ("keys", "openai", "redis")


@pytest.mark.parametrize("data", [
    {}, {SNAPSHOT_FILE: ""}, {SNAPSHOT_FILE: "{", SHAPE_FILE: "{}"}, {SNAPSHOT_FILE: "a: 1", SHAPE_FILE: "spec: {}"},
    {SNAPSHOT_FILE: "- 1", SHAPE_FILE: "spec: {}"},
])
def test_what_cannot_be_read_is_refused(data: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        recall(data)
    assert caught.value.reason == "LastGoodUnreadable"


@pytest.mark.parametrize("shape", ["", "[]", "spec: 1", "spec: {replicas: many}", "spec: {unknown: 1}"])
def test_a_shape_that_cannot_be_read_is_refused(shape: str) -> None:
    with pytest.raises(Refused, match="last good"):
        recall({**kept(release()), SHAPE_FILE: shape})


def test_a_refusal_names_the_field() -> None:
    with pytest.raises(Refused) as caught:
        release(execution={"maxRetries": 999})
    assert caught.value.reason == "InvalidSpec"
    assert "spec.execution.maxRetries" in caught.value.message
