"""Two RuntimeConfigs on one Redis: strangers, until both say the same scope."""

from __future__ import annotations

import pytest
from cluster import ROOT, Namespace, setting
from dataplane import DataPlane, answered_from_cache, is_hit, provider, provider_pool, runtime_config, secret

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
    return made


def ask(*asked):
    """Ask data planes one after the other."""
    return asked[0][0].namespace.calls(*({"base_url": plane.url, "model": "gpt-4o-mini", "prompt": prompt} for plane, prompt in asked))


def test_entries_of_one_never_answer_the_other(planes):
    one, two = planes
    questions = [f"How can I cancel subscription {number}?" for number in range(6)]
    again = ask(*((one, each) for each in questions * 2))[len(questions):]
    assert sum(map(is_hit, again)) > len(questions) / 2, "the entries are there"
    same, alike = questions[:3], [each.replace("can I", "do I") for each in questions[3:]]
    assert not any(map(is_hit, ask(*((two, each) for each in (*same, *alike)))))


def test_with_the_same_scope_they_answer_each_other(planes):
    one, two = planes
    for plane in planes:
        plane.acknowledged({"cache": {"scope": "team"}})
    answered_from_cache(lambda attempt: ask(
        (one, f"How can I change delivery address {attempt}?"), (two, f"How can I change delivery address {attempt}?")))
    answered_from_cache(lambda attempt: ask(
        (one, f"How can I track parcel {attempt}?"), (two, f"How do I track parcel {attempt}?")))
