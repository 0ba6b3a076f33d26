"""Stores that fail on purpose, where a test says so.

A store call can fail in two ways that look alike to the caller: lost (nothing happened) or kept (it took
effect, only the answer was lost). Every writer must stand both. A slow call lets a test look at, or
change, the world while the call is under way.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from archive_service.model.errors import Invalid, StoreError
from archive_service.vault.stores.base import KeyPlace, Lock, NewObject, ObjectStore, Stored

_VERBS = {"create", "read", "stat", "list", "protect", "delete", "put", "get"}
_Answer = TypeVar("_Answer")


class Effect(StrEnum):
    """What happens to a call. LOST: it fails and nothing was done. KEPT: it was done, then it fails.
    SLOW: it waits for the test, then goes on as usual."""

    LOST = "lost"
    KEPT = "kept"
    SLOW = "slow"


@dataclass(frozen=True)
class Call:
    """A call as it arrived. ``keys``: the names it is about (the prefix, for ``list``)."""

    verb: str
    keys: tuple[str, ...]


def _planned() -> Exception:
    return StoreError("a planned fault")


@dataclass
class Fault:
    """One planned fault; made by ``FaultPlan.fail``.

    ``reached`` is set when a call meets the fault. A SLOW call waits until the test sets ``release``.
    """

    verb: str
    nth: int
    effect: Effect
    prefix: str
    times: int | None
    error: Callable[[], Exception]
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    seen: int = 0

    def meets(self, call: Call) -> bool:
        """Counts the call if it is of the kind, and says whether its turn has come."""
        if call.verb != self.verb or not any(key.startswith(self.prefix) for key in call.keys):
            return False
        self.seen += 1
        return self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)


class FaultPlan:
    """Which calls fail, and a record of all calls made. Thread-safe; may serve several stores at once."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._faults: list[Fault] = []
        self._calls: list[Call] = []

    @property
    def calls(self) -> list[Call]:
        """The calls so far, in the order of arrival."""
        with self._mutex:
            return list(self._calls)

    def fail(
        self,
        verb: str,
        nth: int = 1,
        effect: Effect = Effect.LOST,
        *,
        prefix: str = "",
        times: int | None = 1,
        error: Callable[[], Exception] = _planned,
    ) -> Fault:
        """Plan a fault for the ``nth`` call of ``verb`` from now on (the first is 1) and ``times`` - 1
        further ones (None: all), counting only calls with a key under ``prefix``. Raises Invalid for a
        verb that no store has."""
        if verb not in _VERBS or nth < 1:
            raise Invalid("no such verb, or a call number below 1")
        fault = Fault(verb, nth, effect, prefix, times, error)
        with self._mutex:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Forget all faults and let slow calls go on; the record of calls stays."""
        with self._mutex:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.release.set()

    def run(self, call: Call, inner: Callable[[], _Answer]) -> _Answer:
        """Do the call as planned."""
        with self._mutex:
            self._calls.append(call)
            met = [fault for fault in self._faults if fault.meets(call)]
        for fault in met:
            fault.reached.set()
            if fault.effect is Effect.SLOW:
                fault.release.wait()
            elif fault.effect is Effect.LOST:
                raise fault.error()
        answer = inner()
        for fault in met:
            if fault.effect is Effect.KEPT:
                raise fault.error()
        return answer


class FaultyStore:
    """An ObjectStore that does what another does, except where the plan says otherwise."""

    def __init__(self, inner: ObjectStore, plan: FaultPlan) -> None:
        self._inner = inner
        self._plan = plan

    def create(self, objects: Sequence[NewObject]) -> list[Stored]:
        """As in ObjectStore."""
        keys = tuple(item.key for item in objects)
        return self._plan.run(Call("create", keys), lambda: self._inner.create(objects))

    def read(self, key: str, version: str | None = None, offset: int = 0, length: int | None = None) -> bytes:
        """As in ObjectStore."""
        return self._plan.run(Call("read", (key,)), lambda: self._inner.read(key, version, offset, length))

    def stat(self, key: str) -> list[tuple[Stored, Lock]]:
        """As in ObjectStore."""
        return self._plan.run(Call("stat", (key,)), lambda: self._inner.stat(key))

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """As in ObjectStore."""
        return self._plan.run(Call("list", (prefix,)), lambda: self._inner.list(prefix, after))

    def protect(self, key: str, version: str, lock: Lock) -> None:
        """As in ObjectStore."""
        self._plan.run(Call("protect", (key,)), lambda: self._inner.protect(key, version, lock))

    def delete(self, key: str, version: str) -> None:
        """As in ObjectStore."""
        self._plan.run(Call("delete", (key,)), lambda: self._inner.delete(key, version))


class FaultyKeyPlace:
    """A KeyPlace that does what another does, except where the plan says otherwise."""

    def __init__(self, inner: KeyPlace, plan: FaultPlan) -> None:
        self._inner = inner
        self._plan = plan

    def create(self, name: str, data: bytes) -> None:
        """As in KeyPlace."""
        self._plan.run(Call("create", (name,)), lambda: self._inner.create(name, data))

    def put(self, name: str, data: bytes) -> None:
        """As in KeyPlace."""
        self._plan.run(Call("put", (name,)), lambda: self._inner.put(name, data))

    def get(self, name: str) -> bytes:
        """As in KeyPlace."""
        return self._plan.run(Call("get", (name,)), lambda: self._inner.get(name))

    def list(self, prefix: str) -> Iterator[str]:
        """As in KeyPlace."""
        return self._plan.run(Call("list", (prefix,)), lambda: self._inner.list(prefix))

    def delete(self, name: str) -> None:
        """As in KeyPlace."""
        self._plan.run(Call("delete", (name,)), lambda: self._inner.delete(name))
