"""The catalog is no authority: a row of it is believed where the ledger says the same.

Whoever may write to the database could make mail look older than it is, or another's. So before something is done with
a row that cannot be undone, or its mail is shown, it is compared with the sealed finding that it was made of.
"""

from collections.abc import Mapping

from archive_service.catalog.base import CaptureRow
from archive_service.ledger.entry import Entry
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import read_entry
from archive_service.model.errors import ArchiveError, Invalid, KeyUnavailable, NotFound, Tampered
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore


def entry_of(store: ObjectStore, capture: CaptureRow) -> Entry:
    """The ledger entry of a capture. Raises Tampered (``integrity.row``) where the row names another, StoreError."""
    try:
        log = LogId.parse(capture.log)
    except Invalid as error:
        raise Tampered("the catalog's row names no log", code="integrity.row") from error
    return _at(store, log, capture.seq, "capture", {"capture": capture.id})


def vouched(vault: PayloadVault, capture: CaptureRow) -> Entry:
    """The entry of a capture whose row says what the ledger and its sealed finding say; its marks aside, which have
    seals of their own (``mark_seals``). Raises Tampered (``integrity.row``), KeyUnavailable, StoreError."""
    entry, log = entry_of(vault.store, capture), LogId.parse(capture.log)
    order = LogId(log.owner, "order-1")
    place = {"of": {"log": capture.log, "seq": capture.seq}}
    found = _at(vault.store, order, capture.order_seq, "finding", place)
    key = vault.keyring.object_key(log, capture.id)
    opened = vault.open_finding(order, found.fields.get("payload"), capture.id, key)
    same = (
        opened.get("finding") == capture.finding.plain()
        and entry.fields["object"]["key"] == capture.object_key
        and entry.fields["lock_until"] == capture.lock_until
    )
    if not same:
        raise Tampered("the catalog's row does not say what the ledger says", code="integrity.row")
    return entry


def flaw_of(vault: PayloadVault, capture: CaptureRow) -> ArchiveError | None:
    """Why nothing may rest on a row; None where it is vouched for. Raises StoreError."""
    try:
        vouched(vault, capture)
    except (Tampered, KeyUnavailable) as error:
        return error
    return None


def _at(store: ObjectStore, log: LogId, seq: int, kind: str, fields: Mapping[str, object]) -> Entry:
    try:
        entry = read_entry(store, log, seq)
    except NotFound as error:
        raise Tampered("the catalog's row names an entry that is not there", code="integrity.row") from error
    if entry.type != kind or any(entry.fields.get(name) != value for name, value in fields.items()):
        raise Tampered("the catalog's row does not fit the ledger", code="integrity.row")
    return entry
