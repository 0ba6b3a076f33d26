"""Legal holds in the store itself: every object that a hold covers bears one, so that nobody who has the store's own
credentials, and no other program, deletes it. What is held is said by the acts; the store is made to follow."""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from archive_service.holds.taken import taken_by
from archive_service.ledger.acts import Acts
from archive_service.ledger.holds import Hold
from archive_service.ledger.strays import held_name
from archive_service.model.errors import NotFound, Refused, Tampered
from archive_service.vault.key_layout import LogId, object_key
from archive_service.vault.stores.base import ObjectStore
from retention.holds import note_locked, note_unlocked

_log = logging.getLogger(__name__)
_PIECE = 500  # objects between two acts that say how far it is


class ObjectHolds:
    """One owner's objects. Not thread-safe; the active follower alone sets and clears. ``workers``: requests under way
    at once."""

    def __init__(self, store: ObjectStore, acts: Acts, workers: int = 1) -> None:
        self._store = store
        self._acts = acts
        self._workers = workers

    def step(self) -> int:
        """A piece of one hold; how many objects, 0 when the store says what the acts say. Raises ArchiveError: then
        this piece is done again, which changes nothing twice."""
        for hold in list(self._acts.holds.known.values()):
            done = self._lock(hold) if hold.released is None else self._free(hold)
            if done:
                return done
        return 0

    def _lock(self, hold: Hold) -> int:
        if hold.locked >= len(hold.covered):
            return 0
        piece = hold.piece(hold.locked, _PIECE)
        self._each(self._set, [place for place in piece if taken_by(self._acts, place[1]) is None])
        try:
            note_locked(self._acts, hold.id, hold.locked + len(piece))
        except Refused:
            _log.info("a hold was released while its objects were locked")
        return len(piece)

    def _free(self, hold: Hold) -> int:
        """Those that nothing else holds, but what an order to erase took: its own run looks after that. One that a hold
        covers a moment later is locked again by that hold's turn."""
        if hold.unlocked >= len(hold.covered):
            return 0
        piece = hold.piece(hold.unlocked, _PIECE)
        free = (place for place in piece if not self._held(place[1]))
        self._each(self._clear, [place for place in free if taken_by(self._acts, place[1]) is None])
        note_unlocked(self._acts, hold.id, hold.unlocked + len(piece))
        return len(piece)

    def _held(self, capture: str) -> bool:
        """By another hold, or by one that has moved here with it."""
        moved = held_name(capture) in self._acts.erasures.keeps
        return moved or bool(self._acts.holds.holds_of(capture))

    def _each(self, deed: Callable[[tuple[LogId, str]], None], places: Iterable[tuple[LogId, str]]) -> None:
        if self._workers == 1:
            for place in places:
                deed(place)
            return
        with ThreadPoolExecutor(self._workers, thread_name_prefix="holds") as pool:
            list(pool.map(deed, places))

    def _set(self, place: tuple[LogId, str]) -> None:
        set_hold(self._store, place, held=True)

    def _clear(self, place: tuple[LogId, str]) -> None:
        set_hold(self._store, place, held=False)


def set_hold(store: ObjectStore, place: tuple[LogId, str], *, held: bool) -> None:
    """Lay a hold upon the object of a capture, or take it off; durable on return. An object that is not there, or
    whose retention state was edited, is named by ``holds check`` and ``verify``, and stops no other. Raises
    StoreError."""
    key = object_key(*place)
    try:
        stored, lock = store.stat(key)[0]
        if lock.hold is not held:
            store.protect(key, stored.version, replace(lock, hold=held))
    except (NotFound, Tampered) as error:
        _log.error("an object of a hold cannot be locked: %s: %s", key, error.code)
