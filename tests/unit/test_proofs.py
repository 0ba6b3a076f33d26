"""Proofs of entries: complete, checkable with nothing but verifier keys, pending until they can be given."""

import hashlib
from collections.abc import Iterator

import pytest

from archive_service.ledger.anchors import anchor_of
from archive_service.ledger.appender import Appender
from archive_service.ledger.merkle import leaf_hash, verify_inclusion
from archive_service.ledger.note import Signer, Verifier
from archive_service.ledger.proofs import Inclusion, Proof, prove
from archive_service.model.canonical import parse_canonical
from archive_service.model.errors import NotFound, Overloaded
from archive_service.vault.key_layout import LogId
from tests.unit.core_world import QUICK, Archive


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.world.close()


def proven(archive: Archive, log: LogId, index: int) -> Proof:
    salt = archive.world.keyring(log.owner).secret("root-salt")
    return prove(archive.world.objects, LogId(archive.root_owner, "root"), salt, log, index)


def grow(archive: Archive, name: str, *batches: int) -> LogId:
    log = LogId(archive.owner, name)
    appender = Appender(archive.world.objects, log, archive.world.clock, QUICK)
    appender.claim()
    for count in batches:
        appender.append([("claim", {"writer": "0" * 16})] * count)
    return log


def holds(inclusion: Inclusion, vkey: str) -> bool:
    """As someone who has only the verifier key."""
    point = Verifier([vkey]).check(inclusion.note, str(inclusion.log))
    assert point.size == inclusion.size
    return verify_inclusion(
        leaf_hash(inclusion.line), inclusion.index, inclusion.size, inclusion.path, point.root
    )


def vkey(archive: Archive, owner: str) -> str:
    return Signer(owner, archive.world.keyring(owner).secret("signing")).vkey


def check(archive: Archive, proof: Proof) -> None:
    assert holds(proof.entry, vkey(archive, archive.owner))
    assert holds(proof.root, vkey(archive, archive.root_owner))
    assert anchor_of(proof.salt, proof.entry.note) == proof.anchor
    assert proof.anchor in parse_canonical(proof.root.line)["anchors"]


def test_every_entry_of_every_log_is_proven(archive: Archive) -> None:
    log = grow(archive, "access-1", 3, 300, 5)
    archive.checkpointer().run_once()
    entries = archive.entries(log)
    for index in (0, 1, 4, 255, 256, len(entries) - 1):
        proof = proven(archive, log, index)
        assert proof.entry.line == entries[index].line
        check(archive, proof)


def test_a_proof_is_pending_until_checkpoint_and_anchor_cover_it(archive: Archive) -> None:
    log = grow(archive, "access-1", 1)
    with pytest.raises(Overloaded) as caught:
        proven(archive, log, 0)
    assert caught.value.code == "proof.pending"
    checkpointer = archive.checkpointer()
    checkpointer.run_once()
    check(archive, proven(archive, log, 1))
    grow(archive, "access-1", 2)
    with pytest.raises(Overloaded):
        proven(archive, log, 2)
    checkpointer.run_once()
    check(archive, proven(archive, log, 2))


def test_a_checkpoint_without_anchor_proves_nothing_yet(archive: Archive) -> None:
    log = grow(archive, "access-1", 1)
    checkpointer = archive.checkpointer()
    checkpointer.run_once()
    grow(archive, "access-1", 1)
    archive.world.plan.fail("create", prefix=f"ledger/{archive.root_owner}/root/batch/", times=None)
    with pytest.raises(Exception, match="planned"):
        checkpointer.run_once()
    archive.world.heal()
    with pytest.raises(Overloaded, match="anchor"):
        proven(archive, log, 2)
    check(archive, proven(archive, log, 1))
    checkpointer.run_once()
    check(archive, proven(archive, log, 2))


def test_no_proof_of_what_is_not_there(archive: Archive) -> None:
    log = grow(archive, "access-1", 1)
    archive.checkpointer().run_once()
    with pytest.raises(Overloaded):
        proven(archive, log, 99)
    with pytest.raises((NotFound, Overloaded)):
        proven(archive, LogId(archive.owner, "access-9"), 0)


def test_an_old_log_s_proof_is_found_far_back_in_the_root_log(archive: Archive) -> None:
    quiet = grow(archive, "access-1", 1)
    checkpointer = archive.checkpointer()
    checkpointer.run_once()
    for _ in range(70):  # more root entries than are looked at from the end
        archive.world.clock.pass_days(1)
        grow(archive, "access-2")
        checkpointer.run_once()
    check(archive, proven(archive, quiet, 0))
    check(archive, proven(archive, LogId(archive.owner, "access-2"), 0))


def test_a_proof_opens_only_its_own_anchor(archive: Archive) -> None:
    log = grow(archive, "access-1", 1)
    archive.checkpointer().run_once()
    proof = proven(archive, log, 0)
    anchors = parse_canonical(proof.root.line)["anchors"]
    told = {
        hashlib.sha256(b"archive-service/anchor/v1\0" + proof.salt + proof.entry.note.encode()).hexdigest()
    }
    assert len(anchors) == 16
    assert told & set(anchors) == {proof.anchor}
