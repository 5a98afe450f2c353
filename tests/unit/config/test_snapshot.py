"""Snapshots: validated wholes, reduced to what pods use, the same bytes for the same value."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FULL_POOL, FULL_RUNTIME, Document, dump, full, model, pool, provider, runtime
from stratarouter_runtime.config import API_VERSION, OPERATOR_FIELDS, ConfigError, Snapshot, select


def read(content: bytes) -> Snapshot:
    """What a pod makes of a snapshot's bytes."""
    return select(yaml.safe_load_all(content), digest=hashlib.sha256(content).hexdigest())


def test_a_snapshot_names_itself() -> None:
    """Name, namespace and generation are those of the RuntimeConfig."""
    made = Snapshot.build(runtime(namespace="team", generation=7), [pool(namespace="team")])
    assert (made.name, made.namespace, made.generation) == ("assistant", "team", 7)


def test_namespace_and_generation_have_defaults() -> None:
    """Files without Kubernetes have neither."""
    made = Snapshot.build(runtime(), [pool()])
    assert (made.namespace, made.generation) == ("default", 0)


def test_the_digest_is_the_sha_256_of_what_is_written() -> None:
    """The operator names the configuration by it, and the pod hashes the file that it sees."""
    made = Snapshot.build(*_full())
    assert made.digest == hashlib.sha256(made.to_yaml()).hexdigest()


def test_a_given_digest_is_kept() -> None:
    """A pod has hashed the bytes it was given: they need not be the ones it would write."""
    assert Snapshot.build(runtime(), [pool()], digest="abc").digest == "abc"


def test_what_is_written_is_read_again_as_the_same_value() -> None:
    """One form on disk: operator to pod, and pod to pod."""
    made = Snapshot.build(*_full())
    again = read(made.to_yaml())
    assert again.to_yaml() == made.to_yaml()
    assert again.digest == made.digest
    assert again.pools == made.pools
    assert again.runtime.cache == made.runtime.cache


def test_equal_resources_give_equal_bytes() -> None:
    """Whatever order their keys and their pools come in, so that nothing is rolled or reloaded for nothing."""
    document, *pools = full()
    pools.append(pool("other"))
    document["spec"]["routes"][0]["pools"].append({"name": "other"})
    shuffled = _reversed(document)
    assert Snapshot.build(document, pools).to_yaml() == Snapshot.build(shuffled, [_reversed(each) for each in reversed(pools)]).to_yaml()


@pytest.mark.parametrize("text", ["a\x85b", "a\u2028b", "a\u2029b", "\ufeffa", "ü", "\U0001f600", "no", "1_000", "0x1f", "a: b # c", "  a  ", "~"])
def test_no_text_is_read_as_another_one(text: str) -> None:
    """YAML has more line ends and more plain words with a meaning than one thinks."""
    made = Snapshot.build(runtime(), [pool("chat", provider(headers={"x-note": text}))])
    (_, again), = read(made.to_yaml()).providers()
    assert again.headers == {"x-note": text}


def test_what_only_the_operator_uses_is_left_out() -> None:
    """A change of it must not change the hash that every pod has to acknowledge."""
    document, chat = full()
    made = Snapshot.build(document, [chat])
    written = next(yaml.safe_load_all(made.to_yaml()))["spec"]
    assert "replicas" not in written
    assert "template" not in written
    assert "serviceMonitor" not in written["observability"]
    assert "logLevel" in written["observability"]
    document["spec"]["replicas"] = 9
    document["spec"]["template"]["annotations"] = {"other": "value"}
    document["spec"]["observability"]["serviceMonitor"]["interval"] = "5s"
    assert Snapshot.build(document, [chat]).digest == made.digest


@pytest.mark.parametrize("path", OPERATOR_FIELDS, ids=".".join)
def test_fields_of_the_operator_exist(path: tuple[str, ...]) -> None:
    """A path with a typing mistake would leave out nothing."""
    spec: Any = FULL_RUNTIME
    for part in path:
        spec = spec[part]


