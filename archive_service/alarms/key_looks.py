"""Whether the key service and both key places do what every mail asks of them, and whether the places agree."""

import secrets

from archive_service.alarms import names
from archive_service.alarms.tally import Sample
from archive_service.model.errors import ArchiveError, NotFound
from archive_service.vault.key_places import KeyStore
from archive_service.vault.kms import Kms
from archive_service.vault.stores.base import KeyPlace

_CONTEXT = b"archive-service/alarms/v1\0"
_NEWEST = 3  # records of a kind that are compared byte for byte; older ones by name


def key_service(kms: Kms) -> Sample:
    """What is wrapped now opens again."""
    probe = secrets.token_bytes(32)
    try:
        version, wrapped = kms.wrap(_CONTEXT, probe)
        works = kms.unwrap(version, _CONTEXT, wrapped) == probe
    except ArchiveError:
        works = False
    return Sample.of(names.KEY_SERVICE_OK, works)


def key_places(keys: KeyStore) -> list[Sample]:
    """Each place takes a record, gives it back, and removes it."""
    return [
        Sample.of(names.KEY_PLACE_OK, _works(place), place=which)
        for which, place in zip("ab", keys.places, strict=True)
    ]


def _works(place: KeyPlace) -> bool:
    name, probe = f"probe/{secrets.token_hex(8)}", secrets.token_bytes(16)
    try:
        place.put(name, probe)
        works = place.get(name) == probe
        place.delete(name)
    except ArchiveError:
        return False
    return works


class Differences:
    """Key records that are not the same in both places. One that was under way at the first look counts only when it
    still differs at the next one. Not thread-safe."""

    def __init__(self) -> None:
        self._before: set[str] = set()

    def look(self, keys: KeyStore, owners: list[str]) -> Sample:
        """Secrets, table keys and day keys of these owners; ``verify`` compares every record. Raises StoreError."""
        differing = {name for owner in owners for name in _differing(keys, owner)}
        lasting = differing & self._before
        self._before = differing
        return Sample.of(names.KEY_PLACES_DIFFER, len(lasting))


def _differing(keys: KeyStore, owner: str) -> set[str]:
    found: set[str] = set()
    for kind in ("secrets", "table", "generations"):
        first, second = (set(place.list(f"{owner}/{kind}/")) for place in keys.places)
        found |= first ^ second
        both = sorted(first & second)
        compared = both if kind == "secrets" else both[-_NEWEST:]
        found |= {name for name in compared if not _same(keys, name)}
    return found


def _same(keys: KeyStore, name: str) -> bool:
    first, second = keys.places
    try:
        return first.get(name) == second.get(name)
    except NotFound:
        return False
