"""Day keys in numbered generations, and the table keys that seal them (FORMAT.md section 9).

A generation is for writing (one a day, made ahead) or for rewrapping (made by an erasure batch for the survivors of
another one; no writer ever uses it). A closed one takes no new keys: an erasure batch is about to destroy it.
"""

import re
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from archive_service.model.canonical import canonical
from archive_service.model.errors import KeyUnavailable, StoreError, Tampered
from archive_service.vault import key_format, key_layout
from archive_service.vault.key_places import KeyStore
from archive_service.vault.kms import Kms
from archive_service.vault.kms_record import context_of, open_record, wrapped_record

_NUMBER = re.compile(r"[0-9]{8}")
_TABLE_GONE = "key.table_gone"


@dataclass(frozen=True)
class Generation:
    """A day key, opened. ``table``: the table key that sealed it; ``rewrap``: made by an erasure batch."""

    number: int
    begins: date
    key: bytes
    table: int
    rewrap: bool = False
    closed: bool = False


@dataclass(frozen=True)
class _Table:
    """A table key, and the record that it was opened from."""

    record: bytes
    key: bytes


class Generations:
    """One owner's table keys and generations. Thread-safe. Every method may raise StoreError, KeyUnavailable,
    Tampered."""

    def __init__(self, owner: str, store: KeyStore, kms: Kms) -> None:
        self.owner = owner
        self.store = store
        self._kms = kms
        self._lock = threading.Lock()
        self._tables: dict[int, _Table] = {}
        self._opened: dict[int, Generation] = {}
        self._writing: tuple[date, Generation] | None = None

    # --- table keys -----------------------------------------------------------------------------------

    def table(self, number: int) -> bytes:
        """A table key. Raises KeyUnavailable (``key.table_gone``) when its record is in neither place."""
        if number not in self._tables:
            try:
                self._tables[number] = self.store.read(
                    key_layout.table_name(self.owner, number), lambda data: self._open_table(data, number)
                )
            except KeyUnavailable as error:
                if error.code != KeyUnavailable.code:
                    raise
                raise KeyUnavailable(f"table {number} is gone", code=_TABLE_GONE) from error
        return self._tables[number].key

    def _open_table(self, data: bytes, number: int) -> _Table:
        known = self._tables.get(number)
        if known is not None and known.record == data:
            return known  # the KMS may be away on the day that needs a new generation
        context = context_of(self.owner, "table", number)
        return _Table(data, open_record(self._kms, data, context, f"table {number}"))

    def tables(self) -> list[int]:
        """Table keys that exist, in order."""
        return self._numbered("table")

    def newest_table(self) -> int:
        """The table key that new generations are sealed under; the first one is made here."""
        numbers = self.tables()
        if numbers and not self.is_retired(numbers[-1]):
            # never a lower one: should it stand, a frozen process has put it back, and it goes again
            return self.settled_table(numbers[-1])
        return self.make_table()

    def settled_table(self, number: int) -> int:
        """A table key that stands, read back from both places: whoever made it may have been cut off between the two,
        and nothing may be sealed under what one wiped place would take away. What was read back is what is used from
        here on, whatever was seen before. Its number."""
        name = key_layout.table_name(self.owner, number)
        self._tables[number] = self._open_table(self._read_back(name), number)
        return number

    def make_table(self) -> int:
        """A new table key under the newest version of the KMS; its number. Whoever else made one at the same time made
        the same one."""
        number = max(self.tables(), default=0) + 1
        context, key = context_of(self.owner, "table", number), secrets.token_bytes(32)
        record = wrapped_record(self._kms, {"version": 1, "table": number}, context, key)
        standing = self.store.claim(key_layout.table_name(self.owner, number), record)
        self._tables[number] = self._open_table(standing, number)
        return number

    def is_retired(self, number: int) -> bool:
        """Whether a batch is about to delete this table key: what was sealed under it counts only once it is seen to be
        sealed under another one. True too when it is in neither place."""
        copies = [copy for copy in self.store.copies(key_layout.table_name(self.owner, number)) if copy]
        return not copies or any(
            key_format.parse(copy, f"table {number}").get("retired") is True for copy in copies
        )

    # --- generations ----------------------------------------------------------------------------------

    def _numbered(self, folder: str) -> list[int]:
        """The numbers of a folder's records, in order; what is no number there is for ``verify`` to name."""
        names = (name.rpartition("/")[2] for name in self.store.list(f"{self.owner}/{folder}/"))
        return [int(name) for name in names if _NUMBER.fullmatch(name)]

    def numbers(self) -> list[int]:
        """Generations that exist, in order."""
        return self._numbered("generations")

    def generation(self, number: int) -> Generation:
        """A generation by number. Raises KeyUnavailable when it was destroyed."""
        if number not in self._opened:
            self.reopen(number)
        return self._opened[number]

    def reopen(self, number: int) -> Generation:
        """A generation as it stands in the key store now."""
        name = key_layout.generation_name(self.owner, number)
        found = self._opened[number] = self.store.read(name, lambda data: self.open(data, number))
        return found

    def seen(self, number: int) -> list[Generation]:
        """What the places hold under a number, as far as it opens: more than one where they hold different keys, which
        happens when one was wiped while the generation was being made in it."""
        found: dict[bytes, Generation] = {}
        failures: list[Tampered | KeyUnavailable] = []
        for copy in self.store.copies(key_layout.generation_name(self.owner, number)):
            if copy is None:
                continue
            try:
                each = self.open(copy, number)
            except (Tampered, KeyUnavailable) as error:
                failures.append(error)
            else:
                found.setdefault(each.key, each)
        if failures and not found:
            raise failures[0]
        return list(found.values())

    def agreed(self, number: int) -> Generation:
        """A generation that is to be written anew: no place may hold another key under its number, for one of the two
        would be lost. Raises StoreError (``key.places_differ``)."""
        found = self.seen(number)
        if len(found) > 1:
            raise StoreError(
                f"the places hold different keys as generation {number}: keys heal", code="key.places_differ"
            )
        return found[0] if found else self.reopen(number)

    def open(self, data: bytes, number: int) -> Generation:
        """A generation's record, opened."""
        what = f"generation {number}"
        record = key_format.parse(data, what)
        try:
            begins, table = date.fromisoformat(record["from"]), int(record["table"])
        except (KeyError, ValueError, TypeError) as error:
            raise Tampered(f"{what} lacks its date or table key") from error
        rewrap = record.get("rewrap") is True
        context = self._context(number, begins, table, rewrap=rewrap)
        key = self._unsealed(table, key_format.unb64(record.get("sealed")), context, what)
        return Generation(number, begins, key, table, rewrap, record.get("closed") is True)

    def _unsealed(self, table: int, sealed: bytes, context: bytes, what: str) -> bytes:
        try:
            return key_format.unwrap(self.table(table), sealed, context, what)
        except Tampered:
            # the table key that we took may have been seen in one place only, lost with it, and made anew
            for copy in self.store.copies(key_layout.table_name(self.owner, table)):
                with suppress(Tampered):
                    found = self._open_table(copy or b"", table)
                    key = key_format.unwrap(found.key, sealed, context, what)
                    self._tables[table] = found
                    return key
            raise

    def _context(self, number: int, begins: date, table: int, *, rewrap: bool) -> bytes:
        # the date is bound too: moved, it would stop the daily change of keys, or use a key before its day
        kind = "/rewrap" if rewrap else ""
        return context_of(self.owner, "generation", f"{number}/{begins.isoformat()}/{table}{kind}")

    def record(self, generation: Generation, table: int, *, closed: bool = False) -> bytes:
        """A generation's record, its key sealed under a table key."""
        context = self._context(generation.number, generation.begins, table, rewrap=generation.rewrap)
        record: dict[str, Any] = {
            "version": 1,
            "generation": generation.number,
            "from": generation.begins.isoformat(),
            "table": table,
            "sealed": key_format.b64(key_format.wrap(self.table(table), generation.key, context)),
        }
        if generation.rewrap:
            record["rewrap"] = True
        if closed:
            record["closed"] = True
        return canonical(record)

    def add(self, begins: date, *, rewrap: bool = False) -> Generation:
        """A new generation under the next free number, in both places, as it was read back from them."""
        while True:
            made = self._try(max(self.numbers(), default=0) + 1, begins, rewrap=rewrap)
            if made is not None:
                return made

    def _try(self, number: int, begins: date, *, rewrap: bool = False) -> Generation | None:
        """Make a generation under this number; None when another process took the number first."""
        table = self.newest_table()
        made = Generation(number, begins, secrets.token_bytes(32), table, rewrap)
        data = self.record(made, table)
        standing = self.store.claim(key_layout.generation_name(self.owner, number), data)
        # one half made under this number may have been seen, and lost with its place
        self._opened.pop(number, None)
        return made if standing == data else None

    # --- what writers use -----------------------------------------------------------------------------

    def prepare(self, today: date) -> None:
        """Make the generations of ``today`` and tomorrow unless they exist: ahead of need, read back from both
        places. Safe beside other processes doing the same."""
        with self._lock:
            for begins in (today, today + timedelta(days=1)):
                # numbers are looked at once a try: who loses the race for the next one looks again
                while not self._reaches(begins, numbers := self.numbers()):
                    self._try(max(numbers, default=0) + 1, begins)

    def _reaches(self, begins: date, numbers: list[int]) -> bool:
        """Whether the newest generation for writing is for this day or a later one."""
        for number in reversed(numbers):
            try:
                found = self.generation(number)
            except KeyUnavailable as error:
                if error.code != _TABLE_GONE:
                    raise
                continue  # sealed under a table key that an erasure batch deleted meanwhile: nobody used it
            if not found.rewrap:
                return found.begins >= begins
        return False

    def current(self, today: date, floor: int = 0) -> Generation:
        """See ``Keyring.current``."""
        writing = self._writing
        if writing is not None and writing[0] == today and writing[1].number >= floor:
            return writing[1]
        self.prepare(today)
        chosen = self._for_day(today, floor)
        # A batch retires a table key before it looks a last time for what stands under it. So what was made before
        # is found by it and sealed anew, and what was made after is refused here.
        self.settled_table(chosen.table)
        if not self.is_retired(chosen.table) and self._settled(chosen.number) == chosen:
            self._writing = (today, chosen)
            return chosen
        self._opened.pop(chosen.number, None)
        raise StoreError("the day key is being sealed anew; try again", code="key.resealing")

    def _settled(self, number: int) -> Generation:
        """A generation as it was read back from both places: the only one that anything may be sealed under. What one
        place says is not enough: it may be half made, and be gone with that place before it is whole."""
        return self.open(self._read_back(key_layout.generation_name(self.owner, number)), number)

    def _for_day(self, today: date, floor: int) -> Generation:
        """The newest open generation that has begun; one that has not only if the log's ``floor`` or a closing asks
        for it. One that is not under the greatest table key is being sealed anew, or was put back by a frozen
        writer."""
        later: Generation | None = None
        closed, stale = False, False
        newest = max(self.tables(), default=0)
        for number in reversed(self.numbers()):
            if number < floor or closed:
                break
            try:
                found = self.reopen(number)
            except KeyUnavailable as error:
                if error.code != _TABLE_GONE:
                    raise
                continue
            if found.rewrap:
                continue
            if found.table != newest:
                stale = True
            elif found.closed:
                closed = found.begins <= today  # what came before it is closed too, or of a day that is over
            elif found.begins <= today:
                return found
            else:
                later = found
        if later is None and stale:
            raise StoreError("the day key is being sealed anew; try again", code="key.resealing")
        if later is None or not (closed or floor or stale):
            raise KeyUnavailable("no key generation has begun; is the clock right?")
        return later

    def require_open(self, number: int) -> None:
        """To be asked after claiming a log slot: whoever claims later than an erasure batch looked must not use what
        that batch has closed. Raises StoreError (``key.closed``); the next ``current`` takes another one.

        A record that says "open" is not enough: a writer that was frozen while it read the generation back has made it
        anew after the batch deleted it. But a batch never ends without a greater table key, so what is sealed under
        another than the greatest is of before."""
        newest = max(self.tables(), default=0)
        copies = self.store.copies(key_layout.generation_name(self.owner, number))
        for copy in copies:
            if copy is None and any(copies):
                continue  # one place was wiped, or is not written yet: the other one says
            if copy is not None and self._says_open(copy, number, newest):
                continue
            self._writing = None
            self._opened.pop(number, None)
            raise StoreError("the day key was closed meanwhile; try again", code="key.closed")

    @staticmethod
    def _says_open(copy: bytes, number: int, table: int) -> bool:
        record = key_format.parse(copy, f"generation {number}")
        return record.get("closed") is not True and record.get("table") == table

    def _read_back(self, name: str) -> bytes:
        return self.store.claim(name, self.store.get(name))

    def forget(self) -> None:
        """Drop what is kept in memory, so that the next look sees the key store as it is."""
        self._tables.clear()
        self._opened.clear()
        self._writing = None
