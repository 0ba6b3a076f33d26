"""``journal``: what happened to the archive, from its logs, and the certificate of each event."""

import argparse
import json
from pathlib import Path
from typing import Any

from archive_service.access.events import Actor
from archive_service.access.policy import Right, decide
from archive_service.bootstrap import open_core
from archive_service.catching_up import seal_looks
from archive_service.commands.acting import acting, acting_in, take_token
from archive_service.commands.files import require_new
from archive_service.commands.output import Output
from archive_service.event_journal.events import Kind
from archive_service.export.event_certificate_pdf import event_certificate_pdf
from archive_service.model.clock import rfc3339
from archive_service.settings import Settings
from archive_service.tenant_services import OpenTenant


def register(commands: Any) -> None:
    """Add the commands."""
    journal = commands.add_parser(
        "journal", help="deposits, accesses, destructions and the rest, from the logs"
    )
    actions = journal.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="events, oldest first")
    listing.add_argument("--from", dest="begins", metavar="TIME", help="RFC 3339, or a day")
    listing.add_argument("--to", dest="ends", metavar="TIME", help="events before then")
    listing.add_argument(
        "--kind",
        action="append",
        choices=[str(kind) for kind in Kind],
        metavar="KIND",
        help="only these; often",
    )
    listing.add_argument("--limit", type=int, default=1000, metavar="N", help="so many at most (1000)")
    listing.add_argument("--cursor", metavar="CURSOR", help="go on where a list ended")
    listing.set_defaults(run=_list)
    proving = actions.add_parser(
        "certificate", help="what the log says of one event, signed, with its proofs"
    )
    proving.add_argument("id", metavar="ID")
    proving.add_argument("--pdf", type=Path, metavar="FILE", help="write it as PDF to this new file too")
    proving.set_defaults(run=_certificate)
    for command in (listing, proving):
        command.add_argument("--tenant", required=True, metavar="T")
        take_token(command)


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.EVENT_JOURNAL) as (opened, actor):
        found = opened.services.journal.page(
            given.limit,
            given.cursor,
            kinds=[Kind(kind) for kind in given.kind or ()],
            begins=given.begins,
            ends=given.ends,
            in_clear=_in_clear(opened, actor),
        )
    lines = [
        f"{each['time']}  {each['kind']:12}  {each['what']:16}  {each['id']}" for each in found["events"]
    ]
    more = [f"more: --cursor {found['next']}"] if found["next"] else []
    output.answer(found, "\n".join([*lines, *more]) or "nothing happened")
    return 0


def _in_clear(opened: OpenTenant, actor: Actor) -> bool:
    """Whether he may read the access log too."""
    authority = opened.services.authority
    grants = authority.grants(actor.subject)
    now = rfc3339(opened.tenant.vault.clock())
    return decide(actor, Right.ACCESS_LOG, grants, now=now, always=authority.always).allowed


def _certificate(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    require_new(given.pdf)
    core = open_core(settings)
    try:
        seal_looks(core)
        with acting_in(core, given, Right.EVENT_JOURNAL) as (opened, _):
            found = opened.services.journal.certificate(given.id)
    finally:
        core.close()
    if given.pdf is not None:
        with given.pdf.open("xb") as file:
            file.write(event_certificate_pdf(found))
    output.answer(found, json.dumps(found, indent=1, ensure_ascii=False))
    return 0
