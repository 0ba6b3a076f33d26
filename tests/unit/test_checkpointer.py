"""The checkpointer: tiles, checkpoints and anchors from the batches alone, repairable after any fault."""

import dataclasses
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from archive_service.ledger.appender import Appender
from archive_service.ledger.checkpointer import Checkpointer, LedgerWriter
from archive_service.ledger.entry import Entry
from archive_service.ledger.merkle import leaf_hash, root_of
from archive_service.ledger.note import Signer, Verifier
from archive_service.ledger.reader import checkpoint_note, newest_checkpoint
from archive_service.ledger.verify.report import What
from archive_service.model.errors import ArchiveError, SlotLost, StoreError, Tampered
from archive_service.serving.follower import _checkpoint_once
from archive_service.vault.key_layout import LogId, checkpoint_key, new_owner, tile_key
from archive_service.vault.stores.base import NewObject
from tests.unit.core_world import QUICK, Archive


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.world.close()


def grow(archive: Archive, name: str, batches: int, each: int = 1, owner: str | None = None) -> LogId:
    """Claims, because they need no keys."""
    log = LogId(owner or archive.owner, name)
    appender = Appender(archive.world.objects, log, archive.world.clock, QUICK)
    appender.claim()
    for _ in range(batches):
        appender.append([("claim", {"writer": "0" * 16})] * each)
    return log


def newest(archive: Archive, log: LogId) -> tuple[int, bytes]:
    """Size and root of a log's newest checkpoint, its signature checked."""
    store = archive.world.objects
    signer = Signer(log.owner, archive.world.keyring(log.owner).secret("signing"))
    note = checkpoint_note(store, log, newest_checkpoint(store, log))
    assert note is not None
    point = Verifier([signer.vkey]).check(note, str(log))
    return point.size, point.root


def honest(archive: Archive, log: LogId) -> tuple[int, bytes]:
    entries = archive.entries(log)
    return len(entries), root_of([leaf_hash(entry.line) for entry in entries])


def test_every_log_that_grew_is_signed_and_anchored(archive: Archive) -> None:
    log = grow(archive, "access-1", 3)
    checkpointer = archive.checkpointer()
    assert checkpointer.run_once() == 2
    for each in (log, LogId(archive.owner, "acts"), LogId(archive.root_owner, "root")):
        assert newest(archive, each) == honest(archive, each)
    assert checkpointer.run_once() == 0
    assert newest_checkpoint(archive.world.objects, log) == 0
    grow(archive, "access-1", 1)
    assert checkpointer.run_once() == 1
    assert newest(archive, log) == honest(archive, log)
    assert archive.verify() == []


