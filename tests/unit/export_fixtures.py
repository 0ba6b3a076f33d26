"""A small archive in memory for the export tests: logs, checkpoints, anchors, messages with their evidence."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from archive_service.catalog.base import CaptureRow, MessageRow
from archive_service.export.evidence import (
    ArchiveKeys,
    BundleRequest,
    CaptureEvidence,
    CaptureProof,
    CustodyEvent,
    MessageEvidence,
    RootProof,
)
from archive_service.ledger.anchors import anchor_of
from archive_service.ledger.merkle import inclusion_proof, leaf_hash, root_of
from archive_service.ledger.note import Signer
from archive_service.model.canonical import canonical
from archive_service.model.mail import Finding, Parsed, Part, Recipient, Role, Text
from archive_service.vault.seal import joint_commit, raw_commit, record_commit

TENANT, ARCHIVE = "a1" * 10, "b2" * 10
TIME = "2026-11-23T10:00:00.000000Z"


def salt_of(name: str) -> bytes:
    """32 bytes that look random and never change."""
    return hashlib.sha256(name.encode()).digest()


@dataclass
class Log:
    """Entries and the tree over them."""

    name: str
    lines: list[bytes] = field(default_factory=list)

    def append(self, kind: str, **fields: object) -> int:
        """Adds an entry; its sequence number."""
        prev = hashlib.sha256(self.lines[-1]).hexdigest() if self.lines else "0" * 64
        seq = len(self.lines)
        head = {"version": 1, "log": self.name, "seq": seq, "prev": prev, "time": TIME, "type": kind}
        self.lines.append(canonical({**head, **fields}))
        return seq

    def root(self) -> bytes:
        """Over all entries."""
        return root_of([leaf_hash(line) for line in self.lines])

    def path(self, index: int) -> tuple[bytes, ...]:
        """The inclusion proof of an entry in the whole log."""
        leaves = [leaf_hash(line) for line in self.lines]
        return tuple(inclusion_proof(index, len(leaves), lambda start, end: root_of(leaves[start:end])))


@dataclass(frozen=True)
class Mail:
    """What a test says of one message; every item of ``wraps`` is a capture: bytes before and after."""

    name: str
    inner: bytes
    body: str = "Bonjour"
    subject: str = "Sujet"
    sender: str | None = "anne@example.org"
    recipients: tuple[Recipient, ...] = (Recipient(address="bob@example.org", role=Role.TO, on_report=True),)
    wraps: tuple[tuple[bytes, bytes], ...] = ((b"", b""),)
    flags: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    not_indexed: str | None = None
    events: int = 1
    complete: bool = True
    mailbox: str | None = None


class Archive:
    """One tenant with one capture log, and the root log."""

    def __init__(self, tenant: str = TENANT) -> None:
        self.log_key, self.root_key = (
            Signer(tenant, salt_of("log key " + tenant)),
            Signer(ARCHIVE, salt_of("root key")),
        )
        self.log, self.root_log = Log(f"{tenant}/capture-1"), Log(f"{ARCHIVE}/root")
        self.log.append("claim")
        self.keys = ArchiveKeys((self.log_key.vkey,), (self.root_key.vkey,))
        self._mails: list[tuple[Mail, list[tuple[int, bytes, bytes, bytes]]]] = []

    def receive(self, mail: Mail) -> None:
        """Puts a message's captures into the log."""
        places = []
        for number, (before, after) in enumerate(mail.wraps):
            raw, salt = before + mail.inner + after, salt_of(f"{mail.name} {number}")
            record = record_commit(salt_of("record"), mail.name.encode())
            seq = self.log.append(
                "capture",
                capture=f"{mail.name}-{number}",
                object={
                    "key": "objects/x",
                    "version": "1",
                    "size": 9,
                    "sha256": "1" * 64,
                    "sha512": "2" * 128,
                },
                commit=joint_commit(raw_commit(salt, raw), record).hex(),
                lock_until=TIME,
                lock_mode="COMPLIANCE",
                generation=1,
                acts_seen=0,
            )
            places.append((seq, raw, salt, record))
        self._mails.append((mail, places))

    def evidence(self) -> list[MessageEvidence]:
        """Of everything received so far, under one checkpoint."""
        log_note = self.log_key.sign(self.log.name, len(self.log.lines), self.log.root()).note
        salt = salt_of("anchor" + log_note)
        anchors = sorted([anchor_of(salt, log_note), *(salt_of(str(n)).hex() for n in range(15))])
        self.root_log.append("anchors", anchors=[])
        index = self.root_log.append("anchors", anchors=anchors)
        self.root_log.append("anchors", anchors=[])
        size = len(self.root_log.lines)
        note = self.root_key.sign(self.root_log.name, size, self.root_log.root()).note
        root = RootProof(salt, self.root_log.lines[index], index, self.root_log.path(index), size, note)
        return [self._evidence(mail, places, log_note, root) for mail, places in self._mails]

    def _evidence(
        self, mail: Mail, places: Sequence[tuple[int, bytes, bytes, bytes]], note: str, root: RootProof
    ) -> MessageEvidence:
        captures = []
        for number, (seq, raw, salt, record) in enumerate(places):
            start = len(mail.wraps[number][0])
            parsed = Parsed(
                parser="test/1",
                dialect="generic",
                flags=mail.flags,
                inner_start=start,
                inner_end=start + len(mail.inner),
                inner_digest=hashlib.sha256(mail.inner).hexdigest(),
                sender=mail.sender,
                recipients=mail.recipients,
                envelope_complete=mail.complete,
                mailbox=mail.mailbox,
                subject=mail.subject,
                sent_at=TIME,
                parts=mail.parts,
            )
            name = f"{mail.name}-{number}"
            finding = Finding(
                capture=name, message=mail.name, source="exchange-1", received_at=TIME, parsed=parsed
            )
            row = CaptureRow(name, self.log.name, seq, seq, "objects/x", TIME, finding)
            proof = CaptureProof(
                self.log.lines[seq],
                self.log.name,
                seq,
                self.log.path(seq),
                len(self.log.lines),
                note,
                salt,
                record,
                root,
            )
            captures.append(CaptureEvidence(row, raw, proof))
        message = MessageRow(
            mail.name,
            1,
            1,
            "2026-11",
            mail.sender,
            mail.subject,
            TIME,
            mail.recipients,
            mail.complete,
            tuple(capture.row for capture in captures),
        )
        events = tuple(
            CustodyEvent(
                TIME, "searched and shown", f"{TENANT}/access-1", number, "matter Dupont, purpose: discovery"
            )
            for number in range(mail.events)
        )
        text = Text(body=mail.body, not_fully_indexed=mail.not_indexed)
        return MessageEvidence(message, tuple(captures), text, events)


