"""``dispositions``: what is past its maximum goes, under two people, with proof."""

import argparse
import json
from collections import Counter
from typing import Any

from archive_service.access.policy import Right
from archive_service.bootstrap import open_core
from archive_service.catching_up import catch_up, seal_looks
from archive_service.commands.acting import acting, acting_in, take_token
from archive_service.commands.output import Output
from archive_service.disposal.disposing import advance
from archive_service.following import parser_pool
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    dispositions = commands.add_parser("dispositions", help="let go what is past its maximum, with proof")
    actions = dispositions.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every run, and how far it is")
    listing.set_defaults(run=_list)
    preview = actions.add_parser("preview", help="what may go now; changes nothing")
    preview.set_defaults(run=_preview)
    asking = actions.add_parser("ask", help="ask that it go; another person approves it")
    asking.add_argument("--reason", required=True, metavar="TEXT")
    asking.add_argument("--elimination", metavar="ID", help="of public archives: the list with its visa")
    asking.set_defaults(run=_ask)
    for command in (preview, asking):
        command.add_argument("--class", dest="classes", action="append", metavar="ID", help="only this class")
        command.add_argument(
            "--omit", action="append", metavar="CAPTURE", help="leave it; may be given often"
        )
    extending = actions.add_parser("extend", help="keep captures until a time, whatever their class says")
    extending.add_argument("--until", required=True, metavar="TIME", help="RFC 3339, five years at most")
    extending.set_defaults(run=_extend)
    relabelling = actions.add_parser(
        "relabel", help="ask that captures be of a class by hand; another person approves it"
    )
    relabelling.add_argument("--class", dest="klass", required=True, metavar="ID")
    relabelling.set_defaults(run=_relabel)
    for command in (extending, relabelling):
        which = command.add_mutually_exclusive_group(required=True)
        which.add_argument("--capture", action="append", metavar="ID", help="may be given often")
        which.add_argument("--message", action="append", metavar="ID", help="all its captures; often")
        command.add_argument("--reason", required=True, metavar="TEXT")
    stopping = actions.add_parser("stop", help="call a run off while its grace runs")
    stopping.add_argument("--reason", required=True, metavar="TEXT")
    stopping.set_defaults(run=_stop)
    proving = actions.add_parser("certificate", help="what was destroyed, why, and since when, with proofs")
    proving.set_defaults(run=_certificate)
    for command in (stopping, proving):
        command.add_argument("id", metavar="ID")
    running = actions.add_parser("run", help="take every run as far as it can go now, as the scheduler does")
    running.set_defaults(run=_run)
    for command in actions.choices.values():
        command.add_argument("--tenant", required=True, metavar="T")
    for command in (listing, preview, asking, extending, relabelling, stopping, proving):
        take_token(command)


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.DISPOSITIONS) as (opened, _):
        found = list(opened.services.dispositions.all())
    lines = [f"{each['id']}  {each['state']:7}  {each['captures']} captures" for each in found]
    output.answer({"dispositions": found}, "\n".join(lines) or "there was none")
    return 0


def _preview(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.DISPOSITIONS) as (opened, _):
        found = opened.services.dispositions.preview(_wanted(given))
    lines = [f"{number} of {name}" for name, number in found["classes"].items()]
    output.answer(found, "\n".join([f"{found['captures']} captures may go", *lines]))
    return 0


def _ask(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.DISPOSITIONS_CHANGE) as (opened, actor):
        wanted = _wanted(given) | {"elimination": given.elimination}
        made = opened.services.four_eyes.ask(actor, "disposition.run", wanted, given.reason)
    answer = {"approval": made.id, "captures": made.request["captures"]}
    output.answer(answer, f"{made.id}\nanother person approves it: approvals approve {made.id}")
    return 0


def _extend(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.DISPOSITIONS_CHANGE) as (opened, actor):
        wanted = _named(given) | {"until": given.until}
        made = opened.services.reviews.extend(actor, wanted, given.reason)
    output.answer(made, f"{made['captures']} captures are kept until {made['until']}")
    return 0


def _relabel(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.DISPOSITIONS_CHANGE) as (opened, actor):
        wanted = _named(given) | {"class": given.klass}
        made = opened.services.four_eyes.ask(actor, "retention.relabel", wanted, given.reason)
    answer = {"approval": made.id, "captures": made.request["count"]}
    output.answer(answer, f"{made.id}\nanother person approves it: approvals approve {made.id}")
    return 0


def _named(given: argparse.Namespace) -> dict[str, Any]:
    return {"captures": given.capture} if given.capture else {"messages": given.message}


def _wanted(given: argparse.Namespace) -> dict[str, Any]:
    return {"classes": given.classes, "omit": given.omit}


def _stop(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.DISPOSITIONS_CHANGE) as (opened, actor):
        found = opened.services.dispositions.stop(given.id, actor.subject, given.reason)
    output.answer(found, f"{given.id} stopped")
    return 0


def _certificate(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    core = open_core(settings)
    try:
        seal_looks(core)
        with acting_in(core, given, Right.DISPOSITIONS) as (opened, _):
            found = opened.services.dispositions.certificate(given.id)
    finally:
        core.close()
    output.answer(found, json.dumps(found, indent=1, ensure_ascii=False))
    return 0


def _run(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    core = open_core(settings)
    try:
        tenant = core.tenant(given.tenant)
        with parser_pool(settings) as pool:
            catch_up(core, tenant, pool)
            ended = advance(core, tenant)
            catch_up(core, tenant, pool)
        states = Counter(each.state for each in tenant.acts.dispositions.known.values())
    finally:
        core.close()
    lines = [f"{number} {state}" for state, number in sorted(states.items())]
    output.answer({"ended": ended, **states}, "\n".join(lines) or "there is none")
    return 0
