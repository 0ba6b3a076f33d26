"""Rights looked at again, where the store fails or another process was faster: the act stands once, whole, or not."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from archive_service.access.events import Actor, RoleName
from archive_service.access.recertifying import MOST, Recertifying
from archive_service.ledger.acts import Acts
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError, Invalid, Refused, StoreError
from archive_service.vault.stores.faults import Effect
from tests.unit.core_world import Archive

ANNE = Actor("anne", RoleName.COMPLIANCE_OFFICER, "t")


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.world.close()


def give(archive: Archive, acts: Acts, grant: str, subject: str) -> None:
    now = archive.world.clock()
    times = {"from": rfc3339(now), "until": rfc3339(now + timedelta(days=30))}
    said = {"grant": grant, "subject": subject, "role": "reviewer", "reason": "r", "by": "paul"}
    acts.append(lambda _: {"version": 1, "act": "grant.give", **said, **times})


def revoke(acts: Acts, grant: str) -> None:
    said = {"grant": grant, "by": "paul", "reason": "r", "at": "2026-03-01T12:00:00.000000Z"}
    acts.append(lambda _: {"version": 1, "act": "grant.revoke", **said})


def desk(archive: Archive) -> Recertifying:
    return Recertifying(archive.acts(), archive.world.clock)


def stands(archive: Archive) -> list[str]:
    return [each.note for each in desk(archive).all()]


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT], ids=["not-persisted", "persisted"])
def test_an_act_that_failed_stands_once_or_not_at_all(archive: Archive, effect: Effect) -> None:
    ours = desk(archive)
    give(archive, ours.acts, "g1", "rita")
    archive.world.plan.fail("create", effect=effect, prefix=f"ledger/{archive.owner}/acts/batch/")
    try:
        ours.recertify(ANNE, ["g1"], [], "revue")
    except ArchiveError:
        assert stands(archive) == []  # who hears of a failure finds nothing
    else:
        assert stands(archive) == ["revue"]


def test_a_store_that_stays_away_leaves_no_act(archive: Archive) -> None:
    ours = desk(archive)
    give(archive, ours.acts, "g1", "rita")
    archive.world.plan.fail("create", prefix=f"ledger/{archive.owner}/acts/batch/", times=None)
    with pytest.raises(StoreError):
        ours.recertify(ANNE, ["g1"], [], "revue")
    archive.world.heal()
    assert stands(archive) == []


def test_what_another_process_revoked_meanwhile_is_not_confirmed(archive: Archive) -> None:
    ours, theirs = desk(archive), archive.acts()
    give(archive, ours.acts, "g1", "rita")
    theirs.refresh()
    revoke(theirs, "g1")
    with pytest.raises(Refused) as refused:  # by the acts at their head, whatever ours had read
        ours.recertify(ANNE, ["g1"], [], "revue")
    assert refused.value.code == "recertification.ended"
    assert stands(archive) == []


def test_the_last_look_in_a_span_counts(archive: Archive) -> None:
    ours = desk(archive)
    give(archive, ours.acts, "g1", "rita")
    first = ours.recertify(ANNE, ["g1"], [], "un").at
    archive.world.clock.pass_days(2)
    second = ours.recertify(ANNE, [], ["g1"], "deux").at
    known = ours.acts.recertifications
    assert [
        known.of("g1", first, end).note for end in (second, rfc3339(archive.world.clock() + timedelta(1)))
    ] == ["un", "deux"]
    assert known.of("g1", "2020", first) is None
    assert known.of("g2", "2020", "2030") is None


def test_no_act_is_larger_than_an_act_may_be(archive: Archive) -> None:
    with pytest.raises(Invalid):
        desk(archive).recertify(ANNE, [f"g{number}" for number in range(MOST + 1)], [], "revue")
