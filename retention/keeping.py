"""Reasons to keep captures, one by one, as acts: a legal minimum that outlasts a request, a hold that moved along."""

import secrets
from collections.abc import Sequence
from typing import Any

from archive_service.ledger.acts import Acts
from archive_service.ledger.reader import Place
from archive_service.model.errors import Invalid, NotFound, Refused
from archive_service.model.grounds import KeepGround


def place_keep(
    acts: Acts,
    captures: Sequence[str],
    ground: KeepGround,
    basis: str,
    by: str,
    until: str | None = None,
    since: str = "",
) -> str:
    """Have captures kept, whatever ranks below ``ground``; durable on return. Its id. ``since``, ``until``: RFC 3339.
    Raises Refused
    (``keep.too_late``) when a batch has begun to destroy the key of one of them."""
    if not captures or not basis.strip() or (ground is KeepGround.MINIMUM) != (until is not None):
        detail = "a keep names captures and its basis, and a minimum its end"
        raise Invalid(detail, code="keep.invalid")
    keep = "k" + secrets.token_hex(8)

    def act(_: Place) -> dict[str, Any]:
        if any(acts.erasures.begun(capture) for capture in captures):
            raise Refused("its key is already being destroyed", code="keep.too_late")
        fields = {"keep": keep, "ground": str(ground), "basis": basis, "by": by, "until": until}
        begins = {"since": since} if since else {}
        return {"version": 1, "act": "keep.place", **fields, **begins, "captures": list(captures)}

    acts.append(act)
    return keep


def lift_keep(acts: Acts, keep: str, by: str) -> None:
    """End a keep; durable on return. Raises NotFound."""

    def act(_: Place) -> dict[str, Any]:
        if keep not in acts.erasures.keeps:
            raise NotFound("no such keep in force")
        return {"version": 1, "act": "keep.lift", "keep": keep, "by": by}

    acts.append(act)
