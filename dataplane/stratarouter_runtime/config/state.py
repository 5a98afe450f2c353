"""``RuntimeConfig.spec.state``: where executions are recorded."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import Contract, SecretKeyRef, hot, rules


class StateConfig(Contract):
    """Where executions are recorded."""

    model_config = rules((
        "self.backend != 'postgresql' || has(self.dsnSecretRef)", "dsnSecretRef is required for backend postgresql",
        ".dsnSecretRef"))

    backend: Annotated[
        Literal["none", "memory", "postgresql"],
        hot("`none`: nowhere; `memory`: the newest 2,000 of each pod, gone with it; `postgresql`: a database that all pods share, "
            "kept for 30 days. Default `memory`. Never on a request's way: what cannot be written in time is dropped and counted.")
    ] = "memory"
    dsn_secret_ref: Annotated[
        SecretKeyRef | None,
        hot("For `postgresql`: Secret key holding the DSN, `postgresql://user:password@host:5432/database`. While it is missing, "
            "records are dropped and counted.")] = None
    checkpoint_interval: Annotated[
        int,
        hot("Chunks of a stream between two checkpoints of its text so far, so that one that breaks off can be inspected; 0 for "
            "none. Default 10. Checkpoints hold text of answers; nothing else that is recorded does."),
        Field(ge=0, le=10_000)] = 10

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.backend == "postgresql" and self.dsn_secret_ref is None:
            raise ValueError("dsnSecretRef is required for backend postgresql")
        return self
