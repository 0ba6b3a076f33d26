"""The follower: every capture exactly one finding, and rows equal to a clean run, whatever step a crash hits."""

import hashlib
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from archive_service.bootstrap import Tenant, add_source, make_tenant
from archive_service.catalog.compare import compare_catalogs
from archive_service.catalog.sql import SqlCatalog
from archive_service.ledger.acts import Acts
from archive_service.ledger.capture_writer import Captured, CaptureDraft, CaptureWriter
from archive_service.ledger.entry import Entry
from archive_service.ledger.reader import LogReader, logs
from archive_service.ledger.verify.archive import ArchiveVerifier, Stores
from archive_service.ledger.verify.report import Problem, Report, Severity
from archive_service.model.canonical import canonical
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError, SlotLost, StoreError
from archive_service.model.grounds import EraseGround
from archive_service.model.mail import CaptureRecord, Parsed, Source, SourceKind, Text
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId, record_name
from archive_service.vault.stores.base import Lock
from archive_service.vault.stores.faults import Effect
from archive_service.vault.stores.memory import MemoryKeyPlace, MemoryStore
from ingest.identity import message_id
from ingest.parser_pool import ParserPool
from retention.erasure import Capture, ask
from search import follower as follower_module
from search import orderer as orderer_module
from search import projector as projector_module
from search.follower import Follower, FollowerParts
from search.indexes.base import IndexDocument
from search.orderer import Interpreter, Orderer
from search.projector import Projector, RowsOnly
from search.side_by_side import outcomes
from tests.flow.archive_fixtures import PATIENCE, SAMPLES, Here, mail
from tests.unit.core_world import World

POISON = (sys.executable, "-P", str(Path(__file__).parents[1] / "unit" / "parser_poison.py"))
STEPS = ("create", "apply", "write", "indexed")
MAILS = [path.read_bytes() for path in sorted(SAMPLES.glob("*.eml"))]


class Crash(BaseException):
    """The process is gone; nothing catches this."""


def lost() -> Exception:
    return StoreError("a planned fault")


