"""The contract as a whole: hot or roll, its digest, and the twins of what the API server checks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Annotated, Any

import pytest
from pydantic import Field, create_model

from builders import FULL_POOL, FULL_RUNTIME, at, pool, provider, runtime
from stratarouter_runtime.config import KINDS, ConfigError, Contract, RuntimeConfig, Snapshot, contract, contract_digest, fields
from stratarouter_runtime.config.base import VALIDATIONS, hot


def test_every_leaf_is_hot_or_roll_and_described() -> None:
    """Neither a change that nobody applies nor a field that nobody explains."""
    found = list(fields())
    assert len(found) > 60
    assert {field.apply for field in found} == {"hot", "roll"}
    assert [field.path for field in found if not field.description] == []
    assert len({(field.kind, field.path) for field in found}) == len(found)


def test_a_field_that_is_neither_is_an_error() -> None:
    """Forgetting it is impossible: the fields cannot even be listed."""
    forgetful = create_model("Forgetful", __base__=Contract, size=(int, 1))
    with pytest.raises(TypeError, match=r"RuntimeConfig\.size is neither hot nor roll"):
        list(contract._fields("RuntimeConfig", forgetful, ""))


def test_the_full_documents_of_the_tests_set_every_field() -> None:
    """What is generated from them covers the contract, also after it has grown."""
    full = {"RuntimeConfig": FULL_RUNTIME, "ProviderPool": FULL_POOL}
    for field in fields():
        value = at(full[field.kind], field.path)
        assert value is not None, field.path


def test_the_full_documents_of_the_tests_set_nothing_to_its_default() -> None:
    """A value equal to the default would hide a field that is lost on the way."""
    full = {"RuntimeConfig": FULL_RUNTIME, "ProviderPool": FULL_POOL}
    for kind, model in KINDS.items():
        assert not list(_defaults(model, full[kind], kind))


def _defaults(model: type[Contract], value: Any, path: str) -> Any:
    for name, info in model.model_fields.items():
        alias = info.alias or name
        if alias not in value:
            continue
        inner = contract._model(info.annotation)
        if inner is None:
            if not info.is_required() and value[alias] == info.default:
                yield f"{path}.{alias}"
        else:
            yield from _defaults(inner, value[alias][0] if isinstance(value[alias], list) else value[alias], f"{path}.{alias}")


def test_the_digest_is_the_same_in_every_process() -> None:
    """Operator and data plane must agree on it, whatever the hash seed."""
    program = "from stratarouter_runtime.config import contract_digest; print(contract_digest())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout.strip() == contract_digest()
    assert len(contract_digest()) == 10


def digest_of(monkeypatch: pytest.MonkeyPatch, *extra: Any, base: type[Contract] = Contract) -> str:
    """The digest of a contract of one field."""
    model = create_model("Changed", __base__=base, size=extra)
    monkeypatch.setattr(contract, "KINDS", {"RuntimeConfig": model})
    return contract_digest.__wrapped__()


def test_the_digest_ignores_words_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another description is the same contract; another bound, default, name or way to apply is not."""
    first = digest_of(monkeypatch, Annotated[int, hot("Bytes."), Field(ge=1)], 1)
    assert digest_of(monkeypatch, Annotated[int, hot("Octets, in other words."), Field(ge=1)], 1) == first
    others = {
        digest_of(monkeypatch, Annotated[int, hot("Bytes."), Field(ge=2)], 2),
        digest_of(monkeypatch, Annotated[int, hot("Bytes."), Field(ge=1)], 3),
        digest_of(monkeypatch, Annotated[int, contract_roll("Bytes."), Field(ge=1)], 1),
        digest_of(monkeypatch, Annotated[float, hot("Bytes."), Field(ge=1)], 1),
        contract_digest_of_name(monkeypatch),
    }
    assert first not in others
    assert len(others) == 5


def contract_roll(words: str) -> Any:
    """A roll field."""
    from stratarouter_runtime.config.base import roll
    return roll(words)


