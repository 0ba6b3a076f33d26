"""Where a bundle's files wait until their names are known: one file of bytes, one of records."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from pydantic import BaseModel

from archive_service.export.evidence import (
    CaptureEvidence,
    CaptureProof,
    ExportFailed,
    LookProof,
    MessageEvidence,
)
from archive_service.export.manifest import (
    LOOKS,
    ListedAttachment,
    Proof,
    ProvenCapture,
    ProvenCheckpoint,
    ProvenLook,
    ProvenLooks,
    ProvenRoot,
)
from archive_service.export.numbering import capture_file
from archive_service.export.sheet import Stated, attachments_of
from archive_service.model.canonical import canonical

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Piece:
    """A file of the bundle: its name there, and the stretch of a file here that it is."""

    name: str
    source: Path
    offset: int
    size: int
    sha256: str

    def under(self, folder: str) -> "Piece":
        """The same, named in a folder."""
        return replace(self, name=f"{folder}/{self.name}")

    def chunks(self) -> Iterator[bytes]:
        """Its bytes. Raises ExportFailed if the spool is shorter than it was."""
        left = self.size
        with self.source.open("rb") as file:
            file.seek(self.offset)
            while left:
                chunk = file.read(min(_CHUNK, left))
                if not chunk:
                    raise ExportFailed("a spool file was cut short")
                left -= len(chunk)
                yield chunk


def piece_of(name: str, path: Path) -> Piece:
    """A whole file as a piece."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Piece(name, path, 0, size, digest.hexdigest())


@dataclass(frozen=True)
class SpooledMessage:
    """A message's files, by name in its folder, sorted."""

    id: str
    captures: tuple[str, ...]
    pieces: tuple[Piece, ...]


class Spool:
    """Takes messages in order and gives them back in order. A checkpoint that many captures share is
    kept once."""

    def __init__(self, folder: Path) -> None:
        self._bytes_path, self._records_path = folder / "bytes", folder / "records.jsonl"
        self._bytes = self._bytes_path.open("xb")
        self._records = self._records_path.open("xb")
        self._at = 0
        self._checkpoints: dict[str, Piece] = {}
        self._ids: set[str] = set()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bytes.close()
        self._records.close()

    def add(self, evidence: MessageEvidence) -> None:
        """The next message. Raises ExportFailed if it has no capture, or stands in the bundle already."""
        if not evidence.captures:
            raise ExportFailed("a message without captures")
        if evidence.message.id in self._ids:
            raise ExportFailed("a message that is in the bundle already")
        self._ids.add(evidence.message.id)
        first = evidence.captures[0]
        parsed = first.row.finding.parsed
        pieces = [self._keep("message.eml", first.raw[parsed.inner_start : parsed.inner_end])]
        proven = []
        for number, capture in enumerate(evidence.captures, 1):
            pieces.append(self._keep(capture_file(number), capture.raw))
            proven.append(self._proven(capture, capture_file(number)))
        proof = Proof(
            version=1,
            message=evidence.message.id,
            captures=proven,
            attachments=[
                ListedAttachment(
                    name=part.filename, type=part.content_type, size=part.size, sha256=part.sha256
                )
                for part in attachments_of(evidence)
            ],
        )
        pieces.append(self._keep("proof.json", _record(proof)))
        looks = [self._look(look) for capture in evidence.captures for look in capture.looks]
        if looks:
            record = ProvenLooks(version=1, message=evidence.message.id, looks=looks)
            pieces.append(self._keep(LOOKS, _record(record)))
        self._note(evidence, sorted(pieces, key=lambda piece: piece.name))

    def messages(self) -> Iterator[SpooledMessage]:
        """All that were added."""
        self._flush()
        with self._records_path.open("rb") as records:
            for line in records:
                plain = json.loads(line)
                pieces = tuple(Piece(name, self._bytes_path, *rest) for name, *rest in plain["pieces"])
                yield SpooledMessage(plain["id"], tuple(plain["captures"]), pieces)

    def checkpoints(self) -> Iterable[Piece]:
        """The checkpoint files, sorted by name."""
        self._flush()
        return sorted(self._checkpoints.values(), key=lambda piece: piece.name)

    def _flush(self) -> None:
        self._bytes.flush()
        self._records.flush()

    def _keep(self, name: str, data: bytes) -> Piece:
        self._bytes.write(data)
        piece = Piece(name, self._bytes_path, self._at, len(data), hashlib.sha256(data).hexdigest())
        self._at += len(data)
        return piece

    def _note(self, evidence: MessageEvidence, pieces: list[Piece]) -> None:
        record = {
            "id": evidence.message.id,
            "captures": [capture.row.id for capture in evidence.captures],
            "pieces": [(piece.name, piece.offset, piece.size, piece.sha256) for piece in pieces],
        }
        self._records.write(json.dumps(record).encode() + b"\n")

    def _proven(self, capture: CaptureEvidence, name: str) -> ProvenCapture:
        proof, parsed = capture.proof, capture.row.finding.parsed
        stated = Stated.of(proof.checkpoint)
        if (stated.origin, stated.size) != (proof.log_origin, proof.tree_size):
            raise ExportFailed("a proof for another checkpoint than its own")
        return ProvenCapture(
            id=capture.row.id,
            file=name,
            inner_start=parsed.inner_start,
            inner_end=parsed.inner_end,
            salt=proof.salt.hex(),
            record_commit=proof.record_commit.hex(),
            entry=proof.entry.decode("utf-8"),
            index=proof.index,
            inclusion=[node.hex() for node in proof.inclusion],
            checkpoint=self._checkpoint(proof),
        )

    def _look(self, look: LookProof) -> ProvenLook:
        return ProvenLook(
            capture=look.evidence.capture,
            evidence=canonical(look.evidence.plain()).decode("utf-8"),
            salt=look.salt.hex(),
            entry=look.entry.decode("utf-8"),
            index=look.index,
            inclusion=[node.hex() for node in look.inclusion],
            checkpoint=self._checkpoint(look),
        )

    def _checkpoint(self, proof: CaptureProof | LookProof) -> str:
        """The name of the checkpoint's file, written when first seen."""
        if proof.checkpoint not in self._checkpoints:
            root = ProvenRoot(
                salt=proof.root.salt.hex(),
                entry=proof.root.entry.decode("utf-8"),
                index=proof.root.index,
                inclusion=[node.hex() for node in proof.root.inclusion],
                note=proof.root.checkpoint,
            )
            name = f"checkpoints/{len(self._checkpoints) + 1}.json"
            record = ProvenCheckpoint(version=1, note=proof.checkpoint, root=root)
            self._checkpoints[proof.checkpoint] = self._keep(name, _record(record))
        return self._checkpoints[proof.checkpoint].name


def _record(record: BaseModel) -> bytes:
    return canonical(record.model_dump())
