"""The milter over the real write path: every store call of it fails, lost or kept, and a mail that was not durable is
never gone on with."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from archive_service.bootstrap import add_source
from archive_service.ledger.verify.report import Severity, What
from archive_service.model.errors import ArchiveError
from archive_service.model.mail import CaptureRecord, MilterClient, SourceKind
from archive_service.source_changes import rotate, set_guard
from archive_service.vault.stores.faults import Effect
from tests.flow.test_write_path_faults import Step
from tests.unit.milter_fakes import FIELDS, milter_serving, nul, packet
from tests.unit.test_archive_intake import SPOOL, Intake

LOST, KEPT = Effect.LOST, Effect.KEPT
STEPS = [
    Step("store", "create", "objects/{owner}/"),
    Step("a", "put", "{owner}/records/"),
    Step("b", "put", "{owner}/records/"),
    Step("store", "create", "ledger/{owner}/capture-1/batch/"),
]
HEADER = b"From: a@b.test\r\nSubject: hello\r\n\r\n"


class PostfixArchive(Intake):
    """An archive with a source for Postfix."""

    def __init__(self) -> None:
        super().__init__()
        self.source, _ = add_source(self.core.tenant("acme"), "mx", SourceKind.POSTFIX, "archive.localhost")

    def records(self) -> list[CaptureRecord]:
        return [CaptureRecord.model_validate_json(opened.record) for _, opened in self.archive.captures()]


@pytest.fixture
def archive() -> Iterator[PostfixArchive]:
    made = PostfixArchive()
    yield made
    made.close()


def test_the_record_holds_the_whole_envelope(archive: PostfixArchive) -> None:
    async def work() -> None:
        async with milter_serving(intake=archive.intake) as site:
            mta = await site.connect(archive.source.address.upper())
            await mta.envelope("<>", ("<bob@x.test>", "<hidden@x.test>"), "BODY=8BITMIME")
            assert await mta.content(b"\0body") == b"c"

    asyncio.run(work())
    (held,) = archive.records()
    assert (held.source, held.mail_from, held.rcpt_to) == (
        archive.source.id,
        "",
        ("bob@x.test", "hidden@x.test"),
    )
    assert (held.channel, held.peer, held.mail_parameters) == ("smtp", "127.0.0.1", ("BODY=8BITMIME",))
    assert held.milter == MilterClient(client="192.0.2.9", name="client.test", helo="helo.test", queue="4QX1")
    assert archive.raws() == [HEADER + b"\0body"]
    assert archive.archive.damage() == []


@pytest.mark.parametrize("size", [100, 3 * SPOOL], ids=["grouped", "streamed"])
@pytest.mark.parametrize("effect", [LOST, KEPT])
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_store_that_fails_is_told_to_come_again_and_the_retry_is_archived(
    archive: PostfixArchive, step: Step, effect: Effect, size: int
) -> None:
    """Lost or kept: the MTA hears "come again", or "go on" because reading back settled that the entry stands. The mail
    comes again; then it is there, at most twice if the answer alone was lost, and nothing is damaged."""

    async def work() -> bytes:
        async with milter_serving(intake=archive.intake) as site:
            mta = await site.connect(archive.source.address)
            await mta.envelope()
            assert await mta.content(b"first") == b"c"
            step.plan(archive.archive, effect)
            await mta.envelope()
            answer = await mta.content(b"x" * size)
            archive.archive.world.heal()
            if answer != b"c":
                assert archive.raws().count(HEADER + b"x" * size) <= (effect is KEPT)
                await mta.envelope()
                assert await mta.content(b"x" * size) == b"c"
            return answer

    asyncio.run(asyncio.wait_for(work(), 60))
    assert archive.raws().count(HEADER + b"x" * size) in (1, 2)
    problems = archive.archive.verify()
    assert {(each.severity, each.what) for each in problems} <= {(Severity.NOTE, What.ORPHAN)}


def test_while_the_store_is_away_every_mail_stays_and_all_are_archived_afterwards(
    archive: PostfixArchive,
) -> None:
    async def work() -> None:
        async with milter_serving(intake=archive.intake) as site:
            mta = await site.connect(archive.source.address)
            await mta.envelope()
            assert await mta.content(b"before") == b"c"
            archive.archive.world.plan.fail("create", times=None)
            for number in range(3):
                await mta.envelope()
                assert (await mta.content(b"%d" % number))[:1] in (b"t", b"y")
            archive.archive.world.heal()
            for number in range(3):
                await mta.envelope()
                assert await mta.content(b"%d" % number) == b"c"

    asyncio.run(asyncio.wait_for(work(), 60))
    assert archive.raws() == [HEADER + body for body in (b"before", b"0", b"1", b"2")]
    assert archive.archive.damage() == []


def test_an_unknown_source_is_told_to_come_again_also_while_the_acts_cannot_be_read(
    archive: PostfixArchive,
) -> None:
    async def work() -> None:
        async with milter_serving(intake=archive.intake) as site:
            mta = await site.connect("stranger@archive.localhost")
            assert b"source not known" in await mta.ask(packet("M", nul("<>")))
            archive.archive.world.plan.fail(
                "read", prefix=f"ledger/{archive.archive.owner}/acts/", times=None
            )
            assert b"cannot be checked now" in await mta.ask(packet("M", nul("<>")))

    asyncio.run(asyncio.wait_for(work(), 60))


def test_a_rotated_address_works_through_its_overlap_and_a_guard_counts_from_the_next_mail(
    archive: PostfixArchive,
) -> None:
    old = archive.source.address
    tenant = archive.core.tenant("acme")

    async def work() -> None:
        async with milter_serving(intake=archive.intake) as site:
            mta = await site.connect(old)
            await mta.envelope()
            assert await mta.content(b"1") == b"c"
            new, _ = rotate(tenant, archive.source.id, timedelta(hours=24))
            assert new.address != old
            archive.intake.refresh()
            for address, body in ((old, b"2"), (new.address, b"3")):
                other = await site.connect(address)
                await other.envelope()
                assert await other.content(body) == b"c"
            archive.archive.world.clock.pass_days(2)
            assert b"source not known" in await mta.ask(packet("M", nul("<>")))
            set_guard(tenant, archive.source.id, {"networks": ["192.0.2.0/24"]})
            archive.intake.refresh()
            assert b"source not known" in await other.ask(packet("M", nul("<>")))

    asyncio.run(asyncio.wait_for(work(), 60))
    assert archive.raws() == [HEADER + body for body in (b"1", b"2", b"3")]


def test_an_mta_that_goes_away_inside_a_large_mail_leaves_no_entry(archive: PostfixArchive) -> None:
    async def work() -> None:
        async with milter_serving(intake=archive.intake) as site:
            mta = await site.connect(archive.source.address)
            await mta.envelope()
            await mta.send(packet("L", nul(*FIELDS[0])), *[packet("B", b"x" * 65535)] * 5)
            await mta.close()
            again = await site.connect(archive.source.address)
            await again.envelope()
            assert await again.content(b"whole") == b"c"

    asyncio.run(asyncio.wait_for(work(), 60))
    assert archive.raws() == [HEADER + b"whole"]
    assert archive.archive.damage() == []


def test_an_archive_that_has_moved_takes_nothing(archive: PostfixArchive) -> None:
    async def work() -> None:
        async with milter_serving(intake=archive.intake) as site:
            mta = await site.connect(archive.source.address)
            archive.core.tenant("acme").acts.append(lambda _: {"version": 1, "act": "archive.moved"})
            archive.intake.refresh()
            with pytest.raises(ArchiveError):
                await archive.intake.match(archive.source.address)
            assert (await mta.ask(packet("M", nul("<>"))))[:1] in (b"t", b"y")

    asyncio.run(asyncio.wait_for(work(), 60))
