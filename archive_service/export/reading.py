"""The read path: from the catalog's row to the ledger's entry to the object, re-hashing all of it."""

from archive_service.catalog.base import CaptureRow
from archive_service.ledger.entry import Entry
from archive_service.ledger.payloads import PayloadVault, open_capture
from archive_service.ledger.reader import read_entry
from archive_service.model.errors import Tampered
from archive_service.vault.key_layout import LogId
from archive_service.vault.seal import Opened


class LedgerContents:
    """A tenant's captures. Thread-safe."""

    def __init__(self, vault: PayloadVault) -> None:
        self._vault = vault

    def entry(self, capture: CaptureRow) -> Entry:
        """The ledger entry of a capture. Raises Tampered when the catalog's row does not fit it."""
        entry = read_entry(self._vault.store, LogId.parse(capture.log), capture.seq)
        if entry.type != "capture" or entry.fields.get("capture") != capture.id:
            raise Tampered("the catalog's row does not fit the ledger")
        return entry

    def opened(self, capture: CaptureRow) -> Opened:
        """Raw bytes and record, re-hashed. Raises Tampered, KeyUnavailable, StoreError."""
        fields = self.entry(capture).fields
        return open_capture(self._vault.store, self._vault.keyring, LogId.parse(capture.log), fields)

    def raw(self, capture: CaptureRow) -> bytes:
        """The capture as received, byte for byte. Raises as ``opened``."""
        return self.opened(capture).raw
