"""Verify: read everything again and name what does not fit. Trusts neither catalog nor index.

Works beside a running service (logs may grow while it reads) and after a crash (orphans and unfinished work are
notes, not damage). ``report`` (words), ``walk`` (one log: chain, tree, checkpoints, tiles), ``contents`` (objects,
payloads, locks, keys behind entries), ``roots`` (anchors), ``archive`` (all of it, resumable).
"""
