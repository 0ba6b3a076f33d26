"""Recovery: what a dead writer left is chained once, and nothing that is not whole is chained at all."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archive_service.ledger.recovery import Recovered, Recovery
from archive_service.ledger.recovery_marks import FileMarks, LogMark, Marks, MemoryMarks
from archive_service.ledger.write_steps import SealedGroup, WriteSteps
from archive_service.model.errors import ArchiveError, SlotLost, StoreError
from archive_service.vault import key_layout
from archive_service.vault.key_places import in_turn
from archive_service.vault.seal import Opened
from archive_service.vault.stores.faults import Effect
from tests.unit.core_world import QUICK, Archive

_OLD = timedelta(minutes=11)


class Left:
    """An archive whose writers leave things behind."""

    def __init__(self) -> None:
        self.archive = Archive()
        self.world = self.archive.world
        self.steps = self.process()
        self.marks: Marks = MemoryMarks()

    def process(self) -> WriteSteps:
        world = self.world
        slots = world.slots(self.archive.owner, "capture")
        return WriteSteps(world.store, world.keyring(self.archive.owner), slots, world.clock, in_turn)

    def seal(self, *mails: bytes, steps: WriteSteps | None = None) -> SealedGroup:
        return (steps or self.steps).seal([(self.archive.draft(), mail) for mail in mails])

    def write(self, *mails: bytes, steps: WriteSteps | None = None) -> None:
        (outcome,) = (steps or self.steps).append([self.seal(*mails, steps=steps)])
        assert not isinstance(outcome, ArchiveError)

    def grow_old(self) -> None:
        self.world.clock.now += _OLD

    def recover(self, marks: Marks | None = None, only: Callable[[Opened], bool] | None = None) -> Recovered:
        vault = self.world.vault(self.archive.owner)
        acts = self.archive.acts()
        return Recovery(vault, acts.refresh, QUICK, marks or self.marks, only=only).run()

    def raws(self) -> list[bytes]:
        return [opened.raw for _, opened in self.archive.captures()]

    def record_name(self, group: SealedGroup) -> str:
        batch, _ = key_layout.split_sealed_name(group.drafts[0][1]["capture"])
        return key_layout.record_name(group.tenure.log, batch)


@pytest.fixture
def left() -> Iterator[Left]:
    made = Left()
    yield made
    made.world.close()


def test_orphans_are_chained_oldest_first_as_ordinary_captures(left: Left) -> None:
    left.write(b"acknowledged")
    left.seal(b"first", b"second")
    left.world.clock.now += timedelta(seconds=1)
    left.seal(b"third")
    left.grow_old()
    assert left.recover() == Recovered(chained=3)
    assert left.raws() == [b"acknowledged", b"first", b"second", b"third"]
    entries = left.archive.entries(left.archive.capture_log)
    assert [entry.type for entry in entries] == ["claim", "capture", "claim", *["capture"] * 3, "claim"]
    plain, recovered = entries[1].fields, entries[3].fields
    assert set(recovered) == {*plain, "recovered"}
    assert recovered["recovered"] is True
    assert recovered["acts_seen"] == 1
    assert recovered["lock_until"] == plain["lock_until"]
    assert recovered["lock_mode"] == "COMPLIANCE"
    assert left.archive.damage() == []
    assert left.archive.verify() == []


def test_one_that_is_bounded_leaves_the_rest_to_the_one_that_is_not(left: Left) -> None:
    left.seal(b"mine", b"yours")
    broken = left.seal(b"broken")
    for place in left.world.places:
        place.delete(left.record_name(broken))
    left.grow_old()
    assert left.recover(MemoryMarks(), lambda opened: opened.raw == b"mine") == Recovered(chained=1)
    assert left.raws() == [b"mine"]
    rest = left.recover()
    assert (rest.chained, len(rest.reported)) == (1, 1)
    assert left.raws() == [b"mine", b"yours"]


def test_what_is_young_is_left_to_its_writer(left: Left) -> None:
    group = left.seal(b"under way")
    left.world.clock.now += timedelta(minutes=9)
    assert left.recover() == Recovered()
    (outcome,) = left.steps.append([group])
    assert not isinstance(outcome, ArchiveError)


def test_a_log_without_orphans_is_not_claimed(left: Left) -> None:
    left.write(b"mail")
    left.grow_old()
    before = left.archive.entries(left.archive.capture_log)
    assert left.recover() == Recovered()
    assert left.archive.entries(left.archive.capture_log) == before


def test_a_frozen_writer_that_wakes_neither_doubles_nor_loses(left: Left) -> None:
    frozen = left.seal(b"frozen")
    left.grow_old()
    assert left.recover().chained == 1
    (outcome,) = left.steps.append([frozen])
    assert isinstance(outcome, SlotLost)
    (outcome,) = left.steps.append([frozen])
    assert isinstance(outcome, SlotLost)
    left.write(b"frozen")  # its sender repeats
    assert left.raws() == [b"frozen", b"frozen"]
    assert left.archive.damage() == []


def test_a_live_writer_loses_one_round(left: Left) -> None:
    left.seal(b"given up")
    left.grow_old()
    in_flight = left.seal(b"in flight")
    assert left.recover() == Recovered(chained=1)
    (outcome,) = left.steps.append([in_flight])
    assert isinstance(outcome, SlotLost)
    left.write(b"repeated")
    assert sorted(left.raws()) == [b"given up", b"repeated"]


@pytest.mark.parametrize("place", [0, 1])
def test_the_record_is_written_to_the_place_that_lacks_it(left: Left, place: int) -> None:
    name = left.record_name(left.seal(b"mail"))
    left.world.places[place].delete(name)
    left.grow_old()
    assert left.recover().chained == 1
    assert left.world.places[0].get(name) == left.world.places[1].get(name)
    assert left.archive.damage() == []


def _no_record(left: Left, group: SealedGroup) -> None:
    for place in left.world.places:
        place.delete(left.record_name(group))


def _places_differ(left: Left, group: SealedGroup) -> None:
    left.world.places[1].put(left.record_name(group), b"{}")


def _damaged_record(left: Left, group: SealedGroup) -> None:
    for place in left.world.places:
        place.put(left.record_name(group), b"{}")


def _foreign_object(left: Left, group: SealedGroup) -> None:
    key = group.drafts[0][1]["object"]["key"]
    (stored, _), *_ = left.world.objects.stat(key)
    left.world.objects._objects[key][0].data = b"x" * stored.size


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_no_record, "key.no_record"),
        (_places_differ, "key.places_differ"),
        (_damaged_record, "integrity.tampered"),
        (_foreign_object, "integrity.tampered"),
    ],
)
def test_what_is_not_whole_is_reported_and_never_chained(
    left: Left, spoil: Callable[[Left, SealedGroup], None], code: str
) -> None:
    group = left.seal(b"not whole")
    spoil(left, group)
    left.world.clock.now += timedelta(seconds=1)
    left.seal(b"whole")
    left.grow_old()
    key = group.drafts[0][1]["object"]["key"]
    assert left.recover() == Recovered(chained=1, reported={key: code})
    entries = len(left.archive.entries(left.archive.capture_log))
    assert left.recover() == Recovered(reported={key: code})
    assert len(left.archive.entries(left.archive.capture_log)) == entries  # nothing to chain: no claim
    assert left.raws() == [b"whole"]


def test_a_record_that_comes_back_makes_its_orphan_whole(left: Left) -> None:
    group = left.seal(b"mail")
    record = left.world.places[0].get(left.record_name(group))
    _no_record(left, group)
    left.grow_old()
    assert len(left.recover().reported) == 1
    left.world.clock.now += timedelta(hours=2)
    assert len(left.recover().reported) == 1
    left.world.places[1].put(left.record_name(group), record)
    assert left.recover() == Recovered(chained=1)
    assert left.recover() == Recovered()


def test_orphans_of_an_older_generation_leave_the_log_at_its_own(left: Left) -> None:
    left.seal(b"evening")
    left.world.clock.pass_days(1)
    left.write(b"morning")
    assert left.recover().chained == 1
    entries = left.archive.entries(left.archive.capture_log)
    assert [entry.fields["generation"] for entry in entries[-4:]] == [2, 2, 1, 2]
    assert left.archive.damage() == []


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_recovery_that_fails_anywhere_is_finished_by_the_next(left: Left, effect: Effect, nth: int) -> None:
    left.seal(b"one", b"two")
    left.grow_old()
    prefix = f"ledger/{left.archive.capture_log}/batch/"
    left.world.plan.fail("create", nth, effect, prefix=prefix, times=QUICK.settle_tries)
    left.world.plan.fail("stat", prefix=prefix, times=None)
    with pytest.raises(StoreError):
        left.recover()
    left.world.heal()
    left.recover()
    assert left.raws() == [b"one", b"two"]
    assert left.archive.damage() == []


def test_two_recoveries_at_once_chain_once(left: Left) -> None:
    """The second looks, claims and chains between the first one's claim and its append."""
    left.seal(b"mail")
    left.grow_old()
    first = Recovery(left.world.vault(left.archive.owner), lambda: 1, QUICK, MemoryMarks())
    inner = first._read_on
    outcomes: list[Recovered] = []

    def read_on(reader: object, mark: LogMark) -> set[str]:
        read = inner(reader, mark)  # type: ignore[arg-type]
        if mark.seq > 1 and not outcomes:  # behind its own claim
            outcomes.append(left.recover())
        return read

    first._read_on = read_on  # type: ignore[method-assign,assignment]
    assert first.run() == Recovered(busy=1)
    assert outcomes == [Recovered(chained=1)]
    assert left.raws() == [b"mail"]


