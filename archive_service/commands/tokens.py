"""``token``: the built-in issuer of embedded archives and tests."""

import argparse
import re
from datetime import timedelta
from typing import Any

from archive_service.access.events import RoleName
from archive_service.access.identified import is_reserved
from archive_service.access.oidc_providers import providers
from archive_service.access.tokens import TokenIssuer
from archive_service.bootstrap import open_core
from archive_service.commands.output import Output
from archive_service.model.errors import Invalid, Refused
from archive_service.settings import Settings

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def register(commands: Any) -> None:
    """Add the command."""
    token = commands.add_parser("token", help="print a JWT of the built-in issuer")
    token.add_argument("--tenant", required=True, metavar="T")
    token.add_argument("--role", required=True, choices=[str(role) for role in RoleName])
    token.add_argument("--subject", metavar="S", help="who it is for; the role when not given")
    token.add_argument("--ttl", default="1h", metavar="TIME", help="30s, 15m, 1h, 7d (default 1h)")
    token.set_defaults(run=_token)


def duration(text: str) -> timedelta:
    """``30s``, ``15m``, ``1h``, ``7d``. Raises Invalid."""
    match = re.fullmatch(r"([1-9][0-9]{0,7})([smhd])", text)
    if match is None:
        raise Invalid("a time is a number and one of s, m, h, d", code="input.duration")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _token(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    subject = given.subject or given.role
    if not settings.builtin_tokens:
        raise Refused("tokens of the built-in issuer are not taken here", code="token.builtin_off")
    if is_reserved(subject, [each.name for each in providers(settings.oidc)]):
        raise Invalid("subjects of another issuer look like this", code="token.subject_reserved")
    core = open_core(settings)
    try:
        tenant = core.tenant(given.tenant)
        issuer = TokenIssuer(tenant.id, tenant.token_key())
        token = issuer.issue(subject, RoleName(given.role), duration(given.ttl))
    finally:
        core.close()
    output.answer({"token": token}, token)
    return 0
