"""The status of both kinds, as models, so that their schema and reference come from one place.

Invariant: only the operator writes a status; every list and string is bounded.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

NAME = Field(max_length=253)


class Status(BaseModel):
    """Base: camelCase on the wire; every field is optional, as a status grows."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class ConditionStatus(Status):
    """What is the case, why, since when, and for which generation."""

    type: Annotated[str, Field(max_length=64, description="Name of the condition.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="Whether it is so.")]
    reason: Annotated[str, Field(max_length=128, description="Why, in one CamelCase word.")]
    message: Annotated[str, Field(max_length=1024, description="Why, for people.")] = ""
    observed_generation: Annotated[int, Field(ge=0, description="Generation this speaks of.")]
    last_transition_time: Annotated[
        str, Field(max_length=64, description="Since when the status is what it is.", json_schema_extra={"format": "date-time"})]


class ProviderStatus(Status):
    """A provider as the pods see it."""

    pool: Annotated[str, NAME, Field(description="Its ProviderPool.")]
    name: Annotated[str, NAME, Field(description="Its name in the pool.")]
    state: Annotated[
        Literal["Healthy", "Degraded", "Unavailable"], Field(description="The worst state that any pod reports.")]
    reason: Annotated[str, Field(max_length=256, description="Why it is not healthy.")] = ""


class CacheStatus(Status):
    """The cache as the pods see it; written at most once a minute."""

    entries: Annotated[int, Field(ge=0, description="Entries in the fullest pod's index.")] = 0
    hit_rate: Annotated[
        str, Field(max_length=8, description="Hits per look-up since the pods started, as a decimal from 0 to 1.")] = ""


def keyed(*keys: str) -> dict[str, object]:
    """A list that is a map by these keys."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


class RuntimeConfigStatus(Status):
    """What became of the spec."""

    observed_generation: Annotated[int | None, Field(ge=0, description="Newest generation the operator has looked at.")] = None
    config_hash: Annotated[
        str | None, Field(max_length=64, description="SHA-256 of the configuration the pods are to run.")] = None
    replicas: Annotated[int | None, Field(ge=0, description="Pods there are.")] = None
    selector: Annotated[str | None, Field(max_length=512, description="Label selector of the pods.")] = None
    updated_replicas: Annotated[int | None, Field(ge=0, description="Pods that acknowledged `configHash`.")] = None
    endpoint: Annotated[str | None, Field(max_length=512, description="Where callers reach the data plane.")] = None
    providers: Annotated[
        list[ProviderStatus] | None,
        Field(max_length=1024, description="Each provider, as bad as any pod finds it.", json_schema_extra=keyed("pool", "name"))] = None
    cache: Annotated[CacheStatus | None, Field(description="The cache.")] = None
    conditions: Annotated[
        list[ConditionStatus] | None,
        Field(max_length=16, json_schema_extra=keyed("type"),
              description="`Accepted`, `ResolvedRefs`, `Progressing`, `Ready`, `Degraded`.")] = None


class ProviderPoolStatus(Status):
    """Who uses the pool, and whether it is in order."""

    observed_generation: Annotated[int | None, Field(ge=0, description="Newest generation the operator has looked at.")] = None
    used_by: Annotated[
        list[Annotated[str, NAME]] | None,
        Field(max_length=1024, description="RuntimeConfigs whose routes name it.",
              json_schema_extra={"x-kubernetes-list-type": "set"})] = None
    conditions: Annotated[
        list[ConditionStatus] | None,
        Field(max_length=16, description="`Accepted`.", json_schema_extra=keyed("type"))] = None
