"""Puts a key place right again that was wiped, or put back from a backup: of generations and key records, what lives
in the other place goes over it. Secrets and table keys are healed by ``rewrap``.

An older copy must never win: it may hold a key that an erasure batch has destroyed since. So what the acts call
destroyed is not looked at, and of two copies the one under the later generation lives. Where the places hold different
keys as one generation (one place was wiped while it was being made), the key that opens records lives. Who calls holds
the lease ``erasure``; writers may be at work, for they only ever create.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from archive_service.model.errors import KeyUnavailable, StoreError, Tampered
from archive_service.vault.key_layout import LogId
from archive_service.vault.keyring import Generation, Keyring, opens, parse_record, record_names


@dataclass
class Healed:
    """``filled``: records put where there was none; ``replaced``: where an older or damaged one stood; ``left``: names
    of which no copy opens, and why."""

    filled: int = 0
    replaced: int = 0
    left: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    """A copy that opens. ``newness`` grows with what erasure batches have done to it."""

    data: bytes
    newness: tuple[int, bool]


def heal(keyring: Keyring, destroyed: Collection[int]) -> Healed:
    """One owner's generations and key records; durable and read back in both places on return. ``destroyed``: the
    generations that finished or begun batches name. Raises StoreError when a place cannot be read or written."""
    return _Healing(keyring, destroyed).run()


class _Healing:
    def __init__(self, keyring: Keyring, destroyed: Collection[int]) -> None:
        self._keyring = keyring
        self._store = keyring.store
        self._destroyed = destroyed
        self._healed = Healed()

    def run(self) -> Healed:
        self._keyring.forget_cache()
        for name, number in self._generations():
            self._one(name, partial(self._generation, number, self._living_keys(number)))
        self._keyring.forget_cache()
        for name, log, batch in record_names(self._store, self._keyring.owner):
            self._one(name, partial(self._record, log, batch))
        return self._healed

    def _generations(self) -> Iterator[tuple[str, int]]:
        for name in self._store.list(f"{self._keyring.owner}/generations/"):
            last = name.rpartition("/")[2]
            if last.isdecimal() and int(last) not in self._destroyed:
                yield name, int(last)

    def _one(self, name: str, opened: Callable[[bytes], _Found]) -> None:
        """``opened``: the copy and its newness, or what is wrong with it."""
        copies = self._store.copies(name)
        if copies[0] == copies[1]:
            return
        living: list[_Found] = []
        reasons: list[str] = []
        for data in copies:
            if data is None:
                continue
            try:
                living.append(opened(data))
            except (Tampered, KeyUnavailable) as error:
                reasons.append(str(error))
        if not living:
            self._healed.left.append((name, reasons[0]))
            return
        self._spread(name, copies, max(living, key=lambda found: found.newness).data)

    def _spread(self, name: str, copies: list[bytes | None], data: bytes) -> None:
        for place, copy in zip(self._store.places, copies, strict=True):
            if copy is None:
                place.create(name, data)
                self._healed.filled += 1
            elif copy != data:
                place.put(name, data)
                self._healed.replaced += 1
        if self._store.copies(name) != [data, data]:
            raise StoreError("a key record does not read back from both places", code="keys.read_back")

    def _generation(self, number: int, living: Collection[bytes], data: bytes) -> _Found:
        """Raises KeyUnavailable for one whose key is none of the living."""
        found = self._keyring.generations.open(data, number)
        if found.key not in living:
            raise KeyUnavailable("the places hold different keys under its number", code="key.places_differ")
        return _Found(data, (found.table, found.closed))

    def _living_keys(self, number: int) -> set[bytes]:
        """The keys under a number that may live: as a rule the only one. Of two, the one that opens what is recorded,
        and the second place's where nothing is: only the first can have taken a key that the other never saw
        (``KeyStore.claim``). None where each opens something: both must be kept."""
        try:
            seen = self._keyring.generations.seen(number)
        except (Tampered, KeyUnavailable):
            return set()
        if len(seen) < 2:
            return {found.key for found in seen}
        used = self._in_use(seen)
        if len(used) > 1:
            return set()
        return used or {seen[-1].key}

    def _in_use(self, seen: Sequence[Generation]) -> set[bytes]:
        return {
            generation.key
            for name, log, batch in record_names(self._store, self._keyring.owner)
            for copy in self._store.copies(name)
            if copy is not None
            for generation in seen
            if opens(generation, copy, log, batch)
        }

    def _record(self, log: LogId, batch: str, data: bytes) -> _Found:
        """Raises KeyUnavailable for one under a destroyed generation: a backup brought it back."""
        record = parse_record(data, log, batch)
        number = int(record["generation"])
        if number in self._destroyed:
            raise KeyUnavailable("the key record stands under a destroyed generation", code="key.destroyed")
        for index, key in enumerate(record["keys"]):
            if key is not None:
                self._keyring.key_from(record, log, batch, index)
        return _Found(data, (number, False))
