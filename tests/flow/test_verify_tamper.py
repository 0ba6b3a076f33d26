"""Whoever owns the disk can change anything; ``verify`` names it. One case a row; what cannot be seen is said too."""

import functools
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from archive_service.ledger.merkle import root_of
from archive_service.ledger.note import Signer
from archive_service.vault.key_layout import LogId, batch_key, checkpoint_key
from archive_service.vault.keyring import Keyring
from search.indexes.base import IndexDocument
from search.indexes.tantivy_index import TantivyIndex
from tests.flow.archive_fixtures import Built, Copy, built, copy, opened, run, verify

__all__ = ["built", "copy"]  # fixtures

Expected = dict[str, Any]
Tamper = Callable[[Copy], list[Expected]]
"""Tampers with an archive; returns what verify must name, as parts of problems."""

ROWS: dict[str, Tamper] = {}


def row(name: str) -> Callable[[Tamper], Tamper]:
    def register(tamper: Tamper) -> Tamper:
        assert name not in ROWS
        ROWS[name] = tamper
        return tamper

    return register


def problem(what: str, **more: Any) -> Expected:
    return {
        "what": what,
        "severity": "damage",
        **{key: str(v) if key == "log" else v for key, v in more.items()},
    }


def is_named(expected: Expected, problems: list[dict[str, Any]]) -> bool:
    return any(expected.items() <= found.items() for found in problems)


# --- objects ------------------------------------------------------------------------------------------


def an_object(copy: Copy, number: int = 4) -> tuple[str, Expected]:
    key = copy.objects(copy.of.captures)[number]
    return key, problem("object", log=copy.of.captures, seq=copy.seq_of(copy.of.captures, key), name=key)


@row("object-flip-first-byte")
def _(copy: Copy) -> list[Expected]:
    key, named = an_object(copy)
    copy.flip(key, 0)
    return [named]


@row("object-flip-last-byte")
def _(copy: Copy) -> list[Expected]:
    key, named = an_object(copy)
    copy.flip(key, len(copy.read(key)) - 1, 0x80)
    return [named]


@row("object-flip-in-a-large-one")
def _(copy: Copy) -> list[Expected]:
    (key,) = (key for key in copy.objects(copy.of.captures) if key.endswith(copy.of.large.capture))
    assert len(copy.read(key)) > 1 << 20
    copy.flip(key, 900_000)
    return [problem("object", log=copy.of.captures, seq=copy.of.large.seq, name=key)]


@row("object-deleted")
def _(copy: Copy) -> list[Expected]:
    key, named = an_object(copy)
    copy.delete(key)
    return [named]


@row("object-truncated")
def _(copy: Copy) -> list[Expected]:
    key, named = an_object(copy)
    copy.edit(key, lambda data: data[:-1])
    return [named]


@row("object-emptied")
def _(copy: Copy) -> list[Expected]:
    key, named = an_object(copy)
    copy.edit(key, lambda data: b"")
    return [named]


@row("object-appended-to")
def _(copy: Copy) -> list[Expected]:
    key, named = an_object(copy)
    copy.edit(key, lambda data: data + b"\0")
    return [named]


@row("objects-swapped")
def _(copy: Copy) -> list[Expected]:
    (one, first), (two, second) = an_object(copy, 3), an_object(copy, 4)
    left, right = copy.read(one), copy.read(two)
    copy.write(one, right)
    copy.write(two, left)
    return [first, second]


@row("object-replaced-by-another-sealed-one")
def _(copy: Copy) -> list[Expected]:
    key, named = an_object(copy)
    copy.write(key, copy.read(an_object(copy, 5)[0]))
    return [named]


@row("object-replaced-by-another-tenants")
def _(copy: Copy) -> list[Expected]:
    key, named = an_object(copy)
    copy.write(key, copy.read(copy.objects(LogId(copy.of.other, "capture-1"))[0]))
    return [named]


@row("object-replaced-by-a-link")
def _(copy: Copy) -> list[Expected]:
    key, named = an_object(copy)
    elsewhere = copy.data.parent / "elsewhere"
    copy.path(key).rename(elsewhere)
    copy.path(key).symlink_to(elsewhere)
    return [named]


@row("object-replaced-by-a-folder")
def _(copy: Copy) -> list[Expected]:
    key, named = an_object(copy)
    copy.delete(key)
    copy.path(key).mkdir()
    return [named]


@row("all-objects-deleted")
def _(copy: Copy) -> list[Expected]:
    keys = copy.objects(copy.of.captures)
    shutil.rmtree(copy.data / "objects")
    seqs = [entry["seq"] for entry in copy.entries(copy.of.captures) if entry["type"] == "capture"]
    assert len(seqs) == len(keys)
    return [problem("object", log=copy.of.captures, seq=seq) for seq in seqs]


@row("large-payload-flip")
def _(copy: Copy) -> list[Expected]:
    key = copy.flip(copy.objects(copy.of.access)[0])
    return [problem("object", log=copy.of.access, name=key)]


@row("large-payload-deleted")
def _(copy: Copy) -> list[Expected]:
    key = copy.delete(copy.objects(copy.of.access)[0])
    return [problem("object", log=copy.of.access, name=key)]


@row("large-finding-flip")
def _(copy: Copy) -> list[Expected]:
    key = copy.flip(copy.objects(copy.of.order)[0])
    return [problem("object", log=copy.of.order, name=key)]


# --- batches ------------------------------------------------------------------------------------------


def a_batch(copy: Copy, log: LogId, at_least: int = 2) -> str:
    """A batch in the middle of a log with some entries."""
    keys = copy.batches(log)
    return next(key for key in keys[1:-1] if copy.read(key).count(b"\n") >= at_least)


@row("batch-flip")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    key = a_batch(copy, log)
    place = copy.read(key).index(b'"commit":"') + 12
    copy.edit(
        key,
        lambda data: data[:place] + (b"0" if data[place : place + 1] != b"0" else b"1") + data[place + 1 :],
    )
    first = copy.first_seq(key)
    return [
        problem("object", log=log, seq=first),
        problem("chain", log=log, seq=first + 1),
        problem("root", log=log),
    ]


