"""Postfix by milter: the record's RCPTs are the mail's own, and all of them."""

import pytest

from archive_service.catalog.merge import unite
from archive_service.model.mail import CaptureRecord, MilterClient, Parsed, Recipient, Role, SourceKind
from ingest.interpret import interpret
from tests.unit.test_dialect_copies import OWN, mail, named, record


def by_milter(raw: bytes, *rcpt: str) -> Parsed:
    held = record(*rcpt, mail_from="bounce@lists.example").model_copy(update={"milter": MilterClient()})
    return interpret(raw, SourceKind.POSTFIX, held)


def test_all_recipients_of_the_envelope_are_known_and_who_is_in_no_header_was_blind() -> None:
    parsed = by_milter(mail(), "bob@example.fr", "Hidden@example.fr", "carl@example.fr", "hidden@example.fr")
    assert parsed.recipients == (
        named("bob@example.fr", Role.TO),
        named("Hidden@example.fr", Role.BCC),
        named("carl@example.fr", Role.CC),
    )
    assert parsed.envelope_complete
    assert parsed.sender == "anne@example.fr"
    assert parsed.flags == ()


def test_who_is_only_in_the_header_got_nothing_here() -> None:
    parsed = by_milter(mail(), "bob@example.fr")
    assert parsed.recipients[1:] == (Recipient(address="carl@example.fr", role=Role.CC),)
    assert not parsed.recipients[1].on_report


@pytest.mark.parametrize("address", ["verp+bob=example.fr@lists.example", OWN])
def test_a_recipient_s_sub_address_is_his_own(address: str) -> None:
    """Not one that names another recipient, as in the archive's address."""
    assert by_milter(mail(), address).recipients[0] == named(address, Role.BCC)


def test_a_mail_that_claims_to_be_a_report_stays_whole() -> None:
    raw = mail("X-MS-Journal-Report: ")
    parsed = by_milter(raw, "bob@example.fr")
    assert parsed.flags == ("forged_report",)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))


def test_milter_and_copy_are_one_message() -> None:
    """The copy has the Received field of that hop, the milter's has not; identity leaves it out."""
    parsed = by_milter(mail(header=HEADER_WITHOUT_HOP), "bob@example.fr", "hidden@example.fr")
    copy = interpret(mail(), SourceKind.POSTFIX, record(OWN))
    assert parsed.inner_digest == copy.inner_digest
    united = unite([*parsed.recipients, *copy.recipients])
    assert [one.address for one in united] == ["bob@example.fr", "hidden@example.fr", "carl@example.fr"]


HEADER_WITHOUT_HOP = (
    "From: Anne <anne@example.fr>",
    "To: Bob <bob@example.fr>",
    "Cc: carl@example.fr",
    "Subject: s",
    "Message-ID: <1@example.fr>",
)


def test_a_record_keeps_what_the_mta_said_of_its_client_and_older_ones_read_as_before() -> None:
    told = MilterClient(client="192.0.2.1", helo="h", user="anne", queue="4QX")
    kept = record("bob@example.fr").model_copy(update={"milter": told})
    assert kept.plain()["milter"] == {"client": "192.0.2.1", "helo": "h", "user": "anne", "queue": "4QX"}
    assert CaptureRecord.model_validate(kept.plain()) == kept
    assert "milter" not in record("bob@example.fr").plain()
    assert record("x").model_copy(update={"milter": MilterClient()}).plain()["milter"] == {}
