"""Forgetting: what is erased opens nowhere, from no backup; nothing else is lost, whatever fails and whenever."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from archive_service.ledger.capture_writer import Captured, CaptureWriter
from archive_service.ledger.reader import read_entry
from archive_service.ledger.slots import Slots
from archive_service.model.errors import ArchiveError, KeyUnavailable, Refused, StoreError, Tampered
from archive_service.model.grounds import EraseGround, KeepGround
from archive_service.vault import key_layout
from archive_service.vault.destruction import Destroyer, Permit
from archive_service.vault.generations import Generations
from archive_service.vault.keyring import Keyring
from archive_service.vault.rewrap import rewrap
from archive_service.vault.stores.base import Lock
from archive_service.vault.stores.faults import Effect
from retention.erasure import Capture, ask
from retention.keeping import lift_keep, place_keep
from retention.precedence import Case, decide
from tests.unit.core_world import PATIENCE
from tests.unit.erasure_bench import Erasing

MAILS = tuple(b"From: anne@ex.fr\r\n\r\nmail %d\r\n" % number for number in range(5))


@pytest.fixture
def erasing() -> Iterator[Erasing]:
    made = Erasing()
    yield made
    made.archive.world.close()


def all_but(erasing: Erasing, *erased: str) -> None:
    """Every mail opens byte for byte but these, which do not."""
    for name, (captured, mail) in erasing.sent.items():
        if name in erased:
            with pytest.raises(KeyUnavailable):
                erasing.readable(captured)
        else:
            assert erasing.readable(captured) == mail


def test_gdpr_article_17_an_erased_mail_opens_nowhere_and_all_others_do(erasing: Erasing) -> None:
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    assert erasing.acts().barred([victim.capture]) == {victim.capture}
    erasing.next_day()
    erasing.send(b"of another day")
    outcome = erasing.run()
    assert (outcome.erased, outcome.kept, outcome.waiting) == (1, {}, 0)
    all_but(erasing, victim.capture)
    assert erasing.archive.damage() == []
    erasing.send(b"after the batch")
    all_but(erasing, victim.capture)


def test_a_day_that_is_not_over_waits_unless_told_otherwise(erasing: Erasing) -> None:
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    assert erasing.run().waiting == 1
    assert erasing.readable(victim) == MAILS[0]
    assert erasing.run(today_too=True).erased == 1
    all_but(erasing, victim.capture)
    erasing.send(b"the same day, under another generation")
    all_but(erasing, victim.capture)
    assert erasing.archive.damage() == []


def test_a_batch_waits_for_the_projections(erasing: Erasing) -> None:
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    erasing.next_day()
    assert erasing.run(passed=lambda position: False).waiting == 1
    assert erasing.readable(victim) == MAILS[0]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_key_store_backup_taken_before_opens_nothing_that_was_erased(erasing: Erasing, which: int) -> None:
    """Put back in the first place, in the second, in both: after the grace, with the KMS as it is then."""
    victim, *_others = erasing.send(*MAILS)
    erasing.ask(victim)
    erasing.next_day()
    backup = erasing.places()
    erasing.run()
    erasing.archive.world.clock.now = erasing.archive.world.clock.now.replace(hour=23)
    assert erasing.run().destroyed
    for number in {0: [0], 1: [1], 2: [0, 1]}[which]:
        erasing.restore(erasing.archive.world.places[number], backup[number])
    with pytest.raises((KeyUnavailable, Tampered, StoreError)):
        erasing.readable(victim)
    if which < 2:  # the other place still serves
        all_but(erasing, victim.capture)


def test_a_backup_whose_generations_are_laid_into_the_living_store_opens_nothing(erasing: Erasing) -> None:
    """Record, generation and table key of the backup, everything else as it stands: even before the grace is over
    nothing but the old KMS version opens it, and then nothing does."""
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    erasing.next_day()
    first, _ = erasing.places()
    erasing.run(grace=timedelta(0))
    erasing.run()
    world = erasing.archive.world
    for place in world.places:
        for name, data in first.items():
            if f"{erasing.archive.owner}/" in name and "/secrets/" not in name:
                place.put(name, data)
    with pytest.raises((KeyUnavailable, Tampered, StoreError)):
        erasing.readable(victim)


@pytest.mark.parametrize("place", [0, 1])
def test_either_place_wiped_at_any_moment_of_an_erasure_loses_nothing(place: int) -> None:
    """The place is wiped after the n-th write of the batch, for every n; then the batch is finished."""
    moment = 0
    while True:
        moment += 1
        erasing = Erasing()
        victim, *_ = erasing.send(*MAILS)
        erasing.ask(victim)
        erasing.next_day()
        world = erasing.archive.world
        wiped = _wipe_at(erasing, place, moment)
        failed = False
        try:
            erasing.run()
        except ArchiveError:
            failed = True
        world.heal()
        for name, (captured, mail) in erasing.sent.items():
            if name != victim.capture:
                assert erasing.readable(captured) == mail, moment
        if failed:
            erasing.run()
        all_but(erasing, victim.capture)
        world.close()
        if not wiped():
            assert moment > 10
            return


def _wipe_at(erasing: Erasing, number: int, moment: int) -> Callable[[], bool]:
    """Wipe a place when it is written for the ``moment``-th time; returns whether that came."""
    place = erasing.archive.world.places[number]
    inner, count, done = place.put, [0], [False]

    def put(name: str, data: bytes) -> None:
        inner(name, data)
        count[0] += 1
        if count[0] == moment:
            place._records.clear()
            done[0] = True

    place.put = put  # type: ignore[method-assign]
    return lambda: done[0]


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
@pytest.mark.parametrize("verb", ["put", "create", "delete", "get"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_batch_cut_off_at_any_call_is_finished_by_the_next(place: int, verb: str, effect: Effect) -> None:
    nth = 0
    while True:
        nth += 1
        erasing = Erasing()
        victim, *_ = erasing.send(*MAILS)
        erasing.ask(victim)
        erasing.next_day()
        world = erasing.archive.world
        batch = erasing.batch()
        fault = world.plans[place].fail(verb, nth, effect, times=None)
        with suppress(StoreError, KeyUnavailable, Tampered):
            batch.run()
        met = fault.reached.is_set()
        world.heal()
        for name, (captured, mail) in erasing.sent.items():
            if name != victim.capture:
                assert erasing.readable(captured) == mail, (verb, nth)
        erasing.run()
        all_but(erasing, victim.capture)
        assert erasing.archive.damage() == [], (verb, nth)
        world.close()
        if not met:
            return


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
def test_a_batch_whose_acts_or_claims_fail_is_finished_by_the_next(effect: Effect) -> None:
    nth = 0
    while True:
        nth += 1
        erasing = Erasing()
        victim, *_ = erasing.send(*MAILS)
        erasing.ask(victim)
        erasing.next_day()
        world = erasing.archive.world
        fault = world.plan.fail("create", nth, effect, times=None)
        with suppress(ArchiveError):
            erasing.run()
        met = fault.reached.is_set()
        world.heal()
        erasing.run()
        all_but(erasing, victim.capture)
        assert erasing.archive.damage() == [], nth
        world.close()
        if not met:
            assert nth > 3
            return


def test_a_writer_that_was_sealing_when_its_generation_was_closed_loses_its_append(erasing: Erasing) -> None:
    erasing.send(*MAILS)
    writer = erasing.archive.writer()
    world = erasing.archive.world
    first = writer.submit(erasing.archive.draft(), b"before").result(PATIENCE)
    erasing.sent[first.capture] = (first, b"before")
    slow = world.plan.fail("create", 1, Effect.SLOW, prefix=f"objects/{erasing.archive.owner}/capture")
    late = writer.submit(erasing.archive.draft(), b"sealed under the old day")
    assert slow.reached.wait(PATIENCE)
    erasing.ask(first)
    erasing.next_day()
    erasing.run()
    slow.release.set()
    assert isinstance(late.exception(PATIENCE), ArchiveError)
    again = writer.submit(erasing.archive.draft(), b"sealed under the old day")
    try:
        captured = again.result(PATIENCE)
    except ArchiveError:
        captured = writer.submit(erasing.archive.draft(), b"sealed under the old day").result(PATIENCE)
    writer.close()
    erasing.sent[captured.capture] = (captured, b"sealed under the old day")
    all_but(erasing, first.capture)
    assert erasing.archive.damage() == []


def test_a_writer_whose_clock_is_behind_never_uses_a_closed_generation(erasing: Erasing) -> None:
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    erasing.next_day()
    erasing.run()
    erasing.next_day(-1)
    captured, *_ = erasing.send(b"by yesterday's clock")
    assert erasing.readable(captured) == b"by yesterday's clock"
    erasing.next_day()
    erasing.run()
    all_but(erasing, victim.capture)


def _late_writer(erasing: Erasing, ring: Keyring, number: int) -> CaptureWriter:
    """A process whose clock stands at yesterday, which takes a slot that no batch has seen."""
    world = erasing.archive.world
    yesterday = world.clock() - timedelta(days=1)
    only = f"{erasing.archive.owner}/capture-{number}"
    slots = Slots(
        world.objects, erasing.archive.owner, "capture", lambda: yesterday, only.__eq__, world.policy
    )
    return CaptureWriter(world.objects, ring, slots, lambda: yesterday)


def _persist(erasing: Erasing, writer: CaptureWriter, mail: bytes) -> None:
    """As a mail server sends it: again after 4xx."""
    for _ in range(5):
        future = writer.submit(erasing.archive.draft(), mail)
        if future.exception(PATIENCE) is None:
            erasing.sent[future.result().capture] = (future.result(), mail)
            return
    raise AssertionError("never archived")


def _yesterdays_ring(erasing: Erasing) -> Keyring:
    ring = erasing.archive.world.keyring(erasing.archive.owner)
    ring.current((erasing.archive.world.clock() - timedelta(days=1)).date())
    return ring


def test_a_new_slot_after_the_batch_is_not_written_under_a_generation_that_is_no_more(
    erasing: Erasing,
) -> None:
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    erasing.next_day()
    ring = _yesterdays_ring(erasing)
    erasing.run()
    writer = _late_writer(erasing, ring, 7)
    _persist(erasing, writer, b"by yesterday's clock")
    writer.close()
    all_but(erasing, victim.capture)


@pytest.mark.parametrize("place", [0, 1])
def test_a_table_key_that_was_made_in_one_place_only_is_settled_before_anything_is_sealed_under_it(
    erasing: Erasing, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch was cut off between the two places; the next run takes the key up; then the first place is wiped,
    right after the old table key went: found by the simulation (seed 4228866)."""
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    erasing.next_day()
    whole = Generations.make_table

    def cut_off(self: Generations) -> int:
        number = whole(self)
        other = erasing.archive.world.places[1 - place]
        del other._records[key_layout.table_name(self.owner, number)]
        raise StoreError("cut off")

    monkeypatch.setattr(Generations, "make_table", cut_off)
    with pytest.raises(StoreError):
        erasing.run()
    monkeypatch.setattr(Generations, "make_table", whole)
    sweep = Destroyer.sweep

    def wiped_behind(self: Destroyer, victims: Any, tables: Any) -> None:
        sweep(self, victims, tables)
        erasing.archive.world.places[place]._records.clear()

    monkeypatch.setattr(Destroyer, "sweep", wiped_behind)
    with suppress(ArchiveError):
        erasing.run()
    monkeypatch.setattr(Destroyer, "sweep", sweep)
    erasing.run()
    all_but(erasing, victim.capture)


