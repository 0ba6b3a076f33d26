"""What the acts say of orders of a court or authority, to keep or to erase: they stand above everything else.

order.document {document, name, type, size, sha256, content, by, at}     the order itself, as bytes in base64
order.place    {order, kind: keep|erase, issuer, reference, dated, text, document?, by, at, approval, past, future,
               query?, custodians?, groups?, messages?, first?, last?,
               captures: keep: {LOG: [id]}, erase: [{log, seq, capture}]}
order.end      {order, by, at, approval, erasure?, left: [id]}   over; ``left``: of one to erase (asked for as
               ``erasure``), the captures whose keys had not begun to go

One to keep is also a hold without a matter (``ledger.holds``), one to erase a run (``ledger.dispositions``), both under
the order's own id.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class OrderKind(StrEnum):
    """What is ordered."""

    KEEP = "keep"
    ERASE = "erase"


@dataclass(frozen=True)
class Document:
    """The order on paper. ``position``: of the act that holds its bytes, in the acts log; ``size`` in bytes."""

    id: str
    name: str
    type: str
    size: int
    sha256: str
    position: int


@dataclass
class Order:
    """An order. ``issuer``, ``reference``, ``dated`` (a day), ``text``: as the order itself has them; ``asked``: what
    it is about, as it was asked for. ``left``: of an ended order to erase, the captures whose keys stay."""

    id: str
    kind: OrderKind
    issuer: str
    reference: str
    dated: str
    text: str
    document: str | None
    by: str
    at: str
    approval: str
    asked: dict[str, Any]
    ended: str | None = None
    ended_by: str | None = None
    end_approval: str | None = None
    left: tuple[str, ...] = ()

    @property
    def in_force(self) -> bool:
        """Whether nobody has ended it."""
        return self.ended is None


@dataclass
class Orders:
    """One owner's orders as state; see ``Erasures`` for who writes and reads it."""

    known: dict[str, Order] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        word = act["act"]
        if word == "order.document":
            name, media, digest = (str(act[each]) for each in ("name", "type", "sha256"))
            made = Document(str(act["document"]), name, media, int(act["size"]), digest, position)
            self.documents.setdefault(made.id, made)
        elif word == "order.place":
            order = _placed(act)
            self.known.setdefault(order.id, order)
        elif word == "order.end":
            order = self.known[str(act["order"])]
            order.ended, order.ended_by = str(act["at"]), str(act["by"])
            order.end_approval, order.left = str(act["approval"]), tuple(map(str, act["left"]))
        else:
            return False
        return True


def _placed(act: dict[str, Any]) -> Order:
    names = ("query", "custodians", "groups", "first", "last", "past", "future")
    return Order(
        id=str(act["order"]),
        kind=OrderKind(act["kind"]),
        issuer=str(act["issuer"]),
        reference=str(act["reference"]),
        dated=str(act["dated"]),
        text=str(act["text"]),
        document=None if act.get("document") is None else str(act["document"]),
        by=str(act["by"]),
        at=str(act["at"]),
        approval=str(act["approval"]),
        asked={name: act[name] for name in names if name in act},
    )
