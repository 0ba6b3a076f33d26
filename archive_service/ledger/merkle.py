"""RFC 6962 section 2.1 Merkle trees over SHA-256: roots, inclusion and consistency proofs."""

import hashlib
from collections.abc import Callable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()

Subtree = Callable[[int, int], bytes]
"""``subtree(start, end)``: the Merkle tree hash of the entries [start, end); the range is a complete subtree
(its length a power of two, its start a multiple of it)."""


def leaf_hash(entry: bytes) -> bytes:
    """MTH of one entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """MTH of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two smaller than ``size`` (size > 1)."""
    return 1 << ((size - 1).bit_length() - 1)


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees, largest first. O(log n) memory."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash."""
        width, node = 1, leaf
        while self._peaks and self._peaks[-1][0] == width:
            node = node_hash(self._peaks.pop()[1], node)
            width *= 2
        self._peaks.append((width, node))
        self.size += 1

    def append_subtree(self, width: int, node: bytes) -> None:
        """Add a complete subtree of ``width`` leaves; the present size must be a multiple of it."""
        if width & (width - 1) or self.size % width:
            raise ValueError("a subtree is appended where it is not aligned")
        added = width
        while self._peaks and self._peaks[-1][0] == width:
            node = node_hash(self._peaks.pop()[1], node)
            width *= 2
        self._peaks.append((width, node))
        self.size += added

    def root(self) -> bytes:
        """The tree's root hash."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1][1]
        for _, peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def range_root(start: int, end: int, subtree: Subtree) -> bytes:
    """MTH of [start, end) where ``start`` is a multiple of the power of two at or above its length."""
    width = end - start
    if width & (width - 1) == 0:
        return subtree(start, end)
    middle = start + _split(width)
    return node_hash(subtree(start, middle), range_root(middle, end, subtree))


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """PATH(index, D[size]) (RFC 6962 section 2.1.1). Raises ValueError outside the tree."""
    if not 0 <= index < size:
        raise ValueError("the index is outside the tree")
    start, end = 0, size
    path: list[bytes] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_root(middle, end, subtree))
            end = middle
        else:
            path.append(range_root(start, middle, subtree))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """PROOF(old, D[new]) (RFC 6962 section 2.1.2). Raises ValueError unless 0 < old <= new."""
    if not 0 < old <= new:
        raise ValueError("sizes out of order")
    start, end, whole = 0, new, True
    path: list[bytes] = []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(range_root(middle, end, subtree))
            end = middle
        else:
            path.append(range_root(start, middle, subtree))
            start, whole = middle, False
    if not whole:
        path.append(range_root(start, end, subtree))
    return path[::-1]


def _fold(fn: int, sn: int, node: bytes, path: Sequence[bytes]) -> bytes | None:
    """Climb from a leaf (RFC 9162 section 2.1.3.2); None when the path has the wrong length."""
    for sibling in path:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    return node if sn == 0 else None


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether ``path`` proves the leaf hash at ``index`` in the tree of ``size`` with ``root``."""
    if not 0 <= index < size:
        return False
    return _fold(index, size - 1, leaf, path) == root


def verify_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether ``path`` proves that the tree of ``new`` extends the tree of ``old`` (RFC 9162 section 2.1.4.2).

    An old tree of size 0 is consistent with all, but only by the empty root and an empty path: no
    arbitrary "old root" is ever accepted.
    """
    if not 0 <= old <= new:
        return False
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    if old == new:
        return not path and old_root == new_root
    if not path:
        return False
    steps = list(path)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = steps[0]
    for sibling in steps[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == old_root and second == new_root
