"""What an access-log entry says, and who acts."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from pydantic import Field

from archive_service.model.mail import Frozen


class RoleName(StrEnum):
    """The roles of the built-in issuer."""

    COMPLIANCE_OFFICER = "compliance_officer"
    LEGAL = "legal"
    AUDITOR = "auditor"
    ADMIN = "admin"


@dataclass(frozen=True)
class Actor:
    """Whoever holds a valid token: its subject, role, and the opaque id of its tenant."""

    subject: str
    role: RoleName
    tenant: str


class AccessEvent(Frozen):
    """One act of looking, or a refusal. ``ids``: the messages and captures shown (or asked for, when
    refused). ``detail``: the query, an export's id and formats, ..."""

    version: int = 1
    actor: str
    role: str
    action: str  # search, message.view, message.raw, capture.raw, message.proof, export.request, ...
    outcome: str = "shown"  # or "refused"
    ids: tuple[str, ...] = ()
    purpose: str | None = None
    matter: str | None = None
    origin: str | None = None  # the peer's address
    request: str | None = None  # request id
    detail: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class AccessRecord:
    """An access event as it stands in its log."""

    log: str
    seq: int
    time: str
    event: AccessEvent


class AccessLog(Protocol):
    """One tenant's access logs: appends go to this process's slot, reads see every slot."""

    def record(self, event: AccessEvent) -> AccessRecord:
        """Append; durable on return, and only then may the answer leave. Raises ArchiveError: then
        nothing may be shown."""
        ...

    def newest(self, limit: int, cursor: str | None = None) -> tuple[list[AccessRecord], str | None]:
        """Newest first over all slots, everything durable before the call, and the next page's cursor
        (opaque) or None. Raises Invalid for a cursor that is not one of ours."""
        ...
