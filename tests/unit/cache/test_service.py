"""Look-up and store over a store that fails on demand: whatever goes wrong is a miss with a reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stratarouter_runtime.cache import MemoryStore, SemanticCache, StoreUnavailable, VectorIndex
from stratarouter_runtime.cache.store import MissingStore
from stratarouter_runtime.model.cache import CacheEntry, CacheKey, Hit, Miss


class Words:
    """An embedder whose vectors are made of known words: texts are near if they share them."""

    id = "words"
    threshold = 0.5

    def __init__(self):
        self.asked = []
        self.busy = False
        self.known = {}

    def fits(self, text):
        return len(text) < 100

    async def embed(self, text):
        self.asked.append(text)
        if self.busy:
            return None
        vector = np.zeros(64, dtype=np.float32)
        for word in text.lower().split():
            vector[self.known.setdefault(word, len(self.known))] += 1
        return vector / np.linalg.norm(vector)

    async def aclose(self):
        pass


class Flaky(MemoryStore):
    """Answers until it is told not to."""

    down = False

    async def get(self, exact):
        if self.down:
            raise StoreUnavailable("down")
        return await super().get(exact)

    async def put(self, entry, vector, **options):
        if self.down:
            raise StoreUnavailable("down")
        return await super().put(entry, vector, **options)

    async def delete(self, exact):
        if self.down:
            raise StoreUnavailable("down")
        return await super().delete(exact)


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def embedder():
    return Words()


@pytest.fixture
def store(clock):
    return Flaky(max_entries=100, clock=clock)


@pytest.fixture
async def cache(store, embedder, clock):
    made = SemanticCache(store, VectorIndex(max_entries=100, max_bytes=10**7), embedder, clock=clock)
    await made.start()
    yield made
    await made.aclose()


def key(text="How do I pay my bill?", partition="p", exact_only=""):
    return CacheKey(scope="s", partition=partition, exact=f"{partition}/{text}", family="chat", tenant="t", route="r", model="m",
                    text=text, exact_only=exact_only)


def entry(of, **fields):
    given = {"partition": of.partition, "exact": of.exact, "body": b'{"a":1}', "pool": "c", "provider": "p", "model": "m",
             "region": "eu", "created": 1_000.0, "ttl": 60.0, "text": of.text, **fields}
    return CacheEntry(**given)


async def test_an_empty_cache_misses_without_embedding(cache, embedder):
    """Where nothing can answer a vector is of no use yet."""
    assert await cache.lookup_exact(key()) == Miss("absent")
    assert await cache.lookup_semantic(key()) == Miss("absent")
    assert embedder.asked == []


async def test_the_same_request_hits_exactly_with_its_age(cache, clock):
    """Score 1, no embedding."""
    await cache.store(key(), entry(key()))
    clock.now += 7
    assert await cache.lookup_exact(key()) == Hit(entry(key()), "exact", 1.0, 7.0)


async def test_another_way_of_asking_hits_semantically(cache, embedder):
    """With the cosine that found it."""
    await cache.store(key(), entry(key()))
    asked = key("how can i pay my bill")
    assert isinstance(await cache.lookup_exact(asked), Miss)
    found = await cache.lookup_semantic(asked)
    assert isinstance(found, Hit)
    assert found.entry.text == "How do I pay my bill?"
    assert 0.5 < found.score < 1


async def test_a_near_miss_is_refused_with_the_guards_reason(cache):
    """However near it is."""
    await cache.store(key("How do I pay 10 dollars?"), entry(key("How do I pay 10 dollars?")))
    found = await cache.lookup_semantic(key("How do I pay 12 dollars?"))
    assert isinstance(found, Miss)
    assert (found.reason, found.detail) == ("guard", "number")
    assert found.score > 0.5
    assert found.vector is not None


async def test_the_guard_may_refuse_the_nearest_and_allow_a_later_one(cache):
    """The right answer is not hidden behind a wrong one."""
    for text in ("Do I pay 12 dollars now please", "Could you tell me do I pay 10 dollars now"):
        await cache.store(key(text), entry(key(text)))
    found = await cache.lookup_semantic(key("Do I pay 10 dollars now please"))
    assert isinstance(found, Hit)
    assert found.entry.text == "Could you tell me do I pay 10 dollars now"


async def test_below_the_threshold_there_is_no_hit(cache):
    """A given threshold is obeyed; the embedder's own applies where none is given."""
    await cache.store(key(), entry(key()))
    asked = key("how can i pay my bill")
    found = await cache.lookup_semantic(asked, threshold=0.999)
    assert isinstance(found, Miss)
    assert found.reason == "below-threshold"
    assert 0.5 < found.score < 0.999
    assert isinstance(await cache.lookup_semantic(asked), Hit)


