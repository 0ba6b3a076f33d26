"""``keys``: what keys there are."""

import argparse
from typing import Any

from archive_service.bootstrap import Core, open_core
from archive_service.commands.output import Output
from archive_service.ledger.reader import owners
from archive_service.model.errors import ArchiveError
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
        found = [_owner(core, owner) for owner in owners(core.store)]
    finally:
        core.close()
    broken = [reason for each in found for reason in each["broken"]]
    rows = [f"{each['owner']}: {len(each['generations'])} generations" for each in found]
    output.answer({"owners": found, "provider": core.kms.provider}, "\n".join([*rows, *broken]))
    return 1 if broken else 0


def _owner(core: Core, owner: str) -> dict[str, Any]:
    """An owner's generations with their first days, its secrets, and what does not open."""
    keyring = core.keyring(owner)
    found: dict[str, Any] = {"owner": owner, "generations": {}, "secrets": [], "broken": []}
    for name in core.keys.list(f"{owner}/generations/"):
        last = name.rpartition("/")[2]
        try:
            found["generations"][str(int(last))] = keyring.generation(int(last)).begins.isoformat()
        except (ArchiveError, ValueError) as error:
            found["broken"].append(f"{name}: {_reason(error)}")
    for name in core.keys.list(f"{owner}/secrets/"):
        last = name.rpartition("/")[2]
        try:
            keyring.secret(last)
            found["secrets"].append(last)
        except ArchiveError as error:
            found["broken"].append(f"{name}: {_reason(error)}")
    return found


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ArchiveError) else "no name of a generation"
