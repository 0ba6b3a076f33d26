"""What the follower writes to, and the API reads from, the catalog. A projection, never an authority."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from archive_service.model.evidence import Evidence, Look
from archive_service.model.mail import Finding, Recipient, Source


@dataclass(frozen=True)
class Mark:
    """Whether a mail fulfils a condition of retention rules on its text; None: that cannot be told. ``seal``: see
    ``mark_seals``."""

    holds: bool | None
    seal: str


@dataclass(frozen=True)
class CaptureRow:
    """One capture as projected: where its entry and object stand, and its finding.

    ``order_seq`` is the order log's sequence number of the finding: it versions the row. ``marks``: what its text says
    to conditions of retention rules, by their keys, as far as it was read for them (``mark_seals.marks_of``).
    """

    id: str
    log: str
    seq: int
    order_seq: int
    object_key: str
    lock_until: str
    finding: Finding
    marks: Mapping[str, Mark] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class EvidenceRow:
    """What one evidence entry says, without what only a proof needs. ``order_seq``: where it stands in the
    order log."""

    order_seq: int
    evidence: Evidence


@dataclass(frozen=True)
class Backlog:
    """Captures that wait to be looked at; ``since``: when the one that waits longest began to, in seconds
    since 1970."""

    waiting: int
    since: int | None


@dataclass(frozen=True)
class MessageRow:
    """A message: what its captures say together (recipients united, the best-known role wins).

    ``rank`` orders messages, newest first: (seconds since 1970 of ``sent_at`` or else of receipt) * 2**30 +
    (order_seq of the first capture mod 2**30); unique, and equal after a rebuild. ``month`` is
    "YYYY-MM" of the earliest capture's receipt. ``version`` is the highest order_seq among its captures.
    """

    id: str
    rank: int
    version: int
    month: str
    sender: str | None
    subject: str
    sent_at: str | None
    recipients: tuple[Recipient, ...]
    envelope_complete: bool
    captures: tuple[CaptureRow, ...]  # ordered by order_seq


@dataclass(frozen=True)
class Withdrawn:
    """A capture that an act has barred: it has no row any more, and gets none later. ``order_seq``: where the order log
    took that act."""

    capture: str
    log: str
    seq: int
    order_seq: int


@dataclass(frozen=True)
class Position:
    """How far the projections are. ``rows`` and ``indexed`` count order-log entries (the next to do);
    ``acts`` counts acts-log entries that the order log has passed."""

    rows: int
    indexed: int
    acts: int


@dataclass(frozen=True)
class Changes:
    """A stretch of the order log as rows. ``rows``/``acts``: the positions after it. ``took``: per capture log id,
    how far the order log has taken it (the next seq), for the logs that this stretch touches."""

    captures: Sequence[CaptureRow]
    sources: Sequence[Source]
    rows: int
    acts: int
    took: Mapping[str, int] = field(default_factory=dict)
    unread: Sequence[tuple[str, int]] = ()
    """(log id, seq) of captures that were taken but could not be opened: to be tried again."""
    withdrawn: Sequence[Withdrawn] = ()
    restored: Sequence[tuple[str, str, int]] = ()
    """(id, log id, seq) of captures that are barred no more: they wait to be read, like those that were unread."""
    evidence: Sequence[EvidenceRow] = ()


@dataclass(frozen=True)
class HourOfSource:
    """So many captures of a source, an hour (since 1970) and a kind (``arrivals``)."""

    source: str
    hour: int
    kind: str
    count: int


@dataclass(frozen=True)
class Arrivals:
    """What came hour by hour. ``counted_from``: the first hour of which everything is counted; 0: all are."""

    counted_from: int
    hours: Sequence[HourOfSource]


@dataclass(frozen=True)
class LastArrival:
    """When mail of a source last came, in seconds since 1970: by its ``route``, canaries among it; and ``imported``."""

    route: int | None
    imported: int | None


class Catalog(Protocol):
    """Thread-safe. One process writes (the active follower); many read."""

    def position(self) -> Position:
        """Zeroes on an empty catalog."""
        ...

    def counts(self) -> dict[str, int]:
        """``captures``, ``messages``, and per flag of a finding ``flag:WORD`` captures: journal reports that did not
        parse among them."""
        ...

    def took(self) -> dict[str, int]:
        """Per capture log id, the next seq that the order log will take, as of ``position().rows``."""
        ...

    def unread(self) -> list[tuple[str, int]]:
        """Captures that the order log took without a finding, by (log id, seq)."""
        ...

    def arrivals(self, since: int, below: int) -> Arrivals:
        """What came in hours [since, below) since 1970, from sums that are kept with the rows."""
        ...

    def last_arrival(self, source: str, below: int) -> LastArrival:
        """The last of a source's captures before an hour: a clock that was ahead once must not count for ever."""
        ...

    def canaries(self, source: str, numbers: Sequence[int]) -> dict[int, str]:
        """When those of a source's canaries that came did (RFC 3339), by number."""
        ...

    def apply(self, changes: Changes) -> None:
        """Write a stretch in one transaction with its position; durable on return. Idempotent: a stretch
        at or below the position changes nothing. Recomputes the message of every capture."""
        ...

    def withdrawn(self, since: int, below: int) -> list[str]:
        """Messages that lost a capture at an order-log position in [since, below); some exist no more."""
        ...

    def mark(self, capture: str, marks: Mapping[str, Mark]) -> None:
        """Note what a capture's text says to conditions of retention rules; nothing, where the capture has no row.
        Durable on return."""
        ...

    def born(self) -> str:
        """Which catalog this is: another word for one that was made anew, and has no marks."""
        ...

    def indexed(self, rows: int) -> None:
        """Note that the index now covers all rows below this order-log position."""
        ...

    def messages(self, ids: Sequence[str]) -> list[MessageRow]:
        """The messages that exist among ``ids``, in that order."""
        ...

    def changed(self, since: int, below: int) -> Iterator[MessageRow]:
        """Messages with a capture whose order_seq lies in [since, below), each once."""
        ...

    def capture(self, capture_id: str) -> CaptureRow | None:
        """One capture, or None."""
        ...

    def evidence(self, captures: Sequence[str]) -> dict[str, list[EvidenceRow]]:
        """By capture, what was seen of it after its ``250``, in order; captures without any are left out."""
        ...

    def due(self, look: Look, now: int, limit: int, *, newest: bool = False) -> list[CaptureRow]:
        """At most about ``limit`` captures that are to be looked at, at ``now`` (seconds since 1970): those
        that wait for another look first, then those that nobody has looked at, oldest or ``newest`` first."""
        ...

    def backlog(self, look: Look, now: int) -> Backlog:
        """What waits for a look at ``now``."""
        ...

    def found_since(self, since: str) -> int:
        """Captures in which malware was found since then (RFC 3339, 27 characters)."""
        ...


