"""What a route allows, and what it adds to a request.

Invariant: a policy is an AND of independent rules; a rule that is not set allows everything.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from .base import Contract, ModelName, Money, Name, hot, rules

Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
ALL_DAYS: tuple[Day, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
TimeOfDay = Annotated[str, Field(max_length=5, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]
METADATA_KEY = r"^[A-Za-z0-9]([-._A-Za-z0-9]{0,62}[A-Za-z0-9])?$"
"""As long as OpenAI allows keys of ``metadata`` to be."""
MetadataKey = Annotated[str, Field(min_length=1, max_length=64, pattern=METADATA_KEY)]
Placeholder = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Region = Annotated[str, Field(min_length=1, max_length=63)]


@cache
def zone(name: str) -> ZoneInfo | None:
    """An IANA time zone, None where there is no such one.

    Read from files once, when a configuration is validated: whoever asks later, on the event loop, finds it in memory.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


class TimeWindow(Contract):
    """When requests are allowed. A window whose end is before its start runs over midnight."""

    days: Annotated[
        tuple[Day, ...],
        hot("Days on which the window starts. Default: all.", list_type="set"), Field(min_length=1, max_length=7)] = ALL_DAYS
    from_: Annotated[TimeOfDay, hot("Start as HH:MM, included.")] = Field(alias="from")
    to: Annotated[TimeOfDay, hot("End as HH:MM, excluded; 24:00 is the day's end.")]
    time_zone: Annotated[
        str, hot("IANA time zone. Default UTC."), Field(min_length=1, max_length=64)] = "UTC"

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        if zone(name) is None:
            raise ValueError(f"{name!r} is not an IANA time zone")
        return name


class Policy(Contract):
    """What must hold before anything is spent, for every candidate, and for a cached answer."""

    model_config = rules((
        "self.onViolation != 'route' || has(self.violationRoute)", "violationRoute is required for onViolation route",
        ".violationRoute"))

    min_confidence: Annotated[
        float | None,
        hot("Least confidence of the routing decision. Default: none. Applies only where there is a confidence."),
        Field(ge=0, le=1)] = None
    max_cost_per_request_usd: Annotated[
        Money | None,
        hot("Most US dollars a request may cost by the candidate's price, estimated before the call: the input's tokens, "
            "and `max_tokens` of output, which is set to what the cap affords where the caller left it out. A candidate "
            "without a price violates it. Default: no cap.")] = None
    max_input_tokens: Annotated[
        int | None, hot("Most input tokens, estimated. Default: no limit."), Field(ge=1, le=100_000_000)] = None
    allowed_regions: Annotated[
        tuple[Region, ...],
        hot("Regions a candidate must be in; one without a region violates it. Default: any.", list_type="set"),
        Field(max_length=64)] = ()
    allowed_providers: Annotated[
        tuple[Name, ...], hot("The only providers to use. Default: any.", list_type="set"), Field(max_length=64)] = ()
    blocked_providers: Annotated[
        tuple[Name, ...], hot("Providers never to use. Default: none.", list_type="set"), Field(max_length=64)] = ()
    allowed_models: Annotated[
        tuple[ModelName, ...], hot("The only models to use, by public name. Default: any.", list_type="set"),
        Field(max_length=64)] = ()
    required_metadata: Annotated[
        tuple[MetadataKey, ...],
        hot("Keys that the request's metadata (with the route's and the context's) must have, `tenant` among them. "
            "Default: none.", list_type="set"), Field(max_length=16)] = ()
    time_windows: Annotated[
        tuple[TimeWindow, ...],
        hot("When requests are allowed: inside any of the windows. Default: always.", list_type="atomic"),
        Field(max_length=16)] = ()
    on_violation: Annotated[
        Literal["reject", "route", "dryRun"],
        hot("`reject`: refuse the request, or leave the candidate out where another satisfies; `route`: go to "
            "`violationRoute` (one hop) instead of refusing; `dryRun`: only report. Default `reject`.")] = "reject"
    violation_route: Annotated[Name | None, hot("For `onViolation: route`: where to.")] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.on_violation == "route" and self.violation_route is None:
            raise ValueError("violationRoute is required for onViolation route")
        return self


class RouteContext(Contract):
    """What a route adds to its requests."""

    model_config = rules((
        f"self.metadata.all(key, key.matches('{METADATA_KEY}'))",
        "keys of metadata are up to 64 letters, digits, '-', '_' or '.', with a letter or digit at both ends", ".metadata"))

    system_prompt: Annotated[
        Annotated[str, Field(min_length=1, max_length=32_768)] | None,
        hot("System prompt of the route. It comes first; the caller's own system and developer messages stay after it and "
            "cannot replace it. `$name` placeholders are filled for the names in `variables`; `$$` is a dollar sign. "
            "Default: none.")] = None
    variables: Annotated[
        tuple[Placeholder, ...],
        hot("Names that may be filled from the request's context; a missing one is an error. Default: none.", list_type="set"),
        Field(max_length=32)] = ()
    metadata: Annotated[
        dict[str, Annotated[str, Field(max_length=512)]],
        hot("Metadata added to the vendor's `metadata`, to traces and to logs; it wins over the caller's. Default: none."),
        Field(max_length=16)] = {}

    @field_validator("metadata")
    @classmethod
    def _keys(cls, metadata: dict[str, str]) -> dict[str, str]:
        wrong = next((key for key in metadata if not re.match(METADATA_KEY, key)), None)
        if wrong is not None:
            raise ValueError(f"{wrong!r} is no key: up to 64 letters, digits, '-', '_' or '.', with a letter or digit at both ends")
        return metadata
