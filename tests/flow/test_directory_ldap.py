"""``custodians import ldap`` from a real slapd: people, groups, Active Directory's attributes, TLS, and refusals."""

import json
import socket
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from archive_service.directory.ldap_client import LdapServer, connected
from archive_service.directory.ldap_entry import LdapEntry
from archive_service.directory.ldap_people import read_ldap
from archive_service.model.errors import Invalid, StoreDenied, StoreError
from tests.flow.archive_fixtures import Said, done, no_settings_around, run
from tests.services.slapd import BASE, LIMIT, ROOT, Slapd, slapd
from tests.services.tools import free_port

__all__ = ["no_settings_around", "slapd"]
GUID = UUID("00112233-4455-6677-8899-aabbccddeeff")

# the library leaves the socket of a handshake that failed to the collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def person(name: str) -> str:
    return f"uid={name},ou=people,{BASE}"


def add(server: Slapd, name: str, classes: tuple[str, ...] = ("inetOrgPerson",), **attributes: Any) -> None:
    with server.connection() as admin:
        admin.add(person(name), list(classes), {"cn": name.title(), "sn": name.title()} | attributes)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    done("init", "--data", folder, "--tenant", "acme")
    return folder


class Importing:
    def __init__(self, server: Slapd, data: Path, tmp_path: Path) -> None:
        self.server, self.data = server, data
        self.password = tmp_path / "password"
        self.password.write_text(server.password + "\n")

    def __call__(self, *more: object, url: str | None = None, base: str = BASE, ca: bool = True) -> Said:
        trusted = ["--ca", self.server.ca] if ca else []
        return run(
            *("custodians", "import", "ldap", "--data", self.data, "--json", *trusted),
            *("--url", url or f"ldaps://localhost:{self.server.ldaps}", "--base", base),
            *("--bind-dn", ROOT, "--password-file", self.password, *more),
        )

    def people(self) -> dict[str, dict[str, Any]]:
        answer = done("custodians", "list", "--data", self.data, "--json").answer
        return {each["name"]: each for each in answer["custodians"]}


@pytest.fixture
def importing(slapd: Slapd, data: Path, tmp_path: Path) -> Importing:
    return Importing(slapd, data, tmp_path)


def test_people_and_their_groups_come_in_and_change(importing: Importing, slapd: Slapd) -> None:
    add(
        slapd,
        "anne",
        ("inetOrgPerson", "inetLocalMailRecipient"),
        displayName="Anne Martin",
        givenName="Anne",
        mail=["Anne@Ex.fr", "a.martin@ex.fr"],
        mailLocalAddress="am@ex.fr",
        employeeNumber="7",
        departmentNumber="Achats",
    )
    add(slapd, "robot")  # no address: nobody
    with slapd.connection() as admin:
        admin.add(f"cn=buyers,ou=groups,{BASE}", ["groupOfNames"], {"member": person("anne")})
    first = importing()
    assert (first.code, first.answer["added"], first.answer["troubles"]) == (0, 1, [])
    anne = importing.people()["Anne Martin"]
    assert {(held["address"], held["kind"]) for held in anne["addresses"]} == {
        ("anne@ex.fr", "primary"),
        ("a.martin@ex.fr", "alias"),
        ("am@ex.fr", "alias"),
    }
    assert [each["name"] for each in anne["groups"]] == ["buyers"]
    assert (anne["department"], anne["external"]["employee"]) == ("Achats", "7")
    assert importing().answer["unchanged"] == 1

    with slapd.connection() as admin:
        admin.modify(person("anne"), {"mail": [("MODIFY_REPLACE", ["anne@ex.fr"])]})
        admin.modify_dn(person("anne"), "uid=annem")
    changed = importing().answer
    assert (changed["added"], changed["changed"]) == (0, 1)  # entryUUID stays when an entry is renamed
    ended = {held["address"]: held["until"] for held in importing.people()["Anne Martin"]["addresses"]}
    assert ended["anne@ex.fr"] is None and ended["a.martin@ex.fr"] is not None


def test_active_directory_says_more(importing: Importing, slapd: Slapd) -> None:
    add(
        slapd,
        "zoe",
        ("inetOrgPerson", "user"),
        mail="zoe@ex.fr",
        objectGUID=GUID.bytes_le,
        proxyAddresses=["SMTP:Zoe.Roux@ex.fr", "smtp:zoe@ex.fr", "X500:/o=ex/cn=zoe", "SIP:zoe@ex.fr"],
        whenCreated="20240115080000Z",
        company="Exemple SA",
        department="Ventes",
        userAccountControl="512",
        accountExpires=str(2**63 - 1),
    )
    add(slapd, "off", ("inetOrgPerson", "user"), mail="off@ex.fr", userAccountControl="514")
    add(slapd, "old", ("inetOrgPerson", "user"), mail="old@ex.fr", accountExpires="133500000000000000")
    assert importing().answer["added"] == 3
    people = importing.people()
    zoe = people["Zoe"]
    assert {(held["address"], held["kind"]) for held in zoe["addresses"]} == {
        ("zoe.roux@ex.fr", "primary"),
        ("zoe@ex.fr", "alias"),
        ("/o=ex/cn=zoe", "other"),
    }
    assert zoe["external"]["ldap"] == str(GUID)
    assert (zoe["joined"], zoe["entity"], zoe["department"], zoe["left"]) == (
        "2024-01-15",
        "Exemple SA",
        "Ventes",
        None,
    )
    assert people["Old"]["left"] == "2024-01-17" and people["Off"]["left"] is not None
    assert importing().answer["unchanged"] == 3
    shown = done("custodians", "show", "zoe@ex.fr", "--data", importing.data, "--json").answer
    assert shown["resolved"]["unresolved"] == [{"what": "/o=ex/cn=zoe", "why": "address.not_smtp"}]


