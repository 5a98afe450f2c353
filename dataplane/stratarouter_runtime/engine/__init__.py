"""The engine: one deadline, one attempt budget, failover, breakers, and streams with a commit point.

It knows providers only as the protocol in ``model.provider``.
"""

from __future__ import annotations

from .engine import Engine
from .health import Health, ProviderState
from .stream import OpenStream

__all__ = ["Engine", "Health", "OpenStream", "ProviderState"]
