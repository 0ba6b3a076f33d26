"""An owner's logs as anyone may audit them: sizes, roots, checkpoints, C2SP tiles."""

import re
from typing import Any

from archive_service.ledger.note import Signer, Verifier
from archive_service.ledger.reader import checkpoint_note, checkpoint_size, find_head, logs, newest_checkpoint
from archive_service.ledger.tiles import TreeReader
from archive_service.model.errors import Invalid, NotFound
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Keyring
from archive_service.vault.stores.base import ObjectStore

_TILE = re.compile(r"(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


class LedgerIntegrity:
    """One owner's logs, and the archive's root log. Thread-safe."""

    def __init__(self, store: ObjectStore, keyring: Keyring, archive: Keyring) -> None:
        self._store = store
        self._keyring = keyring
        self._archive = archive

    def status(self) -> dict[str, Any]:
        """Every log with its size and newest checkpoint; the verifier keys."""
        root = LogId(self._archive.owner, "root")
        found = [*logs(self._store, self._keyring.owner), root]
        return {
            "keys": {"log": [self._vkey(self._keyring)], "root": [self._vkey(self._archive)]},
            "logs": [self._log(log) for log in found],
        }

    @staticmethod
    def _vkey(keyring: Keyring) -> str:
        return Signer(keyring.owner, keyring.secret("signing")).vkey

    def _log(self, log: LogId) -> dict[str, Any]:
        head = find_head(self._store, log)
        plain: dict[str, Any] = {"log": log.name, "origin": str(log), "size": head.seq}
        ordinal = newest_checkpoint(self._store, log)
        note = checkpoint_note(self._store, log, ordinal) if ordinal >= 0 else None
        if note is None:
            return {**plain, "checkpoint": None}
        keyring = self._archive if log.owner == self._archive.owner else self._keyring
        point = Verifier([self._vkey(keyring)]).check(note, str(log))
        signed = {"size": point.size, "root": point.root.hex(), "note": note}
        return {**plain, "checkpoint": signed}

    def _find(self, name: str) -> LogId:
        try:
            owner = self._archive.owner if name == "root" else self._keyring.owner
            log = LogId.parse(f"{owner}/{name}")
        except Invalid as error:
            raise NotFound("no such log") from error
        return log

    def checkpoint(self, log: str) -> str:
        """The newest signed note. Raises NotFound."""
        found = self._find(log)
        note = checkpoint_note(self._store, found, newest_checkpoint(self._store, found))
        if note is None:
            raise NotFound("no such log, or no checkpoint yet")
        return note

    def tile(self, log: str, path: str) -> bytes:
        """A tile or entry bundle by its C2SP path after ``tile/``, at the newest checkpoint's size. Raises NotFound."""
        match = _TILE.fullmatch(path)
        if match is None:
            raise NotFound("not a tile's path")
        level, numbers, width = match.groups()
        index = int(numbers.replace("/", "").replace("x", ""))
        tree = TreeReader(self._store, self._find(log), checkpoint_size(self.checkpoint(log)))
        if level == "entries":
            return tree.entries(index, int(width or 256))
        return tree.tile(int(level), index, int(width or 256))