@dataclass
class Struck:
    """Passes every call on, but the ``nth`` call of ``verb`` fails, before or after it took effect."""

    inner: Any
    verb: str
    nth: int
    effect: Effect = Effect.LOST
    error: Callable[[], BaseException] = Crash
    seen: int = 0

    def __getattr__(self, name: str) -> Any:
        target = getattr(self.inner, name)
        return partial(self._call, target) if name == self.verb else target

    def _call(self, target: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        self.seen += 1
        if self.seen != self.nth:
            return target(*arguments, **more)
        if self.effect is Effect.KEPT:
            target(*arguments, **more)
        raise self.error()


class MemoryIndex:
    """A search index of which only the writing matters."""

    def __init__(self) -> None:
        self.documents: dict[str, IndexDocument] = {}

    def write(self, documents: Sequence[IndexDocument]) -> None:
        for document in documents:
            known = self.documents.get(document.id)
            if known is None or known.version <= document.version:
                self.documents[document.id] = document

    def remove(self, ids: Sequence[str]) -> None:
        for name in ids:
            self.documents.pop(name, None)

    def ids(self) -> dict[str, int]:
        return {name: document.version for name, document in self.documents.items()}

    def search(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the follower does not search")

    def clear(self) -> None:
        self.documents.clear()


@dataclass
class Bench:
    """A tenant in memory, its catalog in a file, and what the tests do with them."""

    world: World
    owner: str
    source: Source
    catalog: SqlCatalog
    index: MemoryIndex = field(default_factory=MemoryIndex)
    reads: int = 0
    width: int = 1

    @property
    def order(self) -> LogId:
        return LogId(self.owner, "order-1")

    def log(self, number: int = 1) -> LogId:
        return LogId(self.owner, f"capture-{number}")

    def write(self, mails: Sequence[bytes], slots: int = 0, source: Source | None = None) -> list[Captured]:
        """Archive mails; with ``slots`` lower ones are somebody else's."""
        world = self.world
        taken = world.slots(self.owner, "capture")
        taken._lost = dict.fromkeys(range(1, slots + 1), world.clock())
        writer = CaptureWriter(world.store, world.keyring(self.owner), taken, world.clock)
        try:
            waiting = [writer.submit(self._draft(source or self.source), raw) for raw in mails]
            return [each.result(PATIENCE) for each in waiting]
        finally:
            writer.close()

    def _draft(self, source: Source) -> CaptureDraft:
        record = CaptureRecord(
            capture="",
            source=source.id,
            received_at=rfc3339(self.world.clock()),
            mail_from="anne@exemple.fr",
            rcpt_to=("j@archive",),
        )
        return CaptureDraft(record, Lock(), 1)

    def acts(self) -> Acts:
        return Acts(self.world.vault(self.owner), self.owner, self.world.policy)

    def follower(
        self,
        *,
        catalog: Any = None,
        index: Any = None,
        interpreter: Interpreter | None = None,
        lease: Callable[[str], bool] | None = None,
    ) -> Follower:
        """As a new process has it: nothing cached."""
        keyring = self.world.keyring(self.owner)
        key = keyring.secret("identity")
        slots = self.world.slots(self.owner, "order")
        slots._lease = lease or (lambda _: True)
        parts = FollowerParts(
            vault=self.world.vault(self.owner),
            acts=self.acts(),
            slots=slots,
            catalog=catalog or self.catalog,
            index=index or self.index,
            interpreter=interpreter or Here(),
            identify=lambda digest, version: message_id(key, digest, version),
            width=self.width,
        )
        return Follower(parts)

    def entries(self, log: LogId) -> list[Entry]:
        return list(LogReader(self.world.objects, log).entries())

    def findings(self) -> list[tuple[str, int]]:
        """Of which captures, in order."""
        found = [entry for entry in self.entries(self.order) if entry.type == "finding"]
        return [(entry.fields["of"]["log"], entry.fields["of"]["seq"]) for entry in found]

    def captures(self) -> set[tuple[str, int]]:
        found = [log for log in logs(self.world.objects, self.owner) if log.kind == "capture"]
        return {(str(log), e.seq) for log in found for e in self.entries(log) if e.type == "capture"}

    def claims(self) -> int:
        return sum(entry.type == "claim" for entry in self.entries(self.order))

    def check(self, tmp_path: Path, *, without: frozenset[tuple[str, int]] = frozenset()) -> None:
        """Every capture has exactly one finding; rows and index are what the logs give."""
        found = self.findings()
        assert len(found) == len(set(found))
        assert set(found) == self.captures() - without
        again = SqlCatalog.sqlite(tmp_path / "again.sqlite")
        try:
            rows = RowsOnly(self.world.vault(self.owner), self.acts(), self.order, again)
            report = Report()
            compare_catalogs(self.catalog, again, rows.run_to, self.index.ids, report)
        finally:
            again.close()
        assert report.problems == []
        position = self.catalog.position()
        assert position.rows == position.indexed == len(self.entries(self.order))

    def world_damage(self) -> list[Problem]:
        """What verify says of the ledger, notes aside. The tests here make no checkpoints."""
        world = self.world
        stores = Stores(world.objects, world.keys, world.kms, world.clock)
        problems = ArchiveVerifier(stores, Report()).run().problems
        return [problem for problem in problems if problem.severity is Severity.DAMAGE]

    def content(self) -> list[dict[str, Any]]:
        """All rows without what a claim more or less moves: places in the order become ranks."""
        rows = [dict(row) for row in self.catalog.dump()]
        places = sorted(row["order_seq"] for row in rows if row["table"] == "captures")
        for row in rows:
            for name in ("order_seq", "version"):
                if name in row:
                    row[name] = places.index(row[name])
            row.pop("rank", None)
        return rows


def copied(world: World) -> World:
    """A world of its own with the same in its stores."""
    made = World()

    def place(old: MemoryKeyPlace, new: MemoryKeyPlace) -> None:
        new._records.update(old._records)

    for old, new in zip((*world.places, world.kms_place), (*made.places, made.kms_place), strict=True):
        place(old, new)
    for key, versions in world.objects._objects.items():
        made.objects._objects[key] = list(versions)
    return made


@dataclass(frozen=True)
class Base:
    world: World
    tenant: Tenant
    source: Source


@pytest.fixture(scope="module")
def base() -> Iterator[Base]:
    """One tenant with a source and eight captures in two logs, none of them followed."""
    world = World()
    tenant = make_tenant(world.core(), "acme")
    source, _ = add_source(tenant, "journal", SourceKind.M365, "archive.localhost")
    bench = Bench(world, tenant.id, source, catalog=None)  # type: ignore[arg-type]
    bench.write(MAILS[:3])
    bench.write([mail(1), mail(2)], slots=1)
    bench.write(MAILS[3:5])
    bench.write([mail(3)], slots=2)
    yield Base(world, tenant, source)
    world.close()


@pytest.fixture(params=[1, 3], ids=["one_by_one", "side_by_side"])
def bench(base: Base, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    catalog = SqlCatalog.sqlite(tmp_path / "catalog.sqlite")
    made = Bench(copied(base.world), base.tenant.id, base.source, catalog, width=request.param)
    yield made
    catalog.close()
    made.world.close()


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entries at a time, so that there are many steps to crash in."""
    monkeypatch.setattr(follower_module, "Orderer", partial(Orderer, most=2))
    monkeypatch.setattr(projector_module, "_GATHERED", 2)


def drain(follower: Follower) -> int:
    total = 0
    while taken := follower.step():
        total += taken
    return total


def die(follower: Follower) -> None:
    """Drain until it crashes; what it was writing beside has ended too, for the dead write nothing."""
    with pytest.raises(Crash):
        drain(follower)
    with suppress(Crash):
        follower._projector.settle()


def changed(store: MemoryStore, key: str, change: Callable[[bytes], bytes]) -> None:
    """As an attacker with the medium would."""
    (version,) = store._objects[key]
    store._objects[key] = [type(version)(version.stored, change(version.data), version.lock)]


# --- a clean run ----------------------------------------------------------------------------------------


def test_all_is_taken_once(bench: Bench, tmp_path: Path) -> None:
    follower = bench.follower()
    assert drain(follower) > 0
    assert follower.step() == 0
    bench.check(tmp_path)
    assert len(bench.findings()) == 8 and bench.claims() == 1
    assert [row["id"] for row in bench.catalog.dump() if row["table"] == "sources"] == [bench.source.id]


def test_what_comes_later_is_taken_too(bench: Bench, tmp_path: Path) -> None:
    follower = bench.follower()
    drain(follower)
    bench.write([mail(7)])
    assert follower.step() > 0
    bench.check(tmp_path)
    assert bench.claims() == 1


def test_small_steps_come_to_the_same(bench: Bench, small_steps: None, tmp_path: Path) -> None:
    drain(bench.follower())
    bench.check(tmp_path)
    assert {row["id"] for row in bench.catalog.dump() if row["table"] == "captures"}


def test_a_busy_log_does_not_hold_up_the_others(bench: Bench, small_steps: None) -> None:
    """Every step has room for two entries, and the first log always has more."""
    follower = bench.follower()
    for number in range(6):
        bench.write([mail(100 + number)] * 3)
        follower.step()
    assert {log for log, _ in bench.findings()} >= {str(bench.log(1)), str(bench.log(2)), str(bench.log(3))}


def test_two_captures_of_one_message_merge(bench: Bench, tmp_path: Path) -> None:
    """A bifurcated journal: the same mail, two reports, other recipients."""
    first = (SAMPLES / "m365-recipient-fork.eml").read_bytes()
    second = first.replace(b"Recipient: export@example.fr", b"Recipient: douane@example.fr")
    assert second != first
    bench.write([first])
    follower = bench.follower()
    drain(follower)
    bench.write([second])
    drain(follower)
    bench.check(tmp_path)
    (message,) = [
        row for row in bench.catalog.dump() if row["table"] == "messages" and "devis" in row["subject"]
    ]
    addresses = {each["address"] for each in message["recipients"] if each["on_report"]}
    assert {"export@example.fr", "douane@example.fr"} <= addresses
    (row,) = bench.catalog.messages([message["id"]])
    assert len(row.captures) >= 2
    document = bench.index.documents[message["id"]]
    assert document.version == row.version == max(each.order_seq for each in row.captures)
    assert {"export@example.fr", "douane@example.fr"} <= set(document.other_recipients)


def test_a_projection_made_again_is_the_same(bench: Bench, small_steps: None, tmp_path: Path) -> None:
    """What ``rebuild`` does: rows, ids, documents and their words."""
    drain(bench.follower())
    catalog, index = SqlCatalog.sqlite(tmp_path / "rebuilt.sqlite"), MemoryIndex()
    try:
        vault = bench.world.vault(bench.owner)
        projector = Projector(vault, bench.acts(), bench.order, catalog, index, Here())
        seen: list[int] = []
        assert projector.run(seen.append) == sum(seen) == len(bench.entries(bench.order))
        assert list(catalog.dump()) == list(bench.catalog.dump())
        assert catalog.position() == bench.catalog.position()
        assert catalog.took() == bench.catalog.took()
    finally:
        catalog.close()
    assert index.documents == bench.index.documents


# --- crashes at every step ------------------------------------------------------------------------------


def struck(bench: Bench, verb: str, nth: int, effect: Effect, error: Callable[[], BaseException]) -> Follower:
    """A follower whose nth order append, catalog write, index write or index note fails."""
    if verb == "create":
        prefix = f"{key_layout.log_prefix(bench.order)}batch/"
        if (
            effect is Effect.KEPT and error is lost
        ):  # durable, but the answer is lost and nothing can be read back
            bench.world.plan.fail("read", nth=1, prefix=prefix, times=None).meets = armed(bench, nth, prefix)  # type: ignore[method-assign]
        times = None if effect is Effect.LOST and error is lost else 1
        bench.world.plan.fail("create", nth, effect, prefix=prefix, times=times, error=error)  # type: ignore[arg-type]
        return bench.follower()
    catalog = Struck(bench.catalog, verb, nth, effect, error)
    index = Struck(bench.index, verb, nth, effect, error)
    return bench.follower(catalog=catalog, index=index)


def armed(bench: Bench, nth: int, prefix: str) -> Callable[[Any], bool]:
    """Reads of order batches fail from the nth creation on, until the world is healed."""

    def meets(call: Any) -> bool:
        calls = bench.world.plan._calls
        created = sum(each.verb == "create" and each.keys[0].startswith(prefix) for each in calls)
        return call.verb == "read" and created >= nth and call.keys[0].startswith(prefix)

    return meets


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
@pytest.mark.parametrize("nth", [1, 2, 3, 5])
@pytest.mark.parametrize("verb", STEPS)
def test_after_a_crash_a_new_process_goes_on(
    bench: Bench, base: Base, small_steps: None, tmp_path: Path, verb: str, nth: int, effect: Effect
) -> None:
    die(struck(bench, verb, nth, effect, Crash))
    bench.world.heal()
    drain(bench.follower())
    bench.check(tmp_path)
    assert same_as_clean(bench, base, tmp_path)


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
@pytest.mark.parametrize("nth", [1, 2, 3, 5])
@pytest.mark.parametrize("verb", STEPS)
def test_after_a_fault_the_same_process_goes_on(
    bench: Bench, base: Base, small_steps: None, tmp_path: Path, verb: str, nth: int, effect: Effect
) -> None:
    follower = struck(bench, verb, nth, effect, lost)
    with pytest.raises(StoreError):
        drain(follower)
    bench.world.heal()
    drain(follower)
    bench.check(tmp_path)
    assert same_as_clean(bench, base, tmp_path)


def same_as_clean(bench: Bench, base: Base, tmp_path: Path) -> bool:
    """Rows and words as a run without faults over the same captures gives them. Which log comes first in a step is
    free; the messages are not."""
    clean = Bench(
        copied(base.world), base.tenant.id, base.source, SqlCatalog.sqlite(tmp_path / "clean.sqlite")
    )
    try:
        drain(clean.follower())
        rows = {row["id"]: unplaced(row) for row in clean.content()}
        assert {row["id"]: unplaced(row) for row in bench.content()} == rows
    finally:
        clean.catalog.close()
        clean.world.close()
    words = {name: (each.subject, each.body, each.to) for name, each in clean.index.documents.items()}
    return words == {name: (each.subject, each.body, each.to) for name, each in bench.index.documents.items()}


def unplaced(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in {"order_seq", "version"}}


def test_a_crash_in_the_middle_of_an_act_range(bench: Bench, small_steps: None, tmp_path: Path) -> None:
    """A second source while following; the crash falls on the batch that takes its act."""
    drain(bench.follower())
    bench.world.plan.fail("create", prefix=f"{key_layout.log_prefix(bench.order)}batch/", error=Crash)  # type: ignore[arg-type]
    acts = bench.acts()
    tenant = Tenant(bench.owner, bench.world.keyring(bench.owner), bench.world.vault(bench.owner), acts)
    other, _ = add_source(tenant, "autre", SourceKind.GENERIC, "archive.localhost")
    bench.write([mail(40)], source=other)
    die(bench.follower())
    drain(bench.follower())
    bench.check(tmp_path)
    assert {row["id"] for row in bench.catalog.dump() if row["table"] == "sources"} == {
        bench.source.id,
        other.id,
    }


def test_a_failing_step_does_not_fill_the_order_log(bench: Bench) -> None:
    """Retries claim the slot once, not once a try."""
    follower = bench.follower()
    drain(follower)
    bench.write([mail(60)])
    bench.world.plan.fail("read", prefix=f"objects/{bench.owner}/", times=None)
    for _ in range(5):
        with pytest.raises(StoreError):
            follower.step()
    bench.world.heal()
    drain(follower)
    assert bench.claims() == 1 and len(bench.findings()) == 9


def test_a_failing_start_does_not_fill_the_order_log(bench: Bench) -> None:
    follower = bench.follower(catalog=Struck(bench.catalog, "position", 0))
    bench.world.plan.fail("read", prefix=f"{key_layout.log_prefix(bench.log())}batch/", times=None)
    for _ in range(5):
        with pytest.raises(StoreError):
            follower.step()
    bench.world.heal()
    drain(follower)
    assert bench.claims() == 1 and len(bench.findings()) == 8


# --- damage ---------------------------------------------------------------------------------------------


def test_a_damaged_object_does_not_stop_the_line(bench: Bench, tmp_path: Path) -> None:
    entry = next(entry for entry in bench.entries(bench.log()) if entry.type == "capture")
    changed(bench.world.objects, entry.fields["object"]["key"], lambda data: data[:-1] + b"x" + data[-1:])
    follower = bench.follower()
    drain(follower)
    assert follower.unreadable == 1
    bench.check(tmp_path, without=frozenset({(str(bench.log()), entry.seq)}))


def damaged_object(bench: Bench) -> tuple[Entry, Callable[[], None]]:
    """One capture's object, damaged; and how it is mended from a replica."""
    entry = next(entry for entry in bench.entries(bench.log()) if entry.type == "capture")
    key = entry.fields["object"]["key"]
    whole = bench.world.objects.read(key)
    changed(bench.world.objects, key, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    return entry, lambda: changed(bench.world.objects, key, lambda data: whole)


def test_what_was_mended_is_found_after_all(bench: Bench, tmp_path: Path) -> None:
    entry, mend = damaged_object(bench)
    follower = bench.follower()
    drain(follower)
    assert bench.catalog.unread() == [(str(bench.log()), entry.seq)]
    took = bench.catalog.took()
    drain(bench.follower())
    assert bench.catalog.unread() == [(str(bench.log()), entry.seq)]  # tried again, in vain
    mend()
    again = bench.follower()
    drain(again)
    assert bench.catalog.unread() == [] and bench.catalog.took() == took
    bench.check(tmp_path)
    drain(bench.follower())
    bench.check(tmp_path)
    assert bench.world_damage() == []


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
@pytest.mark.parametrize("verb", STEPS)
def test_a_crash_while_it_is_tried_again(bench: Bench, tmp_path: Path, verb: str, effect: Effect) -> None:
    _, mend = damaged_object(bench)
    drain(bench.follower())
    mend()
    nth = 2 if verb == "create" else 1  # the first append is the claim
    die(struck(bench, verb, nth, effect, Crash))
    bench.world.heal()
    drain(bench.follower())
    bench.check(tmp_path)


def test_verify_tells_what_waits_from_what_was_passed_over(bench: Bench) -> None:
    entry, mend = damaged_object(bench)
    drain(bench.follower())
    assert {(found.what, found.seq) for found in bench.world_damage()} == {("object", entry.seq)}
    mend()
    assert bench.world_damage() == []  # it waits: a note
    (hidden,) = bench.write([mail(90)], slots=1)
    order = bench.world.slots(bench.owner, "order").take()
    order.append([("took", {"of": {"log": str(hidden.log), "from": 0, "to": hidden.seq + 1}})])
    assert [(found.what, found.log, found.seq) for found in bench.world_damage()] == [
        ("order", str(hidden.log), hidden.seq)
    ]


def test_a_lost_key_record_does_not_stop_the_line(bench: Bench, tmp_path: Path) -> None:
    entries = [entry for entry in bench.entries(bench.log(2)) if entry.type == "capture"]
    batches = {entry.fields["capture"].partition("-")[0] for entry in entries}
    for batch in batches:
        for place in bench.world.places:
            place.delete(key_layout.record_name(bench.log(2), batch))
    follower = bench.follower()
    drain(follower)
    assert follower.unreadable == len(entries)
    bench.check(tmp_path, without=frozenset((str(bench.log(2)), entry.seq) for entry in entries))


def test_a_key_store_that_is_away_stops_the_line_until_it_is_back(bench: Bench, tmp_path: Path) -> None:
    """A disk that is not mounted looks like records that never were: no capture may be passed over for that."""
    follower = bench.follower()
    drain(follower)
    bench.write([mail(70)])
    away = [dict(place._records) for place in bench.world.places]
    for place in bench.world.places:
        place._records.clear()
    for _ in range(2):
        with pytest.raises(StoreError):
            follower.step()
    for place, records in zip(bench.world.places, away, strict=True):
        place._records.update(records)
    drain(follower)
    assert follower.unreadable == 0
    bench.check(tmp_path)


def test_a_damaged_batch_holds_up_its_own_log_only(bench: Bench) -> None:
    key = key_layout.batch_key(bench.log(1), 1)
    whole = bench.world.objects.read(key)
    changed(bench.world.objects, key, lambda data: data.replace(b'"type"', b'"tipe"', 1))
    follower = bench.follower()
    drain(follower)
    found = {log for log, _ in bench.findings()}
    assert found == {str(bench.log(2)), str(bench.log(3))}
    changed(bench.world.objects, key, lambda data: whole)  # repaired, from a replica
    drain(follower)
    assert set(bench.findings()) == bench.captures()


def test_a_capture_of_an_unknown_source_does_not_stop_the_line(bench: Bench, tmp_path: Path) -> None:
    (stray,) = bench.write([mail(80)], source=bench.source.model_copy(update={"id": "s0"}))
    bench.write([mail(81)])
    follower = bench.follower()
    drain(follower)
    assert follower.unreadable == 1
    bench.check(tmp_path, without=frozenset({(str(stray.log), stray.seq)}))


def test_a_source_made_while_a_step_is_under_way_is_known(bench: Bench, tmp_path: Path) -> None:
    follower = bench.follower()
    drain(follower)
    tenant = Tenant(
        bench.owner, bench.world.keyring(bench.owner), bench.world.vault(bench.owner), bench.acts()
    )
    refresh = follower._parts.acts.refresh
    made: list[Source] = []

    def first_then_grow() -> int:
        seen = refresh()
        if not made:
            made.append(add_source(tenant, "jeune", SourceKind.GENERIC, "archive.localhost")[0])
            bench.write([mail(90)], source=made[0])
        return seen

    follower._parts.acts.refresh = first_then_grow  # type: ignore[method-assign]
    drain(follower)
    assert follower.unreadable == 0
    bench.check(tmp_path)


def test_a_damaged_finding_gives_no_row_and_stops_no_others(bench: Bench, tmp_path: Path) -> None:
    """So that one flipped byte does not stand in the way of a rebuild."""
    drain(bench.follower())
    batch = key_layout.batch_key(bench.order, 1)
    (damaged, *_) = [entry for entry in bench.entries(bench.order) if entry.type == "finding"]
    sealed = damaged.fields["payload"]["sealed"].encode()
    other = sealed[:50] + (b"A" if sealed[50:51] != b"A" else b"B") + sealed[51:]
    lines = bench.world.objects.read(batch).splitlines(keepends=True)
    assert len(lines) > 2
    changed(bench.world.objects, batch, lambda data: rechained(data.replace(sealed, other)))
    catalog = SqlCatalog.sqlite(tmp_path / "rebuilt.sqlite")
    try:
        vault = bench.world.vault(bench.owner)
        projector = Projector(vault, bench.acts(), bench.order, catalog, MemoryIndex(), Here())
        projector.run()
        assert projector.unreadable == 1
        rows = {row["id"] for row in catalog.dump() if row["table"] == "captures"}
    finally:
        catalog.close()
    before = {row["id"] for row in bench.catalog.dump() if row["table"] == "captures"}
    assert before - rows == {damaged.fields["capture"]}


def rechained(data: bytes) -> bytes:
    """Lines whose ``prev`` fits again: only the payload is wrong."""
    lines, prev = [], ""
    for line in data.splitlines():
        fields = json.loads(line)
        if prev:
            fields["prev"] = prev
        made = canonical(fields)
        prev = hashlib.sha256(made).hexdigest()
        lines.append(made + b"\n")
    return b"".join(lines)


def test_a_rebuild_says_of_what_it_cannot_read_that_it_is_not_indexed(bench: Bench, tmp_path: Path) -> None:
    """The finding is whole, so the row stands; the words are gone with the object."""
    drain(bench.follower())
    entry = next(entry for entry in bench.entries(bench.log(2)) if entry.type == "capture")
    changed(bench.world.objects, entry.fields["object"]["key"], lambda data: b"")
    catalog, index = SqlCatalog.sqlite(tmp_path / "rebuilt.sqlite"), MemoryIndex()
    try:
        vault = bench.world.vault(bench.owner)
        Projector(vault, bench.acts(), bench.order, catalog, index, Here()).run()
        row = catalog.capture(entry.fields["capture"])
    finally:
        catalog.close()
    assert row is not None
    assert index.documents[row.finding.message].not_fully_indexed
    assert index.documents[row.finding.message].subject == row.finding.parsed.subject


# --- poison ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "reason"), [(b"HANG", "timeout"), (b"CRASH", "crash")])
def test_a_mail_that_breaks_its_parser_gets_a_finding_all_the_same(
    bench: Bench, tmp_path: Path, word: bytes, reason: str
) -> None:
    (poisoned,) = bench.write([word + b" 1\r\nSubject: empoisonn\xc3\xa9\r\n\r\nbody"])
    seconds = 0.5 if reason == "timeout" else PATIENCE
    with ParserPool(timeout=seconds, memory_bytes=1 << 30, command=POISON) as pool:
        follower = bench.follower(interpreter=Patient(pool, poisoned.capture))
        drain(follower)
    assert follower.unreadable == 0
    bench.check(tmp_path)
    row = bench.catalog.capture(poisoned.capture)
    assert row is not None
    assert row.finding.parsed.flags == ("partly_parsed",)
    assert (row.finding.parsed.inner_start, row.finding.parsed.subject) == (0, "")
    assert bench.index.documents[row.finding.message].not_fully_indexed


@dataclass
class Patient:
    """Gives a pool the one mail that it is about, so that a busy machine breaks no other by time."""

    pool: ParserPool
    capture: str

    def interpret(self, raw: bytes, kind: SourceKind, record: CaptureRecord) -> tuple[Parsed, Text]:
        chosen = self.pool if record.capture == self.capture else Here()
        return chosen.interpret(raw, kind, record)

    def extract(self, raw: bytes, parsed: Parsed) -> Text:
        return Here().extract(raw, parsed)


@dataclass
class Meeting:
    """Reads a mail only when another one is being read too."""

    together: threading.Barrier

    def interpret(self, raw: bytes, kind: SourceKind, record: CaptureRecord) -> tuple[Parsed, Text]:
        self.together.wait(PATIENCE)
        return Here().interpret(raw, kind, record)

    def extract(self, raw: bytes, parsed: Parsed) -> Text:
        return Here().extract(raw, parsed)


def test_captures_are_read_side_by_side_and_stand_in_their_order(bench: Bench, tmp_path: Path) -> None:
    bench.width = 2
    bench.write([mail(number) for number in range(10, 19)])
    interpreter = Meeting(threading.Barrier(1))
    several, pairs = outcomes, []

    def readings(width: int, work: Callable[[Entry], Any], captures: list[Entry]) -> Any:
        pairs.append(len(captures) % 2 == 0 and len(captures) > 0)
        interpreter.together = threading.Barrier(2 if pairs[-1] else 1)
        return several(width, work, captures)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(orderer_module, "outcomes", readings)
        drain(bench.follower(interpreter=interpreter))
    assert any(pairs)
    for log in {log for log, _ in bench.findings()}:
        places = [seq for of, seq in bench.findings() if of == log]
        assert places == sorted(places)
    bench.check(tmp_path)


@dataclass
class Waiting(MemoryIndex):
    """Writes nothing before ``go``."""

    go: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__()

    def write(self, documents: Sequence[IndexDocument]) -> None:
        assert self.go.wait(PATIENCE)
        super().write(documents)


@pytest.mark.parametrize(
    ("owner", "name", "most"), [(Projector, "_next", 2), (Orderer, "step", 200)], ids=["rows", "order"]
)
def test_documents_are_written_beside_what_comes_next(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, most: int
) -> None:
    """And a step that says that nothing is left to do has waited for them."""
    bench.index = index = Waiting()
    monkeypatch.setattr(follower_module, "Orderer", partial(Orderer, most=most))
    follower = bench.follower()
    whole = getattr(owner, name)

    def going_on(self: Any, *arguments: Any) -> Any:
        if follower._projector.writing:
            index.go.set()
        return whole(self, *arguments)

    monkeypatch.setattr(owner, name, going_on)
    drain(follower)
    assert not follower._projector.writing
    bench.check(tmp_path)


def test_an_index_that_is_away_does_not_hold_up_the_order(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector_module, "_PATIENCE", 0.01)
    bench.index = index = Waiting()
    follower = bench.follower()
    try:
        while len(bench.findings()) < len(bench.captures()):
            assert follower.step()
        (late,) = bench.write([mail(50)])
        while bench.catalog.capture(late.capture) is None:
            assert follower.step()
        assert index.ids() == {}
    finally:
        index.go.set()
    drain(follower)
    bench.check(tmp_path)


def test_a_pool_that_cannot_start_stops_the_line(bench: Bench, tmp_path: Path) -> None:
    """That is no mail's fault: nothing may be flagged for it."""
    with ParserPool(command=(sys.executable, "-c", "raise SystemExit(1)")) as pool:
        follower = bench.follower(interpreter=pool)
        with pytest.raises(ArchiveError) as failed:
            follower.step()
    assert failed.value.code == "parse.worker"
    assert bench.findings() == []
    drain(bench.follower())
    bench.check(tmp_path)


# --- two followers --------------------------------------------------------------------------------------


class Leases:
    """One holder a name, as the kernel has it for processes."""

    def __init__(self) -> None:
        self.holder: dict[str, str] = {}

    def of(self, process: str) -> Callable[[str], bool]:
        def lease(name: str) -> bool:
            if not name.endswith("/order-1"):
                raise SlotLost("another follower is active")
            return self.holder.setdefault(name, process) == process

        return lease


def test_a_second_follower_stands_by_and_takes_over(bench: Bench, tmp_path: Path) -> None:
    leases = Leases()
    first = bench.follower(lease=leases.of("first"))
    drain(first)
    index = Struck(bench.index, "write", 1, error=AssertionError)
    catalog = Struck(bench.catalog, "apply", 1, error=AssertionError)
    second = bench.follower(lease=leases.of("second"), catalog=catalog, index=index)
    bench.write([mail(20)])
    for _ in range(3):
        with pytest.raises(SlotLost):
            second.step()  # and writes neither rows nor documents
    drain(first)
    assert bench.claims() == 1
    bench.write([mail(21)])
    catalog.nth = index.nth = 0
    leases.holder.clear()  # the first process has gone
    drain(second)
    bench.check(tmp_path)
    assert bench.claims() == 2


def test_who_stands_by_says_so_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    leases, stop, failures = Leases(), threading.Event(), []
    drain(bench.follower(lease=leases.of("first")))

    def failed(error: ArchiveError) -> None:
        failures.append(error.code)
        if len(failures) == 5:
            stop.set()

    bench.follower(lease=leases.of("second")).run(stop, 0.0, failed)
    assert failures == ["ledger.slot_lost"] * 5
    said = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert said == ["follower: ledger.slot_lost"]


def test_a_follower_whose_slot_was_taken_loses_its_next_append(bench: Bench, tmp_path: Path) -> None:
    """Two that both believe they are active (a lease that failed): the log decides, nothing is found twice."""
    first, second = bench.follower(), bench.follower()
    drain(first)
    bench.write([mail(30), mail(31)])
    drain(second)
    bench.write([mail(32)])
    with pytest.raises(SlotLost):
        first.step()
    drain(second)
    bench.check(tmp_path)
    bench.write([mail(33)])
    drain(first)
    bench.check(tmp_path)


# --- the loop -------------------------------------------------------------------------------------------


def test_the_loop_goes_on_after_a_failure_and_stops_when_told(bench: Bench, tmp_path: Path) -> None:
    bench.world.plan.fail("read", nth=3, prefix=f"objects/{bench.owner}/")
    follower, stop, failures = bench.follower(), threading.Event(), []
    whole = len(bench.captures())

    class Done(MemoryIndex):
        def write(self, documents: Sequence[IndexDocument]) -> None:
            super().write(documents)
            if sum(1 for _ in documents) and len(bench.findings()) == whole:
                stop.set()

    bench.index = Done()
    follower = bench.follower()
    thread = threading.Thread(target=follower.run, args=(stop, 0.001, failures.append))
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert [error.code for error in failures] == ["store.failed"]
    drain(follower)
    bench.check(tmp_path)


def test_gdpr_article_17_what_an_act_bars_leaves_rows_and_index_and_a_rebuild_agrees(
    bench: Bench, tmp_path: Path
) -> None:
    bench.write([mail(1)])
    follower = bench.follower()
    while follower.step():
        pass
    before = {row["id"]: row for row in bench.catalog.dump() if row["table"] == "captures"}
    merged = next(
        message
        for message in bench.catalog.messages([row["message"] for row in before.values()])
        if len(message.captures) > 1
    )
    newest = merged.captures[-1]
    alone = next(
        message
        for message in bench.catalog.messages([row["message"] for row in before.values()])
        if len(message.captures) == 1
    ).captures[0]
    barred = [Capture(LogId.parse(each.log), each.seq, each.id) for each in (newest, alone)]
    ask(bench.acts(), barred, EraseGround.REQUEST, "GDPR article 17", "dpo")
    while follower.step():
        pass
    assert not {newest.id, alone.id} & {
        row["id"] for row in bench.catalog.dump() if row["table"] == "captures"
    }
    assert alone.finding.message not in bench.index.documents
    assert bench.index.documents[merged.id].version == merged.captures[-2].order_seq
    bench.check(tmp_path)


def test_a_capture_erased_before_it_was_taken_stops_nobody(bench: Bench, tmp_path: Path) -> None:
    log = bench.log()
    entry = next(entry for entry in bench.entries(log) if entry.type == "capture")
    capture = Capture(log, entry.seq, entry.fields["capture"])
    ask(bench.acts(), [capture], EraseGround.EXCLUSION, "never to be archived", "dpo")
    begin = {"batch": "b1", "captures": [capture.id], "generations": [], "tables": [], "kms": []}
    bench.acts().append(lambda _: {"version": 1, "act": "erasure.begin", **begin})
    batch, _, index = capture.id.partition("-")
    name = record_name(log, batch)
    for place in bench.world.places:
        record = json.loads(place.get(name))
        record["keys"][int(index)] = None
        place.put(name, canonical(record))
    follower = bench.follower()
    while follower.step():
        pass
    assert follower.unreadable == 0
    bench.check(tmp_path, without=frozenset({(str(log), entry.seq)}))
    assert bench.world_damage() == []
