"""Captures that are to be erased, held against a hold by their own bytes: they were taken out of catalog and index when
the erasure was asked for, and a hold that comes later must find them all the same."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from archive_service.catalog.base import CaptureRow, Catalog
from archive_service.catalog.merge import merge
from archive_service.holds.found import found_of
from archive_service.ledger.erasures import Asked
from archive_service.ledger.holds import Hold
from archive_service.ledger.payloads import PayloadVault, open_capture_at
from archive_service.model.errors import Invalid, KeyUnavailable, NotFound, Tampered
from archive_service.model.mail import CaptureRecord, Finding, SourceKind, Text
from archive_service.vault.key_layout import object_key
from search.document import to_document
from search.indexes.base import KeptIndex
from search.orderer import Identify, Interpreter
from search.query_language import Node

_log = logging.getLogger(__name__)


class AskedReader:
    """Reads one owner's. ``folder``: of this machine, for a small index of mail in clear; nothing is left there.
    Not thread-safe."""

    def __init__(
        self,
        vault: PayloadVault,
        catalog: Catalog,
        interpreter: Interpreter,
        identify: Identify,
        kind: Callable[[str], SourceKind],
        index: Callable[[Path], KeptIndex],
        folder: Path,
    ) -> None:
        self._vault = vault
        self._catalog = catalog
        self._interpreter = interpreter
        self._identify = identify
        self._kind = kind
        self._index = index
        self._folder = folder

    def __call__(self, hold: Hold, node: Node, asked: Sequence[Asked]) -> dict[str, str]:
        """See ``covering.Judge``. What cannot be read cannot be judged, and is kept. Raises StoreError, QueryError."""
        rows: dict[str, list[tuple[CaptureRow, Text]]] = {}
        found: dict[str, str] = {}
        for each in asked:
            try:
                row, text = self._read(each)
            except (Tampered, KeyUnavailable, Invalid, NotFound) as error:
                _log.warning("a capture that is to be erased cannot be read, and is held: %s", error.code)
                found[each.capture] = str(each.log)
            else:
                rows.setdefault(row.finding.message, []).append((row, text))
        if rows:
            with self._opened() as index:
                found |= self._matching(hold, node, rows, index)
        return found

    def _matching(
        self, hold: Hold, node: Node, rows: dict[str, list[tuple[CaptureRow, Text]]], index: KeptIndex
    ) -> dict[str, str]:
        """A message with what is left of it: what its captures say together counts."""
        standing = {message.id: message.captures for message in self._catalog.messages(list(rows))}
        whole = []
        for message, pairs in rows.items():
            whole.append(merge([*(row for row, _ in pairs), *standing.get(message, ())]))
            index.write([to_document(whole[-1], pairs[0][1])])
        hits = found_of(index, node, whole)
        return {
            row.id: row.log
            for message in hits
            for row, _ in rows[message]
            if hold.wants(row.finding.received_at)
        }

    def _read(self, asked: Asked) -> tuple[CaptureRow, Text]:
        """As the follower reads it. It stands at the end of its message's captures, as one of no order."""
        opened = open_capture_at(self._vault, asked.log, asked.seq)
        try:
            record = CaptureRecord.model_validate_json(opened.record)
        except ValueError as error:
            raise Tampered("a capture record does not follow its format") from error
        parsed, text = self._interpreter.interpret(opened.raw, self._kind(record.source), record)
        finding = Finding(
            capture=asked.capture,
            message=self._identify(parsed.inner_digest, parsed.identity_version),
            source=record.source,
            received_at=record.received_at,
            channel=record.way,
            parsed=parsed,
        )
        name = object_key(asked.log, asked.capture)
        row = CaptureRow(asked.capture, str(asked.log), asked.seq, 0, name, record.received_at, finding)
        return row, text

    @contextmanager
    def _opened(self) -> Iterator[KeptIndex]:
        """An index of nothing else, gone afterwards; what a killed process left goes first."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o700)
        index = self._index(self._folder)
        try:
            yield index
        finally:
            index.close()
            shutil.rmtree(self._folder, ignore_errors=True)
