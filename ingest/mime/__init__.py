"""MIME by raw byte offsets (RFC 5322, 2045, 2046, 2047, 2231, 6532): read, never re-serialised.

``scanner`` finds headers and boundaries, ``headers`` decodes field values, ``addresses`` and ``dates`` read
two kinds of them, ``charsets`` turns bytes into text, ``body`` undoes transfer encodings, ``markup`` turns
HTML into words. Nothing here raises for what a mail contains, and all of it takes linear time.
"""