@row("batch-flip-that-breaks-a-date")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    key = a_batch(copy, log)
    copy.edit(key, lambda data: data.replace(b'"lock_until":"2', b'"lock_until":"x', 1))
    return [problem("object", log=log, seq=copy.first_seq(key)), problem("root", log=log)]


@row("batch-field-renamed")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    key = a_batch(copy, log)
    copy.edit(key, lambda data: data.replace(b'"key":', b'"kez":', 1))
    return [problem("object", log=log, seq=copy.first_seq(key)), problem("root", log=log)]


@row("batch-line-end-flipped")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    key = a_batch(copy, log)
    copy.flip(key, copy.read(key).index(b"\n"))
    return [problem("entry", log=log, seq=copy.first_seq(key))]


@row("batch-cut-short")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    key = a_batch(copy, log)
    copy.edit(key, lambda data: data[:-20])
    return [problem("batch", log=log, seq=copy.first_seq(key))]


@row("batch-emptied")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    key = a_batch(copy, log)
    copy.edit(key, lambda data: b"")
    return [
        problem("batch", log=log, seq=copy.first_seq(key)),
        problem("batch", log=log, seq=copy.first_seq(key) + 1),
    ]


@row("batch-deleted")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    seq = copy.first_seq(copy.delete(a_batch(copy, log)))
    return [problem("batch", log=log, seq=seq)]


@row("batch-replaced-by-a-link")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    key = a_batch(copy, log)
    copy.path(key).rename(copy.data.parent / "elsewhere")
    copy.path(key).symlink_to(copy.data.parent / "elsewhere")
    return [problem("batch", log=log, seq=copy.first_seq(key), name=key)]


@row("batch-first-deleted")
def _(copy: Copy) -> list[Expected]:
    copy.delete(batch_key(copy.of.captures, 0))
    return [problem("batch", log=copy.of.captures, seq=0)]


