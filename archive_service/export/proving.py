"""Proofs for the API and for bundles, from the ledger."""

import base64
import hashlib
import time
from typing import Any

from archive_service.catalog.base import CaptureRow, MessageRow
from archive_service.export.evidence import CaptureProof, LookProof, RootProof
from archive_service.export.reading import LedgerContents, Looked
from archive_service.ledger import merkle
from archive_service.ledger.note import Signer, Verifier
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.proofs import Inclusion, Proof, prove
from archive_service.ledger.reader import read_entry
from archive_service.model.canonical import canonical
from archive_service.model.errors import NotFound, Overloaded, Tampered
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Keyring
from archive_service.vault.seal import Opened

_PAUSE = 0.1


class LedgerProofs:
    """A tenant's proofs. ``wait``: seconds to wait for a checkpoint and anchor that cover a young capture.
    Thread-safe."""

    def __init__(
        self, vault: PayloadVault, archive: Keyring, contents: LedgerContents, *, wait: float = 10.0
    ) -> None:
        self._vault = vault
        self._archive = archive
        self._wait = wait
        self._contents = contents

    def keys(self) -> tuple[str, str]:
        """Verifier keys: the tenant's, the archive's."""
        signers = [
            Signer(keyring.owner, keyring.secret("signing"))
            for keyring in (self._vault.keyring, self._archive)
        ]
        return signers[0].vkey, signers[1].vkey

    def prove(self, log: LogId, seq: int) -> Proof:
        """Raises Overloaded (``proof.pending``) when nothing covered the entry in time."""
        deadline = time.monotonic() + self._wait
        root = LogId(self._archive.owner, "root")
        salts = self._vault.keyring.secret("root-salt")
        while True:
            try:
                return prove(self._vault.store, root, salts, log, seq)
            except Overloaded:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE)

    def anchored(self, seq: int) -> tuple[str, str]:
        """When an entry of the root log was written, and the root log's id."""
        root = LogId(self._archive.owner, "root")
        return read_entry(self._vault.store, root, seq).time, str(root)

    def sign_note(self, text: str) -> str:
        """A C2SP signed note over any text that ends in a newline, by the archive's own key."""
        return Signer(self._archive.owner, self._archive.secret("signing")).sign_text(text)

    def capture_proof(self, capture: CaptureRow, opened: Opened) -> CaptureProof:
        """What a bundle holds of a capture."""
        proof = self.prove(LogId.parse(capture.log), capture.seq)
        entry, root = proof.entry, proof.root
        return CaptureProof(
            entry=entry.line,
            log_origin=str(entry.log),
            index=entry.index,
            inclusion=entry.path,
            tree_size=entry.size,
            checkpoint=entry.note,
            salt=opened.salt1,
            record_commit=opened.record_commit(),
            root=RootProof(proof.salt, root.line, root.index, root.path, root.size, root.note),
        )

    def look_proof(self, looked: Looked) -> LookProof:
        """What a bundle holds of a look at a capture. Raises as ``prove``."""
        log = LogId.parse(str(looked.entry.fields["log"]))
        proof = self.prove(log, looked.entry.seq)
        entry, root = proof.entry, proof.root
        return LookProof(
            evidence=looked.evidence,
            salt=looked.salt,
            entry=entry.line,
            log_origin=str(entry.log),
            index=entry.index,
            inclusion=entry.path,
            tree_size=entry.size,
            checkpoint=entry.note,
            root=RootProof(proof.salt, root.line, root.index, root.path, root.size, root.note),
        )

    def proof(self, message: MessageRow) -> dict[str, Any]:
        """What ``GET /v1/messages/{id}/proof`` answers: JSON-ready."""
        tenant_key, archive_key = self.keys()
        captures = []
        for capture in message.captures:
            opened = self._contents.opened(capture)
            captures.append(self._plain(capture, opened))
        return {
            "message": message.id,
            "keys": {"log": [tenant_key], "root": [archive_key]},
            "captures": captures,
            "timestamps": [],
        }

    def access_proof(self, log: str, seq: int) -> dict[str, Any]:
        """What ``GET /v1/access-log/{log}/{seq}/proof`` answers: JSON-ready. ``opening``: the key of this entry's
        payload and of no other, so that whoever has the proof reads in it what the archive says (FORMAT section 5)."""
        place = LogId(self._vault.keyring.owner, log)
        entry = read_entry(self._vault.store, place, seq)
        if entry.type != "access":
            raise NotFound("no access entry stands there", code="access_log.unknown")
        payload = entry.fields.get("payload")
        tenant_key, archive_key = self.keys()
        return {
            "keys": {"log": [tenant_key], "root": [archive_key]},
            **inclusion_view(checked(self, place, seq)),
            "opening": {"key": self._vault.key_of(place, payload).hex()},
            "event": self._vault.open(place, payload),
            "timestamps": [],
        }

    def _plain(self, capture: CaptureRow, opened: Opened) -> dict[str, Any]:
        proof = checked(self, LogId.parse(capture.log), capture.seq)
        parsed = capture.finding.parsed
        return {
            "capture": capture.id,
            **_inclusion(proof.entry),
            "opening": {
                "salt": opened.salt1.hex(),
                "record_commit": opened.record_commit().hex(),
                "raw_commit": opened.raw_commit().hex(),
                "raw_size": len(opened.raw),
            },
            "inner": {"start": parsed.inner_start, "end": parsed.inner_end},
            "root": {"anchor": proof.anchor, "salt": proof.salt.hex(), **_inclusion(proof.root)},
        }


def signed(proofs: LedgerProofs, form: str, number: int, said: dict[str, Any]) -> str:
    """A signed note of checkpoint form over a statement: origin ``form``, a number, SHA-256 of its canonical JSON."""
    digest = base64.b64encode(hashlib.sha256(canonical(said)).digest()).decode("ascii")
    return proofs.sign_note(f"{form}\n{number}\n{digest}\n")


def checked(proofs: LedgerProofs, log: LogId, seq: int) -> Proof:
    """An entry's proof, held against itself as whoever gets it would: nothing is given that he would find wrong.
    Raises Tampered, Overloaded (``proof.pending``)."""
    proof = proofs.prove(log, seq)
    for found, key in zip((proof.entry, proof.root), proofs.keys(), strict=True):
        point = Verifier([key]).check(found.note, str(found.log))
        leaf = merkle.leaf_hash(found.line)
        if not merkle.verify_inclusion(leaf, found.index, point.size, found.path, point.root):
            raise Tampered(f"{found.log}: entry {found.index} is not the one under the log's checkpoint")
    return proof


def inclusion_view(proof: Proof) -> dict[str, Any]:
    """An entry's whole chain of proof, JSON-ready."""
    root = {"anchor": proof.anchor, "salt": proof.salt.hex(), **_inclusion(proof.root)}
    return {**_inclusion(proof.entry), "root": root}


def _inclusion(found: Inclusion) -> dict[str, Any]:
    return {
        "log": str(found.log),
        "entry": found.line.decode("utf-8"),
        "inclusion": {
            "index": found.index,
            "tree_size": found.size,
            "hashes": [base64.b64encode(node).decode("ascii") for node in found.path],
        },
        "checkpoint": found.note,
    }
