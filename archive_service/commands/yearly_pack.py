"""``yearly-pack``: rights, holds, disposals, integrity and quantities of a year, signed."""

import argparse
import json
from pathlib import Path
from typing import Any

from archive_service.access.policy import Right
from archive_service.bootstrap import open_core
from archive_service.catching_up import seal_looks
from archive_service.commands.acting import acting_in, take_token
from archive_service.commands.files import require_new
from archive_service.commands.output import Output
from archive_service.export.yearly_pack_pdf import yearly_pack_pdf
from archive_service.model.errors import Invalid
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "yearly-pack", help="rights, holds, disposals, integrity and quantities of a year, signed"
    )
    command.add_argument("--year", type=int, required=True, metavar="YYYY")
    command.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write it to this new file: PDF where it ends in .pdf, else JSON",
    )
    command.add_argument(
        "--looks",
        type=int,
        default=1_000_000,
        metavar="N",
        help="access entries looked at for last uses, at most (1000000)",
    )
    command.add_argument("--tenant", required=True, metavar="T")
    take_token(command)
    command.set_defaults(run=_make)


def _make(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    if given.looks < 1:
        raise Invalid("looks at one access entry at least", code="input.looks")
    require_new(given.out)
    core = open_core(settings)
    try:
        seal_looks(core)
        with acting_in(core, given, Right.YEARLY_PACK) as (opened, _):
            found = opened.services.yearly_pack.make(given.year, given.looks)
    finally:
        core.close()
    text = json.dumps(found, indent=1, ensure_ascii=False)
    if given.out is None:
        output.answer(found, text)
        return 0
    paper = given.out.suffix.lower() == ".pdf"
    with given.out.open("xb") as file:
        file.write(yearly_pack_pdf(found) if paper else text.encode() + b"\n")
    output.answer({"year": given.year, "path": str(given.out)}, f"written to {given.out}")
    return 0
