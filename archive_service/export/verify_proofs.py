"""The proofs of a bundle: each capture's bytes -> commit -> entry -> log -> checkpoint -> root log."""

import base64
import hashlib
import re
import struct
from collections.abc import Iterator
from typing import Any, Protocol

from archive_service.export.bundle_reader import Bundle, Flaw, Unreadable
from archive_service.export.manifest import (
    LOOKS,
    ListedMessage,
    Proof,
    ProvenCapture,
    ProvenCheckpoint,
    ProvenLook,
    ProvenLooks,
    ProvenRoot,
    parse_record,
)
from archive_service.export.numbering import capture_file
from archive_service.ledger.anchors import anchor_of
from archive_service.ledger.evidence import TYPE as EVIDENCE
from archive_service.ledger.evidence import evidence_commit
from archive_service.ledger.merkle import leaf_hash, verify_inclusion
from archive_service.ledger.note import Checkpoint, Verifier
from archive_service.model.canonical import parse_canonical
from archive_service.model.errors import Invalid, Tampered
from archive_service.vault.key_layout import LogId
from archive_service.vault.seal import joint_commit

Intact = dict[str, str]
"""Files whose size and hash are as the manifest says, with their SHA-256 in hex."""

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f]")
_RAW = b"archive-service/raw/v1\x00"


