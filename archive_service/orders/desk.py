"""Orders as people see them: what each covers, how far it is, its document, its certificate."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archive_service.access.events import Actor
from archive_service.export.certificate import order_certificate
from archive_service.export.proving import LedgerProofs
from archive_service.holds.desk import HoldDesk, state_of
from archive_service.ledger.acts import Acts
from archive_service.ledger.dispositions import Disposition
from archive_service.ledger.orders import Document, Order, OrderKind
from archive_service.ledger.reader import read_entry
from archive_service.model.clock import Clock
from archive_service.model.errors import Invalid, NotFound, Refused, Tampered
from archive_service.vault.stores.base import ObjectStore
from retention.disposition import unreadable_since
from retention.orders import attach


@dataclass(frozen=True)
class OrderDesk:
    """One tenant's orders. Thread-safe as the acts are. They are placed and ended by ``OrderActions``."""

    acts: Acts
    store: ObjectStore
    holds: HoldDesk
    proofs: LedgerProofs
    clock: Clock
    owner: str

    def attach(self, actor: Actor, document: Mapping[str, Any]) -> str:
        """See ``retention.orders.attach``; ``document``: name, type, content (base64)."""
        try:
            content = base64.b64decode(str(document["content"]), validate=True)
        except (KeyError, binascii.Error) as error:
            raise Invalid("a document's content is base64", code="order.document") from error
        name, media = str(document.get("name") or ""), str(document.get("type") or "")
        return attach(self.acts, name, media, content, actor.subject, self.clock)

    def all(self) -> list[dict[str, Any]]:
        """Newest first, ended ones too, by the acts at their head."""
        self.acts.refresh()
        return [self._view(order) for order in reversed(self.acts.orders.known.values())]

    def get(self, order: str) -> dict[str, Any]:
        """One, by the acts at their head. Raises NotFound (``order.unknown``)."""
        return self._view(self._known(order))

    def document(self, order: str) -> tuple[Document, bytes]:
        """The order on paper, as it was attached. Raises NotFound (``order.document_unknown``), Tampered."""
        known = self.acts.orders.documents.get(str(self._known(order).document))
        if known is None:
            raise NotFound("this order has no document", code="order.document_unknown")
        act = self.acts.open(read_entry(self.store, self.acts.log, known.position))
        content = base64.b64decode(str(act["content"]))
        if hashlib.sha256(content).hexdigest() != known.sha256:
            raise Tampered("a document does not match its digest")
        return known, content

    def certificate(self, order: str) -> dict[str, Any]:
        """Of an order to erase, once no backup of the keys opens any of it; it says whether the ciphertext is gone too,
        for a lock of the store may outlast the keys. Raises NotFound, Refused (``order.not_done``), Overloaded."""
        known = self._known(order)
        run = self.acts.dispositions.known.get(order)
        since = None if run is None or not run.going else unreadable_since(self.acts, run)
        if run is None or since is None:
            raise Refused("its certificate is made when nothing opens it any more", code="order.not_done")
        document = self.acts.orders.documents.get(str(known.document))
        digest = None if document is None else document.sha256
        return order_certificate(known, run, since, digest, self.acts, self.owner, self.proofs)

    def _known(self, order: str) -> Order:
        self.acts.refresh()
        known = self.acts.orders.known.get(order)
        if known is None:
            raise NotFound("no such order", code="order.unknown")
        return known

    def _view(self, order: Order) -> dict[str, Any]:
        names = ("id", "issuer", "reference", "dated", "text")
        document = self.acts.orders.documents.get(str(order.document))
        shown = ("id", "name", "type", "size", "sha256")
        return {
            **{name: getattr(order, name) for name in names},
            "kind": str(order.kind),
            "covers": order.asked,
            "document": None if document is None else {name: getattr(document, name) for name in shown},
            "placed_by": order.by,
            "placed_at": order.at,
            "approval": order.approval,
            "ended_at": order.ended,
            "ended_by": order.ended_by,
            "end_approval": order.end_approval,
            "contradicts": self._contradicts(order),
            **(self._kept(order) if order.kind is OrderKind.KEEP else self._erased(order)),
        }

    def _kept(self, order: Order) -> dict[str, Any]:
        hold = self.acts.holds.known[order.id]
        progress = self.holds.view(hold)["progress"]
        return {"state": state_of(hold), "captures": progress["covered"], "progress": progress}

    def _erased(self, order: Order) -> dict[str, Any]:
        run = self.acts.dispositions.known[order.id]
        gone = self.acts.erasures.gone()
        going = run.going or (() if run.stopped else run.captures)
        return {
            "state": "in_force" if run.state == "waiting" else run.state,
            "captures": len(going),
            "left": len(order.left),
            "progress": {
                "keys_gone": sum(each.id in gone for each in going),
                "unreadable_since": unreadable_since(self.acts, run) if run.going else None,
                "deleted_at": run.deleted,
            },
        }

    def _contradicts(self, order: Order) -> list[str]:
        """Orders in force that have kept what this one has erased, or the other way round: what an order to keep found
        later by its search. It is kept, and shown to nobody, until one of the two is ended."""
        if not order.in_force:
            return []
        runs = [run for run in self.acts.dispositions.known.values() if self._erasing(run)]
        holds = [hold for hold in self.acts.holds.in_force() if hold.order]
        pairs = (
            (hold.id, run.id)
            for hold in holds
            for run in runs
            if order.id in (hold.id, run.id)
            and any(self._stands(each.id, hold.covered) for each in run.going)
        )
        return sorted({other for pair in pairs for other in pair} - {order.id})

    def _erasing(self, run: Disposition) -> bool:
        return run.order and self.acts.orders.known[run.id].in_force

    def _stands(self, capture: str, covered: Mapping[str, str]) -> bool:
        return capture in covered and not self.acts.erasures.begun(capture)
