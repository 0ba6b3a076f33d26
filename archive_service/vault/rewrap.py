"""Brings every secret and table key under the newest key version of the KMS, so that older versions can be destroyed,
or the archive moved to another KMS (FORMAT.md section 9).

Who calls holds the lease ``erasure``: an erasure batch retires and deletes table keys, and what it deletes must not be
put back. A retired table key is left as it is, under its old version: under a newer one it would outlive its erasure.
Which are retired is said by the record, by the acts, and by a greater number beside it: a place that was put back from
a backup holds them as they were before anybody retired them.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from archive_service.model.errors import ArchiveError, Invalid, KeyUnavailable, StoreError, Tampered
from archive_service.vault import key_format, key_layout
from archive_service.vault.key_places import KeyStore
from archive_service.vault.keyring import owners
from archive_service.vault.kms import Kms
from archive_service.vault.kms_record import context_of, open_record, wrapped_record

_ONE_COPY_ONLY = {"kms.unknown_version", "kms.damaged"}  # these say something of a copy, not of the service


class Done(Enum):
    """What became of a record."""

    STANDS = "stood in both places under the newest version"
    REWRAPPED = "wrapped anew"
    HEALED = "put back where it was missing or different"
    RETIRED = "left to the erasure batch that has retired it"
    GONE = "deleted meanwhile"


@dataclass(frozen=True)
class RewrapReport:
    """What a run did. ``version``: the KMS's newest when it began. ``broken``: names of records that no copy opens, or
    whose copies hold different keys, and why; they were left as they are, and the rest was done all the same."""

    version: str
    records: int
    rewrapped: int
    healed: int
    retired: int
    broken: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class WrappedName:
    """A record that the KMS wraps: its name in the key store, and what its bytes are bound to."""

    name: str
    context: bytes


@dataclass(frozen=True)
class _Copy:
    data: bytes
    record: dict[str, Any]
    secret: bytes
    newness: tuple[bool, int]  # of the new KMS; place among its versions


def wrapped_names(store: KeyStore) -> list[WrappedName]:
    """Every record that the KMS wraps, in order: secrets and table keys of every owner. Raises Tampered for one under a
    name that it cannot have: nobody could say what it is bound to."""
    return [_wrapped_name(owner, name) for owner in owners(store) for name in _names(store, owner)]


def _names(store: KeyStore, owner: str) -> Iterator[str]:
    yield from store.list(f"{owner}/secrets/")
    yield from store.list(f"{owner}/table/")


def _wrapped_name(owner: str, name: str) -> WrappedName:
    _, kind, last = (*name.split("/", 2), "")[:3]
    if kind == "secrets" and last and "/" not in last:
        return WrappedName(name, context_of(owner, "secret", last))
    if kind == "table" and last.isdecimal() and name == key_layout.table_name(owner, int(last)):
        return WrappedName(name, context_of(owner, "table", int(last)))
    raise Tampered(f"{name}: a record stands where no such name belongs")


def under(data: bytes, what: str) -> tuple[str, str]:
    """The KMS's provider and key version that a record names. Raises Tampered."""
    record = key_format.parse(data, what)
    try:
        return str(record["kms"]["provider"]), str(record["kms"]["key"])
    except (KeyError, TypeError) as error:
        raise Tampered(f"{what} does not name its key version") from error


def in_use(store: KeyStore, provider: str | None = None) -> dict[str, int]:
    """How many records name each key version (of ``provider``; None: of any) in either place, retired ones included.

    Whether a version may be destroyed follows only when both places can be read: see ``places_differ``. Raises Tampered
    for a record that cannot be read, since it may stand under any version."""
    found: Counter[str] = Counter()
    for wrapped in wrapped_names(store):
        named = {under(copy, wrapped.name) for copy in store.copies(wrapped.name) if copy is not None}
        found.update(version for by, version in named if provider in (None, by))
    return dict(found)


def places_differ(store: KeyStore) -> list[str]:
    """Names of the secrets and table keys that do not stand in both places alike."""
    found = []
    for wrapped in wrapped_names(store):
        first, second = store.copies(wrapped.name)
        if first != second:
            found.append(wrapped.name)
    return found


def rewrap(
    store: KeyStore,
    kms: Kms,
    progress: Callable[[int, int], None] | None = None,
    *,
    old_kms: Kms | None = None,
    retired: Mapping[str, Collection[int]] | None = None,
) -> RewrapReport:
    """Wrap every record that names another key version than the newest under the newest, in both places, read back from
    both; durable on return. ``progress``: records done, of how many. ``old_kms``: the service that the archive moves
    away from, of another provider; nothing else may write to the archive until all is moved. ``retired``: by owner, the
    table keys that an ``erasure.begin`` names.

    Every record opens from at least one place at any moment, and the next run finishes what a crash or an error left:
    what is done is seen by its version. Where the places differ, the copy that opens and is newer goes to both.

    Raises StoreError when a place cannot be written or read back, or when the KMS is away or refuses: then some records
    are done, and none is lost. Raises Invalid for two services of one provider, which records cannot tell apart."""
    return _Rewrap(store, kms, old_kms, retired or {}).run(progress or (lambda done, total: None))


