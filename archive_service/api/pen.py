"""How an access entry is written for a request. Durable on return; an answer that shows something leaves only then."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request

from archive_service.access.events import AccessEvent
from archive_service.api.errors import Unavailable
from archive_service.api.services import TenantServices
from archive_service.model.errors import ArchiveError

NO_ROLE = "none"
"""The role in the entry of somebody who acts in none: a refusal, or a sign-in before a role is chosen."""


def write(
    tenant: TenantServices,
    request: Request,
    action: str,
    *,
    actor: str,
    role: str = NO_ROLE,
    ids: Sequence[str] = (),
    outcome: str = "shown",
    purpose: str | None = None,
    matter: str | None = None,
    detail: Mapping[str, Any],
) -> None:
    """An entry in the tenant's access log; what of ``detail`` is None is left out. Raises Unavailable
    (``access_log.unavailable``): then nothing may be shown."""
    event = AccessEvent(
        actor=actor,
        role=role,
        action=action,
        outcome=outcome,
        ids=tuple(ids),
        purpose=purpose,
        matter=matter,
        origin=request.client.host if request.client else None,
        request=request.state.request_id,
        detail={name: value for name, value in detail.items() if value is not None},
    )
    try:
        tenant.access_log.record(event)
    except (ArchiveError, OSError) as error:
        raise Unavailable("the access log cannot be written", code="access_log.unavailable") from error
