"""``serve``: run the service."""

import argparse
import logging
import os
from typing import Any

from archive_service.alarms.channels import channels_of
from archive_service.bootstrap import Core, open_core
from archive_service.commands.archive import prepare_buckets
from archive_service.commands.output import Output
from archive_service.misspelt import misspelt, said
from archive_service.model.errors import StoreDenied, StoreError
from archive_service.serving.child import log_to_stderr
from archive_service.serving.supervisor import ROLES, Supervisor
from archive_service.settings import Settings


def register(commands: Any) -> None:
    """Add the command."""
    serve = commands.add_parser("serve", help="run the service until SIGTERM")
    serve.add_argument("--role", default="all", choices=["all", *ROLES])
    serve.add_argument("--smtp", metavar="HOST:PORT")
    serve.add_argument(
        "--milter", metavar="HOST:PORT", help="take mail from Postfix by milter too (role smtp)"
    )
    serve.add_argument("--http", metavar="HOST:PORT")
    serve.add_argument(
        "--health", metavar="HOST:PORT", help="answer /health/live, /health/ready and /metrics of these roles"
    )
    serve.add_argument("--smtp-workers", type=int, metavar="N")
    serve.set_defaults(run=_serve, settings=_settings)


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "smtp": given.smtp,
        "milter": given.milter,
        "http": given.http,
        "health": given.health,
        "smtp_workers": given.smtp_workers,
    }


def _serve(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    log_to_stderr("serve", settings.log_level, "{role} %(levelname)s")
    for name, nearest in misspelt(os.environ).items():
        logging.getLogger(__name__).warning("%s", said(name, nearest))
    channels_of(settings)  # an alarm that could reach nobody is told now, not when it rings
    prepare_buckets(settings)  # once here, before anything listens, and not in every child
    core = open_core(settings)  # say what is wrong here, once, rather than in every child
    if any(tenant.acts.moved for tenant in core.tenants()):
        logging.getLogger(__name__).warning(
            "the archive has moved to another store: senders hear 451 here, nothing is archived"
        )
    roles = ROLES if given.role == "all" else (given.role,)
    if {"api", "follower", "scheduler"} & set(roles):
        _look_at_engines(core)
    work = core.work
    core.close()
    return Supervisor(settings, roles, work, as_json=output.as_json).run()


def _look_at_engines(core: Core) -> None:
    """What will not pass by itself is said now. Raises StoreDenied, Invalid; what is only away is waited for."""
    if not core.engines.shared:
        return
    for tenant in core.tenants():
        try:
            live = core.engines.live(tenant.id)
            try:
                live.held()
            finally:
                live.close()
        except StoreDenied:
            raise
        except StoreError as error:
            logging.getLogger(__name__).warning("catalog or index: %s", error.code)