def request(**changes: object) -> BundleRequest:
    """An export request."""
    values: dict[str, object] = {
        "export_id": "0123456789abcdef0123456789abcdef",
        "tenant_name": "Établissements Lefèvre & Fils",
        "matter": "Affaire Dupont c. Lefèvre",
        "purpose": "Production of documents ordered on 2026-11-02",
        "requested_by": "c.martin@lefevre.example",
        "requested_at": TIME,
        "query": "contrat AND from:anne@example.org",
        "ids": None,
        "bates_prefix": "LEF",
    }
    return BundleRequest(**{**values, **changes})  # type: ignore[arg-type]


def part(name: str, size: int = 1234) -> Part:
    """An attachment."""
    return Part(
        path="2",
        content_type="application/pdf",
        filename=name,
        start=0,
        end=0,
        size=size,
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        attachment=True,
    )


def small_archive() -> Archive:
    """Three messages: a plain one, one that came twice (once in a journal report), one without text."""
    archive = Archive()
    archive.receive(
        Mail("m1", b"From: anne@example.org\r\nSubject: Un\r\n\r\nBonjour\r\n", parts=(part("a.pdf"),))
    )
    report = (b"X-MS-Journal-Report:\r\n\r\nSender: anne@example.org\r\n\r\n", b"\r\n--x--\r\n")
    archive.receive(Mail("m2", b"From: bob@example.org\r\n\r\nDeux\r\n", wraps=((b"", b""), report)))
    archive.receive(Mail("m3", b"Subject: Trois\r\n\r\n", body="", flags=("no_message_id",), events=0))
    return archive
