"""Mail that others wrote, where it is at hand, through every dialect: nothing raises, only reports are unwrapped."""

from pathlib import Path

import pytest

from archive_service.model.mail import CaptureRecord, SourceKind
from ingest.dialects import dialect_for

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
NOT_MAIL = {".json", ".golden", ".msg", ".pst", ".png", ".md", ".txt"}
RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=("k3jx7q+bob=example.fr@archive.example.fr",),
)
WRAPS = {SourceKind.EXCHANGE, SourceKind.M365}


@pytest.mark.parametrize("kind", SourceKind)
def test_every_dialect_takes_any_mail(kind: SourceKind) -> None:
    if not CORPUS.is_dir():
        pytest.skip("the mail corpus is not here (looked for shared/corpus beside the repository)")
    dialect = dialect_for(kind)
    marked = set()
    for path in CORPUS.rglob("*"):
        if not path.is_file() or path.suffix in NOT_MAIL:
            continue
        raw = path.read_bytes()
        found = dialect.unwrap(raw, RECORD)
        assert 0 <= found.start <= found.end <= len(raw), path
        if {"journal_report", "forged_report"} & set(found.flags):
            marked.add(path.parent.name)
        else:
            assert (found.start, found.end) == (0, len(raw)), path
        assert found.envelope is None or not found.envelope.complete or kind in WRAPS
    assert "journal" in marked
    assert not marked & {"imap_tools"}
