"""``incident``: stop exports, the destruction of keys and every token issued before; say who saw what since when."""

import argparse
from typing import Any

from archive_service.access.policy import Right
from archive_service.commands.acting import acting, take_token
from archive_service.commands.output import Output
from archive_service.ledger.incidents import Incident
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    incident = commands.add_parser(
        "incident", help="a suspected breach: freeze, revoke, and say who saw what"
    )
    actions = incident.add_subparsers(dest="action", required=True, metavar="ACTION")
    opening = actions.add_parser(
        "open", help="from now on nothing is exported, no key destroyed, old tokens are void"
    )
    opening.add_argument("--reason", required=True, metavar="TEXT")
    opening.add_argument("--since", metavar="TIME", help="from when on looks are suspect (RFC 3339)")
    opening.set_defaults(run=_open)
    listing = actions.add_parser("list", help="every incident")
    listing.set_defaults(run=_list)
    report = actions.add_parser(
        "report", help="who looked at what since, with counts for a notice (GDPR article 33)"
    )
    report.set_defaults(run=_report)
    closing = actions.add_parser("close", help="ask that it be closed; another person approves it")
    closing.add_argument("--reason", required=True, metavar="TEXT")
    closing.set_defaults(run=_close)
    for command in (report, closing):
        command.add_argument("incident", metavar="ID")
    for command in (opening, listing, report, closing):
        command.add_argument("--tenant", required=True, metavar="T")
        take_token(command)


def _open(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.INCIDENTS) as (opened, actor):
        made = opened.services.incidents.open(actor, given.reason, given.since)
    text = f"{made.id}\nopen since {made.at}: tokens issued before are void, yours too"
    output.answer(_plain(made), text)
    return 0


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.INCIDENTS) as (opened, _):
        found = [_plain(each) for each in opened.services.incidents.all()]
    lines = [f"{each['id']}  {each['at']}  {'closed' if each['closed'] else 'open'}" for each in found]
    output.answer({"incidents": found}, "\n".join(lines) or "no incident")
    return 0


def _report(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.INCIDENTS) as (opened, _):
        made = opened.services.incidents.report(given.incident)
    lines = [f"since {made['since']}: {made['records']} records of {made['people']} people were looked at"]
    lines += [
        f"{each['actor']} ({each['role']}): {each['records']} records of {each['people']} people, "
        f"{each['entries']} looks, {each['refused']} refused, from {', '.join(each['origins']) or 'here'}"
        for each in made["looks"]
    ]
    output.answer(made, "\n".join(lines))
    return 0


def _close(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.INCIDENTS) as (opened, actor):
        asked = {"incident": given.incident}
        made = opened.services.four_eyes.ask(actor, "incident.close", asked, given.reason)
    text = f"{made.id}\nanother person approves it: approvals approve {made.id}"
    output.answer({"approval": made.id}, text)
    return 0


def _plain(incident: Incident) -> dict[str, Any]:
    return dict(vars(incident))
