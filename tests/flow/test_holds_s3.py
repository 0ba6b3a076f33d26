"""Legal holds over a real S3 service: what the store's own administrator sees, and is refused."""

from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from archive_service.holds.objects import ObjectHolds
from archive_service.ledger.approvals import Approval
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError
from archive_service.vault.key_layout import object_key
from archive_service.vault.stores.faults import Effect
from retention.holds import HoldAsked, place, release
from tests.flow.s3_world import S3World, s3_archive
from tests.services.fault_proxy import CUT
from tests.services.s3 import s3_service
from tests.unit.core_world import PATIENCE, Archive

__all__ = ["s3_archive", "s3_service"]  # fixtures


def _state(world: S3World, key: str) -> str:
    bucket = world.archive_bucket.bucket
    return str(world.attacker.get_object_legal_hold(Bucket=bucket, Key=key)["LegalHold"]["Status"])


def _settled(archive: Archive) -> None:
    """New processes, until one has nothing left to do."""
    for _ in range(9):
        try:
            acts = archive.acts()
            acts.refresh()
            if ObjectHolds(archive.world.store, acts, workers=4).step() == 0:
                return
        except ArchiveError:
            continue
    raise AssertionError("never done")


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT], ids=str)
def test_hold_stands_in_s3_on_every_object_and_ends_with_the_last(
    s3_archive: Archive, effect: Effect
) -> None:
    world = s3_archive.world
    assert isinstance(world, S3World)
    writer = s3_archive.writer()
    try:
        sent = [writer.submit(s3_archive.draft(), b"mail %d" % each).result(PATIENCE) for each in range(3)]
    finally:
        writer.close()
    acts = s3_archive.acts()
    matter = {"matter": "t1", "name": "A", "purpose": "litige", "by": "zoe", "at": "2026"}
    acts.append(lambda _: {"version": 1, "act": "matter.set", **matter})
    review = rfc3339(world.clock() + timedelta(days=30))
    captures = [(str(each.log), each.capture) for each in sent[:2]]
    asked = HoldAsked("t1", "Contrats", "litige", "RG 1", "zoe", review, captures=captures)
    hold = place(acts, asked, "zoe", world.clock).hold
    keys = [object_key(each.log, each.capture) for each in sent]
    world.wires["store"].fail("PUT", query="legal-hold", times=9, effect=effect, answer=CUT)
    _settled(s3_archive)
    assert [_state(world, key) for key in keys[:2]] == ["ON", "ON"]
    version = world.objects.stat(keys[0])[0][0].version
    with pytest.raises(ClientError):
        world.attacker.delete_object(Bucket=world.archive_bucket.bucket, Key=keys[0], VersionId=version)
    assert [world.objects.stat(key)[0][1].hold for key in keys] == [True, True, False]
    fields = {
        "action": "hold.release",
        "request": {},
        "by": "zoe",
        "reason": "r",
        "at": "2026",
        "expires": "3",
    }
    acts.append(lambda _: {"version": 1, "act": "approval.ask", "approval": "p1", **fields})
    spent = Approval("p1", "hold.release", {}, "zoe", "r", "2026", "3")
    release(acts, hold, "zoe", lambda: spent, world.clock)
    _settled(s3_archive)
    assert [_state(world, key) for key in keys[:2]] == ["OFF", "OFF"]
    assert s3_archive.damage() == []
