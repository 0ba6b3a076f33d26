"""Who gives a command that the policy has a say in: the holder of a token, as at the API."""

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from archive_service.access.events import AccessEvent, Actor
from archive_service.access.identified import Identified, not_valid
from archive_service.access.incidents import void
from archive_service.access.policy import Right, permit
from archive_service.api.services import TenantServices
from archive_service.bootstrap import Core, open_core
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Denied, Invalid, NotFound, QueryError, Refused
from archive_service.serving.identities import TenantsHere, identity_of, oidc_of
from archive_service.settings import Settings
from archive_service.tenant_services import OpenTenant, open_tenant
from archive_service.web import HttpWeb

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_MAIL = ("message", "capture")
_TARGETS = ("approval", "matter", "hold", "order", "incident", "grant", "account", "list", "id")
"""Where commands take the id of what they are about."""


def take_token(command: argparse.ArgumentParser) -> None:
    """Add ``--token``."""
    command.add_argument(
        "--token",
        required=True,
        metavar="TOKEN",
        help="who you are, as at the API; @FILE reads it from a file",
    )
    command.add_argument(
        "--as", dest="as_role", metavar="ROLE", help="in which role, where the token gives several"
    )


@contextmanager
def acting(settings: Settings, given: argparse.Namespace, right: Right) -> Iterator[tuple[OpenTenant, Actor]]:
    """The archive of the settings, its tenant that is named, and who acts there: as ``acting_in``."""
    core = open_core(settings)
    try:
        with acting_in(core, given, right) as found:
            yield found
    finally:
        core.close()


@contextmanager
def acting_in(core: Core, given: argparse.Namespace, right: Right) -> Iterator[tuple[OpenTenant, Actor]]:
    """The tenant that is named, and who acts there by ``--token``: he has the right, and it is recorded, durably, that
    he used or was refused it; that what he then wanted was refused is an entry more. Raises Denied, NotFound, Invalid,
    and what the command raises."""
    tenant = core.tenant(given.tenant)
    opened = open_tenant(core, tenant)
    try:
        actor = _who(core, opened, _token(given.token)).acting(given.as_role)
        authority = opened.services.authority
        if void(actor, authority.incident().valid_from):
            raise not_valid()
        grants = [each for each in authority.grants(actor.subject) if not each.break_glass]  # the API's alone
        try:
            permit(actor, right, grants, now=rfc3339(core.clock()), always=authority.always)
            _record(opened, actor, given, "shown")
            yield opened, actor
        except (Denied, Invalid, NotFound, QueryError, Refused):
            # Not why: what is asked of compartments is for few to know.
            _record(opened, actor, given, "refused")
            raise
    finally:
        opened.close()


def _who(core: Core, opened: OpenTenant, token: str) -> Identified:
    """As the API would say it, for this tenant. Raises Denied, Overloaded."""
    tenant = opened.tenant

    def named(name: str) -> str | None:
        return tenant.id if tenant.name == name else None

    def get(owner: str) -> TenantServices | None:
        return opened.services if owner == tenant.id else None

    keys = {tenant.id: tenant.token_public_key()}
    here = TenantsHere(keys.get, named, get)
    settings = core.settings
    tokens = oidc_of(settings, HttpWeb(settings.oidc_ca_bundle), here, core.clock)
    who = identity_of(settings, tokens, here, core.clock).identify(token)
    if who.tenant != tenant.id:
        raise not_valid()
    return who


def _record(opened: OpenTenant, actor: Actor, given: argparse.Namespace, outcome: str) -> None:
    words = " ".join(str(word) for word in (given.command, getattr(given, "action", None)) if word)
    detail: dict[str, Any] = {"command": getattr(given, "recorded", words)}
    named = [each for name in _TARGETS for each in _ids(given, name)]
    if named:
        detail["named"] = named
    event = AccessEvent(
        actor=actor.subject,
        role=actor.role.value,
        action="command",
        outcome=outcome,
        ids=tuple(each for name in _MAIL for each in _ids(given, name)),
        detail=detail,
    )
    opened.services.access_log.record(event)


def _ids(given: argparse.Namespace, name: str) -> list[str]:
    """What the command names there, as far as it can be an id; a filter is a text and names nothing."""
    said = getattr(given, name, None)
    listed = said if isinstance(said, list) else [said] if name not in _MAIL else []
    return [each for each in listed if isinstance(each, str) and _ID.fullmatch(each)]


def _token(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid("the file with the token cannot be read", code="token.file") from error
