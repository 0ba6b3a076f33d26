"""Seals by a secret that serves several uses: each has a key of its own, so that no seal passes for another use's."""

import hashlib
import hmac


def mac_of(secret: bytes, use: bytes, said: bytes) -> str:
    """HMAC-SHA256 of what is said under HMAC-SHA256(secret, use), in hex. ``use`` ends in a NUL."""
    return hmac.digest(hmac.digest(secret, use, hashlib.sha256), said, hashlib.sha256).hex()
