"""The acts log as a state: who the owner is, which sources it has. All append; all validate at the head."""

import secrets
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from archive_service.ledger import source_acts
from archive_service.ledger.accounts import ServiceAccounts
from archive_service.ledger.appender import LedgerPolicy, SharedAppender
from archive_service.ledger.approvals import Approvals
from archive_service.ledger.custodians import Custodians
from archive_service.ledger.dispositions import Dispositions
from archive_service.ledger.eliminations import Eliminations
from archive_service.ledger.entry import Entry
from archive_service.ledger.erasures import Erasures
from archive_service.ledger.exclusions import Exclusions
from archive_service.ledger.grants import Grants
from archive_service.ledger.holds import Holds
from archive_service.ledger.incidents import Incidents
from archive_service.ledger.matters import Matters
from archive_service.ledger.notices import Notices
from archive_service.ledger.orders import Orders
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import LogReader, Place
from archive_service.ledger.recertifications import Recertifications
from archive_service.ledger.reviews import Reviews
from archive_service.ledger.schedules import Schedules
from archive_service.ledger.sessions import Sessions
from archive_service.ledger.strays import Strays
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Invalid, Refused, Tampered
from archive_service.model.mail import Source
from archive_service.vault.key_layout import LogId

_WITHDRAWN_PAD = 2048  # bytes: what was withdrawn, and why, is not told by the size of its act


