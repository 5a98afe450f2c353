"""Two RuntimeConfigs on one Redis: strangers, until both say the same scope."""

from __future__ import annotations

import pytest
from cluster import ROOT, Namespace, setting, wait_for
from dataplane import DataPlane, provider, provider_pool, runtime_config, secret

CACHE = {"backend": "redis", "redis": {"urlSecretRef": {"name": "redis", "key": "url"}}}


@pytest.fixture(scope="module")
def planes(namespace: Namespace) -> tuple[DataPlane, DataPlane]:
    """Two data planes that differ in their name alone."""
    namespace.apply_file(ROOT / setting("E2E_REDIS"))
    namespace.apply(secret("vendor", apiKey="sk-demo-this-key-opens-nothing"),
                    provider_pool("chat", provider("primary", "vendor-primary:9999", "vendor")),
                    runtime_config("one", cache=CACHE), runtime_config("two", cache=CACHE))
    made = DataPlane(namespace, "one"), DataPlane(namespace, "two")
    for plane in made:
        plane.wait_ready()
    wait_for("Redis to be in use", lambda: _hit(made[0]), 60, every=1)
    return made


def _hit(plane: DataPlane) -> bool:
    return "hit" in plane.call("Is the cache there?")["headers"]["cache-status"]


def statuses(planes, *prompts):
    """The Cache-Status of each prompt, each asked of the next data plane."""
    results = planes[0].namespace.calls(*(
        {"base_url": plane.url, "model": "gpt-4o-mini", "prompt": prompt} for plane, prompt in zip(planes, prompts, strict=True)))
    return ["hit" in each["headers"]["cache-status"] for each in results]


def test_entries_of_one_never_answer_the_other(planes):
    one, two = planes
    question, alike = "How can I cancel my subscription?", "How do I cancel my subscription?"
    assert statuses((one, one, one, two, two), question, question, alike, question, alike) == [False, True, True, False, True]


def test_with_the_same_scope_they_answer_each_other(planes):
    one, two = planes
    for plane in planes:
        plane.acknowledged({"cache": {"scope": "team"}})
    question, alike = "How can I change my delivery address?", "How do I change my delivery address?"
    assert statuses((one, two, two), question, question, alike) == [False, True, True]
