"""``holds``: place a legal hold in a matter, see how far it is, have it released by two, and prove it complete."""

import argparse
from collections.abc import Mapping
from typing import Any

from archive_service.access.policy import Right
from archive_service.commands import holds_notices
from archive_service.commands.acting import acting, take_token
from archive_service.commands.output import Output
from archive_service.holds.check import HoldReport, check_hold
from archive_service.holds.releasing import RELEASE
from archive_service.settings import Settings
from archive_service.tenant_services import OpenTenant


def register(commands: Any) -> None:
    """Add the commands."""
    holds = commands.add_parser("holds", help="legal holds: what must not go while a dispute may need it")
    actions = holds.add_subparsers(dest="action", required=True, metavar="ACTION")
    _placing(actions)
    listing = actions.add_parser("list", help="a matter's holds, released ones too")
    listing.add_argument("--matter", required=True, metavar="ID")
    listing.set_defaults(run=_list)
    showing = actions.add_parser("show", help="what a hold is about, and how far it is")
    showing.set_defaults(run=_show)
    releasing = actions.add_parser("release", help="ask that a hold end; another person approves it")
    releasing.add_argument("--reason", required=True, metavar="TEXT")
    releasing.set_defaults(run=_release)
    reviewing = actions.add_parser(
        "review", help="say that a hold was looked at, and by when it will be again"
    )
    reviewing.add_argument("--until", required=True, metavar="TIME", help="RFC 3339, twelve months at most")
    reviewing.add_argument("--note", required=True, metavar="TEXT")
    reviewing.set_defaults(run=_review)
    checking = actions.add_parser(
        "check", help="read every object's hold back, and search again for what is not covered"
    )
    checking.set_defaults(run=_check)
    notifying, knowing, told = holds_notices.add(actions)
    for command in (showing, releasing, reviewing, checking, notifying, knowing, told):
        command.add_argument("hold", metavar="ID")
    for command in actions.choices.values():
        command.add_argument("--tenant", required=True, metavar="T")
        take_token(command)


def _placing(actions: Any) -> None:
    placing = actions.add_parser("place", help="place a hold; from then on nothing goes that it may be about")
    placing.add_argument("--matter", required=True, metavar="ID")
    placing.add_argument("--name", required=True)
    placing.add_argument("--ground", required=True, metavar="TEXT", help="why it is expected to be needed")
    placing.add_argument("--claim", required=True, metavar="TEXT", help="the case, or its number")
    placing.add_argument("--owner", required=True, metavar="WHO", help="who answers for it")
    placing.add_argument("--review", required=True, metavar="TIME", help="RFC 3339, twelve months at most")
    placing.add_argument("--query", metavar="QUERY")
    placing.add_argument("--custodian", action="append", metavar="WHO", help="an id, address or name; often")
    placing.add_argument("--groups", action="store_true", help="what went to the custodians' groups too")
    placing.add_argument("--first", metavar="DAY", help="sent on this day, month or year or later")
    placing.add_argument("--last", metavar="DAY", help="sent on this day, month or year or before")
    placing.add_argument("--message", action="append", metavar="ID", help="instead of a search; often")
    placing.add_argument("--capture", action="append", metavar="ID", help="instead of a search; often")
    only = placing.add_mutually_exclusive_group()
    only.add_argument("--past-only", action="store_true", help="what was received until now")
    only.add_argument("--future-only", action="store_true", help="what is received from now on")
    placing.add_argument("--open", action="store_true", help="shown to whoever may read the mail")
    placing.set_defaults(run=_place)


def _place(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    fields = {
        **{name: getattr(given, name) for name in ("name", "ground", "claim", "owner", "review", "query")},
        **{name: getattr(given, name) for name in ("groups", "first", "last")},
        "custodians": given.custodian,
        "messages": given.message,
        "captures": given.capture,
        "past": not given.future_only,
        "future": not given.past_only,
        "silent": not given.open,
    }
    with acting(settings, given, Right.MATTERS_CHANGE) as (opened, actor):
        hold, placed = opened.services.holds.place(actor, given.matter, fields)
        made = opened.services.holds.view(hold)
    late = [f"too late for {capture}: its key is already being destroyed" for capture in placed.too_late]
    answer = {**made, "seq": placed.seq, "too_late": list(placed.too_late)}
    output.answer(answer, "\n".join([hold.id, *_people(made), *late]))
    return 0


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.MATTERS) as (opened, _):
        opened.services.cases.matter(given.matter)
        desk = opened.services.holds
        rows = [desk.view(hold) for hold in desk.all(given.matter)]
    output.answer({"holds": rows}, "\n".join(map(_line, rows)) or "no holds in this matter")
    return 0


def _show(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.MATTERS) as (opened, _):
        desk = opened.services.holds
        row = desk.view(desk.find(given.hold))
    output.answer(row, "\n".join([_line(row), *_people(row)]))
    return 0


def _release(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.MATTERS_CHANGE) as (opened, actor):
        hold = opened.services.holds.find(given.hold)
        made = opened.services.four_eyes.ask(actor, RELEASE, {"hold": hold.id}, given.reason)
    text = f"{made.id}\nanother person approves it: approvals approve {made.id}"
    output.answer({"approval": made.id, "hold": given.hold}, text)
    return 0


def _review(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.MATTERS_CHANGE) as (opened, actor):
        desk = opened.services.holds
        hold = desk.find(given.hold)
        row = desk.view(desk.review(actor, hold.matter, hold.id, given.until, given.note))
    output.answer(row, f"{row['id']} is looked at again by {row['review']}")
    return 0


def _check(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.MATTERS) as (opened, _):
        report = _checked(opened, given.hold).plain()
    text = f"{report['count']} captures, {report['held']} held in the store; sha256 {report['digest']}"
    amiss = [f"{report[name]} {name}" for name in ("free", "missing", "uncovered") if report[name]]
    output.answer(report, "\n".join([text, *(amiss or ["complete"])]))
    return 0 if report["complete"] else 1


def _checked(opened: OpenTenant, hold: str) -> HoldReport:
    services, tenant = opened.services, opened.tenant
    found = services.holds.find(hold)
    store, clock = tenant.vault.store, tenant.vault.clock
    return check_hold(tenant.acts, store, services.catalog, services.index, found, clock)


def _line(row: Mapping[str, Any]) -> str:
    progress = row["progress"]
    far = "complete" if progress["complete"] else "under way"
    overdue = "  REVIEW OVERDUE" if row["review_overdue"] else ""
    counts = f"{progress['covered']} covered, {progress['locked']} locked"
    return f"{row['id']}  {row['name']}  {row['state']}  {counts}, {far}{overdue}"


def _people(row: Mapping[str, Any]) -> list[str]:
    """Which addresses were used for whom, and what could not be resolved."""
    lines = []
    for person in row["people"]:
        used = ", ".join(str(each["address"]) for each in person["addresses"])
        lines.append(f"{person['name']}: {used}")
        lines += [f"  ? {each['what']} ({each['why']})" for each in person["unresolved"]]
    return lines
