"""Key versions in a PKCS#11 token (an HSM, SoftHSM2): OASIS PKCS#11 v2.40.

Each is an AES-256 secret key object: in the token, private, sensitive, not extractable, for encryption and decryption
only, label ``PREFIX-VERSION``. A version's name is ``vN-XXXXXXXX``: a token has no exclusive create, so two processes
that rotate at once make two objects of the same N, and the random half keeps them apart. Wrapped bytes are
``nonce(12) ‖ CKM_AES_GCM`` (tag 128 bits, context as AAD), computed in the token under a nonce of ours: a token that
insists on making nonces itself cannot be used.
"""

import re
import secrets
from typing import Any

import pkcs11
from pkcs11.mechanisms import GCMParams

from archive_service.model.errors import StoreError, Tampered
from archive_service.vault.kms.base import absent, nothing_stands, require_destroyable
from archive_service.vault.kms.pkcs11_session import Token, TokenAddress

_VERSION = re.compile(r"v([1-9][0-9]{0,5})-([0-9a-f]{8})")
_NONCE, _TAG = 12, 16
_DAMAGED = (pkcs11.EncryptedDataInvalid, pkcs11.EncryptedDataLenRange)
_TEMPLATE = {
    pkcs11.Attribute.PRIVATE: True,
    pkcs11.Attribute.SENSITIVE: True,
    pkcs11.Attribute.EXTRACTABLE: False,
}
_Order = tuple[int, str]


class Pkcs11Kms:
    """Implements Kms. Every call goes through one session a process and token, one at a time."""

    provider = "pkcs11"

    def __init__(self, address: TokenAddress, prefix: str, *, create: bool = False) -> None:
        """``prefix``: what our labels begin with. ``create``: make the first version when there is none."""
        self._token = Token(address)
        self._prefix = prefix
        self._create = create

    def close(self) -> None:
        """Log out. The next call logs in again."""
        self._token.close()

    def _standing(self, session: Any) -> dict[_Order, Any]:
        """The key objects of our prefix by number and random half."""
        found: dict[_Order, Any] = {}
        for key in list(session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY})):
            label = str(key[pkcs11.Attribute.LABEL])
            if label.startswith(f"{self._prefix}-"):
                match = _VERSION.fullmatch(label.removeprefix(f"{self._prefix}-"))
                if match:
                    found[int(match[1]), match[2]] = key
        return found

    def _key(self, session: Any, version: str) -> Any:
        match = _VERSION.fullmatch(version)
        if not match:
            raise Tampered("a record names a key version that could not be")
        standing = self._standing(session)
        order = (int(match[1]), match[2])
        if order not in standing:
            raise absent(order, standing, version)
        return standing[order]

    def wrap(self, context: bytes, plaintext: bytes) -> tuple[str, bytes]:
        """See Kms."""

        def work(session: Any) -> tuple[str, bytes]:
            standing = self._standing(session)
            if not standing and self._create:
                self._make(session, standing)
                standing = self._standing(session)
            if not standing:
                raise nothing_stands()
            newest = max(standing)
            return _name(newest), _encrypt(standing[newest], context, plaintext)

        return self._token.run(work)

    def unwrap(self, version: str, context: bytes, wrapped: bytes) -> bytes:
        """See Kms."""
        if len(wrapped) < _NONCE + _TAG:
            raise Tampered("a wrapped key is too short")
        return self._token.run(lambda session: _decrypt(self._key(session, version), context, wrapped))

    def rotate(self) -> str:
        """See Kms. Two at once make two versions."""

        def work(session: Any) -> str:
            standing = self._standing(session)
            if not standing and not self._create:
                raise nothing_stands()
            return self._make(session, standing)

        return self._token.run(work)

    def _make(self, session: Any, standing: dict[_Order, Any]) -> str:
        newest = max(standing, default=(0, ""))
        version = _name((newest[0] + 1, secrets.token_hex(4)))
        key = session.generate_key(
            pkcs11.KeyType.AES,
            256,
            label=f"{self._prefix}-{version}",
            store=True,
            capabilities=pkcs11.MechanismFlag.ENCRYPT | pkcs11.MechanismFlag.DECRYPT,
            template=_TEMPLATE,
        )
        if key[pkcs11.Attribute.EXTRACTABLE] or not key[pkcs11.Attribute.SENSITIVE]:
            key.destroy()
            raise StoreError("the token made a key that could leave it", code="kms.damaged")
        return version

    def versions(self) -> list[str]:
        """See Kms."""
        standing = self._token.run(self._standing)
        if not standing:
            raise nothing_stands()
        return [_name(order) for order in sorted(standing)]

    def destroy(self, version: str) -> None:
        """See Kms. Backups of the token are beyond this program: they must go with the key."""

        def work(session: Any) -> None:
            standing = {_name(order): key for order, key in sorted(self._standing(session).items())}
            if not standing:
                raise nothing_stands()
            require_destroyable(version, list(standing))
            if version in standing:
                standing[version].destroy()

        self._token.run(work)


def _name(order: _Order) -> str:
    return f"v{order[0]}-{order[1]}"


def _encrypt(key: Any, context: bytes, plaintext: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    sealed = key.encrypt(
        plaintext, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=GCMParams(nonce, context)
    )
    return nonce + bytes(sealed)


def _decrypt(key: Any, context: bytes, wrapped: bytes) -> bytes:
    nonce, sealed = wrapped[:_NONCE], wrapped[_NONCE:]
    try:
        opened = key.decrypt(
            sealed, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=GCMParams(nonce, context)
        )
    except _DAMAGED as error:
        raise Tampered("a wrapped key fails authentication") from error
    except pkcs11.PKCS11Error as error:
        # SoftHSM2, like other tokens, answers a wrong tag with GENERAL_ERROR, which may also mean that the token itself
        # fails: what the same key does with bytes that are right tells one from the other.
        if _works(key):
            raise Tampered("a wrapped key fails authentication") from error
        raise
    return bytes(opened)


def _works(key: Any) -> bool:
    nonce, probe = secrets.token_bytes(_NONCE), b"probe"
    parameters = GCMParams(nonce, b"archive-service/probe")
    try:
        sealed = key.encrypt(probe, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=parameters)
        opened = key.decrypt(sealed, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=parameters)
    except pkcs11.PKCS11Error:
        return False
    return bytes(opened) == probe
