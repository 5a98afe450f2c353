"""The HTTP surface of a pod: front doors on the client port, the platform port, reload and drain.

Invariant: front doors translate between HTTP and ``Runtime``; they decide nothing about routing, retries or caching.
"""
