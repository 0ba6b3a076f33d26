"""What the routes take and give, as JSON. A view shows; it decides nothing."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from archive_service.access.events import AccessRecord
from archive_service.catalog.base import CaptureRow, Job, MessageRow
from archive_service.catalog.merge import flags_of
from archive_service.model.evidence import Evidence, marks
from archive_service.model.mail import IntakeDays, IntakeLock, LockName, Part, Role, SourceKind
from search.indexes.base import Hit

LARGEST_PAGE = 1000

QueryText = Annotated[str, StringConstraints(max_length=10_000)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=500)]
PageSize = Annotated[int, Field(ge=1, le=LARGEST_PAGE)]


class Asked(BaseModel):
    """Base of request bodies: JSON types as they are, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class SearchAsked(Asked):
    """``matter`` and ``purpose`` go to the access log as given. ``include_drafts``: what was saved and not sent is left
    out unless this says so, or the query itself speaks of ``flag:draft``."""

    query: QueryText
    matter: Words | None = None
    purpose: Words | None = None
    sort: Words | None = None
    cursor: Annotated[str, StringConstraints(max_length=200)] | None = None
    limit: PageSize = 50
    facets: list[Words] | None = None
    include_drafts: bool = False


class ExportAsked(Asked):
    """Either ``query`` or ``ids``. ``include_drafts``: of what the query finds, as for a search."""

    query: QueryText | None = None
    ids: Annotated[list[str], Field(min_length=1, max_length=20_000)] | None = None
    formats: Annotated[list[Words], Field(min_length=1, max_length=20)]
    matter: Words | None = None
    purpose: Words | None = None
    include_drafts: bool = False


