"""The platform port's documents: what the operator reads, and never a secret."""

from __future__ import annotations

from typing import Any

import pytest

from builders import full, pool, runtime
from stratarouter_runtime.config import AuthConfig, Snapshot, StaticSecrets
from stratarouter_runtime.engine import ProviderState
from stratarouter_runtime.server.auth import AdminKeys, Authenticator
from stratarouter_runtime.server.platform_port import PodStatus
from stratarouter_runtime.server.reload import Rejection

KEYS = AuthConfig.model_validate({"apiKeysSecretRef": {"name": "keys"}, "adminKeysSecretRef": {"name": "admins"}})


def status(secrets: dict[str, dict[str, bytes]] | None = None, *, loaded: bool = True, auth: bool = False, **fields: Any) -> PodStatus:
    """A pod's status over the full configuration."""
    authenticator = Authenticator()
    held = StaticSecrets(secrets or {})
    authenticator.load(KEYS if auth else None, held)
    admins = AdminKeys()
    admins.load(KEYS if auth else None, held)
    made = PodStatus(authenticator, admins=admins, **fields)
    if loaded:
        document, chat = full()
        made.loaded(Snapshot.build(document, [chat]), held)
    return made


def test_before_the_first_configuration_there_is_nothing_to_serve() -> None:
    """Alive, not ready, an empty hash that acknowledges nothing."""
    made = status(loaded=False)
    document = made.document()
    assert made.unready() == "no configuration is loaded"
    assert (document["hash"], document["generation"], document["loadedAt"], document["ready"]) == ("", 0, None, False)
    assert document["missingSecrets"] == []


def test_a_loaded_configuration_is_acknowledged_by_its_hash() -> None:
    """With generation, time and who it is."""
    made = status(identity={"podName": "assistant-1", "podUid": "uid-1"})
    document = made.document()
    assert made.snapshot is not None
    assert document["hash"] == made.snapshot.digest
    assert (document["name"], document["namespace"], document["generation"]) == ("assistant", "default", 0)
    assert (document["podName"], document["podUid"], document["ready"], document["lastError"]) == ("assistant-1", "uid-1", True, None)
    assert document["loadedAt"].endswith("+00:00")


def test_the_pods_identity_comes_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The downward API sets it; another pod's answer is no acknowledgement."""
    monkeypatch.setenv("POD_NAME", "assistant-1")
    monkeypatch.setenv("POD_UID", "uid-1")
    assert PodStatus(Authenticator()).identity == {"podName": "assistant-1", "podUid": "uid-1"}


def test_a_refused_configuration_is_shown_beside_the_one_in_force() -> None:
    """Its hash, reason and message."""
    made = status(rejection=lambda: Rejection("abc", "InvalidSpec", "RuntimeConfig/x: spec.y: unknown field"))
    document = made.document()
    assert made.snapshot is not None
    assert document["hash"] == made.snapshot.digest
    assert document["lastError"] == {"hash": "abc", "reason": "InvalidSpec", "message": "RuntimeConfig/x: spec.y: unknown field"}


def test_missing_secrets_are_named_with_their_users() -> None:
    """Secret, key and what waits for it."""
    made = status({"vendor": {"apiKey": b"sk-1"}, "ca": {}}, auth=True)
    assert made.missing_secrets() == [
        {"secret": "redis", "key": "url", "usedBy": "cache.redis"},
        {"secret": "postgres", "key": "dsn", "usedBy": "state"},
        {"secret": "ca", "key": "ca.crt", "usedBy": "chat/primary caBundle"},
        {"secret": "keys", "key": "", "usedBy": "auth"},
        {"secret": "admins", "key": "", "usedBy": "auth.adminKeys"}]


def test_an_empty_value_is_missing() -> None:
    """A Secret that was created with a placeholder."""
    made = status({"vendor": {"apiKey": b" \n"}, "redis": {"url": b"x"}, "ca": {"ca.crt": b"x"}, "postgres": {"dsn": b"x"}})
    assert [(each["secret"], each["key"]) for each in made.missing_secrets()] == [("vendor", "apiKey")]


def test_without_keys_to_tell_callers_apart_the_pod_is_not_ready() -> None:
    """Readiness names the Secret."""
    assert status(auth=True).unready() == "the Secret 'keys' holds no API keys"
    assert status({"keys": {"a": b"sk-1"}}, auth=True).unready() == ""


def test_a_draining_pod_is_not_ready() -> None:
    """Whatever else is well."""
    assert status(draining=True).unready() == "draining"


def test_without_admin_keys_the_pod_is_ready_all_the_same() -> None:
    """Callers need no admin; the Secret is named as missing."""
    made = status({"keys": {"a": b"sk-1"}}, auth=True)
    assert made.unready() == ""
    assert {"secret": "admins", "key": "", "usedBy": "auth.adminKeys"} in made.missing_secrets()


def test_readiness_does_not_speak_of_vendors_or_redis() -> None:
    """A pod without any healthy provider still answers from its cache, and all pods would go at once."""
    made = status(providers=lambda: [ProviderState("chat", "primary", "Down", "BreakerOpen")], cache=lambda: {"backend": "down"})
    assert made.unready() == ""
    document = made.document()
    assert document["providers"] == [{"pool": "chat", "name": "primary", "state": "Down", "reason": "BreakerOpen"}]
    assert document["cache"] == {"backend": "down"}


def test_no_value_of_a_secret_is_shown() -> None:
    """Of none that is in use."""
    values = {"vendor": {"apiKey": b"hush-1"}, "redis": {"url": b"redis://:hush-2@x"}, "keys": {"a": b"hush-3"}, "ca": {"ca.crt": b"hush-4"},
              "postgres": {"dsn": b"postgresql://u:hush-5@x/y"}, "admins": {"a": b"hush-6"}}
    assert "hush" not in str(status(values, auth=True).document())


def test_the_smallest_configuration_misses_nothing() -> None:
    """No Secret is referenced, none is missing."""
    made = PodStatus(Authenticator())
    made.loaded(Snapshot.build(runtime(), [pool()]), StaticSecrets())
    assert made.missing_secrets() == []
