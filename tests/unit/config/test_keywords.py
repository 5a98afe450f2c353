"""The flat keywords of ``RuntimeConfig(...)``: one model, set once, and never in documents."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from builders import at
from stratarouter_runtime.config import (
    CacheConfig,
    ConfigError,
    ExecutionConfig,
    ObservabilityConfig,
    RedisConfig,
    RuntimeConfig,
    SecretKeyRef,
    Snapshot,
    TracingConfig,
    contract_digest,
)
from stratarouter_runtime.config.keywords import FLAT, URLS, Keywords, has

URL = "redis://user:hunter2@redis:6379/0"

VALUES: dict[str, Any] = {
    "execution_timeout": 61.5, "max_retries": 4, "retry_delay_ms": 99, "cache_enabled": False, "cache_backend": "redis", "cache_ttl": 77,
    "cache_similarity_threshold": 0.93, "cache_max_entries": 123, "cache_max_temperature": 0.5, "cache_scope": "shared",
    "batch_enabled": False, "batch_window_ms": 51, "batch_max_size": 33, "batch_similarity_threshold": 0.97, "batch_similarity": 0.97,
    "state_backend": "postgresql", "checkpoint_interval": 11, "metrics_enabled": False, "tracing_enabled": True,
    "tracing_endpoint": "http://otel:4317", "tracing_sample_percent": 12.5, "log_level": "debug"}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def test_each_keyword_is_tried_below() -> None:
    assert set(VALUES) == set(FLAT)


def test_type_checkers_know_all_keywords() -> None:
    """The nested fields, the flat ones and the URLs, and no others."""
    assert set(Keywords.__annotations__) == {*RuntimeConfig.model_fields, *FLAT, *URLS}


@pytest.mark.parametrize("keyword", [name for name, path in FLAT.items() if has(RuntimeConfig, path)])
def test_a_keyword_sets_its_field(keyword: str) -> None:
    """And nothing else, so that the same nested is equal to it."""
    config = RuntimeConfig(**{keyword: VALUES[keyword]})
    path = ".".join(camel(part) for part in FLAT[keyword])
    assert at(config.document(), path) == VALUES[keyword]
    assert RuntimeConfig.model_validate(config.document()) == config
    # The next field of a pool would be missed by an equality that also compares where it came from.
    assert config.origin is not RuntimeConfig.model_validate(config.document()).origin


def test_every_keyword_has_a_field() -> None:
    """None is taken and has nothing to set."""
    assert [name for name, path in FLAT.items() if not has(RuntimeConfig, path)] == []


def test_flat_and_nested_are_one_model() -> None:
    """Also where they meet in one block."""
    flat = RuntimeConfig(execution_timeout=5, cache_ttl=7, tracing_enabled=True)
    nested = RuntimeConfig(execution=ExecutionConfig(timeout_seconds=5), cache=CacheConfig(ttl_seconds=7),
                           observability=ObservabilityConfig(tracing=TracingConfig(enabled=True)))
    assert flat == nested
    assert flat.document() == nested.document()
    mixed = RuntimeConfig(cache=CacheConfig(max_entries=9), cache_ttl=7,
                          observability=ObservabilityConfig(tracing=TracingConfig(sample_percent=50)), tracing_enabled=True)
    assert (mixed.cache.max_entries, mixed.cache.ttl_seconds) == (9, 7)
    assert (mixed.observability.tracing.sample_percent, mixed.observability.tracing.enabled) == (50, True)


@pytest.mark.parametrize("given", [
    {"cache_ttl": 1, "cache": CacheConfig(ttl_seconds=1)}, {"cache_ttl": 1, "cache": {"ttlSeconds": 2}},
    {"cache_ttl": 1, "cache": {"ttl_seconds": 2}},
    {"tracing_enabled": True, "observability": ObservabilityConfig(tracing=TracingConfig(enabled=False))}])
def test_the_same_field_twice_is_an_error(given: dict[str, Any]) -> None:
    """Whatever the values; the message names both ways."""
    with pytest.raises(ConfigError, match="given already") as raised:
        RuntimeConfig(**given)
    assert raised.value.reason == "KeywordTwice"


@pytest.mark.parametrize(("unknown", "suggestion"), [
    ("execution_timout", "execution_timeout"), ("cache_tll", "cache_ttl"), ("retries", "max_retries"), ("ttl_seconds", "cache_ttl"),
    ("default_rout", "default_route"), ("redis_uri", "redis_url"), ("otlp_endpoint", "tracing_endpoint"),
    ("dsn_secret_ref", "state.dsn_secret_ref"), ("zzz", "")])
def test_an_unknown_keyword_names_the_nearest(unknown: str, suggestion: str) -> None:
    """Flat or nested; else all that there are."""
    with pytest.raises(ConfigError) as raised:
        RuntimeConfig(**{unknown: 1})
    assert raised.value.reason == "UnknownKeyword"
    assert repr(unknown) in str(raised.value)
    assert (f"did you mean {suggestion!r}?" in str(raised.value)) if suggestion else ("there are: " in str(raised.value))


@pytest.mark.parametrize(("keyword", "value"), [
    ("execution_timeout", 0), ("max_retries", -1), ("max_retries", "many"), ("cache_backend", "disk"), ("cache_similarity_threshold", 1.1),
    ("cache_ttl", 0), ("log_level", "loud"), ("tracing_endpoint", "nowhere"), ("state_backend", "mysql")])
def test_a_value_out_of_bounds_is_told_with_its_keyword(keyword: str, value: Any) -> None:
    """The bounds are the contract's."""
    with pytest.raises(ValidationError) as raised:
        RuntimeConfig(**{keyword: value})
    assert [f"{'.'.join(FLAT[keyword])} was given as {keyword}"] == raised.value.__notes__


