"""Changes to a source that an administrator decides: its guard, its secret address. Each is an act."""

import base64
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from archive_service.bootstrap import Tenant, secret_local_part
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Invalid, NotFound
from archive_service.model.mail import Guard, Source
from ingest.passwords import hashed

FIELDS = frozenset(Guard.model_fields)
LONGEST_OVERLAP = timedelta(days=90)
_MOST = 1000  # networks or certificates of one source


def find_source(tenant: Tenant, wanted: str) -> Source:
    """The source with this id or name, by the acts at their head. Raises NotFound."""
    tenant.acts.refresh()
    for source in tenant.acts.sources():
        if wanted in (source.id, source.name):
            return source
    raise NotFound("there is no such source", code="source.unknown")


def set_guard(tenant: Tenant, source_id: str, change: Mapping[str, Any]) -> tuple[Source, int]:
    """Change the named fields of a source's guard (``model.mail.Guard``); None puts one back to asking nothing. The
    password is given in clear and kept as its hash, ``certificates`` as PEM texts, each with one or more certificates.
    The source as it is then, and the acts-log position that has passed the change. Durable on return.

    Raises Invalid naming the field that cannot be, NotFound.
    """
    prepared = {name: _prepared(name, value) for name, value in change.items()}

    def act(_: object) -> dict[str, Any]:
        source = tenant.acts.source(source_id)
        if source is None:
            raise NotFound("there is no such source", code="source.unknown")
        return {
            "version": 1,
            "act": "source.set",
            "source": source_id,
            "guard": _checked(source.guard, prepared).plain(),
        }

    seq = tenant.acts.append(act)
    return known(tenant, source_id), seq + 1


def rotate(tenant: Tenant, source_id: str, overlap: timedelta) -> tuple[Source, int]:
    """Give the source a new secret address; the one there was stays good for ``overlap``, by the archive's clock. As
    ``set_guard``. Raises Invalid for an overlap that is negative or longer than 90 days, NotFound."""
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise Invalid(f"the overlap is 0 to {LONGEST_OVERLAP.days} days", code="source.overlap")
    local = secret_local_part()

    def act(_: object) -> dict[str, Any]:
        source = tenant.acts.source(source_id)
        if source is None:
            raise NotFound("there is no such source", code="source.unknown")
        address = f"{local}@{source.address.rpartition('@')[2]}"
        until = rfc3339(tenant.vault.clock() + overlap)
        return {"version": 1, "act": "source.rotate", "source": source_id, "address": address, "until": until}

    seq = tenant.acts.append(act)
    return known(tenant, source_id), seq + 1


def known(tenant: Tenant, source_id: str) -> Source:
    """The source as the acts read so far have it."""
    source = tenant.acts.source(source_id)
    assert source is not None  # no act ends a source
    return source


def _prepared(name: str, value: Any) -> Any:
    """The value as the guard keeps it."""
    if name not in FIELDS:
        raise Invalid("a source's guard has no such field", code="source.guard")
    if value is None:
        return Guard.model_fields[name].default
    if name == "password":
        return hashed(str(value))
    if name == "certificates":
        return tuple(der for pem in value for der in _certificates(str(pem)))
    return tuple(value) if name == "networks" else value


def _certificates(pem: str) -> list[str]:
    try:
        found = x509.load_pem_x509_certificates(pem.encode("utf-8"))
    except ValueError as error:
        raise Invalid("a certificate is not in PEM form", code="source.guard") from error
    return [base64.b64encode(each.public_bytes(Encoding.DER)).decode("ascii") for each in found]


def _checked(guard: Guard, change: Mapping[str, Any]) -> Guard:
    if any(len(change.get(name, ())) > _MOST for name in ("networks", "certificates")):
        raise Invalid(f"networks and certificates are {_MOST} each at most", code="source.guard")
    try:
        return Guard.model_validate({**dict(guard), **change})
    except ValidationError as error:
        names = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
        raise Invalid(f"a source's guard cannot be so: {names}", code="source.guard") from None
