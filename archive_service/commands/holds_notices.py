"""``holds notify``, ``notices``, ``acknowledge``: custodians of a hold are told by mail, and say that they know."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archive_service.access.policy import Right
from archive_service.commands.acting import acting
from archive_service.commands.files import text_of
from archive_service.commands.output import Output
from archive_service.settings import Settings


def add(actions: Any) -> tuple[Any, Any, Any]:
    """Add the three to ``holds``."""
    notifying = actions.add_parser("notify", help="have the custodians of a hold told by mail")
    notifying.add_argument("--to", action="append", metavar="WHO", help="a custodian; often; else the hold's")
    notifying.add_argument(
        "--subject", required=True, metavar="TEXT", help="{name}, {hold}, {claim} are filled in"
    )
    notifying.add_argument("--text", required=True, type=Path, metavar="FILE", help="UTF-8, filled in too")
    notifying.add_argument("--remind-days", type=int, default=7, metavar="N")
    notifying.add_argument("--escalate-days", type=int, default=14, metavar="N")
    notifying.add_argument("--escalate-to", required=True, metavar="ADDRESS", help="who answers for the hold")
    notifying.set_defaults(run=_notify)
    knowing = actions.add_parser("acknowledge", help="say for a custodian that he knows, and why")
    knowing.add_argument("--custodian", required=True, metavar="ID")
    knowing.add_argument("--reason", required=True, metavar="TEXT")
    knowing.set_defaults(run=_acknowledge)
    told = actions.add_parser("notices", help="what was sent to whom, and who knows")
    told.set_defaults(run=_notices)
    return notifying, knowing, told


def _notify(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    names = ("to", "subject", "remind_days", "escalate_days", "escalate_to")
    fields = {name: getattr(given, name) for name in names} | {"text": text_of(given.text)}
    with acting(settings, given, Right.MATTERS_CHANGE) as (opened, actor):
        services = opened.services
        row = services.notices.open(actor, services.holds.find(given.hold), fields)
    output.answer(row, _lines(row))
    return 0


def _acknowledge(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.MATTERS_CHANGE) as (opened, actor):
        services = opened.services
        hold = services.holds.find(given.hold)
        row = services.notices.by_hand(actor, hold, given.custodian, given.reason)
    output.answer(row, _lines(row))
    return 0


def _notices(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.MATTERS) as (opened, _):
        row = opened.services.notices.view(opened.services.holds.find(given.hold))
    output.answer(row, _lines(row))
    return 0


def _lines(row: Mapping[str, Any]) -> str:
    lines = []
    for person in row["people"]:
        knows = person["acknowledged_at"] or "not acknowledged"
        mails = ", ".join(f"{mail['kind']} {mail['state']}" for mail in person["mails"])
        lines.append(f"{person['custodian']}  {knows}  {mails or 'nothing sent yet'}")
    return "\n".join(lines) or "nobody was told"
