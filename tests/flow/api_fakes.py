"""An archive in memory for the HTTP API, and a client that calls it without a socket."""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from archive_service.access.accounts import Accounts
from archive_service.access.cases import Cases
from archive_service.access.events import AccessEvent, AccessRecord, Actor, RoleName
from archive_service.access.four_eyes import FourEyes, StrongAction
from archive_service.access.identity import Identity
from archive_service.access.incidents import IncidentDesk
from archive_service.access.recertifying import Recertifying
from archive_service.access.tokens import TokenIssuer, TokenVerifier
from archive_service.access.wanted import Wanted
from archive_service.api.services import ApiServices, IncidentState, TenantServices
from archive_service.break_glass import break_glass_action
from archive_service.catalog.base import CaptureRow, Changes, EvidenceRow, Job, MessageRow, Position
from archive_service.event_journal.desk import EventJournal
from archive_service.export.access_file import Chosen
from archive_service.holds.desk import HoldDesk
from archive_service.holds.releasing import hold_release_action
from archive_service.ledger.acts import Acts
from archive_service.ledger.approvals import Verdict
from archive_service.ledger.grants import Grant
from archive_service.ledger.orders import Document
from archive_service.ledger.recertifications import Recertification
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Invalid, NotFound, StoreError
from archive_service.model.mail import Finding, IntakeLock, Parsed, Part, Recipient, Role, SourceKind
from archive_service.strong_actions import erasure_action, grant_action, incident_close_action
from archive_service.tenant_services import erasures_of
from archive_service.yearly_pack.pack import YearlyPack
from search.indexes.base import Found, Hit
from search.query_language import Everything, Node
from tests.flow.directory_fakes import people
from tests.flow.one_app import app_over
from tests.flow.paper_fakes import (
    disposition_certificate,
    event_certificate,
    order_certificate,
    yearly_pack,
)
from tests.packaging.error_codes import LIST
from tests.unit.core_world import Archive as World

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WRAPPER, INNER = (
    b"From: journal\r\n\r\nreport\r\n",
    b"From: anne@ex.fr\r\nSubject: Contrat\r\n\r\nbonjour\x00\xff",
)
RAW = WRAPPER + INNER + b"\r\n--end"


@dataclass
class FakeCatalog:
    rows: dict[str, MessageRow] = field(default_factory=dict)
    positions: list[Position] = field(default_factory=lambda: [Position(7, 7, 3)])
    asked: list[str] = field(default_factory=list)
    looks: dict[str, list[EvidenceRow]] = field(default_factory=dict)

    def position(self) -> Position:
        """The last one stays; those before it are passed one a call."""
        return self.positions.pop(0) if len(self.positions) > 1 else self.positions[0]

    def messages(self, ids: Sequence[str]) -> list[MessageRow]:
        self.asked += ids
        return [self.rows[each] for each in ids if each in self.rows]

    def capture(self, capture_id: str) -> CaptureRow | None:
        captures = (capture for row in self.rows.values() for capture in row.captures)
        return next((capture for capture in captures if capture.id == capture_id), None)

    def evidence(self, captures: Sequence[str]) -> dict[str, list[EvidenceRow]]:
        return {name: self.looks[name] for name in captures if name in self.looks}

    def took(self) -> dict[str, int]:
        raise AssertionError("the API does not follow the log")

    def withdrawn(self, since: int, below: int) -> list[str]:
        raise AssertionError("the API does not follow the log")

    def apply(self, changes: Changes) -> None:
        raise AssertionError("the API never writes the catalog")

    def indexed(self, rows: int) -> None:
        raise AssertionError("the API never writes the catalog")

    def changed(self, since: int, below: int) -> Any:
        raise AssertionError("the API does not follow the log")


@dataclass
class FakeIndex:
    """Finds every document, whatever the query; and so many drafts where it is only asked how many there are."""

    hits: list[Hit] = field(default_factory=list)
    queries: list[Any] = field(default_factory=list)
    drafts: int = 0

    def search(self, query: Any, *, limit: int, below: int | None = None, snippets: bool = True) -> Found:
        if limit == 0:
            return Found(total=self.drafts, not_fully_indexed=0)
        self.queries.append(query)
        hits = sorted(self.hits, key=lambda hit: -hit.rank)
        page = [hit for hit in hits if below is None or hit.rank < below][:limit]
        return Found(total=len(hits), not_fully_indexed=1, hits=tuple(page))

    def write(self, documents: Any) -> None:
        raise AssertionError("the API never writes the index")

    def remove(self, ids: Any) -> None:
        raise AssertionError("the API never writes the index")

    def ids(self) -> dict[str, int]:
        raise AssertionError("the API does not compare")

    def clear(self) -> None:
        raise AssertionError("the API never writes the index")


@dataclass
class FakeJobs:
    jobs: dict[str, Job] = field(default_factory=dict)

    def add(self, job: Job) -> None:
        self.jobs[job.id] = job

    def claim(self, kinds: Sequence[str]) -> Job | None:
        raise AssertionError("the API runs no jobs")

    def trim(self, before: str) -> int:
        raise AssertionError("the API forgets no jobs")

    def standing(self, kind: str) -> Iterator[Job]:
        raise AssertionError("the API looks after no exports")

    def expire(self, job_id: str, at: str) -> None:
        raise AssertionError("the API lets no exports go")

    def update(self, job: Job) -> None:
        self.jobs[job.id] = job

    def get(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)

    def list(self, limit: int) -> list[Job]:
        return list(reversed(self.jobs.values()))[:limit]