def test_a_generation_that_a_frozen_writer_makes_anew_is_not_written_under(erasing: Erasing) -> None:
    """It was reading the day key back from both places when it froze; the batch deleted it; it wakes, and makes it
    again as it was, open: found by the simulation (seed 3076529)."""
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    owner = erasing.archive.owner
    erasing.next_day()
    ring = _yesterdays_ring(erasing)
    number = ring.current((erasing.archive.world.clock() - timedelta(days=1)).date()).number
    name = key_layout.generation_name(owner, number)
    before = [place._records[name] for place in erasing.archive.world.places]
    erasing.run()
    for place, record in zip(erasing.archive.world.places, before, strict=True):
        assert name not in place._records
        place._records[name] = record
    with pytest.raises(StoreError) as refused:
        ring.generations.require_open(number)
    assert refused.value.code == "key.closed"
    writer = _late_writer(erasing, ring, 7)
    _persist(erasing, writer, b"under what was put back")
    writer.close()
    all_but(erasing, victim.capture)


def test_a_new_slot_behind_the_batchs_back_is_not_written_under_a_closed_generation(erasing: Erasing) -> None:
    """The batch has closed its generation and looked at all logs; only then a slot is taken that it has not seen."""
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    erasing.next_day()
    ring = _yesterdays_ring(erasing)
    world = erasing.archive.world
    acts = f"ledger/{erasing.archive.owner}/acts/batch"
    begin = world.plan.fail("create", 2, Effect.SLOW, prefix=acts)  # the first closes the acts log itself
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(erasing.run)
        assert begin.reached.wait(PATIENCE)
        writer = _late_writer(erasing, ring, 7)
        with suppress(StoreError):  # it is told that its generation is closed
            writer.open()
        begin.release.set()
        assert batch.result(PATIENCE).erased == 1
    _persist(erasing, writer, b"behind its back")
    writer.close()
    all_but(erasing, victim.capture)


