"""One owner whole: its logs walked, everything they name and everything beside it copied, several objects at once."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from archive_service.ledger.moves import Move, move_log, object_facts, record, recorded
from archive_service.ledger.reader import LogReader, logs
from archive_service.ledger.slots import Slots
from archive_service.model.errors import Invalid, KeyUnavailable, NotFound, Refused, StoreError, Tampered
from archive_service.relocation.copying import Copied, Copier, Digest
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore, Stored

_AHEAD = 4  # objects waiting, a thread


@dataclass
class Outcome:
    """What a pass did. ``problems``: (object or log, why) of what is not as its entry says and was not copied; newer
    versions over an object are named too, and left behind."""

    copied: int = 0
    standing: int = 0
    bytes: int = 0
    records: int = 0
    moves: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    let_go: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "problems": [{"name": name, "detail": why} for name, why in self.problems]}


_Work = tuple[str, Digest | None]


class OwnerCopy:
    """Copies an owner's objects and ledger. What one run has done it does not look at again. Not thread-safe."""

    def __init__(
        self,
        source: ObjectStore,
        target: ObjectStore,
        copier: Copier,
        outcome: Outcome,
        *,
        jobs: int,
        progress: Callable[[int], None] = lambda done: None,
        let_go: Callable[[str], bool] = lambda capture: False,
    ) -> None:
        """``let_go``: whether a disposition may have deleted a capture's object."""
        self._source = source
        self._target = target
        self._copier = copier
        self._outcome = outcome
        self._jobs = jobs
        self._progress = progress
        self._let_go = let_go
        self._done: set[str] = set()
        self._moved: dict[str, list[Move]] = {}

    def run(self, owner: str) -> None:
        """Copy what is not done. Raises Refused (``relocate.diverged``), StoreError: the next run goes on."""
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="relocate") as pool:
            waiting: deque[tuple[str, Digest | None, Future[Copied]]] = deque()
            try:
                for key, expected in self._work(owner):
                    waiting.append((key, expected, pool.submit(self._copier.copy, key, expected)))
                    if len(waiting) >= self._jobs * _AHEAD:
                        self._settle(owner, *waiting.popleft())
                while waiting:
                    self._settle(owner, *waiting.popleft())
            finally:
                for _, _, future in waiting:
                    future.cancel()

    def _settle(self, owner: str, key: str, expected: Digest | None, future: "Future[Copied]") -> None:
        outcome = self._outcome
        try:
            done = future.result()
        except Tampered as error:
            if error.code == "integrity.missing" and self._let_go(key.rpartition("/")[2]):
                outcome.let_go.append(key)
            else:
                self._problem(key, str(error))
            return
        self._done.add(key)
        outcome.copied += done.fresh
        outcome.standing += not done.fresh
        outcome.bytes += done.digest.size if done.fresh else 0
        if expected is not None:
            self._moved.setdefault(owner, []).append(Move(key, done.source, done.target, done.digest.sha256))
        self._progress(outcome.copied + outcome.standing)

    def _problem(self, name: str, why: str) -> None:
        if (name, why) not in self._outcome.problems:
            self._outcome.problems.append((name, why))

    # --- what there is to copy ------------------------------------------------------------------------

    def _work(self, owner: str) -> Iterator[_Work]:
        known: set[str] = set()
        for log in logs(self._source, owner):
            known.add(str(log))
            yield from self._fresh(self._log(log))
        yield from self._fresh(self._stray_objects(owner, known))

    def _fresh(self, work: Iterator[_Work]) -> Iterator[_Work]:
        return ((key, expected) for key, expected in work if key not in self._done)

    def _log(self, log: LogId) -> Iterator[_Work]:
        """What a log's entries name, what no entry names, and the ledger of the log itself. After an entry that does
        not chain nothing is known of the objects behind it: they are not copied as if it were."""
        named: set[str] = set()
        try:
            for entry in LogReader(self._source, log).entries():
                for facts in object_facts(entry):
                    named.add(str(facts["key"]))
                    yield str(facts["key"]), Digest.of_entry(facts)
        except Tampered as error:
            self._problem(str(log), str(error))
        else:
            for stored in self._listed(key_layout.objects_prefix(log)):
                if stored.key not in named:
                    yield stored.key, None
        for stored in self._listed(key_layout.log_prefix(log)):
            yield stored.key, None

    def _stray_objects(self, owner: str, known: set[str]) -> Iterator[_Work]:
        for stored in self._listed(f"objects/{owner}/"):
            if "/".join(stored.key.split("/")[1:3]) not in known:
                yield stored.key, None

    def _listed(self, prefix: str) -> Iterator[Stored]:
        last = ""
        for stored in self._source.list(prefix):
            if stored.key == last:
                self._problem(stored.key, "a newer version stands over an object; it was left behind")
            else:
                yield stored
            last = stored.key

    # --- moves ----------------------------------------------------------------------------------------

    def record_moves(self, owner: str, slots: Slots, *, begun: bool) -> None:
        """Say in the target which version each object has there; durable on return. What stands in its log already is
        not said again; unless the target has ``begun`` the log is claimed even where there is nothing to say.
        Raises StoreError, SlotLost."""
        moves = self._moved.get(owner, [])
        try:
            known = recorded(self._target, owner)
        except (Tampered, Invalid, KeyUnavailable, NotFound) as error:
            raise Refused("the target's move log cannot be read", code="relocate.diverged") from error
        missing = [move for move in moves if move not in known]
        if begun and not missing:
            return
        slot = slots.take()
        if slot.log != move_log(owner):
            raise StoreError("the target's move log is taken", code="relocate.busy")
        self._outcome.moves += record(slot, missing)
