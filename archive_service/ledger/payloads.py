"""Sealed payloads: what entries other than captures say (FORMAT.md section 5)."""

import base64
import hashlib
import json
import secrets
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import zstandard

from archive_service.ledger.reader import read_entry
from archive_service.model.canonical import canonical
from archive_service.model.clock import Clock
from archive_service.model.errors import NotFound, Tampered
from archive_service.vault import chunked, key_layout, seal
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Keyring
from archive_service.vault.stores.base import Lock, LockMode, NewObject, ObjectStore

INLINE = 16 * 1024
_PAYLOAD = b"archive-service/payload/v1\x00"
_SKIPPABLE = b"\x50\x2a\x4d\x18"
_FINDING = b"archive-service/finding/v1\x00"
_EVIDENCE = b"archive-service/evidence/v1\x00"
_EVIDENCE_PAD = 1024


def finding_key(object_key: bytes, capture: str) -> bytes:
    """The key of a capture's finding: derived from the capture's own, so that it dies with it."""
    return chunked.expand(object_key, _FINDING + capture.encode("ascii"), 32)


def evidence_key(object_key: bytes, capture: str) -> bytes:
    """The key of a capture's evidence: another one than its finding's, and gone with it."""
    return chunked.expand(object_key, _EVIDENCE + capture.encode("ascii"), 32)


def _context(log: LogId, name: str) -> bytes:
    return _PAYLOAD + f"{log}/{name}".encode("ascii")


def _filled(frame: bytes, multiple: int) -> bytes:
    """A zstd frame followed by a skippable frame (RFC 8878 section 3.1.2) up to a multiple of ``multiple``."""
    missing = -(len(frame) + 8) % multiple
    if multiple == 1:
        return frame
    return frame + _SKIPPABLE + struct.pack("<I", missing) + bytes(missing)


def object_fields(key: str, version: str, sealed: seal.Seal) -> dict[str, Any]:
    """What an entry says of a stored object."""
    return {
        "key": key,
        "version": version,
        "size": sealed.size,
        "sha256": sealed.sha256,
        "sha512": sealed.sha512,
    }


@dataclass(frozen=True)
class PayloadVault:
    """Where payloads are sealed to and opened from."""

    store: ObjectStore
    keyring: Keyring
    clock: Clock
    lock_mode: LockMode = LockMode.COMPLIANCE
    lock_days: int = 365

    def seal_many(
        self, log: LogId, values: Sequence[dict[str, Any]], *, pad: int = 1, floor: int = 0
    ) -> list[dict[str, Any]]:
        """Seal JSON values under one new key record; durable (record and large payloads) on return.

        Each compressed value is filled up to a multiple of ``pad`` bytes, where its size would tell something.
        ``floor``: the key generation that the log's head names; no older one is used.
        """
        now = self.clock()
        generation = self.keyring.current(now.date(), floor)
        batch = key_layout.new_batch(now)
        keys = [secrets.token_bytes(32) for _ in values]
        payloads = [
            self._seal(log, key_layout.sealed_name(batch, index), key, value, seal.Kind.PAYLOAD, pad)
            for index, (key, value) in enumerate(zip(keys, values, strict=True))
        ]
        self.keyring.put_record(log, batch, generation, keys)
        return [{**payload, "generation": generation.number} for payload in payloads]

    def seal_finding(
        self, log: LogId, capture: str, object_key: bytes, value: dict[str, Any]
    ) -> dict[str, Any]:
        """Seal a finding under its capture's key; it has no key record of its own."""
        name = key_layout.sealed_name(key_layout.new_batch(self.clock()), 0)
        return self._seal(log, name, finding_key(object_key, capture), value, seal.Kind.FINDING)

    def seal_evidence(
        self, log: LogId, capture: str, object_key: bytes, value: dict[str, Any]
    ) -> dict[str, Any]:
        """Seal evidence under its capture's key, filled up to a multiple of 1 KiB: its size would tell a mark."""
        name = key_layout.sealed_name(key_layout.new_batch(self.clock()), 0)
        key = evidence_key(object_key, capture)
        return self._seal(log, name, key, value, seal.Kind.EVIDENCE, _EVIDENCE_PAD)

    def _seal(
        self, log: LogId, name: str, key: bytes, value: dict[str, Any], kind: seal.Kind, pad: int = 1
    ) -> dict[str, Any]:
        plain = _filled(zstandard.ZstdCompressor(level=3).compress(canonical(value)), pad)
        if len(plain) <= INLINE:
            sealed = chunked.seal_bytes(key, _context(log, name), plain)
            return {"name": name, "sealed": base64.b64encode(sealed).decode("ascii")}
        object_key = key_layout.object_key(log, name)
        stored, facts = seal.seal_whole(key, object_key, b"", canonical(value), kind)
        lock = Lock(self.lock_mode, self.clock() + timedelta(days=self.lock_days))
        (created,) = self.store.create([NewObject(object_key, stored, lock)])
        return {"name": name, "object": object_fields(object_key, created.version, facts)}

    def open(self, log: LogId, payload: Any) -> dict[str, Any]:
        """The JSON of a payload under its own key record. Raises Tampered, KeyUnavailable."""
        return self._open(log, payload, self.keyring.object_key(log, self.name_of(payload)))

    def key_of(self, log: LogId, payload: Any) -> bytes:
        """The key of one payload, which opens no other. Raises Tampered, KeyUnavailable."""
        return self.keyring.object_key(log, self.name_of(payload))

    def open_finding(self, log: LogId, payload: Any, capture: str, object_key: bytes) -> dict[str, Any]:
        """The JSON of a finding. Raises Tampered."""
        return self._open(log, payload, finding_key(object_key, capture))

    def open_evidence(self, log: LogId, payload: Any, capture: str, object_key: bytes) -> dict[str, Any]:
        """The JSON of evidence. Raises Tampered."""
        return self._open(log, payload, evidence_key(object_key, capture))

    @staticmethod
    def name_of(payload: Any) -> str:
        """The name of a payload's key. Raises Tampered."""
        if not isinstance(payload, dict) or not isinstance(payload.get("name"), str):
            raise Tampered("an entry without a well-formed payload")
        return str(payload["name"])

    def _open(self, log: LogId, payload: Any, key: bytes) -> dict[str, Any]:
        return open_payload(log, payload, key, partial(read_stored, self.store))