def test_erasing_again_from_what_a_batch_left(erasing: Erasing) -> None:
    sent = erasing.send(*MAILS)
    erased: list[str] = []
    for victim in sent[:3]:
        erasing.ask(victim)
        erasing.next_day()
        assert erasing.run().erased == 1
        erased.append(victim.capture)
        all_but(erasing, *erased)
    assert erasing.archive.damage() == []


# --- the decision --------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", list(KeepGround))
@pytest.mark.parametrize("erase", list(EraseGround))
def test_order_of_precedence(erase: EraseGround, keep: KeepGround) -> None:
    order = ["order", "exclusion", "hold", "minimum", "request", "maximum"]
    case = Case("log", "capture", erase, [keep])
    if order.index(keep) <= order.index(erase):
        with pytest.raises(Refused, match=f"kept: {keep}"):
            decide(case)
    else:
        assert decide(case).capture == "capture"


def test_a_hold_keeps_and_its_end_lets_go(erasing: Erasing) -> None:
    victim, *_ = erasing.send(*MAILS)
    keep = place_keep(erasing.acts(), [victim.capture], KeepGround.HOLD, "case 12", "legal")
    erasing.ask(victim)
    erasing.next_day()
    assert list(erasing.run().kept.values()) == [1]
    assert erasing.readable(victim) == MAILS[0]
    assert erasing.acts().barred([victim.capture])
    lift_keep(erasing.acts(), keep, "legal")
    assert erasing.run().erased == 1
    all_but(erasing, victim.capture)


