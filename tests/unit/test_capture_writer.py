"""The capture writer: groups, streams, stopping, lost slots, mails that took too long."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from archive_service.ledger import capture_writer
from archive_service.ledger.appender import Appender
from archive_service.ledger.capture_writer import Captured, CaptureWriter
from archive_service.ledger.reader import logs
from archive_service.ledger.slots import Slots
from archive_service.ledger.verify.report import What
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Overloaded, SlotLost, StoreError
from archive_service.model.mail import CaptureRecord
from archive_service.vault.stores.faults import Effect
from tests.unit.core_world import PATIENCE, QUICK, Archive, outcome


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.world.close()


@pytest.fixture
def writer(archive: Archive) -> Iterator[CaptureWriter]:
    made = archive.writer()
    yield made
    archive.world.heal()
    made.close()


def raws(archive: Archive) -> dict[str, bytes]:
    return {captured.capture: opened.raw for captured, opened in archive.captures()}


def test_a_receipt_names_the_entry(archive: Archive, writer: CaptureWriter) -> None:
    captured = writer.submit(archive.draft(), b"\x00any \xff bytes\r").result(PATIENCE)
    ((found, opened),) = archive.captures()
    assert captured == found == Captured(archive.capture_log, 1, captured.capture)
    assert opened.raw == b"\x00any \xff bytes\r"
    record = CaptureRecord.model_validate_json(opened.record)
    assert record == archive.draft().record.model_copy(update={"capture": captured.capture})


def test_the_entry_says_what_format_md_lists(archive: Archive, writer: CaptureWriter) -> None:
    draft = archive.draft()
    writer.submit(draft, b"mail").result(PATIENCE)
    claim, entry = archive.entries(archive.capture_log)
    assert set(claim.fields) == {"version", "log", "seq", "prev", "time", "type", "writer", "generation"}
    assert claim.fields["generation"] == entry.fields["generation"]
    assert len(claim.fields["writer"]) == 16
    assert set(entry.fields) - set(claim.fields) | {"writer", "generation"} == {
        *("capture", "object", "commit", "lock_until", "lock_mode", "generation", "acts_seen", "writer")
    }
    assert set(entry.fields["object"]) == {"key", "version", "size", "sha256", "sha512"}
    assert draft.lock.until is not None
    assert entry.fields["lock_until"] == rfc3339(draft.lock.until)
    assert (entry.fields["lock_mode"], entry.fields["generation"]) == ("COMPLIANCE", 1)
    ((_, lock),) = archive.world.objects.stat(entry.fields["object"]["key"])
    assert lock == draft.lock


def test_nothing_of_a_mail_stands_in_clear(archive: Archive, writer: CaptureWriter) -> None:
    writer.submit(archive.draft("holiday.eml"), b"Subject: secret plan\r\n\r\n").result(PATIENCE)
    store = archive.world.objects
    everything = b"".join(store.read(stored.key) + stored.key.encode() for stored in store.list(""))
    everything += b"".join(place.get(name) for place in archive.world.places for name in place.list(""))
    for word in (b"secret plan", b"anne@example.org", b"j@archive", b"holiday", b"acme"):
        assert word not in everything


@pytest.mark.parametrize("sealers", [1, 3])
def test_many_threads_no_gap_no_double_every_byte(archive: Archive, sealers: int) -> None:
    writer = archive.writer(sealers=sealers)
    mails = {n: b"mail %d " % n + b"x" * (n * 37 % 500) for n in range(150)}

    def send(n: int) -> Captured:
        if n % 10 == 0:
            return writer.write_stream(archive.draft(), [mails[n][:3], mails[n][3:]])
        return writer.submit(archive.draft(), mails[n]).result(PATIENCE)

    with ThreadPoolExecutor(12) as pool:
        receipts = list(pool.map(send, range(150)))
    writer.close()
    found = archive.captures()
    assert sorted(captured.seq for captured, _ in found) == list(range(1, 151))
    by_place = {captured: opened.raw for captured, opened in found}
    assert {receipt: mails[n] for n, receipt in enumerate(receipts)} == by_place
    archive.checkpointer().run_once()
    assert archive.verify() == []


def test_mails_that_wait_share_one_batch(archive: Archive, writer: CaptureWriter) -> None:
    writer.open()
    slow = archive.world.plan.fail("create", effect=Effect.SLOW, prefix="objects/")
    first = writer.submit(archive.draft(), b"0")
    assert slow.reached.wait(PATIENCE)
    waiting = [writer.submit(archive.draft(), b"%d" % n) for n in range(1, 20)]
    slow.release.set()
    for future in (first, *waiting):
        future.result(PATIENCE)
    batches = [stored.key for stored in archive.world.objects.list(f"ledger/{archive.capture_log}/batch/")]
    assert len(batches) == 3, "the claim, the first mail, and all that waited meanwhile"
    records = list(archive.world.keys.list(f"{archive.owner}/records/capture-1/"))
    assert len(records) == 2


def test_a_stream_that_breaks_off_leaves_no_entry(archive: Archive, writer: CaptureWriter) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half a mail"
        raise StoreError("the sender went away")

    with pytest.raises(StoreError, match="went away"):
        writer.write_stream(archive.draft(), broken())
    writer.submit(archive.draft(), b"whole").result(PATIENCE)
    assert list(raws(archive).values()) == [b"whole"]
    assert archive.damage() == []


def test_a_sender_that_gives_up_cannot_cancel_what_is_written(
    archive: Archive, writer: CaptureWriter
) -> None:
    slow = archive.world.plan.fail("create", effect=Effect.SLOW, prefix="objects/")
    future = writer.submit(archive.draft(), b"mail")
    assert slow.reached.wait(PATIENCE)
    assert not future.cancel()
    slow.release.set()
    future.result(PATIENCE)
    assert list(raws(archive).values()) == [b"mail"]


@pytest.mark.parametrize("stream", [False, True])
def test_what_took_too_long_is_not_appended(
    archive: Archive, writer: CaptureWriter, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """Recovery may own the orphan by then; its sender heard 4xx and comes again."""
    writer.open()
    monkeypatch.setattr(capture_writer, "GIVE_UP", -1.0)
    if stream:
        with pytest.raises(StoreError, match="too long"):
            writer.write_stream(archive.draft(), [b"late"])
    else:
        assert "too long" in str(outcome(writer.submit(archive.draft(), b"late")))
    monkeypatch.setattr(capture_writer, "GIVE_UP", 60.0)
    writer.submit(archive.draft(), b"in time").result(PATIENCE)
    assert list(raws(archive).values()) == [b"in time"]
    assert {note.what for note in archive.verify()} == {What.ORPHAN}
    assert archive.damage() == []


def test_of_a_group_only_the_late_ones_are_left_out(
    archive: Archive, writer: CaptureWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.open()
    slow = archive.world.plan.fail("create", effect=Effect.SLOW, prefix="objects/")
    first = writer.submit(archive.draft(), b"first")
    assert slow.reached.wait(PATIENCE)
    futures = []
    for n in range(6):
        monkeypatch.setattr(capture_writer, "GIVE_UP", -1.0 if n % 2 else 60.0)
        futures.append(writer.submit(archive.draft(), b"%d" % n))
    slow.release.set()
    first.result(PATIENCE)
    outcomes = [outcome(future) for future in futures]
    assert [isinstance(each, Captured) for each in outcomes] == [True, False] * 3
    assert sorted(raws(archive).values()) == [b"0", b"2", b"4", b"first"]
    assert {each.capture for each in outcomes if isinstance(each, Captured)} < set(raws(archive))


# --- slots ---------------------------------------------------------------------------------------------


def steal(archive: Archive) -> Appender:
    """Another process claims the slot, as recovery would."""
    thief = Appender(archive.world.objects, archive.capture_log, archive.world.clock, QUICK)
    thief.claim()
    return thief


def test_who_lost_its_slot_fails_all_in_flight_and_takes_another(
    archive: Archive, writer: CaptureWriter
) -> None:
    writer.open()
    slow = archive.world.plan.fail("create", effect=Effect.SLOW, prefix="objects/")
    futures = [writer.submit(archive.draft(), b"lost 0")]
    assert slow.reached.wait(PATIENCE)
    futures += [writer.submit(archive.draft(), b"lost %d" % n) for n in (1, 2)]
    steal(archive)
    slow.release.set()
    first = outcome(futures[0])
    assert isinstance(first, SlotLost)
    for future in futures[1:]:  # sealed for the old slot, or already for the new one
        result = outcome(future)
        assert isinstance(result, SlotLost) or result.log.name == "capture-2"  # type: ignore[union-attr]
    after = writer.submit(archive.draft(), b"after").result(PATIENCE)
    assert after.log.name == "capture-2"
    assert [log.name for log in logs(archive.world.objects, archive.owner)] == [
        "acts",
        "capture-1",
        "capture-2",
    ]
    assert b"lost 0" not in raws(archive).values()
    assert archive.damage() == []


def test_a_stream_that_loses_its_slot_fails(archive: Archive, writer: CaptureWriter) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        steal(archive)
        yield b"rest"

    writer.open()
    with pytest.raises(SlotLost):
        writer.write_stream(archive.draft(), chunks())
    assert writer.write_stream(archive.draft(), [b"again"]).log.name == "capture-2"
    assert archive.damage() == []


def test_two_writers_have_a_slot_each(archive: Archive) -> None:
    taken: set[str] = set()
    lock = threading.Lock()

    def lease(name: str) -> bool:
        with lock:
            new = name not in taken
            taken.add(name)
            return new

    world = archive.world
    found = []
    for _ in range(2):
        slots = Slots(world.store, archive.owner, "capture", world.clock, lease, QUICK)
        one = CaptureWriter(world.store, world.keyring(archive.owner), slots, world.clock)
        found.append(one.open().name)
        one.close()
    assert found == ["capture-1", "capture-2"]


# --- stopping ------------------------------------------------------------------------------------------


def test_closing_finishes_what_was_submitted(archive: Archive) -> None:
    writer = archive.writer()
    futures = [writer.submit(archive.draft(), b"%d" % n) for n in range(100)]
    writer.close()
    assert all(future.done() for future in futures)
    assert sorted(raws(archive).values()) == sorted(b"%d" % n for n in range(100))


def test_after_closing_everything_is_refused(archive: Archive) -> None:
    writer = archive.writer()
    writer.close()
    assert isinstance(outcome(writer.submit(archive.draft(), b"x")), Overloaded)
    with pytest.raises(Overloaded):
        writer.write_stream(archive.draft(), [b"x"])
    writer.close()


def test_a_stream_under_way_when_the_writer_stops_does_not_wait_for_ever(archive: Archive) -> None:
    writer = archive.writer()
    writer.open()
    started, stopped = threading.Event(), threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"half"
        started.set()
        assert stopped.wait(PATIENCE)
        yield b"rest"

    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(writer.write_stream, archive.draft(), chunks())
        assert started.wait(PATIENCE)
        writer.close()
        stopped.set()
        assert isinstance(stream.exception(PATIENCE), Overloaded)
    assert raws(archive) == {}
    assert archive.damage() == []


def test_submitting_while_it_stops_ends_every_future(archive: Archive) -> None:
    for _ in range(10):
        writer = archive.writer()
        writer.open()
        start = threading.Barrier(4)

        def send(writer: CaptureWriter = writer, start: threading.Barrier = start) -> list[object]:
            start.wait()
            return [outcome(writer.submit(archive.draft(), b"x")) for _ in range(15)]

        with ThreadPoolExecutor(3) as pool:
            senders = [pool.submit(send) for _ in range(3)]
            start.wait()
            writer.close()
            for sender in senders:
                for each in sender.result(PATIENCE):
                    assert isinstance(each, Captured | Overloaded)