def contract_digest_of_name(monkeypatch: pytest.MonkeyPatch) -> str:
    """A field whose name is that of a keyword that carries words must count all the same."""
    model = create_model("Changed", __base__=Contract, description=(Annotated[int, hot("Bytes."), Field(ge=1)], 1))
    monkeypatch.setattr(contract, "KINDS", {"RuntimeConfig": model})
    return contract_digest.__wrapped__()


# Each CEL rule, by its message: a resource that breaks it, so that files without Kubernetes are refused as well.
BREAKS = {
    "a defaultRoute or at least one route is required": lambda: (runtime(defaultRoute=None), pool()),
    "routes with utterances need an embedder: cache.embedder.type must not be none": lambda: (
        runtime(routes=[{"name": "a", "utterances": ["x"], "pools": [{"name": "chat"}]}]), pool()),
    "routes have more than 2048 utterances in all": lambda: (
        runtime(cache={}, routes=[{"name": f"a{number}", "utterances": ["x"] * 256, "pools": [{"name": "chat"}]} for number in range(9)]),
        pool()),
    "redis.urlSecretRef is required for backend redis": lambda: (runtime(cache={"backend": "redis"}), pool()),
    "dsnSecretRef is required for backend postgresql": lambda: (runtime(state={"backend": "postgresql"}), pool()),
    "pool and model are required for type pool": lambda: (runtime(cache={"embedder": {"type": "pool"}}), pool()),
    "violationRoute is required for onViolation route": lambda: (
        runtime(defaultRoute={"pools": [{"name": "chat"}], "policy": {"onViolation": "route"}}), pool()),
    "keys of metadata are up to 64 letters, digits, '-', '_' or '.', with a letter or digit at both ends": lambda: (
        runtime(defaultRoute={"pools": [{"name": "chat"}], "context": {"metadata": {"not a key": "x"}}}), pool()),
    "'default' and 'auto' are reserved": lambda: (runtime(routes=[{"name": "auto", "pools": [{"name": "chat"}]}]), pool()),
    "endpoint is required for type azureopenai": lambda: (
        runtime(), pool("chat", {key: value for key, value in provider(type="azureopenai").items() if key != "endpoint"})),
    "endpoint is required for type openaicompatible": lambda: (
        runtime(), pool("chat", {key: value for key, value in provider().items() if key != "endpoint"})),
    "vertexai is required for type vertexai": lambda: (runtime(), pool("chat", provider(type="vertexai"))),
}


def cel_rules() -> list[str]:
    """The message of every CEL rule in the contract."""
    found = set()
    for model in KINDS.values():
        schema = model.model_json_schema(by_alias=True)
        for part in (schema, *schema.get("$defs", {}).values()):
            found |= {rule["message"] for rule in part.get(VALIDATIONS, ())}
    return sorted(found)


@pytest.mark.parametrize("message", cel_rules())
def test_each_cel_rule_has_a_twin_in_the_models(message: str) -> None:
    """What the API server refuses, a file is refused for too; a new rule needs a case here."""
    document, chat = BREAKS[message]()
    with pytest.raises(ConfigError):
        Snapshot.build(document, [chat])


def test_no_case_stands_for_a_rule_that_is_gone() -> None:
    """The table above is the contract's."""
    assert sorted(BREAKS) == cel_rules()


def test_models_are_frozen() -> None:
    """A snapshot can be shared by all requests because nobody can change it."""
    config = RuntimeConfig.model_validate(FULL_RUNTIME)
    with pytest.raises(ValueError, match="frozen"):
        config.replicas = 5  # type: ignore[misc]


def test_a_document_is_what_was_written() -> None:
    """Reading and writing again loses nothing and adds no default."""
    for kind, spec in (("RuntimeConfig", FULL_RUNTIME), ("ProviderPool", FULL_POOL)):
        assert json.loads(json.dumps(KINDS[kind].model_validate(spec).document())) == spec
