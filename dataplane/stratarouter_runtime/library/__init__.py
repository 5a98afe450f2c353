"""The in-process door: the engine of the pods in an app, a script or a notebook.

Invariants: nothing is connected, embedded or asked before the first use, and everything is closed by ``aclose``; the
app's logging, metrics and traces stay the app's; what runs is the same ``Runtime`` that the server runs.
"""
