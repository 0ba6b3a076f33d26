"""How a source is watched: when its silence is worth an alarm, its canary, its address for undeliverable reports. Each
is an act that an administrator decided."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from archive_service.bootstrap import Tenant, secret_local_part
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Invalid, NotFound
from archive_service.model.mail import UNDELIVERABLE, Canary, Source, Watch
from archive_service.notices.mailing import is_address, trusting
from archive_service.source_changes import known


def set_watch(tenant: Tenant, source_id: str, change: Mapping[str, int | None]) -> tuple[Source, int]:
    """Change the named fields of a source's watch (``model.mail.Watch``); None puts one back to what its kind has. The
    source as it is then, and the acts-log position that has passed the change. Durable on return. Raises Invalid
    naming the field that cannot be, NotFound."""
    now = rfc3339(tenant.vault.clock())

    def fields(source: Source) -> dict[str, Any]:
        return {"watch": _valid(Watch, {**dict(source.watch), **change, "at": now}, "source.watch").plain()}

    return _change(tenant, source_id, "source.watch", fields)


def set_canary(tenant: Tenant, source_id: str, canary: Mapping[str, Any] | None) -> tuple[Source, int]:
    """Give a source a canary (``model.mail.Canary``), or take it away. As ``set_watch``."""
    chosen = None if canary is None else _valid(Canary, canary, "source.canary")
    if chosen is not None:
        _require_sendable(chosen)
    plain = None if chosen is None else chosen.plain()
    return _change(tenant, source_id, "source.canary", lambda _: {"canary": plain})


def give_undeliverable(tenant: Tenant, source_id: str, *, anew: bool = False) -> tuple[Source, int]:
    """Give a source an address for reports that could not be delivered, unless it has one: a second decision is none.
    ``anew``: another one, the one there was is none from then on. As ``set_watch``."""
    tenant.acts.refresh()
    source = tenant.acts.source(source_id)
    if source is not None and source.undeliverable is not None and not anew:
        return source, tenant.acts.seen

    def fields(source: Source) -> dict[str, Any]:
        standing = None if anew else source.undeliverable
        domain = source.address.rpartition("@")[2]
        return {"address": standing or f"{UNDELIVERABLE}{secret_local_part()}@{domain}"}

    return _change(tenant, source_id, "source.undeliverable", fields)


def _change(
    tenant: Tenant, source_id: str, word: str, fields: Callable[[Source], dict[str, Any]]
) -> tuple[Source, int]:
    def act(_: object) -> dict[str, Any]:
        source = tenant.acts.source(source_id)
        if source is None:
            raise NotFound("there is no such source", code="source.unknown")
        return {"version": 1, "act": word, "source": source_id, **fields(source)}

    seq = tenant.acts.append(act)
    return known(tenant, source_id), seq + 1


def _valid(kind: type[Any], plain: Mapping[str, Any], code: str) -> Any:
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        names = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
        raise Invalid(f"that cannot be so: {names}", code=code) from None


def _require_sendable(canary: Canary) -> None:
    if not all(map(is_address, (canary.sender, canary.recipient))):
        raise Invalid("sender and recipient are bare addresses", code="source.canary")
    if canary.user is not None and canary.security == "none":
        raise Invalid("a password is not sent in clear: starttls or tls", code="source.canary")
    if canary.within_minutes >= canary.every_minutes:
        raise Invalid("a canary must be due back before the next one leaves", code="source.canary")
    if canary.ca is not None:
        trusting(canary.ca)
