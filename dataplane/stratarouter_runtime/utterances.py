"""The router of a pod: made from its routes' utterances as soon as their vectors are there.

Invariants: a text is embedded once, whatever is reloaded; of the vectors only those in use are kept. A vendor that is down
keeps no pod from starting: the index is then built in the background, tried again with growing pauses for as long as the
configuration holds, and meanwhile made of the utterances whose vectors are known (after a reload nearly all). The one task
belongs to the router and ends with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from .core import Router
from .model.cache import Embedder, Vector
from .model.routing import BulkEmbedder

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""Between tries; each is up to a quarter shorter, so that pods do not all ask at once."""
BULK = 64
"""Texts embedded in one call; the vendors' own limits begin at 96."""
BUSY_PAUSE_SECONDS, BUSY_TRIES = 0.05, 40
"""A local embedder that serves requests meanwhile has a place again in milliseconds."""
SEPARATOR = " … "

Sleep = Callable[[float], Awaitable[None]]


class UtteranceVectors:
    """Vectors of one embedder by their text."""

    def __init__(self, embedder: Embedder, *, sleep: Sleep = asyncio.sleep) -> None:
        self._embedder = embedder
        self._sleep = sleep
        self._vectors: dict[str, Vector] = {}

    def __len__(self) -> int:
        return len(self._vectors)

    def of(self, text: str) -> Vector | None:
        """A text's vector, where it is known."""
        return self._vectors.get(text)

    async def learn(self, texts: Sequence[str]) -> bool:
        """Embed what is not known yet; False where some still is not."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if isinstance(self._embedder, BulkEmbedder):
            for start in range(0, len(missing), BULK):
                part = missing[start : start + BULK]
                found = await self._embedder.embed_many([excerpt(text, self._embedder.fits) for text in part])
                if found is None:
                    return False
                self._vectors.update(zip(part, found, strict=True))
        else:
            for text in missing:
                vector = await self._one(text)
                if vector is None:
                    return False
                self._vectors[text] = vector
        # Another configuration's router may have forgotten some meanwhile.
        return all(text in self._vectors for text in texts)

    def keep(self, texts: Sequence[str]) -> None:
        """Forget all others."""
        self._vectors = {text: self._vectors[text] for text in texts if text in self._vectors}

    async def aclose(self) -> None:
        """Forget all."""
        self._vectors.clear()

    async def _one(self, text: str) -> Vector | None:
        cut = excerpt(text, self._embedder.fits)
        for _ in range(BUSY_TRIES):
            vector = await self._embedder.embed(cut)
            if vector is not None:
                return vector
            await self._sleep(BUSY_PAUSE_SECONDS)
        return None


class UtteranceRouter:
    """Makes the ``Router`` of these (route, utterance) pairs."""

    def __init__(self, utterances: Sequence[tuple[str, str]], threshold: float, vectors: UtteranceVectors, *,
                 sleep: Sleep = asyncio.sleep, random: Random | None = None) -> None:
        self._utterances = tuple(utterances)
        self._threshold = threshold
        self._vectors = vectors
        self._sleep = sleep
        self._random = random or Random()  # noqa: S311 (spreads load)
        self._router: Router | None = None
        self._complete = False
        self._task: asyncio.Task[None] | None = None

    @property
    def router(self) -> Router | None:
        """The router; None while no vector is known."""
        return self._router

    @property
    def complete(self) -> bool:
        """Whether it knows all utterances."""
        return self._complete

    async def prepare(self) -> bool:
        """Embed what is missing and build the index; False where that does not succeed now."""
        texts = [text for _, text in self._utterances]
        if self._complete or not await self._vectors.learn(texts):
            return self._complete
        await self._build()
        self._complete = True
        self._vectors.keep(texts)
        return True

    def start(self) -> None:
        """Prepare in the background until it succeeds."""
        if not self._complete and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="utterances")

    async def aclose(self) -> None:
        """Stop trying."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        failed = False
        try:
            if any(self._vectors.of(text) is not None for _, text in self._utterances):
                await self._build()
            while not await self.prepare():
                if not failed:
                    logger.warning("utterances cannot be embedded yet; it is tried again", extra={"count": len(self._utterances)})
                failed = True
                await self._sleep(pause * (1 - self._random.random() / 4))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        except ValueError as error:
            # Vectors that make no index, say of two dimensions: another try would get the same.
            logger.error("utterances make no index: %s", error, extra={"count": len(self._utterances)})
            return
        logger.info("routing by utterances is ready", extra={"count": len(self._utterances)})

    async def _build(self) -> None:
        """The index of what is known, built aside: for thousands of utterances it takes some tenths of a second."""
        known = [(name, text, vector) for name, text in self._utterances if (vector := self._vectors.of(text)) is not None]
        self._router = await asyncio.to_thread(_built, known, self._threshold)


def _built(known: Sequence[tuple[str, str, Vector]], threshold: float) -> Router:
    routes: dict[str, list[tuple[str, Vector]]] = {}
    for name, text, vector in known:
        routes.setdefault(name, []).append((text, vector))
    router = Router(threshold=threshold)
    router.add_routes([(name, [text for text, _ in each]) for name, each in routes.items()])
    router.build_index([vector for each in routes.values() for _, vector in each])
    return router


EXCERPT_ENDS = 125
"""Characters of each end: few, because in the mean over many words a question of one sentence is lost; and so few that every
embedder sees them whole."""


def excerpt(text: str, fits: Callable[[str], bool]) -> str:
    """The text, or its beginning and its end where an embedder would not see it whole: what is wanted stands at one of the two."""
    return text if fits(text) else text[:EXCERPT_ENDS] + SEPARATOR + text[-EXCERPT_ENDS:]
