"""What a feed could not deliver is brought in from a mailbox: unwrapped, flagged, counted, and no sign of life."""

from pathlib import Path

import pytest

from archive_service.bootstrap import open_core
from archive_service.catalog.base import LastArrival
from archive_service.model.mail import Finding
from archive_service.settings import Settings
from tests.flow.archive_fixtures import SAMPLES, done, no_settings_around
from tests.flow.importing import counts, imported, made

__all__ = ["no_settings_around"]  # fixture

REPORT = (SAMPLES / "exchange-undelivered-report.eml").read_bytes()
BARE = b"""From: postmaster@example.fr\r
To: journal-ndr@example.fr\r
Subject: Undeliverable\r
Message-ID: <ndr@example.fr>\r
Content-Type: multipart/report; report-type=delivery-status; boundary=b\r
\r
--b\r
Content-Type: text/plain\r
\r
It was too large.\r
--b\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mail.example.fr\r
\r
--b--\r
"""
ORDINARY = b"From: a@example.fr\r\nTo: journal-ndr@example.fr\r\nMessage-ID: <o@example.fr>\r\nSubject: hello\r\n\r\nx"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = made(tmp_path / "archive")
    done("source", "add", "--tenant", "acme", "--kind", "exchange", "--name", "Exchange", "--data", folder)
    box = tmp_path / "box"
    box.mkdir()
    for name, raw in (("1", REPORT), ("2", BARE), ("3", ORDINARY)):
        (box / f"{name}.eml").write_bytes(raw)
    return folder


def take(data: Path, *more: object):  # type: ignore[no-untyped-def]
    return imported(data, "eml", data.parent / "box", "--undeliverable", *more)


def findings(data: Path) -> dict[str | None, Finding]:
    core = open_core(Settings(data=data))
    live = core.engines.live(core.tenant("acme").id)
    try:
        rows = [
            Finding.model_validate(row["finding"])
            for row in live.catalog.dump()
            if row["table"] == "captures"
        ]
        return {finding.parsed.message_id: finding for finding in rows}
    finally:
        live.close()
        core.close()


def test_reports_are_unwrapped_and_flagged_and_none_passes_unseen(data: Path) -> None:
    assert counts(take(data, "--source", "Exchange")) == (3, 0, 0)
    found = findings(data)
    whole = next(each for name, each in found.items() if name not in ("<ndr@example.fr>", "<o@example.fr>"))
    assert {"undelivered_report", "journal_report"} <= set(whole.parsed.flags)
    assert whole.parsed.envelope_complete
    assert set(found["<ndr@example.fr>"].parsed.flags) >= {"undelivered_report", "report_unparsed"}
    assert "undelivered_report" not in found["<o@example.fr>"].parsed.flags
    assert {each.channel for each in found.values()} == {"undeliverable"}


def test_again_is_safe_and_it_is_no_sign_of_life_of_the_feed(data: Path) -> None:
    take(data, "--source", "Exchange")
    assert counts(take(data, "--source", "Exchange")) == (0, 3, 0)
    core = open_core(Settings(data=data))
    tenant = core.tenant("acme")
    live = core.engines.live(tenant.id)
    try:
        tenant.acts.refresh()
        feed, beside = tenant.acts.sources()
        assert (beside.name, beside.kind) == ("Exchange (undeliverable)", feed.kind)
        for source in (feed, beside):
            assert live.catalog.last_arrival(source.id, 2**40) == LastArrival(None, None)
        hours = live.catalog.arrivals(0, 2**40).hours
        assert {(each.source, each.kind) for each in hours} == {(beside.id, "undeliverable")}
        assert sum(each.count for each in hours) == 3
    finally:
        live.close()
        core.close()


def test_it_says_of_which_feed(data: Path) -> None:
    assert take(data).answer["error"]["code"] == "input.usage"
    assert take(data, "--source", "nobody").answer["error"]["code"] == "source.unknown"
    wrong = take(data, "--source", "Exchange", "--kind", "m365")
    assert wrong.answer["error"]["code"] == "import.kind"
