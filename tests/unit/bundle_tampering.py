"""Ways to falsify a bundle: by an outsider, who cannot sign, and by an insider, who holds the signing key."""

import base64
import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archive_service.ledger.note import Signer
from archive_service.model.canonical import canonical

MANIFEST, SEAL = "manifest.json", "manifest.sig"
Edit = Callable[["Draft"], None]


@dataclass
class Draft:
    """A bundle's members, open to any change. ``order`` may name a member twice or not at all."""

    members: dict[str, bytes]
    signer: Signer
    order: list[str] = field(default_factory=list)

    def json(self, name: str) -> Any:
        """A member's value."""
        return json.loads(self.members[name])

    def put(self, name: str, value: Any) -> None:
        """Replaces a record."""
        self.members[name] = canonical(value)

    def edit(self, name: str, change: Callable[[Any], None]) -> None:
        """Changes a record in place."""
        value = self.json(name)
        change(value)
        self.members[name] = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()

    def reseal(self) -> None:
        """Makes the manifest true of the members again, and signs it: what an insider would do."""

        def relist(manifest: Any) -> None:
            manifest["files"] = [
                {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for name, data in sorted(self.members.items())
                if name not in (MANIFEST, SEAL)
            ]

        self.edit(MANIFEST, relist)
        self.sign()

    def sign(self) -> None:
        """Signs the manifest as it stands."""
        manifest = self.json(MANIFEST)
        digest = base64.b64encode(hashlib.sha256(self.members[MANIFEST]).digest()).decode()
        origin = f"archive-service/bundle/v1/{manifest['export']['id']}"
        note = self.signer.sign_text(f"{origin}\n{len(manifest['files'])}\n{digest}\n")
        self.members[SEAL] = note.encode()


def flip(data: bytes, at: int) -> bytes:
    """One bit changed."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def unpack(members: dict[str, bytes], folder: Path) -> Path:
    """Writes members as a folder."""
    for name, data in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@dataclass
class Entry:
    """One member of a ZIP, each field free to lie."""

    name: bytes
    data: bytes
    local_name: bytes | None = None
    flags: int = 0
    method: int = 0
    mode: int = 0o100644
    crc: int | None = None
    local_crc: int | None = None
    size: int | None = None
    packed: int | None = None
    before: bytes = b""
    comment: bytes = b""
    extra: bytes = b""
    local_extra: bytes = b""
    needed: int = 20
    local_needed: int = 20
    made: int = 0x314
    moment: tuple[int, int] = (0, 33)
    local_moment: tuple[int, int] = (0, 33)
    disk: int = 0
    internal: int = 0
    low_external: int = 0


def zip_of(entries: list[Entry], *, gap: bytes = b"", tail: bytes = b"", comment: bytes = b"") -> bytes:
    """A ZIP in the archive's narrow form, but for what the entries and the rest say otherwise."""
    body, directory = b"", b""
    for entry in entries:
        body += entry.before
        offset, local = len(body), entry.local_name if entry.local_name is not None else entry.name
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        size = len(entry.data) if entry.size is None else entry.size
        packed = len(entry.data) if entry.packed is None else entry.packed
        local_crc = crc if entry.local_crc is None else entry.local_crc
        how = (entry.flags, entry.method)
        head = (b"PK\x03\x04", entry.local_needed, *how, *entry.local_moment, local_crc, packed, size)
        body += struct.pack("<4s5H3L2H", *head, len(local), len(entry.local_extra))
        body += local + entry.local_extra + entry.data
        head = (b"PK\x01\x02", entry.made, entry.needed, *how, *entry.moment, crc, packed, size)
        lengths = (len(entry.name), len(entry.extra), len(entry.comment), entry.disk, entry.internal)
        attributes = entry.mode << 16 | entry.low_external
        directory += struct.pack("<4s6H3L5H2L", *head, *lengths, attributes, offset)
        directory += entry.name + entry.extra + entry.comment
    body += gap
    end = struct.pack(
        "<4s4H2LH", b"PK\x05\x06", 0, 0, len(entries), len(entries), len(directory), len(body), len(comment)
    )
    return body + directory + end + comment + tail


def entries_of(members: dict[str, bytes]) -> list[Entry]:
    """The honest entries."""
    return [Entry(name.encode(), data) for name, data in sorted(members.items())]
