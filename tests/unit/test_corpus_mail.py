"""Mail that others wrote, where it is at hand: nothing raises, offsets hold, and other parsers agree."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive_service.model.canonical import canonical
from archive_service.model.mail import CaptureRecord, Parsed, Part, SourceKind
from ingest.extraction import extract_text
from ingest.interpret import interpret
from ingest.mime.body import decode_body
from ingest.mime.charsets import decode

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
NOT_MAIL = {".json", ".golden", ".msg", ".pst", ".png", ".md", ".txt"}
RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=("a@example.fr",),
)
# Of the 113 messages whose reading imap_tools (Python's own parser) publishes, how many we read alike. Where
# we differ we mean to: Windows-1252 where Latin-1 is named, header fields after a damaged line, raw 8-bit
# subjects, comments and odd line ends; a text part is no attachment for having a Content-ID.
FLOORS = {"subject": 111, "from": 111, "to": 109, "text": 106, "html": 111, "attachments": 110}


def mails() -> list[Path]:
    if not CORPUS.is_dir():
        return []
    found = (path for path in CORPUS.rglob("*") if path.is_file() and path.suffix not in NOT_MAIL)
    return sorted(path for path in found if not path.name.startswith(("LICENSE", "_SOURCE", "COPYING")))


@pytest.fixture
def corpus() -> Path:
    if not CORPUS.is_dir():
        pytest.skip("the mail corpus is not here (looked for shared/corpus beside the repository)")
    return CORPUS


@pytest.mark.parametrize("kind", [SourceKind.GENERIC, SourceKind.M365])
def test_every_mail_is_read(corpus: Path, kind: SourceKind) -> None:
    paths = mails()
    assert len(paths) > 1000
    for path in paths:
        raw = path.read_bytes()
        parsed = interpret(raw, kind, RECORD)
        assert 0 <= parsed.inner_start <= parsed.inner_end <= len(raw)
        for part in parsed.parts:
            assert parsed.inner_start <= part.start <= part.end <= parsed.inner_end, path
        assert "partly_parsed" not in parsed.flags, path
        canonical(parsed.plain())
        canonical(extract_text(raw, parsed).plain())


@pytest.mark.parametrize("ends", ["lf", "crlf"])
def test_real_journal_reports_are_unwrapped(corpus: Path, ends: str) -> None:
    expected: dict[str, dict[str, Any]] = json.loads(
        (corpus / "journal" / "expected.json").read_text("utf-8")
    )
    for name, wanted in expected.items():
        raw = (corpus / "journal" / name).read_bytes().replace(b"\r\n", b"\n")
        if ends == "crlf":
            raw = raw.replace(b"\n", b"\r\n")
        parsed = interpret(raw, SourceKind.M365, RECORD)
        inner = raw[parsed.inner_start : parsed.inner_end]
        assert hashlib.sha256(inner).hexdigest() == wanted[f"inner_sha256_{ends}"]
        assert ends == "crlf" or len(inner) == wanted["inner_len_lf"]
        assert parsed.flags == ("journal_report",)
        assert parsed.envelope_complete
        assert parsed.sender == wanted["sender"]
        assert parsed.subject == wanted["subject"]
        assert parsed.message_id == wanted["inner_message_id"] == wanted["message_id"]
        reported = [one for one in parsed.recipients if one.on_report]
        assert [one.address for one in reported] == [one["address"] for one in wanted["recipients"]]
        assert {one.role.value for one in reported} == {"unknown"}
        assert interpret(raw, SourceKind.GENERIC, RECORD).flags == ("forged_report",)


def squeezed(text: str) -> str:
    return "".join(text.split())


def texts(raw: bytes, parts: tuple[Part, ...], kind: str) -> str:
    chosen = (part for part in parts if part.content_type == kind and not part.attachment)
    return "".join(decode(bytes(decode_body(raw, p.start, p.end, p.encoding)), p.charset) for p in chosen)


def without_charset(html: str) -> str:
    """imap_tools rewrites the charset that HTML declares."""
    return re.sub(r"charset=[\"']?[\w-]+", "charset=", squeezed(html), flags=re.IGNORECASE)


def compared(raw: bytes, parsed: Parsed, wanted: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    attachments = sum(part.attachment for part in parsed.parts)
    yield "subject", squeezed(parsed.subject) == squeezed(wanted["subject"])
    yield "from", (parsed.sender or "") == wanted["from_"]
    to = [one.address for one in parsed.recipients if one.role == "to"]
    yield "to", to == list(dict.fromkeys(wanted["to"]))
    yield "text", squeezed(texts(raw, parsed.parts, "text/plain")) == squeezed(wanted["text"])
    yield "html", without_charset(texts(raw, parsed.parts, "text/html")) == without_charset(wanted["html"])
    yield "attachments", attachments == len(wanted["attachments"])


def test_another_parser_reads_the_same(corpus: Path) -> None:
    expected = json.loads((corpus / "imap_tools" / "expected.json").read_text("utf-8"))
    alike: Counter[str] = Counter()
    for name, wanted in expected.items():
        raw = (corpus / "imap_tools" / name).read_bytes()
        for what, same in compared(raw, interpret(raw, SourceKind.GENERIC, RECORD), wanted):
            alike[what] += same
    assert len(expected) == 113
    assert all(alike[what] >= floor for what, floor in FLOORS.items()), dict(alike)
