"""``eliminations``: lists of public archives that are to go, and their visas (Code du patrimoine, article R212-14)."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archive_service.access.policy import Right
from archive_service.commands.acting import acting, take_token
from archive_service.commands.orders import paper
from archive_service.commands.output import Output
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    eliminations = commands.add_parser(
        "eliminations", help="public archives: lists to eliminate, and their visas"
    )
    actions = eliminations.add_subparsers(dest="action", required=True, metavar="ACTION")
    drawing = actions.add_parser("draw", help="draw up the list of what is past its maximum")
    drawing.add_argument("--class", dest="classes", action="append", metavar="ID", help="only this class")
    drawing.add_argument("--omit", action="append", metavar="CAPTURE", help="leave it; may be given often")
    drawing.set_defaults(run=_draw)
    listing = actions.add_parser("list", help="every list, and its visa")
    listing.set_defaults(run=_list)
    showing = actions.add_parser("show", help="one list, whole")
    showing.set_defaults(run=_show)
    giving = actions.add_parser("visa", help="record the visa of a list")
    giving.add_argument("--reference", required=True, metavar="TEXT")
    giving.add_argument("--issuer", required=True, metavar="WHO")
    giving.add_argument("--dated", required=True, metavar="DAY")
    giving.add_argument("--sha256", required=True, metavar="HEX", help="of the list, as the visa has it")
    giving.add_argument("--document", type=Path, metavar="FILE", help="the visa on paper")
    giving.set_defaults(run=_visa)
    for command in (showing, giving):
        command.add_argument("list", metavar="ID")
    for command in actions.choices.values():
        command.add_argument("--tenant", required=True, metavar="T")
        take_token(command)


def _draw(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.DISPOSITIONS_CHANGE) as (opened, actor):
        wanted = {"classes": given.classes, "omit": given.omit}
        row = opened.services.eliminations.draw(wanted, actor.subject)
    output.answer(row, _line(row))
    return 0


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.DISPOSITIONS) as (opened, _):
        rows = list(opened.services.eliminations.all())
    output.answer({"eliminations": rows}, "\n".join(map(_line, rows)) or "no lists")
    return 0


def _show(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.DISPOSITIONS) as (opened, _):
        row = opened.services.eliminations.get(given.list)
    output.answer(row, "\n".join([_line(row), *row["captures"]]))
    return 0


def _visa(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    words = {name: getattr(given, name) for name in ("reference", "issuer", "dated", "sha256")}
    with acting(settings, given, Right.DISPOSITIONS_CHANGE) as (opened, actor):
        services = opened.services
        services.eliminations.get(given.list)
        if given.document is not None:
            words["document"] = services.orders.attach(actor, paper(given.document))
        row = services.eliminations.visa(given.list, words, actor.subject)
    output.answer(row, _line(row))
    return 0


def _line(row: Mapping[str, Any]) -> str:
    visa = row["visa"]
    said = f"visa {visa['reference']} of {visa['dated']}" if visa else "no visa"
    return f"{row['id']}  {row['count']} captures  {said}  sha256 {row['sha256']}"
