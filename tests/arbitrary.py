"""Arbitrary JSON for property tests: shapes that come near those of a wire format, and miss them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def json_values(*names: str) -> st.SearchStrategy[Any]:
    """Any JSON value whose objects have these names."""
    leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 1) | st.text(max_size=3)
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=4), max_leaves=8)


def objects(required: dict[str, st.SearchStrategy[Any]], names: tuple[str, ...], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the required fields, and up to three others of these names."""
    return st.builds(lambda fixed, more: {**more, **fixed}, st.fixed_dictionaries(required),
                     st.dictionaries(st.sampled_from(names), values, max_size=3))
