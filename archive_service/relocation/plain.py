"""What a tenant can read of its handover package without our software: mail, envelopes, sources, access log, proofs."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archive_service.access.events import AccessRecord
from archive_service.ledger.anchors import anchor_of, salt_of
from archive_service.ledger.entry import Entry
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.proofs import include
from archive_service.ledger.reader import LogReader, checkpoint_note, checkpoint_size, logs, newest_checkpoint
from archive_service.model.errors import KeyUnavailable, Tampered
from archive_service.tenant_services import OpenTenant
from archive_service.vault.key_layout import LogId

_PAGE = 1000

README = """\
{name}: handover of a mail archive
Package {package}, made {made}.

mail/ID.eml           every mail as it was received, byte for byte; open it with any mail program
mail/ID.json          its envelope (who handed it in, when, for whom), and where its entry stands
sources.json          the feeds that the mail came from
access.jsonl          who searched, read and exported what: a JSON object a line, newest first
verifier-keys.txt     the public keys that checkpoints are signed with (C2SP signed notes)
proofs/anchors.jsonl  for each anchored checkpoint: the note, its salt and anchor, the entry of the root log that
                      holds the anchor, and the path from there to a signed checkpoint of the root log
store/ledger          the logs: entries, checkpoints, tiles; store/objects: the sealed mail that they name
keys/                 the keys to it, wrapped under the transport key, which is in a file of its own
manifest.json         size, SHA-256 and SHA-512 of every other file; manifest.mac authenticates it

With the key file another archive-service takes all of it over, under the same ids:

    archive-service handover-load DIR --key-file FILE --data NEW

Captures that were erased by right, or barred from being read, have no copy under mail/.
"""


@dataclass
class Counts:
    """What lies in the package. ``left_out``: captures that are barred or erased; ``damaged``: that do not open."""

    mails: int = 0
    left_out: int = 0
    damaged: int = 0
    access: int = 0
    sources: int = 0
    anchors: int = 0


def write_plain(opened: OpenTenant, root: LogId, folder: Path) -> Counts:
    """All plain copies. Raises StoreError, OSError."""
    counts = Counts()
    (folder / "mail").mkdir(parents=True, mode=0o700)
    for log in logs(opened.tenant.vault.store, opened.tenant.id):
        if log.kind == "capture":
            _mails(opened, log, folder / "mail", counts)
    sources = [source.plain() for source in opened.tenant.acts.sources()]
    counts.sources = len(sources)
    (folder / "sources.json").write_text(json.dumps(sources, ensure_ascii=False, indent=1) + "\n", "utf-8")
    counts.access = _lines(folder / "access.jsonl", map(_access, _records(opened)))
    (folder / "proofs").mkdir(mode=0o700)
    counts.anchors = _lines(folder / "proofs" / "anchors.jsonl", _anchors(opened, root))
    tenant_key, archive_key = opened.proofs.keys()
    (folder / "verifier-keys.txt").write_text(f"tenant  {tenant_key}\nroot    {archive_key}\n", "utf-8")
    return counts


def _mails(opened: OpenTenant, log: LogId, folder: Path, counts: Counts) -> None:
    for entry in LogReader(opened.tenant.vault.store, log).entries():
        if entry.type != "capture":
            continue
        if opened.tenant.acts.erasures.barred(str(entry.fields["capture"])):
            counts.left_out += 1
            continue
        try:
            _mail(opened, log, entry, folder)
            counts.mails += 1
        except (Tampered, KeyUnavailable):
            counts.damaged += 1  # the manifest says how many; ``verify`` names them


def _mail(opened: OpenTenant, log: LogId, entry: Entry, folder: Path) -> None:
    vault = opened.tenant.vault
    capture = str(entry.fields["capture"])
    content = open_capture(vault.store, vault.keyring, log, entry.fields)
    row = opened.services.catalog.capture(capture)
    about = {
        "capture": capture,
        "message": row.finding.message if row is not None else None,
        "log": str(log),
        "seq": entry.seq,
        "archived_at": entry.time,
        "envelope": json.loads(content.record),
    }
    (folder / f"{capture}.eml").write_bytes(content.raw)
    (folder / f"{capture}.json").write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _records(opened: OpenTenant) -> Iterator[AccessRecord]:
    cursor: str | None = None
    while True:
        page, cursor = opened.services.access_log.newest(_PAGE, cursor)
        yield from page
        if cursor is None:
            return


def _access(record: AccessRecord) -> dict[str, Any]:
    return {"log": record.log, "seq": record.seq, "time": record.time, **record.event.plain()}


def _anchors(opened: OpenTenant, root: LogId) -> Iterator[dict[str, Any]]:
    """Where the root log holds the tenant's checkpoints. Nothing of anybody else's: an anchor says nothing without its
    salt."""
    store, secret = opened.tenant.vault.store, opened.tenant.keyring.secret("root-salt")
    wanted: dict[str, tuple[LogId, str]] = {}
    for log in logs(store, opened.tenant.id):
        for ordinal in range(newest_checkpoint(store, log) + 1):
            note = checkpoint_note(store, log, ordinal)
            if note is not None:
                wanted[anchor_of(salt_of(secret, note), note)] = (log, note)
    newest = checkpoint_note(store, root, newest_checkpoint(store, root))
    if newest is None:
        return
    for entry in LogReader(store, root).entries():
        if entry.seq >= checkpoint_size(newest):
            return
        for anchor in entry.fields.get("anchors", ()):
            if anchor in wanted:
                log, note = wanted[anchor]
                inclusion = include(store, root, entry.seq, newest)
                yield {
                    "log": str(log),
                    "note": note,
                    "salt": salt_of(secret, note).hex(),
                    "anchor": anchor,
                    "root": {
                        "log": str(root),
                        "seq": entry.seq,
                        "entry": entry.line.decode("ascii"),
                        "path": [base64.b64encode(node).decode("ascii") for node in inclusion.path],
                        "note": newest,
                    },
                }


def _lines(path: Path, values: Iterator[dict[str, Any]]) -> int:
    count = 0
    with path.open("x", encoding="utf-8") as file:
        for value in values:
            file.write(json.dumps(value, ensure_ascii=False) + "\n")
            count += 1
    return count
