"""``reconcile``: hold the archive against a list that another system keeps, or against a mailbox."""

import argparse
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from archive_service.access.events import AccessEvent
from archive_service.alarms.reconciled_record import ALL, record_reconciled
from archive_service.bootstrap import Core, Tenant, open_core
from archive_service.catching_up import catch_up, seal_looks
from archive_service.commands.mail import operator, require_said, the_tenant
from archive_service.commands.mail_servers import on_server, server_of
from archive_service.commands.output import Output
from archive_service.completeness.reconciling import Period, Reconciled, reconcile
from archive_service.completeness.reconciling_mailboxes import ByContent, Held, by_content, held
from archive_service.following import parser_pool
from archive_service.model.errors import Invalid, NotFound
from archive_service.model.mail import CaptureRecord, Parsed, SourceKind
from archive_service.settings import Settings
from archive_service.tenant_services import open_tenant
from ingest.identity import message_id
from ingest.importers import headers, imap_headers
from ingest.importers.base import Mailbox
from ingest.importers.imap import Imap
from ingest.importers.maildir import Maildir
from ingest.importers.mbox import Mbox
from ingest.listings.base import FORMATS, Listing, read_listing
from ingest.parser_pool import ParserPool

_SHOWN = 20
_MAILBOXES = ("imap", "maildir", "mbox")


def register(commands: Any) -> None:
    """Add the command."""
    found = commands.add_parser(
        "reconcile",
        help="what a mail system's log, a list or a mailbox names and the archive lacks; the reverse",
    )
    found.add_argument(
        "listing",
        metavar="FILE|imap|maildir|mbox",
        help="a log, a table or a list of Message-IDs; or which kind of mailbox",
    )
    found.add_argument("path", type=Path, nargs="?", metavar="PATH", help="of a maildir or mbox")
    found.add_argument("--format", choices=sorted(FORMATS), help="of a list; told from the file unless given")
    found.add_argument("--tenant", metavar="T", help="may be left out when there is one")
    found.add_argument("--source", action="append", metavar="N", help="of these sources only, by name")
    found.add_argument("--since", type=_day, metavar="DAY", help="received on this day (UTC) or later")
    found.add_argument("--until", type=_day, metavar="DAY", help="received before this day (UTC)")
    found.add_argument("--folder", action="append", metavar="F", help="imap: these folders; all unless given")
    found.add_argument(
        "--by-content",
        action="store_true",
        help="mailboxes: read whole what no Message-ID settles, and compare",
    )
    found.add_argument(
        "--kind",
        choices=[str(kind) for kind in SourceKind],
        help="dialect of a mailbox that is read by content; generic unless given",
    )
    found.add_argument("--purpose", metavar="TEXT")
    on_server(found, required=False)
    found.set_defaults(run=_reconcile)


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


