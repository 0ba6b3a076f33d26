"""From a person to the addresses that he held: what a search, a hold, a grant or a request that names somebody means.

Every answer says which addresses it used, each with its days, and what it could not resolve and why. A person is named
by his id, by an address, or by his name; where that fits several, nobody is guessed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from archive_service.model.custodians import (
    AddressKind,
    Custodian,
    Directory,
    HeldAddress,
    address_forms,
    address_key,
)
from archive_service.model.errors import ArchiveError, Invalid, NotFound, QueryError, Refused
from search.query_language import MAX_TERMS
from search.query_tree import And, Named, Near, Node, Not, Or, Sent, Text

_SHOWN = 5  # ids that a message names


@dataclass(frozen=True)
class Used:
    """An address and the days (both included, None open) on which it counts."""

    address: str
    begins: str | None = None
    until: str | None = None

    def plain(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"address": self.address, "from": self.begins, "until": self.until}

    def node(self) -> Node:
        """Mail with this address in any place, in either form of its domain, sent on those days."""
        forms = tuple(Text(form, "participants") for form in address_forms(address_key(self.address)))
        held: Node = forms[0] if len(forms) == 1 else Or(forms)
        if self.begins is None and self.until is None:
            return held
        return And((held, Sent(self.begins, self.until)))


@dataclass(frozen=True)
class Unresolved:
    """What could not be used. ``why``: ``address.not_smtp``, ``group.without_address``, ``group.unknown``,
    ``custodian.unknown``, ``custodian.ambiguous``, ``custodian.without_address``."""

    what: str
    why: str

    def plain(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"what": self.what, "why": self.why}


@dataclass(frozen=True)
class Resolution:
    """What a person came to. ``id`` is empty, ``name`` as asked, where there is no such person."""

    id: str
    name: str
    used: tuple[Used, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()

    def plain(self) -> dict[str, Any]:
        """JSON-ready: what answers and access entries hold."""
        return {
            "id": self.id,
            "name": self.name,
            "addresses": [used.plain() for used in self.used],
            "unresolved": [each.plain() for each in self.unresolved],
        }

    def line(self) -> str:
        """For people: who, what was used and on which days, and after a ``?`` what could not be."""
        spans = [
            f"{each.address} {each.begins or ''}..{each.until or ''}"
            if each.begins or each.until
            else each.address
            for each in self.used
        ]
        unresolved = [f"? {each.what} ({each.why})" for each in self.unresolved]
        return f"{self.name} [{self.id or '?'}]: {', '.join([*spans, *unresolved])}"

    def node(self) -> Node | None:
        """Mail of this person; None when no address can be searched for."""
        parts = tuple(used.node() for used in self.used)
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else Or(parts)


def resolve(directory: Directory, wanted: str, *, on: str | None = None) -> Custodian:
    """The person with this id, else the holder of this address (``on`` a day, else of all times), else the one of this
    name. Raises NotFound (``custodian.unknown``), Refused (``custodian.ambiguous``) where it fits several."""
    found = directory.get(wanted)
    if found is not None:
        return found
    key = address_key(wanted)
    fitting = [
        custodian
        for custodian in directory.holders(key)
        if on is None or any(held.address == key and held.on(on) for held in custodian.addresses)
    ]
    if not fitting and "@" not in wanted:
        fitting = directory.named(key)
    if not fitting:
        raise NotFound("the directory knows nobody of this id, address or name", code="custodian.unknown")
    if len(fitting) > 1:
        ids = ", ".join(each.id for each in fitting[:_SHOWN])
        raise Refused(f"several people fit; name one by id: {ids}", code="custodian.ambiguous")
    return fitting[0]


def resolution_of(directory: Directory, custodian: Custodian, *, groups: bool = False) -> Resolution:
    """The addresses of a person; those of his groups too, for the days on which he was in them, if asked for. Never
    raises: a person without any address has an ``unresolved`` that says so."""
    used = [_used(held) for held in custodian.addresses if held.kind is not AddressKind.OTHER]
    unresolved = [
        Unresolved(held.address, "address.not_smtp")
        for held in custodian.addresses
        if held.kind is AddressKind.OTHER
    ]
    for membership in custodian.groups if groups else ():
        group = directory.group(membership.group)
        if group is None or group.address is None:
            why = "group.unknown" if group is None else "group.without_address"
            unresolved.append(Unresolved(membership.group, why))
        else:
            used.append(Used(group.address, membership.begins, membership.until))
    if not used:
        unresolved.append(Unresolved(custodian.id, "custodian.without_address"))
    return Resolution(custodian.id, custodian.name, tuple(dict.fromkeys(used)), tuple(unresolved))


def query_of(directory: Directory, custodian: Custodian, *, groups: bool = False) -> tuple[Node, Resolution]:
    """The mail of a person as a query, and what it rests on. Raises Invalid (``custodian.without_address``) where no
    address can be searched for: nothing found must not look like nothing there."""
    resolution = resolution_of(directory, custodian, groups=groups)
    node = resolution.node()
    if node is None:
        raise Invalid("this person has no address to search for", code="custodian.without_address")
    return node, resolution


def resolutions(directory: Directory, wanted: Iterable[str], *, groups: bool = False) -> list[Resolution]:
    """One for each name asked for, in that order; who is not found, or not for certain, is unresolved."""
    found = []
    for each in dict.fromkeys(wanted):
        try:
            found.append(resolution_of(directory, resolve(directory, each), groups=groups))
        except (NotFound, Refused) as error:
            found.append(Resolution("", each, unresolved=(Unresolved(each, error.code),)))
    return found


def query_of_all(found: Iterable[Resolution]) -> Node | None:
    """Mail of any of these people; None when there is nothing to search for."""
    parts = tuple(node for each in found if (node := each.node()) is not None)
    return Or(parts) if len(parts) > 1 else parts[0] if parts else None


def expanded(query: Node, directory: Directory) -> tuple[Node, tuple[Resolution, ...]]:
    """The query with every ``custodian:`` in it put into addresses, and what each came to. Raises QueryError at its
    place: ``custodian.unknown``, ``custodian.ambiguous``, ``custodian.without_address``, ``query.too_complex``."""
    expansion = _Expansion(directory)
    return expansion.of(query), tuple(expansion.found.values())


class _Expansion:
    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._terms = 0
        self.found: dict[str, Resolution] = {}

    def of(self, node: Node) -> Node:
        match node:
            case Named():
                return self._person(node)
            case And(parts):
                return And(tuple(self.of(part) for part in parts))
            case Or(parts):
                return Or(tuple(self.of(part) for part in parts))
            case Not(part):
                return Not(self.of(part))
            case Near():
                return node  # no person stands beside NEAR or PRE
        return node

    def _person(self, named: Named) -> Node:
        try:
            made, resolution = query_of(self._directory, resolve(self._directory, named.who))
        except ArchiveError as error:
            raise QueryError(str(error), named.position, code=error.code) from error
        self._terms += len(resolution.used)
        if self._terms > MAX_TERMS:
            message = f"the people named have more than {MAX_TERMS} addresses"
            raise QueryError(message, named.position, code="query.too_complex")
        self.found[resolution.id] = resolution
        return made


def _used(held: HeldAddress) -> Used:
    return Used(held.address, held.begins, held.until)
