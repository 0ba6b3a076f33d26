"""Anchors: equal for all who hold the key, padded so that they tell no one how many logs there are."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_service.ledger.anchors import (
    MOST,
    PAD,
    PERIOD,
    anchor_of,
    listing,
    now_and_then,
    padded,
    salt_of,
)
from archive_service.ledger.entry import GENESIS, LIMIT, make
from archive_service.ledger.note import Signer
from archive_service.ledger.payloads import PayloadVault
from archive_service.vault.key_layout import LogId, new_owner
from tests.unit.core_world import World

NOTE = Signer("a1" * 10, b"s" * 32).sign(f"{'a1' * 10}/acts", 3, bytes(32)).note


def test_the_formulas_of_format_md() -> None:
    salt = hmac.new(b"k" * 32, b"archive-service/anchor-salt/v1\0" + NOTE.encode(), hashlib.sha256).digest()
    assert salt_of(b"k" * 32, NOTE) == salt
    anchor = hashlib.sha256(b"archive-service/anchor/v1\0" + salt + NOTE.encode()).hexdigest()
    assert anchor_of(salt, NOTE) == anchor
    assert salt_of(b"K" * 32, NOTE) != salt
    assert salt_of(b"k" * 32, NOTE + " ") != salt


@given(st.integers(0, 70))
def test_the_number_of_logs_is_hidden_in_steps_of_16(count: int) -> None:
    real = [anchor_of(bytes([n]) * 32, NOTE) for n in range(count)]
    filled = padded(real)
    assert len(filled) == max(PERIOD, -(-count // PERIOD) * PERIOD)
    assert filled == sorted(filled)
    assert set(real) <= set(filled)
    assert len(set(filled)) == len(filled)
    assert all(len(anchor) == 64 for anchor in filled)


def test_filling_values_are_random() -> None:
    assert not set(padded([])) & set(padded([]))


@pytest.mark.parametrize("count", [1, 16, 100, MOST])
def test_the_most_that_one_entry_takes_fits_into_an_entry(count: int) -> None:
    world = World()
    owner = "a1" * 10
    points = [
        Signer(new_owner(), bytes(32)).sign(f"{new_owner()}/capture-1", n, bytes(32)) for n in range(count)
    ]
    root = LogId(owner, "root")
    vault: PayloadVault = world.vault(owner)
    (payload,) = vault.seal_many(root, [listing(points)], pad=PAD)
    hashes = [anchor_of(bytes(32), point.note) for point in points]
    entry = make(root, 10**12, GENESIS, "t" * 27, "anchors", {"anchors": padded(hashes), "payload": payload})
    assert len(entry.line) < LIMIT
    assert [row["log"] for row in vault.open(root, payload)["checkpoints"]] == [
        point.origin for point in points
    ]
    world.close()


def test_decoys_come_at_random_as_often_as_the_settings_say() -> None:
    """Of 20,000 runs 2,000: seven standard deviations to either side."""
    assert 1700 < sum(now_and_then(2.0, 20.0) for _ in range(20_000)) < 2300
    assert not any(now_and_then(2.0, 0.0) for _ in range(1000))
    assert all(now_and_then(2.0, 1.0) for _ in range(1000))
