"""An owner's keys: day keys in numbered generations, the key record of every batch, secrets (FORMAT.md section 9)."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from typing import Any

from archive_service.model.canonical import canonical
from archive_service.model.errors import KeyUnavailable, NotFound, StoreError, Tampered
from archive_service.vault import key_format, key_layout
from archive_service.vault.generations import Generation, Generations
from archive_service.vault.key_layout import LogId
from archive_service.vault.key_places import KeyStore, most_telling
from archive_service.vault.kms import Kms
from archive_service.vault.kms_record import context_of, open_record, wrapped_record

__all__ = ["Generation", "Keyring", "owners", "parse_record", "sealed_record"]

_CACHED_RECORDS = 4096


class Keyring:
    """One owner's keys. Thread-safe. Every method may raise StoreError, KeyUnavailable, Tampered."""

    def __init__(self, owner: str, store: KeyStore, kms: Kms) -> None:
        self.owner = owner
        self.store = store
        self.generations = Generations(owner, store, kms)
        self._kms = kms
        self._lock = threading.Lock()
        self._secrets: dict[str, bytes] = {}
        self._records: OrderedDict[str, dict[str, Any]] = OrderedDict()

    # --- secrets -----------------------------------------------------------------------------------

    def make_secret(self, name: str, value: bytes) -> bytes:
        """Store a secret unless it exists; returns the one that stands."""
        context = context_of(self.owner, "secret", name)
        record = wrapped_record(self._kms, {"version": 1, "name": name}, context, value)
        self.store.claim(key_layout.secret_name(self.owner, name), record)
        return self.secret(name)

    def secret(self, name: str) -> bytes:
        """``identity``, ``signing``, ``root-salt``, ``token``."""
        if name not in self._secrets:
            self._secrets[name] = self.store.read(
                key_layout.secret_name(self.owner, name), lambda data: self._open_secret(data, name)
            )
        return self._secrets[name]

    def _open_secret(self, data: bytes, name: str) -> bytes:
        return open_record(self._kms, data, context_of(self.owner, "secret", name), f"secret {name}")

    # --- generations -------------------------------------------------------------------------------

    def generation(self, number: int) -> Generation:
        """A generation by number. Raises KeyUnavailable when it was destroyed."""
        return self.generations.generation(number)

    def numbers(self) -> list[int]:
        """Generations that exist, in order."""
        return self.generations.numbers()

    def prepare(self, today: date) -> None:
        """See ``Generations.prepare``."""
        self.generations.prepare(today)

    def current(self, today: date, floor: int = 0) -> Generation:
        """The generation that a writer uses on a day: prepared, and read back from both places before its first
        use, also when it was another process that made it, and died between the places.

        ``floor``: the generation that the writer's log names already. Generations never fall in a log, so a process
        whose clock is behind uses that one."""
        return self.generations.current(today, floor)

    # --- key records -------------------------------------------------------------------------------

    def put_record(
        self, log: LogId, batch: str, generation: Generation, keys: Sequence[bytes | None]
    ) -> None:
        """Record the keys of a batch; durable in both places on return."""
        self.store.add(key_layout.record_name(log, batch), sealed_record(log, batch, generation, keys))

    def object_key(self, log: LogId, name: str) -> bytes:
        """The key of a sealed thing. Raises KeyUnavailable when it is destroyed or never was, Tampered.

        A copy of the record that is damaged, or that stands under a generation which is no more (a place put back from
        a backup), does not stop the other place from serving."""
        batch, index = key_layout.split_sealed_name(name)
        record_name = key_layout.record_name(log, batch)
        cached = self._cached(record_name)
        if cached is not None:
            try:
                return self.key_from(cached, log, batch, index)
            except (Tampered, KeyUnavailable):
                self._drop(record_name)  # it may have been wrapped anew since
        return self._from_places(record_name, log, batch, index)

    def _from_places(self, name: str, log: LogId, batch: str, index: int) -> bytes:
        failures: list[StoreError | Tampered | KeyUnavailable] = []
        for place in self.store.places:
            try:
                record = parse_record(place.get(name), log, batch)
                key = self.key_from(record, log, batch, index)
            except (StoreError, Tampered, KeyUnavailable) as error:
                failures.append(error)
                continue
            self._keep(name, record)
            return key
        if all(isinstance(error, NotFound) for error in failures):
            raise KeyUnavailable("no key record under this name in either place")
        raise most_telling(failures)

    def _cached(self, name: str) -> dict[str, Any] | None:
        with self._lock:
            if name in self._records:
                self._records.move_to_end(name)
            return self._records.get(name)

    def _keep(self, name: str, record: dict[str, Any]) -> None:
        with self._lock:
            self._records[name] = record
            while len(self._records) > _CACHED_RECORDS:
                self._records.popitem(last=False)

    def _drop(self, name: str) -> None:
        with self._lock:
            self._records.pop(name, None)

    def key_from(self, record: dict[str, Any], log: LogId, batch: str, index: int) -> bytes:
        """The key at ``index`` of a parsed key record."""
        keys = record["keys"]
        if index >= len(keys) or keys[index] is None:
            raise KeyUnavailable("the key of this object is destroyed or was never recorded")
        number = record["generation"]
        context = _wrap_context(log, key_layout.sealed_name(batch, index), number)
        wrapped = key_format.unb64(keys[index])
        known, what = self.generation(number), "a wrapped object key"
        try:
            return key_format.unwrap(known.key, wrapped, context, what)
        except Tampered:
            # it may have been made anew since, where it had stood in one place only, or be another one there
            for standing in self.generations.seen(number):
                with suppress(Tampered):
                    return key_format.unwrap(standing.key, wrapped, context, what)
            raise

    def forget_cache(self) -> None:
        """Drop cached records and generations, so that the next read sees the key store as it is."""
        self.generations.forget()
        with self._lock:
            self._records.clear()


