"""The people of a hold as the directory had them when it was placed.

Who keeps the directory is one person, or a program. What he takes from somebody must not end a hold upon that person's
mail, which needs two people: an address that counted when the hold was placed counts as long as the hold stands.
"""

from collections.abc import Iterable, Sequence

from archive_service.access.confirmed import AsDecided, decided
from archive_service.access.directory import Resolution, resolution_of
from archive_service.model.custodians import Custodian, Directory, HeldAddress, address_key
from archive_service.model.decided_people import DecidedPeople


def placed(
    directory: Directory, custodians: Sequence[str], query: str | None, *, groups: bool
) -> DecidedPeople | None:
    """Whom a hold of these custodians, by id, and this query means now, with the addresses of their groups if asked
    for; None where it names nobody. Raises QueryError."""
    people = decided(directory, custodians, query)
    if groups:
        people = people.together(DecidedPeople(dict(_with_groups(directory, custodians))))
    return people if people.addresses else None


def _with_groups(
    directory: Directory, custodians: Iterable[str]
) -> Iterable[tuple[str, tuple[HeldAddress, ...]]]:
    for each in custodians:
        if (known := directory.get(each)) is not None:
            found = resolution_of(directory, known, groups=True)
            plain = (used.plain() | {"address": address_key(used.address)} for used in found.used)
            yield each, tuple(map(HeldAddress.model_validate, plain))


class AsPlaced(AsDecided):
    """With what a person held then, and nothing else; see ``confirmed.AsDecided``."""

    def _as_decided(self, now: Custodian) -> Custodian:
        then = self._people.addresses.get(now.id, ())
        return now.model_copy(update={"addresses": tuple(then), "groups": ()})


def together(now: Iterable[Resolution], then: Iterable[Resolution]) -> tuple[Resolution, ...]:
    """What each person came to by either."""
    found = {each.id: each for each in now}
    for each in then:
        known = found.get(each.id, each)
        used = tuple(dict.fromkeys((*known.used, *each.used)))
        found[each.id] = Resolution(known.id, known.name, used, known.unresolved)
    return tuple(found.values())
