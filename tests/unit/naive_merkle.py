"""RFC 6962 section 2.1, word for word: recursive, slow, and written without a look at the archive's own."""

import hashlib
from collections.abc import Sequence


def hashed(data: bytes) -> bytes:
    """HASH."""
    return hashlib.sha256(data).digest()


def largest_power_below(n: int) -> int:
    """k, the largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(d: Sequence[bytes]) -> bytes:
    """MTH(D[n]), the Merkle tree hash."""
    if not d:
        return hashed(b"")
    if len(d) == 1:
        return hashed(b"\x00" + d[0])
    k = largest_power_below(len(d))
    return hashed(b"\x01" + mth(d[:k]) + mth(d[k:]))


def path(m: int, d: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]), the audit path (section 2.1.1)."""
    if len(d) == 1:
        return []
    k = largest_power_below(len(d))
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: Sequence[bytes], b: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) (section 2.1.2)."""
    if m == len(d):
        return [] if b else [mth(d)]
    k = largest_power_below(len(d))
    if m <= k:
        return [*subproof(m, d[:k], b), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


def proof(m: int, d: Sequence[bytes]) -> list[bytes]:
    """PROOF(m, D[n]), the consistency proof."""
    return subproof(m, d, True)
