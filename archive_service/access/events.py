"""What an access-log entry says, and who acts."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pydantic import Field

from archive_service.model.mail import Frozen


class RoleName(StrEnum):
    """The capacity in which somebody acts: one a request."""

    COMPLIANCE_OFFICER = "compliance_officer"
    LEGAL = "legal"
    AUDITOR = "auditor"
    ADMIN = "admin"  # configures, sees no content
    REVIEWER = "reviewer"  # reads what a matter holds
    PRIVILEGE_REVIEWER = "privilege_reviewer"
    DPO = "dpo"  # GDPR articles 37 to 39
    ALERT_OFFICER = "alert_officer"  # loi Sapin II article 8: works in a compartment
    RECORDS_MANAGER = "records_manager"
    EXTERNAL_AUDITOR = "external_auditor"  # for a time, by grant


@dataclass(frozen=True)
class Actor:
    """Whoever holds a valid token: its subject, the role of this request, and the opaque id of its tenant. ``only``: a
    service account's rights, by their words; None leaves the role's. ``issued_at``: when what he showed was issued,
    seconds since 1970. ``break_glass``: the grant that alone lets him act in this role."""

    subject: str
    role: RoleName
    tenant: str
    only: frozenset[str] | None = None
    issued_at: float = field(default=0.0, compare=False)
    break_glass: str | None = None


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
