"""The local embedder's queue and memory, around a function that stands for the model; the model itself is in the integration tests."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import numpy as np
import pytest

from stratarouter_runtime.cache.guard import warm
from stratarouter_runtime.cache.minilm import LONGEST, WINDOW, MiniLmEmbedder


class Model:
    """Embeds when the gate is open and counts how often."""

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.seen = []

    def __call__(self, text):
        self.seen.append(text)
        assert self.gate.wait(10)
        if "broken" in text:
            raise RuntimeError("no model")
        return np.full(4, len(text), dtype=np.float32)


@pytest.fixture(scope="module", autouse=True)
def words():
    """As ``open_minilm`` does before the first text."""
    warm()


@pytest.fixture
async def model():
    return Model()


@pytest.fixture
async def embedder(model):
    made = MiniLmEmbedder(model, lambda text: len(text.split()) + 2, "minilm-test", max_queued=3, max_remembered=2)
    yield made
    model.gate.set()
    await made.aclose()


async def test_a_failing_model_is_a_miss(embedder, caplog):
    """A look-up never raises; the failure is reported and not remembered."""
    assert await embedder.embed("broken text") is None
    assert await embedder.embed("broken text") is None
    assert "embedding failed" in caplog.text


async def test_beyond_the_queue_it_sheds_at_once(embedder, model):
    """Whoever comes fourth is told so while the first still waits."""
    model.gate.clear()
    waiting = [asyncio.ensure_future(embedder.embed(f"text {number}")) for number in range(3)]
    await asyncio.sleep(0)
    assert await embedder.embed("one too many") is None
    model.gate.set()
    assert all(vector is not None for vector in await asyncio.gather(*waiting))
    assert await embedder.embed("one too many") is not None


async def test_the_same_text_is_embedded_once_for_all_who_wait(embedder, model):
    """Also when one of them leaves."""
    model.gate.clear()
    first, second = (asyncio.ensure_future(embedder.embed("How do I pay?")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    model.gate.set()
    assert await second is not None
    assert first.cancelled()
    assert model.seen == ["how do i pay"]


async def test_vectors_are_remembered_by_surface_and_bounded(embedder, model):
    """Courtesy and case cost nothing; the least recently used is forgotten."""
    await embedder.embed("How do I pay?")
    await embedder.embed("hello, how do I pay please")
    await embedder.embed("two")
    await embedder.embed("how do i pay")
    await embedder.embed("three")
    assert model.seen == ["how do i pay", "two", "three"]
    await embedder.embed("two")
    assert model.seen[3:] == ["two"]


async def test_after_closing_all_is_a_miss(model):
    """What waits ends, what comes later does not start the thread again."""
    embedder = MiniLmEmbedder(model, len, "minilm-test")
    model.gate.clear()
    running = asyncio.ensure_future(embedder.embed("running"))
    queued = asyncio.ensure_future(embedder.embed("queued"))
    await asyncio.sleep(0)
    await embedder.aclose()
    await embedder.aclose()
    assert await queued is None
    model.gate.set()
    await running
    assert await embedder.embed("later") is None


async def test_only_what_the_model_sees_whole_fits(embedder):
    """Short texts are not counted, long ones are, very long ones need not be."""
    assert embedder.fits("x" * (WINDOW - 2))
    assert embedder.fits("word " * (WINDOW - 2))
    assert not embedder.fits("word " * (WINDOW - 1))
    assert not embedder.fits("x" * (LONGEST + 1))


async def test_a_text_of_nothing_but_courtesy_is_embedded_as_it_is(embedder, model):
    """An empty surface has no direction."""
    await embedder.embed("please")
    assert model.seen == ["please"]


def test_the_data_plane_does_not_import_the_model():
    """A pod without a local embedder does not pay for one."""
    program = ("import sys; import stratarouter_runtime.cache; "
               "print([name for name in ('onnxruntime', 'tokenizers', 'redis', 'hnswlib') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