def test_more_people_than_one_answer_holds_come_in_pages(
    importing: Importing, slapd: Slapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archive_service.directory.ldap_client.PAGE", 7)
    with slapd.connection() as admin:
        for number in range(LIMIT + 9):
            fields = {"cn": f"P{number}", "sn": "P", "mail": f"p{number}@ex.fr"}
            admin.add(person(f"p{number}"), ["inetOrgPerson"], fields)
    assert importing().answer["added"] == LIMIT + 9
    gone = importing("--complete", "--filter", "(mail=p1*)", "--most-leavers", "5")
    assert (gone.code, json.loads(gone.out)["error"]["code"]) == (1, "import.many_leavers")
    left = importing("--complete", "--filter", "(!(mail=p28@ex.fr))").answer
    assert left["left"] == 1


def test_tls_is_verified(importing: Importing, slapd: Slapd) -> None:
    add(slapd, "anne", mail="anne@ex.fr")
    assert importing(url=f"ldap://localhost:{slapd.ldap}").answer["added"] == 1  # STARTTLS
    for url in (f"ldaps://localhost:{slapd.ldaps}", f"ldap://localhost:{slapd.ldap}"):
        untrusted = importing(url=url, ca=False)
        assert (untrusted.code, json.loads(untrusted.out)["error"]["code"]) == (1, "ldap.failed")
    elsewhere = importing(
        url=f"ldaps://127.0.0.2:{slapd.ldaps}"
    )  # not in the certificate, not listening either
    assert elsewhere.code == 1
    clear = importing("--no-tls", url=f"ldap://localhost:{slapd.ldap}", ca=False)
    assert clear.answer["unchanged"] == 1


def test_a_certificate_for_another_name_is_refused(importing: Importing, slapd: Slapd) -> None:
    server = LdapServer(f"ldaps://127.1:{slapd.ldaps}", ROOT, slapd.password, slapd.ca)
    with pytest.raises(StoreError), connected(server):  # the same address, under another name
        pass


def test_what_goes_wrong_is_said_without_names(importing: Importing, slapd: Slapd) -> None:
    importing.password.write_text("wrong")
    denied = importing()
    assert (denied.code, json.loads(denied.out)["error"]["code"]) == (1, "ldap.denied")
    assert "admin" not in denied.err and "wrong" not in denied.err
    importing.password.write_text(slapd.password)
    assert importing("--filter", "(mail=").code == 2
    nowhere = importing(url=f"ldaps://127.0.0.1:{free_port()}")
    assert json.loads(nowhere.out)["error"]["code"] == "ldap.failed"
    missing = importing(base="dc=nowhere,dc=fr")
    assert json.loads(missing.out)["error"]["code"] == "ldap.failed"
    for url in ("http://x", "ldaps://", "x"):
        assert importing(url=url).code == 2


def test_anonymous_sees_nothing_here(slapd: Slapd) -> None:
    add(slapd, "anne", mail="anne@ex.fr")
    with pytest.raises((StoreError, StoreDenied)):
        with connected(LdapServer(f"ldaps://localhost:{slapd.ldaps}", ca=slapd.ca)) as reader:
            assert not read_ldap(reader, BASE, today="2026-03-01").people
            raise StoreDenied("nothing was shown")


def test_a_file_of_certificates_that_is_not_there(slapd: Slapd, tmp_path: Path) -> None:
    with pytest.raises(Invalid), connected(LdapServer("ldaps://localhost", ca=tmp_path / "none")):
        pass


class Entries:
    def __init__(self, *people: LdapEntry, referrals: int = 0) -> None:
        self.people, self.referrals = people, referrals

    def entries(self, base: str, filter: str, attributes: list[str]) -> Any:
        return iter(self.people if "mail" in filter else ())


def test_what_a_server_cut_short_is_named_and_does_not_end_anything() -> None:
    entry = LdapEntry(
        "cn=Anne,dc=ex", {"mail": [b"anne@ex.fr"], "memberof": [b"cn=G,dc=ex"]}, frozenset({"memberof"})
    )
    read = read_ldap(Entries(entry, referrals=2), "dc=ex", today="2026-03-01")
    assert read.people[0].groups is None
    assert [each.code for each in read.troubles] == ["ldap.cut", "ldap.referral"]
    whole = read_ldap(Entries(LdapEntry(entry.dn, entry.attributes)), "dc=ex", today="2026-03-01")
    assert whole.people[0].groups is not None and whole.people[0].external == {"ldap": "cn=anne,dc=ex"}


@pytest.mark.parametrize("scheme", ["ldaps", "ldap"])
def test_the_name_is_asked_for_once_and_the_certificate_is_held_against_it(
    slapd: Slapd, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver leads to the server first and then elsewhere; under a name that is not the certificate's nothing is
    said to it."""
    real: Any = socket.getaddrinfo
    asked: list[str] = []

    def resolver(host: str, port: int, *more: Any, **named: Any) -> Any:
        if host not in ("localhost", "rebound.example"):
            return real(host, port, *more, **named)
        asked.append(host)
        address = "127.0.0.1" if asked.count(host) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    port = slapd.ldaps if scheme == "ldaps" else slapd.ldap
    with connected(LdapServer(f"{scheme}://localhost:{port}", ROOT, slapd.password, slapd.ca)) as reader:
        assert list(reader.entries(BASE, "(objectClass=*)", ["cn"]))
    with pytest.raises(StoreError) as refused:
        with connected(LdapServer(f"{scheme}://rebound.example:{port}", ROOT, slapd.password, slapd.ca)):
            raise AssertionError("another name than the certificate's")
    assert (refused.value.code, asked) == ("ldap.failed", ["localhost", "rebound.example"])
