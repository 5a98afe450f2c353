"""Every configuration that cannot run is refused with a message that names the resource, the field and what is wrong."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from builders import Document, model, pool, provider, put, runtime
from stratarouter_runtime.config import ConfigError, ProviderType, Snapshot

LABEL = "String should match pattern '^[a-z]([-a-z0-9]*[a-z0-9])?$'"
URL = r"String should match pattern '^https?://[^\s/?#@]+[^\s?#@]*$'"
CHAT = [{"name": "chat"}]


def refused(document: Document, *pools: Document) -> ConfigError:
    """The error of a configuration."""
    with pytest.raises(ConfigError) as caught:
        Snapshot.build(document, pools or (pool(),))
    return caught.value


RUNTIME: list[tuple[str, Any, str]] = [
    ("cach", {}, "spec.cach: unknown field"),
    ("execution.timeout", 1, "spec.execution.timeout: unknown field"),
    ("execution", [], "spec.execution: Input should be a valid dictionary or instance of ExecutionConfig"),
    ("execution", None, "spec.execution: Input should be a valid dictionary or instance of ExecutionConfig"),
    ("execution.timeoutSeconds", "soon",
     "spec.execution.timeoutSeconds: Input should be a valid number, unable to parse string as a number"),
    ("execution.timeoutSeconds", float("inf"), "spec.execution.timeoutSeconds: Input should be less than or equal to 3600"),
    ("execution.maxRetries", 1.5, "spec.execution.maxRetries: Input should be a valid integer, got a number with a fractional part"),
    ("cache.backend", "disk", "spec.cache.backend: Input should be 'memory' or 'redis'"),
    ("cache.backend", "redis", "spec.cache: redis.urlSecretRef is required for backend redis"),
    ("cache.redis", {}, "spec.cache.redis.urlSecretRef: Field required"),
    ("cache.redis.urlSecretRef", {"name": "redis"}, "spec.cache.redis.urlSecretRef.key: Field required"),
    ("cache.redis.urlSecretRef", {"name": "No", "key": "url"},
     "spec.cache.redis.urlSecretRef.name: String should match pattern '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$'"),
    ("cache.redis.urlSecretRef", {"name": "redis", "key": "a b"},
     "spec.cache.redis.urlSecretRef.key: String should match pattern '^[-._a-zA-Z0-9]+$'"),
    ("cache.scope", "a/b", "spec.cache.scope: String should match pattern '^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$'"),
    ("cache.similarityThreshold", float("nan"), "spec.cache.similarityThreshold: Input should be less than or equal to 1"),
    ("cache.embedder.type", "magic", "spec.cache.embedder.type: Input should be 'minilm', 'pool' or 'none'"),
    ("cache.embedder", {"type": "pool"}, "spec.cache.embedder: pool and model are required for type pool"),
    ("cache.embedder", {"type": "pool", "pool": "chat"}, "spec.cache.embedder: pool and model are required for type pool"),
    ("batch.windowMs", 10_001, "spec.batch.windowMs: Input should be less than or equal to 10000"),
    ("batch.maxSize", 0, "spec.batch.maxSize: Input should be greater than or equal to 1"),
    ("batch.maxSize", 2_049, "spec.batch.maxSize: Input should be less than or equal to 2048"),
    ("batch.similarityThreshold", 0, "spec.batch.similarityThreshold: Input should be greater than 0"),
    ("state.backend", "redis", "spec.state.backend: Input should be 'none', 'memory' or 'postgresql'"),
    ("state.backend", "postgresql", "spec.state: dsnSecretRef is required for backend postgresql"),
    ("state.dsnSecretRef", {"name": "postgres"}, "spec.state.dsnSecretRef.key: Field required"),
    ("state.dsn", "postgresql://u:p@h/d", "spec.state.dsn: unknown field"),
    ("observability.logLevel", "loud", "spec.observability.logLevel: Input should be 'debug', 'info', 'warning' or 'error'"),
    ("observability.tracing.otlpEndpoint", "otel:4317", f"spec.observability.tracing.otlpEndpoint: {URL}"),
    ("observability.tracing.otlpEndpoint", "http://user:password@otel", f"spec.observability.tracing.otlpEndpoint: {URL}"),
    ("observability.tracing.protocol", "udp", "spec.observability.tracing.protocol: Input should be 'grpc' or 'http'"),
    ("observability.serviceMonitor.interval", "0s",
     "spec.observability.serviceMonitor.interval: String should match pattern '^[1-9][0-9]{0,5}(ms|s|m|h)$'"),
    ("observability.serviceMonitor.labels", {"a": "b" * 64},
     "spec.observability.serviceMonitor.labels.a: String should have at most 63 characters"),
    ("routes", {"a": 1}, "spec.routes: Input should be a valid tuple"),
    ("routes", [{"pools": CHAT}], "spec.routes[0].name: Field required"),
    ("routes", [{"name": "default", "pools": CHAT}], "spec.routes[0]: name 'default' is reserved"),
    ("routes", [{"name": "auto", "pools": CHAT}], "spec.routes[0]: name 'auto' is reserved"),
    ("routes", [{"name": "A B", "pools": CHAT}], f"spec.routes[0].name: {LABEL}"),
    ("routes", [{"name": "a", "pools": CHAT}] * 2, "spec: routes has 'a' twice"),
    ("routes", [{"name": "a", "pools": []}], "spec.routes[0].pools: Tuple should have at least 1 item after validation, not 0"),
    ("routes", [{"name": "a", "pools": CHAT * 17}], "spec.routes[0].pools: Tuple should have at most 16 items after validation, not 17"),
    ("routes", [{"name": f"a{number}", "pools": CHAT} for number in range(257)],
     "spec.routes: Tuple should have at most 256 items after validation, not 257"),
    ("routes", [{"name": "a", "pools": CHAT, "utterances": ["hello"]}],
     "spec: routes with utterances need an embedder: cache.embedder.type must not be none"),
    ("routes", [{"name": "a", "pools": CHAT, "utterances": [" \n"]}],
     r"spec.routes[0].utterances[0]: String should match pattern '\S'"),
    ("routes", [{"name": "a", "pools": CHAT, "utterances": ["x" * 513]}],
     "spec.routes[0].utterances[0]: String should have at most 512 characters"),
    ("routes", [{"name": "a", "pools": CHAT, "utterances": ["x"] * 257}],
     "spec.routes[0].utterances: Tuple should have at most 256 items after validation, not 257"),
    ("routing.threshold", float("nan"), "spec.routing.threshold: Input should be less than or equal to 1"),
    ("routing.threshold", -0.1, "spec.routing.threshold: Input should be greater than or equal to 0"),
    ("defaultRoute.pools", [{"name": "chat", "model": " x"}],
     r"spec.defaultRoute.pools[0].model: String should match pattern '^[^\s\x00-\x1f][^\x00-\x1f]*$'"),
    ("auth", {}, "spec.auth.apiKeysSecretRef: Field required"),
    ("auth", {"adminKeysSecretRef": {"name": "admins"}}, "spec.auth.apiKeysSecretRef: Field required"),
    ("template.image", "a b", r"spec.template.image: String should match pattern '^\S*$'"),
    ("template.imagePullPolicy", "Sometimes", "spec.template.imagePullPolicy: Input should be 'Always', 'IfNotPresent' or 'Never'"),
    ("template.tolerations", ["x"], "spec.template.tolerations[0]: Input should be a valid dictionary"),
    ("template.annotations", {"a": 1}, "spec.template.annotations.a: Input should be a valid string"),
]


@pytest.mark.parametrize(("path", "value", "message"), RUNTIME, ids=[f"{path}={str(value)[:40]}" for path, value, _ in RUNTIME])
def test_a_runtime_config_is_refused_by_the_field(path: str, value: Any, message: str) -> None:
    """One wrong field of an otherwise valid RuntimeConfig gives exactly one problem, which names it."""
    document = runtime()
    error = refused({**document, "spec": put(document["spec"], path, value)})
    assert (error.reason, error.problems) == ("InvalidSpec", (f"RuntimeConfig/assistant: {message}",))

TYPES = " or ".join(", ".join(map(repr, get_args(ProviderType))).rsplit(", ", 1))

POOL: list[tuple[str, Any, str]] = [
    ("strategy", "best", "spec.strategy: Input should be 'priority' or 'weighted'"),
    ("providers", [], "spec.providers: Tuple should have at least 1 item after validation, not 0"),
    ("providers", [provider(), provider()], "spec: providers has 'primary' twice"),
    ("providers", [provider(f"p{number}") for number in range(33)],
     "spec.providers: Tuple should have at most 32 items after validation, not 33"),
    ("providers[].name", "A", f"spec.providers[0].name: {LABEL}"),
    ("providers[].type", "bard", f"spec.providers[0].type: Input should be {TYPES}"),
    ("providers", [{"name": "p", "type": "openaicompatible", "models": [model()]}],
     "spec.providers[0]: endpoint is required for type openaicompatible"),
    ("providers", [provider(type="vertexai")], "spec.providers[0]: vertexai is required for type vertexai"),
    ("providers[].vertexai", {"project": "P"}, "spec.providers[0].vertexai.project: String should match pattern '^[a-z0-9]([-a-z0-9.:]*[a-z0-9])?$'"),
    ("providers[].vertexai", {"project": "p", "location": "eu/west"},
     "spec.providers[0].vertexai.location: String should match pattern '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"),
    ("providers[].endpoint", "ftp://x", f"spec.providers[0].endpoint: {URL}"),
    ("providers[].endpoint", "http://user:password@x/v1", f"spec.providers[0].endpoint: {URL}"),
    ("providers[].endpoint", "http://x/v1?key=1", f"spec.providers[0].endpoint: {URL}"),
    ("providers[].proxyUrl", "socks://x", f"spec.providers[0].proxyUrl: {URL}"),
    ("providers[].headers", {"Authorization": "x"}, "spec.providers[0]: headers may not set Authorization"),
    ("providers[].headers", {"TraceParent": "x"}, "spec.providers[0]: headers may not set TraceParent"),
    ("providers[].headers", {"A": "x\r\ny: z"}, "spec.providers[0].headers.A: must not contain line breaks"),
    ("providers[].headers", {f"h{number}": "v" for number in range(33)},
     "spec.providers[0].headers: Dictionary should have at most 32 items after validation, not more"),
    ("providers[].region", "a b", ("spec.providers[0].region: String should match pattern "
                                  "'^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$'")),
    ("providers[].models", [], "spec.providers[0].models: Tuple should have at least 1 item after validation, not 0"),
    ("providers[].models", [model(), model()], "spec.providers[0]: models has 'gpt-4o' twice"),
    ("providers[].models", [model(f"m{number}") for number in range(65)],
     "spec.providers[0].models: Tuple should have at most 64 items after validation, not 65"),
    ("providers[].models[].upstreamName", "", "spec.providers[0].models[0].upstreamName: String should have at least 1 character"),
    ("providers[].models[].capabilities", ["sing"],
     "spec.providers[0].models[0].capabilities[0]: Input should be 'chat', 'tools', 'vision', 'jsonSchema', 'embeddings' or 'responses'"),
    ("providers[].models[].capabilities", [],
     "spec.providers[0].models[0].capabilities: Tuple should have at least 1 item after validation, not 0"),
    ("providers[].models[].capabilities", ["chat", "chat"], "spec.providers[0].models[0]: capabilities has 'chat' twice"),
    ("providers[].models[].embeddingSpace", "a b",
     "spec.providers[0].models[0].embeddingSpace: String should match pattern '^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$'"),
    ("providers[].models[].price", {"inputPerMillionTokens": "1"},
     "spec.providers[0].models[0].price.outputPerMillionTokens: Field required"),
    ("providers[].models[].price", {"inputPerMillionTokens": 2.5, "outputPerMillionTokens": "1"},
     ('spec.providers[0].models[0].price.inputPerMillionTokens: must be a quoted decimal such as "0.05"; binary floating point '
     "cannot hold money exactly")),
    ("providers[].models[].price", {"inputPerMillionTokens": "-1", "outputPerMillionTokens": "1"},
     "spec.providers[0].models[0].price.inputPerMillionTokens: Input should be greater than or equal to 0"),
    ("providers[].models[].price", {"inputPerMillionTokens": "NaN", "outputPerMillionTokens": "1"},
     "spec.providers[0].models[0].price.inputPerMillionTokens: Input should be a finite number"),
    ("providers[].models[].price", {"inputPerMillionTokens": "0", "outputPerMillionTokens": "1.0123456789"},
     "spec.providers[0].models[0].price.outputPerMillionTokens: Decimal input should have no more than 9 decimal places"),
    ("providers[].models[].price", {"inputPerMillionTokens": "1234567890", "outputPerMillionTokens": "1"},
     "spec.providers[0].models[0].price.inputPerMillionTokens: Decimal input should have no more than 9 digits before the decimal point"),
]


@pytest.mark.parametrize(("path", "value", "message"), POOL, ids=[f"{path}={str(value)[:40]}" for path, value, _ in POOL])
def test_a_pool_is_refused_by_the_field(path: str, value: Any, message: str) -> None:
    """One wrong field of an otherwise valid ProviderPool gives exactly one problem, which names it."""
    document = pool()
    error = refused(runtime(), {**document, "spec": put(document["spec"], path, value)})
    assert (error.reason, error.problems) == ("InvalidSpec", (f"ProviderPool/chat: {message}",))


def test_all_problems_of_a_resource_are_told_at_once() -> None:
    """Nobody should have to apply a resource once for each mistake in it."""
    error = refused(runtime(execution={"maxRetries": -1, "retryDelayMs": 0}))
    assert error.problems == (
        "RuntimeConfig/assistant: spec.execution.maxRetries: Input should be greater than or equal to 0",
        "RuntimeConfig/assistant: spec.execution.retryDelayMs: Input should be greater than or equal to 1")
    assert str(error) == "; ".join(error.problems)


def test_the_wrong_value_itself_is_not_repeated() -> None:
    """A key written into the wrong field must not reach a log or a status."""
    error = refused(runtime(), pool("chat", provider(endpoint="http://sk-very-secret@vendor/v1", region="sk-very secret")))
    assert "secret" not in str(error)


@pytest.mark.parametrize("name", ["Assistant", "1st", "a_b", "a-", "", "a" * 46, "abc\n", "a.b"])
def test_a_name_that_no_service_could_have_is_refused(name: str) -> None:
    """Names become names of Services: DNS-1035, at most 45 characters."""
    error = refused(runtime(name))
    assert error.reason == "InvalidName"
    assert error.problems == (f"RuntimeConfig/{name}: metadata.name: must be a DNS-1035 label of at most 45 characters",)


def test_a_name_of_45_characters_is_accepted() -> None:
    """The bound is inclusive."""
    assert Snapshot.build(runtime("a" * 45), [pool()]).name == "a" * 45


@pytest.mark.parametrize("spec", [None, [], "text", 1])
def test_a_spec_that_is_no_mapping_is_refused(spec: Any) -> None:
    """Also where a template engine wrote something else."""
    assert refused({**runtime(), "spec": spec}).problems == ("RuntimeConfig/assistant: spec: must be a mapping",)


@pytest.mark.parametrize("metadata", [None, [], "assistant"])
def test_metadata_that_is_no_mapping_is_refused(metadata: Any) -> None:
    """It has no name, and that is said."""
    assert refused({**runtime(), "metadata": metadata}).reason == "InvalidName"


def test_a_generation_that_is_no_number_is_refused() -> None:
    """It is written by the API server, but a file may hold anything."""
    document = runtime()
    document["metadata"]["generation"] = "newest"
    error = refused(document)
    assert (error.reason, str(error)) == ("InvalidMetadata", "RuntimeConfig/assistant: metadata.generation: must be an integer")


def test_without_any_route_nothing_could_be_served() -> None:
    """The twin of the CEL rule on the spec."""
    error = refused(runtime(defaultRoute=None))
    assert (error.reason, str(error)) == (
        "NoRoutes", "RuntimeConfig/assistant: spec.defaultRoute: a defaultRoute or at least one route is required")
