"""Calls that are shared instead of made twice: identical requests in flight, near-identical ones, gathered embeddings.

Invariant: sharing never makes an answer wrong or a caller wait beyond its own deadline; whoever shares must have the
right to the same answer, which the cache's key says (partition, tenant and all).
"""

from __future__ import annotations

from .flights import Flight, Flights, until
from .gather import Gatherer
from .near import NearFlights
from .streams import Reader, SharedStream, SharedStreams

__all__ = ["Flight", "Flights", "Gatherer", "NearFlights", "Reader", "SharedStream", "SharedStreams", "until"]
