"""Decision to plan: which route, which candidates in which order, under which terms.

Invariant: pure. It sees a snapshot and a request and returns a value; it calls nobody and keeps nothing.
"""
