"""What an outside directory says of a person, before it is held against what is known."""

from dataclasses import dataclass, field

from archive_service.model.custodians import AddressKind


@dataclass(frozen=True)
class GivenAddress:
    """An address as a key, with days where the source knows them (ISO dates, both included)."""

    address: str
    kind: AddressKind = AddressKind.ALIAS
    begins: str | None = None
    until: str | None = None

    @property
    def dated(self) -> bool:
        """Whether the source says from when or until when."""
        return self.begins is not None or self.until is not None


@dataclass(frozen=True)
class GivenGroup:
    """A group by what its source calls it: ``key`` within the source, a name, an address where it has one."""

    key: str
    name: str
    address: str | None = None


@dataclass(frozen=True)
class Incoming:
    """One person. ``place``: where it stands in what was handed in (a line, an entry), for reports. ``external``: what
    the source calls the person, by origin. None says nothing of a field; "" that there is nothing in it.

    ``left``: the last day; "" when the person is there. ``gone``: has left, and the source does not say when.
    ``addresses`` and ``groups``, where they are not None, are all that the source knows of today, unless dated.
    """

    place: int
    external: dict[str, str]
    name: str | None = None
    given: str | None = None
    family: str | None = None
    addresses: tuple[GivenAddress, ...] | None = None
    groups: tuple[GivenGroup, ...] | None = None
    entity: str | None = None
    department: str | None = None
    joined: str | None = None
    left: str | None = None
    gone: bool = False


@dataclass(frozen=True)
class Trouble:
    """What could not be taken, and why. ``place`` as in Incoming, 0 for the whole. ``detail`` names ids and fields,
    no person."""

    place: int
    code: str
    detail: str


@dataclass
class Read:
    """What a source came to: people, and rows that are none."""

    people: list[Incoming] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