def _reconcile(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    _require_sense(given)
    core = open_core(settings)
    try:
        tenant = the_tenant(core, given.tenant)
        sources = _sources(tenant, given.source)
        with parser_pool(settings) as pool:
            run = _Run(given, core, tenant, pool, sources)
            if given.listing in _MAILBOXES:
                with closing(_mailbox(given, settings)) as mailbox:
                    answer = run.mailbox(mailbox)
            else:
                answer = run.listing(read_listing(Path(given.listing), given.format))
        _record(core, tenant, answer, sources, given.purpose)
    finally:
        core.close()
    output.answer(answer, _text(answer))
    return 1 if answer["missing"] or answer.get("failed") else 0


def _require_sense(given: argparse.Namespace) -> None:
    """Raises Invalid."""
    if given.since is not None and given.until is not None and given.since >= given.until:
        raise Invalid("--since must be before --until", code="reconcile.period")
    secret = given.password_file or given.password_env or given.token_file or given.token_env
    if given.listing == "imap" and None in (given.host, given.user, secret):
        raise Invalid("imap needs --host, --user and a password or token", code="input.usage")
    if (given.path is None) == (given.listing in ("maildir", "mbox")):
        raise Invalid("a PATH goes with maildir and mbox, and with nothing else", code="input.usage")
    if given.listing not in _MAILBOXES and given.by_content:
        raise Invalid("a list has no content: --by-content is for mailboxes", code="input.usage")
    if given.listing != "imap" and given.folder:
        raise Invalid("--folder is for imap", code="input.usage")


def _sources(tenant: Tenant, names: list[str] | None) -> set[str] | None:
    if names is None:
        return None
    tenant.acts.refresh()
    known = {source.name: source.id for source in tenant.acts.sources()}
    for name in names:
        if name not in known:
            raise NotFound("no source of this name", code="source.unknown")
    return {known[name] for name in names}


def _mailbox(given: argparse.Namespace, settings: Settings) -> Mailbox:
    limit = settings.smtp_max_size
    if given.listing == "imap":
        return Imap(server_of(given, "imap"), limit)
    return Maildir(given.path, limit) if given.listing == "maildir" else Mbox(given.path, limit)


class _Run:
    """One comparison. The catalog is at the logs' heads as they were at its beginning."""

    def __init__(
        self,
        given: argparse.Namespace,
        core: Core,
        tenant: Tenant,
        pool: ParserPool,
        sources: set[str] | None,
    ) -> None:
        self._given = given
        self._core = core
        self._tenant = tenant
        self._pool = pool
        self._sources = sources

    def listing(self, listing: Listing) -> dict[str, Any]:
        return _plain(listing, self._compared(listing))

    def mailbox(self, mailbox: Mailbox) -> dict[str, Any]:
        found = held(self._listed(mailbox))
        compared = self._compared(found.listing)
        content = None
        if self._given.by_content:
            content = self._by_content(mailbox, found.unsettled(compared.missing))
        return _of_mailbox(found, compared, content)

    def _listed(self, mailbox: Mailbox) -> Iterator[headers.Listed]:
        if not isinstance(mailbox, Imap):
            return headers.of_files(mailbox)
        given = self._given
        days = [day.date() if day is not None else None for day in (given.since, given.until)]
        return imap_headers.listed(mailbox, imap_headers.Chosen(given.folder or (), *days))

    def _compared(self, listing: Listing) -> Reconciled:
        catch_up(self._core, self._tenant, self._pool)
        period = Period(self._given.since, self._given.until)
        with closing(self._core.engines.live(self._tenant.id)) as live:
            return reconcile(live.catalog, listing.ids, period, self._sources)

    def _by_content(self, mailbox: Mailbox, wanted: set[str]) -> ByContent:
        key = self._tenant.keyring.secret("identity")
        kind = SourceKind(self._given.kind or SourceKind.GENERIC)
        with closing(self._core.engines.live(self._tenant.id)) as live:
            return by_content(mailbox, wanted, kind, live.catalog, self._interpret, partial(message_id, key))

    def _interpret(self, raw: bytes, kind: SourceKind, record: CaptureRecord) -> Parsed:
        return self._pool.interpret(raw, kind, record)[0]


def _plain(listing: Listing, found: Reconciled) -> dict[str, Any]:
    return {
        "format": listing.format,
        "listed": found.listed,
        "repeated": listing.repeated,
        "present": found.present,
        "missing": list(found.missing),
        "extra": list(found.extra),
        "unnamed": found.unnamed,
    }


def _of_mailbox(mailbox: Held, found: Reconciled, content: ByContent | None) -> dict[str, Any]:
    """``missing``: Message-IDs, and names of items that have none. What content has settled is present."""
    answer = _plain(mailbox.listing, found)
    unsettled = list(mailbox.unnamed)
    failed = dict(mailbox.failed)
    if content is not None:
        settled = [
            name for name in found.missing if any(item in content.present for item in mailbox.named[name])
        ]
        by_item = [item for item in mailbox.unnamed if item in content.present]
        lost = [item for item in mailbox.unnamed if item in content.missing]
        answer["present"] += len(settled) + len(by_item)
        answer["missing"] = [name for name in found.missing if name not in set(settled)] + lost
        failed |= content.failed
        unsettled = []
    answer |= {"without_message_id": len(mailbox.unnamed), "unsettled": len(unsettled)}
    return answer | ({"failed": failed} if failed else {})


def _record(
    core: Core, tenant: Tenant, answer: dict[str, Any], sources: set[str] | None, purpose: str | None
) -> None:
    """Message-IDs of what nobody listed are shown: that is a look. The numbers are kept for the alarms. Raises Invalid
    (``purpose.required``): then nothing is shown."""
    counts = {name: len(answer[name]) for name in ("missing", "extra")}
    opened = open_tenant(core, tenant)
    try:
        require_said(opened.services, purpose, "reconcile")
        event = AccessEvent(
            actor=operator(),
            role="cli",
            action="reconcile",
            purpose=purpose,
            detail={"listed": answer["listed"], **counts},
        )
        opened.services.access_log.record(event)
    finally:
        opened.close()
        seal_looks(core)
    for source in sorted(sources) if sources is not None else [ALL]:
        record_reconciled(core.work, tenant.id, source, present=answer["present"], **counts)


def _text(answer: dict[str, Any]) -> str:
    lines = [f"{answer['listed']} mails listed ({answer['format']}), {answer['present']} in the archive"]
    lines += _some("missing from the archive", answer["missing"])
    lines += _some("in the archive and not listed", answer["extra"])
    if answer["unnamed"]:
        lines.append(f"{answer['unnamed']} without a Message-ID, which no list can name")
    if answer.get("unsettled"):
        lines.append(f"{answer['unsettled']} of the mailbox have no Message-ID: --by-content compares them")
    failed = [f"{name} ({code})" for name, code in answer.get("failed", {}).items()]
    return "\n".join([*lines, *_some("could not be read", failed)])


def _some(what: str, names: list[str]) -> list[str]:
    more = [f"  ... and {len(names) - _SHOWN} more (--json has all)"] if len(names) > _SHOWN else []
    return [f"{len(names)} {what}:", *(f"  {name}" for name in names[:_SHOWN]), *more] if names else []