class Fault(Exception):
    """Something does not hold: a stable ``kind``, and why."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def check_note(keys: Verifier, note: str, origin: str) -> Checkpoint:
    """The checkpoint of a note that is signed by one of the keys and has one encoding only: strict base64,
    no control characters. Raises Tampered or ValueError."""
    checkpoint = keys.check(note, origin)
    lines = note[:-1].split("\n")
    encoded = [lines[2], *(line.rpartition(" ")[2] for line in lines[4:])]
    if _CONTROL.search(note) or not all(_is_strict(text) for text in encoded):
        raise Tampered("a checkpoint that is not strictly encoded")
    return checkpoint


def _is_strict(text: str) -> bool:
    return base64.b64encode(base64.b64decode(text, validate=True)).decode() == text


class ProofCheck:
    """Checks the messages of one bundle; remembers checkpoints, and what may stand there only once."""

    def __init__(
        self, bundle: Bundle, intact: Intact, listed: set[str], log_keys: Verifier, root_keys: Verifier
    ) -> None:
        self._bundle, self._intact, self._listed = bundle, intact, listed
        self._log_keys, self._root_keys = log_keys, root_keys
        self._owner: str | None = None
        self._ids: set[str] = set()
        self._places: set[tuple[str, int]] = set()
        self.checkpoints: dict[str, Checkpoint | None] = {}
        self.attachments = 0

    def check(self, message: ListedMessage) -> Iterator[Flaw]:
        """One message: every capture's proof, and the slice that ``message.eml`` is."""
        name = f"{message.folder}/proof.json"
        if name not in self._intact:
            return
        try:
            proof = parse_record(Proof, self._bundle.read(name))
        except (ValueError, Unreadable) as error:
            yield Flaw("proof", name, str(error))
            return
        names = [(capture.id, capture.file) for capture in proof.captures]
        expected = [(capture, capture_file(number)) for number, capture in enumerate(message.captures, 1)]
        if proof.message != message.id or not names or names != expected:
            yield Flaw("proof", name, "not the proof of this message")
            return
        self.attachments += len(proof.attachments)
        for number, capture in enumerate(proof.captures):
            inner = None if number else f"{message.folder}/message.eml"
            yield from self._check_capture(capture, f"{message.folder}/{capture.file}", inner)
        yield from self._check_looks(message, {capture.id: capture for capture in proof.captures})

    def _check_looks(self, message: ListedMessage, captures: dict[str, ProvenCapture]) -> Iterator[Flaw]:
        """What was seen of these captures: each look is committed to by an entry of the tenant's order log."""
        name = f"{message.folder}/{LOOKS}"
        if name not in self._intact:
            return
        try:
            record = parse_record(ProvenLooks, self._bundle.read(name))
        except (ValueError, Unreadable) as error:
            yield Flaw("evidence", name, str(error))
            return
        if record.message != message.id or not record.looks:
            yield Flaw("evidence", name, "not the evidence of this message")
            return
        for look in record.looks:
            try:
                log = self._look_log(look, captures.get(look.capture))
                if look.checkpoint not in self.checkpoints:
                    yield from self._add_checkpoint(look.checkpoint, log)
                checkpoint = self.checkpoints[look.checkpoint]
                if checkpoint is not None:
                    check_inclusion(look, checkpoint, log)
            except Fault as fault:
                yield Flaw(fault.kind, name, str(fault))

    def _look_log(self, look: ProvenLook, capture: ProvenCapture | None) -> str:
        """The order log in which the entry stands, which must be of this capture and commit to this evidence."""
        entry = entry_of(look.entry, "evidence", EVIDENCE, look.index)
        if capture is None or entry.get("capture") != look.capture:
            raise Fault("evidence", "an entry of another capture")
        own = entry_of(capture.entry, "entry", "capture", capture.index)
        if entry.get("of") != {"log": own.get("log"), "seq": capture.index}:
            raise Fault("evidence", "an entry of another capture")
        log = str(entry.get("log"))
        if self._owner is None or log != str(LogId(self._owner, "order-1")):
            raise Fault("tenant", "an entry of another log than this tenant's order")
        if (log, look.index) in self._places:
            raise Fault("evidence", "this entry stands in the bundle twice")
        self._places.add((log, look.index))
        said = look.evidence.encode()
        if evidence_commit(bytes.fromhex(look.salt), said) != entry.get("commit"):
            raise Fault("evidence", "it does not open the commit of its entry")
        try:
            about = parse_canonical(said)
        except (ValueError, RecursionError) as error:
            raise Fault("evidence", "not canonical JSON") from error
        if not isinstance(about, dict) or about.get("capture") != look.capture:
            raise Fault("evidence", "it speaks of another capture")
        return log

    def _check_capture(self, capture: ProvenCapture, where: str, inner: str | None) -> Iterator[Flaw]:
        try:
            entry = self._entry(capture)
            if where in self._intact:
                commit, sliced = self._open(capture, where)
                if inner in self._intact and self._intact[inner] != sliced:
                    yield Flaw("slice", inner, "not the stated bytes of the first capture")
                if entry.get("commit") != commit:
                    raise Fault("commit", "its bytes and salt do not open the commit of the log entry")
            if capture.checkpoint not in self.checkpoints:
                yield from self._add_checkpoint(capture.checkpoint, str(entry["log"]))
            checkpoint = self.checkpoints[capture.checkpoint]
            if checkpoint is not None:
                check_inclusion(capture, checkpoint, str(entry["log"]))
        except Fault as fault:
            yield Flaw(fault.kind, where, str(fault))

    def _entry(self, capture: ProvenCapture) -> dict[str, Any]:
        """The log entry, which must be this capture's, of this bundle's tenant, and stand here once."""
        entry = entry_of(capture.entry, "entry", "capture", capture.index)
        if entry.get("capture") != capture.id:
            raise Fault("entry", "not the entry of this capture")
        try:
            log = LogId.parse(str(entry.get("log")))
        except Invalid as error:
            raise Fault("entry", "an entry of no log") from error
        if log.kind != "capture":
            raise Fault("entry", "an entry of no log")
        self._owner = self._owner or log.owner
        if log.owner != self._owner:
            raise Fault("tenant", "an entry of another tenant's log")
        if capture.id in self._ids or (str(log), capture.index) in self._places:
            raise Fault("entry", "this capture stands in the bundle twice")
        self._ids.add(capture.id)
        self._places.add((str(log), capture.index))
        return entry

    def _open(self, capture: ProvenCapture, where: str) -> tuple[str, str]:
        """The commit that the capture's bytes give, and the SHA-256 of the message inside them."""
        size = self._bundle.sizes[where]
        if not capture.inner_start <= capture.inner_end <= size:
            raise Fault("slice", "the message's place lies outside the capture")
        raw, inner = hashlib.sha256(_RAW + bytes.fromhex(capture.salt)), hashlib.sha256()
        skip, take = capture.inner_start, capture.inner_end - capture.inner_start
        try:
            for chunk in self._bundle.chunks(where):
                raw.update(chunk)
                part = chunk[skip : skip + take]
                inner.update(part)
                skip, take = max(0, skip - len(chunk)), take - len(part)
        except Unreadable as error:
            raise Fault("unreadable", str(error)) from error
        raw.update(struct.pack(">Q", size))
        return joint_commit(raw.digest(), bytes.fromhex(capture.record_commit)).hex(), inner.hexdigest()

    def _add_checkpoint(self, name: str, log: str) -> Iterator[Flaw]:
        """Checks a checkpoint and its anchor once; what does not hold counts as absent from then on."""
        self.checkpoints[name] = None
        if name not in self._listed:
            yield Flaw("unlisted", name, "the manifest names it but has no hash of it")
        if name not in self._intact:
            return
        try:
            record = parse_record(ProvenCheckpoint, self._bundle.read(name))
            checkpoint = check_note(self._log_keys, record.note, log)
            check_anchor(self._root_keys, record)
        except (ValueError, Tampered, Unreadable) as error:
            yield Flaw("checkpoint", name, str(error))
        except Fault as fault:
            yield Flaw(fault.kind, name, str(fault))
        else:
            self.checkpoints[name] = checkpoint