async def test_no_answer_crosses_a_partition(cache):
    """Neither tier, even for the same words."""
    await cache.store(key(), entry(key()))
    other = key(partition="q")
    assert isinstance(await cache.lookup_exact(other), Miss)
    assert isinstance(await cache.lookup_semantic(other), Miss)


async def test_an_entry_of_another_partition_under_the_same_key_is_not_served(cache, store):
    """The partition is compared again on each hit, whatever store or index say."""
    wrong = replace(entry(key()), partition="somebody else's")
    await store.put(wrong, None)
    assert await cache.lookup_exact(key()) == Miss("absent")
    vector = await Words().embed(key().text)
    cache.added("p", key().exact, vector, 2_000.0, key().text)
    found = await cache.lookup_semantic(key(), vector=vector)
    assert isinstance(found, Miss)


async def test_an_expired_answer_is_never_served(cache, clock):
    """Expiry is checked by this pod's clock on every hit."""
    await cache.store(key(), entry(key()))
    clock.now += 60
    assert isinstance(await cache.lookup_exact(key()), Miss)
    assert isinstance(await cache.lookup_semantic(key()), Miss)


async def test_max_age_refuses_what_is_older(cache, clock):
    """In both tiers; a younger one is served."""
    await cache.store(key(), entry(key()))
    clock.now += 10
    assert isinstance(await cache.lookup_exact(key(), max_age=9), Miss)
    assert isinstance(await cache.lookup_semantic(key(), max_age=9), Miss)
    assert isinstance(await cache.lookup_exact(key(), max_age=10), Hit)
    assert isinstance(await cache.lookup_semantic(key(), max_age=10), Hit)


async def test_a_store_that_is_down_is_a_miss(cache, store):
    """Look-ups say so, storing says false; a deletion that may not have happened is no silent one."""
    await cache.store(key(), entry(key()))
    store.down = True
    assert (await cache.lookup_exact(key())).reason == "backend"
    assert (await cache.lookup_semantic(key())).reason == "backend"
    assert not await cache.store(key("Another?"), entry(key("Another?")))
    with pytest.raises(StoreUnavailable):
        await cache.delete(key().exact)


async def test_a_missing_redis_url_is_a_miss(embedder):
    """The Secret may appear later; until then nothing is cached and nothing fails."""
    cache = SemanticCache(MissingStore(), VectorIndex(max_entries=9, max_bytes=10**6), embedder)
    await cache.start()
    assert (await cache.lookup_exact(key())).reason == "backend"
    assert not await cache.store(key(), entry(key()))
    assert cache.stats()["backend"] == "down"
    await cache.aclose()


async def test_a_busy_embedder_is_a_miss_and_counted(cache, embedder):
    """The answer is stored all the same, for the exact tier."""
    await cache.store(key(), entry(key()))
    embedder.busy = True
    assert (await cache.lookup_semantic(key("how can i pay"))).reason == "embedder"
    assert await cache.store(key("Another?"), entry(key("Another?")))
    assert isinstance(await cache.lookup_exact(key("Another?")), Hit)
    assert cache.stats()["embedderShed"] == 2


