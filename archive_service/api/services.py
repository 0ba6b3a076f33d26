"""What the HTTP API asks of the archive, by tenant. ``bootstrap`` builds it; tests build fakes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from archive_service.access.accounts import Accounts
from archive_service.access.browser import Browser
from archive_service.access.cases import Cases
from archive_service.access.events import AccessLog, Actor
from archive_service.access.four_eyes import FourEyes
from archive_service.access.identified import Bearers
from archive_service.access.incidents import IncidentDesk
from archive_service.access.recertifying import Recertifying
from archive_service.access.wanted import Wanted
from archive_service.api.rates import SIGN_INS, ActorRates, OriginRates
from archive_service.api.strangers import Strangers
from archive_service.catalog.base import CaptureRow, Catalog, EvidenceRow, Jobs, MessageRow
from archive_service.directory.people import People
from archive_service.event_journal.desk import EventJournal
from archive_service.export.access_file import Chosen
from archive_service.holds.desk import HoldDesk
from archive_service.ledger.grants import Grant
from archive_service.ledger.holds import Hold
from archive_service.ledger.orders import Document
from archive_service.model.clock import Clock, utc_now
from archive_service.model.evidence import Evidence
from archive_service.model.mail import IntakeLock, SourceKind
from archive_service.yearly_pack.pack import YearlyPack
from search.indexes.base import SearchIndex
from search.query_language import Node


class Looked(Protocol):
    """One look at a capture."""

    @property
    def evidence(self) -> Evidence:
        """What was seen."""
        ...


class Contents(Protocol):
    """Captures as they were received. Thread-safe."""

    def check(self, message: MessageRow) -> None:
        """The catalog's rows of a message against the ledger. Raises Tampered: then nothing of it is shown."""
        ...

    def looks(self, capture: CaptureRow, rows: Sequence[EvidenceRow]) -> Sequence[Looked]:
        """What was seen of a capture after its ``250``, by the ledger; ``rows``: what the catalog says of that. Raises
        as ``raw``."""
        ...

    def raw(self, capture: CaptureRow) -> bytes:
        """The whole capture, ciphertext and plaintext re-hashed against its entry by this very read.
        Raises Tampered (never content), KeyUnavailable, NotFound, or StoreError."""
        ...


class Proofs(Protocol):
    """Proofs that a message's captures stand in the logs. Thread-safe."""

    def proof(self, message: MessageRow) -> dict[str, Any]:
        """Entries, inclusion proofs, checkpoints, timestamps: JSON-ready. May wait some seconds for a
        checkpoint that covers the captures; raises Overloaded (``proof.pending``) when none came."""
        ...


class AccessProofs(Protocol):
    """Proofs that access entries stand in their logs. Thread-safe."""

    def access_proof(self, log: str, seq: int) -> dict[str, Any]:
        """Entry, inclusion proofs, checkpoint, the key of its payload and what that says: JSON-ready. Waits as
        ``Proofs.proof``; raises NotFound, Overloaded."""
        ...


class AccessFiles(Protocol):
    """Access entries in one file, with their proofs. Thread-safe."""

    def choose(self, wanted: Wanted) -> Chosen:
        """What is wanted of everything durable now. Raises Refused, Overloaded."""
        ...

    def lines(self, chosen: Chosen, name: str, by: str, at: str) -> Iterator[bytes]:
        """The file, a line at a time."""
        ...


