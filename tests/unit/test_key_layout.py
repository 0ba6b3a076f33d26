"""Every name, byte for byte as FORMAT.md section 1 has it."""

from datetime import UTC, datetime

import pytest

from archive_service.model.errors import Invalid
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId

OWNER = "0123456789abcdef0123"
LOG = LogId(OWNER, "capture-12")
BATCH = "0199aabbccdd" + "e" * 20
NAME = f"{BATCH}-7"


def test_names_in_the_object_store() -> None:
    assert key_layout.object_key(LOG, NAME) == f"objects/{OWNER}/capture-12/0199aabb/{NAME}"
    assert key_layout.batch_key(LOG, 0) == f"ledger/{OWNER}/capture-12/batch/00000000000/0000000000000000"
    assert (
        key_layout.batch_key(LOG, 12_345_678_901)
        == f"ledger/{OWNER}/capture-12/batch/00000123456/0000012345678901"
    )
    assert (
        key_layout.checkpoint_key(LOG, 123_456)
        == f"ledger/{OWNER}/capture-12/checkpoint/00000012/000000123456"
    )
    assert key_layout.tile_key(LOG, 1, 1234067) == f"ledger/{OWNER}/capture-12/tile/1/x001/x234/067"
    assert key_layout.bundle_key(LOG, 67) == f"ledger/{OWNER}/capture-12/tile/entries/067"


def test_names_in_the_key_store() -> None:
    assert key_layout.table_name(OWNER, 1) == f"{OWNER}/table/00000001"
    assert key_layout.generation_name(OWNER, 42) == f"{OWNER}/generations/00000042"
    assert key_layout.record_name(LOG, BATCH) == f"{OWNER}/records/capture-12/0199aabb/{BATCH}"
    assert key_layout.secret_name(OWNER, "identity") == f"{OWNER}/secrets/identity"


def test_batches_sort_by_their_place() -> None:
    seqs = [0, 1, 99_999, 100_000, 10**9, 10**12]
    names = [key_layout.batch_key(LOG, seq) for seq in seqs]
    assert names == sorted(names)


def test_batch_ids_sort_by_time_and_never_repeat() -> None:
    early = datetime(2026, 1, 1, tzinfo=UTC)
    late = datetime(2026, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)
    assert key_layout.new_batch(early)[:12] == f"{int(early.timestamp() * 1000):012x}"
    assert key_layout.new_batch(early) < key_layout.new_batch(late)
    assert key_layout.new_batch(early) != key_layout.new_batch(early)
    assert key_layout.split_sealed_name(key_layout.sealed_name(BATCH, 7)) == (BATCH, 7)


@pytest.mark.parametrize(
    "name",
    [
        "",
        BATCH,
        f"{BATCH}-",
        f"{BATCH}-07",
        f"{BATCH}--1",
        f"{BATCH.upper()}-1",
        f"{BATCH[1:]}-1",
        f"{BATCH}-1\n",
    ],
)
def test_what_is_no_sealed_name(name: str) -> None:
    with pytest.raises(Invalid):
        key_layout.split_sealed_name(name)


@pytest.mark.parametrize("name", ["acts", "root", "capture-1", "order-1", "access-999999"])
def test_log_ids(name: str) -> None:
    log = LogId.parse(f"{OWNER}/{name}")
    assert (log.owner, log.name, str(log)) == (OWNER, name, f"{OWNER}/{name}")
    assert log.kind == name.partition("-")[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        OWNER,
        f"{OWNER}/",
        f"{OWNER}/capture",
        f"{OWNER}/capture-0",
        f"{OWNER}/capture-01",
        f"{OWNER}/acts-1",
        f"{OWNER}/other-1",
        f"{OWNER}/acts/x",
        f"{OWNER}/acts\n",
        f"{OWNER.upper()}/acts",
        f"{OWNER[1:]}/acts",
        f"../{OWNER}/acts",
    ],
)
def test_what_is_no_log_id(text: str) -> None:
    assert not key_layout.is_log(text)
    with pytest.raises(Invalid):
        LogId.parse(text)


def test_owners_are_random() -> None:
    assert key_layout.is_owner(key_layout.new_owner())
    assert key_layout.new_owner() != key_layout.new_owner()
    assert not key_layout.is_owner(OWNER + "\n")
