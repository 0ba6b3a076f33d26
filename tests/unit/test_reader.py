"""Reading a log: tailing, its head, any place in it, whatever its batches and checkpoints are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.ledger.appender import Appender, LedgerPolicy, build, create_batch
from archive_service.ledger.entry import Entry
from archive_service.ledger.note import Signer
from archive_service.ledger.reader import (
    LogReader,
    Place,
    batch_from,
    checkpoint_note,
    checkpoint_size,
    discover,
    find_head,
    logs,
    newest_checkpoint,
    owners,
    read_entry,
    read_from,
)
from archive_service.model.clock import utc_now
from archive_service.model.errors import ArchiveError, NotFound, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock, NewObject
from archive_service.vault.stores.faults import FaultPlan, FaultyStore
from archive_service.vault.stores.memory import MemoryStore

OWNER = "a1" * 10
LOG = LogId(OWNER, "capture-1")
TIME = "2026-11-23T10:00:00.000000Z"
SIGNER = Signer(OWNER, b"s" * 32)


class Log:
    """A log made batch by batch."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.entries: list[Entry] = []
        self.place = Place()
        self.checkpoints = 0

    def append(self, count: int) -> None:
        drafts = [("claim", {"writer": f"{self.place.seq + n:016x}"}) for n in range(count)]
        batch = build(LOG, self.place, TIME, drafts)
        create_batch(self.store, LOG, batch, Lock(), LedgerPolicy())
        self.entries += batch
        self.place = Place(batch[-1].seq + 1, batch[-1].digest())

    def checkpoint(self) -> None:
        note = SIGNER.sign(str(LOG), self.place.seq, bytes(32)).note
        self.store.create([NewObject(key_layout.checkpoint_key(LOG, self.checkpoints), note.encode())])
        self.checkpoints += 1


def made(splits: list[tuple[int, bool]]) -> Log:
    """Batches of these sizes, some with a checkpoint behind them."""
    log = Log()
    for count, checkpoint in splits:
        log.append(count)
        if checkpoint:
            log.checkpoint()
    return log


SPLITS = st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=14)


@given(SPLITS, st.data())
@settings(max_examples=60, deadline=None)
def test_a_log_reads_the_same_from_anywhere(splits: list[tuple[int, bool]], data: st.DataObject) -> None:
    log = made(splits)
    size = len(log.entries)
    assert list(LogReader(log.store, LOG).entries()) == log.entries
    assert find_head(log.store, LOG) == log.place
    assert newest_checkpoint(log.store, LOG) == log.checkpoints - 1
    for _ in range(3):
        seq = data.draw(st.integers(0, size))
        assert list(read_from(log.store, LOG, seq)) == log.entries[seq:]
        if seq < size:
            assert read_entry(log.store, LOG, seq) == log.entries[seq]
    with pytest.raises(NotFound):
        read_entry(log.store, LOG, size)


@given(SPLITS, st.data())
@settings(max_examples=30, deadline=None)
def test_a_reader_tails_batch_by_batch(splits: list[tuple[int, bool]], data: st.DataObject) -> None:
    log, whole = Log(), made(splits)
    reader = LogReader(log.store, LOG)
    read: list[Entry] = []
    for count, _ in splits:
        assert reader.next_batch() is None
        log.append(count)
        batch = reader.next_batch()
        assert batch is not None
        read += batch
        assert reader.place == log.place
    assert read == whole.entries
    middle = data.draw(st.integers(0, len(splits)))
    start = sum(count for count, _ in splits[:middle])
    prev = whole.entries[start - 1].digest() if start else Place().prev
    again = LogReader(whole.store, LOG, Place(start, prev))
    assert list(again.entries()) == whole.entries[start:]


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("checkpoints", [0, 1, 2, 3, 4, 5, 8, 9])
def test_the_head_at_and_after_a_checkpoint(checkpoints: int, after: int) -> None:
    log = Log()
    for number in range(checkpoints):
        log.append(number % 3 + 1)
        log.checkpoint()
    for _ in range(after):
        log.append(2)
    assert find_head(log.store, LOG) == log.place
    assert newest_checkpoint(log.store, LOG) == checkpoints - 1