class SourceAsked(Asked):
    """A source to be made."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
    kind: Annotated[SourceKind, Field(strict=False)]
    intake_days: IntakeDays = 30
    lock_mode: LockName = "COMPLIANCE"

    def intake(self) -> IntakeLock | None:
        """The lock that its mail is born with; None for the usual one."""
        return IntakeLock(intake_days=self.intake_days, lock_mode=self.lock_mode).unless_usual()


class GuardAsked(Asked):
    """What is to change of a source's guard; a field that is not there stays as it is, null puts it back to asking
    nothing. ``password`` is never shown again."""

    networks: Annotated[list[Words], Field(max_length=1000)] | None = None
    tls: bool | None = None
    certificates: (
        Annotated[list[Annotated[str, StringConstraints(max_length=100_000)]], Field(max_length=100)] | None
    ) = None
    password: SecretStr | None = None
    max_size: Annotated[int, Field(ge=1, le=2**53)] | None = None
    rate: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    def given(self) -> dict[str, Any]:
        """The fields that were given, the password in clear."""
        fields = {name: getattr(self, name) for name in self.model_fields_set}
        if self.password is not None:
            fields["password"] = self.password.get_secret_value()
        return fields


class RotationAsked(Asked):
    """How long the address there was stays good: up to 90 days."""

    overlap_seconds: Annotated[int, Field(ge=0, le=90 * 86400)] = 14 * 86400


class AttachmentView(BaseModel):
    """``size`` in bytes and ``sha256`` of the decoded attachment; ``path`` as in IMAP."""

    filename: str | None
    content_type: str
    size: int
    sha256: str
    path: str


class HitView(BaseModel):
    """One found message. ``to``: the recipients whose role is known to be To."""

    id: str
    sent_at: str | None
    sender: str | None = Field(serialization_alias="from")
    to: list[str]
    subject: str
    snippets: list[str]
    attachments: list[AttachmentView]


class SearchAnswer(BaseModel):
    """``total`` and ``not_fully_indexed`` count all matches; ``next`` is null on the last page. ``drafts_left_out``:
    how many more matches there are that are drafts."""

    total: int
    hits: list[HitView]
    facets: dict[str, Any]
    next: str | None
    not_fully_indexed: int
    drafts_left_out: int
    custodians: list[dict[str, Any]] | None = None


class RecipientView(BaseModel):
    """``expanded_from`` and ``forwarded_from`` stand only where a report says so."""

    address: str
    role: Role
    on_report: bool
    expanded_from: str = ""
    forwarded_from: str = ""


class EvidenceView(BaseModel):
    """What was seen of a capture after its ``250``. ``malware``: ``not_scanned``, ``found`` if any scan found
    something, else what the last one said. ``names``: of what was found. ``looks``: each as it stands in the order log
    (FORMAT.md section 5), signatures and answers of the DNS included."""

    malware: str
    names: list[str]
    looks: list[dict[str, Any]]


class CaptureView(BaseModel):
    """One arrival of the message. ``mailbox`` stands only where the journal says which one it took the message from."""

    id: str
    source: str
    received_at: str
    evidence: EvidenceView
    mailbox: str = ""


class RetentionView(BaseModel):
    """``lock_until``: the latest lock among the message's captures, as the store says. The rest is said only where a
    schedule is in force: what it says of the capture that is kept longest, and of each. ``keep_until``: the end of the
    legal minimum, null without one; ``dispose_after``: from then on it goes; ``open``: the event that the term starts
    with is not known, and the times are the latest that they can be; ``undecided``: the mail's text decides its class
    and is not known, so that it is kept as the one that lasts longest. ``kept_until``: a legal minimum that it stood
    under before it was moved here keeps it until then, whatever the schedule says."""

    lock_until: str
    kept_until: str | None = None
    klass: str | None = Field(default=None, serialization_alias="class")
    basis: str | None = None
    article: str | None = None
    rule: str | None = None
    by_hand: bool | None = None
    undecided: bool | None = None
    schedule_version: int | None = None
    start: str | None = None
    keep_until: str | None = None
    dispose_after: str | None = None
    open: bool = False
    captures: list[dict[str, Any]] = Field(default_factory=list)


class MessageView(BaseModel):
    """A message: what its captures say together, and, of its text, what the first capture says."""

    id: str
    sender: str | None
    on_behalf_of: str | None
    subject: str
    sent_at: str | None
    message_id: str | None
    label: str | None
    flags: list[str]
    recipients: list[RecipientView]
    envelope_complete: bool
    captures: list[CaptureView]
    attachments: list[AttachmentView]
    holds: list[dict[str, Any]]
    retention: RetentionView


class Progress(BaseModel):
    """``total`` is 0 until it is known."""

    done: int
    total: int


class ExportView(BaseModel):
    """``state``: queued, running, done, failed or cancelled. ``error``: the stable code of a failure.
    ``drafts_left_out``: how many drafts the query found beside what was exported; null until that is known."""

    id: str
    state: str
    progress: Progress
    error: str | None
    drafts_left_out: int | None = None


class ExportAnswer(ExportView):
    """``custodians``, where the query names people: the addresses used for each, and what could not be. ``expired_at``:
    since when its file is gone with mail that was erased."""

    expired_at: str | None = None
    custodians: list[dict[str, Any]] | None = None


class JobView(ExportView):
    """A job without what it was asked or what it made: those may speak of content."""

    kind: str
    created_at: str


class JobList(BaseModel):
    """Newest first."""

    jobs: list[JobView]
    next: str | None


class SourceList(BaseModel):
    """Every source of the tenant."""

    sources: list[dict[str, Any]]
    next: str | None


class AccessEntryView(BaseModel):
    """One access entry: where it stands (``log``, ``seq``) and what it says."""

    log: str
    seq: int
    time: str
    actor: str
    role: str
    action: str
    outcome: str
    ids: list[str]
    purpose: str | None
    matter: str | None
    origin: str | None
    request: str | None
    detail: dict[str, Any]


class AccessLogAnswer(BaseModel):
    """Newest first. A page may be short, or empty, while ``next`` is not null: more lies further back."""

    entries: list[AccessEntryView]
    next: str | None


class Problem(BaseModel):
    """RFC 9457, with a stable ``code``. ``position``: the 0-based character where a query does not parse."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    position: int | None = None
    errors: list[dict[str, str]] | None = None
    problems: list[str] | None = None


