"""The two examples: valid, and alike but for addresses and back ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from stratarouter_runtime.config import load

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def read(name):
    return load([EXAMPLES / name])


@pytest.mark.parametrize("name", ["local", "kubernetes"])
def test_example_is_a_valid_configuration_with_all_its_secrets(name):
    loaded = read(name)
    for _, provider in loaded.snapshot.providers():
        reference = provider.credentials_secret_ref
        assert loaded.secrets[reference.name][reference.key]
    if loaded.snapshot.runtime.cache.redis:
        reference = loaded.snapshot.runtime.cache.redis.url_secret_ref
        assert loaded.secrets[reference.name][reference.key].startswith(b"redis://")


def test_examples_differ_only_in_addresses_and_back_ends():
    def bare(name):
        snapshot = read(name).snapshot
        runtime, pools = snapshot.runtime.document(), {key: pool.document() for key, pool in snapshot.pools.items()}
        for key in ("replicas", "observability"):
            runtime.pop(key, None)
        for key in ("backend", "redis"):
            runtime["cache"].pop(key, None)
        for pool in pools.values():
            for provider in pool["providers"]:
                provider.pop("endpoint")
        return snapshot.name, runtime, pools
    assert bare("local") == bare("kubernetes")


def test_local_example_stays_on_this_machine():
    snapshot = read("local").snapshot
    assert snapshot.runtime.cache.backend == "memory"
    assert all(provider.base_url.startswith("http://127.0.0.1:") for _, provider in snapshot.providers())


def test_both_examples_use_the_same_key():
    assert read("local").secrets["vendor"] == read("kubernetes").secrets["vendor"]