def test_a_legal_minimum_keeps_until_its_end(erasing: Erasing) -> None:
    victim, *_ = erasing.send(*MAILS)
    until = "2026-03-04T00:00:00.000000Z"
    place_keep(erasing.acts(), [victim.capture], KeepGround.MINIMUM, "L123-22", "records", until)
    erasing.ask(victim)
    erasing.next_day()
    assert erasing.run().erased == 0
    erasing.next_day(3)
    assert erasing.run().erased == 1


def test_a_hold_upon_the_object_itself_keeps(erasing: Erasing) -> None:
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    world = erasing.archive.world
    fields = read_fields(erasing, victim)
    stored, lock = world.objects.stat(fields["object"]["key"])[0]
    world.objects.protect(stored.key, stored.version, Lock(lock.mode, lock.until, hold=True))
    erasing.next_day()
    assert erasing.run().erased == 0
    world.objects.protect(stored.key, stored.version, Lock(lock.mode, lock.until))
    assert erasing.run().erased == 1


def read_fields(erasing: Erasing, captured: Captured) -> dict[str, Any]:
    return read_entry(erasing.archive.world.objects, captured.log, captured.seq).fields


def test_a_hold_that_comes_too_late_is_refused_and_one_that_comes_between_is_not(erasing: Erasing) -> None:
    victim, other, *_ = erasing.send(*MAILS)
    erasing.ask(victim, other)
    place_keep(erasing.acts(), [other.capture], KeepGround.HOLD, "case 12", "legal")
    erasing.next_day()
    assert erasing.run().erased == 1
    all_but(erasing, victim.capture)
    with pytest.raises(Refused):
        place_keep(erasing.acts(), [victim.capture], KeepGround.HOLD, "case 12", "legal")


def test_no_permit_but_by_the_precedence() -> None:
    with pytest.raises(ArchiveError):
        Permit("log", "capture", object())


def test_a_key_that_is_gone_without_an_act_is_damage_and_one_that_came_back_too(erasing: Erasing) -> None:
    victim, *_ = erasing.send(*MAILS)
    before = erasing.places()
    erasing.ask(victim)
    erasing.next_day()
    erasing.run()
    assert erasing.archive.damage() == []
    after = erasing.places()
    for place, old, new in zip(erasing.archive.world.places, before, after, strict=True):
        kept = {name: data for name, data in old.items() if "/secrets/" not in name}
        erasing.restore(place, {**new, **kept})
    assert any("can be had again" in problem.detail for problem in erasing.archive.damage())
    for place, records in zip(erasing.archive.world.places, after, strict=True):
        erasing.restore(place, {name: data for name, data in records.items() if "/records/" not in name})
    assert any("no key record" in problem.detail for problem in erasing.archive.damage())


