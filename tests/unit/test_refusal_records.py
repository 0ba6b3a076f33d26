"""Refusals on their way to the access log: each of a known sender, strangers summed, none lost to a bad day."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from archive_service.access.log import LedgerAccessLog
from archive_service.alarms.tally import Tally
from archive_service.bootstrap import Core
from archive_service.ledger.group_log import GroupLog
from archive_service.serving.refusals import LOOKS, RefusalRecords, record
from ingest.refusals import Refusal, Refusals
from tests.unit.core_world import Archive


class World:
    def __init__(self) -> None:
        self.archive = Archive()
        self.core: Core = self.archive.world.core()
        self.records = RefusalRecords(self.core, Tally())
        self.owner = self.archive.owner

    def entries(self) -> list[tuple[str, str | None, dict[str, object]]]:
        """What an auditor reads, oldest first: actor, origin, detail."""
        tenant = self.archive.world.core().tenant("acme")
        group = GroupLog(tenant.vault, self.core.slots(tenant.id, "access"), "access", lambda: 0)
        try:
            found, _ = LedgerAccessLog(tenant.vault, tenant.id, group).newest(1000)
        finally:
            group.close()
        assert {(each.event.action, each.event.outcome) for each in found} <= {("smtp.refused", "refused")}
        return [(each.event.actor, each.event.origin, each.event.detail) for each in reversed(found)]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.archive.world.heal()
    made.records.close()
    made.archive.world.close()


def test_an_auditor_reads_who_was_refused_and_why(world: World) -> None:
    known = Refusal(world.owner, "s1", "too_large", "192.0.2.1")
    strangers = Refusal(world.owner, "s2", "unknown_recipient", count=7)
    assert world.records.write([known]) == world.records.write([strangers]) == []
    assert world.entries() == [
        ("s1", "192.0.2.1", {"source": "s1", "reason": "too_large", "count": 1}),
        ("smtp", None, {"source": "s2", "reason": "unknown_recipient", "count": 7}),
    ]


def test_what_was_nobody_s_is_one_line_and_no_tenant_s_business(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    nobodys = [Refusal(None, None, "unknown_recipient", count=3), Refusal(None, None, "wrong_credentials")]
    assert world.records.write(nobodys) == []
    assert "refused, and of no source: unknown_recipient 3, wrong_credentials 1" in caplog.text
    assert world.entries() == []


def test_what_cannot_be_recorded_now_is_recorded_later(world: World) -> None:
    world.archive.world.plan.fail("create", prefix=f"ledger/{world.owner}/access", times=None)
    refusals = [Refusal(world.owner, "s1", "rate", "192.0.2.1"), Refusal(world.owner, "s1", "rate", count=2)]
    assert world.records.write(refusals) == refusals
    unknown = Refusal("0" * 20, "s1", "rate")
    world.archive.world.heal()
    assert world.records.write([*refusals, unknown]) == [unknown]
    assert len(world.entries()) == 2


def test_many_at_once_are_all_recorded(world: World) -> None:
    each = [Refusal(world.owner, f"s{number}", "rate", "192.0.2.1") for number in range(150)]
    assert world.records.write(each) == []
    assert sorted(actor for actor, _, _ in world.entries()) == sorted(f"s{number}" for number in range(150))


def test_known_senders_beyond_the_bound_are_summed_and_not_forgotten() -> None:
    refusals = Refusals()
    for _ in range(2500):
        refusals.note("t", "s", "rate", "192.0.2.1")
    assert len(refusals.take_singles()) == 1000
    assert refusals.take_sums() == [Refusal("t", "s", "rate", count=1500)]
    refusals.put_back(Refusal("t", "s", "rate", "192.0.2.1"))
    refusals.put_back(Refusal("t", "s", "rate", count=4))
    assert refusals.take_sums() == [Refusal("t", "s", "rate", count=5)]
    assert refusals.take_sums() == refusals.take_singles() == []


class Records:
    """Takes what ``record`` hands on; ``broken`` gives it back."""

    def __init__(self) -> None:
        self.looks: list[list[Refusal]] = []
        self.broken = False
        self.given_back = 0

    def write(self, refusals: list[Refusal]) -> list[Refusal]:
        back = refusals if self.broken else []
        self.given_back += sum(each.count for each in back)
        self.looks.append(refusals)
        return back


def test_strangers_are_told_at_the_minute_and_at_the_end() -> None:
    async def work() -> None:
        refusals, records = Refusals(), Records()
        over = asyncio.Event()
        task = asyncio.ensure_future(record(refusals, records, over, 0.001))  # type: ignore[arg-type]
        refusals.note("t", "s", "rate")
        refusals.note("t", "s", "rate", "192.0.2.1")
        async with asyncio.timeout(20):
            while len(records.looks) < 2:
                await asyncio.sleep(0)
        assert records.looks == [[Refusal("t", "s", "rate", "192.0.2.1")], [Refusal("t", "s", "rate")]]
        records.broken = True
        refusals.note("t", "s", "rate", "192.0.2.1")
        async with asyncio.timeout(20):
            while len(records.looks) < 5:
                await asyncio.sleep(0)
        records.broken = False
        refusals.note("t", "s", "rate")
        over.set()
        await task
        told = sum(each.count for look in records.looks for each in look)
        assert records.looks[-1][0].peer is None
        assert records.given_back >= 3
        assert told - records.given_back == 4, "each of the four just once, but for what was given back"
        assert LOOKS == 60

    asyncio.run(work())
