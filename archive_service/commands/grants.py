"""``grants``: who may act in which role, how far and how long; asked for by one, decided by another."""

import argparse
from typing import Any

from archive_service.access.events import RoleName
from archive_service.access.policy import Right
from archive_service.commands.acting import acting, take_token
from archive_service.commands.output import Output
from archive_service.ledger.grants import Grant
from archive_service.model.clock import rfc3339
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    grants = commands.add_parser("grants", help="who may act in which role, how far, and how long")
    actions = grants.add_subparsers(dest="action", required=True, metavar="ACTION")
    asking = actions.add_parser("ask", help="ask for a grant; another person approves it")
    asking.add_argument("--subject", required=True, metavar="WHO", help="as his token names him")
    asking.add_argument("--role", required=True, choices=[str(role) for role in RoleName])
    asking.add_argument("--matter", metavar="ID", help="only for the mail of this matter")
    asking.add_argument(
        "--custodian",
        action="append",
        metavar="WHO",
        help="only for their mail; an id, address or name; often",
    )
    asking.add_argument("--from", dest="begins", metavar="TIME", help="RFC 3339; now when not given")
    asking.add_argument("--until", metavar="TIME", help="RFC 3339, 366 days at most; 30 days when not given")
    asking.add_argument("--reason", required=True, metavar="TEXT")
    asking.set_defaults(run=_ask)
    listing = actions.add_parser("list", help="every grant ever given, newest first")
    listing.add_argument("--subject", metavar="WHO")
    listing.set_defaults(run=_list)
    revoking = actions.add_parser("revoke", help="end a grant at once; one person is enough")
    revoking.add_argument("grant", metavar="ID")
    revoking.add_argument("--reason", required=True, metavar="TEXT")
    revoking.set_defaults(run=_revoke)
    looking = actions.add_parser("recertify", help="say which rights in force are still meant; revokes none")
    looking.add_argument("--confirm", action="append", default=[], metavar="ID", help="still meant; often")
    looking.add_argument("--withdraw", action="append", default=[], metavar="ID", help="to be revoked; often")
    looking.add_argument("--note", required=True, metavar="TEXT")
    looking.set_defaults(run=_recertify)
    for command in actions.choices.values():
        command.add_argument("--tenant", required=True, metavar="T")
        take_token(command)


def _ask(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    fields = {
        "subject": given.subject,
        "role": given.role,
        "matter": given.matter,
        "custodians": given.custodian,
        "from": given.begins,
        "until": given.until,
    }
    wanted = {name: value for name, value in fields.items() if value is not None}
    with acting(settings, given, Right.GRANTS_CHANGE) as (opened, actor):
        made = opened.services.four_eyes.ask(actor, "grant.give", wanted, given.reason)
    text = f"{made.id}\nanother person approves it: approvals approve {made.id}"
    output.answer({"approval": made.id, "asked": dict(made.request)}, text)
    return 0


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.GRANTS) as (opened, _):
        now = rfc3339(opened.tenant.vault.clock())
        grants = opened.services.cases.grants()
        rows = [_plain(each, now) for each in reversed(grants) if given.subject in (None, each.subject)]
    output.answer({"grants": rows}, "\n".join(map(_line, rows)) or "no grants")
    return 0


def _revoke(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.GRANTS_CHANGE) as (opened, actor):
        grant = opened.services.cases.revoke(actor, given.grant, given.reason)
        row = _plain(grant, rfc3339(opened.tenant.vault.clock()))
    output.answer(row, f"{grant.id} revoked")
    return 0


def _recertify(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.GRANTS_CHANGE) as (opened, actor):
        made = opened.services.recertifying.recertify(actor, given.confirm, given.withdraw, given.note)
    answer = {
        "id": made.id,
        "confirmed": list(made.confirmed),
        "withdraw": list(made.withdraw),
        "at": made.at,
    }
    text = f"{len(made.confirmed)} confirmed, {len(made.withdraw)} to be withdrawn: grants revoke, accounts revoke"
    output.answer(answer, text)
    return 0


def _plain(grant: Grant, now: str) -> dict[str, Any]:
    return {
        "id": grant.id,
        "subject": grant.subject,
        "role": grant.role,
        "matter": grant.matter,
        "custodians": list(grant.custodians),
        "from": grant.begins,
        "until": grant.ends,
        "reason": grant.reason,
        "asked_by": grant.by,
        "approval": grant.approval,
        "state": grant.state(now),
        "break_glass": grant.break_glass,
    }


def _line(row: dict[str, Any]) -> str:
    bounds = [f"matter {row['matter']}"] if row["matter"] else []
    bounds += [f"{len(row['custodians'])} custodians"] if row["custodians"] else []
    how_far = " and ".join(bounds) or "the whole of it"
    return f"{row['id']}  {row['subject']}  {row['role']}  {row['state']}  until {row['until']}  {how_far}"