@dataclass
class FakeAccessLog:
    """Notes with every event whether an answer was under way when it was written."""

    answering: Callable[[], bool] = lambda: False
    events: list[AccessEvent] = field(default_factory=list)
    too_late: list[bool] = field(default_factory=list)
    broken: Exception | None = None
    reads: list[int] = field(default_factory=list)

    def record(self, event: AccessEvent) -> AccessRecord:
        if self.broken is not None:
            raise self.broken
        self.too_late.append(self.answering())
        self.events.append(event)
        return self._at(len(self.events) - 1)

    @property
    def shown(self) -> list[AccessEvent]:
        """Without the refusals."""
        return [event for event in self.events if event.outcome == "shown"]

    def newest(self, limit: int, cursor: str | None = None) -> tuple[list[AccessRecord], str | None]:
        if cursor is not None and not cursor.isdecimal():
            raise Invalid("not a cursor of ours", code="cursor.invalid")
        top = len(self.events) if cursor is None else int(cursor)
        bottom = max(0, top - limit)
        self.reads.append(limit)
        records = [self._at(seq) for seq in reversed(range(bottom, top))]
        return records, str(bottom) if bottom else None

    def _at(self, seq: int) -> AccessRecord:
        return AccessRecord("access-1", seq, "2026-03-01T12:00:00.000000Z", self.events[seq])


@dataclass
class FakeContents:
    bytes_of: dict[str, bytes] = field(default_factory=dict)
    broken: Exception | None = None

    def check(self, message: MessageRow) -> None:
        if self.broken is not None:
            raise self.broken

    def looks(self, capture: CaptureRow, rows: Sequence[EvidenceRow]) -> Sequence[EvidenceRow]:
        if self.broken is not None:
            raise self.broken
        return rows

    def raw(self, capture: CaptureRow) -> bytes:
        if self.broken is not None:
            raise self.broken
        return self.bytes_of[capture.id]


@dataclass
class FakeProofs:
    broken: Exception | None = None

    def proof(self, message: MessageRow) -> dict[str, Any]:
        if self.broken is not None:
            raise self.broken
        return {"message": message.id, "entries": []}

    def access_proof(self, log: str, seq: int) -> dict[str, Any]:
        if self.broken is not None:
            raise self.broken
        return {"log": log, "index": seq}


class FakeAccessFiles:
    def choose(self, wanted: Wanted) -> Chosen:
        return Chosen(wanted, {}, {})

    def lines(self, chosen: Chosen, name: str, by: str, at: str) -> Iterator[bytes]:
        yield b'{"entries":0}\n'