def test_nothing_is_added_to_what_was_not_written() -> None:
    """Defaults are the reader's: a pod of a newer version uses its own."""
    document, chat = yaml.safe_load_all(Snapshot.build(runtime(cache=None), [pool()]).to_yaml())
    assert document["spec"] == {"defaultRoute": {"pools": [{"name": "chat"}]}}
    assert chat["spec"] == pool()["spec"]


def test_pools_that_nothing_uses_are_left_out() -> None:
    """Another team's broken pool is nobody else's business, and a change of it changes no hash."""
    broken = pool("broken", strategy="nonsense")
    made = Snapshot.build(runtime(), [pool(), pool("other"), broken])
    assert list(made.pools) == ["chat"]
    assert made.digest == Snapshot.build(runtime(), [pool()]).digest


def test_the_embedders_pool_is_used() -> None:
    """Also where no route names it."""
    cache = {"embedder": {"type": "pool", "pool": "vectors", "model": "embed"}}
    made = Snapshot.build(runtime(cache=cache), [pool(), pool("vectors", provider("v", "embed"))])
    assert list(made.pools) == ["chat", "vectors"]


def test_the_embedders_pool_is_not_used_by_another_type() -> None:
    """A pool that is only named is no dependency."""
    made = Snapshot.build(runtime(cache={"embedder": {"type": "none", "pool": "vectors", "model": "embed"}}), [pool()])
    assert list(made.pools) == ["chat"]


@pytest.mark.parametrize(("changes", "reason", "problem"), [
    ({"defaultRoute": {"pools": [{"name": "chat"}, {"name": "gone"}]}}, "PoolNotFound",
     "spec.defaultRoute.pools[1]: ProviderPool 'gone' does not exist in this namespace"),
    ({"routes": [{"name": "a", "pools": [{"name": "chat"}]}, {"name": "b", "pools": [{"name": "gone", "model": "x"}]}]}, "PoolNotFound",
     "spec.routes[1].pools[0]: ProviderPool 'gone' does not exist in this namespace"),
    ({"cache": {"embedder": {"type": "pool", "pool": "gone", "model": "x"}}}, "PoolNotFound",
     "spec.cache.embedder: ProviderPool 'gone' does not exist in this namespace"),
    ({"defaultRoute": {"pools": [{"name": "chat", "model": "gpt-9"}]}}, "ModelNotFound",
     "spec.defaultRoute.pools[0]: no provider of ProviderPool 'chat' has a model 'gpt-9'"),
    ({"cache": {"embedder": {"type": "pool", "pool": "chat", "model": "embed"}}}, "ModelNotFound",
     "spec.cache.embedder: no provider of ProviderPool 'chat' has a model 'embed'"),
    ({"cache": {"embedder": {"type": "pool", "pool": "chat", "model": "talk"}}}, "ModelNotFound",
     "spec.cache.embedder: the model 'talk' of ProviderPool 'chat' has no capability 'embeddings'"),
])
def test_what_only_all_resources_show_is_refused(changes: Document, reason: str, problem: str) -> None:
    """A missing pool or an unknown model is named with the place that refers to it."""
    chat = pool("chat", provider("primary", "gpt-4o", model("talk", capabilities=["chat"])))
    with pytest.raises(ConfigError) as caught:
        Snapshot.build(runtime(**changes), [chat])
    assert (caught.value.reason, caught.value.problems) == (reason, (f"RuntimeConfig/assistant: {problem}",))


def test_a_missing_pool_comes_before_an_unknown_model() -> None:
    """The first problem is the most important one, and none is kept back."""
    routes = [{"name": "a", "pools": [{"name": "chat", "model": "gpt-9"}]}, {"name": "b", "pools": [{"name": "gone"}]}]
    with pytest.raises(ConfigError) as caught:
        Snapshot.build(runtime(routes=routes), [pool()])
    assert caught.value.reason == "PoolNotFound"
    assert [problem.split(": ")[1] for problem in caught.value.problems] == ["spec.routes[1].pools[0]", "spec.routes[0].pools[0]"]


def test_a_pool_that_is_there_twice_is_refused() -> None:
    """Two files that each hold it would otherwise win by chance."""
    with pytest.raises(ConfigError, match="ProviderPool/chat is there twice") as caught:
        Snapshot.build(runtime(), [pool(), pool()])
    assert caught.value.reason == "DuplicatePool"


