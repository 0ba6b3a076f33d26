"""The access logs of one tenant: appends to this process's slot, reads over every slot, newest first."""

import base64
import binascii
import heapq
import json
from collections.abc import Iterator

from archive_service.access.events import AccessEvent, AccessRecord
from archive_service.ledger.entry import Entry
from archive_service.ledger.group_log import GroupLog
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import find_head, logs, read_from
from archive_service.model.errors import Invalid, Tampered
from archive_service.vault.key_layout import LogId

_STRETCH = 256


def _backwards(vault: PayloadVault, log: LogId, end: int) -> Iterator[tuple[LogId, Entry]]:
    """Entries of a log from ``end`` (exclusive) down to the first."""
    while end > 0:
        start = max(0, end - _STRETCH)
        stretch = []
        for entry in read_from(vault.store, log, start):
            if entry.seq >= end:
                break
            stretch.append(entry)
        yield from ((log, entry) for entry in reversed(stretch))
        end = start


class LedgerAccessLog:
    """See ``events.AccessLog``."""

    def __init__(self, vault: PayloadVault, owner: str, log: GroupLog) -> None:
        self._vault = vault
        self._owner = owner
        self._log = log

    def record(self, event: AccessEvent) -> AccessRecord:
        """Append; durable on return. Raises ArchiveError: then nothing may be shown."""
        log, entry = self._log.append(event.plain())
        return AccessRecord(log, entry.seq, entry.time, event)

    def newest(self, limit: int, cursor: str | None = None) -> tuple[list[AccessRecord], str | None]:
        """A page over all slots, newest first. Raises Invalid for a foreign cursor."""
        ends = self._heads()
        if cursor is not None:
            ends = {log: min(end, ends.get(log, 0)) for log, end in self._parse(cursor).items()}
        streams = [_backwards(self._vault, log, end) for log, end in sorted(ends.items())]
        merged = heapq.merge(
            *streams, key=lambda found: (found[1].time, found[0].name, found[1].seq), reverse=True
        )
        page: list[AccessRecord] = []
        for log, entry in merged:
            if len(page) == limit:
                return page, self._cursor(ends)
            ends[log] = entry.seq
            if entry.type == "access":
                page.append(AccessRecord(str(log), entry.seq, entry.time, self._event(log, entry)))
        return page, None

    def _heads(self) -> dict[LogId, int]:
        found = [log for log in logs(self._vault.store, self._owner) if log.kind == "access"]
        return {log: find_head(self._vault.store, log).seq for log in found}

    def _event(self, log: LogId, entry: Entry) -> AccessEvent:
        try:
            return AccessEvent.model_validate(self._vault.open(log, entry.fields.get("payload")))
        except ValueError as error:
            raise Tampered("an access entry does not follow its format") from error

    @staticmethod
    def _cursor(ends: dict[LogId, int]) -> str:
        plain = json.dumps({log.name: end for log, end in sorted(ends.items())}, separators=(",", ":"))
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")

    def _parse(self, cursor: str) -> dict[LogId, int]:
        try:
            plain = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            ends = {LogId.parse(f"{self._owner}/{name}"): end for name, end in plain.items()}
        except (ValueError, binascii.Error, AttributeError, RecursionError, Invalid) as error:
            raise Invalid("not a cursor of this list", code="cursor.invalid") from error
        if not all(log.kind == "access" and type(end) is int and end >= 0 for log, end in ends.items()):
            raise Invalid("not a cursor of this list", code="cursor.invalid")
        return ends
