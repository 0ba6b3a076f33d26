"""People and groups as the directory keeps them: who held which address from which day to which.

Days are ISO dates (``2026-11-23``) in UTC, both ends of a span included; a missing end is open. Addresses are kept as
keys: trimmed, case folded, NFC, as the search index compares them.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from archive_service.model.mail import Frozen

MOST_ADDRESSES = 500
MOST_GROUPS = 2000
_LONGEST_ADDRESS = 320  # RFC 5321 section 4.5.3.1: local part 64, domain 255, and the sign between
_SMTP = re.compile(r"[^\s\x00-\x20\x7f\ud800-\udfff]+@[^@\s\x00-\x20\x7f\ud800-\udfff]+")
_UNCLEAN = re.compile("[\x00-\x1f\ud800-\udfff]")


def address_key(address: str) -> str:
    """A mail address for comparison: case folds, accents stay."""
    return unicodedata.normalize("NFC", address.strip().casefold())


def address_forms(key: str) -> tuple[str, ...]:
    """An address by its key, and by the other form of its domain where it has one: A-labels or U-labels (RFC 5890
    section 2.3.2.1) are one domain, and mail bears either."""
    local, _, domain = key.rpartition("@")
    try:
        other = (
            domain.encode("ascii").decode("idna")
            if domain.isascii()
            else domain.encode("idna").decode("ascii")
        )
    except UnicodeError:
        return (key,)  # no host name: it has no other form
    return tuple(dict.fromkeys((key, address_key(f"{local}@{other}"))))


def is_smtp(address: str) -> bool:
    """Whether it has the form of a mail address: something on both sides of an ``@``, no space, no control sign."""
    return len(address) <= _LONGEST_ADDRESS and _SMTP.fullmatch(address) is not None


def day_before(day: str) -> str:
    """The day before a ``Day``."""
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()


def day_after(day: str) -> str:
    """The day after a ``Day``."""
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def _real(day: str) -> str:
    """Of the calendar, and with a day before and one behind. Raises ValueError."""
    if not 1900 <= date.fromisoformat(day).year <= 9998:
        raise ValueError("a year of 1900 to 9998")
    return day


def _clean(text: str) -> str:
    """One line of text that JSON can hold. Raises ValueError."""
    if _UNCLEAN.search(text):
        raise ValueError("no control signs")
    return text


Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_real)]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True), AfterValidator(_clean)
]
Key = Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_clean)]
Origin = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,39}$")]
ExternalIds = Annotated[dict[Origin, Key], Field(max_length=20)]


class AddressKind(StrEnum):
    """OTHER: a name that is no mail address (X.500 and the like). It is kept, and never searched for."""

    PRIMARY = "primary"
    ALIAS = "alias"
    OTHER = "other"


class Dated(Frozen):
    """What holds from a day to a day, both included; None is open. Raises ValueError when it ends before it begins."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    begins: Day | None = Field(default=None, validation_alias="from", serialization_alias="from")
    until: Day | None = None

    @model_validator(mode="after")
    def _forwards(self) -> "Dated":
        if self.begins is not None and self.until is not None and self.until < self.begins:
            raise ValueError("a span that ends before it begins")
        return self

    def on(self, day: str) -> bool:
        """Whether it holds on a day."""
        return (self.begins is None or self.begins <= day) and (self.until is None or day <= self.until)

    def meets(self, other: "Dated") -> bool:
        """Whether there is a day on which both hold."""
        begins_in_time = self.begins is None or other.until is None or self.begins <= other.until
        return begins_in_time and (other.begins is None or self.until is None or other.begins <= self.until)

    def plain(self) -> dict[str, Any]:
        """JSON-ready, without what is open."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class HeldAddress(Dated):
    """An address of a person, as a key (``address_key``)."""

    address: Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_clean)]
    kind: AddressKind = AddressKind.ALIAS

    @model_validator(mode="after")
    def _searchable(self) -> "HeldAddress":
        if self.address != address_key(self.address):
            raise ValueError("an address that is not in its comparable form")
        if self.kind is not AddressKind.OTHER and not is_smtp(self.address):
            raise ValueError("not a mail address")
        return self


_RANKS = {AddressKind.PRIMARY: 0, AddressKind.ALIAS: 1, AddressKind.OTHER: 2}


def in_order(addresses: Iterable[HeldAddress]) -> tuple[HeldAddress, ...]:
    """Primary ones first, then by their first days."""
    return tuple(sorted(addresses, key=lambda held: (_RANKS[held.kind], held.begins or "", held.address)))


class Membership(Dated):
    """That a person is in a group, by the group's id."""

    group: Key


class Group(Frozen):
    """A distribution list or group. ``address``: where mail to all of it goes. ``ended``: since when it is no more."""

    id: Key
    name: Name
    address: str | None = None
    external: ExternalIds = Field(default_factory=dict)
    ended: Day | None = None

    @model_validator(mode="after")
    def _searchable(self) -> "Group":
        if self.address is not None and (
            not is_smtp(self.address) or self.address != address_key(self.address)
        ):
            raise ValueError("not a mail address")
        return self

    def plain(self) -> dict[str, Any]:
        """JSON-ready, without what is not there."""
        return self.model_dump(mode="json", exclude_none=True)


class Custodian(Frozen):
    """A person. ``external``: what other directories call him, by origin (``csv``, ``ldap``, ``scim`` ...). Who has
    left stays, with ``left`` (his last day): mail of the past must be found."""

    id: Key
    name: Name
    given: Name | None = None
    family: Name | None = None
    addresses: Annotated[tuple[HeldAddress, ...], Field(max_length=MOST_ADDRESSES)] = ()
    groups: Annotated[tuple[Membership, ...], Field(max_length=MOST_GROUPS)] = ()
    entity: Name | None = None
    department: Name | None = None
    joined: Day | None = None
    left: Day | None = None
    external: ExternalIds = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> "Custodian":
        if self.joined is not None and self.left is not None and self.left < self.joined:
            raise ValueError("left before having joined")
        _require_apart(self.addresses, [held.address for held in self.addresses])
        _require_apart(self.groups, [membership.group for membership in self.groups])
        return self

    def plain(self) -> dict[str, Any]:
        """JSON-ready, without what is not there: what an act holds."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def active(self, day: str) -> bool:
        """Whether the person was there on a day, as far as is known."""
        return (self.joined is None or self.joined <= day) and (self.left is None or day <= self.left)


def _require_apart(spans: tuple[Dated, ...], names: list[str]) -> None:
    """Raises ValueError when two spans under one name meet."""
    if len(names) == len(set(names)):
        return
    by_name: dict[str, list[Dated]] = {}
    for name, span in zip(names, spans, strict=True):
        before = by_name.setdefault(name, [])
        if any(span.meets(other) for other in before):
            raise ValueError("one name twice on one day")
        before.append(span)


class Directory(Protocol):
    """The people and groups of a tenant, to be read. Thread-safe; as new as the acts read so far."""

    def get(self, custodian: str) -> Custodian | None:
        """The person with this id."""
        ...

    def everyone(self) -> Iterator[Custodian]:
        """Every person, in the order in which they came in."""
        ...

    def holders(self, address: str) -> list[Custodian]:
        """Whoever holds or held the address (a key)."""
        ...

    def named(self, key: str) -> list[Custodian]:
        """Whoever has this name, in its comparable form (``address_key``)."""
        ...

    def group(self, group: str) -> Group | None:
        """The group with this id."""
        ...
