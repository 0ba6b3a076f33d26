"""A handover package as a folder: stores, plain copies, and a manifest that covers every byte (FORMAT.md section 13).

    README.txt, verifier-keys.txt, manifest.json, manifest.mac
    store/, keys/      sealed objects, ledger, key records; tables and secrets wrapped under the transport key
    proofs/            the anchors of the tenant's checkpoints in the root log
    mail/              every mail as received, its envelope beside it; sources.json, access.jsonl

The transport key lies in a file apart. It opens the keys, authenticates locks, and the manifest.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from archive_service.model.canonical import canonical
from archive_service.model.errors import Invalid, KeyUnavailable, Refused, StoreDenied, StoreError, Tampered

MANIFEST = "manifest.json"
MAC = "manifest.mac"
_CHUNK = 1024 * 1024
_DOMAIN = b"archive-service/handover/v1\x00"


@dataclass(frozen=True)
class TransportKey:
    """The key of one package. ``package`` is its id."""

    package: str
    key: bytes

    @staticmethod
    def new() -> "TransportKey":
        """A fresh one."""
        return TransportKey("p" + secrets.token_hex(10), secrets.token_bytes(32))

    def derived(self, purpose: str) -> bytes:
        """32 bytes for one purpose."""
        return hmac.new(self.key, _DOMAIN + purpose.encode("ascii"), hashlib.sha256).digest()

    def write(self, path: Path) -> None:
        """Into a new file, for its owner alone; durable on return. Raises StoreDenied."""
        text = json.dumps({"version": 1, "package": self.package, "key": self.key.hex()}) + "\n"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
        except OSError as error:
            raise StoreDenied(
                f"the key file cannot be made: {error.strerror}", code="handover.key"
            ) from error

    @staticmethod
    def read(path: Path) -> "TransportKey":
        """Raises Invalid (``handover.key``)."""
        try:
            value = json.loads(path.read_text("ascii"))
            key = bytes.fromhex(value["key"])
            if value["version"] != 1 or len(key) != 32:
                raise ValueError("another version or length")
            return TransportKey(str(value["package"]), key)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Invalid("the key file cannot be read", code="handover.key") from error


class TransportKms:
    """Wraps a package's tables and secrets. Implements as much of Kms as a package needs. Thread-safe."""

    provider = "transport"

    def __init__(self, key: TransportKey) -> None:
        self._version = key.package
        self._cipher = AESGCM(key.derived("wrap"))

    def wrap(self, context: bytes, plaintext: bytes) -> tuple[str, bytes]:
        """See Kms."""
        nonce = secrets.token_bytes(12)
        return self._version, nonce + self._cipher.encrypt(nonce, plaintext, context)

    def unwrap(self, version: str, context: bytes, wrapped: bytes) -> bytes:
        """See Kms. Raises Tampered, KeyUnavailable for another package's key."""
        if version != self._version:
            raise KeyUnavailable("wrapped under another package's key", code="handover.key")
        try:
            return self._cipher.decrypt(wrapped[:12], wrapped[12:], context)
        except (InvalidTag, ValueError) as error:
            raise Tampered("a wrapped key fails authentication") from error

    def rotate(self) -> str:
        """A package has one key."""
        raise Refused("a package has one key", code="handover.key")

    def versions(self) -> list[str]:
        """See Kms."""
        return [self._version]

    def destroy(self, version: str) -> None:
        """A package has one key."""
        raise Refused("a package has one key", code="handover.key")


def seal(folder: Path, key: TransportKey, about: dict[str, Any]) -> int:
    """Write manifest and MAC over all that lies in ``folder``; durable on return; how many files it covers."""
    files = [_described(folder, path) for path in _files(folder)]
    manifest = canonical({**about, "version": 1, "package": key.package, "files": files})
    _write(folder / MANIFEST, manifest)
    _write(folder / MAC, _mac(key, manifest))
    return len(files)


def check(folder: Path, key: TransportKey) -> dict[str, Any]:
    """The manifest of a package in which every byte is as it was sealed. Raises Tampered (``handover.tampered``) naming
    up to ten files that are changed, missing or too many; Refused (``handover.key``) for another package's key."""
    try:
        manifest, mac = (folder / MANIFEST).read_bytes(), (folder / MAC).read_bytes()
    except OSError as error:
        raise Tampered(f"{MANIFEST} or {MAC} cannot be read", code="handover.tampered") from error
    if not hmac.compare_digest(mac, _mac(key, manifest)):
        _blame(manifest, key)
    found = json.loads(manifest)
    expected = {str(file["path"]): file for file in found["files"]}
    there = {str(path.relative_to(folder)) for path in _files(folder)}
    bad = sorted(there ^ expected.keys())
    bad += [
        name
        for name in sorted(there & expected.keys())
        if _described(folder, folder / name) != expected[name]
    ]
    if bad:
        named = ", ".join(bad[:10]) + (" ..." if len(bad) > 10 else "")
        raise Tampered(f"{len(bad)} files are not as they were packed: {named}", code="handover.tampered")
    assert isinstance(found, dict)
    return found


def _blame(manifest: bytes, key: TransportKey) -> None:
    """A MAC that does not fit: by another key, or changed with its manifest."""
    try:
        package = json.loads(manifest)["package"]
    except (ValueError, KeyError, TypeError, RecursionError):
        package = key.package
    if package != key.package:
        raise Refused(f"the key file is of another package than {MANIFEST}", code="handover.key")
    raise Tampered(
        f"{MANIFEST} or {MAC} is not as it was packed, or the key file is not", code="handover.tampered"
    )


def _mac(key: TransportKey, manifest: bytes) -> bytes:
    return hmac.new(key.derived("manifest"), manifest, hashlib.sha256).hexdigest().encode("ascii") + b"\n"


def _files(folder: Path) -> Iterator[Path]:
    """Every file but the manifest and its MAC. What is no plain file is named like one: it has no place here."""
    for path in sorted(folder.rglob("*")):
        if (path.is_symlink() or not path.is_dir()) and path not in {folder / MANIFEST, folder / MAC}:
            yield path


def _described(folder: Path, path: Path) -> dict[str, Any]:
    """A file's size and digests. Raises StoreError when it cannot be read."""
    name = str(path.relative_to(folder))
    if path.is_symlink() or not path.is_file():
        return {"path": name, "size": -1, "sha256": "", "sha512": ""}
    first, second, size = hashlib.sha256(), hashlib.sha512(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                first.update(chunk)
                second.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise StoreError(f"a file of the package cannot be read: {error.strerror}") from error
    return {"path": name, "size": size, "sha256": first.hexdigest(), "sha512": second.hexdigest()}


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
