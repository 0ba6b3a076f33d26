"""Merkle trees against published vectors and against RFC 6962 written out naively."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tests.unit import naive_merkle

VECTORS = json.loads((Path(__file__).parent / "vectors_rfc6962.json").read_text("ascii"))
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["tree"]["leaves"]]
ENTRIES = [b"entry %d" % n for n in range(70)]
HASHES = [leaf_hash(entry) for entry in ENTRIES]


def subtree(start: int, end: int) -> bytes:
    width = end - start
    assert width & (width - 1) == 0, "only complete subtrees are asked for"
    assert start % width == 0
    return root_of(HASHES[start:end])


def named(vector: dict[str, Any]) -> str:
    return str(vector["file"])


@pytest.mark.parametrize(("size", "root"), VECTORS["tree"]["roots"].items())
def test_published_roots(size: str, root: str) -> None:
    assert root_of([leaf_hash(leaf) for leaf in LEAVES[: int(size)]]).hex() == root


def test_the_root_of_the_eight_well_known_leaves() -> None:
    known = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert root_of([leaf_hash(leaf) for leaf in LEAVES]).hex() == known


def test_the_empty_tree() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert root_of([]) == EMPTY_ROOT == Frontier().root()


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=named)
def test_published_inclusion(vector: dict[str, Any]) -> None:
    path = [b64decode(node) for node in vector["proof"]]
    leaf, root = b64decode(vector["leafHash"]), b64decode(vector["root"])
    holds = verify_inclusion(leaf, vector["leafIdx"], vector["treeSize"], path, root)
    assert holds is not vector["wantErr"]


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=named)
def test_published_consistency(vector: dict[str, Any]) -> None:
    path = [b64decode(node) for node in vector["proof"]]
    old, new = b64decode(vector["root1"]), b64decode(vector["root2"])
    holds = verify_consistency(vector["size1"], vector["size2"], path, old, new)
    assert holds is not vector["wantErr"]


def test_nothing_but_the_empty_root_is_consistent_from_size_0() -> None:
    root = root_of(HASHES[:5])
    assert verify_consistency(0, 5, [], EMPTY_ROOT, root)
    assert not verify_consistency(0, 5, [], root, root)
    assert not verify_consistency(0, 5, [root], EMPTY_ROOT, root)
    assert not verify_consistency(-1, 5, [], EMPTY_ROOT, root)


@given(st.integers(0, 70))
def test_roots_are_those_of_the_rfc(size: int) -> None:
    assert root_of(HASHES[:size]) == naive_merkle.mth(ENTRIES[:size])


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_inclusion_proofs_are_those_of_the_rfc_and_verify(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_proof(index, size, subtree)
    assert path == naive_merkle.path(index, ENTRIES[:size])
    root = root_of(HASHES[:size])
    assert verify_inclusion(HASHES[index], index, size, path, root)
    other = data.draw(st.integers(0, size - 1).filter(lambda place: place != index)) if size > 1 else None
    if other is not None:
        assert not verify_inclusion(HASHES[index], other, size, path, root)
        assert not verify_inclusion(HASHES[other], index, size, path, root)
    damaged = data.draw(st.integers(0, len(path) - 1)) if path else None
    if damaged is not None:
        wrong = [*path[:damaged], node_hash(path[damaged], b""), *path[damaged + 1 :]]
        assert not verify_inclusion(HASHES[index], index, size, wrong, root)
        assert not verify_inclusion(HASHES[index], index, size, path[:damaged] + path[damaged + 1 :], root)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_consistency_proofs_are_those_of_the_rfc_and_verify(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 70))
    old = data.draw(st.integers(1, new))
    path = consistency_proof(old, new, subtree)
    assert path == naive_merkle.proof(old, ENTRIES[:new])
    old_root, new_root = root_of(HASHES[:old]), root_of(HASHES[:new])
    assert verify_consistency(old, new, path, old_root, new_root)
    forked = root_of([*HASHES[: old - 1], leaf_hash(b"another past")])
    assert not verify_consistency(old, new, path, forked, new_root)
    assert not verify_consistency(old, new, [*path, new_root], old_root, new_root)
    for place in range(len(path)):
        wrong = [*path[:place], node_hash(path[place], b""), *path[place + 1 :]]
        assert not verify_consistency(old, new, wrong, old_root, new_root)
        assert not verify_consistency(old, new, path[:place] + path[place + 1 :], old_root, new_root)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_no_inclusion_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        inclusion_proof(index, size, subtree)
    assert not verify_inclusion(HASHES[0], index, size, [], HASHES[0])


@pytest.mark.parametrize(("old", "new"), [(0, 5), (6, 5), (-1, 5)])
def test_no_consistency_of_sizes_out_of_order(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="order"):
        consistency_proof(old, new, subtree)


@given(st.integers(0, 70), st.integers(0, 6))
def test_a_frontier_takes_whole_subtrees(size: int, level: int) -> None:
    width = 2**level
    whole = size - size % width
    frontier = Frontier()
    for start in range(0, whole, width):
        frontier.append_subtree(width, root_of(HASHES[start : start + width]))
    for leaf in HASHES[whole:size]:
        frontier.append(leaf)
    assert (frontier.size, frontier.root()) == (size, root_of(HASHES[:size]))


@pytest.mark.parametrize(("size", "width"), [(1, 2), (2, 4), (4, 3), (3, 2)])
def test_a_subtree_must_be_aligned(size: int, width: int) -> None:
    frontier = Frontier()
    for leaf in HASHES[:size]:
        frontier.append(leaf)
    with pytest.raises(ValueError, match="aligned"):
        frontier.append_subtree(width, HASHES[0])
