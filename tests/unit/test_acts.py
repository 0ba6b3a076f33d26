"""The acts as a state: replayed to the head, never past what could not be read, validated where they land."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from archive_service.ledger.acts import Acts
from archive_service.ledger.appender import Appender
from archive_service.model.errors import Invalid, KeyUnavailable, Refused, StoreError, Tampered
from archive_service.model.mail import Source, SourceKind
from tests.unit.core_world import QUICK, Archive


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.world.close()


def source(number: int) -> Source:
    return Source(
        id=f"s{number}", name=f"source {number}", kind=SourceKind.GENERIC, address=f"a{number}@archive"
    )


def add(acts: Acts, number: int) -> int:
    return acts.append(lambda _: {"version": 1, "act": "source.add", "source": source(number).plain()})


def test_what_one_process_decides_the_others_read(archive: Archive) -> None:
    ours, theirs = archive.acts(), archive.acts()
    seq = add(ours, 1)
    assert ours.source_at("a1@archive") == source(1)
    assert theirs.source_at("a1@archive") is None
    assert theirs.refresh() == seq + 1 == ours.seen
    assert theirs.sources() == [source(1)]
    assert theirs.source_at("A1@Archive") == source(1)
    assert (theirs.name, theirs.kind) == ("acme", "tenant")


def test_an_act_says_how_many_it_had_seen(archive: Archive) -> None:
    acts = archive.acts()
    for number in range(3):
        add(acts, number)
    entries = archive.entries(acts.log)
    assert [entry.fields["acts_seen"] for entry in entries] == [entry.seq for entry in entries]


def test_nothing_of_an_act_stands_in_clear(archive: Archive) -> None:
    add(archive.acts(), 1)
    lines = b"".join(entry.line for entry in archive.entries(archive.acts().log))
    for word in (b"acme", b"source", b"a1@archive", b"generic", b"tenant"):
        assert word not in lines


@pytest.mark.parametrize("verb", ["key", "read"])
def test_an_act_that_cannot_be_read_now_is_read_later(archive: Archive, verb: str) -> None:
    """Else a source would be unknown, and its mail refused for good."""
    add(archive.acts(), 1)
    acts = archive.acts()
    if verb == "key":
        for plan in archive.world.plans:
            plan.fail("get", prefix=f"{archive.owner}/records/", times=None)
    else:
        archive.world.plan.fail("read", 2, prefix=f"ledger/{archive.owner}/acts/")
    for _ in range(2 if verb == "key" else 1):
        with pytest.raises(StoreError):
            acts.refresh()
        assert acts.source_at("a1@archive") is None
        assert acts.seen < 2
    archive.world.heal()
    assert acts.refresh() == 2
    assert acts.source_at("a1@archive") == source(1)


def append_raw(archive: Archive, kind: str, fields: dict[str, Any]) -> None:
    appender = Appender(archive.world.objects, archive.acts().log, archive.world.clock, QUICK)
    appender.claim()
    appender.append([(kind, fields)])


@pytest.mark.parametrize(
    ("act", "error"),
    [
        ({"version": 1, "act": "unheard.of"}, Invalid),
        ({"version": 1}, Tampered),
        ({"version": 1, "act": "source.add"}, Tampered),
        ({"version": 1, "act": "source.add", "source": {"id": "s"}}, Tampered),
        ({"version": 1, "act": "owner.create", "kind": "tenant"}, Tampered),
        ({"version": 1, "act": "source.set", "source": "s-none", "guard": {}}, Tampered),
        ({"version": 1, "act": "source.set", "source": "s-none"}, Tampered),
        (
            {"version": 1, "act": "source.rotate", "source": "s-none", "address": "x@y", "until": "2026"},
            Tampered,
        ),
        ({"version": 1, "act": "bates.reserve", "prefix": "A", "first": None, "count": 1}, Tampered),
        ({"version": 1, "act": "bates.reserve", "prefix": "A", "first": "x", "count": 1}, Tampered),
    ],
    ids=lambda value: str(value.get("act")) if isinstance(value, dict) else value.__name__,
)
def test_an_act_that_is_not_understood_stops_everybody_for_good(
    archive: Archive, act: dict[str, Any], error: type[Exception]
) -> None:
    vault = archive.world.vault(archive.owner)
    (payload,) = vault.seal_many(archive.acts().log, [act])
    append_raw(archive, "act", {"payload": payload, "acts_seen": 0})
    acts = archive.acts()
    for _ in range(3):
        with pytest.raises(error):
            acts.refresh()
        with pytest.raises(error):
            add(acts, 1)
    assert acts.source_at("a1@archive") is None


def test_another_type_of_entry_has_no_place_among_the_acts(archive: Archive) -> None:
    append_raw(archive, "access", {})
    with pytest.raises(Tampered, match="type"):
        archive.acts().refresh()


def test_a_claim_among_the_acts_is_counted_and_no_act(archive: Archive) -> None:
    appender = Appender(archive.world.objects, archive.acts().log, archive.world.clock, QUICK)
    appender.claim()
    assert archive.acts().refresh() == 2


def test_an_act_of_another_log_does_not_open(archive: Archive) -> None:
    entry = archive.entries(archive.acts().log)[0]
    vault = archive.world.vault(archive.owner)
    with pytest.raises((Tampered, KeyUnavailable)):
        vault.open(archive.capture_log, entry.fields["payload"])


def test_what_refuses_leaves_nothing_behind(archive: Archive) -> None:
    acts = archive.acts()
    before = len(archive.entries(acts.log))

    def refuse(_: object) -> dict[str, Any]:
        raise Refused("no")

    with pytest.raises(Refused):
        acts.append(refuse)
    assert len(archive.entries(acts.log)) == before


def test_bates_numbers_of_many_threads_and_processes_never_meet(archive: Archive) -> None:
    processes = [archive.acts() for _ in range(4)]
    start = threading.Barrier(8)

    def reserve(number: int) -> set[int]:
        start.wait()
        acts, taken = processes[number % 4], set[int]()
        for count in (1, 7, 3):
            first = acts.reserve_bates("ARC", count, f"export {number}")
            taken |= set(range(first, first + count))
        return taken

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(reserve, range(8)))
    assert set.union(*taken) == set(range(1, 8 * 11 + 1))
    assert sum(len(each) for each in taken) == 8 * 11
    assert archive.acts().reserve_bates("OTHER", 1, "x") == 1
    assert archive.damage() == []


@pytest.mark.parametrize("count", [0, -1])
def test_bates_numbers_are_not_taken_back(archive: Archive, count: int) -> None:
    with pytest.raises(Invalid):
        archive.acts().reserve_bates("ARC", count, "x")


def test_many_processes_add_sources_without_gap_or_double(archive: Archive) -> None:
    def work(number: int) -> int:
        return add(archive.acts(), number)

    with ThreadPoolExecutor(6) as pool:
        seqs = list(pool.map(work, range(12)))
    assert sorted(seqs) == list(range(1, 13))
    acts = archive.acts()
    acts.refresh()
    assert sorted(found.id for found in acts.sources()) == sorted(f"s{number}" for number in range(12))