def test_routes_come_with_the_default_last() -> None:
    """By the names under which they are reported."""
    made = Snapshot.build(runtime(routes=[{"name": "billing", "pools": [{"name": "chat"}]}]), [pool()])
    assert [name for name, _ in made.routes()] == ["billing", "default"]


def test_the_secrets_in_use_are_told_with_their_users() -> None:
    """A pod mounts them, and says which are missing."""
    made = Snapshot.build(*_full())
    assert made.secret_names() == ["admins", "ca", "keys", "postgres", "redis", "vendor"]
    assert [(reference.name, reference.key, user) for reference, user in made.secret_keys()] == [
        ("redis", "url", "cache.redis"), ("postgres", "dsn", "state"), ("vendor", "apiKey", "chat/primary"), ("ca", "ca.crt", "chat/primary caBundle")]


def test_the_cache_scope_is_shared_only_when_set() -> None:
    """Own entries by namespace and name; a scope of that very text is still another one."""
    own = Snapshot.build(runtime(namespace="team"), [pool()]).cache_scope
    shared = Snapshot.build(runtime(namespace="team", cache={"scope": "assistant"}), [pool()]).cache_scope
    assert (own, shared) == ("own:team/assistant", "shared:assistant")


# --- selecting among several ----------------------------------------------------------------------------------------------


def test_the_only_runtime_config_is_chosen() -> None:
    """Resources of others are passed over, whatever they are."""
    others = [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}, {"apiVersion": "apps/v1", "kind": "Deployment"}, {}]
    assert select([*others, runtime(), pool()]).name == "assistant"


def test_one_of_several_is_chosen_by_name() -> None:
    """With the pools of its own namespace."""
    documents = [runtime("a", namespace="one"), pool(namespace="one"), runtime("b", namespace="two"),
                 pool("chat", provider("second"), namespace="two")]
    chosen = select(documents, name="b")
    assert chosen.namespace == "two"
    assert [each.name for _, each in chosen.providers()] == ["second"]


@pytest.mark.parametrize(("documents", "name", "reason", "message"), [
    ([], None, "RuntimeConfigNotFound", "the configuration has no RuntimeConfig"),
    ([pool()], "a", "RuntimeConfigNotFound", "no RuntimeConfig is called 'a'; there are: none"),
    ([runtime("b"), runtime("a")], "c", "RuntimeConfigNotFound", "no RuntimeConfig is called 'c'; there are: a, b"),
    ([runtime("b"), runtime("a")], None, "RuntimeConfigAmbiguous",
     "the configuration has several RuntimeConfigs (a, b); choose one by name"),
    ([runtime(), {**pool(), "kind": "ProviderPol"}], None, "UnknownKind",
     f"{API_VERSION} ProviderPol is not known; expected {API_VERSION} RuntimeConfig or ProviderPool"),
    ([{**runtime(), "apiVersion": "stratarouter.io/v2"}], None, "UnknownKind",
     f"stratarouter.io/v2 RuntimeConfig is not known; expected {API_VERSION} RuntimeConfig or ProviderPool"),
    ([runtime(namespace="one"), pool(namespace="two")], None, "PoolNotFound",
     "RuntimeConfig/assistant: spec.defaultRoute.pools[0]: ProviderPool 'chat' does not exist in this namespace"),
])
def test_a_choice_that_cannot_be_made_says_why(documents: list[Document], name: str | None, reason: str, message: str) -> None:
    """None, several, a misspelt kind, another version, a pool of another namespace."""
    with pytest.raises(ConfigError) as caught:
        select(documents, name=name)
    assert (caught.value.reason, str(caught.value)) == (reason, message)


# --- properties -----------------------------------------------------------------------------------------------------------

LABELS = st.from_regex(r"[a-z]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
MODELS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=12)
MONEY = st.decimals(min_value=0, max_value=999_999_999, allow_nan=False, places=9)
HEADERS = st.dictionaries(st.from_regex(r"x-[a-z]{1,8}", fullmatch=True),
                          st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=20), max_size=3)


