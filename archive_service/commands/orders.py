"""``orders``: orders of a court or authority, to keep or to erase: under two people, with the document and proof."""

import argparse
import base64
import json
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archive_service.access.policy import Right
from archive_service.bootstrap import open_core
from archive_service.catching_up import seal_looks
from archive_service.commands.acting import acting, acting_in, take_token
from archive_service.commands.files import bytes_of, require_new
from archive_service.commands.output import Output
from archive_service.orders.asking import END, PLACE
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    orders = commands.add_parser("orders", help="orders of a court or authority: they stand above all else")
    actions = orders.add_subparsers(dest="action", required=True, metavar="ACTION")
    _asking(actions)
    listing = actions.add_parser("list", help="every order, and how far it is")
    listing.set_defaults(run=_list)
    showing = actions.add_parser("show", help="what an order is about, and how far it is")
    showing.set_defaults(run=_show)
    document = actions.add_parser("document", help="write the order on paper into a file")
    document.add_argument("-o", "--output", required=True, type=Path, metavar="FILE")
    document.set_defaults(run=_document)
    ending = actions.add_parser("end", help="ask that an order end; another person approves it")
    ending.add_argument("--reason", required=True, metavar="TEXT")
    ending.set_defaults(run=_end)
    proving = actions.add_parser(
        "certificate", help="what an order had destroyed, and since when, with proofs"
    )
    proving.set_defaults(run=_certificate)
    for command in (showing, document, ending, proving):
        command.add_argument("order", metavar="ID")
    for command in actions.choices.values():
        command.add_argument("--tenant", required=True, metavar="T")
        take_token(command)


def _asking(actions: Any) -> None:
    asking = actions.add_parser("ask", help="ask that an order be placed; another person approves it")
    asking.add_argument("kind", choices=["keep", "erase"])
    asking.add_argument("--issuer", required=True, metavar="WHO", help="the court or authority")
    asking.add_argument("--reference", required=True, metavar="TEXT", help="its number")
    asking.add_argument("--dated", required=True, metavar="DAY")
    asking.add_argument("--text", required=True, help="what is ordered")
    asking.add_argument("--document", type=Path, metavar="FILE", help="the order on paper, 4 MiB at most")
    asking.add_argument("--query", metavar="QUERY")
    asking.add_argument("--custodian", action="append", metavar="WHO", help="an id, address or name; often")
    asking.add_argument("--groups", action="store_true", help="what went to the custodians' groups too")
    asking.add_argument("--first", metavar="DAY", help="sent on this day, month or year or later")
    asking.add_argument("--last", metavar="DAY", help="sent on this day, month or year or before")
    asking.add_argument("--message", action="append", metavar="ID", help="instead of a search; often")
    asking.add_argument("--capture", action="append", metavar="ID", help="instead of a search; often")
    asking.add_argument("--reason", required=True, metavar="TEXT")
    asking.set_defaults(run=_ask)


def _ask(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    names = ("kind", "issuer", "reference", "dated", "text", "query", "groups", "first", "last")
    fields = {name: getattr(given, name) for name in names}
    fields |= {"custodians": given.custodian, "messages": given.message, "captures": given.capture}
    with acting(settings, given, Right.ORDERS_CHANGE) as (opened, actor):
        services = opened.services
        if given.document is not None:
            fields["document"] = services.orders.attach(actor, paper(given.document))
        made = services.four_eyes.ask(actor, PLACE, fields, given.reason)
    count = made.request.get("count")
    found = [f"{count} captures would be destroyed"] if count is not None else []
    lines = [made.id, *found, f"another person approves it: approvals approve {made.id}"]
    output.answer({"approval": made.id, "captures": count}, "\n".join(lines))
    return 0


def paper(path: Path) -> dict[str, str]:
    """A file as a document of ``OrderDesk.attach``."""
    media = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    content = base64.b64encode(bytes_of(path)).decode("ascii")
    return {"name": path.name, "type": media, "content": content}


def _list(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.ORDERS) as (opened, _):
        rows = opened.services.orders.all()
    output.answer({"orders": rows}, "\n".join(map(_line, rows)) or "no orders")
    return 0


def _show(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.ORDERS) as (opened, _):
        row = opened.services.orders.get(given.order)
    against = [f"contradicts {other}: kept until one is ended" for other in row["contradicts"]]
    output.answer(row, "\n".join([_line(row), row["text"], *against]))
    return 0


def _document(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    require_new(given.output)
    with acting(settings, given, Right.ORDERS) as (opened, _):
        found, content = opened.services.orders.document(given.order)
    with given.output.open("xb") as file:
        file.write(content)
    output.answer({"document": found.id, "sha256": found.sha256}, f"{given.output}: sha256 {found.sha256}")
    return 0


def _end(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    with acting(settings, given, Right.ORDERS_CHANGE) as (opened, actor):
        made = opened.services.four_eyes.ask(actor, END, {"order": given.order}, given.reason)
    text = f"{made.id}\nanother person approves it: approvals approve {made.id}"
    output.answer({"approval": made.id, "order": given.order}, text)
    return 0


def _certificate(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    core = open_core(settings)
    try:
        seal_looks(core)
        with acting_in(core, given, Right.ORDERS) as (opened, _):
            found = opened.services.orders.certificate(given.order)
    finally:
        core.close()
    output.answer(found, json.dumps(found, indent=1, ensure_ascii=False))
    return 0


def _line(row: Mapping[str, Any]) -> str:
    said = f"{row['reference']} of {row['issuer']}, {row['dated']}"
    return f"{row['id']}  {row['kind']:5}  {row['state']}  {row['captures']} captures  {said}"
