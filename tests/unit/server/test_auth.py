"""API keys to tenants: nobody gets in without a key, no key opens two doors, and a bad rotation locks nobody out."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from multidict import CIMultiDict

from stratarouter_runtime.config import AuthConfig, StaticSecrets
from stratarouter_runtime.model.errors import ExecutionError, RequestError, StrataError
from stratarouter_runtime.model.request import Caller
from stratarouter_runtime.server.auth import AdminKeys, Authenticator, presented_key


def authenticator(secret: dict[str, bytes] | None, *, trusted: bool = False, into: Authenticator | None = None) -> Authenticator:
    """An authenticator with the keys of Secret ``keys``; None: the Secret does not exist."""
    made = into or Authenticator()
    made.load(auth(trusted=trusted), StaticSecrets({} if secret is None else {"keys": secret}))
    return made


def auth(name: str = "keys", *, trusted: bool = False) -> AuthConfig:
    """An ``auth`` block."""
    return AuthConfig.model_validate({"apiKeysSecretRef": {"name": name}, "trustedTenantHeader": trusted})


def caller(made: Authenticator, key: str = "", **headers: str) -> Caller:
    """Who presents a key."""
    sent: CIMultiDict[str] = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    if key:
        sent["authorization"] = f"Bearer {key}"
    return made.authenticate(sent)


def refusal(made: Authenticator, key: str = "", **headers: str) -> StrataError:
    """The error of a caller who is not let in."""
    with pytest.raises(StrataError) as caught:
        caller(made, key, **headers)
    return caught.value


def test_without_an_auth_block_everybody_is_one_tenant() -> None:
    """Also with a key, and with a header that names another tenant."""
    made = Authenticator()
    made.load(None, StaticSecrets())
    assert (made.ready, made.missing_secret) == (True, None)
    assert caller(made, "sk-anything", x_strata_tenant="other") == Caller("default")


def test_the_tenant_is_the_secrets_key() -> None:
    """One key a line, blanks and empty lines ignored."""
    made = authenticator({"team-a": b"sk-1\n\n  sk-2  \r\n", "team-b": b"sk-3"})
    assert [caller(made, key).tenant for key in ("sk-1", "sk-2", "sk-3")] == ["team-a", "team-a", "team-b"]


@pytest.mark.parametrize(("headers", "key"), [
    ({"Authorization": "Bearer sk-1"}, "sk-1"), ({"authorization": "bearer  sk-1 "}, "sk-1"), ({"api-key": "sk-1"}, "sk-1"), ({"x-api-key": "sk-1"}, "sk-1"),
    ({"Authorization": "Basic sk-1"}, ""), ({"Authorization": "sk-1"}, ""), ({"Authorization": "Bearer"}, ""), ({}, ""),
    ({"Authorization": "Bearer sk-1", "api-key": "sk-2"}, "sk-1"), ({"Authorization": "Basic x", "api-key": "sk-2"}, "sk-2")])
def test_a_key_is_sent_as_openais_or_azures_sdk_sends_it(headers: dict[str, str], key: str) -> None:
    """`Authorization: Bearer` in any case, else `api-key`."""
    assert presented_key(CIMultiDict(headers)) == key


def test_a_missing_key_is_a_401_in_openais_words() -> None:
    """Type, code and message."""
    error = refusal(authenticator({"a": b"sk-1"}))
    assert isinstance(error, RequestError)
    assert (error.status, error.type, error.code) == (401, "invalid_request_error", "invalid_api_key")
    assert error.message.startswith("You didn't provide an API key.")


@pytest.mark.parametrize("key", ["sk-2", "sk-1 x", "SK-1", "sk-", "sk-1\udce4", "ä", "x" * 100_000])
def test_a_wrong_key_is_a_401_that_does_not_repeat_it(key: str) -> None:
    """Also where it is no UTF-8, or very long."""
    error = refusal(authenticator({"a": b"sk-1"}), key)
    assert (error.status, error.code, error.message) == (401, "invalid_api_key", "Incorrect API key provided.")


def test_a_key_of_two_tenants_belongs_to_neither(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody can tell whose it is; the others' keys work, and the log names the Secret but no key."""
    with caplog.at_level(logging.ERROR):
        made = authenticator({"a": b"sk-both\nsk-a", "b": b"sk-both"})
    assert refusal(made, "sk-both").status == 401
    assert caller(made, "sk-a").tenant == "a"
    assert "sk-" not in caplog.text
    assert "two tenants" in caplog.text


