"""``compartments``: sealed parts of a tenant. Every other command works in one with ``--tenant T/NAME``."""

import argparse
from typing import Any

from archive_service.access.events import RoleName
from archive_service.access.policy import Right
from archive_service.commands.acting import acting, take_token
from archive_service.commands.output import Output
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Invalid
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    compartments = commands.add_parser("compartments", help="sealed parts of a tenant")
    actions = compartments.add_subparsers(dest="action", required=True, metavar="ACTION")
    asking = actions.add_parser("ask", help="ask for a compartment; another person approves it")
    asking.add_argument("--name", required=True)
    asking.add_argument(
        "--officer",
        action="append",
        required=True,
        metavar="WHO=ROLE[@TIME]",
        help="who works in it, until when (RFC 3339; 30 days when not given); two at least",
    )
    asking.add_argument("--reason", required=True, metavar="TEXT")
    asking.set_defaults(run=_ask, recorded="approvals ask")  # who reads the access log is told no more
    listing = actions.add_parser("list", help="those that the holder of the token works in")
    listing.set_defaults(run=_list)
    for command in actions.choices.values():
        command.add_argument("--tenant", required=True, metavar="T")
        take_token(command)


def _ask(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    wanted = {"name": given.name, "officers": [_officer(text) for text in given.officer]}
    with acting(settings, given, Right.COMPARTMENTS) as (opened, actor):
        made = opened.services.four_eyes.ask(actor, "compartment.make", wanted, given.reason)
    output.answer(
        {"approval": made.id}, f"{made.id}\nanother person approves it: approvals approve {made.id}"
    )
    return 0


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.POLICY) as (opened, actor):
        found = opened.services.sealed.compartments(actor.subject, rfc3339(opened.tenant.vault.clock()))
    lines = [f"{each['id']}  {each['name']}" for each in found]
    output.answer({"compartments": found}, "\n".join(lines) or "none")
    return 0


def _officer(text: str) -> dict[str, str]:
    subject, equals, rest = text.rpartition("=")
    role, _, until = rest.partition("@")
    if not equals or role not in {str(each) for each in RoleName}:
        raise Invalid("an officer is WHO=ROLE, with @TIME for an end of his own", code="compartment.officer")
    return {"subject": subject, "role": role} | ({"until": until} if until else {})
