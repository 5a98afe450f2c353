"""What the runtime tells of itself: metrics, traces and logs, under the names of ``names`` alone.

Invariant: the Prometheus and OpenTelemetry packages are imported here and nowhere else.
"""

from __future__ import annotations

from .facade import RequestScope, Telemetry
from .logs import Logging
from .metrics import Metrics
from .tracing import surrounding

__all__ = ["Logging", "Metrics", "RequestScope", "Telemetry", "surrounding"]
