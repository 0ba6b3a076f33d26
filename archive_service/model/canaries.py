"""The Message-ID of a canary: a mail that the archive sends to itself through a source's whole route.

``canary.SOURCE.NUMBER.MAC@DOMAIN``, MAC being HMAC-SHA256 under the tenant's identity key: nobody else can make one,
and whoever follows knows one without having been told of it.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

_DOMAIN = b"archive-service/canary/v1\x00"
_FORM = re.compile(r"<?canary\.(s[0-9a-f]{16})\.([0-9]{1,15})\.([a-z2-7]{32})@[^\s<>@]+>?", re.IGNORECASE)


@dataclass(frozen=True)
class CanaryName:
    """Which canary of which source, as a Message-ID says it."""

    source: str
    number: int
    mac: str


def canary_message_id(key: bytes, source: str, number: int, domain: str) -> str:
    """With its angle brackets."""
    return f"<canary.{source}.{number}.{_mac(key, source, number)}@{domain}>"


def parse_canary(message_id: str) -> CanaryName | None:
    """What a Message-ID of this form names, whoever made it; None for any other."""
    found = _FORM.fullmatch(message_id.strip())
    return CanaryName(found[1].lower(), int(found[2]), found[3].lower()) if found is not None else None


def is_canary(key: bytes, source: str, message_id: str | None) -> bool:
    """Whether this is the Message-ID of a canary of this source."""
    name = parse_canary(message_id or "")
    if name is None or name.source != source:
        return False
    return hmac.compare_digest(name.mac, _mac(key, source, name.number))


def _mac(key: bytes, source: str, number: int) -> str:
    data = _DOMAIN + f"{source}/{number}".encode("ascii")
    digest = hmac.new(key, data, hashlib.sha256).digest()
    return base64.b32encode(digest[:20]).decode("ascii").lower()
