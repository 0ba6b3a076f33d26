"""Checkpoints as C2SP signed notes with Ed25519 (c2sp.org/signed-note, c2sp.org/tlog-checkpoint)."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from archive_service.model.errors import Tampered

_DASH = "\u2014"
_ED25519 = b"\x01"
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")


def _unb64(text: str) -> bytes:
    """Base64 in its one form. Raises ValueError: two texts for the same bytes would be two notes."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode("ascii") != text:
        raise ValueError("not canonical base64")
    return raw


def key_hash(name: str, public: bytes) -> bytes:
    """The four bytes that name a key in a signature line."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def vkey(name: str, public: bytes) -> str:
    """The verifier key's text: ``name+hash+base64``."""
    return f"{name}+{key_hash(name, public).hex()}+{base64.b64encode(_ED25519 + public).decode()}"


@dataclass(frozen=True)
class Checkpoint:
    """A log's size and root, and the note that says so."""

    origin: str
    size: int
    root: bytes
    note: str


class Signer:
    """An owner's signing key; ``name`` is the owner id."""

    def __init__(self, name: str, seed: bytes) -> None:
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    @property
    def vkey(self) -> str:
        """What whoever checks must know."""
        return vkey(self.name, self.public)

    def sign(self, origin: str, size: int, root: bytes) -> Checkpoint:
        """A signed checkpoint."""
        text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
        return Checkpoint(origin, size, root, self.sign_text(text))

    def sign_text(self, text: str) -> str:
        """A signed note over a text. Raises ValueError unless it ends in a newline and has no empty line."""
        if not text.endswith("\n") or "\n\n" in text:
            raise ValueError("a note's text ends in a newline and has no empty line")
        signature = key_hash(self.name, self.public) + self._key.sign(text.encode())
        return f"{text}\n{_DASH} {self.name} {base64.b64encode(signature).decode()}\n"


class Verifier:
    """Checks notes against known verifier keys."""

    def __init__(self, vkeys: Sequence[str]) -> None:
        self._keys: dict[tuple[str, bytes], Ed25519PublicKey] = {}
        for text in vkeys:
            name, digest, encoded = self._parse_vkey(text)
            self._keys[name, digest] = Ed25519PublicKey.from_public_bytes(encoded[1:])

    @staticmethod
    def _parse_vkey(text: str) -> tuple[str, bytes, bytes]:
        name, _, rest = text.partition("+")
        digest, _, encoded = rest.partition("+")
        try:
            raw = _unb64(encoded)
            claimed = bytes.fromhex(digest)
        except ValueError as error:
            raise Tampered("not a verifier key") from error
        if len(raw) != 33 or raw[:1] != _ED25519 or key_hash(name, raw[1:]) != claimed:
            raise Tampered("not an Ed25519 verifier key")
        return name, claimed, raw

    def check(self, note: str, origin: str) -> Checkpoint:
        """The checkpoint of a note signed by one of the known keys. Raises Tampered."""
        text, separator, signatures = note.partition("\n\n")
        text += "\n"
        if not separator or not signatures.endswith("\n"):
            raise Tampered("a checkpoint without signature block")
        known = [
            self._signed(line, text) for line in signatures[:-1].split("\n")
        ]  # every line, not just the first
        if not any(known):
            raise Tampered("a checkpoint without a signature by a known key")
        return self._parse_text(text, note, origin)

    def _signed(self, line: str, text: str) -> bool:
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != _DASH:
            raise Tampered("a checkpoint with a malformed signature line")
        try:
            raw = _unb64(parts[2])
        except ValueError as error:
            raise Tampered("a checkpoint with a malformed signature line") from error
        key = self._keys.get((parts[1], raw[:4]))
        if key is None:
            return False
        try:
            key.verify(raw[4:], text.encode())
        except InvalidSignature as error:
            raise Tampered("a checkpoint whose signature is wrong") from error
        return True

    @staticmethod
    def _parse_text(text: str, note: str, origin: str) -> Checkpoint:
        lines = text.split("\n")
        if len(lines) != 4 or lines[0] != origin:
            raise Tampered("a checkpoint of another log")
        if _SIZE.fullmatch(lines[1]) is None:
            raise Tampered("a checkpoint without a size")
        try:
            root = _unb64(lines[2])
        except ValueError as error:
            raise Tampered("a checkpoint without a root") from error
        if len(root) != 32:
            raise Tampered("a checkpoint without a root")
        return Checkpoint(origin, int(lines[1]), root, note)
