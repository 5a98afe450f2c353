"""Calls that are shared instead of made twice: identical requests in flight, near-identical ones, gathered embeddings.

Invariant: sharing never makes an answer wrong or a caller wait beyond its own deadline; whoever shares must have the
right to the same answer, which the cache's key says (partition, tenant and all).
"""

from __future__ import annotations

from .flights import Flights
from .near import NearFlights
from .streams import SharedStream

__all__ = ["Flights", "NearFlights", "SharedStream"]
