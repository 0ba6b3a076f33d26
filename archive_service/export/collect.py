"""From ids or a query to evidence: captures through the verified read path, proofs and custody from the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from archive_service.catalog.base import CaptureRow, Catalog, MessageRow
from archive_service.export.evidence import CaptureEvidence, CustodyEvent, LookProof, MessageEvidence, named
from archive_service.export.proving import LedgerProofs
from archive_service.export.reading import LedgerContents
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import read_entry
from archive_service.model.errors import NotFound
from archive_service.model.mail import Parsed, Text
from archive_service.vault.key_layout import LogId

_PAGE = 200


class Extract(Protocol):
    """Reads hostile bytes somewhere safe."""

    def extract(self, raw: bytes, parsed: Parsed) -> Text:
        """The text of a capture that was interpreted before."""
        ...


class Page(Protocol):
    """A search's next page of message ids and ranks below a rank, highest first."""

    def __call__(self, below: int | None, limit: int) -> list[tuple[str, int]]: ...


def all_ids(page: Page) -> list[str]:
    """Every id that a search finds, newest first."""
    ids: list[str] = []
    below: int | None = None
    while found := page(below, _PAGE):
        ids.extend(name for name, _ in found)
        below = found[-1][1]
    return ids


@dataclass(frozen=True)
class Collector:
    """Collects one tenant's evidence."""

    vault: PayloadVault
    catalog: Catalog
    contents: LedgerContents
    proofs: LedgerProofs
    extract: Extract

    def messages(self, ids: list[str]) -> Iterator[MessageEvidence]:
        """Evidence of each message, in order. Raises NotFound when one has gone, Tampered, KeyUnavailable,
        Overloaded (``proof.pending``), each with the id of the message that it is about in its text."""
        for name in ids:
            with named(name):
                found = self.catalog.messages([name])
                if not found:
                    raise NotFound("a message of this export is no longer in the archive")
                evidence = self._message(found[0])
            yield evidence

    def _message(self, message: MessageRow) -> MessageEvidence:
        self.contents.check(message)
        captures: list[CaptureEvidence] = []
        custody: list[CustodyEvent] = []
        seen = self.catalog.evidence([row.id for row in message.captures])
        for row in message.captures:
            opened = self.contents.opened(row)
            proof = self.proofs.capture_proof(row, opened)
            looks = tuple(map(self.proofs.look_proof, self.contents.looks(row, seen.get(row.id, []))))
            captures.append(CaptureEvidence(row, opened.raw, proof, looks))
            custody.extend(self._custody(row, proof.tree_size, proof.root.index))
            custody.extend(_looked_at(look) for look in looks)
        text = self.extract.extract(captures[0].raw, message.captures[0].finding.parsed)
        return MessageEvidence(
            message, tuple(captures), text, tuple(sorted(custody, key=lambda event: event.time))
        )

    def _custody(self, row: CaptureRow, size: int, root_seq: int) -> Iterator[CustodyEvent]:
        entry = self.contents.entry(row)
        digest = entry.fields["object"]["sha256"]
        yield CustodyEvent(entry.time, "captured", row.log, row.seq, digest)
        order = LogId(LogId.parse(row.log).owner, "order-1")
        finding = read_entry(self.vault.store, order, row.order_seq)
        yield CustodyEvent(finding.time, "identified", str(order), finding.seq, row.id)
        anchored, root = self.proofs.anchored(root_seq)
        yield CustodyEvent(anchored, "anchored", root, root_seq, str(size))


def _looked_at(look: LookProof) -> CustodyEvent:
    return CustodyEvent(
        look.evidence.at,
        f"looked_{look.evidence.look.value}",
        look.log_origin,
        look.index,
        look.evidence.program,
    )
