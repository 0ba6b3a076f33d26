"""Sealed payloads: inline or as an object, padded where their size would tell, findings that die with their capture."""

import base64
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.ledger.payloads import (
    INLINE,
    PayloadVault,
    finding_key,
    object_fields,
    open_capture,
    read_stored,
)
from archive_service.model.errors import KeyUnavailable, StoreError, Tampered
from archive_service.vault import chunked, key_layout, seal
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock, LockMode, NewObject
from archive_service.vault.stores.faults import Effect
from tests.unit.core_world import World

OWNER, OTHER = "a1" * 10, "b2" * 10
LOG = LogId(OWNER, "access-1")
CAPTURE = "018f" * 8 + "-0"
KEY = b"k" * 32
LARGE = {"x": Random(1).randbytes(20_000).hex()}  # does not compress below 16 KiB


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.fixture
def vault(world: World) -> PayloadVault:
    return world.vault(OWNER)


@given(
    st.lists(
        st.dictionaries(st.text("abc", max_size=3), st.integers(0, 9) | st.text(max_size=5)), max_size=4
    ),
    st.sampled_from([1, 16, 4096]),
)
@settings(max_examples=25, deadline=None)
def test_values_come_back_in_order(values: list[dict[str, Any]], pad: int) -> None:
    world = World()
    payloads = world.vault(OWNER).seal_many(LOG, values, pad=pad)
    assert [world.vault(OWNER).open(LOG, payload) for payload in payloads] == values
    world.close()


def test_a_large_value_stands_in_a_locked_object(world: World, vault: PayloadVault) -> None:
    small, large = vault.seal_many(LOG, [{"x": 1}, LARGE])
    assert set(small) == {"name", "sealed", "generation"}
    assert set(large) == {"name", "object", "generation"}
    assert large["object"]["key"] == key_layout.object_key(LOG, large["name"])
    ((_, lock),) = world.objects.stat(large["object"]["key"])
    assert lock.mode is LockMode.COMPLIANCE
    assert lock.until is not None
    assert world.vault(OWNER).open(LOG, large) == LARGE
    assert len(json.dumps(small)) < len(json.dumps(large)) < INLINE


def test_the_sizes_of_padded_values_tell_nothing(vault: PayloadVault) -> None:
    values = [{"rows": ["x" * 20] * count} for count in (0, 1, 50)]
    sizes = {len(payload["sealed"]) for payload in vault.seal_many(LOG, values, pad=4096)}
    assert len(sizes) == 1
    plain = 4096 + chunked.HEADER + chunked.TAG
    assert sizes == {len(base64.b64encode(bytes(plain)))}


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
def test_a_payload_without_its_key_in_both_places_is_no_payload(
    world: World, number: int, effect: Effect
) -> None:
    vault = world.vault(OWNER)
    vault.seal_many(LOG, [{}])
    world.plans[number].fail("create", effect=effect, prefix=f"{OWNER}/records/")
    with pytest.raises(StoreError):
        vault.seal_many(LOG, [{"x": 1}])


def move(payload: dict[str, Any], name: str) -> dict[str, Any]:
    return {**payload, "name": name}


def test_payloads_that_change_places_are_refused(world: World, vault: PayloadVault) -> None:
    one, two = vault.seal_many(LOG, [{"n": 1}, {"n": 2}])
    with pytest.raises(Tampered):
        vault.open(LOG, move(one, two["name"]))
    with pytest.raises(Tampered):
        vault.open(LOG, {**one, "sealed": two["sealed"]})
    with pytest.raises(KeyUnavailable):
        vault.open(LogId(OWNER, "access-2"), one)
    with pytest.raises(KeyUnavailable):
        world.vault(OTHER).open(LogId(OTHER, "access-1"), one)


@pytest.mark.parametrize(
    "change",
    [
        {"sealed": ""},
        {"sealed": "no base64"},
        {"sealed": "é"},
        {"sealed": 7},
        {"sealed": None},
        {"name": 7},
        {"object": None},
        {"object": {}},
        {"object": {"key": "objects/x", "version": "1", "size": 0, "sha256": "", "sha512": ""}},
    ],
    ids=repr,
)
def test_a_malformed_payload_is_refused(vault: PayloadVault, change: dict[str, Any]) -> None:
    (payload,) = vault.seal_many(LOG, [{}])
    with pytest.raises(Tampered):
        vault.open(LOG, {**payload, **change})


