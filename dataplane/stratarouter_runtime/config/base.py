"""What every model of the contract is made of.

Invariants: models are frozen and refuse unknown fields; names are camelCase on the wire and snake_case in Python;
every leaf says in its schema whether a change of it is applied ``hot`` (the running pods take it) or by a ``roll``
(a new pod template). Bounds are on every string, list and map, because CEL rules have a cost budget.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

Apply = Literal["hot", "roll"]

APPLY = "x-strata-apply"
"""Schema key that holds how a change of the field is applied: ``hot`` or ``roll``."""

VALIDATIONS = "x-kubernetes-validations"
"""Schema key of the CEL rules; each has a Python twin in the model's validator, for YAML read without Kubernetes."""

DNS_LABEL = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""DNS-1035 label: it becomes the name of a Service."""

OBJECT_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
"""RFC 1123 subdomain, as Kubernetes names Secrets."""

KEY_IN_SECRET = r"^[-._a-zA-Z0-9]+$"  # noqa: S105 (a pattern, not a password)
"""A key inside a Secret; the characters Kubernetes allows."""

MODEL_NAME = r"^[^\s\x00-\x1f][^\x00-\x1f]*$"
"""A model as clients write it: printable, without leading blank."""


class Contract(BaseModel):
    """Base of all models of the contract."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        validate_default=True,
        str_max_length=4096,
        ser_json_inf_nan="strings",
        protected_namespaces=(),
    )

    def document(self) -> dict[str, Any]:
        """The value as the resource's YAML has it: camelCase, without what was not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def setting(apply: Apply, description: str, *, list_type: str | None = None, keys: tuple[str, ...] = (),
            preserve: bool = False) -> Any:
    """Describe a field: how a change of it is applied, its unit, default and trade-off in words.

    ``list_type`` and ``keys`` say how server-side apply merges a list; ``preserve`` keeps unknown fields of a
    fragment that Kubernetes itself defines (a pod-spec fragment).
    """
    extra: dict[str, Any] = {APPLY: apply}
    if list_type:
        extra["x-kubernetes-list-type"] = list_type
    if keys:
        extra["x-kubernetes-list-map-keys"] = list(keys)
    if preserve:
        extra["x-kubernetes-preserve-unknown-fields"] = True
    return Field(description=description, json_schema_extra=extra)


def hot(description: str, **how: Any) -> Any:
    """A field that the running pods take without a restart."""
    return setting("hot", description, **how)


def roll(description: str, **how: Any) -> Any:
    """A field that needs a new pod template."""
    return setting("roll", description, **how)


def rules(*each: tuple[str, str, str]) -> ConfigDict:
    """CEL rules of a model for the API server: (expression, message, field path relative to the object)."""
    written: list[Any] = [{"rule": rule, "message": message, "fieldPath": path} for rule, message, path in each]
    return ConfigDict(json_schema_extra={VALIDATIONS: written})


def _decimal(value: Any) -> Any:
    if isinstance(value, float):
        # pydantic turns a ValueError, and only that, into a problem of the field.
        raise ValueError('must be a quoted decimal such as "0.05"; binary floating point cannot hold money exactly')  # noqa: TRY004
    return value


Money = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    PlainSerializer(lambda value: format(value, "f"), return_type=str),
    Field(ge=0, max_digits=18, decimal_places=9),
]
"""US dollars as a decimal string; never a float."""


def _one_line(value: str) -> str:
    if "\r" in value or "\n" in value or "\0" in value:
        raise ValueError("must not contain line breaks")
    return value


HeaderValue = Annotated[
    # The pattern is for the schema alone: the validator says it in words.
    str, AfterValidator(_one_line), Field(max_length=1024, json_schema_extra={"pattern": r"^[^\r\n\x00]*$"})]
Url = Annotated[str, Field(max_length=1024, pattern=r"^https?://[^\s/?#@]+[^\s?#@]*$")]
"""An http or https URL without credentials, query or fragment."""

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
ModelName = Annotated[str, Field(min_length=1, max_length=253, pattern=MODEL_NAME)]


class SecretKeyRef(Contract):
    """One key of a Secret in the same namespace."""

    name: Annotated[
        str, roll("Name of the Secret. It is mounted, so a newly referenced one rolls the pods."),
        Field(min_length=1, max_length=253, pattern=OBJECT_NAME)]
    key: Annotated[
        str, hot("Key inside the Secret."), Field(min_length=1, max_length=253, pattern=KEY_IN_SECRET)]


class SecretRef(Contract):
    """A whole Secret in the same namespace: each key of it counts."""

    name: Annotated[
        str, roll("Name of the Secret. It is mounted, so a newly referenced one rolls the pods."),
        Field(min_length=1, max_length=253, pattern=OBJECT_NAME)]
