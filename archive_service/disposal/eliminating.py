"""Lists of public archives that are to be eliminated, as people see them, and the visa that each needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archive_service.disposal.disposing import TenantDispositions
from archive_service.ledger.acts import Acts
from archive_service.ledger.eliminations import Elimination
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import Refused
from retention.elimination import draw, record_visa, require_known


@dataclass(frozen=True)
class TenantEliminations:
    """See ``api.services.Eliminations``."""

    acts: Acts
    dispositions: TenantDispositions
    clock: Clock

    def draw(self, given: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Of what is past its maximum now. Raises Refused (``disposition.nothing``)."""
        found, _ = self.dispositions.due(given)
        version = self.acts.schedules.in_force(rfc3339(self.clock()))
        if version is None:
            raise Refused("no schedule is in force", code="disposition.nothing")
        name, seq = draw(self.acts, found, version.number, by, self.clock)
        return {**self._view(self.acts.eliminations.known[name], whole=True), "seq": seq}

    def all(self) -> list[dict[str, Any]]:
        """Newest first, without their captures, by the acts at their head."""
        self.acts.refresh()
        return [self._view(each) for each in reversed(self.acts.eliminations.known.values())]

    def get(self, elimination: str) -> dict[str, Any]:
        """One, with its captures. Raises NotFound."""
        self.acts.refresh()
        return self._view(require_known(self.acts, elimination), whole=True)

    def visa(self, elimination: str, words: Mapping[str, Any], by: str) -> dict[str, Any]:
        """See ``retention.elimination.record_visa``."""
        seq = record_visa(self.acts, elimination, dict(words), by, self.clock)
        return {**self._view(self.acts.eliminations.known[elimination]), "seq": seq}

    def _view(self, known: Elimination, *, whole: bool = False) -> dict[str, Any]:
        visa = known.visa
        return {
            "id": known.id,
            "sha256": known.sha256,
            "count": len(known.captures),
            "classes": known.classes,
            "schedule_version": known.schedule,
            "drawn_by": known.by,
            "drawn_at": known.at,
            "visa": None if visa is None else vars(visa),
            "captures": sorted(known.captures) if whole else None,
        }
