"""What an administrator decides of a source: acts that every process reads, and nothing secret in what is shown."""

import base64
import datetime
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from archive_service.bootstrap import Core, Tenant, add_source
from archive_service.model.canonical import canonical
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Invalid, NotFound, Tampered
from archive_service.model.mail import Guard, Source, SourceKind
from archive_service.source_changes import find_source, rotate, set_guard
from archive_service.tenant_services import AddSources
from ingest.passwords import LONGEST, SHORTEST
from tests.unit.core_world import Archive

PASSWORD = "a long enough password"


class World:
    """A tenant with a source, in one process, and what another process reads of it."""

    def __init__(self) -> None:
        self.archive = Archive()
        self.core: Core = self.archive.world.core()
        self.tenant: Tenant = self.core.tenant("acme")
        self.source: Source = add_source(self.tenant, "feed", SourceKind.GENERIC, "archive.localhost")[0]

    def elsewhere(self) -> Source:
        return find_source(self.archive.world.core().tenant("acme"), self.source.id)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.archive.world.close()


def a_certificate(name: str = "sender") -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    return made.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())


def test_a_guard_is_changed_field_by_field_and_read_by_others(world: World) -> None:
    _, first = set_guard(
        world.tenant, world.source.id, {"networks": ["10.0.0.0/8", "2001:DB8::/32"], "tls": True}
    )
    changed, second = set_guard(world.tenant, world.source.id, {"rate": 60, "tls": None})
    assert second == first + 1
    assert changed.guard == Guard(networks=("10.0.0.0/8", "2001:db8::/32"), rate=60)
    assert world.elsewhere() == changed
    assert find_source(world.tenant, "feed") == changed
    assert changed.plain()["guard"] == {"networks": ["10.0.0.0/8", "2001:db8::/32"], "rate": 60}


def test_two_who_change_different_fields_at_once_both_have_their_way(world: World) -> None:
    """The act is made of the guard at the head, not of the one that was seen when the change began."""
    others = world.archive.world.core().tenant("acme")
    find_source(others, world.source.id)
    set_guard(world.tenant, world.source.id, {"tls": True})
    changed, _ = set_guard(others, world.source.id, {"rate": 7})
    assert changed.guard == Guard(tls=True, rate=7)
    with ThreadPoolExecutor(8) as pool:
        tenants = [world.archive.world.core().tenant("acme") for _ in range(8)]
        fields = [{"max_size": 100}, {"tls": None}, {"rate": 9}, {"networks": ["::1/128"]}] * 2
        jobs = [
            pool.submit(set_guard, tenant, world.source.id, f)
            for tenant, f in zip(tenants, fields, strict=True)
        ]
        for job in jobs:
            job.result()
    assert world.elsewhere().guard == Guard(networks=("::1/128",), max_size=100, rate=9)


def test_the_api_s_changes_are_acts_and_show_no_secret(world: World) -> None:
    sources = AddSources(world.tenant, "archive.localhost")
    made = sources.add("second", SourceKind.M365)
    changed = sources.set(made["id"], {"password": PASSWORD, "rate": 5})
    assert changed["guard"] == {"password": True, "rate": 5}
    turned = sources.rotate(made["id"], 3600)
    assert turned["seq"] == changed["seq"] + 1 == made["seq"] + 2 == world.tenant.acts.seen
    assert [each["address"] for each in turned["former"]] == [made["address"]]
    assert sources.list()[1] == {name: value for name, value in turned.items() if name != "seq"}
    assert "argon2" not in json.dumps([changed, turned, sources.list()])
    for name, value in (("networks", ["10.0.0.1/8"]), ("password", "short")):
        with pytest.raises(Invalid):
            sources.set(made["id"], {name: value})


def test_a_source_without_changes_is_written_and_shown_as_ever(world: World) -> None:
    plain = world.source.plain()
    assert set(plain) == {"id", "name", "kind", "address", "intake_days", "lock_mode"}
    assert Source.model_validate(plain) == world.source
    set_guard(world.tenant, world.source.id, {"tls": True})
    changed, _ = set_guard(world.tenant, world.source.id, {"tls": False})
    assert changed.plain() == plain


