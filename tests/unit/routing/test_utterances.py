"""The router of a pod: what is embedded once, what is tried again, and what is known meanwhile."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import numpy as np
import pytest

from builders import until
from stratarouter_runtime.utterances import BUSY_TRIES, LONGEST_PAUSE_SECONDS, UtteranceRouter, UtteranceVectors

PAIRS = [("billing", "invoice"), ("billing", "refund"), ("shipping", "parcel")]
AXES = {text: np.eye(4, dtype=np.float32)[number] for number, text in enumerate(("invoice", "refund", "parcel", "poem"))}


class Local:
    """One text after another; some calls are in vain."""

    id, threshold = "local", 0.9

    def __init__(self, busy: int = 0) -> None:
        self.busy = busy
        self.seen: list[str] = []

    def fits(self, text: str) -> bool:
        return True

    async def embed(self, text: str) -> Any:
        self.seen.append(text)
        self.busy -= 1
        return None if self.busy >= 0 else AXES[text]

    async def aclose(self) -> None:
        pass


class Remote(Local):
    """Many at once; the first ``down`` calls fail."""

    def __init__(self, down: int = 0) -> None:
        super().__init__()
        self.down = down
        self.calls: list[list[str]] = []

    async def embed_many(self, texts: Any) -> Any:
        self.calls.append(list(texts))
        self.down -= 1
        return None if self.down >= 0 else [AXES.get(text, AXES["poem"]) for text in texts]


class Pauses:
    """A clock that does not wait, and what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await asyncio.sleep(0)


def router(vectors: UtteranceVectors, pairs: Any = PAIRS, pauses: Any = None, threshold: float = 0.57) -> UtteranceRouter:
    return UtteranceRouter(pairs, threshold, vectors, sleep=pauses or Pauses(), random=Random(1))


async def finished(made: UtteranceRouter) -> None:
    """Wait for its task."""
    assert made._task is not None
    await made._task


async def test_a_vendor_that_is_down_is_asked_again_with_growing_pauses() -> None:
    """Each at most a minute and somewhat shorter than twice the last, so that pods do not all come at once."""
    pauses, remote = Pauses(), Remote(down=9)
    made = router(UtteranceVectors(remote), pauses=pauses)
    made.start()
    assert made.router is None
    await finished(made)
    assert made.complete
    assert len(remote.calls) == 10
    for number, seconds in enumerate(pauses.asked):
        whole = min(2.0 ** number, LONGEST_PAUSE_SECONDS)
        assert 0.75 * whole <= seconds <= whole
    assert made.router is not None
    assert made.router.route("q", AXES["parcel"]).route_id == "shipping"


async def test_it_stops_trying_when_it_is_closed() -> None:
    """The task is its own."""
    made = router(UtteranceVectors(Remote(down=10**9)))
    made.start()
    made.start()
    task = made._task
    await asyncio.sleep(0)
    await made.aclose()
    assert task is not None
    assert task.cancelled()
    await made.aclose()


async def test_until_the_new_ones_are_known_it_routes_by_the_others() -> None:
    """What was there before a change is there while the vendor is down."""
    remote = Remote()
    vectors = UtteranceVectors(remote)
    assert await router(vectors).prepare()
    remote.down = 10**9
    changed = router(vectors, [*PAIRS, ("poems", "poem")])
    changed.start()
    await until(lambda: changed.router is not None)
    assert not changed.complete
    assert changed.router.route("q", AXES["refund"]).route_id == "billing"
    assert changed.router.route("q", AXES["poem"]).route_id is None
    remote.down = 0
    await finished(changed)
    assert changed.router.route("q", AXES["poem"]).route_id == "poems"


async def test_a_text_is_embedded_once_and_forgotten_when_nobody_has_it() -> None:
    """Across routers; also where two routes share it."""
    remote = Remote()
    vectors = UtteranceVectors(remote)
    assert await router(vectors, [*PAIRS, ("other", "invoice")]).prepare()
    assert remote.calls == [["invoice", "refund", "parcel"]]
    assert await router(vectors, [("billing", "invoice"), ("poems", "poem")]).prepare()
    assert remote.calls[1:] == [["poem"]]
    assert len(vectors) == 2
    assert await router(vectors).prepare()
    assert remote.calls[2:] == [["refund", "parcel"]]
    await vectors.aclose()
    assert len(vectors) == 0


async def test_what_another_router_forgets_meanwhile_is_embedded_again() -> None:
    """Two configurations may build at once, the one on its way out and the new one."""
    remote = Remote()
    vectors = UtteranceVectors(remote)
    ask = remote.embed_many

    async def forgetful(texts: Any) -> Any:
        vectors.keep(["invoice"])
        return await ask(texts)

    assert await vectors.learn(["invoice", "poem"])
    remote.embed_many = forgetful  # type: ignore[method-assign]
    assert not await vectors.learn(["poem", "parcel"])
    remote.embed_many = ask  # type: ignore[method-assign]
    assert await vectors.learn(["poem", "parcel"])


async def test_many_texts_travel_in_calls_of_a_bounded_size() -> None:
    """What the first calls brought is not asked for again when a later one fails."""
    remote = Remote()
    vectors = UtteranceVectors(remote)
    texts = [f"text {number}" for number in range(150)]
    remote.down = 1
    assert not await vectors.learn(texts)
    assert await vectors.learn(texts[:64])
    remote.down = 0
    assert await vectors.learn(texts)
    assert [len(call) for call in remote.calls] == [64, 64, 64, 22]


async def test_a_busy_local_model_is_asked_again_for_the_one_text() -> None:
    """Requests of the running pod fill its queue for moments."""
    local, pauses = Local(busy=3), Pauses()
    made = router(UtteranceVectors(local, sleep=pauses))
    assert await made.prepare()
    assert local.seen == ["invoice"] * 4 + ["refund", "parcel"]
    broken = Local(busy=10**9)
    assert not await router(UtteranceVectors(broken, sleep=pauses)).prepare()
    assert len(broken.seen) == BUSY_TRIES


async def test_vectors_that_make_no_index_end_the_tries(caplog: pytest.LogCaptureFixture) -> None:
    """The same would come again; it is told once, and the pod serves without routing."""

    class TwoSpaces(Remote):
        async def embed_many(self, texts: Any) -> Any:
            return [np.ones(2 + number, dtype=np.float32) for number, _ in enumerate(texts)]

    made = router(UtteranceVectors(TwoSpaces()))
    made.start()
    await finished(made)
    assert (made.complete, made.router) == (False, None)
    assert "utterances make no index" in caplog.text


async def test_the_threshold_is_the_routers() -> None:
    """It is built with it."""
    made = router(UtteranceVectors(Local()), threshold=0.7)
    assert await made.prepare()
    assert made.router is not None
    assert made.router.route("q", AXES["parcel"]).route_id is None
