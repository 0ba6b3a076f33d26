"""``recover``: chain what writers that died or gave up have left."""

import argparse
from typing import Any

from archive_service.bootstrap import Core, open_core
from archive_service.commands.output import Output
from archive_service.ledger.recovery import Recovered
from archive_service.recovering import make_recovery
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the command."""
    recover = commands.add_parser(
        "recover", help="chain sealed mails that have no entry and are older than ten minutes"
    )
    recover.set_defaults(run=_recover)


def _recover(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    del given
    core = open_core(settings)
    try:
        found = _all(core)
    finally:
        core.close()
    rows = [f"{name}: cannot be chained ({reason})" for name, reason in sorted(found.reported.items())]
    output.answer(
        {"chained": found.chained, "reported": found.reported, "busy": found.busy},
        "\n".join([f"{found.chained} orphans chained, {len(found.reported)} cannot be", *rows]),
    )
    return 0


def _all(core: Core) -> Recovered:
    total = Recovered()
    for tenant in core.tenants():
        found = make_recovery(core, tenant).run()
        total.chained += found.chained
        total.busy += found.busy
        total.reported.update(found.reported)
    return total