async def test_a_text_longer_than_the_window_uses_the_exact_tier(cache):
    """What is cut looks alike."""
    text = "pay " * 40
    await cache.store(key(), entry(key()))
    found = await cache.lookup_semantic(key(text))
    assert (found.reason, found.detail) == ("exact-only", "window")
    assert await cache.store(key(text), entry(key(text)))
    assert isinstance(await cache.lookup_exact(key(text)), Hit)
    assert cache.stats()["indexed"] == 1


async def test_without_an_embedder_there_is_only_the_exact_tier(store):
    """With the key's reason."""
    cache = SemanticCache(store, None, None)
    found = await cache.lookup_semantic(key(exact_only="no-embedder"))
    assert found == Miss("exact-only", "no-embedder")


@pytest.mark.parametrize("vector", [[], [0.0] * 64, [float("nan")] * 64, [[1.0] * 64], [1.0, 2.0]])
async def test_a_given_vector_that_is_none_is_a_miss(cache, vector):
    """Of no length, of other dimensions, not finite: never an error, never a hit."""
    await cache.store(key(), entry(key()))
    assert isinstance(await cache.lookup_semantic(key(), vector=vector), Miss)


async def test_a_given_vector_costs_no_embedding(cache, embedder):
    """Of any length: it is a direction."""
    vector = await embedder.embed(key().text)
    await cache.store(key(), entry(key()), vector=vector)
    embedder.asked.clear()
    assert isinstance(await cache.lookup_semantic(key(), vector=(5 * vector).tolist()), Hit)
    assert embedder.asked == []


async def test_the_vector_of_a_miss_is_reused_for_storing(cache, embedder):
    """One embedding a question."""
    await cache.store(key("Something else?"), entry(key("Something else?")))
    embedder.asked.clear()
    missed = await cache.lookup_semantic(key())
    await cache.store(key(), entry(key()), vector=missed.vector)
    assert embedder.asked == [key().text]
    assert isinstance(await cache.lookup_semantic(key()), Hit)


async def test_a_given_vector_is_kept_for_storing_even_where_nothing_can_answer(cache, embedder):
    """The first question of a partition must not be embedded after all."""
    vector = await embedder.embed(key().text)
    embedder.asked.clear()
    missed = await cache.lookup_semantic(key(), vector=vector.tolist())
    assert missed.reason == "absent"
    await cache.store(key(), entry(key()), vector=missed.vector)
    assert embedder.asked == []
    assert isinstance(await cache.lookup_semantic(key(), vector=vector), Hit)


async def test_what_the_store_lost_is_forgotten_by_the_index(cache, store):
    """Redis may evict; the next search does not meet it again."""
    await cache.store(key(), entry(key()))
    store._follower = None
    await store.delete(key().exact)
    assert (await cache.lookup_semantic(key())).reason == "absent"
    assert cache.stats()["indexed"] == 0


async def test_deleting_an_entry_ends_it_in_both_tiers(cache):
    """At once in this pod."""
    await cache.store(key(), entry(key()))
    assert await cache.delete(key().exact)
    assert isinstance(await cache.lookup_exact(key()), Miss)
    assert isinstance(await cache.lookup_semantic(key()), Miss)


async def test_figures_say_what_happened(cache):
    """Each look-up counts once: the exact tier's miss is final only where the semantic one is not asked."""
    await cache.lookup_exact(key())
    await cache.lookup_semantic(key())
    await cache.store(key(), entry(key()))
    await cache.lookup_exact(key())
    await cache.lookup_exact(key("how can i pay my bill"))
    await cache.lookup_semantic(key("how can i pay my bill"))
    figures = cache.stats()
    assert {name: figures[name] for name in ("entries", "indexed", "hits", "exactHits", "semanticHits", "misses", "backend")} == {
        "entries": 1, "indexed": 1, "hits": 2, "exactHits": 1, "semanticHits": 1, "misses": 1, "backend": "up"}
    assert figures["bytes"] > 1_000