def _wrap_context(log: LogId, name: str, generation: int) -> bytes:
    return f"archive-service/wrap/v1\0{log}/{name}/{generation}".encode("ascii")


def sealed_record(log: LogId, batch: str, generation: Generation, keys: Sequence[bytes | None]) -> bytes:
    """The key record of a batch under a generation; None is a key that was destroyed."""
    wrapped: list[str | None] = []
    for index, key in enumerate(keys):
        if key is None:
            wrapped.append(None)
            continue
        context = _wrap_context(log, key_layout.sealed_name(batch, index), generation.number)
        wrapped.append(key_format.b64(key_format.wrap(generation.key, key, context)))
    return canonical(
        {
            "version": 1,
            "log": str(log),
            "batch": batch,
            "generation": generation.number,
            "keys": wrapped,
        }
    )


def parse_record(data: bytes, log: LogId, batch: str) -> dict[str, Any]:
    """A key record, checked for form and place. Raises Tampered."""
    record = key_format.parse(data, "a key record")
    keys, number = record.get("keys"), record.get("generation")
    if record.get("log") != str(log) or record.get("batch") != batch:
        raise Tampered("a key record stands under another name than its own")
    if not isinstance(keys, list) or not isinstance(number, int):
        raise Tampered("a key record lacks its keys or generation")
    return record


def opens(generation: Generation, data: bytes, log: LogId, batch: str) -> bool:
    """Whether a generation's key opens something that a key record holds."""
    try:
        record = parse_record(data, log, batch)
    except Tampered:
        return False
    if record["generation"] != generation.number:
        return False
    for index, wrapped in enumerate(record["keys"]):
        context = _wrap_context(log, key_layout.sealed_name(batch, index), generation.number)
        with suppress(Tampered):
            if wrapped is not None and key_format.unwrap(
                generation.key, key_format.unb64(wrapped), context, "a key"
            ):
                return True
    return False


def record_names(store: KeyStore, owner: str) -> Iterator[tuple[str, LogId, str]]:
    """Every key record of an owner: name, log, batch. What has another name is for ``verify`` to name."""
    for name in store.list(key_layout.records_prefix(owner)):
        parts = name.split("/")
        if len(parts) == 5 and key_layout.is_log(f"{owner}/{parts[2]}"):
            yield name, LogId(owner, parts[2]), parts[4]


def owners(store: KeyStore) -> list[str]:
    """Every owner that has secrets in the key store."""
    found = {name.partition("/")[0] for name in store.list("")}
    return sorted(name for name in found if key_layout.is_owner(name))
