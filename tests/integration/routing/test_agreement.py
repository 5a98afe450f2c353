"""The router with the local embedder: it finds what an exact search in numpy finds, and mostly what was meant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import numpy as np
import pytest

from stratarouter_runtime.cache import open_minilm
from stratarouter_runtime.cache.minilm import MiniLmEmbedder
from stratarouter_runtime.config import RoutingConfig
from stratarouter_runtime.core import Router

UTTERANCES = {
    "balance": ["how much money is in my account", "what is my current balance", "tell me what is left on my account"],
    "transfer": ["send money to my sister", "move 200 dollars to my savings", "i want to make a bank transfer"],
    "card-lost": ["i lost my credit card", "my card was stolen", "please block my card"],
    "alarm": ["wake me up at seven", "set an alarm for tomorrow morning", "cancel my alarm"],
    "weather": ["will it rain today", "what is the weather like in paris", "do i need an umbrella"],
    "music": ["play some jazz", "put on my favourite album", "skip this song"],
    "flight": ["book a flight to berlin", "i need a plane ticket to new york", "find me cheap flights"],
    "recipe": ["how do i cook lasagna", "what can i make with eggs", "give me a recipe for soup"],
    "restaurant": ["reserve a table for two", "find an italian restaurant nearby", "where can i eat sushi"],
    "translate": ["how do you say hello in french", "translate this into spanish", "what is the german word for bread"]}
ASKED = {
    "what's the balance of my bank account": "balance", "transfer fifty euros to anna": "transfer", "someone stole my card": "card-lost",
    "set the alarm for 6 am": "alarm", "is it going to rain this weekend": "weather", "play the next song please": "music",
    "i want to fly to madrid": "flight", "recipe for tomato soup": "recipe", "book a table at a restaurant for tonight": "restaurant",
    "how do i say thank you in spanish": "translate"}
OUTSIDE = ["who won the football game last night", "what is the meaning of life", "my printer is out of paper"]


@pytest.fixture
async def embedder() -> AsyncIterator[MiniLmEmbedder]:
    """MiniLM."""
    made = await open_minilm()
    yield made
    await made.aclose()


async def vectors_of(embedder: MiniLmEmbedder, texts: Iterable[str]) -> np.ndarray:
    """One row for each text."""
    return np.asarray([await embedder.embed(text) for text in texts])


async def test_it_finds_the_nearest_utterance_and_mostly_what_was_meant(embedder: MiniLmEmbedder) -> None:
    """The same route as numpy for every text, with the same cosine; what belongs nowhere stays below the default threshold."""
    router = Router(threshold=RoutingConfig().threshold)
    router.add_routes(UTTERANCES)
    names = [name for name, _ in router.utterances]
    known = await vectors_of(embedder, (text for _, text in router.utterances))
    router.build_index(known)
    right = 0
    for text, wanted in [*ASKED.items(), *((text, None) for text in OUTSIDE)]:
        (vector,) = await vectors_of(embedder, [text])
        cosines = known @ vector
        decision = router.route(text, vector)
        assert decision.metadata["nearest"] == names[int(cosines.argmax())], text
        assert decision.scores["semantic"] == pytest.approx(cosines.max(), abs=1e-5)
        right += decision.route_id == wanted
    assert right >= len(ASKED) + len(OUTSIDE) - 1


async def test_the_same_texts_give_the_same_decisions(embedder: MiniLmEmbedder) -> None:
    """In another order, in another router: a decision depends on nothing else."""
    found = []
    for routes in (UTTERANCES, dict(reversed(UTTERANCES.items()))):
        router = Router()
        router.add_routes(routes)
        router.build_index(await vectors_of(embedder, (text for _, text in router.utterances)))
        decisions = [router.route(text, vector) for text, vector in zip(ASKED, await vectors_of(embedder, ASKED), strict=True)]
        found.append([(each.route_id, each.confidence) for each in decisions])
    assert found[0] == found[1]
