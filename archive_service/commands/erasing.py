"""``erasures``: have captures forgotten, see what waits, run a batch."""

import argparse
from typing import Any

from archive_service.access.policy import Right
from archive_service.bootstrap import open_core
from archive_service.catching_up import catch_up
from archive_service.commands.acting import acting, take_token
from archive_service.commands.output import Output
from archive_service.disposal.erasing import run_batch
from archive_service.following import parser_pool
from archive_service.settings import Settings
from archive_service.strong_actions import ASKED_FOR
from archive_service.tenant_services import erasures_of
from retention.erasure import Outcome


def register(commands: Any) -> None:
    """Add the commands."""
    erasures = commands.add_parser("erasures", help="forget captures, with proof (GDPR article 17)")
    actions = erasures.add_subparsers(dest="action", required=True, metavar="ACTION")
    asking = actions.add_parser(
        "ask",
        help="ask that captures be barred from every read, and their keys destroyed; another approves it",
    )
    take_token(asking)
    asking.add_argument("--tenant", required=True, metavar="T")
    asking.add_argument("--capture", required=True, action="append", metavar="ID", help="may be given often")
    asking.add_argument("--ground", required=True, choices=[str(ground) for ground in ASKED_FOR])
    asking.add_argument("--basis", required=True, metavar="TEXT", help="the article of law, or the order")
    asking.set_defaults(run=_ask)
    listing = actions.add_parser("list", help="what was asked, and how far it is")
    listing.add_argument("--tenant", required=True, metavar="T")
    listing.set_defaults(run=_list)
    running = actions.add_parser("run", help="run a batch now")
    running.add_argument("--tenant", required=True, metavar="T")
    running.add_argument(
        "--today-too", action="store_true", help="also what came today: every writer answers 4xx once"
    )
    running.set_defaults(run=_run)


def _ask(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.ERASURES_ASK) as (opened, actor):
        wanted = {"captures": given.capture, "ground": given.ground, "basis": given.basis}
        made = opened.services.four_eyes.ask(actor, "erasure.ask", wanted, given.basis)
    text = f"{made.id}\nanother person approves it: approvals approve {made.id}"
    output.answer({"approval": made.id, "captures": len(made.request["captures"])}, text)
    return 0


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    core = open_core(settings)
    try:
        tenant = core.tenant(given.tenant)
        rows = erasures_of(tenant.acts)
        batches = [vars(batch) for batch in tenant.acts.erasures.batches.values()]
    finally:
        core.close()
    lines = [f"{row['id']}  {row['capture']}  {row['ground']:9}  {row['state']}" for row in rows]
    output.answer({"erasures": rows, "batches": batches}, "\n".join(lines) or "nothing was asked")
    return 0


def _run(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    core = open_core(settings)
    try:
        tenant = core.tenant(given.tenant)
        with parser_pool(settings) as pool:
            catch_up(core, tenant, pool)
        outcome = run_batch(core, tenant, today_too=given.today_too)
    finally:
        core.close()
    output.answer(vars(outcome), _text(outcome))
    return 0


def _text(outcome: Outcome) -> str:
    lines = [f"keys destroyed: {outcome.erased}; kept under new ones: {outcome.survivors}"]
    waiting = f"{outcome.waiting} wait for their day to end, the follower, or a hold to be held against them"
    lines += [waiting] if outcome.waiting else []
    lines += [f"{outcome.missing} have no key record in either place now"] if outcome.missing else []
    lines += [f"{count} {reason}" for reason, count in outcome.kept.items()]
    lines += [f"key version {version} destroyed: no backup opens them now" for version in outcome.destroyed]
    return "\n".join(lines)
