"""Who took part, for exclusion lists: nobody escapes by how an address is written, or by the field it stands in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_service.compartments.parties import authors, parties, placed, plain_address, plain_domain
from archive_service.ledger.exclusions import ExclusionList
from archive_service.model.mail import CaptureRecord, MilterClient, SourceKind
from ingest.interpret import interpret
from retention.exclusion import Excluded, judge

LIST = ExclusionList("x1", "n", "b", frozenset({"dr@ex.fr"}), frozenset({"ex.fr"}), "k1")
ALONE, SEALED = Excluded(None), Excluded("k1")


def record(**fields) -> CaptureRecord:
    given = {"mail_from": "x@out.org", "rcpt_to": ("secret@archive.example",)} | fields
    return CaptureRecord(capture="c1", source="s1", received_at="2026-03-02T10:00:00Z", **given)


def verdict(header: str, kind: SourceKind = SourceKind.GENERIC, **fields) -> Excluded | None:
    raw = f"{header}\r\nMessage-ID: <1@x>\r\n\r\ntext\r\n".encode()
    envelope = record(**fields)
    parsed = interpret(raw, kind, envelope)
    named = [*parties(envelope, kind, parsed), *authors(raw, parsed)]
    return judge(placed(named, LIST.domains), [LIST])


@pytest.mark.parametrize(
    "header",
    [
        "From: dr@ex.fr\r\nTo: p@out.org",
        "From: DR+x@EX.fr.\r\nTo: p@out.org",
        'From: "dr"@ex.fr\r\nTo: p@out.org',
        "From: p@out.org\r\nTo: dr@ex.fr",
    ],
    ids=["plain", "tag, case, dot", "quoted", "to"],
)
def test_an_excluded_party_alone_is_known_however_it_is_written(header):
    assert verdict(header) == ALONE


@pytest.mark.parametrize(
    "header",
    [
        "From: dr@ex.fr, boss@ex.fr\r\nTo: p@out.org",
        "From: dr@ex.fr\r\nFrom: boss@ex.fr\r\nTo: p@out.org",
        "From: dr@ex.fr\r\nSender: boss@ex.fr\r\nTo: p@out.org",
        "From: dr@ex.fr\r\nTo: p@out.org\r\nResent-From: boss@ex.fr\r\nResent-To: q@out.org",
        "From: p@out.org\r\nTo: dr@ex.fr, boss@ex.fr.",
        "From: p@out.org\r\nTo: dr@ex.fr, boss",
        "From: p@out.org\r\nTo: dr@ex.fr, boss@[192.0.2.1]",
        "From: p@out.org\r\nTo: dr@ex.fr,\r\n" + " " * (1 << 18) + "q@out.org",
    ],
    ids=[
        "two in From",
        "two Froms",
        "Sender",
        "Resent",
        "dot",
        "no domain",
        "literal",
        "header too long to read",
    ],
)
def test_a_header_cannot_have_mail_destroyed_that_names_another(header):
    assert verdict(header) == SEALED


def test_what_was_read_in_part_is_never_destroyed():
    raw = b"From: dr@ex.fr\r\nTo: p@out.org\r\n\r\n"
    parsed = interpret(raw, SourceKind.GENERIC, record()).model_copy(update={"flags": ("partly_parsed",)})
    named = [*parties(record(), SourceKind.GENERIC, parsed), *authors(raw, parsed)]
    assert judge(placed(named, LIST.domains), [LIST]) == SEALED


def test_a_directory_name_is_a_party_of_the_house():
    header = "From: dr@ex.fr\r\nTo: p@out.org\r\n$JournalRecipients: CN=Boss/O=Ex"
    assert verdict(header, SourceKind.DOMINO) == SEALED


def test_the_transaction_of_a_postfix_source_names_parties():
    header = "From: dr@ex.fr\r\nTo: p@out.org"
    assert verdict(header, SourceKind.POSTFIX) == ALONE
    assert verdict(header, SourceKind.POSTFIX, mail_from="boss@ex.fr") == SEALED
    assert verdict(header, SourceKind.GENERIC, mail_from="journal@ex.fr") == ALONE
    to = {"rcpt_to": ("p@out.org",)}
    assert verdict(header, SourceKind.POSTFIX, milter=MilterClient(), **to) == ALONE
    assert verdict(header, SourceKind.POSTFIX, milter=MilterClient(user="boss@ex.fr"), **to) == SEALED
    for other in ("boss@ex.fr.", "boss", "boss@[192.0.2.1]", '"boss"@ex.fr'):
        rcpt = {"rcpt_to": ("p@out.org", other)}
        assert verdict(header, SourceKind.POSTFIX, milter=MilterClient(), **rcpt) == SEALED, other


def test_a_domain_has_one_form():
    assert plain_domain("ÉTÉ.fr.") == plain_domain("xn--t-9fab.fr") == "xn--t-9fab.fr"
    assert plain_address("Md@été.FR") == "md@xn--t-9fab.fr"
    assert plain_address("/O=EX/CN=BOSS") == "/o=ex/cn=boss"
    assert plain_address('"a b"@ex.fr') == '"a b"@ex.fr'


@given(st.text())
def test_the_form_of_a_form_is_itself(text):
    once = plain_address(text)
    assert plain_address(once) == once
