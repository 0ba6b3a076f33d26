"""The whole archive: every owner, log, object, key and root; resumable in its longest part, the objects."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from archive_service.ledger.acts import Acts
from archive_service.ledger.entry import used_generation
from archive_service.ledger.moves import KIND
from archive_service.ledger.note import Verifier
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.verify.contents import Contents, object_names
from archive_service.ledger.verify.keys import OwnerKeys
from archive_service.ledger.verify.looking import find_logs, find_owners, listed, stray_objects, stray_tops
from archive_service.ledger.verify.moves import Moves
from archive_service.ledger.verify.orders import Orders
from archive_service.ledger.verify.report import Report, What
from archive_service.ledger.verify.roots import Roots
from archive_service.ledger.verify.walk import LogFacts, Walk
from archive_service.model.clock import Clock
from archive_service.model.errors import ArchiveError
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.key_places import KeyStore
from archive_service.vault.keyring import Keyring
from archive_service.vault.kms import Kms
from archive_service.vault.stores.base import ObjectStore

Mark = dict[str, int]
"""Per log id: objects and payloads of entries below this seq have been checked by an earlier run."""


@dataclass(frozen=True)
class Stores:
    """What verify reads."""

    objects: ObjectStore
    keys: KeyStore
    kms: Kms
    clock: Clock


@dataclass(frozen=True)
class _Owner:
    """One owner on the way: what its logs are checked with, and what they left."""

    vault: PayloadVault
    verifier: Verifier | None
    contents: Contents
    orders: Orders
    moves: Moves
    generations: set[int] = field(default_factory=lambda: {0})


class ArchiveVerifier:
    """One run. ``done`` is handed every log and seq whose contents are checked, to be saved for a resume."""

    def __init__(
        self,
        stores: Stores,
        report: Report,
        *,
        sample: float = 1.0,
        seed: int = 0,
        resume: Mark | None = None,
        done: Callable[[LogId, int], None] | None = None,
    ) -> None:
        self._stores = stores
        self._report = report
        self._sample = sample
        self._seed = seed
        self._resume = resume or {}
        self._done = done or (lambda log, seq: None)
        self._facts: dict[str, LogFacts] = {}
        self._salts: dict[str, bytes] = {}
        self._roots: Roots | None = None

    def run(self) -> Report:
        """Check everything; the report names what does not fit. Raises StoreError when a store cannot be listed."""
        store, report = self._stores.objects, self._report
        found = set(find_owners(store, Report()))
        rooted = {owner for owner in found if LogId(owner, "root") in find_logs(store, owner, Report())}
        # The root log first, the others listed after it: whatever it names existed before it was read, so no log that
        # grows or is born meanwhile can look cut back or gone.
        for owner in sorted(rooted):
            self._owner(owner, find_logs(store, owner, report))
        for owner in sorted(set(find_owners(store, report)) - rooted):
            self._owner(owner, find_logs(store, owner, report))
        if self._roots is not None:
            self._roots.compare(self._facts, self._salts)
        elif found:
            report.damage(What.ROOT, "the archive has no root log")
        else:
            report.damage(What.ENTRY, "there is no log at all: is this an archive?")
        stray_objects(store, set(self._facts), report)
        stray_tops(store, report)
        return report

    def _owner(self, name: str, logs: list[LogId]) -> None:
        stores, report = self._stores, self._report
        keyring = Keyring(name, stores.keys, stores.kms)
        keys = OwnerKeys(keyring, stores.kms, report)
        keys.secrets(logs)
        salt = keys.root_salt()
        if salt is not None:
            self._salts[name] = salt
        vault = PayloadVault(stores.objects, keyring, stores.clock)
        acts = _acts(vault, logs)
        erasures = acts.erasures
        moves = Moves(name, report)
        contents = Contents(
            vault,
            report,
            sample=self._sample,
            seed=self._seed,
            skip=self._skip,
            vkey=keys.vkey(),
            erasures=erasures,
            moves=moves,
            dispositions=acts.dispositions,
        )
        orders = Orders(stores.objects, report, name, erasures)
        owner = _Owner(vault, keys.verifier(), contents, orders, moves)
        for log in sorted(logs, key=_turn):
            self._log(log, owner)
        owner.orders.compare(self._facts)
        moves.compare()
        keys.generations(max(owner.generations))

    def _log(self, log: LogId, owner: _Owner) -> None:
        walk = Walk(self._stores.objects, log, owner.verifier, self._report)
        roots = self._root(log, owner.vault) if log.kind == "root" else None
        named: set[str] = set()
        batches: set[str] = set()
        for entry in walk.entries():
            owner.contents.check(log, entry)
            owner.orders.take(log, entry)
            owner.moves.take(log, entry)
            owner.generations.add(used_generation(entry.fields))
            named.update(object_names(entry))
            batches.update(_batch_of(entry.fields))
            if roots is not None:
                roots.take(entry)
            self._done(log, entry.seq)
        self._facts[str(log)] = walk.facts
        self._orphans(log, named)
        self._loose_records(log, batches)

    def _root(self, log: LogId, vault: PayloadVault) -> Roots:
        if self._roots is not None:
            self._report.damage(What.ROOT, "a second root log: the archive has one", log=str(log))
            return Roots(vault, log, self._report)
        self._roots = Roots(vault, log, self._report)
        return self._roots

    def _skip(self, log: LogId, seq: int) -> bool:
        return seq < self._resume.get(str(log), 0)

    def _orphans(self, log: LogId, named: set[str]) -> None:
        """Objects that no entry names: a crash before the append, or a write that is under way."""
        for stored in listed(
            self._stores.objects, key_layout.objects_prefix(log), self._report, log=str(log)
        ):
            if stored.key not in named:
                detail = "no entry names this object: a write that was cut off, or is under way"
                self._report.note(What.ORPHAN, detail, log=str(log), name=stored.key)

    def _loose_records(self, log: LogId, batches: set[str]) -> None:
        """Key records that no entry names: writes cut off, but also all that is left of a log cut back unseen."""
        prefix = f"{key_layout.records_prefix(log.owner)}{log.name}/"
        loose = sum(name.rpartition("/")[2] not in batches for name in self._stores.keys.list(prefix))
        if loose:
            detail = (
                f"{loose} key records that no entry names: writes cut off or under way, or a log cut back"
            )
            self._report.note(What.ORPHAN, detail, log=str(log), name=prefix)


def _turn(log: LogId) -> tuple[bool, bool, LogId]:
    """Moves first, for they say where objects are; the order last, for what it took is known before it."""
    return log.kind != KIND, log.kind == "order", log


def _acts(vault: PayloadVault, logs: list[LogId]) -> Acts:
    """What the acts say of forgetting, as far as they can be read: what is wrong with them is named in their log."""
    acts = Acts(vault, vault.keyring.owner)
    if acts.log in logs:
        with suppress(ArchiveError):
            acts.refresh()
    return acts


def _batch_of(fields: dict[str, object]) -> list[str]:
    """The batch of an entry's sealed name, where it has a key record of its own log."""
    payload = fields.get("payload")
    name = payload.get("name") if isinstance(payload, dict) else fields.get("capture")
    return [name.partition("-")[0]] if isinstance(name, str) else []
