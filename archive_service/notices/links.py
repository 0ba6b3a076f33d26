"""The link in a notice: it names a tenant and a hold, and proves who it was sent to. It opens nothing else."""

import hmac
import re
from collections.abc import Iterable

from archive_service.model.macs import mac_of

_WORD = b"archive-service/notice/v1\x00"
_LINK = re.compile(r"([A-Za-z0-9]{1,64})\.([A-Za-z0-9]{1,64})\.([0-9a-f]{64})")


def link_of(secret: bytes, owner: str, hold: str, custodian: str) -> str:
    """The last part of the link's path."""
    return f"{owner}.{hold}.{_mac(secret, hold, custodian)}"


def parts(link: str) -> tuple[str, str, str] | None:
    """Owner, hold and MAC; None for what can be no link."""
    found = _LINK.fullmatch(link)
    return None if found is None else (found[1], found[2], found[3])


def who(secret: bytes, hold: str, mac: str, custodians: Iterable[str]) -> str | None:
    """Whose link it is."""
    found = [each for each in custodians if hmac.compare_digest(_mac(secret, hold, each), mac)]
    return found[0] if found else None


def _mac(secret: bytes, hold: str, custodian: str) -> str:
    return mac_of(secret, _WORD, f"{hold}\x00{custodian}".encode())
