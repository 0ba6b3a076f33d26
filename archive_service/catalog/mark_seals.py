"""Seals on what mail says to the text conditions of retention rules.

No log has these marks: they are read off the mail again where the catalog has none. Whoever may write to the database
could note that an invoice is none, and have it destroyed years too soon; so a mark counts only under a seal by a key
that the database does not hold, and one without is as if nobody had read the mail for it: kept as long as can be, and
read again.
"""

import hmac
import json
from collections.abc import Mapping
from typing import Protocol

from archive_service.catalog.base import CaptureRow, Mark
from archive_service.model.macs import mac_of

_USE = b"archive-service/text-marks/v1\0"


class Secrets(Protocol):
    """A tenant's keyring, as far as it is asked here."""

    def secret(self, name: str) -> bytes:
        """Raises KeyUnavailable, StoreError."""
        ...


def sealed_marks(keyring: Secrets, capture: str, said: Mapping[str, bool | None]) -> dict[str, Mark]:
    """What a capture's text says, by the keys of conditions, for ``Catalog.mark``. Raises as ``Secrets``."""
    return {key: Mark(holds, _seal(keyring, capture, key, holds)) for key, holds in said.items()}


def marks_of(keyring: Secrets, capture: CaptureRow) -> dict[str, bool | None]:
    """The marks of a row that this archive made. Raises as ``Secrets``, where there are any."""
    return {
        key: mark.holds
        for key, mark in capture.marks.items()
        if hmac.compare_digest(mark.seal.encode(), _seal(keyring, capture.id, key, mark.holds).encode())
    }


def _seal(keyring: Secrets, capture: str, key: str, holds: bool | None) -> str:
    said = json.dumps([capture, key, holds])
    return mac_of(keyring.secret("identity"), _USE, said.encode("ascii"))
