"""An owner's keys: day keys in numbered generations, the key record of every batch, secrets (FORMAT.md section 9)."""

import base64
import binascii
import re
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from archive_service.model.canonical import canonical, parse_canonical
from archive_service.model.errors import KeyUnavailable, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.key_places import KeyStore
from archive_service.vault.kms import Kms

_CACHED_RECORDS = 4096
_NUMBER = re.compile(r"[0-9]{8}")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise Tampered("a key record is not base64 where it must be") from error


def _parse(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = parse_canonical(data)
    except (ValueError, RecursionError) as error:
        raise Tampered(f"{what} is not canonical JSON") from error
    if not isinstance(value, dict) or value.get("version") != 1:
        raise Tampered(f"{what} is not of version 1")
    return value


def _wrap(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, context)


def _unwrap(key: bytes, wrapped: bytes, context: bytes, what: str) -> bytes:
    try:
        return AESGCM(key).decrypt(wrapped[:12], wrapped[12:], context)
    except (InvalidTag, ValueError) as error:
        raise Tampered(f"{what} fails authentication") from error


@dataclass(frozen=True)
class Generation:
    """A day key, opened. ``table``: the table key that sealed it."""

    number: int
    begins: date
    key: bytes
    table: int


class Keyring:
    """One owner's keys. Thread-safe. Every method may raise StoreError, KeyUnavailable, Tampered."""

    def __init__(self, owner: str, store: KeyStore, kms: Kms) -> None:
        self.owner = owner
        self.store = store
        self._kms = kms
        self._lock = threading.Lock()
        self._tables: dict[int, bytes] = {}
        self._generations: dict[int, Generation] = {}
        self._writing: Generation | None = None
        self._secrets: dict[str, bytes] = {}
        self._records: OrderedDict[str, dict[str, Any]] = OrderedDict()

    # --- secrets -----------------------------------------------------------------------------------

    def make_secret(self, name: str, value: bytes) -> bytes:
        """Store a secret unless it exists; returns the one that stands."""
        version, wrapped = self._kms.wrap(self._context("secret", name), value)
        kms = {"key": version, "provider": self._kms.provider}
        record = canonical({"version": 1, "name": name, "kms": kms, "sealed": _b64(wrapped)})
        self.store.claim(key_layout.secret_name(self.owner, name), record)
        return self.secret(name)

    def secret(self, name: str) -> bytes:
        """``identity``, ``signing``, ``root-salt``, ``token``."""
        if name not in self._secrets:
            self._secrets[name] = self.store.read(
                key_layout.secret_name(self.owner, name), lambda data: self._from_kms(data, "secret", name)
            )
        return self._secrets[name]

    def _context(self, kind: str, name: str | int) -> bytes:
        return f"archive-service/{kind}/v1\0{self.owner}/{name}".encode("ascii")

    def _from_kms(self, data: bytes, kind: str, name: str | int) -> bytes:
        record = _parse(data, f"{kind} {name}")
        try:
            version = str(record["kms"]["key"])
        except (KeyError, TypeError) as error:
            raise Tampered(f"{kind} {name} does not name its key version") from error
        return self._kms.unwrap(version, self._context(kind, name), _unb64(record.get("sealed")))

    # --- table keys and generations ----------------------------------------------------------------

    def _table(self, number: int) -> bytes:
        if number not in self._tables:
            self._tables[number] = self.store.read(
                key_layout.table_name(self.owner, number), lambda data: self._from_kms(data, "table", number)
            )
        return self._tables[number]

    def _numbered(self, folder: str) -> list[int]:
        """The numbers of a folder's records, in order; what is no number there is for ``verify`` to name."""
        names = (name.rpartition("/")[2] for name in self.store.list(f"{self.owner}/{folder}/"))
        return [int(name) for name in names if _NUMBER.fullmatch(name)]

    def _newest_table(self) -> int:
        numbers = self._numbered("table")
        if numbers:
            return numbers[-1]
        version, wrapped = self._kms.wrap(self._context("table", 1), secrets.token_bytes(32))
        kms = {"key": version, "provider": self._kms.provider}
        record = canonical({"version": 1, "table": 1, "kms": kms, "sealed": _b64(wrapped)})
        self.store.claim(key_layout.table_name(self.owner, 1), record)
        return 1

    def generation(self, number: int) -> Generation:
        """A generation by number. Raises KeyUnavailable when it was destroyed."""
        if number not in self._generations:
            name = key_layout.generation_name(self.owner, number)
            self._generations[number] = self.store.read(name, lambda data: self._open(data, number))
        return self._generations[number]

    def _open(self, data: bytes, number: int) -> Generation:
        what = f"generation {number}"
        record = _parse(data, what)
        try:
            begins, table = date.fromisoformat(record["from"]), int(record["table"])
        except (KeyError, ValueError, TypeError) as error:
            raise Tampered(f"{what} lacks its date or table key") from error
        context = self._context("generation", f"{number}/{begins.isoformat()}/{table}")
        key = _unwrap(self._table(table), _unb64(record.get("sealed")), context, what)
        return Generation(number, begins, key, table)

    def numbers(self) -> list[int]:
        """Generations that exist, in order."""
        return self._numbered("generations")

    def _add_generation(self, number: int, begins: date) -> None:
        table = self._newest_table()
        # the date is bound too: moved, it would stop the daily change of keys, or use a key before its day
        context = self._context("generation", f"{number}/{begins.isoformat()}/{table}")
        sealed = _b64(_wrap(self._table(table), secrets.token_bytes(32), context))
        record = {
            "version": 1,
            "generation": number,
            "from": begins.isoformat(),
            "table": table,
            "sealed": sealed,
        }
        self.store.claim(key_layout.generation_name(self.owner, number), canonical(record))

    def prepare(self, today: date) -> None:
        """Make the generations of ``today`` and tomorrow unless they exist: ahead of need, read back from both
        places. Safe beside other processes doing the same."""
        with self._lock:
            for begins in (today, today + timedelta(days=1)):
                newest = max(self.numbers(), default=0)
                # Whoever was faster may have made the number for another day: then take the next one.
                while newest == 0 or self.generation(newest).begins < begins:
                    newest += 1
                    self._add_generation(newest, begins)

    def current(self, today: date, floor: int = 0) -> Generation:
        """The generation that a writer uses on a day: prepared, and read back from both places before its first
        use, also when it was another process that made it, and died between the places.

        ``floor``: the generation that the writer's log names already. Generations never fall in a log, so a process
        whose clock is behind uses that one."""
        writing = self._writing
        if writing is not None and writing.begins == today and writing.number >= floor:
            return writing
        self.prepare(today)
        begun = [g for g in map(self.generation, self.numbers()) if g.begins <= today or g.number == floor]
        if not begun:
            raise KeyUnavailable("no key generation has begun; is the clock right?")
        newest = max(begun, key=lambda g: g.number)
        self._read_back(key_layout.table_name(self.owner, newest.table))
        self._read_back(key_layout.generation_name(self.owner, newest.number))
        self._writing = newest
        return newest

    def _read_back(self, name: str) -> None:
        self.store.claim(name, self.store.get(name))

    # --- key records -------------------------------------------------------------------------------

    @staticmethod
    def _wrap_context(log: LogId, name: str, generation: int) -> bytes:
        return f"archive-service/wrap/v1\0{log}/{name}/{generation}".encode("ascii")

    def put_record(self, log: LogId, batch: str, generation: Generation, keys: list[bytes]) -> None:
        """Record the keys of a batch; durable in both places on return."""
        cipher = AESGCM(generation.key)
        wrapped = []
        for index, key in enumerate(keys):
            nonce = secrets.token_bytes(12)
            context = self._wrap_context(log, key_layout.sealed_name(batch, index), generation.number)
            wrapped.append(_b64(nonce + cipher.encrypt(nonce, key, context)))
        record = {
            "version": 1,
            "log": str(log),
            "batch": batch,
            "generation": generation.number,
            "keys": wrapped,
        }
        self.store.put(key_layout.record_name(log, batch), canonical(record))

    def _record(self, log: LogId, batch: str) -> dict[str, Any]:
        name = key_layout.record_name(log, batch)
        with self._lock:
            if name in self._records:
                self._records.move_to_end(name)
                return self._records[name]
        record = self.store.read(name, lambda data: parse_record(data, log, batch))
        with self._lock:
            self._records[name] = record
            while len(self._records) > _CACHED_RECORDS:
                self._records.popitem(last=False)
        return record

    def object_key(self, log: LogId, name: str) -> bytes:
        """The key of a sealed thing. Raises KeyUnavailable when it is destroyed or never was, Tampered."""
        batch, index = key_layout.split_sealed_name(name)
        try:
            return self.key_from(self._record(log, batch), log, batch, index)
        except Tampered:  # this copy of the key is damaged: the other place may serve
            return self.store.read(
                key_layout.record_name(log, batch),
                lambda data: self.key_from(parse_record(data, log, batch), log, batch, index),
            )

    def key_from(self, record: dict[str, Any], log: LogId, batch: str, index: int) -> bytes:
        """The key at ``index`` of a parsed key record."""
        keys = record["keys"]
        if index >= len(keys) or keys[index] is None:
            raise KeyUnavailable("the key of this object is destroyed or was never recorded")
        number = record["generation"]
        name = key_layout.sealed_name(batch, index)
        context = self._wrap_context(log, name, number)
        return _unwrap(self.generation(number).key, _unb64(keys[index]), context, "a wrapped object key")

    def forget_cache(self) -> None:
        """Drop cached records, so that the next read sees the key store as it is."""
        with self._lock:
            self._records.clear()


def parse_record(data: bytes, log: LogId, batch: str) -> dict[str, Any]:
    """A key record, checked for form and place. Raises Tampered."""
    record = _parse(data, "a key record")
    keys, number = record.get("keys"), record.get("generation")
    if record.get("log") != str(log) or record.get("batch") != batch:
        raise Tampered("a key record stands under another name than its own")
    if not isinstance(keys, list) or not isinstance(number, int):
        raise Tampered("a key record lacks its keys or generation")
    return record


def owners(store: KeyStore) -> list[str]:
    """Every owner that has secrets in the key store."""
    found = {name.partition("/")[0] for name in store.list("")}
    return sorted(name for name in found if key_layout.is_owner(name))
