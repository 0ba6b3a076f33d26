"""Evidence in the order log: sealed under its capture's key, opened and proven like a finding (FORMAT.md section 5)."""

import hashlib
import secrets
import struct
from typing import Any

from archive_service.ledger.entry import Entry
from archive_service.ledger.payloads import PayloadVault
from archive_service.model.canonical import canonical
from archive_service.model.errors import Invalid, Tampered
from archive_service.model.evidence import Evidence
from archive_service.vault.key_layout import LogId

TYPE = "evidence"
_COMMIT = b"archive-service/evidence-commit/v1\x00"


def evidence_commit(salt: bytes, said: bytes) -> str:
    """What the entry says of the evidence without telling it. ``said``: its canonical JSON."""
    return hashlib.sha256(_COMMIT + salt + said + struct.pack(">Q", len(said))).hexdigest()


def evidence_draft(
    vault: PayloadVault, order: LogId, of: tuple[LogId, int], key: bytes, evidence: Evidence
) -> tuple[str, dict[str, Any]]:
    """An entry to be. ``of``: where the capture's entry stands; ``key``: its object key. A payload that is too large to
    stand in an entry is durable in the store on return. Raises StoreError."""
    salt, plain = secrets.token_bytes(32), evidence.plain()
    log, seq = of
    fields = {
        "of": {"log": str(log), "seq": seq},
        "capture": evidence.capture,
        "commit": evidence_commit(salt, canonical(plain)),
        "payload": vault.seal_evidence(order, evidence.capture, key, {"salt": salt.hex(), "evidence": plain}),
    }
    return TYPE, fields


def subject(entry: Entry) -> tuple[LogId, int, str]:
    """The log and seq of the capture that an entry is of, and its id. Raises Tampered."""
    try:
        of = entry.fields["of"]
        return LogId.parse(str(of["log"])), int(of["seq"]), str(entry.fields["capture"])
    except (KeyError, TypeError, ValueError, Invalid) as error:
        raise Tampered("an evidence entry that does not say of what") from error


def open_evidence(vault: PayloadVault, order: LogId, entry: Entry) -> tuple[Evidence, bytes]:
    """The evidence and the salt of its commit. Raises Tampered when it is not what its entry says, KeyUnavailable once
    the capture's key is gone."""
    log, _, capture = subject(entry)
    key = vault.keyring.object_key(log, capture)
    opened = vault.open_evidence(order, entry.fields.get("payload"), capture, key)
    try:
        salt, evidence = bytes.fromhex(opened["salt"]), Evidence.model_validate(opened["evidence"])
        said = canonical(opened["evidence"])
    except (KeyError, TypeError, ValueError) as error:
        raise Tampered("evidence that does not follow its format") from error
    if evidence.capture != capture:
        raise Tampered("evidence of another capture")
    if evidence_commit(salt, said) != entry.fields.get("commit"):
        raise Tampered("evidence does not open the commitment in its entry", code="integrity.commit")
    return evidence, salt
