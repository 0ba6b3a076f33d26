"""A record that the key service wraps, a table key or a secret: written and opened here alone (FORMAT.md section 9)."""

from typing import Any

from archive_service.model.canonical import canonical
from archive_service.model.errors import Tampered
from archive_service.vault import key_format
from archive_service.vault.kms import Kms


def context_of(owner: str, kind: str, name: str | int) -> bytes:
    """What a table key or secret is bound to."""
    return f"archive-service/{kind}/v1\0{owner}/{name}".encode("ascii")


def wrapped_record(kms: Kms, fields: dict[str, Any], context: bytes, secret: bytes) -> bytes:
    """A record of these fields with a secret under the service's newest key version. Raises as ``Kms.wrap``."""
    version, sealed = kms.wrap(context, secret)
    named = {"key": version, "provider": kms.provider}
    return canonical({**fields, "kms": named, "sealed": key_format.b64(sealed)})


def open_record(kms: Kms, data: bytes, context: bytes, what: str) -> bytes:
    """The secret of a record. Raises Tampered, and as ``Kms.unwrap``."""
    record = key_format.parse(data, what)
    try:
        version = str(record["kms"]["key"])
    except (KeyError, TypeError) as error:
        raise Tampered(f"{what} does not name its key version") from error
    return kms.unwrap(version, context, key_format.unb64(record.get("sealed")))
