"""The logs: the only authority.

Reading order: ``entry`` (form of an entry), ``merkle``, ``note`` (signed checkpoints), ``reader`` (a log from its
batches), ``appender`` (claim a slot, append), ``payloads`` (sealed payloads), ``capture_writer`` (the write path:
seal, key record, append), ``tiles``, ``checkpointer`` (tiles, checkpoints, anchors), ``proofs``, ``verify``.
"""
