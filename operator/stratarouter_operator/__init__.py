"""The operator: keeps each RuntimeConfig's data plane as its resource says, and says in its status how far it is.

Invariant: of the data plane it knows ``stratarouter_runtime.config`` alone.
"""