def attachment_views(parts: Sequence[Part]) -> list[AttachmentView]:
    """The parts that are attachments, in the order of the message."""
    return [
        AttachmentView(
            filename=part.filename,
            content_type=part.content_type,
            size=part.size,
            sha256=part.sha256,
            path=part.path,
        )
        for part in parts
        if part.attachment
    ]


def hit_view(hit: Hit, row: MessageRow) -> HitView:
    """A hit of the index with what the catalog knows of its message."""
    return HitView(
        id=row.id,
        sent_at=row.sent_at,
        sender=row.sender,
        to=[recipient.address for recipient in row.recipients if recipient.role in (Role.TO, Role.UNKNOWN)],
        subject=row.subject,
        snippets=list(hit.snippets),
        attachments=attachment_views(row.captures[0].finding.parsed.parts),
    )


def capture_view(row: CaptureRow, looks: Sequence[Evidence] = ()) -> CaptureView:
    """What is known of one arrival; ``looks``: what was seen of it."""
    finding = row.finding
    mailbox = {} if finding.parsed.mailbox is None else {"mailbox": finding.parsed.mailbox}
    return CaptureView(
        id=row.id,
        source=finding.source,
        received_at=finding.received_at,
        evidence=_evidence_view(looks),
        **mailbox,
    )


def _evidence_view(looks: Sequence[Evidence]) -> EvidenceView:
    scans = [look.malware.result for look in looks if look.malware is not None]
    names = marks(looks)
    return EvidenceView(
        malware="found" if names else scans[-1] if scans else "not_scanned",
        names=names,
        looks=[look.plain() for look in looks],
    )


def message_view(
    row: MessageRow,
    looks: Mapping[str, Sequence[Evidence]],
    retention: Mapping[str, Any],
    holds: Sequence[dict[str, Any]] = (),
) -> MessageView:
    """``row`` has at least one capture; ``looks``: what was seen of each, by its id; ``retention``: how long it is
    kept; ``holds``: upon any of them."""
    parsed = row.captures[0].finding.parsed
    return MessageView(
        id=row.id,
        sender=row.sender,
        on_behalf_of=parsed.on_behalf_of,
        subject=row.subject,
        sent_at=row.sent_at,
        message_id=parsed.message_id,
        label=parsed.label,
        flags=list(flags_of(row.captures)),
        recipients=[RecipientView(**recipient.plain()) for recipient in row.recipients],
        envelope_complete=row.envelope_complete,
        captures=[capture_view(capture, looks.get(capture.id, ())) for capture in row.captures],
        attachments=attachment_views(parsed.parts),
        holds=list(holds),
        retention=RetentionView(
            **{{"class": "klass"}.get(name, name): value for name, value in retention.items()}
        ),
    )


def export_view(job: Job) -> ExportView:
    """An export as its job stands."""
    left_out = (job.result or {}).get("drafts_left_out")
    return ExportView(
        id=job.id,
        state=job.state,
        progress=Progress(done=job.done, total=job.total),
        error=job.error,
        drafts_left_out=left_out if isinstance(left_out, int) else None,
    )


def export_answer(job: Job) -> ExportAnswer:
    """An export, with whom its query names: as it was run, or until then as it was asked."""
    answer = ExportAnswer(**dict(export_view(job)))
    expired = (job.result or {}).get("expired_at")
    if isinstance(expired, str):
        answer.expired_at = expired
    named = (job.result or {}).get("custodians") or job.request.get("custodians")
    if named:
        answer.custodians = named
    return answer


def job_view(job: Job) -> JobView:
    """Any job."""
    return JobView(**export_view(job).model_dump(), kind=job.kind, created_at=job.created_at)


def access_entry_view(record: AccessRecord) -> AccessEntryView:
    """An access record, flat."""
    event = record.event.model_dump(exclude={"version"})
    return AccessEntryView(log=record.log, seq=record.seq, time=record.time, **event)