@row("batch-lines-reordered")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    key = a_batch(copy, log)

    def swap(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        return b"".join([lines[1], lines[0], *lines[2:]])

    copy.edit(key, swap)
    first = copy.first_seq(key)
    return [
        problem("entry", log=log, seq=first),
        problem("entry", log=log, seq=first + 1),
        problem("root", log=log),
    ]


@row("batch-line-dropped")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    key = a_batch(copy, log, 3)
    copy.edit(
        key, lambda data: b"".join(data.splitlines(keepends=True)[:-2] + data.splitlines(keepends=True)[-1:])
    )
    return [problem("entry", log=log, seq=copy.first_seq(key) + copy.read(key).count(b"\n") - 1)]


@row("batch-line-doubled")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    key = a_batch(copy, log)
    lines = copy.read(key).count(b"\n")
    copy.edit(key, lambda data: data + data.splitlines(keepends=True)[-1])
    return [problem("entry", log=log, seq=copy.first_seq(key) + lines)]


@row("batch-under-another-seq-too")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    key = a_batch(copy, log)
    stray = batch_key(log, copy.first_seq(key) + 1)
    copy.write(stray, copy.read(key))
    return [problem("batch", log=log, name=stray)]


@row("batch-replayed-at-the-head")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    head = len(copy.entries(log))
    copy.write(batch_key(log, head), copy.read(a_batch(copy, log)))
    return [problem("entry", log=log, seq=head)]


@row("batch-of-another-log")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    theirs = LogId(copy.of.other, "capture-1")
    copy.write(batch_key(log, 0), copy.read(batch_key(theirs, 0)))
    return [problem("entry", log=log, seq=0)]


@row("batch-stray-name")
def _(copy: Copy) -> list[Expected]:
    stray = copy.batches(copy.of.captures)[0] + "-old"
    copy.write(stray, b"x")
    return [problem("batch", log=copy.of.captures, name=stray)]


@row("batch-stray-far-ahead")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    copy.write(batch_key(log, 9_999_999_999_999_999), b"{}\n")
    return [problem("batch", log=log, seq=len(copy.entries(log)) - 1)]


@row("batch-stray-in-a-foreign-folder")
def _(copy: Copy) -> list[Expected]:
    stray = f"ledger/{copy.of.captures}/batch/99999999999/0000000000000000"
    copy.write(stray, copy.read(batch_key(copy.of.captures, 0)))
    return [problem("batch", log=copy.of.captures, name=stray)]


@row("entry-appended-unchained")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.access
    last = copy.read(copy.batches(log)[-1]).splitlines()[-1]
    head = len(copy.entries(log))
    forged = last.replace(f'"seq":{head - 1}'.encode(), f'"seq":{head}'.encode())
    copy.write(batch_key(log, head), forged + b"\n")
    return [problem("chain", log=log, seq=head)]


@row("acts-flip")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.acts
    copy.flip(copy.batches(log)[0], copy.read(copy.batches(log)[0]).index(b'"sealed":"') + 40)
    return [problem("root", log=log)]


@row("order-finding-removed")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.order
    key = a_batch(copy, log, 3)
    copy.edit(key, lambda data: b"".join(data.splitlines(keepends=True)[1:]))
    return [problem("entry", log=log, seq=copy.first_seq(key))]


@row("order-batch-removed")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.order
    return [problem("batch", log=log, seq=copy.first_seq(copy.delete(a_batch(copy, log))))]


@row("access-entry-edited")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.access
    key = next(key for key in copy.batches(log) if b'"type":"access"' in copy.read(key))
    copy.edit(key, lambda data: data.replace(b'"acts_seen":1', b'"acts_seen":0', 1))
    return [problem("chain", log=log, seq=copy.first_seq(key) + 1), problem("tile", log=log)]


# --- cutting back -------------------------------------------------------------------------------------


def cut(copy: Copy, log: LogId, *, checkpoints: bool) -> int:
    """Take away a log's newest batch, and the checkpoints that cover it; where the log ends now."""
    last = copy.batches(log)[-1]
    size = copy.first_seq(last)
    copy.delete(last)
    if checkpoints:
        copy.delete(*(name for name in copy.checkpoints(log) if copy.size_of(name) > size))
    return size


@row("capture-log-cut-back")
def _(copy: Copy) -> list[Expected]:
    size = cut(copy, copy.of.captures, checkpoints=False)
    return [
        problem("checkpoint", log=copy.of.captures, seq=size),
        problem("root", log=copy.of.captures, seq=size),
        problem("order", log=copy.of.captures, seq=size),
    ]


@row("capture-log-cut-back-with-its-checkpoints")
def _(copy: Copy) -> list[Expected]:
    size = cut(copy, copy.of.captures, checkpoints=True)
    return [problem("root", log=copy.of.captures, seq=size), problem("order", log=copy.of.captures, seq=size)]


@row("capture-log-cut-back-with-root-and-checkpoints")
def _(copy: Copy) -> list[Expected]:
    size = cut(copy, copy.of.captures, checkpoints=True)
    cut(copy, copy.of.root, checkpoints=True)
    return [problem("order", log=copy.of.captures, seq=size)]  # the order log had seen more


@row("capture-and-order-log-cut-back-with-root-and-checkpoints")
def _(copy: Copy) -> list[Expected]:
    for log in (copy.of.captures, copy.of.order, copy.of.root):
        cut(copy, log, checkpoints=True)
    return [problem("row", name="position")]  # only the catalog, which is no evidence, had seen more


@row("order-log-cut-back-with-its-checkpoints")
def _(copy: Copy) -> list[Expected]:
    size = cut(copy, copy.of.order, checkpoints=True)
    return [problem("root", log=copy.of.order, seq=size)]


@row("acts-log-cut-back-with-root-and-checkpoints")
def _(copy: Copy) -> list[Expected]:
    size = cut(copy, copy.of.acts, checkpoints=True)
    shutil.rmtree(copy.data / f"ledger/{copy.of.root}")
    shutil.copytree(copy.of.earlier / f"ledger/{copy.of.root}", copy.data / f"ledger/{copy.of.root}")
    return [problem("order", log=copy.of.acts, seq=size)]  # captures say how many acts they had seen


@row("access-log-cut-back-with-its-checkpoints")
def _(copy: Copy) -> list[Expected]:
    size = cut(copy, copy.of.access, checkpoints=True)
    return [problem("root", log=copy.of.access, seq=size)]


@row("root-log-cut-back")
def _(copy: Copy) -> list[Expected]:
    size = cut(copy, copy.of.root, checkpoints=False)
    return [problem("checkpoint", log=copy.of.root, seq=size)]


@row("root-log-deleted")
def _(copy: Copy) -> list[Expected]:
    shutil.rmtree(copy.data / f"ledger/{copy.of.root}")
    return [problem("root")]


@row("root-log-emptied-but-for-its-checkpoints")
def _(copy: Copy) -> list[Expected]:
    shutil.rmtree(copy.data / f"ledger/{copy.of.root}/batch")
    return [problem("checkpoint", log=copy.of.root, seq=0)]


@row("log-deleted")
def _(copy: Copy) -> list[Expected]:
    shutil.rmtree(copy.data / f"ledger/{copy.of.access}")
    return [problem("root", log=copy.of.access)]


@row("tenant-deleted")
def _(copy: Copy) -> list[Expected]:
    for folder in ("ledger", "objects", "projections", "keys/a", "keys/b"):
        shutil.rmtree(copy.data / folder / copy.of.tenant)
    return [
        problem("root", log=log) for log in (copy.of.captures, copy.of.order, copy.of.acts, copy.of.access)
    ]


@row("whole-ledger-put-back-while-objects-stay")
def _(copy: Copy) -> list[Expected]:
    """Rolled back as a whole: the catalog had seen more. Without it see ``test_what_tamper_..._does_not_see``."""
    shutil.rmtree(copy.data / "ledger")
    shutil.copytree(copy.of.earlier / "ledger", copy.data / "ledger")
    return [problem("row", name="position")]


# --- checkpoints --------------------------------------------------------------------------------------


@row("checkpoint-flip-in-text")
def _(copy: Copy) -> list[Expected]:
    key = copy.checkpoints(copy.of.captures)[1]
    copy.flip(key, copy.read(key).index(b"\n") + 1)
    return [problem("checkpoint", log=copy.of.captures, name=key)]


@row("checkpoint-flip-in-signature")
def _(copy: Copy) -> list[Expected]:
    key = copy.checkpoints(copy.of.captures)[1]
    copy.flip(key, len(copy.read(key)) - 30)
    return [problem("checkpoint", log=copy.of.captures, name=key)]


def other_spelling(note: bytes) -> bytes:
    """The same signature in other base64: its last character before the padding has bits that nobody reads."""
    place = note.rindex(b"=") - 1
    while note[place : place + 1] == b"=":
        place -= 1
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return note[:place] + letters[letters.index(note[place]) ^ 1 :][:1] + note[place + 1 :]


@row("checkpoint-signature-in-another-spelling")
def _(copy: Copy) -> list[Expected]:
    """Of the root log, whose own checkpoints nobody anchors."""
    key = copy.checkpoints(copy.of.root)[0]
    copy.edit(key, other_spelling)
    return [problem("checkpoint", log=copy.of.root, name=key)]


@row("checkpoint-with-a-second-signature")
def _(copy: Copy) -> list[Expected]:
    key = copy.checkpoints(copy.of.root)[0]
    copy.edit(key, lambda note: note + note.splitlines(keepends=True)[-1])
    return [problem("checkpoint", log=copy.of.root, name=key)]


@row("checkpoint-deleted-in-the-middle")
def _(copy: Copy) -> list[Expected]:
    key = copy.delete(copy.checkpoints(copy.of.captures)[1])
    return [problem("checkpoint", log=copy.of.captures, name=key)]


@row("checkpoint-newest-deleted")
def _(copy: Copy) -> list[Expected]:
    size = copy.size_of(copy.checkpoints(copy.of.captures)[-1])
    copy.delete(copy.checkpoints(copy.of.captures)[-1])
    return [problem("checkpoint", log=copy.of.captures, seq=size - 1)]


@row("checkpoints-all-deleted")
def _(copy: Copy) -> list[Expected]:
    sizes = [copy.size_of(name) for name in copy.checkpoints(copy.of.captures)]
    copy.delete(*copy.checkpoints(copy.of.captures))
    return [problem("checkpoint", log=copy.of.captures, seq=size - 1) for size in sizes]


@row("checkpoint-stray")
def _(copy: Copy) -> list[Expected]:
    stray = f"ledger/{copy.of.captures}/checkpoint/00000000/x00000000001"
    copy.write(stray, b"x")
    return [problem("checkpoint", log=copy.of.captures, name=stray)]


@row("checkpoint-stray-far-ahead")
def _(copy: Copy) -> list[Expected]:
    """A hole of ten to the twelve is one problem."""
    log = copy.of.captures
    copy.write(checkpoint_key(log, 999_999_999_999), copy.read(copy.checkpoints(log)[-1]))
    return [problem("checkpoint", log=log, name=checkpoint_key(log, len(copy.checkpoints(log)) - 1))]


@row("checkpoint-replayed-under-a-newer-ordinal")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    names = copy.checkpoints(log)
    copy.write(checkpoint_key(log, len(names)), copy.read(names[0]))
    return [problem("checkpoint", log=log, name=checkpoint_key(log, len(names)))]


@row("checkpoint-newest-replaced-by-an-older-one")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    names = copy.checkpoints(log)
    size = copy.size_of(names[-1])
    copy.write(names[-1], copy.read(names[0]))
    return [problem("checkpoint", log=log, name=names[-1]), problem("checkpoint", log=log, seq=size - 1)]


@row("checkpoint-of-another-log")
def _(copy: Copy) -> list[Expected]:
    names = copy.checkpoints(copy.of.captures)
    copy.write(names[1], copy.read(copy.checkpoints(copy.of.order)[1]))
    return [problem("checkpoint", log=copy.of.captures, name=names[1])]


@row("checkpoint-forged-with-another-key")
def _(copy: Copy) -> list[Expected]:
    log = copy.of.captures
    name = copy.checkpoints(log)[-1]
    forger = Signer(log.owner, b"f" * 32)
    copy.write(name, forger.sign(str(log), copy.size_of(name), root_of([b"l" * 32])).note.encode())
    return [problem("checkpoint", log=log, name=name)]


@row("checkpoint-forged-with-the-stolen-key")
def _(copy: Copy) -> list[Expected]:
    """Signed well, over entries that were changed: it does not fit the root log."""
    log = copy.of.captures
    name = copy.checkpoints(log)[-1]
    copy.write(
        name, stolen_signer(copy).sign(str(log), copy.size_of(name), root_of([b"l" * 32])).note.encode()
    )
    return [problem("root", log=log, seq=copy.size_of(name) - 1)]


def stolen_signer(copy: Copy) -> Signer:
    archive = opened(copy.data)
    try:
        return Signer(copy.of.tenant, archive.tenant.keyring.secret("signing"))
    finally:
        archive.close()


@row("checkpoint-replaced-by-a-link")
def _(copy: Copy) -> list[Expected]:
    name = copy.checkpoints(copy.of.captures)[1]
    copy.path(name).rename(copy.data.parent / "elsewhere")
    copy.path(name).symlink_to(copy.data.parent / "elsewhere")
    return [problem("store", log=copy.of.captures)]


# --- tiles --------------------------------------------------------------------------------------------


def tile(copy: Copy, name: str) -> str:
    return f"ledger/{copy.of.access}/tile/{name}"


@row("tile-flip")
def _(copy: Copy) -> list[Expected]:
    return [problem("tile", log=copy.of.access, name=copy.flip(tile(copy, "0/000")))]


@row("tile-deleted")
def _(copy: Copy) -> list[Expected]:
    return [problem("tile", log=copy.of.access, name=copy.delete(tile(copy, "0/000")))]


@row("tile-stray")
def _(copy: Copy) -> list[Expected]:
    copy.write(tile(copy, "0/007"), copy.read(tile(copy, "0/000")))
    return [problem("tile", log=copy.of.access, name=tile(copy, "0/007"))]


@row("bundle-flip")
def _(copy: Copy) -> list[Expected]:
    return [problem("tile", log=copy.of.access, name=copy.flip(tile(copy, "entries/000")))]


@row("bundle-deleted")
def _(copy: Copy) -> list[Expected]:
    return [problem("tile", log=copy.of.access, name=copy.delete(tile(copy, "entries/000")))]


@row("bundle-replaced-by-a-folder")
def _(copy: Copy) -> list[Expected]:
    copy.delete(tile(copy, "entries/000"))
    copy.path(tile(copy, "entries/000")).mkdir()
    return [problem("tile", log=copy.of.access, name=tile(copy, "entries/000"))]


# --- strays in the ledger -----------------------------------------------------------------------------


@row("stray-owner")
def _(copy: Copy) -> list[Expected]:
    copy.write("ledger/somebody/acts/batch/00000000000/0000000000000000", b"{}\n")
    return [problem("store", name="ledger/somebody")]


@row("stray-log")
def _(copy: Copy) -> list[Expected]:
    name = f"ledger/{copy.of.tenant}/capture-x"
    copy.write(f"{name}/batch/00000000000/0000000000000000", b"{}\n")
    return [problem("store", name=name)]


@row("stray-folder-in-a-log")
def _(copy: Copy) -> list[Expected]:
    name = f"ledger/{copy.of.captures}/notes"
    copy.write(f"{name}/1", b"x")
    return [problem("store", log=copy.of.captures, name=name)]


@row("second-root-log")
def _(copy: Copy) -> list[Expected]:
    forged = LogId(copy.of.tenant, "root")
    copy.write(batch_key(forged, 0), copy.read(batch_key(copy.of.root, 0)))
    return [problem("root"), problem("entry", log=forged, seq=0)]


# --- locks --------------------------------------------------------------------------------------------


def journal(copy: Copy, key: str) -> str:
    return f"{key.rpartition('/')[0]}/.locks"


@row("locks-of-objects-edited")
def _(copy: Copy) -> list[Expected]:
    """A hold or a term changed by hand."""
    key, _ = an_object(copy)
    copy.edit(journal(copy, key), lambda data: data.replace(b'"m":"COMPLIANCE"', b'"m":"GOVERNANCE"', 1))
    return [problem("lock", log=copy.of.captures)]


@row("locks-of-objects-deleted")
def _(copy: Copy) -> list[Expected]:
    key, _ = an_object(copy)
    copy.delete(journal(copy, key))
    return [problem("lock", log=copy.of.captures)]


@row("locks-last-line-dropped")
def _(copy: Copy) -> list[Expected]:
    key = copy.objects(copy.of.captures)[-1]
    copy.edit(journal(copy, key), lambda data: b"".join(data.splitlines(keepends=True)[:-1]))
    return [problem("lock", log=copy.of.captures, name=key)]


@row("locks-of-batches-edited")
def _(copy: Copy) -> list[Expected]:
    copy.flip(journal(copy, copy.batches(copy.of.root)[0]))
    return [problem("lock", log=copy.of.root)]


@row("locks-of-checkpoints-deleted")
def _(copy: Copy) -> list[Expected]:
    name = copy.checkpoints(copy.of.captures)[0]
    copy.delete(journal(copy, name))
    return [problem("lock", log=copy.of.captures, name=name)]


@row("locks-of-tiles-of-another-folder")
def _(copy: Copy) -> list[Expected]:
    theirs = copy.read(journal(copy, tile(copy, "entries/000")))
    copy.write(journal(copy, tile(copy, "0/000")), theirs)
    return [problem("lock", log=copy.of.access, name=tile(copy, "0/000"))]


# --- keys ---------------------------------------------------------------------------------------------


def a_record(copy: Copy) -> tuple[str, str, int]:
    """A key record's name, its batch's first capture, and that one's seq."""
    entry = next(entry for entry in copy.entries(copy.of.captures) if entry["type"] == "capture")
    return (
        copy.record(copy.of.captures, entry["capture"]).removeprefix("keys/a/"),
        entry["object"]["key"],
        entry["seq"],
    )


def in_both(copy: Copy, name: str, change: Callable[[bytes], bytes]) -> None:
    for place in "ab":
        copy.edit(f"keys/{place}/{name}", change)


def wrapped_flipped(data: bytes) -> bytes:
    """A byte of a wrapped key, so that the record keeps its form."""
    place = data.index(b'"keys":["') + 30
    return data[:place] + (b"A" if data[place : place + 1] != b"A" else b"B") + data[place + 1 :]


def sealed_flipped(data: bytes) -> bytes:
    place = data.index(b'"sealed":"') + 30
    return data[:place] + (b"A" if data[place : place + 1] != b"A" else b"B") + data[place + 1 :]


@row("key-record-flip-in-the-first-place")
def _(copy: Copy) -> list[Expected]:
    name, _, _ = a_record(copy)
    copy.edit(f"keys/a/{name}", wrapped_flipped)
    return [problem("key", name=name)]


@row("key-record-flip-in-the-second-place")
def _(copy: Copy) -> list[Expected]:
    name, _, _ = a_record(copy)
    copy.edit(f"keys/b/{name}", wrapped_flipped)
    return [
        problem("key", name=name, detail="the two places differ"),
        problem("key", name=name, detail="in place 2: a wrapped object key fails authentication"),
    ]


@row("key-record-flip-in-both-places")
def _(copy: Copy) -> list[Expected]:
    name, key, seq = a_record(copy)
    in_both(copy, name, wrapped_flipped)
    return [problem("key", name=name), problem("key", log=copy.of.captures, seq=seq, name=key)]


@row("key-record-not-json")
def _(copy: Copy) -> list[Expected]:
    name, _, _ = a_record(copy)
    copy.edit(f"keys/b/{name}", lambda data: b"[" * 5000)
    return [problem("key", name=name)]


@row("key-record-of-another-batch")
def _(copy: Copy) -> list[Expected]:
    name, _, _ = a_record(copy)
    last = [entry for entry in copy.entries(copy.of.captures) if entry["type"] == "capture"][-1]
    theirs = copy.read(copy.record(copy.of.captures, last["capture"]))
    in_both(copy, name, lambda data: theirs)
    return [problem("key", name=name)]


@row("key-record-deleted-in-one-place")
def _(copy: Copy) -> list[Expected]:
    name, _, _ = a_record(copy)
    copy.delete(f"keys/a/{name}")
    return [problem("key", name=name, detail="missing in place 1")]


@row("key-record-deleted-in-both-places")
def _(copy: Copy) -> list[Expected]:
    name, key, seq = a_record(copy)
    copy.delete(f"keys/a/{name}", f"keys/b/{name}")
    return [problem("key", name=name), problem("key", log=copy.of.captures, seq=seq, name=key)]


@row("key-record-one-key-struck-out")
def _(copy: Copy) -> list[Expected]:
    """A key destroyed without an act that says so."""
    name, key, seq = a_record(copy)
    in_both(
        copy,
        name,
        lambda data: (
            data[: data.index(b'"keys":["') + 8]
            + b"null"
            + data[data.index(b'"', data.index(b'"keys":["') + 9) + 1 :]
        ),
    )
    return [problem("key", log=copy.of.captures, seq=seq, name=key)]


@row("key-record-of-a-payload-deleted")
def _(copy: Copy) -> list[Expected]:
    entry = next(entry for entry in copy.entries(copy.of.acts) if entry["type"] == "act")
    name = copy.record(copy.of.acts, entry["payload"]["name"])
    copy.delete(name, name.replace("keys/a/", "keys/b/"))
    return [problem("key", log=copy.of.acts, seq=entry["seq"])]


@row("key-record-replaced-by-a-link")
def _(copy: Copy) -> list[Expected]:
    name, _, _ = a_record(copy)
    path = copy.path(f"keys/b/{name}")
    path.rename(copy.data.parent / "elsewhere")
    path.symlink_to(copy.data.parent / "elsewhere")
    return [problem("key", name=name)]


@row("generation-flip-in-one-place")
def _(copy: Copy) -> list[Expected]:
    name = f"{copy.of.tenant}/generations/00000001"
    copy.edit(f"keys/b/{name}", sealed_flipped)
    return [problem("key", name=name, detail="the two places differ")]


@row("generation-flip-in-both-places")
def _(copy: Copy) -> list[Expected]:
    _, key, seq = a_record(copy)
    in_both(copy, f"{copy.of.tenant}/generations/00000001", sealed_flipped)
    return [
        problem("key", name=f"{copy.of.tenant}/generations/00000001"),
        problem("key", log=copy.of.captures, seq=seq, name=key),
    ]


@row("generation-deleted-in-one-place")
def _(copy: Copy) -> list[Expected]:
    name = f"{copy.of.tenant}/generations/00000001"
    copy.delete(f"keys/b/{name}")
    return [problem("key", name=name, detail="missing in place 2")]


@row("generation-deleted-in-both-places")
def _(copy: Copy) -> list[Expected]:
    _, key, seq = a_record(copy)
    name = f"{copy.of.tenant}/generations/00000001"
    copy.delete(f"keys/a/{name}", f"keys/b/{name}")
    return [problem("key", log=copy.of.captures, seq=seq, name=key)]


@row("generation-of-no-number")
def _(copy: Copy) -> list[Expected]:
    copy.write(f"keys/a/{copy.of.tenant}/generations/latest", b"{}")
    return [problem("key", name=f"{copy.of.tenant}/generations/latest")]


@row("table-key-flip-in-both-places")
def _(copy: Copy) -> list[Expected]:
    in_both(copy, f"{copy.of.tenant}/table/00000001", sealed_flipped)
    return [problem("key", name=f"{copy.of.tenant}/generations/00000001")]


@row("table-key-deleted-in-one-place")
def _(copy: Copy) -> list[Expected]:
    name = copy.delete(f"keys/a/{copy.of.tenant}/table/00000001").removeprefix("keys/a/")
    return [problem("key", name=name, detail="missing in place 1")]


for _secret in ("identity", "signing", "root-salt", "token"):

    @row(f"secret-{_secret}-flip-in-one-place")
    def _(copy: Copy, secret: str = _secret) -> list[Expected]:
        name = f"{copy.of.tenant}/secrets/{secret}"
        copy.edit(f"keys/b/{name}", sealed_flipped)
        return [problem("key", name=name)]

    @row(f"secret-{_secret}-flip-in-both-places")
    def _(copy: Copy, secret: str = _secret) -> list[Expected]:
        name = f"{copy.of.tenant}/secrets/{secret}"
        in_both(copy, name, sealed_flipped)
        return [problem("key", name=name, detail="in place 1: a wrapped key fails authentication")]

    @row(f"secret-{_secret}-deleted-in-both-places")
    def _(copy: Copy, secret: str = _secret) -> list[Expected]:
        name = f"{copy.of.tenant}/secrets/{secret}"
        copy.delete(f"keys/a/{name}", f"keys/b/{name}")
        return [problem("key", name=name, detail="missing in place 1")]


@row("secret-signing-of-another-tenant")
def _(copy: Copy) -> list[Expected]:
    """Copied as it is: it is wrapped for its owner and name."""
    theirs = copy.read(f"keys/a/{copy.of.other}/secrets/signing")
    in_both(copy, f"{copy.of.tenant}/secrets/signing", lambda data: theirs)
    return [problem("key", name=f"{copy.of.tenant}/secrets/signing")]


@row("secret-signing-exchanged-by-the-key-service")
def _(copy: Copy) -> list[Expected]:
    """By one who holds the key service: it opens, but signed none of the checkpoints, and is not in the first act."""
    name = f"{copy.of.tenant}/secrets/signing"
    copy.delete(f"keys/a/{name}", f"keys/b/{name}")
    archive = opened(copy.data)
    try:
        Keyring(copy.of.tenant, archive.core.keys, archive.core.kms).make_secret("signing", b"n" * 32)
    finally:
        archive.close()
    return [problem("key", log=copy.of.acts, name=name), problem("checkpoint", log=copy.of.captures)]


@row("one-key-place-wiped")
def _(copy: Copy) -> list[Expected]:
    shutil.rmtree(copy.data / "keys/a")
    entry = next(entry for entry in copy.entries(copy.of.captures) if entry["type"] == "capture")
    name = copy.record(copy.of.captures, entry["capture"]).removeprefix("keys/a/")
    return [problem("key", name=name, detail="missing in place 1")]


@row("key-service-key-missing")
def _(copy: Copy) -> list[Expected]:
    copy.delete("kms/v1.key")
    name = f"{copy.of.tenant}/secrets/signing"
    return [
        problem(
            "key",
            name=name,
            detail="in place 1: the key service holds no key version: is it the right one, and all there?",
        )
    ]


@row("key-service-key-damaged")
def _(copy: Copy) -> list[Expected]:
    copy.write("kms/v1.key", b"not hex")
    name = f"{copy.of.tenant}/secrets/signing"
    return [problem("key", name=name, detail="in place 1: key version v1 is damaged in the key service")]


# --- catalog and index --------------------------------------------------------------------------------


def change_catalog(copy: Copy, *statements: str) -> None:
    """As somebody would with the database's own tool."""
    connection = sqlite3.connect(copy.data / f"projections/{copy.of.tenant}/catalog.sqlite")
    try:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    finally:
        connection.close()


def query_catalog(copy: Copy, query: str) -> Any:
    connection = sqlite3.connect(copy.data / f"projections/{copy.of.tenant}/catalog.sqlite")
    try:
        return connection.execute(query).fetchone()[0]
    finally:
        connection.close()


@row("catalog-subject-changed")
def _(copy: Copy) -> list[Expected]:
    name = query_catalog(copy, "select id from messages order by id")
    change_catalog(
        copy, f"update messages set content = json_set(content, '$.subject', 'rien') where id = '{name}'"
    )
    detail = "the catalog's row differs from the logs in subject"
    return [problem("row", name=f"messages:{name}", detail=detail)]


@row("catalog-message-deleted")
def _(copy: Copy) -> list[Expected]:
    name = query_catalog(copy, "select id from messages order by id")
    change_catalog(copy, f"delete from messages where id = '{name}'")
    return [problem("row", name=f"messages:{name}")]


@row("catalog-capture-deleted")
def _(copy: Copy) -> list[Expected]:
    name = query_catalog(copy, "select id from captures order by id")
    change_catalog(copy, f"delete from captures where id = '{name}'")
    return [problem("row", name=f"captures:{name}")]


@row("catalog-capture-row-edited")
def _(copy: Copy) -> list[Expected]:
    name = query_catalog(copy, "select id from captures order by id")
    change_catalog(
        copy, f"update captures set lock_until = '2020-01-01T00:00:00.000000Z' where id = '{name}'"
    )
    return [
        problem(
            "row", name=f"captures:{name}", detail="the catalog's row differs from the logs in lock_until"
        )
    ]


@row("catalog-row-added")
def _(copy: Copy) -> list[Expected]:
    change_catalog(
        copy,
        "insert into messages select 'mforged', rank + 1, version, month, content from messages limit 1",
    )
    return [problem("row", name="messages:mforged")]


@row("catalog-source-renamed")
def _(copy: Copy) -> list[Expected]:
    name = query_catalog(copy, "select id from sources")
    change_catalog(copy, "update sources set content = json_set(content, '$.name', 'autre')")
    return [problem("row", name=f"sources:{name}")]


@row("catalog-row-no-longer-json")
def _(copy: Copy) -> list[Expected]:
    change_catalog(copy, "update messages set content = '{' where id = (select min(id) from messages)")
    return [problem("row", log=copy.of.acts)]


@row("catalog-row-of-another-shape")
def _(copy: Copy) -> list[Expected]:
    change_catalog(copy, "update sources set content = '[1]'")
    return [problem("row", log=copy.of.acts)]


@row("catalog-position-moved-on")
def _(copy: Copy) -> list[Expected]:
    """The follower would go on from there, and pass over mail."""
    change_catalog(copy, "update position set rows = 1000000")
    return [problem("row", name="position")]


@row("catalog-position-indexed-moved-on")
def _(copy: Copy) -> list[Expected]:
    change_catalog(copy, "update position set indexed = 1000000")
    return [problem("row", name="position")]


@row("catalog-took-moved-on")
def _(copy: Copy) -> list[Expected]:
    change_catalog(copy, "update took set next = 1000000")
    return [problem("row", name="took", log=copy.of.captures)]


@row("catalog-unread-added")
def _(copy: Copy) -> list[Expected]:
    change_catalog(copy, f"insert into unread values ('{copy.of.captures}', 3)")
    return [problem("row", name="unread", log=copy.of.captures, seq=3)]


@row("catalog-no-database")
def _(copy: Copy) -> list[Expected]:
    copy.write(
        f"projections/{copy.of.tenant}/catalog.sqlite",
        b"not a database at all, but long enough to be read" * 99,
    )
    return [problem("row", log=copy.of.acts)]


@row("catalog-table-dropped")
def _(copy: Copy) -> list[Expected]:
    change_catalog(copy, "drop table took", "drop table captures")
    return [problem("row")]


def change_index(copy: Copy, change: Callable[[TantivyIndex], str]) -> str:
    index = TantivyIndex(copy.data / f"projections/{copy.of.tenant}/index")
    try:
        return change(index)
    finally:
        index.close()


@row("index-lacks-a-message")
def _(copy: Copy) -> list[Expected]:
    def remove(index: TantivyIndex) -> str:
        name = sorted(index.ids())[0]
        with index._changing() as writer:
            writer.delete_documents_by_term("id", name)
        return name

    return [problem("index", name=change_index(copy, remove))]


@row("index-has-a-message-too-many")
def _(copy: Copy) -> list[Expected]:
    def add(index: TantivyIndex) -> str:
        forged = IndexDocument("mforged", 1, 1, "2026-01", 0, 0, "", "", (), (), (), (), "", "", ())
        index.write([forged])
        return forged.id

    return [problem("index", name=change_index(copy, add))]


@row("index-holds-an-older-version")
def _(copy: Copy) -> list[Expected]:
    def replace(index: TantivyIndex) -> str:
        name = sorted(index.ids())[0]
        with index._changing() as writer:
            writer.delete_documents_by_term("id", name)
        index.write([IndexDocument(name, 1, 0, "2026-01", 0, 0, "", "", (), (), (), (), "", "", ())])
        return name

    return [problem("index", name=change_index(copy, replace))]


@row("index-deleted")
def _(copy: Copy) -> list[Expected]:
    shutil.rmtree(copy.data / f"projections/{copy.of.tenant}/index")
    return [problem("index")]


@row("index-damaged")
def _(copy: Copy) -> list[Expected]:
    for path in (copy.data / f"projections/{copy.of.tenant}/index").glob("*.term"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return [problem("index")]


@row("one-tenants-acts-damaged-and-anothers-catalog")
def _(copy: Copy) -> list[Expected]:
    """The damage of one tenant does not hide the other's."""
    theirs = LogId(copy.of.other, "acts")
    copy.flip(copy.batches(theirs)[0], 0)
    name = query_catalog(copy, "select id from messages order by id")
    change_catalog(copy, f"delete from messages where id = '{name}'")
    return [problem("entry", log=theirs, seq=0), problem("row", name=f"messages:{name}")]


# --- the tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [pytest.param(name, id=f"tamper-filesystem-{name}") for name in ROWS])
def test_verify_names_it(name: str, copy: Copy) -> None:
    expected = ROWS[name](copy)
    said = verify(copy.data)
    assert said.code == 1
    for named in expected:
        assert is_named(named, said.problems), f"not named: {named}\nsaid: {said.problems}"


def test_tamper_filesystem_is_told_to_people_too(copy: Copy) -> None:
    key, _ = an_object(copy)
    copy.flip(key)
    said = run("verify", "--data", copy.data)
    assert said.code == 1
    assert f"name={key}" in said.out and "DAMAGED: 1 problems" in said.out


# --- what is no damage, and what is not seen ------------------------------------------------------------


def test_an_extra_file_among_the_objects_filesystem_is_a_note(copy: Copy) -> None:
    key = copy.objects(copy.of.captures)[0]
    extra = key[:-1] + "7777"
    copy.write(extra, b"anything")
    copy.write("objects/somebody/else/1", b"anything")
    said = verify(copy.data)
    assert said.code == 0
    names = {found["name"] for found in said.problems if found["what"] == "orphan"}
    assert names == {extra, "objects/somebody/else"}


def test_deleted_projections_filesystem_are_a_note(copy: Copy) -> None:
    """They can be made again from the logs."""
    shutil.rmtree(copy.data / "projections")
    said = verify(copy.data)
    assert said.code == 0
    assert {found["what"] for found in said.problems} == {"row"}


def put_back(copy: Copy, *folders: str) -> None:
    for folder in folders:
        shutil.rmtree(copy.data / folder)
        shutil.copytree(copy.of.earlier / folder, copy.data / folder)


def test_what_verify_does_not_see_filesystem_everything_put_back_but_the_keys(copy: Copy) -> None:
    """Ledger, objects, catalog, index: an older state that fits together. The key store tells that batches were
    written that no log knows; a crash can leave such records too, so it is a note, not an alarm."""
    newest = copy.read(copy.checkpoints(copy.of.root)[-1])
    put_back(copy, "ledger", "objects", "projections")
    said = verify(copy.data)
    assert said.code == 0
    loose = [found for found in said.problems if found["what"] == "orphan"]
    assert {found["log"] for found in loose} == {str(copy.of.captures), str(copy.of.root)}
    # A checkpoint that somebody kept elsewhere tells it at once: the root log is shorter than it was.
    kept = int(newest.split(b"\n")[1])
    assert max(copy.size_of(name) for name in copy.checkpoints(copy.of.root)) < kept


def test_what_verify_does_not_see_filesystem_objects_left_by_a_rollback(copy: Copy) -> None:
    put_back(copy, "ledger", "projections", "keys")
    said = verify(copy.data)
    assert said.code == 0
    orphans = {found["name"] for found in said.problems if found["what"] == "orphan"}
    assert len(orphans) == 4 and orphans < set(copy.objects(copy.of.captures))


def test_what_verify_does_not_see_filesystem_everything_put_back(copy: Copy) -> None:
    """An older copy of the whole archive is a whole archive: only what was kept elsewhere tells (FORMAT.md 12)."""
    put_back(copy, "ledger", "objects", "projections", "keys")
    said = verify(copy.data)
    assert said.code == 0
    assert not [found for found in said.problems if found["what"] == "orphan"]


def test_what_verify_does_not_see_filesystem_newest_checkpoint_of_the_root_log(copy: Copy) -> None:
    """Nobody anchors it; without it the last anchors are merely not signed yet, as after a crash."""
    copy.delete(copy.checkpoints(copy.of.root)[-1])
    said = verify(copy.data)
    assert said.code == 0
    assert said.answer["checked"]["unsigned"] > 0


def test_what_verify_does_not_see_filesystem_the_words_of_an_index(copy: Copy) -> None:
    """The index is compared by message and version; its text is made again by ``rebuild``."""

    def blank(index: TantivyIndex) -> str:
        name, version = sorted(index.ids().items())[0]
        index.write([IndexDocument(name, 1, version, "2026-01", 0, 0, "", "", (), (), (), (), "", "", ())])
        return name

    change_index(copy, blank)
    assert verify(copy.data).code == 0


# --- any byte -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flipping(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    data = tmp_path_factory.mktemp("flipping") / "archive"
    shutil.copytree(built.data, data)
    yield Copy(data, built)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tamper_filesystem_any_byte(flipping: Copy, data: st.DataObject) -> None:
    """Of any file of store and key store, the retention journals among them."""
    found = sorted(path for top in ("objects", "ledger", "keys") for path in (flipping.data / top).rglob("*"))
    files = [path for path in found if path.is_file()]
    path = data.draw(st.sampled_from(files), label="file")
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1), label="place")
    mask = data.draw(st.integers(1, 255), label="mask")
    mode = os.stat(path).st_mode
    try:
        os.chmod(path, 0o600)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
        assert verify(flipping.data).code == 1
    finally:
        path.write_bytes(whole)
        os.chmod(path, mode)