def mappings(required: Mapping[str, st.SearchStrategy[Any]], optional: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Document]:
    """Documents with the required keys and any of the others."""
    return st.fixed_dictionaries(dict(required), optional=dict(optional))


PRICES = mappings({"inputPerMillionTokens": MONEY.map(str), "outputPerMillionTokens": MONEY.map(str)}, {})
SERVED = mappings({"name": MODELS}, {
    "upstreamName": MODELS, "price": PRICES, "embeddingSpace": LABELS,
    "capabilities": st.lists(st.sampled_from(["chat", "embeddings"]), min_size=1, max_size=2, unique=True)})
PROVIDERS = mappings(
    {"name": LABELS, "type": st.sampled_from(["openai", "ollama", "vllm"]),
     "models": st.lists(SERVED, min_size=1, max_size=3, unique_by=lambda each: each["name"])},
    {"endpoint": st.just("https://vendor.example/v1"), "headers": HEADERS, "region": LABELS, "weight": st.integers(0, 10_000),
     "credentialsSecretRef": st.just({"name": "vendor", "key": "apiKey"}),
     "timeouts": st.builds(lambda value: {"idleMs": value}, st.integers(1, 600_000))})
POOLS = mappings({"providers": st.lists(PROVIDERS, min_size=1, max_size=3, unique_by=lambda each: each["name"])},
                 {"strategy": st.sampled_from(["priority", "weighted"])})
SETTINGS = mappings({}, {
    "replicas": st.integers(0, 1000),
    "execution": mappings({}, {"timeoutSeconds": st.floats(0.1, 3600), "maxRetries": st.integers(0, 20)}),
    "cache": mappings({}, {"similarityThreshold": st.floats(0.01, 1), "ttlSeconds": st.integers(1, 31_536_000), "scope": LABELS,
                           "embedder": st.just({"type": "none"})}),
    "observability": mappings({}, {"tracing": mappings({}, {"samplePercent": st.floats(0, 100)}), "metrics": st.booleans()}),
    "template": mappings({}, {"annotations": st.dictionaries(LABELS, st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=2)}),
    "routes": st.lists(st.builds(lambda name: {"name": name, "pools": [{"name": "chat"}]}, LABELS.filter(lambda name: name not in ("auto", "default"))),
                       max_size=3, unique_by=lambda each: each["name"])})


@settings(max_examples=60, deadline=None)
@given(SETTINGS, POOLS, st.integers(0, 2**40))
def test_every_snapshot_survives_its_own_form_on_disk(spec: Document, chat: Document, generation: int) -> None:
    """Any valid configuration: written, read and written again it is the same, to the byte and the last decimal."""
    document = runtime(generation=generation, **spec)
    made = Snapshot.build(document, [{**pool(), "spec": chat}])
    content = made.to_yaml()
    again = read(content)
    assert again.to_yaml() == content
    assert again.digest == made.digest
    assert (again.pools, again.generation) == (made.pools, generation)
    assert again.runtime.cache == made.runtime.cache
    assert again.runtime.routes == made.runtime.routes
    for (_, left), (_, right) in zip(made.providers(), again.providers(), strict=True):
        for mine, theirs in zip(left.models, right.models, strict=True):
            assert mine.price == theirs.price
            assert mine.price is None or isinstance(mine.price.input_per_million_tokens, Decimal)


@settings(max_examples=30, deadline=None)
@given(SETTINGS, POOLS)
def test_a_snapshot_is_also_what_the_same_yaml_file_gives(spec: Document, chat: Document) -> None:
    """The operator builds from the API server's JSON, a laptop from a file: one value."""
    documents = [runtime(**spec), {**pool(), "spec": chat}]
    from_file = select(yaml.safe_load_all(dump(*copy.deepcopy(documents))))
    assert from_file.digest == Snapshot.build(documents[0], documents[1:]).digest


def _full() -> tuple[Document, list[Document]]:
    document, chat = full()
    assert chat["spec"] == FULL_POOL
    return document, [chat]


def _reversed(value: Any) -> Any:
    """The same mapping with all keys in the opposite order."""
    if isinstance(value, dict):
        return {key: _reversed(inner) for key, inner in reversed(value.items())}
    return [_reversed(each) for each in value] if isinstance(value, list) else value
