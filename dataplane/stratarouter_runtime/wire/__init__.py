"""Pure two-way codecs, one family of modules per dialect: providers use them upstream, the server at the front doors.

Invariants: imports only ``model`` of ours, does no I/O, holds no state beyond one stream's; what a client sends wrong
is a ``RequestError``, what a vendor sends wrong an ``AnswerError``, and nothing else is ever raised.
"""