def test_the_head_is_found_without_walking_the_whole_log() -> None:
    log = made([(1, True)] * 60)
    plan = FaultPlan()
    assert find_head(FaultyStore(log.store, plan), LOG) == log.place
    batches = [call for call in plan.calls if "/batch/" in call.keys[0]]
    assert len(batches) <= 4
    assert len(plan.calls) <= 40


def test_an_entry_that_does_not_chain_stops_the_reader() -> None:
    log = made([(2, False), (2, False)])
    foreign = build(LOG, Place(4, "f" * 64), TIME, [("claim", {"writer": "0" * 16})])
    create_batch(log.store, LOG, foreign, Lock(), LedgerPolicy())
    reader = LogReader(log.store, LOG)
    reader.next_batch()
    reader.next_batch()
    for _ in range(2):  # and stays stopped
        with pytest.raises(Tampered, match="chain"):
            reader.next_batch()
    assert reader.place == log.place


def test_the_oldest_version_of_a_batch_is_the_batch() -> None:
    log = made([(2, False)])
    log.store.forge_version(key_layout.batch_key(LOG, 0), b"forged\n")
    assert list(LogReader(log.store, LOG).entries()) == log.entries


def test_a_batch_whose_taker_fails_comes_again() -> None:
    """Nobody who follows a log may miss what it could not take at once."""
    log = made([(2, False), (3, False)])
    reader = LogReader(log.store, LOG)
    taken: list[Entry] = []

    def unable(batch: list[Entry]) -> None:
        raise ArchiveError("not now")

    assert reader.hand_on(taken.extend) is not None
    for _ in range(2):
        with pytest.raises(ArchiveError):
            reader.hand_on(unable)
        assert reader.place.seq == 2
    assert reader.hand_on(taken.extend) is not None
    assert reader.hand_on(taken.extend) is None
    assert taken == log.entries


def test_a_batch_read_alone_has_its_own_chain_checked() -> None:
    log = made([(3, False)])
    assert batch_from(log.store, LOG, 0) == log.entries
    assert batch_from(log.store, LOG, 1) is None
    lines = log.store.read(key_layout.batch_key(LOG, 0)).split(b"\n")
    swapped = MemoryStore()
    swapped.create([NewObject(key_layout.batch_key(LOG, 0), b"\n".join([lines[0], lines[2], lines[1], b""]))])
    with pytest.raises(Tampered):
        batch_from(swapped, LOG, 0)


@pytest.mark.parametrize(
    "note",
    ["", "\n", "origin\n12", "origin\n-1\nx", "origin\nx\nx", "origin\n" + "9" * 5000 + "\nx", "o\n٣\nx"],
)
def test_a_checkpoint_without_a_size(note: str) -> None:
    with pytest.raises(Tampered, match="size"):
        checkpoint_size(note)


def test_checkpoints_are_found_by_their_ordinal() -> None:
    log = made([(2, True), (1, True)])
    assert [checkpoint_size(checkpoint_note(log.store, LOG, n) or "") for n in (0, 1)] == [2, 3]
    assert checkpoint_note(log.store, LOG, 2) is None


def test_logs_and_owners_are_discovered_and_strays_passed_over() -> None:
    store = MemoryStore()
    other = "b2" * 10
    for owner, name in (
        (OWNER, "acts"),
        (OWNER, "capture-1"),
        (OWNER, "capture-10"),
        (OWNER, "capture-2"),
        (other, "root"),
    ):
        Appender(store, LogId(owner, name), utc_now).claim()
    for stray in (
        f"ledger/{OWNER}/capture-x/y",
        f"ledger/{OWNER}/zz/y",
        "ledger/stray/acts/y",
        "objects/x/y",
    ):
        store.create([NewObject(stray, b"")])
    assert owners(store) == [OWNER, other]
    assert [log.name for log in logs(store, OWNER)] == ["acts", "capture-1", "capture-10", "capture-2"]
    assert discover(store, "ledger/") == [OWNER, other, "stray"]
    assert logs(store, "c3" * 10) == []
