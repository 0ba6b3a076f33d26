"""The whole archive: every owner, log, object, key and root; resumable in its longest part, the objects."""

from collections.abc import Callable
from dataclasses import dataclass

from archive_service.ledger.entry import Entry
from archive_service.ledger.note import Signer, Verifier
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import discover, logs, owners
from archive_service.ledger.verify.contents import Contents, check_copies
from archive_service.ledger.verify.report import Report, What
from archive_service.ledger.verify.roots import Roots
from archive_service.ledger.verify.walk import LogFacts, Walk
from archive_service.model.canonical import parse_canonical
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
        """Check everything; the report names what does not fit. Raises StoreError when a store cannot be read."""
        found = owners(self._stores.objects)
        # The root log first: whatever it names existed before it was read, so no growing log can look cut back.
        for owner in sorted(found, key=lambda name: (LogId(name, "root") not in self._logs(name), name)):
            self._owner(owner)
        self._strays(found)
        if self._roots is not None:
            self._roots.compare(self._facts, self._salts)
        elif found:
            self._report.damage(What.ROOT, "the archive has no root log")
        else:
            self._report.damage(What.ENTRY, "there is no log at all: is this an archive?")
        return self._report

    def _logs(self, owner: str) -> list[LogId]:
        return logs(self._stores.objects, owner)

    def _strays(self, found: list[str]) -> None:
        """Folders in the ledger that are no owner's and no log's."""
        store = self._stores.objects
        names = [name for name in discover(store, "ledger/") if not key_layout.is_owner(name)]
        for owner in found:
            inner = (f"{owner}/{name}" for name in discover(store, f"ledger/{owner}/"))
            names.extend(name for name in inner if not key_layout.is_log(name))
        for name in names:
            self._report.damage(What.ENTRY, "objects stand where no log belongs", name=f"ledger/{name}")

    def _owner(self, owner: str) -> None:
        keyring = Keyring(owner, self._stores.keys, self._stores.kms)
        vault = PayloadVault(self._stores.objects, keyring, self._stores.clock)
        self._keys(keyring)
        verifier = self._verifier(keyring)
        contents = Contents(vault, self._report, sample=self._sample, seed=self._seed, skip=self._skip)
        for log in self._logs(owner):
            roots = None
            if log.kind == "root":
                roots = self._roots = Roots(vault, log, self._report)
            self._log(log, verifier, contents, roots)

    def _log(self, log: LogId, verifier: Verifier | None, contents: Contents, roots: Roots | None) -> None:
        walk = Walk(self._stores.objects, log, verifier, self._report)
        named: set[str] = set()
        for entry in walk.entries():
            contents.check(log, entry)
            named.update(_objects_of(entry))
            if roots is not None:
                roots.take(entry)
            self._done(log, entry.seq)
        self._facts[str(log)] = walk.facts
        self._orphans(log, named)

    def _skip(self, log: LogId, seq: int) -> bool:
        return seq < self._resume.get(str(log), 0)

    def _orphans(self, log: LogId, named: set[str]) -> None:
        """Objects that no entry names: a crash before the append, or a write that is under way."""
        for stored in self._stores.objects.list(key_layout.objects_prefix(log)):
            if stored.key not in named:
                detail = "no entry names this object: a write that was cut off, or is under way"
                self._report.note(What.ORPHAN, detail, log=str(log), name=stored.key)

    def _keys(self, keyring: Keyring) -> None:
        store = keyring.store
        for folder in ("secrets", "table", "generations"):
            for name in store.list(f"{keyring.owner}/{folder}/"):
                self._report.tally.keys += 1
                check_copies(keyring, name, self._report, parse_canonical)
        for number in keyring.numbers():
            try:
                keyring.generation(number)
            except ArchiveError as error:
                name = key_layout.generation_name(keyring.owner, number)
                self._report.damage(What.KEY, str(error), name=name)

    def _verifier(self, keyring: Keyring) -> Verifier | None:
        try:
            self._salts[keyring.owner] = keyring.secret("root-salt")
            return Verifier([Signer(keyring.owner, keyring.secret("signing")).vkey])
        except (ArchiveError, ValueError) as error:
            name = key_layout.secret_name(keyring.owner, "signing")
            self._report.damage(What.KEY, f"checkpoints cannot be checked: {error}", name=name)
            return None


def _objects_of(entry: Entry) -> list[str]:
    """The object store keys that an entry names."""
    payload = entry.fields.get("payload")
    holders = [entry.fields, payload if isinstance(payload, dict) else {}]
    facts = [holder.get("object") for holder in holders]
    return [str(item["key"]) for item in facts if isinstance(item, dict) and "key" in item]
