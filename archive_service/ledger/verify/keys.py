"""An owner's keys: secrets and generations stand in both places, are the same there, and open."""

import re
from collections.abc import Callable
from operator import methodcaller

from archive_service.ledger.note import Signer, Verifier
from archive_service.ledger.verify.report import Report, What
from archive_service.model.canonical import parse_canonical
from archive_service.model.errors import ArchiveError, NotFound, StoreError, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.key_places import KeyStore
from archive_service.vault.keyring import Keyring
from archive_service.vault.kms import Kms

_ROOT_SECRETS = ("signing", "root-salt")
_TENANT_SECRETS = ("identity", "signing", "root-salt", "token")
_NUMBER = re.compile(r"[0-9]{8}")


class OwnerKeys:
    """Checks one owner's keys, and gives what others check with."""

    def __init__(self, keyring: Keyring, kms: Kms, report: Report) -> None:
        self._keyring = keyring
        self._report = report
        places = keyring.store.places
        self._alone = [Keyring(keyring.owner, KeyStore(place, place), kms) for place in places]

    def secrets(self, logs: list[LogId]) -> None:
        """The secrets that an owner with these logs has: made before its first entry, so none may be missing."""
        kinds = {log.kind for log in logs}
        wanted = {*(_TENANT_SECRETS if "acts" in kinds else ()), *(_ROOT_SECRETS if "root" in kinds else ())}
        prefix = f"{self._keyring.owner}/secrets/"
        found = {name.removeprefix(prefix) for name in self._keyring.store.list(prefix)}
        for secret in sorted(wanted | found):
            self._report.tally.keys += 1
            self._copies(prefix + secret, methodcaller("secret", secret))

    def generations(self, used: int) -> None:
        """Table keys and generations. ``used``: the highest generation that an entry names; a later one may stand in
        the first place only, as after a crash: nothing relies on it."""
        owner = self._keyring.owner
        for name in self._keyring.store.list(f"{owner}/table/"):
            self._report.tally.keys += 1
            self._numbered(name)
            self._copies(name, lambda keyring: None)
        numbers: set[int] = set()
        for name in self._keyring.store.list(f"{owner}/generations/"):
            self._report.tally.keys += 1
            number = self._numbered(name)
            if number is None:
                continue
            numbers.add(number)
            if number > used and self._unfinished(name):
                self._report.note(What.KEY, "a generation that was not finished, and is not used", name=name)
            else:
                self._copies(name, methodcaller("generation", number))
        if numbers and used > max(numbers):  # what an erasure destroyed is always older than what stands
            detail = f"an entry names key generation {used}, which never stood: no writer of ours made it"
            self._report.damage(What.KEY, detail, name=key_layout.generation_name(owner, used))

    def verifier(self) -> Verifier | None:
        """Checks the owner's checkpoints; None without its signing key, which ``secrets`` has named."""
        signer = self._signer()
        return Verifier([signer.vkey]) if signer is not None else None

    def vkey(self) -> str | None:
        """What the owner signs with, in public."""
        signer = self._signer()
        return signer.vkey if signer is not None else None

    def _signer(self) -> Signer | None:
        try:
            return Signer(self._keyring.owner, self._keyring.secret("signing"))
        except (ArchiveError, ValueError):
            return None

    def root_salt(self) -> bytes | None:
        """The key of the owner's anchor salts, or None: then ``secrets`` has named it."""
        try:
            return self._keyring.secret("root-salt")
        except ArchiveError:
            return None

    def _copies(self, name: str, use: Callable[[Keyring], object]) -> None:
        """Each place's copy must open by itself."""

        def opens(place: int, data: bytes) -> None:
            parse_canonical(data)
            use(self._alone[place])

        check_copies(self._keyring.store, name, self._report, opens)

    def _numbered(self, name: str) -> int | None:
        """The number in a record's name; another name in its folder is damage, since a count goes by them."""
        last = name.rpartition("/")[2]
        if _NUMBER.fullmatch(last) and name.count("/") == 2:
            return int(last)
        self._report.damage(What.KEY, "a record stands where no such name belongs", name=name)
        return None

    def _unfinished(self, name: str) -> bool:
        first, second = self._keyring.store.places
        try:
            first.get(name)
            second.get(name)
        except NotFound:
            return True
        except (StoreError, Tampered):
            return False  # ``_copies`` says what is wrong
        return False


def check_copies(
    store: KeyStore,
    name: str,
    report: Report,
    opens: Callable[[int, bytes], object],
    log: str | None = None,
    seq: int | None = None,
) -> None:
    """A key store record must stand in both places, be the same there, and pass ``opens(place, copy)`` (0 or 1)."""
    copies: list[bytes] = []
    for place, held in enumerate(store.places):
        try:
            copy = held.get(name)
            copies.append(copy)
            opens(place, copy)
        except NotFound:
            report.damage(What.KEY, f"missing in place {place + 1}", log=log, seq=seq, name=name)
        except (ArchiveError, ValueError, TypeError, RecursionError) as error:
            detail = str(error) if isinstance(error, ArchiveError) else "not a record of canonical JSON"
            report.damage(What.KEY, f"in place {place + 1}: {detail}", log=log, seq=seq, name=name)
    if len(copies) == 2 and copies[0] != copies[1] and not _settled(store, name):
        report.damage(What.KEY, "the two places differ", log=log, seq=seq, name=name)


def _settled(store: KeyStore, name: str) -> bool:
    """Whether the places agree now: an erasure batch writes them one after the other."""
    try:
        first, second = (place.get(name) for place in store.places)
    except ArchiveError:
        return False
    return first == second