@pytest.mark.parametrize("payload", [None, [], "x", {}, {"sealed": "x"}])
def test_what_is_no_payload_at_all(vault: PayloadVault, payload: Any) -> None:
    with pytest.raises(Tampered):
        vault.open(LOG, payload)


def packed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"no frame",
        packed(b"{}")[:-1],
        packed(b"{"),
        packed(b"[]"),
        packed(b"[" * 100_000),
        packed(b"\xff"),
    ],
    ids=["empty", "foreign", "cut", "not-json", "no-object", "deep", "not-utf-8"],
)
def test_an_inside_that_is_not_the_format_is_refused(world: World, vault: PayloadVault, plain: bytes) -> None:
    (payload,) = vault.seal_many(LOG, [{}])
    key = vault.keyring.object_key(LOG, payload["name"])
    context = b"archive-service/payload/v1\0" + f"{LOG}/{payload['name']}".encode()
    sealed = base64.b64encode(chunked.seal_bytes(key, context, plain)).decode()
    with pytest.raises(Tampered):
        vault.open(LOG, {**payload, "sealed": sealed})


# --- findings ------------------------------------------------------------------------------------------


def test_a_finding_opens_with_its_capture_s_key_and_no_other(vault: PayloadVault) -> None:
    finding = vault.seal_finding(LOG, CAPTURE, KEY, {"finding": 1})
    assert "generation" not in finding
    assert vault.open_finding(LOG, finding, CAPTURE, KEY) == {"finding": 1}
    for capture, key in ((CAPTURE[:-1] + "1", KEY), (CAPTURE, b"K" * 32)):
        with pytest.raises(Tampered):
            vault.open_finding(LOG, finding, capture, key)
    assert finding_key(KEY, CAPTURE) != KEY


def test_a_finding_has_no_key_of_its_own(world: World, vault: PayloadVault) -> None:
    vault.seal_finding(LOG, CAPTURE, KEY, {"finding": 1})
    assert list(world.keys.list(f"{OWNER}/records/")) == []


# --- stored objects ------------------------------------------------------------------------------------


def stored(world: World, data: bytes = b"stored") -> dict[str, Any]:
    key = key_layout.object_key(LOG, CAPTURE)
    sealed, facts = seal.seal_whole(KEY, key, b"{}", data)
    (created,) = world.objects.create([NewObject(key, sealed, Lock())])
    return object_fields(key, created.version, facts)


def test_a_stored_object_is_read_by_its_version(world: World) -> None:
    facts = stored(world)
    before = read_stored(world.objects, facts)
    world.objects.forge_version(facts["key"], b"forged")
    assert read_stored(world.objects, facts) == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sha256": "0" * 64}, "integrity.object"),
        ({"sha512": "0" * 128}, "integrity.object"),
        ({"size": 1}, "integrity.object"),
        ({"key": "objects/none"}, "integrity.missing"),
        ({"key": ...}, "integrity.tampered"),
    ],
    ids=lambda value: str(value),
)
def test_an_object_that_is_not_what_its_entry_says(world: World, change: dict[str, Any], code: str) -> None:
    facts = {key: value for key, value in {**stored(world), **change}.items() if value is not ...}
    with pytest.raises(Tampered) as caught:
        read_stored(world.objects, facts)
    assert caught.value.code == code


def test_a_version_of_another_store_is_read_as_the_oldest_here(world: World) -> None:
    facts = stored(world)
    whole = read_stored(world.objects, facts)
    world.objects.forge_version(facts["key"], b"laid over it")
    assert read_stored(world.objects, {**facts, "version": "of-the-store-it-came-from"}) == whole


def test_tamper_a_version_of_another_store_must_still_have_its_digest(world: World) -> None:
    facts = {**stored(world), "version": "of-the-store-it-came-from", "sha512": "0" * 128}
    with pytest.raises(Tampered) as caught:
        read_stored(world.objects, facts)
    assert caught.value.code == "integrity.object"


def test_an_object_that_opens_to_another_commitment_is_never_content(world: World) -> None:
    vault = world.vault(OWNER)
    vault.keyring.put_record(LOG, CAPTURE[:-2], vault.keyring.current(world.clock().date()), [KEY])
    facts = stored(world)
    fields = {"capture": CAPTURE, "object": facts, "commit": "0" * 64}
    with pytest.raises(Tampered) as caught:
        open_capture(world.objects, vault.keyring, LOG, fields)
    assert caught.value.code == "integrity.commit"
