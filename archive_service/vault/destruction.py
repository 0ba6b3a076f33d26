"""How keys are destroyed in a mutable key store, so that no backup of it, and no place put back, opens what was erased,
and so that nothing else is lost, whichever moment a crash or a wiped place chooses (FORMAT.md section 9).

    close      the generations that hold the keys: from now on no writer begins to use them
    rewrap     every record under them, without the erased keys, under a new generation; read back from both places
    reseal     every other generation under a new table key; the old table keys are retired
    sweep      the closed generations and the retired table keys away

Until ``sweep`` every surviving key can be had under its old generation or its new one, in each place. Afterwards only
backups hold the old ones, under table keys that an old key version of the KMS wraps: that version is destroyed last,
after the grace (``retention.erasure``).

Every step may be repeated after a crash. Only ``retention`` may import this module (import-linter), and only
``retention.precedence`` gives permits.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any, TypeVar

from archive_service.model.canonical import canonical
from archive_service.model.errors import Invalid, KeyUnavailable, StoreError, Tampered
from archive_service.vault import key_format, key_layout
from archive_service.vault.generations import Generation
from archive_service.vault.key_layout import LogId
from archive_service.vault.key_places import most_telling
from archive_service.vault.keyring import Keyring, parse_record, record_names, sealed_record

_MOST_PASSES = 20
_Result = TypeVar("_Result")
_GRANT = object()


class Permit:
    """Leave to destroy the key of one capture."""

    __slots__ = ("capture", "log")

    def __init__(self, log: str, capture: str, by: object) -> None:
        """Raises Invalid unless ``grant`` makes it."""
        if by is not _GRANT:
            raise Invalid("a permit comes from retention.precedence alone", code="erasure.permit")
        self.log = log
        self.capture = capture


def grant(log: str, capture: str) -> Permit:
    """For ``retention.precedence`` alone."""
    return Permit(log, capture, _GRANT)


class Destroyer:
    """One owner's keys. Not thread-safe; one process at a time: a record that another one writes late, from what it
    read before, could lay old keys over new ones. ``fence`` is called before every write, and raises when this process
    may not be alone any more. ``workers``: key records under way at a time."""

    def __init__(
        self, keyring: Keyring, *, workers: int = 1, fence: Callable[[], None] = lambda: None
    ) -> None:
        self._fence = fence
        self._keyring = keyring
        self._generations = keyring.generations
        self._store = keyring.store
        self._workers = workers

    # --- where the keys are ---------------------------------------------------------------------------

    def generations_of(self, log: LogId, capture: str) -> list[Generation]:
        """The generations that a capture's key stands under, in whichever place; none when the key is gone from both. A
        copy under a generation that is no more (a place put back from a backup) holds no key. Raises KeyUnavailable
        when there is no record at all (a backup may have one), Tampered when no copy can be read."""
        batch, index = key_layout.split_sealed_name(capture)
        records = self._copies(key_layout.record_name(log, batch), log, batch)
        if not records:
            raise KeyUnavailable("no key record under this name in either place", code="key.no_record")
        found = {
            record["generation"]
            for record in _living(records, set(self._generations.numbers()))
            if index < len(record["keys"]) and record["keys"][index] is not None
        }
        return [self._generations.reopen(number) for number in sorted(found)]

    def _copies(self, name: str, log: LogId, batch: str) -> list[dict[str, Any]]:
        """What the places hold under a name and can be read. Raises Tampered when copies exist and none can."""
        found, damaged = [], []
        for copy in self._store.copies(name):
            if copy is None:
                continue
            try:
                found.append(parse_record(copy, log, batch))
            except Tampered as error:
                damaged.append(error)
        if damaged and not found:
            raise damaged[0]
        return found

    # --- close ----------------------------------------------------------------------------------------

    def close(self, numbers: Iterable[int]) -> None:
        """Mark generations as closed, in both places, read back. A later one is made first, so that writers have where
        to go."""
        for number in sorted(set(numbers)):
            found = self._generations.agreed(number)
            if not found.closed:
                self._seal(found, found.table, closed=True)

    def ensure_later(self, today: date, numbers: Iterable[int]) -> int:
        """A generation for writing on ``today`` that is none of these and later than all of them; its number."""
        highest = max(numbers)
        self._generations.prepare(today)
        for number in self._generations.numbers():
            found = self._generations.reopen(number)
            if number > highest and not found.rewrap and not found.closed and found.begins <= today:
                return number
        return self._generations.add(today).number

    # --- rewrap ---------------------------------------------------------------------------------------

    def rewrap(self, victims: Sequence[int], permits: Sequence[Permit]) -> int:
        """Write every key record that stands under ``victims`` anew, under a generation of its own, without the keys of
        ``permits``; durable and read back in both places on return, and nothing is left under ``victims``. How many
        keys were kept.

        Raises KeyUnavailable or Tampered when a surviving key opens in neither place: then nothing may be deleted.
        """
        erased = {(permit.log, permit.capture) for permit in permits}
        target: Generation | None = None
        kept = 0
        for _ in range(_MOST_PASSES):
            names = self._under(victims)
            if not names:
                return kept
            if target is None:
                begins = min(self._generations.generation(number).begins for number in victims)
                target = self._generations.add(begins, rewrap=True)
            kept += self._pass(names, target, erased)
        raise StoreError("key records keep coming under a closed generation", code="erasure.unsettled")

    def _under(self, victims: Sequence[int]) -> list[tuple[str, LogId, str]]:
        """The records of which a copy stands under one of these generations: every record is read, for nothing but the
        record itself says under which generation it stands."""
        names = list(record_names(self._store, self._keyring.owner))
        stands = self._each(
            names, lambda found: any(record["generation"] in victims for record in self._copies(*found))
        )
        return [name for name, under in zip(names, stands, strict=True) if under]

    def _pass(
        self, names: Sequence[tuple[str, LogId, str]], target: Generation, erased: set[tuple[str, str]]
    ) -> int:
        standing = set(self._generations.numbers())
        return sum(self._each(names, lambda found: self._anew(found, target, erased, standing)))

    def _each(
        self,
        names: Sequence[tuple[str, LogId, str]],
        work: Callable[[tuple[str, LogId, str]], _Result],
    ) -> Iterator[_Result]:
        if self._workers == 1:
            yield from map(work, names)
            return
        with ThreadPoolExecutor(self._workers, thread_name_prefix="rewrap") as pool:
            yield from pool.map(work, names)

    def _anew(
        self,
        found: tuple[str, LogId, str],
        target: Generation,
        erased: set[tuple[str, str]],
        standing: set[int],
    ) -> int:
        """One record under the target; how many keys it keeps. ``standing``: the generations that exist."""
        name, log, batch = found
        records = self._copies(name, log, batch)
        records = (
            _living(records, standing) or records
        )  # a place put back says nothing against the living copy
        if not records:  # it stood in one place alone, as an orphan's may, and that place was wiped
            return 0
        keys: list[bytes | None] = []
        for index in range(max(len(record["keys"]) for record in records)):
            gone = (str(log), key_layout.sealed_name(batch, index)) in erased
            keys.append(None if gone else self._surviving(records, log, batch, index))
        self._put(name, sealed_record(log, batch, target, keys))
        return sum(key is not None for key in keys)

    def _surviving(self, records: list[dict[str, Any]], log: LogId, batch: str, index: int) -> bytes | None:
        """A key from whichever copy gives it; None if none has held it since an earlier batch."""
        failures: list[StoreError | Tampered | KeyUnavailable] = []
        for record in records:
            keys = record["keys"]
            if index >= len(keys) or keys[index] is None:
                continue
            try:
                return self._keyring.key_from(record, log, batch, index)
            except (StoreError, Tampered, KeyUnavailable) as error:
                failures.append(error)
        if failures:
            raise most_telling(failures)
        return None

    def _put(self, name: str, data: bytes) -> None:
        """In both places, read back. Raises StoreError."""
        self._fence()
        self._store.put(name, data)
        if self._store.copies(name) != [data, data]:
            raise StoreError("a key record does not read back from both places", code="erasure.read_back")

    # --- reseal and delete ----------------------------------------------------------------------------

    def tables(self) -> list[int]:
        """The table keys that stand now: what a batch retires."""
        return self._generations.tables()

    def versions(self, tables: Sequence[int]) -> list[str]:
        """The KMS key versions that wrap these table keys, as ``PROVIDER/VERSION``: an archive may move to another
        service whose versions have the same names."""
        found: set[str] = set()
        for number in tables:
            for copy in self._store.copies(key_layout.table_name(self._keyring.owner, number)):
                if copy is not None:
                    kms = key_format.parse(copy, f"table {number}").get("kms")
                    if isinstance(kms, dict):
                        found.add(f"{kms.get('provider')}/{kms.get('key')}")
        return sorted(found)

    def reseal(self, victims: Sequence[int], retired: Sequence[int]) -> None:
        """Seal every generation but ``victims`` under a table key that is none of ``retired``, mark those as retired,
        and look once more: what a writer made under them in the meantime is sealed anew too."""
        # a lower number is one that an earlier batch deleted and a frozen process has put back: it goes again
        standing = [number for number in self._generations.tables() if number > max(retired, default=0)]
        target = self._generations.settled_table(standing[-1]) if standing else self._generations.make_table()
        self._seal_all(victims, target)
        for number in retired:
            self._retire(number)
        while self._seal_all(victims, target):
            continue
        self._generations.forget()

    def _seal_all(self, victims: Sequence[int], target: int) -> int:
        """How many generations had to be sealed anew."""
        done = 0
        for number in self._generations.numbers():
            if number in victims or self._is_under(number, target):
                continue
            try:
                found = self._generations.agreed(number)
            except KeyUnavailable as error:
                if error.code != "key.table_gone":
                    raise
                continue  # made too late, under a table key that was gone: nobody could use it
            self._seal(found, target, closed=found.closed)
            done += 1
        return done

    def _is_under(self, number: int, table: int) -> bool:
        copies = self._store.copies(key_layout.generation_name(self._keyring.owner, number))
        what = f"generation {number}"
        same = len(copies) == 2 and copies[0] == copies[1] and copies[0] is not None
        return same and key_format.parse(copies[0] or b"", what).get("table") == table

    def _seal(self, generation: Generation, table: int, *, closed: bool) -> None:
        name = key_layout.generation_name(self._keyring.owner, generation.number)
        self._put(name, self._generations.record(generation, table, closed=closed))

    def _retire(self, number: int) -> None:
        name = key_layout.table_name(self._keyring.owner, number)
        copies = [copy for copy in self._store.copies(name) if copy is not None]
        if copies:
            record = key_format.parse(copies[0], f"table {number}")
            self._put(name, canonical({**record, "retired": True}))

    def sweep(self, victims: Sequence[int], tables: Sequence[int]) -> None:
        """Take closed generations and retired table keys out of both places; absent is no error. To be called when
        ``rewrap`` and ``reseal`` have returned for them: nothing that anybody relies on stands under them any more. A
        generation made since under a retired table key is refused by its maker (``Generations.current``)."""
        names = self._swept(victims, tables)
        for place in self._store.places:
            for name in names:
                self._fence()
                place.delete(name)
        self._keyring.forget_cache()

    def sweep_again(self, victims: Sequence[int], tables: Sequence[int]) -> int:
        """What a writer that was frozen for long, or a backup, has put back of what ``sweep`` took goes again; how many
        records. To be called at any time after it."""
        names, owner, done = set(self._swept(victims, tables)), self._keyring.owner, 0
        for place in self._store.places:
            standing = {*place.list(f"{owner}/generations/"), *place.list(f"{owner}/table/")}
            for name in sorted(names & standing):
                self._fence()
                place.delete(name)
                done += 1
        if done:
            self._keyring.forget_cache()
        return done

    def _swept(self, victims: Sequence[int], tables: Sequence[int]) -> list[str]:
        owner = self._keyring.owner
        return [key_layout.generation_name(owner, number) for number in victims] + [
            key_layout.table_name(owner, number) for number in tables
        ]


def _living(records: list[dict[str, Any]], standing: set[int]) -> list[dict[str, Any]]:
    """The copies under generations that exist."""
    return [record for record in records if record["generation"] in standing]
