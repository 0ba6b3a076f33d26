"""Looks at captures after their ``250``, beside the follower, and hands it what was seen, to be appended to
the order.

Nothing waits for a look. What is to be looked at is asked of the catalog, which has it from the order log:
the desk remembers only what is on its way, and may be thrown away at any moment. Each kind of look has
threads of its own, so that a scanner that is away holds up no question to the DNS, and the follower is held
up by neither.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from archive_service.catalog.base import CaptureRow, Catalog
from archive_service.catalog.looks import Looker, Subject
from archive_service.catalog.vouching import entry_of
from archive_service.ledger.acts import Acts
from archive_service.ledger.appender import Draft
from archive_service.ledger.evidence import evidence_draft
from archive_service.ledger.payloads import PayloadVault, open_capture
from archive_service.model.errors import ArchiveError, LookerAway, Tampered
from archive_service.model.evidence import Evidence, Look
from archive_service.model.mail import CaptureRecord
from archive_service.vault.key_layout import LogId

_log = logging.getLogger(__name__)
_WAITING = 8  # captures a thread that wait in memory, as rows
_MOST_DRAFTS = 100  # entries in one batch: a large one would hold up mail's findings
_ASK_AGAIN = 1.0  # seconds between two looks at a catalog in which nothing was due
_SHUN = 300.0  # seconds for which a capture that could not be looked at is left alone
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_LARGE = 16 << 20  # bytes of a sealed capture
_CLOSE_SECONDS = 5.0
_SEEN = frozenset({"done", "found"})

Count = Callable[[Look, str], None]
"""Told of each look, and how it ended: ``done``, ``found``, ``barred``, or the code of what hindered it."""


def ignore(look: Look, outcome: str) -> None:
    """A ``Count`` that nobody reads."""
    del look, outcome


@dataclass
class _Lane:
    """One looker's work. ``taken``: captures on their way, from the queue to the catalog. ``shunned``: until
    when, by ``monotonic``, a capture is left alone that could not be opened."""

    looker: Looker
    waiting: "queue.Queue[CaptureRow]"
    taken: set[str] = field(default_factory=set)
    shunned: dict[str, float] = field(default_factory=dict)
    ask_at: float = 0.0
    pause_until: float = 0.0
    pause: float = _FIRST_PAUSE
    newest: bool = False


class EvidenceDesk:
    """One tenant's looks. ``feed``, ``finished``, ``noted`` and ``dropped`` are the follower's thread's."""

    def __init__(
        self,
        vault: PayloadVault,
        acts: Acts,
        catalog: Catalog,
        lookers: Sequence[Looker],
        *,
        threads: int = 1,
        count: Count = ignore,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vault = vault
        self._acts = acts
        self._order = LogId(acts.log.owner, "order-1")
        self._catalog = catalog
        self._lanes = [_Lane(looker, queue.Queue(_WAITING * threads)) for looker in lookers]
        self._threads = threads
        self._count = count
        self._monotonic = monotonic
        self._done: queue.SimpleQueue[tuple[_Lane, str, Draft]] = queue.SimpleQueue()
        self._appending: list[tuple[_Lane, str]] = []
        self._lock = threading.Lock()
        self._large = threading.Lock()
        self._stop = threading.Event()
        self._running: list[threading.Thread] = []

    # --- the follower's side --------------------------------------------------------------------------

    def feed(self) -> None:
        """Have what is due looked at, as far as there is room; starts the threads. Raises StoreError."""
        now = self._vault.clock().timestamp()
        for lane in self._lanes:
            if self._monotonic() >= max(lane.ask_at, lane.pause_until):
                self._feed(lane, int(now))
        if not self._running:
            self._start()

    def _feed(self, lane: _Lane, now: int) -> None:
        """Oldest and newest by turns: a backlog must not have young mail wait until its keys have rotated."""
        room = lane.waiting.maxsize - lane.waiting.qsize()
        if room <= lane.waiting.maxsize // 2:
            return
        with self._lock:
            lane.shunned = {name: until for name, until in lane.shunned.items() if until > self._monotonic()}
            passed_by = lane.taken | lane.shunned.keys()
        lane.newest = not lane.newest
        rows = self._catalog.due(lane.looker.look, now, room + len(passed_by), newest=lane.newest)
        fresh = [row for row in rows if row.id not in passed_by][:room]
        with self._lock:
            lane.taken.update(row.id for row in fresh)
        for row in fresh:
            lane.waiting.put_nowait(row)
        if not fresh:
            lane.ask_at = self._monotonic() + _ASK_AGAIN

    def finished(self) -> list[Draft]:
        """What was seen since, as entries for the order log: to be appended, and then ``noted``, or
        ``dropped``."""
        drafts: list[Draft] = []
        while len(drafts) < _MOST_DRAFTS:
            try:
                lane, capture, draft = self._done.get_nowait()
            except queue.Empty:
                break
            self._appending.append((lane, capture))
            drafts.append(draft)
        return drafts

    def noted(self) -> None:
        """What ``finished`` gave stands in the order log and in the catalog."""
        self._release()

    def dropped(self) -> None:
        """What ``finished`` gave may or may not stand in the order log: the catalog will tell."""
        self._release()

    def _release(self) -> None:
        with self._lock:
            for lane, capture in self._appending:
                lane.taken.discard(capture)
        self._appending = []

    def close(self) -> None:
        """Stop looking; what was seen and not handed over is looked at again. A look that hangs is left
        behind."""
        self._stop.set()
        deadline = self._monotonic() + _CLOSE_SECONDS
        for thread in self._running:
            thread.join(max(0.0, deadline - self._monotonic()))

    # --- the threads ----------------------------------------------------------------------------------

    def _start(self) -> None:
        for lane in self._lanes:
            for number in range(self._threads):
                name = f"{lane.looker.look.value}-{number}"
                thread = threading.Thread(target=self._work, args=(lane,), name=name, daemon=True)
                self._running.append(thread)
                thread.start()

    def _work(self, lane: _Lane) -> None:
        while not self._stop.is_set():
            pause = lane.pause_until - self._monotonic()
            if pause > 0:
                self._stop.wait(min(pause, 1.0))
                continue
            try:
                row = lane.waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            self._one(lane, row)

    def _one(self, lane: _Lane, row: CaptureRow) -> None:
        """Look at one capture. Unless something was seen of it, it is on its way no longer."""
        look = lane.looker.look
        try:
            outcome = self._looked(lane, row)
        except LookerAway as error:
            outcome = error.code
            self._away(lane, error)
        except ArchiveError as error:
            # It cannot be opened, or not now: what is damaged is named elsewhere, and what was away comes back.
            _log.warning("%s cannot be looked for in a capture: %s", look.value, error.code)
            outcome = error.code
            self._shun(lane, row)
        except Exception as error:  # noqa: BLE001 - a look must not end the looking; the mail is safe
            _log.error("looking for %s failed: %s", look.value, type(error).__name__)
            outcome = "internal"
            self._shun(lane, row)
        if outcome not in _SEEN:
            with self._lock:
                lane.taken.discard(row.id)
        self._count(look, outcome)

    def _looked(self, lane: _Lane, row: CaptureRow) -> str:
        """How it ended. Raises as ``_seen``."""
        if self._acts.barred([row.id]):
            return "barred"
        draft, evidence = self._seen(lane, row)
        self._done.put((lane, row.id, draft))
        with self._lock:
            lane.pause = _FIRST_PAUSE
        return "found" if evidence.mark is not None else "done"

    def _shun(self, lane: _Lane, row: CaptureRow) -> None:
        with self._lock:
            lane.shunned[row.id] = self._monotonic() + _SHUN

    def _away(self, lane: _Lane, error: LookerAway) -> None:
        """Ask again later, and less and less often; captures keep waiting in the catalog."""
        _log.warning("looking for %s pauses: %s", lane.looker.look.value, error.code)
        with self._lock:
            lane.pause_until = self._monotonic() + lane.pause
            lane.pause = min(2 * lane.pause, _LONGEST_PAUSE)

    def _seen(self, lane: _Lane, row: CaptureRow) -> tuple[Draft, Evidence]:
        """What is to be seen of a capture, as an entry. Raises LookerAway, ArchiveError."""
        log, look = LogId.parse(row.log), lane.looker.look
        entry = entry_of(self._vault.store, row)
        size = entry.fields.get("object", {}).get("size", 0)
        with self._large if size > _LARGE else nullcontext():
            opened = open_capture(self._vault.store, self._vault.keyring, log, entry.fields)
            try:
                record = CaptureRecord.model_validate_json(opened.record)
            except ValueError as error:
                raise Tampered("a capture record does not follow its format") from error
            before = self._catalog.evidence([row.id]).get(row.id, [])
            attempt = 1 + sum(known.evidence.look is look for known in before)
            evidence = lane.looker.at(Subject(row, record, opened.raw, attempt))
        key = self._vault.keyring.object_key(log, row.id)
        return evidence_draft(self._vault, self._order, (log, row.seq), key, evidence), evidence
