"""The one place that says whether a key may be destroyed.

Order of a court or authority (to keep or to erase) > exclusion and resealing > legal hold > legal minimum > erasure
request > maximum. Between an order to keep and an order to erase the archive keeps, and says so: what is kept by
mistake can still be erased.

``Permit`` is made here alone, and ``vault.destruction`` takes nothing else: whoever wants a key destroyed must come
through ``decide``, with every reason to keep that the acts at their head and the store itself give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from archive_service.model.errors import Refused
from archive_service.model.grounds import EraseGround, KeepGround
from archive_service.vault.destruction import Permit, grant

_ORDER = ["order", "exclusion", "hold", "minimum", "request", "maximum"]


@dataclass(frozen=True)
class Case:
    """One capture, as its log and name say, why it is to go, and every reason in force to keep it."""

    log: str
    capture: str
    ground: EraseGround
    keeps: Sequence[KeepGround] = ()


def decide(case: Case) -> Permit:
    """Leave to destroy the capture's key. Raises Refused (``erasure.kept``) naming the ground that stands above."""
    above = [keep for keep in case.keeps if _ORDER.index(keep) <= _ORDER.index(case.ground)]
    if above:
        strongest = min(above, key=_ORDER.index)
        raise Refused(
            f"kept: {strongest} stands above {case.ground} (order of precedence)", code="erasure.kept"
        )
    return grant(case.log, case.capture)
