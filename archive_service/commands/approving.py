"""``approvals``: what is asked for that needs two people, and the second person's word."""

import argparse
from typing import Any

from archive_service.access.four_eyes import FourEyes
from archive_service.access.policy import Right
from archive_service.commands.acting import acting, take_token
from archive_service.commands.output import Output
from archive_service.ledger.approvals import Approval, Verdict
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    approvals = commands.add_parser("approvals", help="decide what another person has asked for (four eyes)")
    actions = approvals.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="what was asked, and what became of it")
    listing.set_defaults(run=_list)
    approve = actions.add_parser(
        "approve", help="approve another person's request; it is carried out at once"
    )
    refuse = actions.add_parser("refuse", help="refuse another person's request")
    execute = actions.add_parser("execute", help="carry out what was approved and could not be done then")
    approve.set_defaults(run=_decide, verdict=Verdict.APPROVED)
    refuse.set_defaults(run=_decide, verdict=Verdict.REFUSED)
    execute.set_defaults(run=_execute)
    for command in (approve, refuse, execute):
        command.add_argument("approval", metavar="ID")
    for command in (approve, refuse):
        command.add_argument("--reason", required=True, metavar="TEXT")
    for command in (listing, approve, refuse, execute):
        command.add_argument("--tenant", required=True, metavar="T")
        take_token(command)


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.APPROVALS) as (opened, actor):
        desk = opened.services.four_eyes
        found = [_plain(desk, each) for each in desk.all(actor)]
    lines = [f"{each['id']}  {each['action']:14}  {each['state']:8}  {each['asked_by']}" for each in found]
    output.answer({"approvals": found}, "\n".join(lines) or "nothing was asked")
    return 0


def _decide(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.APPROVALS_DECIDE) as (opened, actor):
        desk = opened.services.four_eyes
        desk.decide(actor, given.approval, given.verdict, given.reason)
        result = desk.carry_out(given.approval) if given.verdict is Verdict.APPROVED else {}
    state = "executed" if result else "refused"
    output.answer({"id": given.approval, "state": state, "result": result}, f"{given.approval} {state}")
    return 0


def _execute(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.APPROVALS_DECIDE) as (opened, actor):
        desk = opened.services.four_eyes
        result = desk.carry_out_again(actor, given.approval)
    output.answer({"id": given.approval, "state": "executed", "result": result}, f"{given.approval} executed")
    return 0


def _plain(desk: FourEyes, approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.id,
        "action": approval.action,
        "state": desk.state(approval),
        "asked_by": approval.by,
        "asked_at": approval.at,
        "reason": approval.reason,
        "decided_by": approval.decided.by if approval.decided else None,
    }
