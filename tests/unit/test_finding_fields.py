"""Findings of earlier readings stay readable, and say no more and no less than they said."""

from typing import Any

import pytest

from archive_service.model.mail import CaptureRecord, Finding, MilterClient, Parsed

OLDEST = {
    "version": 1,
    "capture": "c",
    "message": "m",
    "source": "s",
    "received_at": "2026-03-01T00:00:00.000000Z",
    "parsed": {
        "parser": "mime-1",
        "dialect": "exchange",
        "flags": ["journal_report"],
        "inner_start": 1,
        "inner_end": 2,
        "inner_digest": "0" * 64,
        "identity_version": 1,
        "recipients": [{"address": "b@example.fr", "role": "unknown", "on_report": True}],
        "envelope_complete": True,
        "subject": "s",
        "from_header": "a@example.fr",
        "parts": [],
    },
}


def test_a_finding_of_the_first_reading_is_read_and_written_as_it_was() -> None:
    finding = Finding.model_validate(OLDEST)
    assert finding.parsed.mailbox is None
    assert finding.plain() == OLDEST


@pytest.mark.parametrize("field", ["mailbox"])
def test_what_later_readings_added_may_be_absent(field: str) -> None:
    assert not Parsed.model_fields[field].is_required()
    assert field not in Finding.model_validate(OLDEST).plain()["parsed"]


def record(*recipients: str, **more: Any) -> CaptureRecord:
    return CaptureRecord(
        capture="c", source="s", received_at="2026-03-01T00:00:00Z", mail_from="", rcpt_to=recipients, **more
    )


def test_how_a_capture_came_is_said_where_it_matters() -> None:
    assert record("abc@archive").way is None
    assert record(channel="import").way == "import"
    assert record("NDR-abc@archive").way == "undeliverable"
    assert record("ndr-abc@archive", channel="import").way == "undeliverable"


def test_by_milter_anybody_names_recipients() -> None:
    assert record("ndr-abc@elsewhere.example", milter=MilterClient()).way is None
