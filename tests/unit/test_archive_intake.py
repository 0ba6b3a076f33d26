"""The intake between endpoint and writers: sources known or not, small mails and streams, senders that go away."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from archive_service.bootstrap import Core, add_source, make_tenant
from archive_service.ledger.capture_writer import CaptureWriter
from archive_service.model.errors import ArchiveError, Overloaded, StoreError
from archive_service.model.mail import CaptureRecord, Source, SourceKind
from archive_service.vault.stores.base import LockMode
from archive_service.vault.stores.faults import Effect
from ingest.archive_intake import ArchiveIntake, TenantIntake, capture_draft
from ingest.intake import Draft
from tests.unit.core_world import PATIENCE, Archive

SPOOL = 64 * 1024


class Intake:
    """An archive, its source, and the intake of one process."""

    def __init__(self) -> None:
        self.archive = Archive()
        self.core: Core = self.archive.world.core()
        self.source: Source = add_source(
            self.core.tenant("acme"), "feed", SourceKind.GENERIC, "archive.localhost"
        )[0]
        self.serving: Core = self.archive.world.core()  # another process than the one that made the source
        self.writers: list[CaptureWriter] = []
        self.making = threading.Lock()
        self.intake = ArchiveIntake(self.tenants, self.archive.world.clock, streams=2, spool=SPOOL)

    def tenants(self) -> list[TenantIntake]:
        return [TenantIntake(tenant.id, tenant.acts, self.writer) for tenant in self.serving.tenants()]

    def writer(self) -> CaptureWriter:
        with self.making:
            if not self.writers:
                self.writers.append(self.archive.writer())
            return self.writers[0]

    def draft(self) -> Draft:
        return Draft(
            tenant=self.archive.owner,
            source=self.source,
            acts_seen=2,
            mail_from="",
            rcpt_to=("x@archive", "y@archive"),
            peer="192.0.2.1",
            helo="mail.example",
            mail_parameters=("BODY=8BITMIME",),
        )

    def raws(self) -> list[bytes]:
        return [opened.raw for _, opened in self.archive.captures()]

    def close(self) -> None:
        self.archive.world.heal()
        self.intake.close()
        for writer in self.writers:
            writer.close()
        self.archive.world.close()


@pytest.fixture
def intake() -> Iterator[Intake]:
    made = Intake()
    yield made
    made.close()


async def known(intake: Intake) -> None:
    assert await intake.intake.match(intake.source.address) is not None


def test_a_source_is_found_whatever_the_case(intake: Intake) -> None:
    async def work() -> None:
        found = await intake.intake.match(intake.source.address.upper())
        assert found is not None
        assert (found.tenant, found.source, found.acts_seen) == (intake.archive.owner, intake.source, 2)
        assert await intake.intake.match("stranger@archive.localhost") is None

    asyncio.run(work())


def test_a_source_and_a_tenant_that_are_new_are_found_at_the_head(intake: Intake) -> None:
    async def work() -> None:
        await known(intake)
        new, _ = add_source(intake.core.tenant("acme"), "second", SourceKind.M365, "archive.localhost")
        found = await intake.intake.match(new.address)
        assert found is not None and found.acts_seen == 3
        other = make_tenant(intake.archive.world.core(), "other")
        theirs, _ = add_source(other, "feed", SourceKind.M365, "archive.localhost")
        found = await intake.intake.match(theirs.address)
        assert found is not None and found.tenant == other.id

    asyncio.run(work())


@pytest.mark.parametrize("where", ["head", "batch", "key"])
def test_while_the_acts_cannot_be_read_nobody_is_told_that_there_is_no_such_source(
    intake: Intake, where: str
) -> None:
    """A 550 would lose the mail for good: as long as the head is out of reach it is an error, then it is found."""
    world = intake.archive.world
    if where == "key":
        for plan in world.plans:
            plan.fail("get", prefix=f"{intake.archive.owner}/records/", times=None)
    else:
        nth = {"head": 1, "batch": 2}[where]
        world.plan.fail("read", nth, prefix=f"ledger/{intake.archive.owner}/acts/", times=None)

    async def work() -> None:
        for _ in range(3):
            with pytest.raises(ArchiveError):
                await intake.intake.match("stranger@archive.localhost")
        world.heal()
        await known(intake)
        assert await intake.intake.match("stranger@archive.localhost") is None

    asyncio.run(work())


def test_the_lock_comes_from_the_source_alone(intake: Intake) -> None:
    source = intake.source.model_copy(update={"intake_days": 7, "lock_mode": "GOVERNANCE"})
    clock = intake.archive.world.clock
    draft = capture_draft(Draft("t", source, 5, "a@b", ("c@d",)), clock)
    assert draft.lock.mode is LockMode.GOVERNANCE
    assert draft.lock.until == clock() + timedelta(days=7)
    assert draft.acts_seen == 5


@pytest.mark.parametrize("size", [0, 1, SPOOL, SPOOL + 1, 5 * SPOOL + 7, 2_000_000])
@pytest.mark.parametrize("chunk", [1000, 300_000])
def test_a_mail_of_any_size_is_archived_byte_for_byte(intake: Intake, size: int, chunk: int) -> None:
    mail = bytes(range(256)) * (size // 256) + bytes(size % 256)

    async def work() -> None:
        await known(intake)
        sink = await intake.intake.begin(intake.draft())
        for start in range(0, size, chunk):
            await sink.write(mail[start : start + chunk])
        receipt = await sink.commit()
        assert (receipt.log, receipt.seq) == (str(intake.archive.capture_log), 1)

    asyncio.run(work())
    ((captured, opened),) = intake.archive.captures()
    assert opened.raw == mail
    record = CaptureRecord.model_validate_json(opened.record)
    assert (record.source, record.mail_from, record.rcpt_to) == (
        intake.source.id,
        "",
        ("x@archive", "y@archive"),
    )
    assert (record.peer, record.helo, record.mail_parameters) == (
        "192.0.2.1",
        "mail.example",
        ("BODY=8BITMIME",),
    )
    assert record.capture == captured.capture


@pytest.mark.parametrize("size", [100, 3 * SPOOL])
def test_a_sender_that_goes_away_leaves_nothing(intake: Intake, size: int) -> None:
    async def work() -> None:
        await known(intake)
        sink = await intake.intake.begin(intake.draft())
        await sink.write(b"x" * size)
        await sink.abort()
        other = await intake.intake.begin(intake.draft())
        await other.write(b"whole")
        await other.commit()

    asyncio.run(work())
    assert intake.raws() == [b"whole"]
    assert intake.archive.damage() == []


@pytest.mark.parametrize("size", [100, 3 * SPOOL, 8_000_000])
@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
def test_a_mail_that_the_store_fails_on_is_not_acknowledged(
    intake: Intake, size: int, effect: Effect
) -> None:
    """8 MB is more than the stream's queue holds: the writer's end must reach a sender that waits for room."""

    async def work() -> None:
        await known(intake)
        intake.archive.world.plan.fail("create", prefix="objects/", effect=effect)
        sink = await intake.intake.begin(intake.draft())
        with pytest.raises(StoreError):
            await sink.write(b"x" * size)
            await sink.commit()
        await sink.abort()
        again = await intake.intake.begin(intake.draft())
        await again.write(b"again")
        await again.commit()

    asyncio.run(asyncio.wait_for(work(), PATIENCE))
    assert intake.raws() == [b"again"]
    assert intake.archive.damage() == []


def test_mails_at_once_share_one_writer(intake: Intake) -> None:
    async def one(n: int) -> None:
        sink = await intake.intake.begin(intake.draft())
        await sink.write(b"%d" % n)
        await sink.commit()

    async def work() -> None:
        await known(intake)
        await asyncio.gather(*(one(n) for n in range(40)))

    asyncio.run(work())
    assert sorted(intake.raws()) == sorted(b"%d" % n for n in range(40))
    assert len(intake.writers) == 1


def test_a_tenant_of_another_process_is_no_reason_to_crash(intake: Intake) -> None:
    async def work() -> None:
        with pytest.raises(Overloaded):
            await intake.intake.begin(intake.draft())

    asyncio.run(work())
