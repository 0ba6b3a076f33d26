"""``matters``: cases, and which mail each is about."""

import argparse
from typing import Any

from archive_service.access.policy import Right
from archive_service.commands.acting import acting, take_token
from archive_service.commands.output import Output
from archive_service.ledger.matters import Matter
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    matters = commands.add_parser("matters", help="cases, and which mail each is about")
    actions = matters.add_subparsers(dest="action", required=True, metavar="ACTION")
    opening = actions.add_parser("open", help="a new matter")
    opening.set_defaults(run=_set, matter=None, version=None, reason=None)
    changing = actions.add_parser("change", help="all of a matter anew")
    changing.add_argument("matter", metavar="ID")
    changing.add_argument("--version", type=int, metavar="N", help="only if it still is this version")
    changing.add_argument(
        "--reason",
        metavar="TEXT",
        help="ask for it, another person approves: needed while grants for it are open",
    )
    changing.set_defaults(run=_set)
    for command in (opening, changing):
        command.add_argument("--name", required=True)
        command.add_argument("--purpose", required=True, metavar="TEXT")
        command.add_argument("--query", metavar="QUERY")
        command.add_argument(
            "--custodian", action="append", metavar="WHO", help="an id, address or name; often"
        )
    listing = actions.add_parser("list", help="every matter, in the order they were opened")
    listing.set_defaults(run=_list)
    closing = actions.add_parser("close", help="end a matter; grants for it show nothing any more")
    closing.add_argument("matter", metavar="ID")
    closing.set_defaults(run=_close)
    for command in actions.choices.values():
        command.add_argument("--tenant", required=True, metavar="T")
        take_token(command)


def _set(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    fields = {name: getattr(given, name) for name in ("name", "purpose", "query")}
    fields["custodians"] = given.custodian
    wanted = {name: value for name, value in fields.items() if value is not None}
    with acting(settings, given, Right.MATTERS_CHANGE) as (opened, actor):
        if given.reason is not None:
            change = {"matter": given.matter, **wanted}
            asked = opened.services.four_eyes.ask(actor, "matter.change", change, given.reason)
            text = f"{asked.id}\nanother person approves it: approvals approve {asked.id}"
            output.answer({"approval": asked.id, "matter": given.matter}, text)
            return 0
        made = opened.services.cases.set_matter(actor.subject, wanted, given.matter, given.version)
    output.answer(_plain(made), made.id)
    return 0


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.MATTERS) as (opened, _):
        rows = [_plain(each) for each in opened.services.cases.matters()]
    output.answer({"matters": rows}, "\n".join(map(_line, rows)) or "no matters")
    return 0


def _close(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.MATTERS_CHANGE) as (opened, actor):
        closed = opened.services.cases.close_matter(actor, given.matter)
    output.answer(_plain(closed), f"{closed.id} closed")
    return 0


def _plain(matter: Matter) -> dict[str, Any]:
    return {
        "id": matter.id,
        "name": matter.name,
        "purpose": matter.purpose,
        "query": matter.query,
        "custodians": list(matter.custodians),
        "changed_by": matter.by,
        "changed_at": matter.at,
        "version": matter.version,
        "closed_at": matter.closed,
    }


def _line(row: dict[str, Any]) -> str:
    state = f"closed {row['closed_at']}" if row["closed_at"] else "open"
    return f"{row['id']}  {row['name']}  version {row['version']}  {state}"
