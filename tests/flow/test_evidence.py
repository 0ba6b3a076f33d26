"""What is seen after the 250: by a real clamd and a real resolver, appended once, waiting for nothing."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from archive_service.catalog.base import EvidenceRow
from archive_service.catalog.looks import Looker, Subject
from archive_service.catalog.sql import SqlCatalog
from archive_service.ledger.entry import Entry
from archive_service.ledger.evidence import open_evidence
from archive_service.model.errors import KeyUnavailable, LookerAway, SlotLost, StoreError, Tampered
from archive_service.model.evidence import Evidence, Look, Malware
from archive_service.model.grounds import EraseGround
from archive_service.vault import key_layout
from archive_service.vault.stores.faults import Effect
from ingest.evidence.clamd import Clamd
from ingest.evidence.dns import Dns, servers
from ingest.evidence.malware import MalwareLooker
from ingest.evidence.origin import OriginLooker
from ingest.parser_pool import ParserPool
from retention.erasure import Capture, ask
from search.evidence_desk import EvidenceDesk
from search.follower import Follower
from tests.flow.archive_fixtures import PATIENCE, mail
from tests.flow.test_follower import Base, Bench, Crash, base, changed, copied, drain, lost
from tests.services import clamd as clamd_service
from tests.services import unbound
from tests.services.clamd import clamd
from tests.services.unbound import resolver
from tests.unit.signed_mail import KEY_NAME, key_record, signed

__all__ = ["base", "clamd", "resolver"]
CAPTURES = 8  # of ``base``


@dataclass
class Told:
    """A looker that says what the test tells it to. ``open``: it waits at this gate."""

    look: Look = Look.MALWARE
    away: bool = False
    seen: list[str] = field(default_factory=list)
    again: str | None = None
    open: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.open.set()

    def at(self, subject: Subject) -> Evidence:
        assert self.open.wait(PATIENCE)
        if self.away:
            raise LookerAway("it is away", code="evidence.clamd_away")
        self.seen.append(subject.row.id)
        size = len(subject.raw)
        return Evidence(
            capture=subject.row.id,
            look=self.look,
            at="2026-03-01T12:00:00.000000Z",
            program="told",
            attempt=subject.attempt,
            again=self.again if subject.attempt == 1 else None,
            malware=Malware(result="clean", size=size) if self.look is Look.MALWARE else None,
        )


@dataclass
class Site:
    """A bench whose follower has a desk."""

    bench: Bench
    outcomes: "queue.SimpleQueue[tuple[Look, str]]" = field(default_factory=queue.SimpleQueue)
    desks: list[EvidenceDesk] = field(default_factory=list)
    skipped: float = 0.0

    def follower(self, lookers: Sequence[Looker], **more: Any) -> Follower:
        """As a new process has it."""
        follower = self.bench.follower(**more)
        parts = follower._parts
        desk = EvidenceDesk(
            parts.vault,
            parts.acts,
            parts.catalog,
            lookers,
            count=lambda look, outcome: self.outcomes.put((look, outcome)),
            monotonic=self.monotonic,
        )
        self.desks.append(desk)
        follower._parts = replace(parts, desk=desk)
        return follower

    def monotonic(self) -> float:
        """A clock that only a test moves: pauses are over when it says so."""
        return self.skipped

    def wait(self, count: int = 1) -> list[str]:
        """How the next looks ended."""
        return [self.outcomes.get(timeout=PATIENCE)[1] for _ in range(count)]

    def finish(self, follower: Follower, looks: int) -> list[str]:
        """Follow until so many looks have ended and stand in the order."""
        ended: list[str] = []
        while len(ended) < looks:
            self.skipped += 2.0
            drain(follower)
            ended += self.wait()
        drain(follower)
        return ended

    def entries(self) -> list[Entry]:
        return [entry for entry in self.bench.entries(self.bench.order) if entry.type == "evidence"]

    def opened(self) -> list[Evidence]:
        vault = self.bench.world.vault(self.bench.owner)
        return [open_evidence(vault, self.bench.order, entry)[0] for entry in self.entries()]

    def rows(self) -> list[EvidenceRow]:
        captures = [row["id"] for row in self.bench.catalog.dump() if row["table"] == "captures"]
        found = self.bench.catalog.evidence(captures)
        return sorted((row for rows in found.values() for row in rows), key=lambda row: row.order_seq)

    def waiting(self, look: Look = Look.MALWARE) -> int:
        return self.bench.catalog.backlog(look, int(self.bench.world.clock().timestamp())).waiting

    def close(self) -> None:
        for desk in self.desks:
            desk.close()


@pytest.fixture
def site(base: Base, tmp_path: Path) -> Iterator[Site]:
    catalog = SqlCatalog.sqlite(tmp_path / "catalog.sqlite")
    bench = Bench(copied(base.world), base.tenant.id, base.source, catalog)
    made = Site(bench)
    yield made
    made.close()
    catalog.close()
    bench.world.close()


@pytest.fixture(scope="module")
def cage() -> Iterator[ParserPool]:
    with ParserPool(1) as pool:
        yield pool


def scanner(site: Site, address: str, **more: Any) -> MalwareLooker:
    return MalwareLooker(Clamd(address, 20.0), site.bench.world.clock, most=10 << 20, **more)


def checker(site: Site, address: str, cage: ParserPool, seconds: float = 5.0) -> OriginLooker:
    clock = site.bench.world.clock
    dns = Dns(servers(address), clock, seconds=seconds)
    return OriginLooker(dns, cage, clock, program="test", kind_of=lambda _: site.bench.source.kind)


# --- what is seen ---------------------------------------------------------------------------------------


def test_a_mark_is_an_entry_and_changes_nothing_else(
    site: Site, clamd: clamd_service.Clamd, tmp_path: Path
) -> None:
    (bad,) = site.bench.write([mail(50, clamd_service.MARK.decode("utf-8"))])
    site.finish(site.follower([scanner(site, clamd.address)]), CAPTURES + 1)
    marked = [each for each in site.opened() if each.mark is not None]
    assert [(each.capture, each.mark) for each in marked] == [(bad.capture, "Test.Archive.UNOFFICIAL")]
    assert all(each.program.startswith("ClamAV ") for each in site.opened())
    clean = {each.capture for each in site.opened() if each.malware and each.malware.result == "clean"}
    assert len(clean) == CAPTURES
    assert [row.evidence for row in site.rows()] == [each.summary() for each in site.opened()]
    assert site.waiting() == 0 and site.bench.catalog.found_since("2026-03-01T00:00:00.000000Z") == 1
    site.bench.check(tmp_path)  # found, projected, and in the index like any other
    assert site.bench.world_damage() == []


def test_too_large_for_the_scanner_is_never_clean(site: Site, clamd: clamd_service.Clamd) -> None:
    body = "x" * (2 * clamd_service.STREAM_LIMIT)
    (large,) = site.bench.write([mail(51, body)])
    site.finish(site.follower([scanner(site, clamd.address)]), CAPTURES + 1)
    (found,) = [each for each in site.opened() if each.capture == large.capture]
    assert found.malware is not None and found.malware.result == "too_large"
    assert found.again is None


def test_a_key_that_rotates_is_still_proven(site: Site, resolver: unbound.Resolver, cage: ParserPool) -> None:
    """RFC 6376 section 3.6: keys go; what was recorded says what the record was, and the mail verifies under it."""
    resolver.put(KEY_NAME, key_record())
    (sent,) = site.bench.write([signed()])
    site.finish(site.follower([checker(site, resolver.address, cage)]), CAPTURES + 1)
    resolver.remove(KEY_NAME)
    (seen,) = [each for each in site.opened() if each.capture == sent.capture]
    assert seen.origin is not None and [each.result for each in seen.origin.dkim] == ["pass"]
    (key,) = [each for each in seen.dns if each.name == KEY_NAME]
    assert key.rcode == "NOERROR" and key.ttl == 3600 and key.resolver == resolver.address
    again, wanted = cage.origin(signed(), "", {each.name: each for each in seen.dns})
    assert wanted == [] and again.dkim == seen.origin.dkim
    (late,) = site.bench.write([signed(subject="later")])
    site.finish(site.follower([checker(site, resolver.address, cage)]), 1)
    (gone,) = [each for each in site.opened() if each.capture == late.capture]
    assert gone.origin is not None
    assert [(each.result, each.reason) for each in gone.origin.dkim] == [("permerror", "no key: NXDOMAIN")]


# --- nothing waits for it -------------------------------------------------------------------------------


def test_a_resolver_that_never_answers_holds_up_nothing(site: Site, cage: ParserPool, tmp_path: Path) -> None:
    site.bench.write([signed()])
    with unbound.silent() as address:
        follower = site.follower([checker(site, address, cage, seconds=0.2)])
        drain(follower)
        site.bench.check(tmp_path)  # all is ordered, projected and indexed while the first look still waits
        ended: list[str] = []
        while "evidence.dns_away" not in ended:
            site.skipped += 120.0
            drain(follower)
            ended += site.wait()
        drain(follower)
    waiting = site.waiting(Look.ORIGIN)
    assert waiting >= 1 and waiting == CAPTURES + 1 - len(site.entries())


def test_what_was_not_looked_at_is_looked_at_by_another_process(
    site: Site, resolver: unbound.Resolver, cage: ParserPool
) -> None:
    away = Told(away=True)
    follower = site.follower([away])
    drain(follower)
    assert site.wait() == ["evidence.clamd_away"]
    assert site.waiting() == CAPTURES and site.entries() == []
    back = Told()
    site.finish(site.follower([back]), CAPTURES)
    assert sorted(back.seen) == sorted(set(back.seen)) and len(back.seen) == CAPTURES
    assert site.waiting() == 0


def test_away_is_asked_again_when_the_pause_is_over(site: Site) -> None:
    told = Told(away=True)
    follower = site.follower([told])
    drain(follower)
    site.wait()
    drain(follower)
    assert site.outcomes.empty()
    told.away = False
    assert site.finish(follower, CAPTURES) == ["done"] * CAPTURES
    assert site.waiting() == 0


def test_clamd_gone_and_back(site: Site, clamd: clamd_service.Clamd) -> None:
    follower = site.follower([scanner(site, clamd.address)])
    with clamd.away():
        drain(follower)
        assert site.wait() == ["evidence.clamd_away"]
        assert site.waiting() == CAPTURES
    ended = site.finish(follower, CAPTURES)
    assert set(ended) == {"done"} and site.waiting() == 0


def test_a_capture_that_cannot_be_opened_holds_up_no_other(site: Site) -> None:
    drain(site.bench.follower())
    (first, *_) = [entry for entry in site.bench.entries(site.bench.log(1)) if entry.type == "capture"]
    changed(site.bench.world.objects, first.fields["object"]["key"], lambda data: data[:-1] + b"\0")
    told = Told()
    ended = site.finish(site.follower([told]), CAPTURES)
    assert sorted(set(ended)) == ["done", "integrity.object"]
    assert first.fields["capture"] not in told.seen and site.waiting() == 1


def test_a_second_look_is_made_when_its_time_has_come(site: Site) -> None:
    told = Told(again="2026-03-02T12:00:00.000000Z")
    follower = site.follower([told])
    site.finish(follower, CAPTURES)
    assert site.waiting() == 0
    site.bench.world.clock.pass_days(1)
    assert site.waiting() == CAPTURES
    site.finish(follower, CAPTURES)
    attempts = [each.attempt for each in site.opened()]
    assert attempts.count(1) == attempts.count(2) == CAPTURES and site.waiting() == 0


# --- faults ---------------------------------------------------------------------------------------------


def _looked_and_not_appended(site: Site) -> tuple[Told, Follower]:
    """A follower that has followed all there is, and whose desk has seen all there is."""
    told = Told()
    told.open.clear()
    follower = site.follower([told])
    drain(follower)
    told.open.set()
    site.wait(CAPTURES)
    return told, follower


def _strike(site: Site, effect: Effect, error: Callable[[], BaseException]) -> None:
    """The next append to the order log fails."""
    prefix = f"{key_layout.log_prefix(site.bench.order)}batch/"
    site.bench.world.plan.fail("create", 1, effect, prefix=prefix, times=1, error=error)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [Crash, lost], ids=["crash", "fault"])
@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
def test_an_append_that_fails_loses_and_doubles_nothing(
    site: Site, tmp_path: Path, effect: Effect, error: Any
) -> None:
    told, follower = _looked_and_not_appended(site)
    _strike(site, effect, error)
    if error is Crash:
        with pytest.raises(Crash):
            follower.step()
        site.bench.world.heal()
        follower = site.follower([told])
    else:
        try:
            follower.step()  # the outcome is settled by reading back
        except StoreError:
            site.bench.world.heal()
    site.skipped += 10
    drain(follower)
    missing = CAPTURES - len(site.entries())
    if missing:
        site.finish(follower, missing)
    assert sorted(each.capture for each in site.opened()) == sorted(
        row["id"] for row in site.bench.catalog.dump() if row["table"] == "captures"
    )
    assert site.waiting() == 0
    site.bench.check(tmp_path)


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
def test_a_slot_that_is_lost_leaves_the_looks_to_its_taker(
    site: Site, tmp_path: Path, effect: Effect
) -> None:
    _, follower = _looked_and_not_appended(site)
    _strike(site, effect, partial(SlotLost, "taken"))
    with pytest.raises(SlotLost):
        follower.step()
    site.bench.world.heal()
    taker = Told()
    other = site.follower([taker])
    drain(other)
    missing = CAPTURES if effect is Effect.LOST else 0
    if missing:
        site.finish(other, missing)
    assert len(taker.seen) == missing and len(site.entries()) == CAPTURES
    site.bench.check(tmp_path)


# --- projected, forgotten, tampered with ----------------------------------------------------------------


def test_evidence_is_gone_with_its_capture(site: Site) -> None:
    """GDPR article 17: barred at once, unreadable when the key is gone, no damage to ``verify``."""
    site.finish(site.follower([Told()]), CAPTURES)
    (first, *_) = site.entries()
    capture = str(first.fields["capture"])
    of = first.fields["of"]
    log = key_layout.LogId.parse(of["log"])
    ask(site.bench.acts(), [Capture(log, of["seq"], capture)], EraseGround.REQUEST, "GDPR article 17", "dpo")
    drain(site.bench.follower())
    assert site.bench.catalog.evidence([capture]) == {}
    assert all(row["capture"] != capture for row in site.bench.catalog.dump() if row["table"] == "evidence")
    keyless = key_layout.record_name(log, capture.partition("-")[0])
    for place in site.bench.world.places:
        place.delete(keyless)
    with pytest.raises(KeyUnavailable):
        open_evidence(site.bench.world.vault(site.bench.owner), site.bench.order, first)


def test_a_barred_capture_is_not_looked_at(site: Site) -> None:
    drain(site.bench.follower())
    told = Told()
    follower = site.follower([told])
    (first, *_) = [entry for entry in site.bench.entries(site.bench.log(1)) if entry.type == "capture"]
    where = Capture(site.bench.log(1), first.seq, str(first.fields["capture"]))
    ask(site.bench.acts(), [where], EraseGround.REQUEST, "GDPR article 17", "dpo")
    site.finish(follower, CAPTURES - 1)
    assert where.id not in told.seen


def test_a_projection_made_again_has_the_same_evidence(site: Site, tmp_path: Path) -> None:
    site.finish(site.follower([Told(), Told(look=Look.ORIGIN)]), 2 * CAPTURES)
    site.bench.check(tmp_path)
    again = [row for row in site.bench.catalog.dump() if row["table"] == "evidence"]
    assert len(again) == 2 * CAPTURES


@pytest.mark.parametrize("field", ["payload", "commit", "capture"])
def test_tamper_with_evidence_is_named(site: Site, tmp_path: Path, field: str) -> None:
    site.finish(site.follower([Told()]), CAPTURES)
    vault = site.bench.world.vault(site.bench.owner)
    order = site.bench.world.slots(site.bench.owner, "order").take()
    one, two = site.entries()[:2]
    own = ("log", "seq", "prev", "time", "type", "version")
    fields = {name: value for name, value in one.fields.items() if name not in own}
    (forged,) = order.append([("evidence", {**fields, field: two.fields[field]})])
    with pytest.raises((Tampered, KeyUnavailable)):
        open_evidence(vault, site.bench.order, forged)
    assert (str(site.bench.order), forged.seq) in {
        (found.log, found.seq) for found in site.bench.world_damage()
    }
    before = len(site.rows())
    drain(site.bench.follower())
    assert len(site.rows()) == before


def test_scanned_once_more_after_so_long(site: Site, clamd: clamd_service.Clamd) -> None:
    """A signature that came late finds what an older one did not."""
    (late,) = site.bench.write([mail(60, "known tomorrow: 0123456789")])
    follower = site.follower([scanner(site, clamd.address, again=timedelta(hours=24))])
    site.finish(follower, CAPTURES + 1)
    assert all(each.mark is None for each in site.opened())
    with clamd.away():
        clamd.marks["Test.Late"] = b"known tomorrow: 0123456789"
    try:
        site.bench.world.clock.pass_days(1)
        site.finish(follower, CAPTURES + 1)
    finally:
        del clamd.marks["Test.Late"]
    marked = [(each.capture, each.attempt) for each in site.opened() if each.mark == "Test.Late.UNOFFICIAL"]
    assert marked == [(late.capture, 2)] and site.waiting() == 0
