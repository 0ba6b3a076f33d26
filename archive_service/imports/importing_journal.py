"""What of a mailbox is archived already: a disposable file a source in the work folder.

It is never believed alone. At the start of an import it is brought up to the catalog (``catch_up``), which itself says
what the ledger says: so a journal that is lost, old, or misses the last rows before a ``kill -9`` costs time and
nothing else.
"""

import hashlib
import hmac
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from archive_service.bootstrap import Core, Tenant
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.reader import read_entry
from archive_service.model.errors import KeyUnavailable, NotFound, StoreDenied, StoreError, Tampered
from archive_service.vault.key_layout import LogId

_log = logging.getLogger(__name__)
_NAME = b"archive-service/import-name/v1\x00"
_ITEM = b"archive-service/import-item/v1\x00"
_TABLES = """
CREATE TABLE IF NOT EXISTS items (
  capture TEXT PRIMARY KEY, name BLOB NOT NULL, item BLOB NOT NULL, confirmed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_name ON items (name);
CREATE INDEX IF NOT EXISTS items_item ON items (item);
CREATE TABLE IF NOT EXISTS seen (only INTEGER PRIMARY KEY CHECK (only = 1), rows INTEGER, digest TEXT);
"""


class Journal:
    """The items of one import source. Names and bytes stand in it only as HMACs under ``key``. Not thread-safe.

    Raises StoreError (``import.journal``) when the file cannot be used; one that is damaged is made anew.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        with _told():
            try:
                self._database = _opened(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                _log.warning("the journal of an import is damaged and is made anew")
                _remove(path)
                self._database = _opened(path)

    # --- one item -------------------------------------------------------------------------------------

    def item(self, name: str, raw: bytes) -> bytes:
        """What stands for these bytes under this name."""
        digest = hashlib.sha256(raw).digest()
        return hmac.digest(self._key, _ITEM + self._name(name) + digest, "sha256")

    def _name(self, name: str) -> bytes:
        return hmac.digest(self._key, _NAME + name.encode("utf-8"), "sha256")

    def named(self, name: str) -> str | None:
        """A capture of this name, or None."""
        return self._one("SELECT capture FROM items WHERE name = ?", self._name(name))

    def holding(self, item: bytes) -> str | None:
        """The capture of these bytes under this name, or None."""
        return self._one("SELECT capture FROM items WHERE item = ?", item)

    def add(self, name: str, item: bytes, capture: str, *, confirmed: bool = False) -> None:
        """A capture that is durable in the archive; ``confirmed``: as read from there."""
        values = (capture, self._name(name), item, int(confirmed))
        with _told(), self._database:
            self._database.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)", values)

    # --- against the archive --------------------------------------------------------------------------

    def since(self, digest_at: Callable[[int], str | None]) -> int:
        """Up to where in the order log the archive's captures are known. All is forgotten when that log does not stand
        there as it did: then this is another archive, or the same as it was before. ``digest_at``: of the entry of a
        seq, or None."""
        with _told(), self._database:
            row = self._database.execute("SELECT rows, digest FROM seen").fetchone()
            if row is None:
                return 0
            rows, digest = int(row[0]), row[1]
            if rows == 0 or digest_at(rows - 1) == digest:
                return rows
            _log.warning("the journal of an import does not fit the archive and is made anew")
            self._database.execute("DELETE FROM items")
            self._database.execute("DELETE FROM seen")
            return 0

    def confirm(self, capture: str) -> bool:
        """Whether a capture that the archive has is known; it counts as read from there now."""
        with _told(), self._database:
            done = self._database.execute("UPDATE items SET confirmed = 1 WHERE capture = ?", (capture,))
            return done.rowcount > 0

    def settle(self, rows: int, digest: str | None, keep: Callable[[str], bool]) -> None:
        """The archive's captures are known up to ``rows``: a row that it did not confirm goes, unless ``keep``."""
        with _told(), self._database:
            found = self._database.execute("SELECT capture FROM items WHERE confirmed = 0").fetchall()
            gone = [(capture,) for (capture,) in found if not keep(capture)]
            self._database.executemany("DELETE FROM items WHERE capture = ?", gone)
            self._database.execute("INSERT OR REPLACE INTO seen VALUES (1, ?, ?)", (rows, digest))

    def close(self) -> None:
        """Let the file go."""
        self._database.close()

    def _one(self, query: str, value: bytes) -> str | None:
        with _told():
            row = self._database.execute(query, (value,)).fetchone()
        return str(row[0]) if row is not None else None


def open_journal(core: Core, tenant: Tenant, source: str) -> Journal:
    """The journal of a tenant's import source on this machine. Raises StoreError."""
    path = core.work / "run" / "importing" / f"{tenant.id}.{source}.sqlite"
    return Journal(path, tenant.keyring.secret("identity"))


def catch_up(journal: Journal, core: Core, tenant: Tenant, source: str, *, new: bool) -> None:
    """Bring the journal to the catalog, which must have been brought to the logs' heads. ``new``: the source has just
    been made, so nothing before this moment is of it. Raises StoreError."""
    order = LogId(tenant.id, "order-1")

    def digest_at(seq: int) -> str | None:
        try:
            return read_entry(core.store, order, seq).digest()
        except NotFound:
            return None

    live = core.engines.live(tenant.id)
    try:
        rows = live.catalog.position().rows
        since = rows if new else min(journal.since(digest_at), rows)
        places = [
            (capture.log, capture.seq)
            for message in live.catalog.changed(since, rows)
            for capture in message.captures
            if capture.finding.source == source
            and capture.order_seq >= since
            and not journal.confirm(capture.id)
        ]
        places += live.catalog.unread()
    finally:
        live.close()
    for log, seq in places:
        _learn(journal, tenant, source, LogId.parse(log), seq)
    journal.settle(rows, digest_at(rows - 1) if rows else None, tenant.acts.erasures.barred)


def _learn(journal: Journal, tenant: Tenant, source: str, log: LogId, seq: int) -> None:
    """Read a capture and note it, if it is of the source. One that is damaged counts as not there: the mailbox may give
    a sound copy."""
    entry = read_entry(tenant.vault.store, log, seq)
    try:
        opened = open_capture(tenant.vault.store, tenant.keyring, log, entry.fields)
        record = json.loads(opened.record)
    except (Tampered, KeyUnavailable) as error:
        _log.warning("a capture cannot be compared with what is imported: %s", error.code)
        return
    if record.get("source") == source and isinstance(record.get("origin"), str):
        name = record["origin"]
        journal.add(name, journal.item(name, opened.raw), str(entry.fields["capture"]), confirmed=True)


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = sqlite3.connect(path, timeout=30)
    try:
        path.chmod(0o600)
        database.execute("PRAGMA journal_mode = WAL").close()
        database.execute("PRAGMA synchronous = NORMAL").close()  # what a power cut takes is learned again
        database.executescript(_TABLES)
        database.execute("SELECT count(*) FROM items").close()
    except sqlite3.Error:
        database.close()
        raise
    return database


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError("the journal of the import cannot be used", code="import.journal") from error
    except OSError as error:
        raise StoreDenied(f"the journal of the import: {error.strerror}", code="import.journal") from error
