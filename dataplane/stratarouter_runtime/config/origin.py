"""Where a ``RuntimeConfig`` of the library came from: its pools, and the secrets beside it.

Invariant: it is no part of the configuration's value: two configurations of equal fields are equal wherever they came
from, and nothing here is printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .secrets import Secrets, StaticSecrets

if TYPE_CHECKING:
    from .snapshot import Snapshot


class Origin:
    """``snapshot`` has the pools that were read beside the configuration, None where it was made in Python."""

    __slots__ = ("secrets", "snapshot")

    def __init__(self, snapshot: Snapshot | None = None, secrets: Secrets | None = None) -> None:
        self.snapshot = snapshot
        self.secrets: Secrets = secrets or StaticSecrets()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin)

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "Origin()"
