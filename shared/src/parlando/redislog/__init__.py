"""Redis as the log, the queue and the wire (design: docs/architecture.md).

`writer` is what a gateway does to a session, `owner` what a worker does, `history` what anyone reads.
"""