def test_passwords_and_certificates_are_never_shown(world: World) -> None:
    certificate = a_certificate()
    pem = certificate.public_bytes(Encoding.PEM).decode()
    changed, _ = set_guard(world.tenant, world.source.id, {"password": PASSWORD, "certificates": [pem]})
    assert (changed.guard.password or "").startswith("$argon2id$")
    shown = changed.plain()["guard"]
    assert shown == {"password": True, "certificates": [certificate.fingerprint(hashes.SHA256()).hex()]}
    assert changed.guard.fingerprints == tuple(shown["certificates"])
    said = json.dumps(changed.plain())
    assert PASSWORD not in said and "argon2" not in said
    der = certificate.public_bytes(Encoding.DER)
    assert base64.b64decode(changed.guard.certificates[0]) == der
    lines = b"".join(entry.line for entry in world.archive.entries(world.tenant.acts.log))
    for secret in (b"argon2", PASSWORD.encode(), base64.b64encode(der)):
        assert secret not in lines


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"networks": ["10.0.0.1/8"]}, "source.guard"),  # bits beyond the mask: a mistyped network
        ({"networks": ["ten"]}, "source.guard"),
        ({"networks": [""]}, "source.guard"),
        ({"networks": ["10.0.0.0/8"] * 1001}, "source.guard"),
        ({"rate": 0}, "source.guard"),
        ({"rate": 10**9}, "source.guard"),
        ({"max_size": -1}, "source.guard"),
        ({"certificates": ["no PEM"]}, "source.guard"),
        ({"certificates": [""]}, "source.guard"),
        ({"password": "x" * (SHORTEST - 1)}, "source.password"),
        ({"password": "x" * (LONGEST + 1)}, "source.password"),
        ({"password": "x" * SHORTEST + "\0"}, "source.password"),
        ({"address": "x@y"}, "source.guard"),
        ({}, None),
    ],
)
def test_what_cannot_be_changes_nothing(world: World, change: dict[str, Any], code: str | None) -> None:
    before = world.tenant.acts.seen
    if code is None:
        set_guard(world.tenant, world.source.id, change)
    else:
        with pytest.raises(Invalid) as caught:
            set_guard(world.tenant, world.source.id, change)
        assert caught.value.code == code
        assert "ten" not in str(caught.value).split() and "xxx" not in str(caught.value)
        assert world.tenant.acts.refresh() == before
    assert world.elsewhere() == world.source


def test_an_unknown_source_is_not_found(world: World) -> None:
    for change in (
        lambda: set_guard(world.tenant, "s-none", {"tls": True}),
        lambda: find_source(world.tenant, "x"),
    ):
        with pytest.raises(NotFound):
            change()
    with pytest.raises(NotFound):
        rotate(world.tenant, "s-none", timedelta(days=1))


def test_a_rotated_address_is_good_until_the_overlap_ends_and_not_a_moment_longer(world: World) -> None:
    clock, old = world.archive.world.clock, world.source.address
    end = clock() + timedelta(days=14)
    turned, _ = rotate(world.tenant, world.source.id, timedelta(days=14))
    assert turned.address != old and turned.address.endswith("@archive.localhost")
    assert [
        (each.address, each.until <= rfc3339(clock() + timedelta(days=14))) for each in turned.former
    ] == [(old, True)]
    until = turned.former[0].until
    assert until >= rfc3339(end)
    assert world.elsewhere() == turned
    moment = datetime.datetime.fromisoformat(until)
    for offset, good in ((-1, True), (0, False), (1, False)):
        now = rfc3339(moment + timedelta(microseconds=offset))
        assert turned.answers(old, now) is good
        assert turned.answers(turned.address, now)
    acts = world.tenant.acts
    found = acts.source_at(old.upper())
    assert found == turned == acts.source_at(turned.address)


def test_rotated_twice_both_old_addresses_keep_their_own_ends(world: World) -> None:
    first = world.source.address
    second = rotate(world.tenant, world.source.id, timedelta(days=14))[0].address
    third = rotate(world.tenant, world.source.id, timedelta(0))[0]
    acts = world.tenant.acts
    assert acts.source_at(first) == acts.source_at(third.address) == third
    assert acts.source_at(second) is None, "its overlap is nothing"
    assert len({first, second, third.address}) == 3


@pytest.mark.parametrize("overlap", [timedelta(microseconds=-1), timedelta(days=90, microseconds=1)])
def test_an_overlap_out_of_bounds_is_refused(world: World, overlap: timedelta) -> None:
    with pytest.raises(Invalid, match="90"):
        rotate(world.tenant, world.source.id, overlap)
    assert world.elsewhere() == world.source


@pytest.mark.parametrize(
    "act",
    [
        {"act": "source.set", "guard": {"networks": ["nowhere"]}},
        {"act": "source.set", "guard": {"unheard": 1}},
        {"act": "source.rotate", "address": "x@y", "until": "tomorrow"},
    ],
    ids=str,
)
def test_a_change_that_does_not_follow_its_format_stops_everybody(world: World, act: dict[str, Any]) -> None:
    """A guard of a later version must never be passed over: mail would get in that it keeps out."""
    forged = {"version": 1, "source": world.source.id, **act}
    with pytest.raises(Tampered):
        world.tenant.acts.append(lambda _: forged)
    with pytest.raises(Tampered):
        world.archive.world.core().tenant("acme").acts.refresh()


def test_the_largest_guard_is_an_act(world: World) -> None:
    pem = "".join(a_certificate(f"n{number}").public_bytes(Encoding.PEM).decode() for number in range(60))
    changed, _ = set_guard(
        world.tenant, world.source.id, {"certificates": [pem], "networks": ["::/0"] * 1000}
    )
    assert len(canonical(changed.guard.plain())) > 30_000
    assert world.elsewhere() == changed
