"""``verify-bundle`` of a file of access entries: every line, every proof, every key, and the seal over all of them."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict

from archive_service.export.access_file import FORMAT
from archive_service.export.bundle_reader import Flaw
from archive_service.export.manifest import Hex32, Keys, ProvenCheckpoint, Whole, parse_record
from archive_service.export.verify_bundle import require_keys, trusted_keys
from archive_service.export.verify_proofs import Fault, check_anchor, check_inclusion, check_note, entry_of
from archive_service.ledger.note import Checkpoint, Verifier
from archive_service.ledger.payloads import check_stored, open_payload
from archive_service.model.errors import Invalid, Tampered
from archive_service.vault.key_layout import LogId

_LONGEST = 64 << 20  # bytes of a line


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Head(_Record):
    """The first line."""

    format: Literal["archive-service/access-log/v1"]
    id: str
    asked: dict[str, str]
    by: str
    at: str
    keys: Keys
    entries: Whole
    logs: list[ProvenCheckpoint]


class _Line(_Record):
    """An entry. ``object``: the ciphertext of a payload that is too large for its entry."""

    entry: str
    index: Whole
    inclusion: list[Hex32]
    key: Hex32
    event: dict[str, Any]
    object: str | None = None


class _Seal(_Record):
    """The last line."""

    seal: str


def verify_access(path: Path, pinned: Sequence[str] = ()) -> list[str]:
    """The failures of a file, a line each: kind, place, reason. Empty: all is in order. With ``pinned`` verifier keys
    only those are trusted. That no entry was left out which the filter takes is the archive's word; that none is gone
    since is proven by its seal. Raises Invalid if a pinned key is none."""
    require_keys(pinned)
    with path.open("rb") as file:
        return [str(flaw) for flaw in _check(file, pinned)]


def _check(file: BinaryIO, pinned: Sequence[str]) -> Iterator[Flaw]:
    digest = hashlib.sha256()
    first = file.readline(_LONGEST)
    digest.update(first)
    try:
        head = parse_record(_Head, first.removesuffix(b"\n"))
        log_keys, root_keys = (trusted_keys(keys, pinned) for keys in (head.keys.log, head.keys.root))
        log, root, either = Verifier(log_keys), Verifier(root_keys), Verifier([*log_keys, *root_keys])
    except (ValueError, Tampered) as error:
        yield Flaw("head", "line 1", str(error))
        return
    entries = _Entries()
    for checkpoint in head.logs:
        yield from entries.add(checkpoint, log, root)
    count, before = 0, b""
    for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), 2):
        if before:
            digest.update(before)
            yield from entries.check(f"line {number - 1}", before)
            count += 1
        before = line
    if count != head.entries:
        yield Flaw("count", "line 1", "not as many entries as it says")
    if not entries.all_used():
        yield Flaw("unexplained", "line 1", "a checkpoint that no entry stands under")
    yield from _check_seal(either, head, before, count, digest.digest())


def _check_seal(keys: Verifier, head: _Head, line: bytes, count: int, digest: bytes) -> Iterator[Flaw]:
    try:
        note = parse_record(_Seal, line.removesuffix(b"\n")).seal
        sealed = check_note(keys, note, f"{FORMAT}/{head.id}")
    except (ValueError, Tampered) as error:
        yield Flaw("seal", "last line", str(error))
        return
    if (sealed.size, sealed.root) != (count, digest) or not line.endswith(b"\n"):
        yield Flaw("seal", "last line", "made for other lines")


class _Entries:
    """The entries of one file: of one owner, each log's in order and once."""

    def __init__(self) -> None:
        self._checkpoints: dict[str, Checkpoint] = {}
        self._last: dict[str, int] = {}
        self._owner: str | None = None

    def add(self, record: ProvenCheckpoint, log_keys: Verifier, root_keys: Verifier) -> Iterator[Flaw]:
        """Take a log's checkpoint, if it and its anchor hold."""
        origin = record.note.partition("\n")[0]
        try:
            log = LogId.parse(origin)
            checkpoint = check_note(log_keys, record.note, origin)
            check_anchor(root_keys, record)
        except Fault as fault:
            yield Flaw(fault.kind, "line 1", str(fault))
            return
        except (ValueError, Tampered, Invalid) as error:
            yield Flaw("checkpoint", "line 1", str(error))
            return
        self._owner = self._owner or log.owner
        if log.kind != "access" or log.owner != self._owner or origin in self._checkpoints:
            yield Flaw("checkpoint", "line 1", "not of another access log of this tenant")
            return
        self._checkpoints[origin] = checkpoint

    def check(self, where: str, data: bytes) -> Iterator[Flaw]:
        """One line."""
        try:
            self._check(parse_record(_Line, data.removesuffix(b"\n")))
        except Fault as fault:
            yield Flaw(fault.kind, where, str(fault))
        except (ValueError, Tampered) as error:
            yield Flaw("entry", where, str(error))

    def all_used(self) -> bool:
        """Whether every checkpoint had an entry."""
        return self._last.keys() == self._checkpoints.keys()

    def _check(self, line: _Line) -> None:
        fields = entry_of(line.entry, "entry", "access", line.index)
        log = str(fields.get("log"))
        checkpoint = self._checkpoints.get(log)
        if checkpoint is None:
            raise Fault("checkpoint", "no good checkpoint of its log")
        if line.index <= self._last.get(log, -1):
            raise Fault("entry", "out of order, or twice")
        self._last[log] = line.index
        check_inclusion(line, checkpoint, log)
        payload = fields.get("payload")

        def stored(facts: Any) -> bytes:
            data = base64.b64decode(line.object or "", validate=True)
            check_stored(facts, data)
            return data

        if open_payload(LogId.parse(log), payload, bytes.fromhex(line.key), stored) != line.event:
            raise Fault("event", "it says something else than its entry")
