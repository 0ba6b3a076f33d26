"""``access-log export``: who searched, read and exported what, with proofs, in one file."""

import argparse
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archive_service.access.events import AccessEvent, Actor
from archive_service.access.policy import Right
from archive_service.access.wanted import Wanted, moment
from archive_service.api.services import TenantServices
from archive_service.bootstrap import open_core
from archive_service.catching_up import seal_looks
from archive_service.commands.acting import acting_in, take_token
from archive_service.commands.files import require_new
from archive_service.commands.output import Output
from archive_service.model.clock import rfc3339, utc_now
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the commands."""
    actions = commands.add_parser("access-log", help="who searched, read and exported what").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    export = actions.add_parser(
        "export", help="entries with their proofs in one file, which verify-bundle checks; itself recorded"
    )
    export.add_argument("--tenant", required=True, metavar="T")
    export.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl")
    export.add_argument("--message", metavar="ID", help="who was shown this message or capture")
    export.add_argument("--actor", metavar="WHO", help="what this person or account did")
    export.add_argument("--act", dest="wanted_action", metavar="ACTION", help="search, message.raw, ...")
    export.add_argument("--since", metavar="TIME", help="RFC 3339")
    export.add_argument("--until", metavar="TIME", help="RFC 3339; not included")
    take_token(export)
    export.set_defaults(run=_export)


def _export(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    wanted = Wanted(given.message, given.actor, given.wanted_action, moment(given.since), moment(given.until))
    require_new(given.out)
    core = open_core(settings)
    try:
        with acting_in(core, given, Right.ACCESS_LOG) as (opened, actor):
            seal_looks(core)  # that this command was given is among the entries, and needs its checkpoint too
            count = _export_as(opened.services, actor, wanted, given.out)
    finally:
        core.close()
    output.answer({"entries": count, "path": str(given.out)}, f"{count} entries: {given.out}")
    return 0


def _export_as(services: TenantServices, actor: Actor, wanted: Wanted, target: Path) -> int:
    """How many entries it wrote, after it recorded which."""
    name = secrets.token_hex(16)
    chosen = services.access_files.choose(wanted)
    detail = {"export": name, "entries": chosen.count, "places": chosen.places, "asked": wanted.plain()}
    services.access_log.record(
        AccessEvent(actor=actor.subject, role=actor.role.value, action="access_log.export", detail=detail)
    )
    _write(target, services.access_files.lines(chosen, name, actor.subject, rfc3339(utc_now())))
    return chosen.count


def _write(target: Path, lines: Iterator[bytes]) -> None:
    """Whole or not at all."""
    try:
        with target.open("xb") as file:
            file.writelines(lines)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
