"""The yearly pack: its parts put together, signed, and proven where they rest on acts of this year."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from archive_service.access.events import AccessLog
from archive_service.catalog.base import Catalog
from archive_service.event_journal.desk import EventJournal
from archive_service.export.proving import LedgerProofs, checked, inclusion_view, signed
from archive_service.last_verify import last_verify
from archive_service.ledger.acts import Acts
from archive_service.model.clock import Clock, rfc3339
from archive_service.vault.stores.base import ObjectStore
from archive_service.yearly_pack.disposals import disposals_part, holds_part
from archive_service.yearly_pack.prices import Price
from archive_service.yearly_pack.quantities import quantities_part
from archive_service.yearly_pack.rights import rights_part
from archive_service.yearly_pack.span import Span

FORMAT = "archive-service/yearly-pack/v1"
LOOKS = 20_000
"""Access entries that a request may wait for; each may cost a look into the key store."""


@dataclass(frozen=True)
class YearlyPack:
    """One tenant's. ``status``: of its logs (``api.services.Integrity``); ``work``: where ``verify`` leaves its result.
    Thread-safe."""

    acts: Acts
    catalog: Catalog
    access_log: AccessLog
    journal: EventJournal
    proofs: LedgerProofs
    store: ObjectStore
    status: Callable[[], dict[str, Any]]
    clock: Clock
    owner: str
    work: Path
    price: Price | None = None

    def make(self, year: int, looks: int = LOOKS) -> dict[str, Any]:
        """``pack``, and ``note``, ``keys`` and ``proofs`` as a certificate has them (the number is that of the rights
        in force; proofs: of the year's recertifications); JSON-ready. ``looks``: access entries looked at for last
        uses, at most. Raises Invalid (``pack.year``), Overloaded (``proof.pending``), Tampered, StoreError."""
        now = self.clock()
        span = Span.of(year, now)
        self.acts.refresh()
        rights = rights_part(self.acts, self.access_log, span, looks)
        pack = {
            "version": 1,
            "year": year,
            "owner": self.owner,
            "from": span.begins,
            "to": span.ends,
            "year_over": span.over,
            "made_at": rfc3339(now),
            "rights": rights,
            "holds": holds_part(self.acts, span),
            "disposals": disposals_part(self.acts, self.journal, self.owner, span),
            "integrity": self._integrity(),
            "costs": quantities_part(self.store, self.owner, self.acts, self.catalog, span, self.price),
        }
        tenant_key, archive_key = self.proofs.keys()
        acts = [each.position for each in self.acts.recertifications.known if span.holds(each.at)]
        return {
            "pack": pack,
            "note": signed(self.proofs, f"{FORMAT}/{year}", len(rights["in_force"]), pack),
            "keys": {"log": [tenant_key], "root": [archive_key]},
            "proofs": [inclusion_view(checked(self.proofs, self.acts.log, seq)) for seq in acts],
        }

    def _integrity(self) -> dict[str, Any]:
        """As it is now: sizes and signed checkpoints of the logs, and when ``verify`` last read the whole archive."""
        found = last_verify(self.work)
        verified = None
        if found is not None:
            at = rfc3339(datetime.fromtimestamp(found.at, UTC))
            verified = {"at": at, "clean": not found.damages}
        return {"logs": self.status()["logs"], "last_verify": verified, "timestamps": []}
