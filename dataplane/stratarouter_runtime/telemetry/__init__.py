"""What the runtime tells of itself: metrics, traces and logs, under the names of ``names`` alone.

Invariant: the Prometheus and OpenTelemetry packages are imported here and nowhere else.
"""
