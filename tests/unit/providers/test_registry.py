"""Claim: each type has its class, its default endpoint, and an endpoint rule that never doubles a version."""

from __future__ import annotations

import pytest

from stratarouter_runtime.config import ConfigError
from stratarouter_runtime.config import Provider as ProviderConfig
from stratarouter_runtime.providers import PROVIDERS, create_provider


def base_url(kind, endpoint=None, location="europe-west4"):
    fields = {"name": "p", "type": kind, "models": [{"name": "m"}], "vertexai": {"project": "p", "location": location}} | (
        {"endpoint": endpoint} if endpoint else {})
    return PROVIDERS[kind].base_url(ProviderConfig.model_validate(fields))


@pytest.mark.parametrize(("kind", "endpoint", "base"), [
    ("openai", None, "https://api.openai.com/v1"), ("vllm", None, "http://localhost:8000/v1"),
    ("ollama", None, "http://localhost:11434/api"),
    ("cohere", None, "https://api.cohere.com/v2"), ("cohere", "https://gw.example/cohere/v2/", "https://gw.example/cohere/v2"),
    ("cohere", "https://gw.example/v1", "https://gw.example/v2"),
    ("openai", "https://eu.example", "https://eu.example/v1"), ("openai", "https://eu.example/", "https://eu.example/v1"),
    ("openai", "https://eu.example/v1", "https://eu.example/v1"), ("openai", "https://eu.example/v1/", "https://eu.example/v1"),
    ("openai", "https://eu.example/v2", "https://eu.example/v2"), ("openai", "https://gw.example/openai", "https://gw.example/openai/v1"),
    ("vllm", "http://gpu:8000", "http://gpu:8000/v1"), ("ollama", "http://mac:11434/", "http://mac:11434/api"),
    ("ollama", "http://mac:11434/v1", "http://mac:11434/api"), ("ollama", "https://gw.example/ollama/api/", "https://gw.example/ollama/api"),
    ("openaicompatible", "http://lm:1234", "http://lm:1234/v1"), ("openaicompatible", "http://lm:1234/v1", "http://lm:1234/v1"),
    ("openaicompatible", "https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1"),
    ("openaicompatible", "https://generativelanguage.googleapis.com/v1beta/openai/",
     "https://generativelanguage.googleapis.com/v1beta/openai"),
    ("openaicompatible", "https://open.example/api/paas/v4", "https://open.example/api/paas/v4"),
    ("google", None, "https://generativelanguage.googleapis.com/v1beta"), ("google", "https://gw.example/v1", "https://gw.example/v1"),
    ("google", "https://gw.example/gemini/", "https://gw.example/gemini/v1beta"),
    ("vertexai", None, "https://europe-west4-aiplatform.googleapis.com/v1"), ("vertexai", "https://psc.example", "https://psc.example/v1"),
    ("vertexai", "https://psc.example/v1beta1", "https://psc.example/v1beta1"),
])
def test_the_endpoint_is_what_the_vendors_sdk_takes(kind, endpoint, base):
    assert base_url(kind, endpoint) == base


@pytest.mark.parametrize(("location", "base"), [
    ("global", "https://aiplatform.googleapis.com/v1"), ("eu", "https://aiplatform.eu.rep.googleapis.com/v1"),
    ("us-central1", "https://us-central1-aiplatform.googleapis.com/v1")])
def test_each_location_of_google_cloud_has_its_host(location, base):
    assert base_url("vertexai", location=location) == base


@pytest.mark.parametrize("kind", sorted(PROVIDERS))
def test_every_type_can_be_made_without_a_running_loop(kind):
    config = ProviderConfig.model_validate({"name": "p", "type": kind, "endpoint": "http://x", "models": [{"name": "m"}],
                                            "vertexai": {"project": "p"}})
    assert isinstance(create_provider(config), PROVIDERS[kind])


def test_a_ca_bundle_that_is_none_is_a_configuration_error():
    config = ProviderConfig.model_validate({"name": "p", "type": "vllm", "models": [{"name": "m"}]})
    with pytest.raises(ConfigError) as caught:
        create_provider(config, ca_bundle="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert caught.value.reason == "InvalidCaBundle"