class ActState(Protocol):
    """What the acts of one family make: a state of its own, a file each. Written by ``Acts`` under its lock; a look
    from elsewhere is one dictionary read."""

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of this family. Raises KeyError, TypeError or ValueError for a malformed one."""
        ...


class Acts:
    """One owner's acts, replayed to as far as ``refresh`` has read. Thread-safe."""

    def __init__(self, vault: PayloadVault, owner: str, policy: LedgerPolicy | None = None) -> None:
        self.log = LogId(owner, "acts")
        self._vault = vault
        self._lock = threading.RLock()
        self._reader = LogReader(vault.store, self.log)
        self._appender = SharedAppender(vault.store, self.log, vault.clock, policy)
        self.name = ""
        self.kind = ""
        self.parent: str | None = None
        """Of a compartment: the owner id of its tenant."""
        self.above: Acts | None = None
        """Of a compartment: its tenant's acts, read with every ``refresh``; see ``stand_under``."""
        self.asked: str | None = None
        """Of a compartment: the approval that it was made under."""
        self._sources: dict[str, Source] = {}
        self._by_address: dict[str, Source] = {}
        self._bates: dict[str, int] = {}
        self.accounts = ServiceAccounts()
        self.approvals = Approvals()
        self.custodians = Custodians()
        self.holds = Holds()
        self.dispositions = Dispositions()
        self.eliminations = Eliminations()
        self.erasures = Erasures(self.holds)
        self.exclusions = Exclusions()
        self.grants = Grants()
        self.incidents = Incidents()
        self.matters = Matters()
        self.notices = Notices()
        self.orders = Orders()
        self.recertifications = Recertifications()
        self.reviews = Reviews()
        self.schedules = Schedules()
        self.sessions = Sessions()
        self.strays = Strays()
        self._states: tuple[ActState, ...] = (
            self.approvals,  # first: acts of every family may carry an approval out
            self.accounts,
            self.custodians,
            self.dispositions,
            self.eliminations,
            self.erasures,
            self.exclusions,
            self.grants,
            self.holds,
            self.incidents,
            self.matters,
            self.notices,
            self.orders,
            self.recertifications,
            self.reviews,
            self.schedules,
            self.sessions,
            self.strays,
        )
        self.moved = False
        """Whether the archive has moved to another store: nothing more is archived or decided in this one."""

    @property
    def vault(self) -> PayloadVault:
        """What opens and seals what stands in the owner's logs."""
        return self._vault

    @property
    def seen(self) -> int:
        """How many acts have been read."""
        return self._reader.place.seq

    def refresh(self) -> int:
        """Read to the head; returns ``seen``. Raises ArchiveError: then nothing may be refused by it."""
        if self.above is not None:
            self.above.refresh()
        with self._lock:
            while self._reader.hand_on(self._take) is not None:
                pass  # a batch that cannot be taken now comes again: no act is ever skipped
            return self.seen

    def stand_under(self, tenant: "Acts") -> None:
        """Have the tenant's incidents count here too: what is stopped there is stopped in its compartments."""
        self.above, self.incidents.above = tenant, tenant.incidents

    def sources(self) -> list[Source]:
        """All sources, in the order of their acts."""
        with self._lock:
            return list(self._sources.values())

    def source_at(self, address: str) -> Source | None:
        """The source with this secret address, among the acts read so far; a former one counts until its overlap is
        over, by the archive's clock. Never waits for a store."""
        wanted = address.lower()
        source = self._by_address.get(wanted)
        if source is None or not source.answers(wanted, rfc3339(self._vault.clock())):
            return None
        return source

    def source(self, source_id: str) -> Source | None:
        """The source with this id, among the acts read so far. Never waits for a store."""
        return self._sources.get(source_id)

    def barred(self, captures: Iterable[str]) -> set[str]:
        """Those that no read may show any more, by the acts at their head. Raises ArchiveError: then show nothing."""
        self.refresh()
        return {capture for capture in captures if self.erasures.barred(capture)}

    def reserve_bates(self, prefix: str, count: int, export: str) -> int:
        """The first of ``count`` Bates numbers under a prefix that nobody had before, nor will again. Durable on
        return, before a page is printed with them. Raises Invalid unless ``count`` is positive."""
        if count < 1:
            raise Invalid("Bates numbers are reserved one at least")
        taken: list[int] = []

        def act(_: Place) -> dict[str, Any]:
            taken[:] = [self._bates.get(prefix, 0) + 1]
            fields = {"prefix": prefix, "first": taken[0], "count": count, "export": export}
            return {"version": 1, "act": "bates.reserve", **fields}

        self.append(act)
        return taken[0]

    def append(self, act: Callable[[Place], dict[str, Any]]) -> int:
        """Append the act that ``act`` makes of the state at the head (it raises to refuse); its seq, durable."""
        with self._lock:
            made = self._appender.append(self._reader, self._take, lambda place: [self._draft(act, place)])
            return made[0].seq

    def close_below(self, generation: int) -> None:
        """Append a claim that names a key generation: from here on no act stands under an older one. Durable."""
        claim = ("claim", {"writer": secrets.token_hex(8), "generation": generation})
        with self._lock:
            self._appender.append(self._reader, self._take, lambda place: [claim])

    def require_here(self) -> None:
        """Raises Refused (``archive.moved``) when the acts read so far say that the archive has moved."""
        if self.moved:
            raise Refused("the archive has moved to another store", code="archive.moved")

    def _draft(self, act: Callable[[Place], dict[str, Any]], place: Place) -> tuple[str, dict[str, Any]]:
        made = act(place)
        if made["act"] != "archive.arrived":
            self.require_here()
        pad = _WITHDRAWN_PAD if made["act"] == "capture.withdraw" else 1
        (payload,) = self._vault.seal_many(self.log, [made], floor=place.generation, pad=pad)
        return "act", {"payload": payload, "acts_seen": place.seq}

    def _take(self, batch: list[Entry]) -> None:
        for entry in batch:
            if entry.type == "act":
                self._apply(self.open(entry), entry.seq)
            elif entry.type != "claim":
                raise Tampered(f"the acts log holds an entry of type {entry.type}")

    def open(self, entry: Entry) -> dict[str, Any]:
        """An act's payload. Raises Tampered."""
        return self._vault.open(self.log, entry.fields.get("payload"))

    def _apply(self, act: dict[str, Any], seq: int) -> None:
        try:
            taken = [state.take(act, seq) for state in self._states]
            if not any(taken) and not self._take_own(act):
                raise Invalid("an act of a kind that this version does not know")
        except (KeyError, TypeError, ValueError) as error:
            raise Tampered("an act that does not follow its format") from error

    def _take_own(self, act: dict[str, Any]) -> bool:
        word = act["act"]
        if word == "owner.create":
            self.kind, self.name = str(act["kind"]), str(act["name"])
            self.parent = None if act.get("parent") is None else str(act["parent"])
            self.asked = None if act.get("asked") is None else str(act["asked"])
        elif word == "source.add":
            self._keep(Source.model_validate(act["source"]))
        elif (changed := source_acts.changed(act, self._sources)) is not None:
            self._keep(changed)
        elif word == "bates.reserve":
            self._bates[str(act["prefix"])] = int(act["first"]) + int(act["count"]) - 1
        elif word in {"archive.moved", "archive.arrived"}:
            self.moved = word == "archive.moved"
        else:
            return False
        return True

    def _keep(self, source: Source) -> None:
        before = self._sources.get(source.id)
        if before is not None and before.undeliverable not in (None, source.undeliverable):
            self._by_address.pop(str(before.undeliverable), None)
        self._sources[source.id] = source
        former = (each.address for each in source.former)
        for address in (source.address, source.undeliverable, *former):
            if address is not None:
                self._by_address[address] = source