@pytest.mark.parametrize("basis", ["", "  "])
def test_an_erasure_names_its_basis(erasing: Erasing, basis: str) -> None:
    victim, *_ = erasing.send(*MAILS)
    with pytest.raises(ArchiveError):
        ask(
            erasing.acts(), [Capture(victim.log, victim.seq, victim.capture)], EraseGround.REQUEST, basis, "x"
        )


def test_a_service_that_destroys_the_oldest_only_gets_the_older_ones_destroyed_too(erasing: Erasing) -> None:
    """An operator has rotated and rewrapped before: v1 is in nobody's use, and no batch names it."""
    kms = erasing.archive.world.kms
    kms.rotate()
    rewrap(erasing.archive.world.keys, kms)
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    erasing.next_day()
    erasing.run(grace=timedelta(0))
    assert kms.versions() == ["v3"]
    assert [batch.kms for batch in erasing.acts().erasures.batches.values()] == [("local-file/v2",)]
    all_but(erasing, victim.capture)


def test_versions_of_another_key_service_are_not_taken_for_destroyed(erasing: Erasing) -> None:
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    erasing.next_day()
    erasing.run()
    moved = erasing.archive.world.kms
    moved.provider = "another"
    erasing.next_day()
    with suppress(ArchiveError):  # records under the old service cannot be opened by the new one
        erasing.run()
    assert {batch.destroyed_at for batch in erasing.acts().erasures.batches.values()} == {None}
    assert moved.versions() == ["v1", "v2"]


@pytest.mark.parametrize("number", [0, 1])
def test_a_place_that_holds_an_older_record_does_not_hide_the_living_key(
    erasing: Erasing, number: int
) -> None:
    """The place was put back, with records of a generation that is no more; the other place has the key."""
    first, second, *_ = erasing.send(*MAILS)
    old = erasing.places()[number]
    erasing.ask(first)
    erasing.next_day()
    erasing.run()
    place = erasing.archive.world.places[number]
    for name, data in old.items():
        if "/records/" in name:
            place.put(name, data)
    erasing.ask(second)
    assert erasing.run().erased == 1
    all_but(erasing, first.capture, second.capture)
    for each in erasing.archive.world.places:
        for name, data in each._records.items():
            if "/records/capture" in name:
                keys = json.loads(data)["keys"]
                assert keys[:2] == [None, None], name


def test_a_key_record_that_is_away_is_not_taken_for_one_that_was_destroyed(erasing: Erasing) -> None:
    victim, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    erasing.next_day()
    away = [
        {name: data for name, data in place._records.items() if "/records/capture" in name}
        for place in erasing.archive.world.places
    ]
    for place, records in zip(erasing.archive.world.places, away, strict=True):
        for name in records:
            place.delete(name)
    outcome = erasing.run()
    assert (outcome.erased, outcome.missing) == (0, 1)
    for place, records in zip(erasing.archive.world.places, away, strict=True):
        for name, data in records.items():
            place.put(name, data)
    assert erasing.run().erased == 1
    all_but(erasing, victim.capture)


def test_a_hold_in_the_store_after_the_beginning_stops_the_batch_and_nothing_else(erasing: Erasing) -> None:
    victim, other, *_ = erasing.send(*MAILS)
    erasing.ask(victim)
    erasing.next_day()
    world = erasing.archive.world
    world.plans[0].fail("put", 5, Effect.LOST)
    with pytest.raises(ArchiveError):
        erasing.run()
    fields = read_fields(erasing, victim)
    stored, lock = world.objects.stat(fields["object"]["key"])[0]
    if not erasing.acts().erasures.begun(victim.capture):
        pytest.fail("the fault came before the batch had begun")
    world.objects.protect(stored.key, stored.version, Lock(lock.mode, lock.until, hold=True))
    assert list(erasing.run().kept.values()) == [1]
    world.objects.protect(stored.key, stored.version, Lock(lock.mode, lock.until))
    assert erasing.run().erased == 1
    all_but(erasing, victim.capture)
    assert erasing.readable(other) == MAILS[1]
