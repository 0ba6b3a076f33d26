"""Group commit of payload entries: durable before the answer, shared appends, nothing lost in a stop."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from archive_service.ledger.appender import Appender
from archive_service.ledger.entry import Entry
from archive_service.ledger.group_log import GroupLog
from archive_service.model.errors import ArchiveError, Overloaded, SlotLost, StoreError
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.faults import Effect
from tests.unit.core_world import PATIENCE, QUICK, Archive


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.world.close()


def group_log(archive: Archive) -> GroupLog:
    world = archive.world
    return GroupLog(world.vault(archive.owner), world.slots(archive.owner, "access"), "access", lambda: 7)


def read(archive: Archive, name: str = "access-1") -> list[dict[str, object]]:
    log, vault = LogId(archive.owner, name), archive.world.vault(archive.owner)
    return [
        vault.open(log, entry.fields["payload"]) for entry in archive.entries(log) if entry.type == "access"
    ]


def test_an_append_is_durable_and_sealed(archive: Archive) -> None:
    log = group_log(archive)
    name, entry = log.append({"actor": "anne@example.org"})
    log.close()
    assert (name, entry.seq, entry.fields["acts_seen"]) == (f"{archive.owner}/access-1", 1, 7)
    assert read(archive) == [{"actor": "anne@example.org"}]
    assert b"anne" not in entry.line


def test_many_threads_no_gap_no_double(archive: Archive) -> None:
    log = group_log(archive)
    with ThreadPoolExecutor(10) as pool:
        entries: list[Entry] = [entry for _, entry in pool.map(lambda n: log.append({"n": n}), range(120))]
    log.close()
    found = read(archive)
    assert sorted(int(str(each["n"])) for each in found) == list(range(120))
    assert sorted(entry.seq for entry in entries) == list(range(1, 121))
    assert all(found[entry.seq - 1] == {"n": n} for n, entry in enumerate(entries))


def test_answers_that_wait_share_one_append(archive: Archive) -> None:
    log = group_log(archive)
    log.append({"n": 0})
    slow = archive.world.plan.fail("create", effect=Effect.SLOW, prefix="ledger/")
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(log.append, {"n": 1})
        assert slow.reached.wait(PATIENCE)
        waiting = [pool.submit(log.append, {"n": n}) for n in range(2, 15)]
        while log._queue.qsize() < len(waiting):
            threading.Event().wait(0.001)
        slow.release.set()
        for future in (first, *waiting):
            future.result(PATIENCE)
    log.close()
    batches = list(archive.world.objects.list(f"ledger/{archive.owner}/access-1/batch/"))
    assert len(batches) == 4, "claim, first, second, and all that waited"


def test_a_lost_slot_fails_the_group_and_another_is_taken(archive: Archive) -> None:
    log = group_log(archive)
    log.append({"n": 0})
    world = archive.world
    Appender(world.objects, LogId(archive.owner, "access-1"), world.clock, QUICK).claim()
    with pytest.raises(SlotLost):
        log.append({"n": 1})
    assert log.append({"n": 2})[0].endswith("/access-2")
    log.close()
    assert read(archive) == [{"n": 0}]
    assert read(archive, "access-2") == [{"n": 2}]


def test_an_entry_that_is_too_large_stands_in_an_object(archive: Archive) -> None:
    log = group_log(archive)
    ids = [Random(n).randbytes(20).hex() for n in range(2000)]
    _, entry = log.append({"ids": ids})
    log.close()
    assert "object" in entry.fields["payload"]
    assert read(archive) == [{"ids": ids}]


def test_a_fault_of_the_program_is_told_as_a_store_s(archive: Archive) -> None:
    """What cannot be JSON is a bug; whoever waits must not take it for durable, and the log goes on."""
    log = group_log(archive)
    with pytest.raises(StoreError, match="TypeError"):
        log.append({"x": 1.5})
    log.append({"x": 1})
    log.close()
    assert read(archive) == [{"x": 1}]


def test_closing_finishes_what_waits_and_refuses_the_rest(archive: Archive) -> None:
    for _ in range(10):
        log = group_log(archive)
        start = threading.Barrier(4)

        def work(log: GroupLog = log, start: threading.Barrier = start) -> int:
            start.wait()
            done = 0
            for n in range(20):
                try:
                    log.append({"n": n})
                except Overloaded:
                    continue
                done += 1
            return done

        before = _count(archive)
        with ThreadPoolExecutor(3) as pool:
            workers = [pool.submit(work) for _ in range(3)]
            start.wait()
            log.close()
            assert _count(archive) - before == sum(worker.result(PATIENCE) for worker in workers)
        with pytest.raises(ArchiveError):
            log.append({})


def _count(archive: Archive) -> int:
    try:
        return len(read(archive))
    except IndexError:
        return 0
