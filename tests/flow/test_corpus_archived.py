"""Mail that others wrote goes through the real write path and comes back byte for byte, whatever it is."""

import hashlib
from pathlib import Path

import pytest

from archive_service.ledger.payloads import open_capture
from archive_service.ledger.reader import LogReader
from archive_service.model.mail import CaptureRecord, SourceKind
from ingest.interpret import interpret
from ingest.mime.body import decode_body
from tests.flow.archive_fixtures import Open, opened, run, verify
from tests.flow.importing import made

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
NO_ITEM = {".json", ".golden", ".md", ".txt"}  # what a corpus says of its mail
RECORD = CaptureRecord(
    capture="c", source="s", received_at="2026-03-01T00:00:00.000000Z", mail_from="", rcpt_to=()
)


def _corpus() -> list[bytes]:
    """Each file once: .msg, .pst and pictures too, for a sender may send anything."""
    if not CORPUS.is_dir():
        pytest.skip("the mail corpus is not here (looked for shared/corpus beside the repository)")
    paths = sorted(path for path in CORPUS.rglob("*") if path.is_file() and path.suffix not in NO_ITEM)
    named = (path for path in paths if not path.name.startswith(("LICENSE", "_SOURCE", "COPYING")))
    return list(dict.fromkeys(path.read_bytes() for path in named))


def _held(archive: Open) -> dict[int, bytes]:
    """The bytes of every capture by its place in the log, checked against ciphertext, commit and ledger."""
    log = archive.core.slots(archive.tenant.id, "capture").take().log
    return {
        entry.seq: open_capture(archive.core.store, archive.tenant.keyring, log, entry.fields).raw
        for entry in LogReader(archive.core.store, log).entries()
        if entry.type == "capture"
    }


def test_every_mail_of_the_corpus_comes_back_as_it_came(tmp_path: Path) -> None:
    mails = _corpus()
    assert len(mails) > 1000
    data = made(tmp_path / "archive")
    assert (
        run("source", "add", "--data", data, "--tenant", "acme", "--kind", "generic", "--name", "all").code
        == 0
    )
    archive = opened(data)
    try:
        written = archive.write(mails)
        archive.follow()
        archive.checkpointer.run_once()
        held = _held(archive)
        assert [held[each.seq] for each in written] == mails
        assert len({each.capture for each in written}) == len(mails)
    finally:
        archive.close()
    assert verify(data).answer["clean"]


def test_parts_are_offsets_into_what_was_received() -> None:
    for raw in _corpus():
        parsed = interpret(raw, SourceKind.GENERIC, RECORD)
        for part in parsed.parts:
            decoded = decode_body(raw, part.start, part.end, part.encoding)
            assert (hashlib.sha256(decoded).hexdigest(), len(decoded)) == (part.sha256, part.size)
