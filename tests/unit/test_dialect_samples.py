"""The project's own journal reports, against what was put into them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from archive_service.model.mail import CaptureRecord, Parsed, Recipient, SourceKind
from ingest.extraction import extract_text
from ingest.interpret import interpret

SAMPLES = Path(__file__).parents[1] / "samples"
EXPECTED: dict[str, dict[str, Any]] = json.loads((SAMPLES / "expected.json").read_text("utf-8"))
RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=("a@example.fr",),
)
FIELDS = ("sender", "on_behalf_of", "label", "subject", "message_id", "sent_at", "envelope_complete")


def received(name: str) -> CaptureRecord:
    """The envelope a sample came under, where that says something."""
    rcpt = EXPECTED[name].get("rcpt_to")
    return RECORD.model_copy(update={"rcpt_to": tuple(rcpt)}) if rcpt else RECORD


def read(name: str) -> tuple[bytes, Parsed]:
    raw = (SAMPLES / name).read_bytes()
    return raw, interpret(raw, SourceKind(EXPECTED[name]["kind"]), received(name))


def test_every_sample_is_described() -> None:
    assert {path.name for path in SAMPLES.glob("*.eml")} == set(EXPECTED)
    assert all(b"\n" not in path.read_bytes().replace(b"\r\n", b"") for path in SAMPLES.glob("*.eml"))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_is_read(name: str) -> None:
    raw, parsed = read(name)
    wanted = EXPECTED[name]
    inner = raw[parsed.inner_start : parsed.inner_end]
    assert hashlib.sha256(inner).hexdigest() == wanted["inner_sha256"]
    assert list(parsed.flags) == wanted["flags"]
    assert {field: getattr(parsed, field) for field in FIELDS} == {field: wanted[field] for field in FIELDS}
    assert parsed.mailbox == wanted.get("mailbox")
    assert list(parsed.recipients) == [Recipient.model_validate(one) for one in wanted["recipients"]]
    attachments = [part.plain() | {"filename": part.filename} for part in parsed.parts if part.attachment]
    assert [
        {key: attachment[key] for key in one}
        for attachment, one in zip(attachments, wanted["attachments"], strict=True)
    ] == wanted["attachments"]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_words_of_a_sample_are_found(name: str) -> None:
    raw, parsed = read(name)
    text = extract_text(raw, parsed)
    for word in EXPECTED[name]["words"]:
        assert word in text.body + text.attachments
    assert "ignorer" not in text.body


@pytest.mark.parametrize("name", EXPECTED)
def test_line_ends_do_not_change_what_is_known(name: str) -> None:
    raw, parsed = read(name)
    other = interpret(raw.replace(b"\r\n", b"\n"), SourceKind(EXPECTED[name]["kind"]), received(name))
    places = {"inner_start", "inner_end", "parts"}
    assert other.model_dump(exclude=places) == parsed.model_dump(exclude=places)


def test_two_reports_of_one_message_carry_one_message() -> None:
    _, one = read("m365-recipient.eml")
    _, other = read("m365-recipient-fork.eml")
    assert one.inner_digest == other.inner_digest
    assert (
        EXPECTED["m365-recipient.eml"]["inner_sha256"] != EXPECTED["m365-recipient-fork.eml"]["inner_sha256"]
    )


def test_two_copies_for_two_recipients_are_one_message() -> None:
    _, one = read("google-copy-to.eml")
    _, other = read("google-copy-bcc.eml")
    assert one.inner_digest == other.inner_digest


FAMILIES = (frozenset(("exchange", "m365")), frozenset(("zimbra",)))


def strangers(kind: str) -> list[SourceKind]:
    """The kinds of source on which a report of this kind of system is a forgery."""
    family = next(family for family in FAMILIES if kind in family)
    return [other for other in SourceKind if other not in family]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name, one in EXPECTED.items()
        if "journal_report" in one["flags"]
        for kind in strangers(one["kind"])
    ],
)
def test_no_other_kind_of_source_unwraps_a_report(name: str, kind: SourceKind) -> None:
    raw = (SAMPLES / name).read_bytes()
    parsed = interpret(raw, kind, RECORD)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    # A non-delivery report is mail like any other; what it returns is not its own claim.
    assert ("forged_report" in parsed.flags) == ("undelivered_report" not in EXPECTED[name]["flags"])
    assert not parsed.envelope_complete
    assert not any(recipient.on_report for recipient in parsed.recipients)