VALUES: list[Any] = [
    None,
    True,
    -1,
    10**15,
    "",
    "x",
    [],
    {},
    [None],
    {"log": "x", "seq": []},
    "2026-99-99T00:00:00Z",
]


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*path, key)
        yield from spots(item, (*path, key))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tamper_filesystem_any_field_of_any_entry(flipping: Copy, data: st.DataObject) -> None:
    """Well-formed JSON of another shape trips over nothing: it is named."""
    of = flipping.of
    log = data.draw(st.sampled_from([of.captures, of.order, of.acts, of.access, of.root]), label="log")
    name = data.draw(st.sampled_from(flipping.batches(log)), label="batch")
    whole = flipping.read(name)
    lines = whole.splitlines()
    number = data.draw(st.integers(0, len(lines) - 1), label="line")
    entry = json.loads(lines[number])
    *above, last = data.draw(st.sampled_from(list(spots(entry))), label="field")
    value = data.draw(st.sampled_from(VALUES), label="value")
    holder = functools.reduce(lambda held, key: held[key], above, entry)
    assume(holder[last] != value)
    holder[last] = value
    lines[number] = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    flipping.write(name, b"".join(line + b"\n" for line in lines))
    try:
        assert verify(flipping.data).code == 1
    finally:
        flipping.write(name, whole)
