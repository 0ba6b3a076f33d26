"""What the acts say of people: the directory of custodians, each record as its last act left it.

custodian.set    {people: [record], by, at, origin}   each record whole, from here on
custodian.group  {groups: [record], by, at, origin}   the same for groups

Nobody is ever taken away: who leaves gets ``left``, a group that ends ``ended``. Many records stand in one act.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from archive_service.model.canonical import canonical
from archive_service.model.custodians import Custodian, Group, address_key
from archive_service.model.errors import Tampered

SET, GROUP = "custodian.set", "custodian.group"


@dataclass
class Custodians:
    """One owner's directory as state; see ``Erasures`` for who writes and reads it. Every process replays it, most
    never look: so a record is kept as its bytes, and read in full when somebody asks; one that does not follow its
    format is Tampered then. ``last``: the position of the newest act."""

    last: int = -1
    _people: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    _groups: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    _by_address: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    _external: dict[str, dict[str, str]] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self._people)

    def get(self, custodian: str) -> Custodian | None:
        """See ``model.custodians.Directory``; so the others."""
        found = self._people.get(custodian)
        return None if found is None else _read(Custodian, found[1])

    def version(self, record: str) -> int | None:
        """The position of the act that a person's or group's record stands in; None where there is none."""
        found = self._people.get(record) or self._groups.get(record)
        return None if found is None else found[0]

    def everyone(self) -> Iterator[Custodian]:
        for custodian in list(self._people):
            found = self.get(custodian)
            if found is not None:
                yield found

    def ids(self) -> list[str]:
        """Of every person, in the order of their first acts."""
        return list(self._people)

    def named(self, key: str) -> list[Custodian]:
        return [
            custodian
            for each, (_, data) in list(self._people.items())
            if address_key(json.loads(data)["name"]) == key and (custodian := self.get(each)) is not None
        ]

    def holders(self, address: str) -> list[Custodian]:
        ids = self._by_address.get(address, ())
        found = (self.get(each) for each in ((ids,) if isinstance(ids, str) else ids))
        return [each for each in found if each is not None]

    def members(self, group: str, day: str) -> list[str]:
        """Ids of whoever is in the group on a day."""
        name = json.dumps(group).encode("ascii")
        return [
            custodian
            for custodian, (_, data) in list(self._people.items())
            if name in data
            and any(
                each["group"] == group and each.get("from", "") <= day <= each.get("until", "9999")
                for each in json.loads(data).get("groups", ())
            )
        ]

    def by_external(self, origin: str) -> dict[str, str]:
        """What a source calls people, each with the person's id; not to be changed."""
        with self._lock:
            if self._external is None:
                self._external = {}
                for custodian, (_, data) in self._people.items():
                    self._call(custodian, data)
            return self._external.get(origin, {})

    def group(self, group: str) -> Group | None:
        found = self._groups.get(group)
        return None if found is None else _read(Group, found[1])

    def groups(self) -> Iterator[Group]:
        """Every group there ever was."""
        for group in list(self._groups):
            found = self.group(group)
            if found is not None:
                yield found

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        if act["act"] == SET:
            for custodian, held, data in [_looked_through(record) for record in act["people"]]:
                self._keep(custodian, held, data, position)
        elif act["act"] == GROUP:
            for group, _, data in [_looked_through(record) for record in act["groups"]]:
                self._groups[group] = (position, data)
        else:
            return False
        self.last = position
        return True

    def _keep(self, custodian: str, held: set[str], data: bytes, position: int) -> None:
        before = self._people.get(custodian)
        for address in _addresses(json.loads(before[1])) - held if before else ():
            self._forget(address, custodian)
        for address in held:
            self._note(address, custodian)
        with self._lock:
            if self._external is not None and before is not None:
                for origin, key in json.loads(before[1]).get("external", {}).items():
                    if self._external[origin].get(key) == custodian:
                        del self._external[origin][key]
            self._people[custodian] = (position, data)
            if self._external is not None:
                self._call(custodian, data)

    def _call(self, custodian: str, data: bytes) -> None:
        assert self._external is not None
        for origin, key in json.loads(data).get("external", {}).items():
            self._external.setdefault(origin, {})[key] = custodian

    def _note(self, address: str, custodian: str) -> None:
        """One id alone is kept as it is: nearly every address has one holder."""
        there = self._by_address.get(address)
        if there is None:
            self._by_address[address] = custodian
        elif custodian not in ((there,) if isinstance(there, str) else there):
            self._by_address[address] = (*((there,) if isinstance(there, str) else there), custodian)

    def _forget(self, address: str, custodian: str) -> None:
        there = self._by_address[address]
        left = tuple(each for each in ((there,) if isinstance(there, str) else there) if each != custodian)
        if not left:
            del self._by_address[address]
        else:
            self._by_address[address] = left[0] if len(left) == 1 else left


_Record = TypeVar("_Record", Custodian, Group)


def _read(kind: type[_Record], data: bytes) -> _Record:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise Tampered("a record of the directory that does not follow its format") from error


def _looked_through(record: dict[str, Any]) -> tuple[str, set[str], bytes]:
    """Its id, its addresses, its bytes. Raises KeyError, TypeError or ValueError where it has no id or name."""
    if not isinstance(record["id"], str) or not isinstance(record["name"], str):
        raise TypeError("a record's id and name are text")
    return record["id"], _addresses(record), canonical(record)


def _addresses(record: dict[str, Any]) -> set[str]:
    return {str(held["address"]) for held in record.get("addresses", ())}