class _Rewrap:
    def __init__(
        self,
        store: KeyStore,
        kms: Kms,
        old_kms: Kms | None,
        retired: Mapping[str, Collection[int]],
    ) -> None:
        if old_kms is not None and old_kms.provider == kms.provider:
            raise Invalid("both key services are of one provider", code="kms.same_provider")
        self._store = store
        self._kms = kms
        self._by_provider = {each.provider: each for each in (kms, old_kms) if each is not None}
        self._versions = kms.versions()
        self._retired = retired
        self._left: set[str] = set()

    def run(self, progress: Callable[[int, int], None]) -> RewrapReport:
        names = wrapped_names(self._store)
        self._left = self._retired_tables(names)
        counted: Counter[Done] = Counter()
        broken: list[tuple[str, str]] = []
        for place, wrapped in enumerate(names):
            progress(place, len(names))
            try:
                counted[self._one(wrapped)] += 1
            except (Tampered, KeyUnavailable) as error:
                broken.append((wrapped.name, str(error)))
        progress(len(names), len(names))
        return RewrapReport(
            self._versions[-1],
            len(names),
            counted[Done.REWRAPPED],
            counted[Done.HEALED],
            counted[Done.RETIRED],
            tuple(broken),
        )

    def _retired_tables(self, names: Sequence[WrappedName]) -> set[str]:
        """By the acts; and all but each owner's greatest: a table key is made only in the place of retired ones."""
        tables: dict[str, list[int]] = {}
        for wrapped in names:
            owner, kind, last = wrapped.name.split("/")
            if kind == "table":
                tables.setdefault(owner, []).append(int(last))
        return {
            key_layout.table_name(owner, number)
            for owner, numbers in tables.items()
            for number in numbers
            if number < max(numbers) or number in self._retired.get(owner, ())
        }

    def _one(self, wrapped: WrappedName) -> Done:
        if wrapped.name in self._left:
            return Done.RETIRED
        copies = self._store.copies(wrapped.name)
        present = [copy for copy in copies if copy is not None]
        if not present:
            return Done.GONE
        if any(_is_retired(copy) for copy in present):
            return Done.RETIRED
        best = self._newest(wrapped, present)
        if best.newness == (True, len(self._versions) - 1):
            if copies == [best.data, best.data]:
                return Done.STANDS
            self._put(wrapped.name, best.data)
            return Done.HEALED
        self._put(wrapped.name, self._anew(wrapped, best))
        return Done.REWRAPPED

    def _newest(self, wrapped: WrappedName, copies: list[bytes]) -> _Copy:
        """Of the copies that open, the newer one. Raises what the first says when none opens, Tampered when both do and
        are not the same key."""
        opened: list[_Copy] = []
        failures: list[ArchiveError] = []
        for data in copies:
            try:
                opened.append(self._open(wrapped, data))
            except (Tampered, KeyUnavailable) as error:
                failures.append(error)
        if not opened:
            raise failures[0]
        if len({copy.secret for copy in opened}) > 1:
            raise Tampered(f"{wrapped.name}: the two places hold different keys")
        return max(opened, key=lambda copy: copy.newness)

    def _open(self, wrapped: WrappedName, data: bytes) -> _Copy:
        provider, version = under(data, wrapped.name)
        kms = self._by_provider.get(provider)
        if kms is None:
            raise KeyUnavailable(
                f"{wrapped.name} is wrapped by another key service: {provider}", code="kms.other_provider"
            )
        record = key_format.parse(data, wrapped.name)
        try:
            secret = open_record(kms, data, wrapped.context, wrapped.name)
        except StoreError as error:
            if error.code not in _ONE_COPY_ONLY:
                raise
            raise KeyUnavailable(f"{wrapped.name}: {error}", code=error.code) from error
        ours = kms is self._kms and version in self._versions
        return _Copy(data, record, secret, (ours, self._versions.index(version) if ours else -1))

    def _anew(self, wrapped: WrappedName, copy: _Copy) -> bytes:
        """The record under the newest version, opened once before it replaces anything."""
        data = wrapped_record(self._kms, copy.record, wrapped.context, copy.secret)
        if open_record(self._kms, data, wrapped.context, wrapped.name) != copy.secret:
            raise StoreError("the key service does not open what it wrapped", code="kms.damaged")
        return data

    def _put(self, name: str, data: bytes) -> None:
        self._store.put(name, data)
        if self._store.copies(name) != [data, data]:
            raise StoreError("a record does not read back from both places", code="kms.read_back")


def _is_retired(data: bytes) -> bool:
    try:
        return key_format.parse(data, "a record").get("retired") is True
    except Tampered:
        return False  # whatever it was: the other copy says, and ``_newest`` names this one
