"""Who gives a command that the policy has a say in: the holder of a token, as at the API."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from archive_service.access.events import AccessEvent, Actor
from archive_service.access.policy import Right, permit
from archive_service.access.tokens import TokenVerifier
from archive_service.bootstrap import Core
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Denied, Invalid
from archive_service.tenant_services import OpenTenant, open_tenant


def take_token(command: argparse.ArgumentParser) -> None:
    """Add ``--token``."""
    command.add_argument(
        "--token",
        required=True,
        metavar="TOKEN",
        help="who you are (command token); @FILE reads it from a file",
    )


@contextmanager
def acting(core: Core, given: argparse.Namespace, right: Right) -> Iterator[tuple[OpenTenant, Actor]]:
    """The tenant that is named, and who acts there by ``--token``: he has the right, and it is recorded, durably, that
    he used or was refused it. Raises Denied, NotFound, Invalid."""
    tenant = core.tenant(given.tenant)
    keys = {tenant.id: tenant.token_public_key()}
    actor = TokenVerifier(keys.get, clock=core.clock).verify(_token(given.token))
    opened = open_tenant(core, tenant)
    try:
        authority = opened.services.authority
        grants = authority.grants(actor.subject)
        try:
            permit(actor, right, grants, now=rfc3339(core.clock()), always=authority.always)
        except Denied:
            _record(opened, actor, given, "refused")
            raise
        _record(opened, actor, given, "shown")
        yield opened, actor
    finally:
        opened.close()


def _record(opened: OpenTenant, actor: Actor, given: argparse.Namespace, outcome: str) -> None:
    words = " ".join(str(word) for word in (given.command, getattr(given, "action", None)) if word)
    detail: dict[str, Any] = {"command": words}
    opened.services.access_log.record(
        AccessEvent(
            actor=actor.subject, role=actor.role.value, action="command", outcome=outcome, detail=detail
        )
    )


def _token(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid("the file with the token cannot be read", code="token.file") from error
