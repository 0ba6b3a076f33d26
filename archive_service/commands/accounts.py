"""``accounts``: service accounts of programs."""

import argparse
from typing import Any

from archive_service.access.accounts import last_used
from archive_service.access.events import RoleName
from archive_service.access.policy import Right
from archive_service.commands.acting import acting, take_token
from archive_service.commands.output import Output
from archive_service.commands.tokens import duration
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    accounts = commands.add_parser("accounts", help="service accounts: programs that act in a role's rights")
    actions = accounts.add_subparsers(dest="action", required=True, metavar="ACTION")
    make = actions.add_parser("make", help="a new account; prints its token, this once")
    make.add_argument("--name", required=True, metavar="N", help="never another's before")
    make.add_argument("--role", required=True, choices=[str(role) for role in RoleName])
    make.add_argument(
        "--only",
        required=True,
        action="append",
        metavar="RIGHT",
        help="a right of the role; may be given often",
    )
    make.add_argument("--ttl", required=True, metavar="TIME", help="how long it lives: 90d, at most 366d")
    make.set_defaults(run=_make)
    listing = actions.add_parser("list", help="every account, and when it was last used")
    listing.set_defaults(run=_list)
    revoke = actions.add_parser("revoke", help="end an account at once, on every machine")
    revoke.add_argument("account", metavar="ID", help="its id or name")
    revoke.add_argument("--reason", default="revoked", metavar="TEXT")
    revoke.set_defaults(run=_revoke)
    for command in (make, listing, revoke):
        command.add_argument("--tenant", required=True, metavar="T")
        take_token(command)


def _make(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.ACCOUNTS) as (opened, actor):
        ends = opened.tenant.vault.clock() + duration(given.ttl)
        account, token, seq = opened.services.accounts.make(
            actor.subject, given.name, RoleName(given.role), given.only, ends
        )
    said = {"id": account.id, "name": account.name, "ends": account.ends, "token": token, "seq": seq}
    output.answer(said, token)
    return 0


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.ACCOUNTS) as (opened, _):
        desk = opened.services.accounts
        found = desk.all()
        used, _ = last_used(opened.services.access_log, found)
        rows = [
            {
                "id": each.id,
                "name": each.name,
                "role": each.role,
                "only": list(each.only),
                "ends": each.ends,
                "state": desk.state(each),
                "made_by": each.by,
                "last_used": used.get(each.id),
            }
            for each in found
        ]
    lines = [
        f"{row['id']}  {row['name']:16}  {row['state']:7}  {row['role']:18}  until {row['ends']}"
        f"  last used {row['last_used'] or 'never, as far as was looked'}"
        for row in rows
    ]
    output.answer({"accounts": rows}, "\n".join(lines) or "no service accounts")
    return 0


def _revoke(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.ACCOUNTS) as (opened, actor):
        desk = opened.services.accounts
        account, seq = desk.revoke(actor.subject, desk.find(given.account).id, given.reason)
    output.answer({"id": account.id, "state": "revoked", "seq": seq}, f"{account.id} revoked")
    return 0
