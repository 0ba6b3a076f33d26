"""Access entries in one file, each with its proof: what ``verify-bundle`` checks without the archive (FORMAT.md 14).

A first pass chooses, so that what leaves can be recorded before; a second one writes, a line at a time: neither holds
more than the numbers of the entries.
"""

import base64
import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pydantic import ValidationError

from archive_service.access.events import AccessEvent
from archive_service.access.wanted import Wanted
from archive_service.export.proving import LedgerProofs
from archive_service.ledger import merkle
from archive_service.ledger.entry import Entry
from archive_service.ledger.payloads import PayloadVault, read_stored
from archive_service.ledger.proofs import Proof
from archive_service.ledger.reader import find_head, logs, read_from
from archive_service.ledger.tiles import TreeReader
from archive_service.model.canonical import canonical
from archive_service.model.errors import Refused, Tampered
from archive_service.vault.key_layout import LogId

FORMAT = "archive-service/access-log/v1"
MOST = 100_000  # entries in one file


@dataclass(frozen=True)
class Chosen:
    """What goes into one file: by log the numbers of its entries, and a checkpoint that covers them."""

    wanted: Wanted
    seqs: dict[LogId, Sequence[int]]
    proofs: dict[LogId, Proof]

    @property
    def count(self) -> int:
        """How many entries."""
        return sum(map(len, self.seqs.values()))

    @property
    def places(self) -> dict[str, str]:
        """By log, which entries: ``3-41,57``."""
        return {log.name: _runs(seqs) for log, seqs in self.seqs.items()}


class AccessFiles:
    """One owner's. Thread-safe."""

    def __init__(self, vault: PayloadVault, proofs: LedgerProofs) -> None:
        self._vault = vault
        self._proofs = proofs

    def choose(self, wanted: Wanted) -> Chosen:
        """Everything wanted that is durable now. Waits for a checkpoint that covers it. Raises Refused
        (``access_log.too_many``), Overloaded (``proof.pending``), Tampered, KeyUnavailable."""
        seqs: dict[LogId, Sequence[int]] = {}
        room = MOST
        for log in logs(self._vault.store, self._vault.keyring.owner):
            if log.kind != "access":
                continue
            found = array("Q")
            for entry in self._stretch(log, 0, find_head(self._vault.store, log).seq):
                if self._is_wanted(wanted, log, entry):
                    found.append(entry.seq)
                if len(found) > room:
                    detail = f"more than {MOST} entries: ask for a shorter span"
                    raise Refused(detail, code="access_log.too_many")
            if found:
                seqs[log] = found
                room -= len(found)
        return Chosen(wanted, seqs, {log: self._proofs.prove(log, found[-1]) for log, found in seqs.items()})

    def lines(self, chosen: Chosen, name: str, by: str, at: str) -> Iterator[bytes]:
        """The file, line by line; the last one is signed, so what breaks off before it is no file. ``name``: its id;
        ``by``: who asked. Raises as ``choose``."""
        digest = hashlib.sha256()
        for value in self._unsealed(chosen, name, by, at):
            line = canonical(value) + b"\n"
            digest.update(line)
            yield line
        root = base64.b64encode(digest.digest()).decode("ascii")
        note = self._proofs.sign_note(f"{FORMAT}/{name}\n{chosen.count}\n{root}\n")
        yield canonical({"seal": note}) + b"\n"

    def _unsealed(self, chosen: Chosen, name: str, by: str, at: str) -> Iterator[dict[str, Any]]:
        tenant_key, archive_key = self._proofs.keys()
        yield {
            "format": FORMAT,
            "id": name,
            "asked": chosen.wanted.plain(),
            "by": by,
            "at": at,
            "keys": {"log": [tenant_key], "root": [archive_key]},
            "entries": chosen.count,
            "logs": [_checkpoint(chosen.proofs[log]) for log in chosen.seqs],
        }
        for log, seqs in chosen.seqs.items():
            yield from self._of_log(log, seqs, chosen.proofs[log].entry.size)

    def _of_log(self, log: LogId, seqs: Sequence[int], size: int) -> Iterator[dict[str, Any]]:
        tree = TreeReader(self._vault.store, log, size)
        chosen = iter(seqs)
        following = next(chosen, None)
        for entry in self._stretch(log, seqs[0], size):
            if entry.seq == following:
                yield self._proven(log, entry, tree)
                following = next(chosen, None)
            if following is None:
                return
        raise Tampered(f"the log {log.name} ends before its checkpoint")

    def _proven(self, log: LogId, entry: Entry, tree: TreeReader) -> dict[str, Any]:
        payload = entry.fields.get("payload")
        path = merkle.inclusion_proof(entry.seq, tree.size, tree.subtree)
        said = {
            "entry": entry.line.decode("utf-8"),
            "index": entry.seq,
            "inclusion": [node.hex() for node in path],
            "key": self._vault.key_of(log, payload).hex(),
            "event": self._vault.open(log, payload),
        }
        if isinstance(payload, dict) and "object" in payload:
            stored = read_stored(self._vault.store, payload["object"])
            said["object"] = base64.b64encode(stored).decode("ascii")
        return said

    def _stretch(self, log: LogId, start: int, end: int) -> Iterator[Entry]:
        for entry in read_from(self._vault.store, log, start):
            if entry.seq >= end:
                return
            yield entry

    def _is_wanted(self, wanted: Wanted, log: LogId, entry: Entry) -> bool:
        if entry.type != "access" or not wanted.within(entry.time):
            return False
        try:
            return AccessEvent.model_validate(self._vault.open(log, entry.fields.get("payload"))) in wanted
        except ValidationError as error:
            raise Tampered("an access entry does not follow its format") from error


def _checkpoint(proof: Proof) -> dict[str, Any]:
    """As ``manifest.ProvenCheckpoint``."""
    root = proof.root
    return {
        "version": 1,
        "note": proof.entry.note,
        "root": {
            "salt": proof.salt.hex(),
            "entry": root.line.decode("utf-8"),
            "index": root.index,
            "inclusion": [node.hex() for node in root.path],
            "note": root.note,
        },
    }


def _runs(seqs: Sequence[int]) -> str:
    runs = [[seq for _, seq in run] for _, run in groupby(enumerate(seqs), lambda each: each[1] - each[0])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
