"""``source watch``, ``source canary``, ``source undeliverable`` and ``source show``."""

import argparse
import os
import re
from pathlib import Path
from typing import Any

from archive_service.bootstrap import Tenant, open_core
from archive_service.commands.files import text_of
from archive_service.commands.output import Output
from archive_service.model.errors import Invalid
from archive_service.model.mail import Source
from archive_service.settings import Settings, host_port
from archive_service.source_changes import find_source
from archive_service.source_watching import give_undeliverable, set_canary, set_watch

_SPAN = re.compile(r"([0-9]{1,5})([dhm])")
_MINUTES = {"d": 24 * 60, "h": 60, "m": 1}


def register_watching(actions: Any) -> None:
    """Add the actions to ``source``."""
    _action(actions, "show", "one source with all that is set for it", _show)
    watch = _action(actions, "watch", "when its silence, fall of rate and lag are worth an alarm", _watch)
    for name, about in (
        ("silence", "nothing came for so long"),
        ("slow", "so many hours with less than its own history has"),
        ("lag", "half of what came was sent so long before"),
    ):
        watch.add_argument(
            f"--{name}", metavar="TIME", help=f"{about}: 2d, 6h, 90m; off; kind (as its kind has it)"
        )
    canary = _action(actions, "canary", "a mail that the archive sends through the source's route", _canary)
    canary.add_argument("--off", action="store_true", help="no canary")
    canary.add_argument("--server", metavar="HOST:PORT", help="the mail server that takes it")
    canary.add_argument("--from", dest="sender", metavar="ADDRESS", help="its sender")
    canary.add_argument("--to", dest="recipient", metavar="ADDRESS", help="a mailbox whose mail is journaled")
    canary.add_argument("--security", default="starttls", choices=["starttls", "tls", "none"])
    canary.add_argument(
        "--ca", type=Path, metavar="PEM", help="authorities trusted; the system's unless given"
    )
    canary.add_argument("--user", metavar="USER", help="login there; none: no login")
    password = canary.add_mutually_exclusive_group()
    password.add_argument("--password-file", type=Path, metavar="FILE", help="its first line is the password")
    password.add_argument("--password-env", metavar="NAME", help="the environment variable with the password")
    canary.add_argument("--every", default="1h", metavar="TIME", help="how often: 1h")
    canary.add_argument("--within", default="15m", metavar="TIME", help="it must be back in so long: 15m")
    back = _action(
        actions, "undeliverable", "its address for reports that could not be delivered", _undeliverable
    )
    back.add_argument("--new", action="store_true", help="another one; the one there was is none any more")


def _action(actions: Any, name: str, about: str, run: Any) -> Any:
    action = actions.add_parser(name, help=about)
    action.add_argument("--tenant", required=True, metavar="T")
    action.add_argument("--source", required=True, metavar="S", help="the source's id or name")
    action.set_defaults(
        run=lambda given, settings, output: _with_source(run, given, settings, output),
    )
    return action


def _with_source(run: Any, given: argparse.Namespace, settings: Settings, output: Output) -> int:
    core = open_core(settings)
    try:
        tenant = core.tenant(given.tenant)
        source, seq = run(given, tenant, find_source(tenant, given.source))
    finally:
        core.close()
    answer = source.plain() | ({"seq": seq} if seq is not None else {})
    output.answer(answer, source.undeliverable if run is _undeliverable else _text(source))
    return 0


def _text(source: Source) -> str:
    return "\n".join(f"{name}: {value}" for name, value in source.plain().items())


def _show(given: argparse.Namespace, tenant: Tenant, source: Source) -> tuple[Source, int | None]:
    del given, tenant
    return source, None


def _undeliverable(given: argparse.Namespace, tenant: Tenant, source: Source) -> tuple[Source, int | None]:
    return give_undeliverable(tenant, source.id, anew=given.new)


def _watch(given: argparse.Namespace, tenant: Tenant, source: Source) -> tuple[Source, int | None]:
    said = {"silence_minutes": given.silence, "slow_hours": given.slow, "lag_minutes": given.lag}
    change = {name: _limit(text) for name, text in said.items() if text is not None}
    if not change:
        raise Invalid("say what is to change", code="input.usage")
    hours = change.get("slow_hours")
    if hours is not None:
        if hours % 60:
            raise Invalid("--slow is in whole hours", code="source.watch")
        change["slow_hours"] = hours // 60
    return set_watch(tenant, source.id, change)


def _limit(text: str) -> int | None:
    """Minutes; 0 for off, None for what the kind has. Raises Invalid."""
    return {"off": 0, "kind": None}[text] if text in ("off", "kind") else _minutes(text)


def _minutes(text: str) -> int:
    span = _SPAN.fullmatch(text)
    if span is None:
        raise Invalid("a time is a number and d, h or m, as in 6h", code="source.span")
    return int(span[1]) * _MINUTES[span[2]]


def _canary(given: argparse.Namespace, tenant: Tenant, source: Source) -> tuple[Source, int | None]:
    if given.off:
        return set_canary(tenant, source.id, None)
    if None in (given.server, given.sender, given.recipient):
        raise Invalid("a canary needs --server, --from and --to; or --off", code="input.usage")
    host, port = host_port(given.server, "--server")
    password = _password(given)
    if (password is None) != (given.user is None):
        raise Invalid("--user and a password go together", code="input.usage")
    chosen = {
        "host": host,
        "port": port,
        "security": given.security,
        "ca": text_of(given.ca) if given.ca is not None else None,
        "user": given.user,
        "password": password,
        "sender": given.sender,
        "recipient": given.recipient,
        "every_minutes": _minutes(given.every),
        "within_minutes": _minutes(given.within),
    }
    return set_canary(tenant, source.id, chosen)


def _password(given: argparse.Namespace) -> str | None:
    """From a file or the environment: a command line is seen by every user of the machine."""
    if given.password_env is None and given.password_file is None:
        return None
    text = os.environ.get(given.password_env, "") if given.password_env else text_of(given.password_file)
    password: str = text.partition("\n")[0].removesuffix("\r")
    if not password:
        raise Invalid("there is no password in the file or variable named", code="source.password")
    return password
