"""What looks like a key does not reach the log; what does not look like one is left as it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.telemetry.redaction import redact

SECRETS = {
    "openai": "sk-proj-Abc123Def456Ghi789Jkl012",
    "openai legacy": "sk-AbCdEfGhIjKlMnOpQrStUvWx",
    "anthropic": "sk-ant-api03-abcdefghij-KLMNOP",
    "groq": "gsk_abcdefghijklmnop",
    "xai": "xai-abcdefghijklmnop",
    "huggingface": "hf_abcdefghijklmnop",
    "github": "ghp_abcdefghijklmnopqrst",
    "google": "AIzaSyA-abcdefghijklmnopqrstuvwxyz012",
    "google oauth": "ya29.a0AfH6SMBabcdefghijkl",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.s5c_abc-def",
}


def line(**fields):
    return json.dumps({"message": "", **fields}).encode()


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("text", ["{}", "bad key {}.", "Incorrect API key provided: {}", "'{}'", '{{"error": "{}"}}', "x={}&y=1"])
def test_keys_that_say_what_they_are(secret, text):
    """Wherever in a text they stand."""
    redacted = redact(line(message=text.format(secret)))
    assert secret.encode() not in redacted
    assert b"[redacted]" in redacted
    json.loads(redacted)


@pytest.mark.parametrize("text", [
    "Authorization: Bearer {}", "authorization: bearer {}", '{{"Authorization": "Bearer {}"}}', "Proxy-Authorization: Basic {}",
    "{{'authorization': 'Bearer {}'}}", "api_key={}", "x-api-key: {}", '"api-key": "{}"', "apikey={}", "api key: {}", "password={}",
    "https://host/v1?key={}", "https://host/v1?a=1&key={}&b=2", "client_secret={}&grant_type=x", "refresh_token: {}",
    "redis://user:{}@redis:6379/0", "redis://:{}@redis:6379", "postgresql://app:{}@db/strata", "http://u:{}@proxy:3128",
])
def test_keys_of_any_form_where_the_words_around_say_so(text):
    """A key that looks like nothing is found by its name, its header or its place in a URL."""
    redacted = redact(line(message=text.format("Tr0ub4dor3xyzABC")))
    assert b"Tr0ub4dor3xyzABC" not in redacted
    json.loads(redacted)


@pytest.mark.parametrize("text", [
    "where is my invoice", "the task-force asked for a basic plan", "input_tokens: 12", "http://otel:4317/v1/traces",
    "mask-rcnn and disk-usage", "host:port@name", "tokens used: 1234567890", "secret_name=openai is missing key apiKey",
    "model gpt-4o-2024-11-20 at 10:30:45", "configHash 9f2c0b3a5d6e7f8091a2b3c4d5e6f708",
])
def test_what_is_no_key_stays(text):
    """A log that hides too much helps nobody."""
    assert json.loads(redact(line(message=text)))["message"] == text


@given(st.dictionaries(st.sampled_from(["message", "reason", "error"]), st.text(
    st.sampled_from(list('abcsk-_ ="\'\\:/@?&keypassword.Bearer{}[],0123456789eyJ\n\té')), max_size=80)))
def test_a_line_stays_json(fields):
    """Whatever is cut out, the line can be read by a machine."""
    before = line(**fields)
    assert json.loads(redact(before)).keys() == json.loads(before).keys()
