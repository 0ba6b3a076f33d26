"""An archive in memory whose every store call can be made to fail: for the tests of the core."""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from archive_service.bootstrap import Core, Tenant, make_tenant
from archive_service.ledger.acts import Acts
from archive_service.ledger.appender import LedgerPolicy
from archive_service.ledger.capture_writer import Captured, CaptureDraft, CaptureWriter, WriterLimits
from archive_service.ledger.checkpointer import Checkpointer, LedgerWriter
from archive_service.ledger.entry import Entry
from archive_service.ledger.payloads import PayloadVault, open_capture
from archive_service.ledger.reader import LogReader, logs
from archive_service.ledger.slots import Slots
from archive_service.ledger.verify.archive import ArchiveVerifier, Stores
from archive_service.ledger.verify.report import Problem, Report, Severity
from archive_service.model.clock import rfc3339
from archive_service.model.mail import CaptureRecord
from archive_service.places.leases import FileLeases
from archive_service.settings import load
from archive_service.vault.key_layout import LogId
from archive_service.vault.key_places import KeyStore
from archive_service.vault.keyring import Keyring
from archive_service.vault.kms import LocalKms
from archive_service.vault.seal import Opened
from archive_service.vault.stores.base import Lock
from archive_service.vault.stores.faults import FaultPlan, FaultyKeyPlace, FaultyStore
from archive_service.vault.stores.memory import MemoryKeyPlace, MemoryStore

PATIENCE = 60.0  # seconds until a future that never ends fails the test; nothing is measured by it
QUICK = LedgerPolicy(settle_tries=3, pause=0.0)


class TestClock:
    """Stands still until a test moves it."""

    __test__ = False

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_days(self, days: int) -> None:
        """Move on."""
        self.now += timedelta(days=days)


class Unshared(FileLeases):
    """Leases of an archive in memory, which no other process can know: no file is made."""

    def take(self, name: str) -> bool:
        del name
        return True

    def release(self, name: str) -> None:
        del name


@dataclass
class World:
    """Stores without faults (``objects``, ``places``), and the same behind plans (``store``, ``keys``)."""

    clock: TestClock = field(default_factory=TestClock)
    plan: FaultPlan = field(default_factory=FaultPlan)
    plans: tuple[FaultPlan, FaultPlan] = field(default_factory=lambda: (FaultPlan(), FaultPlan()))
    places: tuple[MemoryKeyPlace, MemoryKeyPlace] = field(
        default_factory=lambda: (MemoryKeyPlace(), MemoryKeyPlace())
    )
    kms_place: MemoryKeyPlace = field(default_factory=MemoryKeyPlace)
    policy: LedgerPolicy = QUICK

    def __post_init__(self) -> None:
        self.objects = MemoryStore(clock=self.clock)
        self.store = FaultyStore(self.objects, self.plan)
        first, second = (
            FaultyKeyPlace(place, plan) for place, plan in zip(self.places, self.plans, strict=True)
        )
        self.keys = KeyStore(first, second)
        self.kms = LocalKms(self.kms_place)

    def core(self) -> Core:
        """The stores as ``bootstrap`` holds them."""
        leases = Unshared(Path("never-made"))
        return Core(load(), self.store, self.keys, self.kms, leases, self.clock)

    def heal(self) -> None:
        """No more faults."""
        for plan in (self.plan, *self.plans):
            plan.heal()

    def keyring(self, owner: str) -> Keyring:
        """As another process would open it: nothing cached."""
        return Keyring(owner, self.keys, self.kms)

    def vault(self, owner: str) -> PayloadVault:
        """Payloads with a keyring of their own."""
        return PayloadVault(self.store, self.keyring(owner), self.clock)

    def slots(self, owner: str, kind: str) -> Slots:
        """Slots that nobody else leases."""
        return Slots(self.store, owner, kind, self.clock, lambda _: True, self.policy)

    def close(self) -> None:
        """Let threads end."""
        self.heal()
        self.keys.close()


class Archive:
    """A world with one tenant in it, and what the tests do there."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        core = self.world.core()
        made: Tenant = make_tenant(core, "acme")
        self.owner = made.id
        self.root_owner = core.archive.owner
        self.capture_log = LogId(self.owner, "capture-1")

    def writer(self, *, sealers: int = 1) -> CaptureWriter:
        """A process's capture writer."""
        world = self.world
        slots = world.slots(self.owner, "capture")
        limits = WriterLimits(sealers=sealers)
        return CaptureWriter(world.store, world.keyring(self.owner), slots, world.clock, limits)

    def acts(self) -> Acts:
        """The acts as another process would replay them."""
        return Acts(self.world.vault(self.owner), self.owner, self.world.policy)

    def checkpointer(self) -> Checkpointer:
        """A checkpointer as a new process has it."""
        world = self.world
        writer = LedgerWriter(world.store, world.clock, world.policy)
        archive = world.keyring(self.root_owner)
        return Checkpointer(writer, archive, lambda: [archive, world.keyring(self.owner)])

    def draft(self, origin: str = "") -> CaptureDraft:
        """A capture that is to be."""
        now = self.world.clock()
        record = CaptureRecord(
            capture="",
            source="s1",
            received_at=rfc3339(now),
            mail_from="anne@example.org",
            rcpt_to=("j@archive",),
            origin=origin or None,
        )
        return CaptureDraft(record, Lock(until=now + timedelta(days=30)), acts_seen=1)

    def entries(self, log: LogId) -> list[Entry]:
        """A log read anew, every entry checked, without faults."""
        return list(LogReader(self.world.objects, log).entries())

    def captures(self) -> list[tuple[Captured, Opened]]:
        """Every capture of every capture log, opened and checked with a fresh keyring."""
        keyring = self.world.keyring(self.owner)
        return list(self._captures(keyring))

    def _captures(self, keyring: Keyring) -> Iterator[tuple[Captured, Opened]]:
        for log in logs(self.world.objects, self.owner):
            for entry in self.entries(log) if log.kind == "capture" else []:
                if entry.type == "capture":
                    opened = open_capture(self.world.objects, keyring, log, entry.fields)
                    yield Captured(log, entry.seq, entry.fields["capture"]), opened

    def verify(self) -> list[Problem]:
        """What verify says, reading everything anew."""
        world = self.world
        stores = Stores(world.objects, world.keys, world.kms, world.clock)
        return ArchiveVerifier(stores, Report()).run().problems

    def damage(self) -> list[Problem]:
        """What verify calls damage; notes are not."""
        return [problem for problem in self.verify() if problem.severity is Severity.DAMAGE]


def outcome(future: "Future[Captured]") -> Captured | Exception:
    """What became of a write."""
    error = future.exception(PATIENCE)
    return future.result(0) if error is None else error  # type: ignore[return-value]
