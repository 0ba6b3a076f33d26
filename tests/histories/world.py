"""A real archive under a clock of its own, and what people and its processes do to it."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from archive_service.access.events import Actor, RoleName
from archive_service.bootstrap import add_source, make_tenant, open_core
from archive_service.catching_up import catch_up
from archive_service.disposal.disposing import advance
from archive_service.disposal.erasing import run_batch
from archive_service.disposal.sweeping import Sweeping
from archive_service.ledger.approvals import Verdict
from archive_service.ledger.capture_writer import CaptureDraft, CaptureWriter
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.reader import LogReader
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError, Refused
from archive_service.model.mail import CaptureRecord, SourceKind
from archive_service.settings import Settings
from archive_service.tenant_services import open_tenant
from archive_service.vault.key_layout import object_key
from archive_service.vault.stores.base import Lock
from ingest.parser_pool import ParserPool
from retention.orders import attach
from search.query_language import parse
from tests.histories.model import YEARS, Mail

PATIENCE = 60.0
BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)
WORDS = {"issuer": "Tribunal", "reference": "RG", "dated": "2025-12-05", "text": "Ordonnance"}


def _class(kind: str, minimum: int, maximum: int) -> dict[str, Any]:
    article = {"article": "a text", "basis": "a basis", "start": "sent", "maximum": f"P{maximum}Y"}
    return {"id": kind, "name": kind, **article} | ({"minimum": f"P{minimum}Y"} if minimum else {})


def schedule(years: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """One of the subject's words, one of all the mail's words, and the rest."""
    return {
        "classes": [_class(kind, *terms) for kind, terms in years.items()],
        "rules": [
            {"id": "law", "class": "law", "subject": ["law"]},
            {"id": "short", "class": "short", "words": ["short"]},
        ],
        "default": "plain",
    }


class World:
    """Processes are ended by ``crash``: whatever stands then is what the next ones find."""

    def __init__(self, folder: Path, pool: ParserPool) -> None:
        self.folder = folder
        self.now = BEGIN
        self._pool = pool
        if not folder.exists():
            core = open_core(Settings(data=folder), create=True, clock=lambda: self.now)
            make_tenant(core, "acme")
            core.close()
        self._open()

    def make(self) -> None:
        """A source, a matter and the schedule."""
        add_source(self.tenant, "feed", SourceKind.GENERIC, "archive.example")
        self.tenant.acts.refresh()
        self.decided("schedule.set", {"schedule": schedule(YEARS)})
        self.services.cases.set_matter("zoe", {"name": "A", "purpose": "litige"})

    def _open(self) -> None:
        settings = Settings(data=self.folder, disposition_grace_hours=0, erasure_grace_hours=0)
        self.core = open_core(settings, clock=lambda: self.now)
        self.tenant = self.core.tenant("acme")
        self._opened = open_tenant(self.core, self.tenant)
        self.services = self._opened.services

    def crash(self) -> None:
        """The end of every process, and new ones."""
        self.close()
        self._open()

    def close(self) -> None:
        """The end of every process."""
        self._opened.close()
        self.core.close()

    def copied(self, folder: Path) -> "World":
        """The same archive once more."""
        shutil.copytree(self.folder, folder)
        return World(folder, self._pool)

    def decided(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Asked by one, approved by another, carried out."""
        desk = self.services.four_eyes
        asker = Actor("rob", RoleName.COMPLIANCE_OFFICER, self.tenant.id)
        other = Actor("zoe", RoleName.LEGAL, self.tenant.id)
        asked = desk.ask(asker, action, request, "why")
        desk.decide(other, asked.id, Verdict.APPROVED, "seen")
        return desk.carry_out(asked.id)

    def actor(self) -> Actor:
        """Who places holds."""
        return Actor("zoe", RoleName.LEGAL, self.tenant.id)

    def paper(self) -> str:
        """An order's document, attached."""
        return attach(self.tenant.acts, "o.pdf", "application/pdf", b"order", "zoe", self.core.clock)

    def take(self, mail: Mail) -> None:
        """One capture more of a mail, locked for a day."""
        (source,) = self.tenant.acts.sources()
        raw = (
            f"From: anne@ex.fr\r\nTo: bob@ex.fr\r\nSubject: {mail.subject}\r\nMessage-ID: <{mail.number}@ex.fr>\r\n"
            f"Date: {format_datetime(mail.sent)}\r\n\r\ntexte\r\n"
        ).encode()
        record = CaptureRecord(
            capture="",
            source=source.id,
            received_at=rfc3339(self.now),
            mail_from="",
            rcpt_to=(),
            channel="import",
        )
        slots = self.core.slots(self.tenant.id, "capture")
        writer = CaptureWriter(self.core.store, self.tenant.keyring, slots, self.core.clock)
        try:
            draft = CaptureDraft(record, Lock(until=self.now + timedelta(days=1)), self.tenant.acts.seen)
            mail.captures.append(writer.submit(draft, raw).result(PATIENCE).capture)
        finally:
            writer.close()

    def follow(self) -> None:
        """Order, projections, holds and locks, to the head."""
        self.tenant.acts.refresh()
        catch_up(self.core, self.tenant, self._pool)

    def batch(self) -> None:
        """The keys of what may go."""
        run_batch(self.core, self.tenant, today_too=True)

    def run_steps(self) -> list[Callable[[], object]]:
        """A whole run of what the service does by itself, in pieces that a crash may fall between."""
        return [
            self.follow,
            lambda: self._unless_refused("disposition.run", {}),
            lambda: advance(self.core, self.tenant),
            self.follow,
            self.batch,
            lambda: self._unless_refused("disposition.run", {}),
            lambda: advance(self.core, self.tenant),
            self.follow,
            lambda: advance(self.core, self.tenant),
            lambda: Sweeping(timedelta()).run(self.core, self.tenant),
        ]

    def _unless_refused(self, action: str, request: dict[str, Any]) -> None:
        with suppress(Refused):
            self.decided(action, request)

    def with_clock_off(self, seconds: float, work: Callable[[], object]) -> str | None:
        """Our clock jumps, the store's does not; the code of the refusal, if it was refused."""
        stores, now = self.core.stores, self.now
        assert stores is not None
        self.core.stores = replace(stores, clock_offset=lambda: -seconds)
        self.now = now + timedelta(seconds=seconds)
        try:
            work()
        except ArchiveError as error:
            return error.code
        finally:
            self.core.stores, self.now = stores, now
        return None

    def alive(self, capture: str) -> bool:
        """Whether its key opens its object, barred or not."""
        log, fields = self.entries()[capture]
        try:
            open_capture(self.core.store, self.tenant.keyring, log, fields)
        except ArchiveError:
            return False
        return True

    def entries(self) -> dict[str, tuple[Any, dict[str, Any]]]:
        """Each capture's log and the fields of its entry, read off the logs."""
        found = {}
        for log in self.core.census.logs(self.tenant.id, 0.0):
            for entry in LogReader(self.core.store, log).entries():
                if entry.type == "capture":
                    found[str(entry.fields["capture"])] = (log, entry.fields)
        return found

    def stored(self, capture: str) -> bool:
        """Whether any version of its object is there."""
        log, _ = self.entries()[capture]
        try:
            return bool(self.core.raw.stat(object_key(log, capture)))
        except ArchiveError:
            return False

    def shown(self, mail: Mail) -> bool:
        """Whether a search finds it."""
        return (
            self.services.index.search(parse(f"unique{mail.number}word"), limit=1, snippets=False).total > 0
        )
