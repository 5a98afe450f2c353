"""Small requests gathered into one call: what comes while a call is under way travels together in the next.

Nobody waits where nothing is under way: the first goes out at once. Invariants: a request waits no longer than the window,
or until the batch is full, or until the call under way has ended, whichever comes first; a batch holds at most ``max_size``
inputs and only requests of one group, which says that one call may answer all of them; what is the matter with one of them
is not the others' affair: a batch that was refused is made again one by one; every task is owned, and ends when the last
of its requests has left.

Source of the idea: Nagle's algorithm (RFC 896), for requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from stratarouter_runtime.model.errors import StrataError

from .flights import same_for_all

MAX_GROUPS = 1_024

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Batch(Generic[Item, Result]):
    """Requests that will travel, or travel, together."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.size = 0
        self.waiting: list[asyncio.Future[Result]] = []
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None


class _Group(Generic[Item, Result]):
    def __init__(self) -> None:
        self.under_way = 0
        self.gathering: _Batch[Item, Result] | None = None


class Gatherer(Generic[Item, Result]):
    """Calls ``together`` with the items of a batch in order, which gives a result for each, in order, or raises.

    ``alone`` makes the call for a single item. ``window`` in seconds.
    """

    def __init__(self, together: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], alone: Callable[[Item], Awaitable[Result]], *,
                 window: float, max_size: int, max_groups: int = MAX_GROUPS) -> None:
        self._together = together
        self._alone = alone
        self._window = window
        self._max_size = max_size
        self._max_groups = max_groups
        self._groups: dict[Hashable, _Group[Item, Result]] = {}

    async def call(self, group: Hashable, item: Item, size: int = 1) -> tuple[Result, int]:
        """The result for an item of ``size`` inputs, and how many requests its call answered. Raises what the call raised."""
        if size >= self._max_size or not self._window:
            return await self._alone(item), 1
        found = self._groups.get(group)
        if found is None:
            if len(self._groups) >= self._max_groups:
                return await self._alone(item), 1
            found = self._groups[group] = _Group()
        if not found.under_way:
            return await self._lead(group, found, item), 1
        return await self._gathered(group, found, item, size)

    async def _lead(self, key: Hashable, group: _Group[Item, Result], item: Item) -> Result:
        group.under_way += 1
        try:
            return await self._alone(item)
        finally:
            self._landed(key, group)

    async def _gathered(self, key: Hashable, group: _Group[Item, Result], item: Item, size: int) -> tuple[Result, int]:
        batch = group.gathering
        if batch is not None and batch.size + size > self._max_size:
            self._start(key, group)
            batch = None
        if batch is None:
            batch = group.gathering = _Batch()
            batch.timer = asyncio.get_running_loop().call_later(self._window, self._start, key, group)
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        batch.items.append(item)
        batch.waiting.append(result)
        batch.size += size
        if batch.size >= self._max_size:
            self._start(key, group)
        try:
            return await result, len(batch.items)
        finally:
            self._left(batch, result)

    def _start(self, key: Hashable, group: _Group[Item, Result]) -> None:
        """The batch that is being gathered travels now."""
        batch, group.gathering = group.gathering, None
        if batch is None:
            return
        if batch.timer is not None:
            batch.timer.cancel()
        if all(each.cancelled() for each in batch.waiting):
            self._tidy(key, group)
            return
        group.under_way += 1
        batch.task = asyncio.get_running_loop().create_task(self._travel(batch), name="gathered-call")
        batch.task.add_done_callback(lambda _: self._landed(key, group))

    async def _travel(self, batch: _Batch[Item, Result]) -> None:
        # Who has left meanwhile is not asked for.
        wanted = [(item, waiting) for item, waiting in zip(batch.items, batch.waiting, strict=True) if not waiting.cancelled()]
        try:
            results = await (self._together([item for item, _ in wanted]) if len(wanted) > 1 else self._single(wanted[0][0]))
        except StrataError as error:
            if len(wanted) > 1 and same_for_all(error):
                await asyncio.gather(*(self._again(item, waiting) for item, waiting in wanted))
                return
            _tell(wanted, error)
        except Exception as error:  # noqa: BLE001 (whoever waits must hear of it)
            _tell(wanted, error)
        else:
            for (_, waiting), result in zip(wanted, results, strict=True):
                if not waiting.done():
                    waiting.set_result(result)

    async def _single(self, item: Item) -> Sequence[Result]:
        return [await self._alone(item)]

    async def _again(self, item: Item, waiting: asyncio.Future[Result]) -> None:
        """The call for one of a batch that was refused: the refusal may be another's."""
        try:
            result = await self._alone(item)
        except Exception as error:  # noqa: BLE001 (whoever waits must hear of it)
            _tell([(item, waiting)], error)
        else:
            if not waiting.done():
                waiting.set_result(result)

    def _left(self, batch: _Batch[Item, Result], result: asyncio.Future[Result]) -> None:
        """A request goes, with its result or without; the last one ends the call."""
        if not result.done():
            result.cancel()
        if batch.task is not None and not batch.task.done() and all(each.done() for each in batch.waiting):
            batch.task.cancel()

    def _landed(self, key: Hashable, group: _Group[Item, Result]) -> None:
        group.under_way -= 1
        if not group.under_way:
            self._start(key, group)
        self._tidy(key, group)

    def _tidy(self, key: Hashable, group: _Group[Item, Result]) -> None:
        if not group.under_way and group.gathering is None and self._groups.get(key) is group:
            del self._groups[key]


def _tell(wanted: Sequence[tuple[Item, asyncio.Future[Result]]], error: Exception) -> None:
    for _, waiting in wanted:
        if not waiting.done():
            waiting.set_exception(error)
