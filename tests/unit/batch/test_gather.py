"""Small requests travel together while one is under way, and nobody is hurt by another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from fakes.virtual_time import VirtualLoop
from stratarouter_runtime.batch import Gatherer
from stratarouter_runtime.model.errors import ExecutionError, RequestError

WINDOW = 0.05
START = 1_000.0


def run(main):
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class Vendor:
    """Takes a second a call; a text with ``bad`` in it is refused, with all that came along."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, list[str]]] = []
        self.cancelled = 0
        self.failure: Exception | None = None

    async def together(self, items: Sequence[str]) -> list[str]:
        self.calls.append((asyncio.get_running_loop().time() - START, list(items)))
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        if any("bad" in item for item in items):
            raise RequestError("InvalidRequest", "a bad input")
        return [item.upper() for item in items]

    async def alone(self, item: str) -> str:
        return (await self.together([item]))[0]


def gatherer(vendor: Vendor, *, window: float = WINDOW, max_size: int = 4, **options) -> Gatherer[str, str]:
    return Gatherer(vendor.together, vendor.alone, window=window, max_size=max_size, **options)


async def after(seconds: float, work):
    await asyncio.sleep(seconds)
    return await work


def test_the_first_goes_out_at_once_and_what_comes_meanwhile_travels_together():
    """After the window, not when the first has come back."""
    vendor = Vendor()

    async def main():
        calls = gatherer(vendor)
        return await asyncio.gather(calls.call("g", "a"), after(0.01, calls.call("g", "b")), after(0.02, calls.call("g", "c")))

    assert run(main()) == [("A", 1), ("B", 2), ("C", 2)]
    assert [(round(at, 3), items) for at, items in vendor.calls] == [(0, ["a"]), (0.06, ["b", "c"])]


def test_a_full_batch_waits_for_no_window():
    """``max_size`` inputs; what does not fit begins the next."""
    vendor = Vendor()

    async def main():
        calls = gatherer(vendor)
        sizes = {"b": 2, "c": 1, "d": 2, "e": 2}
        return await asyncio.gather(calls.call("g", "a"), *(after(0.01, calls.call("g", name, size)) for name, size in sizes.items()))

    assert [result for result, _ in run(main())] == ["A", "B", "C", "D", "E"]
    assert [sorted(items) for _, items in vendor.calls] == [["a"], ["b", "c"], ["d", "e"]]
    assert [round(at, 3) for at, _ in vendor.calls] == [0, 0.01, 0.01]


def test_what_waits_travels_when_the_call_under_way_has_ended():
    """A long window is no reason to wait when nothing is under way any more."""
    vendor = Vendor()

    async def main():
        calls = gatherer(vendor, window=60)
        await asyncio.gather(calls.call("g", "a"), after(0.01, calls.call("g", "b")), after(0.02, calls.call("g", "c")))

    run(main())
    assert [(round(at, 3), items) for at, items in vendor.calls] == [(0, ["a"]), (1, ["b", "c"])]


def test_groups_do_not_mix():
    """Another tenant, route or parameter."""
    vendor = Vendor()

    async def main():
        calls = gatherer(vendor)
        await asyncio.gather(*(calls.call(group, item) for group, item in (("g", "a"), ("h", "b"), ("g", "c"), ("h", "d"))))

    run(main())
    assert sorted(items for _, items in vendor.calls) == [["a"], ["b"], ["c"], ["d"]]


def test_one_bad_input_does_not_fail_the_others():
    """The batch that was refused is made again one by one."""
    vendor = Vendor()

    async def main():
        calls = gatherer(vendor)
        return await asyncio.gather(*(calls.call("g", item) for item in ("a", "b", "bad", "c")), return_exceptions=True)

    first, second, bad, last = run(main())
    assert [first, second[0], last[0]] == [("A", 1), "B", "C"]
    assert isinstance(bad, RequestError)
    assert sorted(items for _, items in vendor.calls) == [["a"], ["b"], ["b", "bad", "c"], ["bad"], ["c"]]


@pytest.mark.parametrize("failure", [ExecutionError("AllAttemptsFailed", "no", status=502), ValueError("a defect")])
def test_what_fails_for_all_is_tried_once(failure):
    """A vendor that is down is not asked again for each."""
    vendor = Vendor()

    async def main():
        calls = gatherer(vendor)
        first = asyncio.create_task(calls.call("g", "a"))
        rest = [asyncio.create_task(after(0.01, calls.call("g", item))) for item in "bc"]
        await first
        vendor.failure = failure
        return await asyncio.gather(*rest, return_exceptions=True)

    assert run(main()) == [failure, failure]
    assert len(vendor.calls) == 2


def test_who_leaves_is_not_asked_for_and_the_last_ends_the_call():
    """Before the batch has left, and while it is under way."""
    vendor = Vendor()

    async def main():
        calls = gatherer(vendor)
        tasks = {name: asyncio.create_task(calls.call("g", name)) for name in "abcd"}
        await asyncio.sleep(0.01)
        tasks["b"].cancel()
        await asyncio.sleep(0.1)
        assert [items for _, items in vendor.calls] == [["a"], ["c", "d"]]
        tasks["c"].cancel()
        await asyncio.sleep(0.01)
        assert vendor.cancelled == 0
        tasks["d"].cancel()
        await asyncio.sleep(0.01)
        assert vendor.cancelled == 1
        await tasks["a"]
        assert not calls._groups

    run(main())


@pytest.mark.parametrize("options", [{"window": 0}, {"max_size": 1}, {"max_groups": 0}])
def test_where_nothing_may_be_gathered_each_goes_alone(options):
    """No window, batches of one, or too many groups at once."""
    vendor = Vendor()

    async def main():
        calls = gatherer(vendor, **options)
        await asyncio.gather(*(calls.call("g", item) for item in "abc"))

    run(main())
    assert [items for _, items in vendor.calls] == [["a"], ["b"], ["c"]]
