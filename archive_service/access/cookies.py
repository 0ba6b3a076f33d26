"""What a browser keeps for us: sealed, so that it can neither be read nor made elsewhere, and with an end.

A value is ``TENANT.base64url(nonce ‖ AES-256-GCM(key, JSON))``; the key comes from the tenant's token secret, another
one for each purpose, so that every machine of the archive opens what another has sealed and no state is kept anywhere.
"""

import base64
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from archive_service.model.clock import Clock

LONGEST = 3800
"""Characters: browsers drop cookies above 4096 bytes with their name and attributes."""
_FORM = re.compile(r"([A-Za-z0-9]{1,64})\.([A-Za-z0-9_-]{40,3700})")


@dataclass(frozen=True)
class SealedCookies:
    """``secret``: a tenant's token secret by its opaque id, None for a tenant that is not. Thread-safe as far as it
    is."""

    secret: Callable[[str], bytes | None]
    clock: Clock

    def seal(self, purpose: str, tenant: str, value: dict[str, Any], seconds: float) -> str:
        """A value for the browser, good for so long. Raises ValueError when it does not fit into a cookie, or the
        tenant is not here."""
        key = self._key(purpose, tenant)
        if key is None:
            raise ValueError("no such tenant")
        ends = self.clock().timestamp() + seconds
        plain = json.dumps({**value, "ends": ends}, separators=(",", ":")).encode()
        nonce = secrets.token_bytes(12)
        sealed = nonce + AESGCM(key).encrypt(nonce, plain, tenant.encode("ascii"))
        text = f"{tenant}.{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}"
        if len(text) > LONGEST:
            raise ValueError("more than a cookie holds")
        return text

    def open(self, purpose: str, text: str) -> tuple[str, dict[str, Any]] | None:
        """The tenant and the value, with its end as ``ends``; None for what we did not seal, or whose time is over."""
        match = _FORM.fullmatch(text)
        key = self._key(purpose, match[1]) if match is not None else None
        if match is None or key is None:
            return None
        sealed = base64.urlsafe_b64decode(match[2] + "=" * (-len(match[2]) % 4))
        try:
            value = json.loads(AESGCM(key).decrypt(sealed[:12], sealed[12:], match[1].encode("ascii")))
        except (InvalidTag, ValueError):
            return None
        return (match[1], value) if self.clock().timestamp() < value["ends"] else None

    def _key(self, purpose: str, tenant: str) -> bytes | None:
        secret = self.secret(tenant)
        if secret is None:
            return None
        info = f"archive-service/cookie/v1\0{purpose}".encode("ascii")
        return HKDF(SHA256(), 32, None, info).derive(secret)