def test_a_mark_spares_what_is_settled_and_its_loss_costs_nothing_else(left: Left, tmp_path: Path) -> None:
    marks = FileMarks(tmp_path / "run")
    left.write(*(b"%d" % n for n in range(5)))
    left.world.clock.now += timedelta(hours=2)
    left.recover(marks)
    mark = marks.get(left.archive.capture_log)
    assert mark is not None
    assert mark.settled
    assert mark.named == set()
    assert mark.seq == 6
    left.seal(b"orphan")
    left.grow_old()
    left.world.plan.calls.clear()
    assert left.recover(marks).chained == 1
    first = f"ledger/{left.archive.capture_log}/batch/00000000000/{0:016d}"
    reads = [call.keys for call in left.world.plan.calls if call.verb == "read"]
    assert (first,) in reads  # the claim finds its head from there; recovery's own reading began later
    for damaged in (b"{", b'{"since": 1}', b'{"since":"x","seq":-1}', b"[]"):
        for path in (tmp_path / "run").iterdir():
            path.write_bytes(damaged)
        assert left.recover(marks) == Recovered()
    assert len(left.raws()) == 6


def test_what_was_unusable_for_hours_and_is_named_while_recovery_looks_is_not_chained_twice(
    left: Left,
) -> None:
    """Its writer was frozen between the object and the key record, and appends just before recovery claims: found by
    the simulation (seed 1072413)."""
    group = left.seal(b"slow")
    name = left.record_name(group)
    kept = [place._records.pop(name) for place in left.world.places]
    left.world.clock.now += timedelta(hours=2)
    assert list(left.recover().reported.values()) == ["key.no_record"]
    mark = left.marks.get(left.archive.capture_log)
    assert mark is not None
    assert mark.settled  # it has gone past the name
    for place, record in zip(left.world.places, kept, strict=True):
        place._records[name] = record
    recovery = Recovery(left.world.vault(left.archive.owner), left.archive.acts().refresh, QUICK, left.marks)
    chain = recovery._chain

    def late(*given: Any) -> int:
        (outcome,) = left.steps.append([group])
        assert not isinstance(outcome, ArchiveError)
        return chain(*given)

    recovery._chain = late  # type: ignore[method-assign]
    assert recovery.run() == Recovered()
    assert left.raws() == [b"slow"]


def test_what_arrives_long_after_its_name_is_found_within_a_day(left: Left) -> None:
    late = left.seal(b"late")
    key = late.drafts[0][1]["object"]["key"]
    versions = left.world.objects._objects.pop(key)
    left.world.clock.now += timedelta(seconds=1)
    left.write(b"next")
    left.world.clock.now += timedelta(hours=2)
    assert left.recover() == Recovered()
    left.world.objects._objects[key] = versions
    assert left.recover() == Recovered()
    left.world.clock.pass_days(1)
    assert left.recover() == Recovered(chained=1)


def test_a_mark_of_another_archive_is_thrown_away(left: Left) -> None:
    left.write(b"mail")
    left.marks.put(
        left.archive.capture_log, LogMark(since="2026-03-01T12:00:00.000000Z", seq=1, prev="f" * 64)
    )
    left.seal(b"orphan")
    left.grow_old()
    assert left.recover() == Recovered(chained=1)