class SourcesAdmin(Protocol):
    """The tenant's sources. Thread-safe."""

    def list(self) -> Sequence[dict[str, Any]]:
        """Every source: id, name, kind, address, ...; JSON-ready."""
        ...

    def add(self, name: str, kind: SourceKind, intake: IntakeLock | None = None) -> dict[str, Any]:
        """A new source, durable in the acts log on return: id, address, and seq, the acts-log position
        that has passed it (what a later read gives as ``min_seq``). ``intake``: None for the usual one. Raises
        Invalid."""
        ...

    def set(self, source_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Change the named fields of the source's guard, None back to asking nothing; the source and seq as
        above. Raises Invalid, NotFound."""
        ...

    def rotate(self, source_id: str, overlap_seconds: int) -> dict[str, Any]:
        """A new secret address, the old one good for so long; the source and seq as above. Raises Invalid,
        NotFound."""
        ...


class Integrity(Protocol):
    """The tenant's logs as anyone may audit them. ``log`` is a log's name within the tenant: ``acts``,
    ``capture-1``, ... Thread-safe."""

    def status(self) -> dict[str, Any]:
        """Every log with size, root and newest checkpoint, and the keys that sign; JSON-ready."""
        ...

    def checkpoint(self, log: str) -> str:
        """The newest signed note (C2SP tlog-checkpoint). Raises NotFound."""
        ...

    def tile(self, log: str, path: str) -> bytes:
        """A tile by its C2SP tlog-tiles path after ``tile/``. Raises NotFound."""
        ...


@dataclass(frozen=True)
class IncidentState:
    """``open``: nothing is exported. ``valid_from``: whatever was issued to anybody before is void (RFC 3339)."""

    open: bool = False
    valid_from: str = ""


class Authority(Protocol):
    """What the acts at their head give and bound. Thread-safe."""

    @property
    def always(self) -> bool:
        """Whether every role needs a grant."""
        ...

    @property
    def required(self) -> frozenset[str]:
        """What whoever is shown mail must say: ``purpose``, ``matter``, both or neither."""
        ...

    def grants(self, subject: str) -> Sequence[Grant]:
        """Every grant ever given to a subject. Raises ArchiveError: then nothing rests on a grant."""
        ...

    def incident(self) -> IncidentState:
        """Raises ArchiveError: then nobody is let in."""
        ...

    def scope(self, within: Sequence[Grant]) -> Node:
        """What the grants bound, as a query."""
        ...

    def signed_out(self, session: str) -> bool:
        """Whether a browser's session was ended before its time, on whatever machine. Raises ArchiveError: then nobody
        is let in by it."""
        ...

    def sign_out(self, session: str, subject: str, ends: str) -> None:
        """End a session that would last until ``ends`` (RFC 3339); durable on return. Raises ArchiveError."""
        ...


class Sealed(Protocol):
    """The tenant's sealed parts. Thread-safe."""

    def compartments(self, subject: str, now: str) -> Sequence[dict[str, str]]:
        """Id and name of those in which a subject has a grant in force at ``now``."""
        ...

    def exclusions(self, addresses: bool) -> Sequence[dict[str, Any]]:
        """The exclusion lists in force; with whose addresses they are only when asked."""
        ...

    def withdrawn(self) -> int:
        """How many captures were withdrawn at all: excluded ones and moved strays under one count."""
        ...


class Dispositions(Protocol):
    """What is past its maximum, and how it goes. Thread-safe."""

    def preview(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What may go now, of the classes named if any, without the captures to omit; JSON-ready."""
        ...

    def all(self) -> Sequence[dict[str, Any]]:
        """Every run, newest first; JSON-ready."""
        ...

    def get(self, name: str) -> dict[str, Any]:
        """One run. Raises NotFound."""
        ...

    def stop(self, name: str, by: str, reason: str) -> dict[str, Any]:
        """Call a run off; durable on return. Raises NotFound, Refused when it has begun."""
        ...

    def certificate(self, name: str) -> dict[str, Any]:
        """Of a run that is done; JSON-ready. Raises NotFound, Refused, Overloaded."""
        ...


class Reviews(Protocol):
    """What a reviewer finds of mail that is about to go. Thread-safe."""

    def extend(self, actor: Actor, given: Mapping[str, Any], reason: str) -> dict[str, Any]:
        """Keep captures, or all of some messages, until a time; durable on return, JSON-ready. Raises Invalid,
        NotFound, Refused."""
        ...


class Eliminations(Protocol):
    """Lists of public archives that are to be eliminated. Thread-safe."""

    def draw(self, given: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Draw up a list of what may go now; durable on return, JSON-ready. Raises Refused."""
        ...

    def all(self) -> Sequence[dict[str, Any]]:
        """Every list, newest first, without its captures."""
        ...

    def get(self, elimination: str) -> dict[str, Any]:
        """One list, whole. Raises NotFound."""
        ...

    def visa(self, elimination: str, words: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Say that it has its visa; durable on return. Raises NotFound, Invalid, Refused."""
        ...


class Notices(Protocol):
    """Notices to the custodians of holds. Thread-safe."""

    def open(self, actor: Actor, hold: Hold, given: Mapping[str, Any]) -> dict[str, Any]:
        """Have custodians told; durable on return, JSON-ready. Raises Invalid, NotFound, Refused."""
        ...

    def view(self, hold: Hold) -> dict[str, Any]:
        """What was sent to whom, and who knows."""
        ...

    def by_hand(self, actor: Actor, hold: Hold, custodian: str, reason: str) -> dict[str, Any]:
        """Somebody says for a custodian that he knows. Raises NotFound, Invalid."""
        ...

    def by_link(self, hold: str, mac: str) -> None:
        """The custodian whose link it is knows. Raises NotFound."""
        ...


class Orders(Protocol):
    """Orders of a court or authority. Thread-safe."""

    def attach(self, actor: Actor, document: Mapping[str, Any]) -> str:
        """Seal an order on paper; its id, durable on return. Raises Invalid."""
        ...

    def all(self) -> Sequence[dict[str, Any]]:
        """Every order, newest first; JSON-ready."""
        ...

    def get(self, order: str) -> dict[str, Any]:
        """One order. Raises NotFound."""
        ...

    def document(self, order: str) -> tuple[Document, bytes]:
        """An order on paper. Raises NotFound, Tampered."""
        ...

    def certificate(self, order: str) -> dict[str, Any]:
        """Of an order to erase that nothing opens any more; JSON-ready. Raises NotFound, Refused, Overloaded."""
        ...


class Schedules(Protocol):
    """The tenant's retention schedule. Thread-safe."""

    def versions(self) -> Sequence[dict[str, Any]]:
        """Every version, newest first; JSON-ready."""
        ...

    def templates(self) -> Sequence[dict[str, Any]]:
        """Classes to begin with; JSON-ready."""
        ...

    def dry_run(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What a schedule would take of everything that is archived; nothing is changed. Raises Invalid."""
        ...

    def asks_purpose(self, captures: Sequence[CaptureRow] | None) -> bool:
        """See ``purposes``."""
        ...

    def of(self, captures: Sequence[CaptureRow]) -> dict[str, Any]:
        """How long a message is kept, by the capture that is kept longest, and each of its captures. Raises
        StoreError, Tampered."""
        ...


@dataclass(frozen=True)
class TenantServices:
    """One tenant's archive as the routes see it. ``exports``: where finished ZIPs lie, by job id.
    ``id`` is opaque; ``acts_position`` counts the entries of the acts log as known here. ``barred``: which of these
    captures no read may show, by the acts at their head; what it raises ends the read. ``erasures``: each capture that
    is to be forgotten, and how far that is. ``parent``: of a compartment, the id of its tenant."""

    id: str
    name: str
    catalog: Catalog
    index: SearchIndex
    jobs: Jobs
    access_log: AccessLog
    contents: Contents
    proofs: Proofs
    access_proofs: AccessProofs
    access_files: AccessFiles
    sources: SourcesAdmin
    custodians: People
    integrity: Integrity
    acts_position: Callable[[], int]
    barred: Callable[[Iterable[str]], set[str]]
    exports: Path
    accounts: Accounts
    four_eyes: FourEyes
    cases: Cases
    authority: Authority
    erasures: Callable[[], Sequence[dict[str, Any]]]
    sealed: Sealed
    holds: HoldDesk
    incidents: IncidentDesk
    schedules: Schedules
    dispositions: Dispositions
    reviews: Reviews
    eliminations: Eliminations
    notices: Notices
    orders: Orders
    journal: EventJournal
    recertifying: Recertifying
    yearly_pack: YearlyPack
    parent: str | None = None


def _nobody(code: str) -> None:
    """Where no alarm is rung."""
    del code


@dataclass(frozen=True)
class ApiServices:
    """``tenants``: by opaque id, None for a tenant that is not. ``bearers``: who holds a token. ``ready``: stable codes
    of what keeps the service from answering, none when it is ready.
    ``damaged``: told the code of what was read and is not what the ledger says.
    ``projection_wait``: seconds a read waits for ``min_seq``. ``patience``: seconds for a request's body. ``browser``:
    None where nobody signs in with one."""

    tenants: Callable[[str], TenantServices | None]
    bearers: Bearers
    ready: Callable[[], list[str]]
    clock: Clock = utc_now
    projection_wait: float = 10.0
    patience: float = 30.0
    rates: ActorRates = field(default_factory=lambda: ActorRates(None))
    origins: OriginRates = field(default_factory=OriginRates)
    sign_ins: OriginRates = field(default_factory=lambda: OriginRates(SIGN_INS))
    strangers: Strangers = field(default_factory=Strangers)
    damaged: Callable[[str], None] = _nobody
    browser: Browser | None = None
