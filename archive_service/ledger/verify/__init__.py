"""Verify: read everything again and name what does not fit. Trusts neither catalog nor index.

Works beside a running service (logs may grow while it reads) and after a crash (orphans and unfinished work are
notes, not damage). ``report`` (words), ``looking`` (listing what may hold strays), ``walk`` (one log: chain, tree,
checkpoints, tiles), ``locks``, ``keys``, ``contents`` (objects and payloads behind entries), ``moves`` (their
versions), ``orders`` (logs against each other), ``roots`` (anchors), ``archive`` (all of it, resumable).
"""
