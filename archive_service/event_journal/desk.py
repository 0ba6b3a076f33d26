"""The event journal as people read it: pages, and the certificate of one event."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from archive_service.event_journal.certificate import certify
from archive_service.event_journal.events import Event, Kind, event_of, place_of
from archive_service.event_journal.walk import Page, Wanted, read_page
from archive_service.export.proving import LedgerProofs
from archive_service.ledger.acts import Acts
from archive_service.ledger.entry import Entry
from archive_service.ledger.note import Verifier
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import read_entry
from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.errors import Invalid, NotFound
from archive_service.vault.key_layout import LogId


@dataclass(frozen=True)
class EventJournal:
    """One tenant's, or one compartment's: what its own logs say, and nothing else's. Thread-safe."""

    vault: PayloadVault
    acts: Acts
    proofs: LedgerProofs
    owner: str

    def page(
        self,
        limit: int,
        cursor: str | None = None,
        *,
        kinds: Sequence[Kind] = (),
        begins: str | None = None,
        ends: str | None = None,
        in_clear: bool = False,
    ) -> dict[str, Any]:
        """Events oldest first, of these kinds or of all, from ``begins`` on and before ``ends`` (RFC 3339, or a day by
        its first second in UTC); JSON-ready. ``in_clear``: with who looked, and at what. Raises Invalid
        (``journal.time``, ``journal.limit``, ``cursor.invalid``), Tampered."""
        if limit < 1:
            raise Invalid("a page has one event at least", code="journal.limit")
        first, end = moment(begins), moment(ends)
        if first and end and end < first:
            raise Invalid("the span ends before it begins", code="journal.time")
        wanted = Wanted(frozenset(kinds) or frozenset(Kind), first, end)
        self.acts.refresh()
        found = read_page(self.vault.store, self.owner, wanted, limit, cursor, self._event, self._verifier())
        events = [_plain(event, found, in_clear=in_clear) for event in found.events]
        return {"events": events, "next": found.following}

    def certificate(self, event_id: str) -> dict[str, Any]:
        """See ``certificate.certify``. Raises NotFound (``event.unknown``), Overloaded (``proof.pending``),
        Tampered."""
        self.acts.refresh()
        return certify(self._find(event_id), self.acts, self.owner, self.proofs)

    def _find(self, event_id: str) -> Event:
        place = place_of(event_id)
        if place is not None:
            log = LogId(self.owner, place[0])
            event = self._event(log, _entry(self.vault, log, place[1]))
            if event is not None:
                return event
        raise _unknown()

    def _event(self, log: LogId, entry: Entry) -> Event | None:
        event = event_of(log, entry, self._open)
        if event is None:
            return None
        if event.log.kind == "acts" and event.entry.seq >= self.acts.seen:
            self.acts.refresh()  # it was appended since they were read
        return _counted(event, self.acts)

    def _open(self, log: LogId, entry: Entry) -> dict[str, Any]:
        return self.vault.open(log, entry.fields.get("payload"))

    def _verifier(self) -> Verifier:
        return Verifier([self.proofs.keys()[0]])


def moment(text: str | None) -> str | None:
    """A time in the archive's own form. Raises Invalid (``journal.time``)."""
    if text is None:
        return None
    try:
        return rfc3339(from_rfc3339(f"{text}T00:00:00Z" if len(text) == len("2026-01-01") else text))
    except (ValueError, OverflowError) as error:
        raise Invalid("a time by RFC 3339, or a day", code="journal.time") from error


def _counted(event: Event, acts: Acts) -> Event:
    """What ends a batch or a run says of how many captures it was, as the acts before it have it."""
    if event.what == "disposition.done":
        captures = len(acts.dispositions.known[str(event.facts["disposition"])].going)
    elif event.what in ("erasure.done", "erasure.kms"):
        captures = len(acts.erasures.batches[str(event.facts["batch"])].captures)
    else:
        return event
    facts = {"captures": captures, **event.facts}
    if (
        event.what == "erasure.done"
    ):  # as it was, not as it was meant: an incident, or a service, may hold it up
        facts["backups_readable_until"] = acts.erasures.batches[str(event.facts["batch"])].destroyed_at
    return replace(event, facts=facts)


def _entry(vault: PayloadVault, log: LogId, seq: int) -> Entry:
    try:
        return read_entry(vault.store, log, seq)
    except NotFound as error:
        raise _unknown() from error


def _unknown() -> NotFound:
    return NotFound("no such event", code="event.unknown")


def _plain(event: Event, page: Page, *, in_clear: bool) -> dict[str, Any]:
    return {
        "id": event.id,
        "kind": str(event.kind),
        "what": event.what,
        "log": event.log.name,
        "seq": event.entry.seq,
        "time": event.entry.time,
        "entry_sha256": event.entry.digest(),
        "proven": event.entry.seq < page.proven[event.log],
        "facts": dict(event.facts),
        "who": event.who if in_clear else None,
    }
