"""``source set`` and ``source rotate``: what a source asks of its sender, and a new secret address for it."""

import argparse
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from archive_service.bootstrap import open_core
from archive_service.commands.files import text_of
from archive_service.commands.output import Output
from archive_service.model.errors import Invalid
from archive_service.settings import Settings
from archive_service.source_changes import find_source, rotate, set_guard

_SPAN = re.compile(r"([0-9]{1,5})([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def register_changes(actions: Any) -> None:
    """Add the actions to ``source``."""
    change = actions.add_parser(
        "set", help="what the source asks of who hands mail in; what is not named stays"
    )
    _which(change)
    change.add_argument(
        "--network", action="append", metavar="CIDR", help="networks of the sender; may be repeated"
    )
    change.add_argument("--any-network", action="store_true", help="no network is asked for")
    tls = change.add_mutually_exclusive_group()
    tls.add_argument("--tls", action="store_true", default=None, help="STARTTLS is required")
    tls.add_argument("--no-tls", action="store_false", dest="tls", help="STARTTLS is not required")
    password = change.add_mutually_exclusive_group()
    password.add_argument(
        "--password-file", type=Path, metavar="FILE", help="AUTH is required, with this password"
    )
    password.add_argument("--password-env", metavar="NAME", help="the same, from an environment variable")
    password.add_argument("--no-password", action="store_true", help="AUTH is not required")
    certificate = change.add_mutually_exclusive_group()
    certificate.add_argument(
        "--certificate",
        action="append",
        type=Path,
        metavar="PEM",
        help="authorities, or the sender's own certificate",
    )
    certificate.add_argument(
        "--no-certificate", action="store_true", help="no client certificate is asked for"
    )
    size = change.add_mutually_exclusive_group()
    size.add_argument("--max-size", type=int, metavar="BYTES", help="largest mail of this source")
    size.add_argument("--no-max-size", action="store_true", help="as large as the endpoint allows")
    rate = change.add_mutually_exclusive_group()
    rate.add_argument("--rate", type=int, metavar="N", help="mails a minute and SMTP process")
    rate.add_argument("--no-rate", action="store_true", help="no rate")
    change.set_defaults(run=_set)
    turn = actions.add_parser("rotate", help="a new secret address; prints it")
    _which(turn)
    turn.add_argument(
        "--overlap", default="14d", metavar="TIME", help="how long the old one stays good: 14d, 12h, 30m"
    )
    turn.set_defaults(run=_rotate)


def _which(action: argparse.ArgumentParser) -> None:
    action.add_argument("--tenant", required=True, metavar="T")
    action.add_argument("--source", required=True, metavar="S", help="the source's id or name")


def _change(given: argparse.Namespace) -> dict[str, Any]:
    """The guard's fields that the command line names."""
    if given.network and given.any_network:
        raise Invalid("--network and --any-network contradict each other", code="input.usage")
    change: dict[str, Any] = {
        "networks": given.network,
        "tls": given.tls,
        "password": _password(given),
        "certificates": [text_of(path) for path in given.certificate] if given.certificate else None,
        "max_size": given.max_size,
        "rate": given.rate,
    }
    named = {name: value for name, value in change.items() if value is not None}
    cleared = {
        "networks": given.any_network,
        "password": given.no_password,
        "certificates": given.no_certificate,
        "max_size": given.no_max_size,
        "rate": given.no_rate,
    }
    named |= {name: None for name, clear in cleared.items() if clear}
    if not named:
        raise Invalid("say what is to change", code="input.usage")
    return named


def _password(given: argparse.Namespace) -> str | None:
    """From a file or the environment: a command line is seen by every user of the machine. One line end is no part."""
    if given.password_env is not None:
        text = os.environ.get(given.password_env)
        if text is None:
            raise Invalid("that environment variable is not set", code="source.password")
        return text
    if given.password_file is None:
        return None
    return text_of(given.password_file).removesuffix("\n").removesuffix("\r")


def _set(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    change = _change(given)
    core = open_core(settings)
    try:
        tenant = core.tenant(given.tenant)
        source, seq = set_guard(tenant, find_source(tenant, given.source).id, change)
    finally:
        core.close()
    shown = source.guard.shown()
    said = ", ".join(f"{name}: {_said(value)}" for name, value in shown.items()) or "asks nothing"
    output.answer({"id": source.id, "guard": shown, "seq": seq}, f"{source.id}  {said}")
    return 0


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "required"
    return " ".join(value) if isinstance(value, list) else str(value)


def _rotate(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    span = _SPAN.fullmatch(given.overlap)
    if span is None:
        raise Invalid("--overlap is a number and d, h or m, as in 14d", code="source.overlap")
    core = open_core(settings)
    try:
        tenant = core.tenant(given.tenant)
        found = find_source(tenant, given.source)
        source, seq = rotate(tenant, found.id, timedelta(**{_UNITS[span[2]]: int(span[1])}))
    finally:
        core.close()
    former = [each.plain() for each in source.former]
    output.answer({"id": source.id, "address": source.address, "former": former, "seq": seq}, source.address)
    return 0
