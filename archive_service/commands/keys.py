"""``keys``: what keys there are."""

import argparse
from typing import Any

from archive_service.bootstrap import open_core
from archive_service.commands.output import Output
from archive_service.ledger.reader import owners
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the command."""
    keys = commands.add_parser("keys", help="the archive's keys")
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    status = actions.add_parser(
        "status", help="generations and secrets of every owner, and whether they open"
    )
    status.set_defaults(run=_status)


def _status(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    del given
    core = open_core(settings)
    try:
        found = []
        for owner in owners(core.store):
            keyring = core.keyring(owner)
            numbers = keyring.numbers()
            days = [keyring.generation(number).begins.isoformat() for number in numbers]
            found.append({"owner": owner, "generations": dict(zip(map(str, numbers), days, strict=True))})
    finally:
        core.close()
    rows = [f"{each['owner']}: {len(each['generations'])} generations" for each in found]
    output.answer({"owners": found, "provider": core.kms.provider}, "\n".join(rows))
    return 0
