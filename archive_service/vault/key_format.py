"""What every record of the key store has in common: canonical JSON of version 1, base64, AES-256-GCM with a context
(FORMAT.md section 9)."""

import base64
import binascii
import secrets
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from archive_service.model.canonical import parse_canonical
from archive_service.model.errors import Tampered


def b64(data: bytes) -> str:
    """Base64 with padding, as text."""
    return base64.b64encode(data).decode("ascii")


def unb64(text: Any) -> bytes:
    """Raises Tampered for what is no base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise Tampered("a key record is not base64 where it must be") from error


def parse(data: bytes, what: str) -> dict[str, Any]:
    """A record's fields. Raises Tampered unless it is canonical JSON of version 1."""
    try:
        value = parse_canonical(data)
    except (ValueError, RecursionError) as error:
        raise Tampered(f"{what} is not canonical JSON") from error
    if not isinstance(value, dict) or value.get("version") != 1:
        raise Tampered(f"{what} is not of version 1")
    return value


def wrap(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """``nonce(12) ‖ AES-256-GCM``."""
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, context)


def unwrap(key: bytes, wrapped: bytes, context: bytes, what: str) -> bytes:
    """Raises Tampered when key, bytes or context are not those of ``wrap``."""
    try:
        return AESGCM(key).decrypt(wrapped[:12], wrapped[12:], context)
    except (InvalidTag, ValueError) as error:
        raise Tampered(f"{what} fails authentication") from error
