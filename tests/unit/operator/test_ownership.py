"""Whose an object is, whether it drifted, and how a POST's record becomes an apply's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_operator.ownership import adopted_fields, covers, is_ours

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3))


@pytest.mark.parametrize(("owners", "ours"), [
    (None, False), ([], False), ([{"uid": "u", "controller": True}], True), ([{"uid": "u"}], False),
    ([{"uid": "other", "controller": True}, {"uid": "u"}], False),
])
def test_only_the_controller_reference_with_our_uid_makes_it_ours(owners: Any, ours: bool) -> None:
    assert is_ours({"metadata": {"ownerReferences": owners}}, "u") is ours


@pytest.mark.parametrize(("live", "wanted", "result"), [
    ({"a": 1, "b": 2}, {"a": 1}, True),
    ({"a": 1}, {"a": 1, "b": 2}, False),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
    ({"a": [1, 2]}, {"a": [1, 2]}, True),
    ({"a": [1, 2]}, {"a": [1]}, False),
    ({"c": [{"name": "x", "v": 1}, {"name": "y"}]}, {"c": [{"name": "x", "v": 1}]}, True),
    ({"c": [{"name": "x", "v": 2}]}, {"c": [{"name": "x", "v": 1}]}, False),
    ({"c": []}, {"c": [{"name": "x"}]}, False),
    ({"a": None}, {"a": {"b": 1}}, False),
    ({"a": "x"}, {"a": ["x"]}, False),
])
def test_drift_is_a_field_we_set(live: Any, wanted: Any, result: bool) -> None:
    assert covers(live, wanted) is result


@given(JSON)
def test_everything_covers_itself(value: Any) -> None:
    assert covers(value, value)


UPDATE = {"manager": "stratarouter-operator", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {}}}}
APPLY = {"manager": "stratarouter-operator", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}}
SCALE = {"manager": "stratarouter-operator", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
THEIRS = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {}}}


@pytest.mark.parametrize(("before", "after"), [
    ([UPDATE, THEIRS], [THEIRS, APPLY]),
    ([UPDATE, APPLY], [APPLY]),
    ([APPLY, SCALE, THEIRS], None),
    ([THEIRS], None),
    (None, None),
])
def test_the_record_of_a_post_becomes_one_of_an_apply_without_replicas(before: Any, after: Any) -> None:
    assert adopted_fields({"metadata": {"managedFields": before}}) == after