def check_anchor(keys: Verifier, record: ProvenCheckpoint) -> None:
    """The note is anchored in a root log entry, which stands under a signed root checkpoint. Raises Fault."""
    proof: ProvenRoot = record.root
    entry = entry_of(proof.entry, "anchor", "anchors", proof.index)
    log, anchors = entry.get("log"), entry.get("anchors")
    if not isinstance(log, str) or log.rpartition("/")[2] != "root":
        raise Fault("anchor", "not an entry of the root log")
    try:
        root = check_note(keys, proof.note, log)
    except (ValueError, Tampered) as error:
        raise Fault("anchor", str(error)) from error
    if not isinstance(anchors, list) or anchor_of(bytes.fromhex(proof.salt), record.note) not in anchors:
        raise Fault("anchor", "the checkpoint is not anchored in this entry")
    path = [bytes.fromhex(node) for node in proof.inclusion]
    if not verify_inclusion(leaf_hash(proof.entry.encode()), proof.index, root.size, path, root.root):
        raise Fault("anchor", "the entry does not stand in the root log")


def entry_of(line: str, fault: str, kind: str, index: int) -> dict[str, Any]:
    """An entry of version 1 with this type and sequence number. Raises Fault of the kind ``fault``."""
    try:
        entry = parse_canonical(line.encode())
    except (ValueError, RecursionError) as error:
        raise Fault(fault, "not canonical JSON") from error
    head = [entry.get(key) for key in ("version", "type", "seq")] if isinstance(entry, dict) else []
    if head != [1, kind, index] or any(isinstance(value, bool) for value in head):
        raise Fault(fault, "an entry of another type or place")
    result: dict[str, Any] = entry
    return result


class Proven(Protocol):
    """An entry and its path to a checkpoint."""

    @property
    def entry(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def inclusion(self) -> list[str]: ...


def check_inclusion(capture: Proven, checkpoint: Checkpoint, log: str) -> None:
    """Whether an entry stands in the log of its checkpoint. Raises Fault."""
    if checkpoint.origin != log:
        raise Fault("inclusion", "its checkpoint is of another log")
    path = [bytes.fromhex(node) for node in capture.inclusion]
    leaf = leaf_hash(capture.entry.encode())
    if not verify_inclusion(leaf, capture.index, checkpoint.size, path, checkpoint.root):
        raise Fault("inclusion", "its entry does not stand in the log of its checkpoint")
