"""Who calls: API keys to tenants, and admin keys.

Invariants: keys are kept and compared as SHA-256 digests, so neither memory dumps of the table nor timing tell a key;
the tenant comes from the key alone unless a trusted gateway names it; after a bad rotation the last good keys stay;
a key that two tenants claim belongs to neither.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping

from stratarouter_runtime.config import AuthConfig, Secrets
from stratarouter_runtime.model.errors import ExecutionError, RequestError
from stratarouter_runtime.model.request import Caller

logger = logging.getLogger(__name__)

TENANT = re.compile(r"^[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?$")
_MISSING = ("You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
            "(i.e. Authorization: Bearer YOUR_KEY).")


class AdminKeys:
    """The keys of the platform port's admin endpoints; without ``auth.adminKeysSecretRef`` those are off."""

    def __init__(self) -> None:
        self._source = ""
        self._digests: frozenset[bytes] = frozenset()

    def load(self, config: AuthConfig | None, secrets: Secrets) -> None:
        """Take the keys as they are now; an empty or unreadable Secret keeps the last good ones of the same Secret."""
        reference = config.admin_keys_secret_ref if config else None
        name = reference.name if reference else ""
        digests = frozenset(digest for _, digest in _digests(name, secrets)) if name else frozenset()
        if name and not digests and self._digests and self._source == name:
            logger.error("the Secret with admin keys holds no usable key; the last good keys stay", extra={"secret": name})
            digests = self._digests
        self._source, self._digests = name, digests

    @property
    def missing_secret(self) -> str | None:
        """The Secret that ought to hold keys and does not."""
        return self._source if self._source and not self._digests else None

    def check(self, headers: Mapping[str, str]) -> None:
        """Let an admin pass. Raises ``RequestError`` 404 where there are no admins, 401 for a missing or wrong key,
        ``ExecutionError`` 503 without any keys.
        """
        if not self._source:
            raise RequestError("AdminDisabled", "Admin endpoints are off: auth.adminKeysSecretRef is not set.", status=404)
        if not self._digests:
            raise ExecutionError("AuthKeysUnavailable", "The admin keys of this service are not available; try again later.",
                                 status=503, retry_after=5)
        key = presented_key(headers)
        if not key:
            raise _unauthorized("An admin key is needed, in an Authorization header (Authorization: Bearer YOUR_KEY).")
        if _digest(key) not in self._digests:
            raise _unauthorized("Incorrect admin key provided.")


class Authenticator:
    """Authenticates callers by the keys of one Secret; without an ``auth`` block everybody is one tenant."""

    def __init__(self) -> None:
        self._config: AuthConfig | None = None
        self._tenants: dict[bytes, str] = {}
        self._source = ""

    def load(self, config: AuthConfig | None, secrets: Secrets) -> None:
        """Take the keys as they are now; an empty or unreadable Secret keeps the last good ones of the same Secret."""
        name = config.api_keys_secret_ref.name if config else ""
        tenants = _read(name, secrets) if config else {}
        if config and not tenants and self._tenants and self._source == name:
            logger.error("the Secret with API keys holds no usable key; the last good keys stay", extra={"secret": name})
            tenants = self._tenants
        self._config, self._tenants, self._source = config, tenants, name

    @property
    def ready(self) -> bool:
        """Whether calls can be told apart: there is no ``auth`` block, or there are keys."""
        return self._config is None or bool(self._tenants)

    @property
    def missing_secret(self) -> str | None:
        """The Secret that ought to hold keys and does not."""
        return None if self.ready else self._source

    def authenticate(self, headers: Mapping[str, str]) -> Caller:
        """The caller; raises ``RequestError`` 401 for a missing or wrong key, ``ExecutionError`` 503 without any keys."""
        config = self._config
        if config is None:
            return Caller()
        if not self._tenants:
            raise ExecutionError("AuthKeysUnavailable", "The API keys of this service are not available; try again later.",
                                 status=503, retry_after=5)
        key = presented_key(headers)
        if not key:
            raise _unauthorized(_MISSING)
        tenant = self._tenants.get(_digest(key))
        if tenant is None:
            raise _unauthorized("Incorrect API key provided.")
        named = headers.get("x-strata-tenant") if config.trusted_tenant_header else None
        if named is None:
            return Caller(tenant)
        if not TENANT.match(named):
            raise RequestError("InvalidTenant", "The header x-strata-tenant must be 1 to 63 letters, digits, '-', '_' or '.'.",
                               param="x-strata-tenant")
        return Caller(named)


def presented_key(headers: Mapping[str, str]) -> str:
    """The key a caller sent, as OpenAI's SDKs do (``Authorization: Bearer``), Azure's (``api-key``) or Anthropic's (``x-api-key``)."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    return (headers.get("x-api-key") or headers.get("api-key", "")).strip()


def _unauthorized(message: str) -> RequestError:
    return RequestError("InvalidApiKey", message, status=401)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _digests(secret: str, secrets: Secrets) -> Iterator[tuple[str, bytes]]:
    """The digest of each line of a Secret, with the key under which it stands."""
    for name in secrets.keys(secret) or ():
        for line in (secrets.read(secret, name) or b"").decode("utf-8", "replace").splitlines():
            if key := line.strip():
                yield name, _digest(key)


def _read(secret: str, secrets: Secrets) -> dict[bytes, str]:
    tenants: dict[bytes, str] = {}
    disputed: set[bytes] = set()
    for tenant in secrets.keys(secret) or ():
        if not TENANT.match(tenant):
            logger.warning("a key of the Secret with API keys is no tenant's name", extra={"secret": secret, "tenant": tenant})
    for tenant, digest in _digests(secret, secrets):
        if TENANT.match(tenant) and tenants.setdefault(digest, tenant) != tenant:
            disputed.add(digest)
    for digest in disputed:
        logger.error("an API key stands under two tenants and is refused", extra={"secret": secret})
        del tenants[digest]
    return tenants