def test_a_key_twice_under_one_tenant_is_no_dispute() -> None:
    """It is only written twice."""
    assert caller(authenticator({"a": b"sk-1\nsk-1"}), "sk-1").tenant == "a"


@pytest.mark.parametrize("name", ["-a", "a-", "_", "a" * 64, "..data", "a.b."])
def test_a_key_whose_name_is_no_tenant_is_left_out(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Tenants are metric-safe names; the rest of the Secret counts."""
    made = authenticator({name: b"sk-odd", "team": b"sk-1"})
    assert refusal(made, "sk-odd").status == 401
    assert caller(made, "sk-1").tenant == "team"
    assert "sk-odd" not in caplog.text


@pytest.mark.parametrize("secret", [None, {}, {"a": b""}, {"a": b" \n\t\n"}, {"-": b"sk-1"}])
def test_without_any_usable_key_every_call_is_refused(secret: dict[str, bytes] | None) -> None:
    """503 `auth_keys_unavailable` with Retry-After, and not ready: never open to everybody."""
    made = authenticator(secret)
    assert (made.ready, made.missing_secret) == (False, "keys")
    error = refusal(made, "sk-1")
    assert isinstance(error, ExecutionError)
    assert (error.status, error.code, error.retry_after) == (503, "auth_keys_unavailable", 5)


def test_a_rotation_takes_the_new_keys_and_drops_the_old() -> None:
    """Without a restart."""
    made = authenticator({"a": b"sk-old"})
    authenticator({"a": b"sk-new"}, into=made)
    assert caller(made, "sk-new").tenant == "a"
    assert refusal(made, "sk-old").status == 401


@pytest.mark.parametrize("broken", [None, {}, {"a": b"\n"}])
def test_after_a_bad_rotation_the_last_good_keys_stay(broken: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An emptied Secret locks nobody out, and the log says so once it happens."""
    made = authenticator({"a": b"sk-1"})
    authenticator(broken, into=made)
    assert made.ready
    assert caller(made, "sk-1").tenant == "a"
    assert "the last good keys stay" in caplog.text
    authenticator({"a": b"sk-2"}, into=made)
    assert refusal(made, "sk-1").status == 401


def test_keys_of_another_secret_do_not_stay() -> None:
    """Who points to another Secret means other keys: the old ones must not open."""
    made = authenticator({"a": b"sk-1"})
    made.load(auth("others"), StaticSecrets({"keys": {"a": b"sk-1"}}))
    assert (made.ready, made.missing_secret) == (False, "others")
    assert refusal(made, "sk-1").status == 503


def test_keys_do_not_stay_over_a_time_without_auth() -> None:
    """Switched off and on again with an empty Secret: refused, not the keys of long ago."""
    made = authenticator({"a": b"sk-1"})
    made.load(None, StaticSecrets())
    authenticator(None, into=made)
    assert refusal(made, "sk-1").status == 503


def test_only_a_trusted_gateway_names_the_tenant() -> None:
    """The header is read with `trustedTenantHeader` alone, and never instead of a key."""
    keys = {"gateway": b"sk-1"}
    assert caller(authenticator(keys), "sk-1", x_strata_tenant="other").tenant == "gateway"
    trusted = authenticator(keys, trusted=True)
    assert caller(trusted, "sk-1", x_strata_tenant="other").tenant == "other"
    assert caller(trusted, "sk-1").tenant == "gateway"
    assert refusal(trusted, x_strata_tenant="other").status == 401


@pytest.mark.parametrize("name", ["", " ", "-a", "a b", "ä", "a" * 64, "../x"])
def test_a_tenant_name_that_is_none_is_refused(name: str) -> None:
    """It would become a partition and a log field."""
    error = refusal(authenticator({"gateway": b"sk-1"}, trusted=True), "sk-1", x_strata_tenant=name)
    assert (error.status, error.code, error.param) == (400, "invalid_tenant", "x-strata-tenant")


def test_keys_are_not_kept_as_they_are() -> None:
    """A dump of the table shows digests only."""
    made = authenticator({"a": b"sk-very-secret"})
    assert "very-secret" not in repr(vars(made))


# --- admin keys -----------------------------------------------------------------------------------------------------------


def admins(secret: dict[str, bytes] | None, *, into: AdminKeys | None = None) -> AdminKeys:
    """The admin keys of Secret ``admins``; None: the Secret does not exist."""
    made = into or AdminKeys()
    config = AuthConfig.model_validate({"apiKeysSecretRef": {"name": "keys"}, "adminKeysSecretRef": {"name": "admins"}})
    made.load(config, StaticSecrets({} if secret is None else {"admins": secret}))
    return made


def turned_away(made: AdminKeys, **headers: str) -> StrataError:
    """The error of somebody who is no admin."""
    with pytest.raises(StrataError) as caught:
        made.check(CIMultiDict(headers))
    return caught.value


@pytest.mark.parametrize("config", [None, auth()])
def test_without_a_reference_to_admin_keys_nobody_is_admin(config: AuthConfig | None) -> None:
    """The endpoints are off, for the holder of an API key too, and no Secret is missing."""
    made = AdminKeys()
    made.load(config, StaticSecrets({"keys": {"a": b"sk-1"}, "": {"a": b"sk-1"}}))
    assert (turned_away(made, Authorization="Bearer sk-1").status, made.missing_secret) == (404, None)


@pytest.mark.parametrize("secret", [None, {}, {"a": b""}, {"a": b" \n\t\n"}])
def test_without_any_usable_admin_key_everybody_is_refused(secret: dict[str, bytes] | None) -> None:
    """503 with Retry-After: the keys may come, and until then nobody gets in with an empty one."""
    made = admins(secret)
    assert made.missing_secret == "admins"
    for sent in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer sk-1"}):
        error = turned_away(made, **sent)
        assert (error.status, error.code, error.retry_after) == (503, "auth_keys_unavailable", 5)


@pytest.mark.parametrize("key", ["", " ", "sk-2", "sk-admin x", "SK-ADMIN", "sk-admin\udce4", "x" * 100_000])
def test_a_wrong_admin_key_is_a_401_that_does_not_repeat_it(key: str) -> None:
    """Also an empty one, where the Secret has empty lines."""
    error = turned_away(admins({"a": b"\n\nsk-admin\n"}), Authorization=f"Bearer {key}")
    assert (error.status, error.code) == (401, "invalid_api_key")
    assert not key.strip() or key not in error.message


def test_every_line_of_the_secret_is_an_admin_key() -> None:
    """Whatever its key in the Secret is called."""
    made = admins({"_anna": b"sk-1\n sk-2 \r\n", "b": b"sk-1"})
    for key in ("sk-1", "sk-2"):
        made.check(CIMultiDict({"Authorization": f"Bearer {key}"}))


def test_admin_keys_rotate_and_survive_a_bad_rotation(caplog: pytest.LogCaptureFixture) -> None:
    """The new ones open and the old do not; an emptied Secret locks nobody out; another Secret's keys are other keys."""
    made = admins({"a": b"sk-old"})
    admins({"a": b"sk-new"}, into=made)
    made.check(CIMultiDict({"Authorization": "Bearer sk-new"}))
    assert turned_away(made, Authorization="Bearer sk-old").status == 401
    admins(None, into=made)
    made.check(CIMultiDict({"Authorization": "Bearer sk-new"}))
    assert "the last good keys stay" in caplog.text
    assert "sk-" not in caplog.text
    other = AuthConfig.model_validate({"apiKeysSecretRef": {"name": "keys"}, "adminKeysSecretRef": {"name": "others"}})
    made.load(other, StaticSecrets({}))
    assert (turned_away(made, Authorization="Bearer sk-new").status, made.missing_secret) == (503, "others")


def test_an_api_key_is_no_admin_key() -> None:
    """A tenant may not read what others executed."""
    assert turned_away(admins({"a": b"sk-admin"}), Authorization="Bearer sk-1").status == 401
