"""Decisions are tested on virtual time; indices are built in real threads, which that does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fakes.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    """The loop for a test of this folder."""
    return {"virtual": VirtualLoop} if item.path.name == "test_deciding.py" else {"real": asyncio.new_event_loop}
