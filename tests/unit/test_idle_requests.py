"""A quiet archive in a store far away costs few requests: which logs there are is looked for every few seconds, and a
known log costs one request a look. One call of the store is at least one request; a listing is one a name."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from archive_service.bootstrap import Core, Tenant, add_source, make_tenant
from archive_service.following import OnlySlot, make_checkpointer, make_follower
from archive_service.ledger.appender import Appender
from archive_service.ledger.capture_writer import CaptureDraft, CaptureWriter
from archive_service.ledger.slots import Slots
from archive_service.model.clock import rfc3339
from archive_service.model.errors import SlotLost
from archive_service.model.mail import CaptureRecord, SourceKind
from archive_service.places.opening import Stores
from archive_service.serving.smtp import Writers
from archive_service.settings import load
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock, NewObject, Stored
from archive_service.vault.stores.memory import MemoryStore
from tests.flow.archive_fixtures import PATIENCE, Here
from tests.unit.core_world import Unshared, World

MAIL = b"From: anne@example.fr\r\nSubject: devis\r\nMessage-ID: <1@example.fr>\r\n\r\nbonjour\r\n"


class Counting(MemoryStore):
    """Counts what an S3 store would send."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: Counter[str] = Counter()

    def create(self, objects: Sequence[NewObject]) -> list[Stored]:
        self.requests["put"] += len(objects)
        return super().create(objects)

    def read(self, key: str, version: str | None = None, offset: int = 0, length: int | None = None) -> bytes:
        self.requests["get"] += 1
        return super().read(key, version, offset, length)

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        self.requests["list"] += 1
        return super().list(prefix, after)


class Distant:
    """A tenant with a capture log a writer, over a store that counts; as several machines would see it."""

    def __init__(self, folder: Path, writers: int = 3) -> None:
        self.world = World()
        self.world.objects = self.store = Counting()
        self.folder = folder
        self.core = self.open("one")
        self.tenant = make_tenant(self.core, "acme")
        self.source = add_source(self.tenant, "feed", SourceKind.GENERIC, "archive.localhost")[0]
        made = [self.writer() for _ in range(writers)]
        for writer in made:
            self.write(writer)
        for writer in made:
            writer.close()
        self.core.census.logs(self.tenant.id, 0)

    def open(self, machine: str) -> Core:
        """The archive as one machine opens it."""
        leases = Unshared(Path("never-made"))
        world, work = self.world, self.folder / machine
        stores = Stores(self.store, world.keys, world.kms, leases, leases, work, distant=True)
        return Core(load(), self.store, world.keys, world.kms, leases, stores=stores)

    def writer(self) -> CaptureWriter:
        taken = Slots(self.store, self.tenant.id, "capture", self.core.clock, self._free())
        made = CaptureWriter(self.store, self.tenant.keyring, taken, self.core.clock, self.core.writer_limits)
        made.open()
        return made

    def _free(self):  # type: ignore[no-untyped-def]
        standing = {str(log) for log in self.core.census.logs(self.tenant.id, 0)}
        return lambda name: name not in standing

    def write(self, writer: CaptureWriter) -> None:
        now = self.core.clock()
        record = CaptureRecord(
            capture="",
            source=self.source.id,
            received_at=rfc3339(now),
            mail_from="",
            rcpt_to=(),
            channel="smtp",
        )
        draft = CaptureDraft(record, Lock(until=now + timedelta(days=1)), self.tenant.acts.refresh())
        writer.submit(draft, MAIL).result(PATIENCE)

    def follower(self, core: Core, tenant: Tenant | None = None):  # type: ignore[no-untyped-def]
        return make_follower(core, tenant or self.tenant, Here())  # type: ignore[arg-type]

    def counted(self) -> Counter[str]:
        """Since the last look."""
        found = Counter(self.store.requests)
        self.store.requests.clear()
        return found

    def close(self) -> None:
        self.world.close()


@pytest.fixture
def distant(tmp_path: Path) -> Iterator[Distant]:
    made = Distant(tmp_path)
    yield made
    made.close()


def test_an_idle_step_of_the_follower_asks_each_log_once_and_lists_nothing(distant: Distant) -> None:
    follower = distant.follower(distant.core)
    while follower.follow():
        continue
    distant.counted()
    assert follower.follow() == 0
    assert distant.counted() == {
        "get": 1 + 3
    }  # the acts, three capture logs; the order log's head is its own


def test_an_idle_run_of_the_checkpointer_asks_each_log_once_and_lists_nothing(distant: Distant) -> None:
    checkpointer = make_checkpointer(distant.core)
    checkpointer.run_once()
    checkpointer.run_once()
    distant.counted()
    assert checkpointer.run_once() == 0
    assert distant.counted() == {"get": 1 + 3 + 1}  # the acts, three capture logs, the root


def test_an_idle_look_of_an_smtp_process_reads_the_acts_alone(distant: Distant) -> None:
    writers = Writers(distant.core)
    writers.refresh()
    distant.counted()
    writers.refresh()
    assert distant.counted() == {"get": 1}


def test_a_stranger_is_looked_for_in_the_store(distant: Distant) -> None:
    """An address that nobody here knows may be a source of a tenant that another machine has just made."""
    writers = Writers(distant.core)
    writers.refresh()
    made = make_tenant(distant.open("two"), "other")
    assert {tenant.id for tenant in writers.intakes()} == {distant.tenant.id, made.id}


def test_a_new_capture_log_is_found_after_the_pause(
    distant: Distant, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(distant.core.census, "_clock", lambda: now[0])
    distant.core.census.logs(distant.tenant.id, 0)
    follower = distant.follower(distant.core)
    while follower.follow():
        continue
    writer = distant.writer()
    distant.write(writer)
    writer.close()
    now[0] += 0.2
    assert follower.follow() == 0
    now[0] += 5.0
    assert follower.follow() > 0


def test_who_stands_by_projects_what_another_ordered_and_takes_over(distant: Distant) -> None:
    """Two machines with projections of their own: both find the mail, one orders; the other when it may."""
    held: set[str] = {"one"}
    second = distant.open("two")
    second.leases.take = lambda name: "two" in held  # type: ignore[method-assign]
    tenant = next(each for each in second.tenants() if each.id == distant.tenant.id)
    first, standby = distant.follower(distant.core), distant.follower(second, tenant)
    while first.follow():
        continue
    assert standby.follow() > 0
    assert first.active and not standby.active
    rows = [machine._parts.catalog.counts() for machine in (first, standby)]
    assert rows[0] == rows[1] and rows[0]["messages"] == 1
    entries = len(list(distant.store.list(f"ledger/{tenant.id}/order-1/batch/")))
    assert standby.follow() == 0
    assert (
        len(list(distant.store.list(f"ledger/{tenant.id}/order-1/batch/"))) == entries
    )  # who stands by writes nothing
    held.add("two")
    standby._parts.slots._ask_at = 0.0
    standby.follow()
    assert standby.active


def test_who_lost_the_slot_leaves_it_for_the_takeover_time(distant: Distant) -> None:
    now = [100.0]
    slot = OnlySlot(distant.core, distant.tenant.id, lambda: now[0])
    mine = slot.take()
    Appender(distant.store, LogId(distant.tenant.id, "order-1"), distant.core.clock).claim()
    with pytest.raises(SlotLost):
        mine.append([("took", {"of": {"log": "x", "from": 0, "to": 1}})])
    with pytest.raises(SlotLost):
        slot.take()
    now[0] += distant.core.settings.slot_takeover_seconds - 1
    with pytest.raises(SlotLost):
        slot.take()
    now[0] += 1
    assert slot.take().head is not None