@pytest.mark.parametrize("given", [{"cache": 3, "cache_ttl": 4}, {"observability": {"tracing": []}, "tracing_enabled": True}])
def test_what_is_no_block_is_an_error(given: dict[str, Any]) -> None:
    """Rather than dropped."""
    with pytest.raises(ConfigError, match="must be a model or a mapping"):
        RuntimeConfig(**given)


@pytest.mark.parametrize("keyword", [*FLAT, *URLS])
def test_documents_have_no_flat_keywords(keyword: str) -> None:
    """The API server would refuse them, so what reads YAML does too."""
    spec = {keyword: VALUES.get(keyword, URL), "defaultRoute": {"pools": [{"name": "chat"}]}}
    with pytest.raises(ValidationError, match="Extra inputs"):
        RuntimeConfig.model_validate(spec)
    with pytest.raises(ConfigError, match="unknown field"):
        Snapshot.build({"metadata": {"name": "a"}, "spec": spec}, [])


def test_the_contract_is_not_touched_by_keywords() -> None:
    """Neither schema nor digest know of them."""
    assert "execution_timeout" not in str(RuntimeConfig.model_json_schema())
    assert contract_digest()


# --- URLs -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("url", [URL, SecretStr(URL)])
def test_a_url_is_kept_beside_the_model(url: Any) -> None:
    """The model refers to a Secret, and the value is in nothing that can be printed."""
    config = RuntimeConfig(cache_backend="redis", redis_url=url)
    assert config.cache.redis is not None
    reference = config.cache.redis.url_secret_ref
    assert config.origin.secrets.read(reference.name, reference.key) == URL.encode()
    for shown in (repr(config), str(config), str(config.document()), repr(config.origin), repr(config.origin.secrets)):
        assert "hunter2" not in shown
    assert config == RuntimeConfig(cache_backend="redis")
    assert config.model_copy(update={"replicas": 3}).origin is config.origin


def test_a_url_goes_where_a_nested_reference_points() -> None:
    """Whatever that is called."""
    cache = CacheConfig(backend="redis", redis=RedisConfig(url_secret_ref=SecretKeyRef(name="mine", key="u")))
    assert RuntimeConfig(cache=cache, redis_url=URL).origin.secrets.read("mine", "u") == URL.encode()


def test_a_dsn_likewise() -> None:
    """For state."""
    config = RuntimeConfig(state_backend="postgresql", db_url="postgresql://u:hunter2@h/d")
    assert config.state.dsn_secret_ref is not None
    assert config.origin.secrets.read(config.state.dsn_secret_ref.name, config.state.dsn_secret_ref.key) == b"postgresql://u:hunter2@h/d"
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(("given", "why"), [
    ({"redis_url": URL}, "redis_url is used by cache_backend='redis' only"),
    ({"redis_url": URL, "cache_backend": "memory"}, "redis_url is used by cache_backend='redis' only"),
    ({"db_url": "postgresql://u:hunter2@h/d"}, "db_url is used by state_backend='postgresql' only"),
    ({"cache_backend": "redis", "redis_url": 3}, "redis_url must be a string")])
def test_a_url_that_nobody_would_use_is_an_error(given: dict[str, Any], why: str) -> None:
    """Which does not quote it."""
    with pytest.raises(ConfigError, match=why) as raised:
        RuntimeConfig(**given)
    assert "hunter2" not in str(raised.value)


# --- files ----------------------------------------------------------------------------------------------------------
def test_load_reads_what_the_server_reads(tmp_path: Any) -> None:
    """The RuntimeConfig with its pools and Secrets, all of them private."""
    from builders import mount, pool, provider, runtime, secret, write

    write(tmp_path / "all.yaml", runtime(), runtime("other", execution={"timeoutSeconds": 3}),
          pool("chat", provider(credentialsSecretRef={"name": "vendor", "key": "apiKey"})), secret("vendor", apiKey="sk-hunter2"))
    config = RuntimeConfig.load(tmp_path, name="other")
    assert config == RuntimeConfig.model_validate({**runtime()["spec"], "execution": {"timeoutSeconds": 3}})
    assert config.origin.snapshot is not None
    assert list(config.origin.snapshot.pools) == ["chat"]
    assert config.origin.secrets.read("vendor", "apiKey") == b"sk-hunter2"
    assert "hunter2" not in repr(config) + repr(config.origin.secrets)
    mount(tmp_path / "secrets", "vendor", {"apiKey": "sk-mounted"})
    assert RuntimeConfig.load(tmp_path / "all.yaml", name="other", secrets=tmp_path / "secrets").origin.secrets.read("vendor", "apiKey") == b"sk-mounted"
    with pytest.raises(ConfigError) as raised:
        RuntimeConfig.load(tmp_path)
    assert raised.value.reason == "RuntimeConfigAmbiguous"
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        RuntimeConfig.load(tmp_path / "missing.yaml")
