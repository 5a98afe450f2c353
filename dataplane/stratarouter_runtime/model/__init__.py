"""Canonical values and the protocols through which the rooms meet.

Invariant: imports only ``config`` of ours, does no I/O, and holds no state.
"""
