"""Advisory leases, so that polite processes do not take the same log slot. Correctness never rests on them: the claim
in the log decides."""

import fcntl
import logging
import os
import secrets
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from archive_service.model.canonical import canonical, parse_canonical
from archive_service.model.clock import Clock, from_rfc3339, rfc3339
from archive_service.model.errors import AlreadyExists, NotFound, StoreError
from archive_service.vault.stores.base import KeyPlace

_log = logging.getLogger(__name__)


class Leases(Protocol):
    """Leases of this process. Thread-safe."""

    def take(self, name: str) -> bool:
        """Whether the lease is this process's now; True again while it is. May raise StoreError."""
        ...

    def release(self, name: str) -> None:
        """Let one lease go; not held is no error. May raise StoreError: then it ends with this process, or by its
        silence."""
        ...

    def close(self) -> None:
        """Let all leases go."""
        ...


class FileLeases:
    """Leases between processes of one machine, held for this process's life: a lock file each, let go by the kernel
    when its holder dies. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, name: str) -> bool:
        """Whether the lease is this process's now; True again when it already was."""
        with self._lock:
            if name in self._held:
                return True
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / (name.replace("/", ".") + ".lease")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._held[name] = descriptor
            return True

    def release(self, name: str) -> None:
        """See ``Leases``."""
        with self._lock:
            descriptor = self._held.pop(name, None)
            if descriptor is not None:
                os.close(descriptor)

    def close(self) -> None:
        """Let all leases go."""
        with self._lock:
            for descriptor in self._held.values():
                os.close(descriptor)
            self._held.clear()


class KeyPlaceLeases:
    """Leases between machines: a record ``leases/NAME`` {version, writer, time} in a key place, renewed every third of
    ``takeover`` by a thread, and anybody's after ``takeover`` of silence. Thread-safe.

    A stolen lease is harmless: two holders may stand at the same slot when a clock is wrong, a process was frozen, or
    two stole at once; then both claim it, the later claim wins, and the other's next append loses. It answers 4xx for
    what it had in flight and takes another slot. A lease only makes that rare.

    ``writer``: who holds them; a name that outlives a process takes up at once what a predecessor of that name held,
    and then somebody else keeps its processes apart (see ``machine_leases``). None: this object alone.
    ``renewing``: False without the thread; a test calls ``renew``.
    """

    def __init__(
        self,
        place: KeyPlace,
        takeover: timedelta,
        clock: Clock,
        *,
        writer: str | None = None,
        renewing: bool = True,
    ) -> None:
        self._place = place
        self._takeover = takeover
        self._clock = clock
        self._writer = writer or secrets.token_hex(8)
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True) if renewing else None
        if self._thread is not None:
            self._thread.start()

    @staticmethod
    def _name(name: str) -> str:
        return f"leases/{name}"

    def _record(self) -> bytes:
        return canonical({"version": 1, "writer": self._writer, "time": rfc3339(self._clock())})

    def take(self, name: str) -> bool:
        """See ``Leases``. Raises StoreError."""
        with self._lock:
            if name in self._held:
                return True
            if self._grab(name):
                self._held.add(name)
            return name in self._held

    def _grab(self, name: str) -> bool:
        standing = self._standing(name)
        if standing is None:
            try:
                self._place.create(self._name(name), self._record())
            except AlreadyExists:
                return False
            return True
        if not self._is_ours(standing) and not self._silent(standing):
            return False
        self._place.put(self._name(name), self._record())
        return self._is_ours(self._standing(name))

    def _standing(self, name: str) -> bytes | None:
        try:
            return self._place.get(self._name(name))
        except NotFound:
            return None

    def _silent(self, record: bytes) -> bool:
        """Whether its holder has been silent for too long; what cannot be read has no holder. A time far ahead is of a
        clock that was wrong, and would be a lease for ever."""
        time = _time_of(record)
        return time is None or abs(self._clock() - time) > self._takeover

    def _is_ours(self, record: bytes | None) -> bool:
        return record is not None and _writer_of(record) == self._writer

    def renew(self) -> None:
        """Renew all; one that another has taken meanwhile is no longer ours. Raises StoreError."""
        with self._lock:
            for name in sorted(self._held):
                if self._is_ours(self._standing(name)):
                    self._place.put(self._name(name), self._record())
                else:
                    self._held.discard(name)
                    _log.warning("a slot's lease was taken by another process")

    def _run(self) -> None:
        while not self._stop.wait(self._takeover.total_seconds() / 3):
            try:
                self.renew()
            except StoreError as error:  # others may take them; claims decide
                _log.warning("leases cannot be renewed: %s", error.code)

    def release(self, name: str) -> None:
        """See ``Leases``. Raises StoreError."""
        with self._lock:
            if name in self._held:
                self._held.discard(name)
                if self._is_ours(self._standing(name)):
                    self._place.delete(self._name(name))

    def close(self) -> None:
        """Let all leases go; one that cannot be removed now ends by its silence."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            for name in sorted(self._held):
                try:
                    if self._is_ours(self._standing(name)):
                        self._place.delete(self._name(name))
                except StoreError as error:
                    _log.warning("a lease cannot be let go: %s", error.code)
            self._held.clear()


def _field(record: bytes, name: str) -> str | None:
    try:
        value = parse_canonical(record)
    except (ValueError, RecursionError):
        return None
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def _writer_of(record: bytes) -> str | None:
    return _field(record, "writer")


def _time_of(record: bytes) -> datetime | None:
    text = _field(record, "time")
    try:
        return from_rfc3339(text) if text is not None else None
    except ValueError:
        return None
