"""When whoever is shown mail must say what for: where the tenant asks it of every look, or the mail's retention class
does. The one place that says so, for routes, jobs and commands alike."""

from collections.abc import Sequence
from typing import Protocol

from archive_service.catalog.base import CaptureRow
from archive_service.model.errors import Invalid


class AsksPurpose(Protocol):
    """What the retention schedule in force asks."""

    def asks_purpose(self, captures: Sequence[CaptureRow] | None) -> bool:
        """Whether a class of these captures asks for a purpose; with None, whether any class of the schedule does."""
        ...


def require_purpose(
    schedules: AsksPurpose, purpose: str | None, captures: Sequence[CaptureRow] | None
) -> None:
    """To be called before anything of these captures is shown. ``captures`` None: of whatever a query finds, for which
    a purpose is needed as soon as any class asks for one: hits left out would still be told of by totals, pages, and
    what matches. Raises Invalid (``purpose.required``)."""
    if (purpose or "").strip():
        return
    if schedules.asks_purpose(captures):
        raise Invalid("say what it is for (purpose)", code="purpose.required")


def require_stated(required: frozenset[str], purpose: str | None) -> None:
    """Where the tenant asks it of every look. Raises Invalid (``purpose.required``)."""
    if "purpose" in required and not (purpose or "").strip():
        raise Invalid("say what it is for (purpose)", code="purpose.required")