@dataclass
class FakeSources:
    sources: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "s-there", "name": "there"}])
    changes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def list(self) -> list[dict[str, Any]]:
        return self.sources

    def add(self, name: str, kind: SourceKind, intake: IntakeLock | None = None) -> dict[str, Any]:
        source = {"id": f"s{len(self.sources)}", "name": name, "kind": kind.value, "address": "x@in.example"}
        self.sources.append(source)
        return {"id": source["id"], "address": source["address"], "seq": len(self.sources)}

    def set(self, source_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        self.changes.append((source_id, dict(fields)))
        return {"id": source_id, "seq": 9}

    def rotate(self, source_id: str, overlap_seconds: int) -> dict[str, Any]:
        self.changes.append((source_id, {"overlap": overlap_seconds}))
        return {"id": source_id, "address": "y@in.example", "seq": 9}


class FakeIntegrity:
    def status(self) -> dict[str, Any]:
        return {"logs": [{"log": "acts", "size": 3}], "keys": []}

    def checkpoint(self, log: str) -> str:
        if log != "acts":
            raise NotFound("no such log")
        return "origin\n3\nroot=\n\n— origin sig\n"

    def tile(self, log: str, path: str) -> bytes:
        if (log, path) != ("acts", "0/000.p/3"):
            raise NotFound("no such tile")
        return b"\x00" * 96


def capture_row(message: str, number: int, seq: int) -> CaptureRow:
    part = Part(
        path="2",
        content_type="application/pdf",
        filename="devis.pdf",
        start=1,
        end=2,
        size=1234,
        sha256="ab" * 32,
        attachment=True,
    )
    parsed = Parsed(
        parser="1",
        dialect="exchange",
        flags=("journal_report",) if number else ("no_message_id",),
        inner_start=len(WRAPPER),
        inner_end=len(WRAPPER) + len(INNER),
        inner_digest="cd" * 32,
        label="confidentiel",
        parts=(replace_part(part, path="1", attachment=False), part),
    )
    return CaptureRow(
        id=f"{message}c{number}",
        log=f"{'a' * 20}/capture-1",
        seq=seq,
        order_seq=seq,
        object_key="o",
        lock_until=f"2026-04-0{number + 1}T00:00:00.000000Z",
        finding=Finding(
            capture=f"{message}c{number}",
            message=message,
            source="src1",
            received_at=f"2026-02-0{number + 1}T00:00:00.000000Z",
            parsed=parsed,
        ),
    )


def replace_part(part: Part, **changes: Any) -> Part:
    return part.model_copy(update=changes)


def message_row(name: str, rank: int) -> MessageRow:
    return MessageRow(
        id=name,
        rank=rank,
        version=rank,
        month="2026-02",
        sender="anne@ex.fr",
        subject=f"Contrat {name}",
        sent_at="2026-02-01T00:00:00.000000Z",
        recipients=(
            Recipient(address="bob@ex.fr", role=Role.TO, on_report=True),
            Recipient(address="carl@ex.fr", role=Role.BCC, on_report=True, expanded_from="all@ex.fr"),
        ),
        envelope_complete=True,
        captures=(capture_row(name, 0, rank), capture_row(name, 1, rank + 1)),
    )


@dataclass
class FakeAuthority:
    """Grants as a test gives them; what they bound is what ``bound`` says."""

    given: list[Grant] = field(default_factory=list)
    bound: Node = field(default_factory=Everything)
    always: bool = False
    required: frozenset[str] = frozenset()
    state: IncidentState = field(default_factory=IncidentState)
    left: set[str] = field(default_factory=set)

    def grants(self, subject: str) -> list[Grant]:
        return [grant for grant in self.given if grant.subject == subject]

    def incident(self) -> IncidentState:
        return self.state

    def scope(self, within: Sequence[Grant]) -> Node:
        assert within
        return self.bound

    def signed_out(self, session: str) -> bool:
        return session in self.left

    def sign_out(self, session: str, subject: str, ends: str) -> None:
        assert subject
        assert ends
        self.left.add(session)


class FakeSealed:
    def compartments(self, subject: str, now: str) -> list[dict[str, str]]:
        return [{"id": "b" * 20, "name": "alertes"}]

    def exclusions(self, addresses: bool) -> list[dict[str, Any]]:
        return [{"id": "x-there", "name": "médecin"} | ({"addresses": ["dr@ex.fr"]} if addresses else {})]

    def withdrawn(self) -> int:
        return 3


class FakeReviews:
    def extend(self, actor: Any, given: Mapping[str, Any], reason: str) -> dict[str, Any]:
        return {"captures": 1, "until": str(given["until"]), "seq": 7}


class FakeDispositions:
    def preview(self, given: Any) -> dict[str, Any]:
        return {"captures": 0, "classes": {}, "more": False, "samples": []}

    def all(self) -> list[dict[str, Any]]:
        return []

    def get(self, name: str) -> dict[str, Any]:
        gone = ("stopped_at", "unreadable_since", "deleted_at", "done_at")
        said = {"id": name, "state": "waiting", "classes": {}, "decided_at": "", "due": "", "approval": "p"}
        return said | dict.fromkeys(("captures", "schedule_version", "keys_gone"), 0) | dict.fromkeys(gone)

    def stop(self, name: str, by: str, reason: str) -> dict[str, Any]:
        return self.get(name)

    def certificate(self, name: str) -> dict[str, Any]:
        if name != "d1":
            raise NotFound("no such disposition", code="disposition.unknown")
        return disposition_certificate(name)


class FakeEliminations:
    """One list, ``list1``, of the first tenant."""

    def __init__(self, here: bool) -> None:
        self._here = here

    def draw(self, given: Any, by: str) -> dict[str, Any]:
        words = dict.fromkeys(("id", "sha256", "drawn_by", "drawn_at"), "")
        return words | {"count": 0, "classes": {}, "schedule_version": 1, "visa": None}

    def all(self) -> list[dict[str, Any]]:
        return []

    def get(self, elimination: str) -> dict[str, Any]:
        if elimination != "list1" or not self._here:
            raise NotFound("no such list", code="elimination.unknown")
        return self.draw({}, "")

    def visa(self, elimination: str, words: Any, by: str) -> dict[str, Any]:
        return self.get(elimination)


class FakeJournal:
    """One event, ``acts-7``, of the first tenant."""

    def __init__(self, here: bool) -> None:
        self._here = here

    def page(self, limit: int, cursor: str | None = None, **_: Any) -> dict[str, Any]:
        return {"events": [], "next": None}

    def certificate(self, event_id: str) -> dict[str, Any]:
        if event_id != "acts-7" or not self._here:
            raise NotFound("no such event", code="event.unknown")
        return event_certificate(event_id)


class FakeRecertifying:
    def all(self) -> list[Recertification]:
        return []

    def recertify(self, actor: Actor, *said: Any) -> Recertification:
        return Recertification("r1", ("g1",), (), "revue", actor.subject, rfc3339(NOW), 7)


class FakePack:
    def make(self, year: int) -> dict[str, Any]:
        return yearly_pack(year)


class FakeNotices:
    def open(self, actor: Actor, hold: Any, given: Any) -> dict[str, Any]:
        return self.view(hold)

    def view(self, hold: Any) -> dict[str, Any]:
        names = ("subject", "text", "remind_days", "escalate_days", "escalate_to")
        return {"hold": hold.id, "people": [], **dict.fromkeys(names)}

    def by_hand(self, actor: Actor, hold: Any, custodian: str, reason: str) -> dict[str, Any]:
        return self.view(hold)

    def by_link(self, hold: str, mac: str) -> None:
        return


class FakeOrders:
    """One order, ``o1``, of the first tenant."""

    def __init__(self, here: bool) -> None:
        self._here = here

    def attach(self, actor: Actor, document: Any) -> str:
        return "w1"

    def all(self) -> list[dict[str, Any]]:
        return []

    def get(self, order: str) -> dict[str, Any]:
        if order != "o1" or not self._here:
            raise NotFound("no such order", code="order.unknown")
        words = ("state", "issuer", "reference", "dated", "text", "placed_by", "placed_at", "approval")
        none = ("document", "ended_at", "ended_by", "end_approval")
        said = {"id": order, "kind": "keep", "covers": {}, "captures": 0, "contradicts": [], "progress": {}}
        return said | dict.fromkeys(words, "") | dict.fromkeys(none)

    def document(self, order: str) -> tuple[Document, bytes]:
        self.get(order)
        return Document("w1", 'or"dre.pdf', "text/html", 3, "", 0), b"%PD"

    def certificate(self, order: str) -> dict[str, Any]:
        self.get(order)
        return order_certificate(order)


class FakeSchedules:
    def versions(self) -> list[dict[str, Any]]:
        return []

    def templates(self) -> list[dict[str, Any]]:
        return []

    def dry_run(self, given: Any) -> dict[str, Any]:
        times = [f"{what}_{way}" for what in ("kept", "minimum") for way in ("longer", "shorter")]
        counts = ("captures", *times, "past_maximum", "by_hand", "undecided")
        return {"rules": [], "moves": [], "compared_with": None, **dict.fromkeys(counts, 0)}

    def asks_purpose(self, captures: Any) -> bool:
        return False

    def of(self, captures: Any) -> dict[str, Any]:
        return {"lock_until": max(capture.lock_until for capture in captures)}


class Lazily:
    """Makes what it stands for at its first use: most tests of the door use none of it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        made = self._make()
        self.__dict__.update(_made=made)
        return getattr(made, name)


def accepting(name: str) -> StrongAction:
    """A strong change that needs a real archive: here it is only asked for."""
    everybody = frozenset(RoleName)
    return StrongAction(name, everybody, everybody, lambda given, _: dict(given), lambda *_: {}, private=True)


class FakeTenant:
    """One tenant with ``count`` messages, its key, and its services as the API wants them."""

    def __init__(self, tenant: str, prefix: str, count: int) -> None:
        self.id, self.prefix = tenant, prefix
        self.key = ec.generate_private_key(ec.SECP256R1())
        rows = [message_row(f"{prefix}{number}", 10 * number) for number in range(1, count + 1)]
        self.catalog = FakeCatalog({row.id: row for row in rows})
        self.index = FakeIndex([Hit(row.id, row.rank, ("un <b>contrat</b>",)) for row in rows])
        self.contents = FakeContents({capture.id: RAW for row in rows for capture in row.captures})
        self.jobs, self.access_log, self.proofs = FakeJobs(), FakeAccessLog(), FakeProofs()
        self.sources, self.integrity = FakeSources(), FakeIntegrity()
        self.exports = Path("/nowhere")
        self.barred: set[str] = set()
        self.people = people(lambda: NOW)
        self.authority = FakeAuthority()
        self.parent: str | None = None

    @cached_property
    def acts(self) -> Acts:
        """Real acts, in memory."""
        return World().acts()

    @cached_property
    def accounts(self) -> Accounts:
        return Accounts(self.acts, lambda: NOW)

    @cached_property
    def cases(self) -> Cases:
        return Cases(self.acts, lambda: NOW)

    @cached_property
    def incidents(self) -> IncidentDesk:
        return IncidentDesk(self.acts, self.access_log, self.catalog, lambda: NOW)

    @cached_property
    def holds(self) -> HoldDesk:
        return HoldDesk(self.acts, self.catalog, self.index, lambda: NOW)

    @cached_property
    def four_eyes(self) -> FourEyes:
        actions = (
            erasure_action(self.acts, self.catalog),
            grant_action(self.acts, self.cases),
            break_glass_action(self.acts, self.cases, lambda: NOW),
            hold_release_action(self.acts, lambda: NOW),
            incident_close_action(self.acts, lambda: NOW),
            *(
                accepting(name)
                for name in (
                    *(
                        "compartment.make",
                        "exclusion.set",
                        "schedule.set",
                        "disposition.run",
                        "retention.relabel",
                    ),
                    *("order.place", "order.end"),
                )
            ),
        )
        return FourEyes(self.acts, actions, lambda: NOW)

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def services(self) -> TenantServices:
        return TenantServices(
            id=self.id,
            name=self.prefix,
            catalog=self.catalog,
            index=self.index,
            jobs=self.jobs,
            access_log=self.access_log,
            access_files=FakeAccessFiles(),
            contents=self.contents,
            proofs=self.proofs,
            access_proofs=self.proofs,
            sources=self.sources,
            custodians=self.people,
            integrity=self.integrity,
            acts_position=lambda: 4,
            barred=lambda captures: self.barred & set(captures),
            exports=self.exports,
            four_eyes=cast(FourEyes, Lazily(lambda: self.four_eyes)),
            cases=cast(Cases, Lazily(lambda: self.cases)),
            accounts=cast(Accounts, Lazily(lambda: self.accounts)),
            authority=self.authority,
            erasures=lambda: erasures_of(self.acts),
            holds=cast(HoldDesk, Lazily(lambda: self.holds)),
            sealed=FakeSealed(),
            incidents=cast(IncidentDesk, Lazily(lambda: self.incidents)),
            schedules=FakeSchedules(),
            dispositions=FakeDispositions(),
            reviews=FakeReviews(),
            orders=FakeOrders(self.prefix == "m"),
            eliminations=FakeEliminations(self.prefix == "m"),
            notices=FakeNotices(),
            recertifying=cast(Recertifying, FakeRecertifying()),
            yearly_pack=cast(YearlyPack, FakePack()),
            journal=cast(EventJournal, FakeJournal(self.prefix == "m")),
            parent=self.parent,
        )

    def token(self, role: RoleName | str, subject: str = "lea", ttl: timedelta = timedelta(hours=1)) -> str:
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return TokenIssuer(self.id, pem).issue(subject, RoleName(role), ttl, lambda: NOW)


class Archive:
    """Two tenants behind one app. ``started``: whether the answer to the running call has begun."""

    def __init__(self) -> None:
        self.one, self.two = FakeTenant("a" * 20, "m", 3), FakeTenant("b" * 20, "z", 2)
        self.tenants = {tenant.id: tenant for tenant in (self.one, self.two)}
        self.problems: list[str] = []
        self.started = False
        self.app = app_over(self.services())
        for tenant in self.tenants.values():
            tenant.access_log.answering = lambda: self.started

    def services(self, **changes: Any) -> ApiServices:
        services = ApiServices(
            tenants=lambda tenant: self.tenants[tenant].services() if tenant in self.tenants else None,
            bearers=Identity(TokenVerifier(lambda tenant: self._keys().get(tenant), clock=lambda: NOW)),
            ready=lambda: self.problems,
            clock=lambda: NOW,
            projection_wait=0.0,
        )
        return replace(services, **changes)

    def _keys(self) -> dict[str, bytes]:
        return {name: tenant.public_pem for name, tenant in self.tenants.items()}

    def call(
        self,
        method: str,
        path: str,
        role: str | None = None,
        *,
        tenant: FakeTenant | None = None,
        **options: Any,
    ) -> httpx.Response:
        """One request, as a user of that role of the first tenant unless another is given."""
        given = options.pop("headers", {})
        headers = list(given.items() if isinstance(given, dict) else given)
        if role is not None:
            headers.append(("Authorization", f"Bearer {(tenant or self.one).token(role)}"))
        return asyncio.run(self._call(method, path, headers, options))

    async def _call(
        self, method: str, path: str, headers: list[tuple[str, str]], options: dict[str, Any]
    ) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._watched, client=("192.0.2.7", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://archive") as client:
            return await client.request(method, path, headers=headers, **options)

    async def _watched(self, scope: Any, receive: Any, send: Any) -> None:
        self.started = False

        async def sending(message: Any) -> None:
            self.started = True
            await send(message)

        await self.app(scope, receive, sending)


WRITE_FAILED = StoreError("the log cannot be written")


def archive_with_export(folder: Path) -> Archive:
    """The archive whose first tenant has one finished export, ``done``."""
    archive = Archive()
    path = folder / "done.zip"
    path.write_bytes(b"PK-zip-bytes")
    job = Job(
        id="done",
        kind="export",
        actor="lea",
        request={"query": "secret*", "formats": ["bundle"], "purpose": "enquête"},
        state="done",
        done=2,
        total=2,
        result={"path": str(path), "messages": ["m1", "m2"]},
        created_at="2026-03-01T12:00:00.000000Z",
    )
    archive.one.jobs.add(job)
    archive.one.exports = folder
    return archive


def a_hold(name: str) -> dict[str, Any]:
    """The body of a hold that can be placed."""
    review = rfc3339(NOW + timedelta(days=90))
    body = {"name": name, "ground": "litige", "claim": "RG 26/01234", "owner": "zoe", "review": review}
    return body | {"query": "contrat"}


def with_cases(archive: Archive) -> dict[str, str]:
    """Fills the first tenant's acts with what the table's paths name; the ids by their names there."""
    tenant = archive.one
    asker = Actor("paul", RoleName.ADMIN, tenant.id)
    other = Actor("lea", RoleName.LEGAL, tenant.id)  # whose tokens the table's calls have
    matter = tenant.cases.set_matter(
        other.subject, {"name": "Affaire 1", "purpose": "enquête", "query": "contrat"}
    ).id
    desk = tenant.four_eyes
    asked = [
        desk.ask(asker, "grant.give", {"subject": "rita", "role": "reviewer"}, "why").id for _ in range(3)
    ]
    for each in asked[1:]:
        desk.decide(other, each, Verdict.APPROVED, "so")
    grant = desk.carry_out(asked[2])["grant"]
    ends = NOW + timedelta(days=9)
    account = tenant.accounts.make("paul", "robot", RoleName.AUDITOR, ["access_log"], ends)[0].id
    incident = tenant.incidents.open(asker, "vol d'un poste", None).id
    more = {"matter": matter, "account": account, "incident": incident}
    held = tenant.cases.set_matter(other.subject, {"name": "Affaire 9", "purpose": "litige"}).id
    more |= {"held": held, "hold": tenant.holds.place(other, held, a_hold("Contrats"))[0].id}
    return {"approval": asked[0], "approved": asked[1], "grant": grant, **more}


_CODE = re.compile(
    "|".join(each.replace(".", r"\.").replace("*", "[a-z_0-9]+") for each in LIST.read_text("utf-8").split())
)


def is_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document, after a look at its form."""
    document: dict[str, Any] = response.json()
    if response.request.url.path.startswith("/scim/"):  # RFC 7644 section 3.12 has a form of its own
        assert (response.status_code, document["status"]) == (status, str(status)), document
        assert response.headers["content-type"] == "application/scim+json"
        return document
    assert (response.status_code, document["code"]) == (status, code), document
    assert _CODE.fullmatch(code), f"{code} is not in the list of codes"
    assert response.headers["content-type"] == "application/problem+json"
    assert document["status"] == status
    assert document["type"] == f"urn:archive-service:problem:{code}"
    assert document["request_id"] == response.headers["x-request-id"]
    assert document["title"]
    return document


def search(archive: Archive, role: str = "legal", **body: Any) -> httpx.Response:
    """A search for everything unless the body says otherwise."""
    return archive.call("POST", "/v1/search", role, json={"query": "*"} | body)


CASE = {"compliance_officer", "legal"}
OVERSIGHT = CASE | {"dpo", "records_manager"}
WATCHERS = {"auditor", "dpo", "records_manager", "compliance_officer"}
WATCHFUL = {"admin", "compliance_officer", "dpo"}
INTEGRITY = {"auditor", "admin", "dpo", "records_manager"}
PUBLIC = {*map(str, RoleName), "nobody"}

KNOW_PEOPLE = CASE | {"dpo", "records_manager", "admin"}
CHANGE_PEOPLE = {"admin", "records_manager"}

# Every route, who may call it, and a call that works for those who may.
A_LINK = f"{'a' * 20}.h1.{'0' * 64}"

TABLE = {
    ("POST", "/v1/search"): (CASE, "/v1/search", {"query": "*"}),
    ("GET", "/v1/messages/{id}"): (CASE, "/v1/messages/m1", None),
    ("GET", "/v1/messages/{id}/raw"): (CASE, "/v1/messages/m1/raw", None),
    ("GET", "/v1/messages/{id}/proof"): (CASE, "/v1/messages/m1/proof", None),
    ("GET", "/v1/captures/{id}/raw"): (CASE, "/v1/captures/m1c0/raw", None),
    ("POST", "/v1/exports"): (CASE, "/v1/exports", {"query": "*", "formats": ["bundle"]}),
    ("GET", "/v1/exports/{id}"): (CASE, "/v1/exports/done", None),
    ("GET", "/v1/exports/{id}/download"): (CASE, "/v1/exports/done/download", None),
    ("GET", "/v1/yearly-pack"): (WATCHERS, "/v1/yearly-pack?year=2026", None),
    ("GET", "/v1/recertifications"): (OVERSIGHT | {"admin", "auditor"}, "/v1/recertifications", None),
    ("POST", "/v1/recertifications"): (
        {"admin", "compliance_officer"},
        "/v1/recertifications",
        {"confirmed": ["g1"], "note": "revue annuelle"},
    ),
    ("GET", "/v1/event-journal"): (WATCHERS, "/v1/event-journal", None),
    ("GET", "/v1/event-journal/{id}/certificate"): (WATCHERS, "/v1/event-journal/acts-7/certificate", None),
    ("GET", "/v1/access-log"): ({"auditor", "dpo"}, "/v1/access-log", None),
    ("GET", "/v1/access-log/export"): ({"auditor", "dpo"}, "/v1/access-log/export?actor=anne", None),
    ("GET", "/v1/access-log/{log}/{seq}/proof"): (
        {"auditor", "dpo"},
        "/v1/access-log/access-1/0/proof",
        None,
    ),
    ("GET", "/v1/integrity"): (INTEGRITY, "/v1/integrity", None),
    ("GET", "/v1/integrity/logs/{log}/checkpoint"): (
        INTEGRITY,
        "/v1/integrity/logs/acts/checkpoint",
        None,
    ),
    ("GET", "/v1/integrity/logs/{log}/tile/{path:path}"): (
        INTEGRITY,
        "/v1/integrity/logs/acts/tile/0/000.p/3",
        None,
    ),
    ("POST", "/v1/break-glass"): (
        set(map(str, RoleName)) - {"alert_officer", "external_auditor"},
        "/v1/break-glass",
        {"role": "legal", "minutes": 60, "reason": "nobody of them answers"},
    ),
    ("GET", "/v1/accounts"): ({"admin"}, "/v1/accounts", None),
    ("POST", "/v1/accounts"): (
        {"admin"},
        "/v1/accounts",
        {"name": "siem", "role": "auditor", "only": ["access_log"], "ends": "2026-06-01T00:00:00Z"},
    ),
    ("DELETE", "/v1/accounts/{id}"): ({"admin"}, "/v1/accounts/{account}", None),
    ("GET", "/v1/sources"): ({"admin"}, "/v1/sources", None),
    ("POST", "/v1/sources"): ({"admin"}, "/v1/sources", {"name": "Siège", "kind": "exchange"}),
    ("PATCH", "/v1/sources/{id}"): ({"admin"}, "/v1/sources/s-there", {"tls": True}),
    ("POST", "/v1/sources/{id}/rotations"): (
        {"admin"},
        "/v1/sources/s-there/rotations",
        {"overlap_seconds": 60},
    ),
    ("GET", "/v1/custodians"): (KNOW_PEOPLE, "/v1/custodians", None),
    ("POST", "/v1/custodians"): (CHANGE_PEOPLE, "/v1/custodians", {"name": "Zoé"}),
    ("POST", "/v1/custodians/import"): (CHANGE_PEOPLE, "/v1/custodians/import", b"id,address\n7,zoe@ex.fr\n"),
    ("GET", "/v1/custodians/{id}"): (KNOW_PEOPLE, "/v1/custodians/c-there", None),
    ("PUT", "/v1/custodians/{id}"): (
        CHANGE_PEOPLE,
        "/v1/custodians/c-there",
        {"name": "Anne", "version": 2},
    ),
    ("GET", "/scim/v2/ServiceProviderConfig"): (KNOW_PEOPLE, "/scim/v2/ServiceProviderConfig", None),
    ("GET", "/scim/v2/ResourceTypes"): (KNOW_PEOPLE, "/scim/v2/ResourceTypes", None),
    ("GET", "/scim/v2/ResourceTypes/{id}"): (KNOW_PEOPLE, "/scim/v2/ResourceTypes/User", None),
    ("GET", "/scim/v2/Schemas"): (KNOW_PEOPLE, "/scim/v2/Schemas", None),
    ("GET", "/scim/v2/Schemas/{id}"): (
        KNOW_PEOPLE,
        "/scim/v2/Schemas/urn:ietf:params:scim:schemas:core:2.0:User",
        None,
    ),
    ("GET", "/scim/v2/Users"): (KNOW_PEOPLE, "/scim/v2/Users", None),
    ("POST", "/scim/v2/Users"): (CHANGE_PEOPLE, "/scim/v2/Users", {"userName": "zoe@ex.fr"}),
    ("GET", "/scim/v2/Users/{id}"): (KNOW_PEOPLE, "/scim/v2/Users/c-scim", None),
    ("PUT", "/scim/v2/Users/{id}"): (CHANGE_PEOPLE, "/scim/v2/Users/c-scim", {"userName": "bob@ex.fr"}),
    ("PATCH", "/scim/v2/Users/{id}"): (
        CHANGE_PEOPLE,
        "/scim/v2/Users/c-scim",
        {"Operations": [{"op": "Replace", "path": "active", "value": "False"}]},
    ),
    ("DELETE", "/scim/v2/Users/{id}"): (CHANGE_PEOPLE, "/scim/v2/Users/c-scim", None),
    ("GET", "/scim/v2/Groups"): (KNOW_PEOPLE, "/scim/v2/Groups", None),
    ("POST", "/scim/v2/Groups"): (CHANGE_PEOPLE, "/scim/v2/Groups", {"displayName": "Ventes"}),
    ("GET", "/scim/v2/Groups/{id}"): (KNOW_PEOPLE, "/scim/v2/Groups/g-scim", None),
    ("PUT", "/scim/v2/Groups/{id}"): (CHANGE_PEOPLE, "/scim/v2/Groups/g-scim", {"displayName": "Ventes"}),
    ("PATCH", "/scim/v2/Groups/{id}"): (
        CHANGE_PEOPLE,
        "/scim/v2/Groups/g-scim",
        {"Operations": [{"op": "Add", "path": "members", "value": [{"value": "c-scim"}]}]},
    ),
    ("DELETE", "/scim/v2/Groups/{id}"): (CHANGE_PEOPLE, "/scim/v2/Groups/g-scim", None),
    ("GET", "/v1/jobs"): (CASE | {"admin"}, "/v1/jobs", None),
    ("GET", "/v1/jobs/{id}"): (CASE | {"admin"}, "/v1/jobs/done", None),
    ("POST", "/v1/approvals"): (
        OVERSIGHT - {"legal", "dpo", "records_manager"} | {"admin"},
        "/v1/approvals",
        {"action": "grant.give", "request": {"subject": "rita", "role": "reviewer"}, "reason": "why"},
    ),
    ("GET", "/v1/approvals"): (OVERSIGHT | {"admin", "auditor"}, "/v1/approvals", None),
    ("GET", "/v1/approvals/{id}"): (OVERSIGHT | {"admin", "auditor"}, "/v1/approvals/{approval}", None),
    ("POST", "/v1/approvals/{id}/approve"): (
        CASE | {"dpo"},
        "/v1/approvals/{approval}/approve",
        {"reason": "so"},
    ),
    ("POST", "/v1/approvals/{id}/refuse"): (
        CASE | {"dpo"},
        "/v1/approvals/{approval}/refuse",
        {"reason": "no"},
    ),
    ("POST", "/v1/approvals/{id}/execute"): (
        OVERSIGHT | {"admin"},
        "/v1/approvals/{approved}/execute",
        {},
    ),
    ("POST", "/v1/grants"): (
        {"admin", "compliance_officer"},
        "/v1/grants",
        {"subject": "rita", "role": "reviewer", "reason": "why"},
    ),
    ("GET", "/v1/grants"): (OVERSIGHT | {"admin", "auditor"}, "/v1/grants", None),
    ("POST", "/v1/grants/{id}/revoke"): (
        {"admin", "compliance_officer"},
        "/v1/grants/{grant}/revoke",
        {"reason": "over"},
    ),
    ("GET", "/v1/policy/why"): (PUBLIC - {"nobody"}, "/v1/policy/why?right=search", None),
    ("POST", "/v1/matters"): (CASE, "/v1/matters", {"name": "Affaire 2", "purpose": "enquête"}),
    ("GET", "/v1/matters"): (OVERSIGHT | {"auditor"}, "/v1/matters", None),
    ("GET", "/v1/matters/{id}"): (OVERSIGHT | {"auditor"}, "/v1/matters/{matter}", None),
    ("PUT", "/v1/matters/{id}"): (CASE, "/v1/matters/{matter}", {"name": "Affaire 3", "purpose": "enquête"}),
    ("POST", "/v1/matters/{id}/close"): (CASE, "/v1/matters/{matter}/close", {}),
    ("POST", "/v1/matters/{id}/holds"): (CASE, "/v1/matters/{held}/holds", a_hold("Paie")),
    ("GET", "/v1/matters/{id}/holds"): (OVERSIGHT | {"auditor"}, "/v1/matters/{held}/holds", None),
    ("GET", "/v1/matters/{id}/holds/{hold}"): (
        OVERSIGHT | {"auditor"},
        "/v1/matters/{held}/holds/{hold}",
        None,
    ),
    ("POST", "/v1/matters/{id}/holds/{hold}/review"): (
        CASE,
        "/v1/matters/{held}/holds/{hold}/review",
        {"review": a_hold("")["review"], "note": "toujours utile"},
    ),
    ("POST", "/v1/matters/{id}/holds/{hold}/release"): (
        CASE,
        "/v1/matters/{held}/holds/{hold}/release",
        {"reason": "fini"},
    ),
    ("GET", "/v1/matters/{id}/holds/{hold}/notices"): (
        OVERSIGHT | {"auditor"},
        "/v1/matters/{held}/holds/{hold}/notices",
        None,
    ),
    ("POST", "/v1/matters/{id}/holds/{hold}/notices"): (
        CASE,
        "/v1/matters/{held}/holds/{hold}/notices",
        {"subject": "{hold}", "text": "Ne supprimez rien.", "escalate_to": "zoe@ex.fr"},
    ),
    ("POST", "/v1/matters/{id}/holds/{hold}/notices/acknowledge"): (
        CASE,
        "/v1/matters/{held}/holds/{hold}/notices/acknowledge",
        {"custodian": "c1", "reason": "par téléphone"},
    ),
    ("GET", "/v1/acknowledgements/{link}"): (PUBLIC, f"/v1/acknowledgements/{A_LINK}", None),
    ("POST", "/v1/acknowledgements/{link}"): (PUBLIC, f"/v1/acknowledgements/{A_LINK}", None),
    ("POST", "/v1/incidents"): (WATCHFUL, "/v1/incidents", {"reason": "vol d'un poste"}),
    ("GET", "/v1/incidents"): (WATCHFUL, "/v1/incidents", None),
    ("GET", "/v1/incidents/{id}/report"): (WATCHFUL, "/v1/incidents/{incident}/report", None),
    ("POST", "/v1/incidents/{id}/close"): (WATCHFUL, "/v1/incidents/{incident}/close", {"reason": "fini"}),
    ("POST", "/v1/compartments"): (
        {"admin", "compliance_officer", "dpo"},
        "/v1/compartments",
        {
            "name": "alertes",
            "officers": [{"subject": who, "role": "alert_officer"} for who in ("rita", "max")],
            "reason": "Sapin II",
        },
    ),
    ("GET", "/v1/compartments"): (PUBLIC - {"nobody"}, "/v1/compartments", None),
    ("POST", "/v1/exclusions"): (
        {"admin", "compliance_officer", "dpo"},
        "/v1/exclusions",
        {
            "name": "médecin",
            "basis": "Code du travail L4624-8",
            "addresses": ["dr@ex.fr"],
            "domains": ["ex.fr"],
            "compartment": "k-there",
            "reason": "convention",
        },
    ),
    ("GET", "/v1/exclusions"): ({"admin", "compliance_officer", "dpo"}, "/v1/exclusions", None),
    ("POST", "/v1/erasures"): (
        OVERSIGHT,
        "/v1/erasures",
        {"messages": ["m1"], "ground": "request", "basis": "RGPD 17", "reason": "why"},
    ),
    ("GET", "/v1/erasures"): (OVERSIGHT | {"auditor"}, "/v1/erasures", None),
    ("GET", "/v1/schedules"): (OVERSIGHT | {"auditor"}, "/v1/schedules", None),
    ("POST", "/v1/schedules"): (OVERSIGHT, "/v1/schedules", {"schedule": {}, "reason": "why"}),
    ("POST", "/v1/schedules/dry-run"): (OVERSIGHT | {"auditor"}, "/v1/schedules/dry-run", {"schedule": {}}),
    ("GET", "/v1/dispositions"): (OVERSIGHT | {"auditor"}, "/v1/dispositions", None),
    ("POST", "/v1/dispositions"): (OVERSIGHT, "/v1/dispositions", {"reason": "why"}),
    ("POST", "/v1/dispositions/extend"): (
        OVERSIGHT,
        "/v1/dispositions/extend",
        {"captures": ["m1c0"], "until": "2027-01-01T00:00:00Z", "reason": "why"},
    ),
    ("POST", "/v1/dispositions/relabel"): (
        OVERSIGHT,
        "/v1/dispositions/relabel",
        {"captures": ["m1c0"], "class": "law", "reason": "why"},
    ),
    ("POST", "/v1/dispositions/preview"): (OVERSIGHT | {"auditor"}, "/v1/dispositions/preview", {}),
    ("GET", "/v1/dispositions/{id}"): (OVERSIGHT | {"auditor"}, "/v1/dispositions/d1", None),
    ("POST", "/v1/dispositions/{id}/stop"): (OVERSIGHT, "/v1/dispositions/d1/stop", {"reason": "why"}),
    ("GET", "/v1/dispositions/{id}/certificate"): (
        OVERSIGHT | {"auditor"},
        "/v1/dispositions/d1/certificate",
        None,
    ),
    ("GET", "/v1/eliminations"): (OVERSIGHT | {"auditor"}, "/v1/eliminations", None),
    ("POST", "/v1/eliminations"): (OVERSIGHT, "/v1/eliminations", {}),
    ("GET", "/v1/eliminations/{id}"): (OVERSIGHT | {"auditor"}, "/v1/eliminations/list1", None),
    ("POST", "/v1/eliminations/{id}/visa"): (
        OVERSIGHT,
        "/v1/eliminations/list1/visa",
        {
            "reference": "AD75 2026-7",
            "issuer": "Archives de Paris",
            "dated": "2026-01-05",
            "sha256": "0" * 64,
        },
    ),
    ("GET", "/v1/orders"): (OVERSIGHT | {"auditor"}, "/v1/orders", None),
    ("POST", "/v1/orders"): (
        CASE | {"dpo"},
        "/v1/orders",
        {
            "kind": "keep",
            "issuer": "Tribunal judiciaire de Paris",
            "reference": "RG 26/01234",
            "dated": "2026-01-05",
            "text": "Conserver les échanges",
            "query": "contrat",
            "document": {"name": "ordonnance.pdf", "type": "application/pdf", "content": "JVBERg=="},
            "reason": "signifiée ce jour",
        },
    ),
    ("GET", "/v1/orders/{id}"): (OVERSIGHT | {"auditor"}, "/v1/orders/o1", None),
    ("GET", "/v1/orders/{id}/document"): (OVERSIGHT | {"auditor"}, "/v1/orders/o1/document", None),
    ("GET", "/v1/orders/{id}/certificate"): (OVERSIGHT | {"auditor"}, "/v1/orders/o1/certificate", None),
    ("POST", "/v1/orders/{id}/end"): (CASE | {"dpo"}, "/v1/orders/o1/end", {"reason": "mainlevée"}),
    ("GET", "/health/live"): (PUBLIC, "/health/live", None),
    ("GET", "/health/ready"): (PUBLIC, "/health/ready", None),
    ("GET", "/metrics"): (PUBLIC, "/metrics", None),
    ("GET", "/openapi.json"): (PUBLIC, "/openapi.json", None),
}

OF_BROWSERS = {
    ("GET", "/v1/auth/login"),
    ("GET", "/v1/auth/callback"),
    ("POST", "/v1/auth/logout"),
    ("GET", "/v1/auth/me"),
}
"""Public, and of no use without an identity provider: tests/flow/test_sign_in.py has one."""

# The only routes with a token whose answers may leave without an access entry: they show no mail.
UNTRACED = {
    "/scim/v2/ResourceTypes",
    "/scim/v2/ResourceTypes/{id}",
    "/scim/v2/Schemas",
    "/scim/v2/Schemas/{id}",
    "/scim/v2/ServiceProviderConfig",
    "/v1/exports/{id}",
    "/v1/integrity",
    "/v1/integrity/logs/{log}/checkpoint",
    "/v1/integrity/logs/{log}/tile/{path:path}",
    "/v1/jobs",
    "/v1/jobs/{id}",
}

TRACED = [key for key, (roles, _, _) in TABLE.items() if roles is not PUBLIC and key[1] not in UNTRACED]