def open_payload(log: LogId, payload: Any, key: bytes, stored: Callable[[Any], bytes]) -> dict[str, Any]:
    """The JSON of a payload under its own key. ``stored``: the object's bytes, checked, where it lies in one, by what
    the entry says of it. Raises Tampered, and what ``stored`` does."""
    name = PayloadVault.name_of(payload)
    if "object" in payload:
        facts = payload["object"]
        sealed = stored(facts)
        plain = seal.open_object(key, str(facts["key"]), sealed).raw
    else:
        plain = _opened_inline(log, name, payload, key)
    try:
        value = json.loads(plain)
    except (ValueError, RecursionError) as error:
        raise Tampered("a sealed payload that is not JSON") from error
    if not isinstance(value, dict):
        raise Tampered("a sealed payload that is not an object")
    return value


def _opened_inline(log: LogId, name: str, payload: Any, key: bytes) -> bytes:
    try:
        sealed = base64.b64decode(payload["sealed"], validate=True)
        opened = chunked.open_bytes(key, _context(log, name), sealed)
        frame = zstandard.ZstdDecompressor().decompressobj()
        plain: bytes = frame.decompress(opened)
    except (KeyError, TypeError, ValueError, zstandard.ZstdError) as error:
        raise Tampered("an entry without a well-formed payload") from error
    if not frame.eof:
        raise Tampered("a sealed payload that is cut short")
    return plain


def read_stored(store: ObjectStore, facts: Any) -> bytes:
    """A stored object's bytes, by version, checked against what its entry says. Raises Tampered, also when it is
    missing: an object that an entry names can only be gone by force or by disposition."""
    try:
        key, version = str(facts["key"]), str(facts["version"])
    except (KeyError, TypeError) as error:
        raise Tampered("an entry that does not describe its object") from error
    try:
        stored = _read_version(store, key, version)
    except NotFound as error:
        raise Tampered("an object that its entry names is missing", code="integrity.missing") from error
    check_stored(facts, stored)
    return stored


def check_stored(facts: Any, stored: bytes) -> None:
    """Whether bytes are those that an entry says of its object. Raises Tampered."""
    try:
        _, size, sha256, sha512 = (facts[name] for name in ("key", "size", "sha256", "sha512"))
    except (KeyError, TypeError) as error:
        raise Tampered("an entry that does not describe its object") from error
    if len(stored) != size or hashlib.sha256(stored).hexdigest() != sha256:
        raise Tampered("an object does not match the digest in its entry", code="integrity.object")
    if hashlib.sha512(stored).hexdigest() != sha512:
        raise Tampered("an object does not match the SHA-512 in its entry", code="integrity.object")


def _read_version(store: ObjectStore, key: str, version: str) -> bytes:
    """The version that an entry names; in a store to which the object was moved, where versions have other names, the
    oldest one (see ``ledger.moves``). The digests decide, which the caller checks. Raises NotFound."""
    try:
        return store.read(key, version)
    except NotFound:
        return store.read(key)


def read_sealed(store: ObjectStore, facts: Any, key: bytes) -> seal.Opened:
    """A stored object, checked and opened. Raises Tampered."""
    stored = read_stored(store, facts)
    return seal.open_object(key, str(facts["key"]), stored)


def open_capture_at(vault: PayloadVault, log: LogId, seq: int) -> seal.Opened:
    """The capture whose entry stands there. Raises as ``read_entry`` and ``open_capture``."""
    return open_capture(vault.store, vault.keyring, log, read_entry(vault.store, log, seq).fields)


def open_capture(store: ObjectStore, keyring: Keyring, log: LogId, fields: dict[str, Any]) -> seal.Opened:
    """A capture by its entry's fields: ciphertext digests, then the commitment over mail and record, re-computed.

    Raises Tampered, KeyUnavailable. Never returns content that the ledger does not vouch for.
    """
    key = keyring.object_key(log, str(fields.get("capture")))
    opened = read_sealed(store, fields.get("object"), key)
    if opened.commit() != fields.get("commit"):
        raise Tampered("an object does not open to the commitment in its entry", code="integrity.commit")
    return opened
