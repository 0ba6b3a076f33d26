"""``reconcile``: hold the archive against a list that another system keeps."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from archive_service.access.events import AccessEvent
from archive_service.bootstrap import Core, Tenant, open_core
from archive_service.catching_up import catch_up, seal_looks
from archive_service.commands.mail import operator, the_tenant
from archive_service.commands.output import Output
from archive_service.following import parser_pool
from archive_service.model.errors import Invalid, NotFound
from archive_service.reconciling import Period, Reconciled, reconcile
from archive_service.settings import Settings
from archive_service.tenant_services import open_tenant
from ingest.listings.base import FORMATS, Listing, read_listing

_SHOWN = 20


def register(commands: Any) -> None:
    """Add the command."""
    found = commands.add_parser(
        "reconcile", help="what a mail system's log or listing names and the archive lacks, and the reverse"
    )
    found.add_argument("listing", type=Path, metavar="FILE", help="a log, a table or a list of Message-IDs")
    found.add_argument("--format", choices=sorted(FORMATS), help="told from the file unless given")
    found.add_argument("--tenant", metavar="T", help="may be left out when there is one")
    found.add_argument("--source", action="append", metavar="N", help="of these sources only, by name")
    found.add_argument("--since", type=_day, metavar="DAY", help="received on this day (UTC) or later")
    found.add_argument("--until", type=_day, metavar="DAY", help="received before this day (UTC)")
    found.add_argument("--purpose", metavar="TEXT")
    found.set_defaults(run=_reconcile)


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


def _reconcile(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    listing = read_listing(given.listing, given.format)
    core = open_core(settings)
    try:
        tenant = the_tenant(core, given.tenant)
        sources = _sources(tenant, given.source)
        with parser_pool(settings) as pool:
            catch_up(core, tenant, pool)
        found = _compared(core, tenant, listing, Period(given.since, given.until), sources)
        _record(core, tenant, listing, found, given.purpose)
    finally:
        core.close()
    output.answer(_plain(listing, found), _text(listing, found))
    return 1 if found.missing else 0


def _sources(tenant: Tenant, names: list[str] | None) -> set[str] | None:
    if names is None:
        return None
    tenant.acts.refresh()
    known = {source.name: source.id for source in tenant.acts.sources()}
    for name in names:
        if name not in known:
            raise NotFound("no source of this name", code="source.unknown")
    return {known[name] for name in names}


def _compared(
    core: Core, tenant: Tenant, listing: Listing, period: Period, sources: set[str] | None
) -> Reconciled:
    if period.since is not None and period.until is not None and period.since >= period.until:
        raise Invalid("--since must be before --until", code="reconcile.period")
    live = core.engines.live(tenant.id)
    try:
        return reconcile(live.catalog, listing.ids, period, sources)
    finally:
        live.close()


def _record(core: Core, tenant: Tenant, listing: Listing, found: Reconciled, purpose: str | None) -> None:
    """Message-IDs of what nobody listed are shown: that is a look."""
    opened = open_tenant(core, tenant)
    try:
        event = AccessEvent(
            actor=operator(),
            role="cli",
            action="reconcile",
            purpose=purpose,
            detail={"listed": found.listed, "missing": len(found.missing), "extra": len(found.extra)},
        )
        opened.services.access_log.record(event)
    finally:
        opened.close()
        seal_looks(core)


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


def _text(listing: Listing, found: Reconciled) -> str:
    first = f"{found.listed} mails listed ({listing.format}), {found.present} in the archive"
    return "\n".join(
        [
            first,
            *_some("missing from the archive", found.missing),
            *_some("in the archive and not listed", found.extra),
            *([f"{found.unnamed} without a Message-ID, which no list can name"] if found.unnamed else []),
        ]
    )


def _some(what: str, names: tuple[str, ...]) -> list[str]:
    more = [f"  ... and {len(names) - _SHOWN} more (--json has all)"] if len(names) > _SHOWN else []
    return [f"{len(names)} {what}:", *(f"  {name}" for name in names[:_SHOWN]), *more] if names else []
