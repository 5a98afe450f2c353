"""Ending a task for certain.

A cancellation can be lost in code that is not ours: ``asyncio.wait_for`` of Python 3.11 swallows one that comes as the inner
future ends (https://github.com/python/cpython/issues/86296). So it is repeated until the task has ended.
"""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN_SECONDS = 0.1


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended, however it ends."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_SECONDS)
