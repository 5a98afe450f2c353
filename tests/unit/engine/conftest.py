"""Engine tests run on virtual time: they wait for minutes and take none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fakes.engine_bench import Bench
from fakes.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    """Every async test here gets a loop whose clock jumps."""
    return {"virtual": VirtualLoop}


@pytest.fixture
def bench() -> Bench:
    """An engine over scripted providers."""
    return Bench()