class Dump(Protocol):
    """What verify and rebuild compare: every row as plain values in a fixed order."""

    def dump(self) -> Iterator[dict[str, Any]]:
        """Captures by (log, seq), then messages by id, sources by id, withdrawn captures by id, evidence by
        its place; each with ``"table"``."""
        ...


EXPORT = "export"
"""The kind of job that makes an export."""


@dataclass(frozen=True)
class Job:
    """Long work; disposable. ``state``: queued, running, done, failed, cancelled."""

    id: str
    kind: str
    actor: str
    request: dict[str, Any]
    state: str = "queued"
    done: int = 0
    total: int = 0
    error: str | None = None
    result: dict[str, Any] | None = None
    created_at: str = ""


class Jobs(Protocol):
    """A small table of jobs, beside the catalog. Thread- and process-safe."""

    def add(self, job: Job) -> None:
        """Queue it."""
        ...

    def claim(self, kinds: Sequence[str]) -> Job | None:
        """Take the oldest queued job (now running), or one left running by a worker that died
        (``lease`` older than 60 s), or None."""
        ...

    def update(self, job: Job) -> None:
        """Write state, progress, error, result; renews the lease."""
        ...

    def get(self, job_id: str) -> Job | None:
        """One job, or None."""
        ...

    def list(self, limit: int) -> list[Job]:
        """Newest first, without their results."""
        ...

    def standing(self, kind: str) -> Iterator[Job]:
        """Jobs of a kind that run, or are done and not expired, with their results."""
        ...

    def expire(self, job_id: str, at: str) -> None:
        """What a finished job has made is gone since ``at`` (RFC 3339): it keeps neither what was asked for nor what it
        made, but this as ``expired_at`` of its result. No error where it is not done, or not there."""
        ...

    def trim(self, before: str) -> int:
        """Forget jobs that ended before this time (RFC 3339, 27 characters); how many. What is queued or running
        stays."""
        ...
