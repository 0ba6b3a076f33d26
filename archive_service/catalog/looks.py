"""What looks at captures, as ``search.evidence_desk`` sees it."""

from dataclasses import dataclass
from typing import Protocol

from archive_service.catalog.base import CaptureRow
from archive_service.model.evidence import Evidence, Look
from archive_service.model.mail import CaptureRecord


@dataclass(frozen=True)
class Subject:
    """A capture that was opened to be looked at. ``attempt``: from 1."""

    row: CaptureRow
    record: CaptureRecord
    raw: bytes
    attempt: int


class Looker(Protocol):
    """Looks at one capture after the other. Thread-safe."""

    look: Look

    def at(self, subject: Subject) -> Evidence:
        """What is to be seen of it now. Bounded in time, whatever the capture holds. Raises LookerAway."""
        ...