@pytest.mark.parametrize("each", [1, 7, 100, 300])
def test_a_restarted_checkpointer_goes_on_right(archive: Archive, each: int) -> None:
    for _ in range(3):
        log = grow(archive, "access-1", max(1, 270 // each), each)
        archive.checkpointer().run_once()
        assert newest(archive, log) == honest(archive, log)
    assert archive.verify() == []


def test_its_policy_and_clock_lock_what_it_writes(archive: Archive) -> None:
    log = grow(archive, "access-1", 1)
    archive.checkpointer().run_once()
    ((_, lock),) = archive.world.objects.stat(checkpoint_key(log, 0))
    assert lock.until is not None
    assert (lock.until - archive.world.clock()).days == 365


def test_half_a_batch_is_never_signed(archive: Archive) -> None:
    """A tile in the middle of a batch cannot be written: the rest of that batch must not be forgotten."""
    log = grow(archive, "access-1", 3, 100)
    checkpointer = archive.checkpointer()
    archive.world.plan.fail("create", prefix=tile_key(log, 0, 0))
    with pytest.raises(StoreError):
        checkpointer.run_once()
    grow(archive, "access-1", 1)
    checkpointer.run_once()
    assert newest(archive, log) == honest(archive, log)
    assert archive.verify() == []


def test_checkpoints_whose_anchor_failed_are_anchored_by_the_next_run(archive: Archive) -> None:
    grow(archive, "access-1", 1)
    checkpointer = archive.checkpointer()
    archive.world.plan.fail("create", prefix=f"ledger/{archive.root_owner}/root/batch/", times=None)
    with pytest.raises(StoreError):
        checkpointer.run_once()
    archive.world.heal()
    assert [problem.what for problem in archive.verify()] == [What.CHECKPOINT] * 2
    assert checkpointer.run_once() == 2
    assert archive.verify() == []


def test_a_root_checkpoint_that_failed_is_made_by_the_next_run(archive: Archive) -> None:
    root = LogId(archive.root_owner, "root")
    checkpointer = archive.checkpointer()
    archive.world.plan.fail("create", prefix=f"ledger/{root}/checkpoint/")
    with pytest.raises(StoreError):
        checkpointer.run_once()
    assert newest_checkpoint(archive.world.objects, root) == -1
    checkpointer.run_once()
    assert newest(archive, root) == honest(archive, root)


def test_a_damaged_log_does_not_hold_the_others_back(archive: Archive) -> None:
    damaged = grow(archive, "access-1", 1)
    sound = grow(archive, "access-2", 1)
    archive.world.objects.create([NewObject(f"ledger/{damaged}/batch/00000000000/{2:016d}", b"no entry\n")])
    checkpointer = archive.checkpointer()
    for _ in range(2):
        with pytest.raises(Tampered):
            checkpointer.run_once()
        assert newest(archive, sound) == honest(archive, sound)
        grow(archive, "access-2", 1)
    assert newest_checkpoint(archive.world.objects, damaged) == -1


def test_a_damaged_log_does_not_make_the_root_log_grow_for_ever(archive: Archive) -> None:
    """Another process's first run anchors what it finds; after that a run without growth writes nothing."""
    damaged = grow(archive, "access-1", 1)
    archive.checkpointer().run_once()
    archive.world.objects.create([NewObject(f"ledger/{damaged}/batch/00000000000/{2:016d}", b"no entry\n")])
    checkpointer = archive.checkpointer()
    with pytest.raises(Tampered):
        checkpointer.run_once()
    root = LogId(archive.root_owner, "root")
    before = len(archive.entries(root))
    for _ in range(3):
        with pytest.raises(Tampered):
            checkpointer.run_once()
    assert len(archive.entries(root)) == before


@pytest.mark.parametrize(
    ("error", "kept"), [(Tampered("x"), True), (StoreError("x"), True), (SlotLost("x"), False)]
)
def test_the_service_goes_on_with_its_checkpointer_after_a_fault(error: ArchiveError, kept: bool) -> None:
    class Failing:
        def run_once(self, *, decoy: bool) -> int:
            raise error

    core = SimpleNamespace(leases=SimpleNamespace(take=lambda name: True))
    failing = Failing()
    assert (_checkpoint_once(core, failing) is failing) is kept  # type: ignore[arg-type]


def test_another_checkpointer_s_bytes_are_never_replaced(archive: Archive) -> None:
    log = grow(archive, "access-1", 1)
    ours, theirs = archive.checkpointer(), archive.checkpointer()
    ours.run_once()
    theirs.run_once()
    grow(archive, "access-1", 1)
    theirs.run_once()
    grow(archive, "access-1", 1)
    for _ in range(2):  # the log's next checkpoint, and the root log's slot, are theirs by now
        with pytest.raises(SlotLost):
            ours.run_once()
    ours.run_once()
    for each in (log, LogId(archive.root_owner, "root")):
        assert newest(archive, each) == honest(archive, each)
    assert archive.damage() == []


def test_the_same_bytes_under_the_same_name_are_no_error(archive: Archive) -> None:
    writer = LedgerWriter(archive.world.objects, archive.world.clock, QUICK)
    writer.put("ledger/x", b"same")
    writer.put("ledger/x", b"same")
    with pytest.raises(SlotLost):
        writer.put("ledger/x", b"other")


def test_more_logs_than_one_entry_takes_are_all_anchored(archive: Archive) -> None:
    """A hundred owners with two logs each: no entry may reach 32 KiB."""
    world = archive.world
    world.policy = dataclasses.replace(QUICK, settle_tries=1)
    keyrings = [world.keyring(archive.root_owner)]
    for _ in range(100):
        keyring = world.keyring(new_owner())
        for name in ("signing", "root-salt"):
            keyring.make_secret(name, b"s" * 32)
        keyring.prepare(world.clock().date())
        for name in ("access-1", "access-2"):
            grow(archive, name, 0, owner=keyring.owner)
        keyrings.append(keyring)
    writer = LedgerWriter(world.store, world.clock, QUICK)
    checkpointer = Checkpointer(writer, keyrings[0], lambda: keyrings)
    assert checkpointer.run_once() == 200
    entries = [
        entry for entry in archive.entries(LogId(archive.root_owner, "root")) if entry.type == "anchors"
    ]
    assert [len(entry.fields["anchors"]) for entry in entries] == [128, 80]
    assert {problem.what for problem in archive.damage()} <= {What.KEY}, "the bare owners lack other secrets"


def test_a_decoy_looks_like_an_anchor_and_verify_finds_nothing_amiss(archive: Archive) -> None:
    checkpointer = archive.checkpointer()
    assert checkpointer.run_once() == 1
    assert checkpointer.run_once(decoy=True) == 0
    real, decoy = anchored(archive)
    assert shape(decoy) == shape(real)
    root = LogId(archive.root_owner, "root")
    assert newest(archive, root) == honest(archive, root)
    assert checkpointer.run_once() == 0
    assert archive.verify() == []


def test_a_decoy_is_none_where_something_grew(archive: Archive) -> None:
    grow(archive, "access-1", 1)
    assert archive.checkpointer().run_once(decoy=True) == 2
    assert len(anchored(archive)) == 1


def anchored(archive: Archive) -> list[Entry]:
    return [each for each in archive.entries(LogId(archive.root_owner, "root")) if each.type == "anchors"]


def shape(entry: Entry) -> tuple[int, int, dict[str, int]]:
    """What whoever has no key sees of an anchoring entry."""
    sizes = {name: len(str(said)) for name, said in entry.fields.items()}
    return len(entry.fields["anchors"]), len(entry.line), sizes
