"""One world for each module: vendors, server and SDK live through all its cases, on one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from faults.world import World
from faults.world import world as running_world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Everything running over the module's ``CASES``."""
    async with running_world(tmp_path_factory.mktemp("faults"), request.module.CASES) as made:
        yield made
