"""Who holds an address when two records would on one day. Pure.

An address has one holder a day. A former holder lets it go when he has left, or when his directory ended it today: then
it passes on, his days end where the new holder's begin. A span without a first day begins behind days that are over.
Everything else is a conflict, and named.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from archive_service.model.custodians import (
    AddressKind,
    Custodian,
    HeldAddress,
    day_after,
    day_before,
    in_order,
)


@dataclass(frozen=True)
class Conflict:
    """That a person would hold an address on a day on which ``other`` does."""

    custodian: str
    other: str
    address: str


@dataclass(frozen=True)
class Settled:
    """The record as it can be, and those of former holders whose days end earlier."""

    custodian: Custodian
    former: tuple[Custodian, ...] = ()


def settled(
    custodian: Custodian,
    holders: Callable[[str], Iterable[Custodian]],
    stored: Callable[[str], Custodian | None],
    today: str,
) -> Settled | Conflict:
    """The record with every span that meets another holder's put apart, if that can be. ``holders``: of an address, as
    they are to be; ``stored``: a person as he is."""
    pairs = _Pairs(stored, today)
    former: dict[str, Custodian] = {}
    spans: list[HeldAddress] = []
    for held in custodian.addresses:
        mine = held
        for holder in holders(held.address) if held.kind is not AddressKind.OTHER else ():
            if holder.id == custodian.id:
                continue
            other = former.get(holder.id, holder)
            for theirs in [each for each in other.addresses if each.address == held.address]:
                if not mine.meets(theirs):
                    continue
                apart = pairs.apart(custodian, mine, other, theirs)
                if apart is None and pairs.is_new(other, theirs) and not pairs.is_new(custodian, mine):
                    continue  # the other's record is what cannot be
                if apart is None:
                    return Conflict(custodian.id, other.id, held.address)
                mine, left = apart
                if left is not theirs:
                    former[other.id] = _with(former.get(other.id, other), theirs, left)
        spans.append(mine)
    changed = Custodian.model_validate(dict(custodian) | {"addresses": in_order(spans)})
    return Settled(changed, tuple(former.values()))


class _Pairs:
    """Two spans of one address that meet, of two people."""

    def __init__(self, stored: Callable[[str], Custodian | None], today: str) -> None:
        self._stored = stored
        self._today = today

    def apart(
        self, me: Custodian, mine: HeldAddress, other: Custodian, theirs: HeldAddress
    ) -> tuple[HeldAddress, HeldAddress] | None:
        """Both with no day in common, or None. Who newly holds it takes; who lets it go gives."""
        if self.is_new(me, mine) and (taken := self._taken(me, mine, other, theirs)):
            return taken
        if self.is_new(other, theirs) and (taken := self._taken(other, theirs, me, mine)):
            return taken[1], taken[0]
        if self._gives_way(me, mine, theirs):
            return _until_before(mine, theirs), theirs
        if self._gives_way(other, theirs, mine):
            return mine, _until_before(theirs, mine)
        return None

    def is_new(self, holder: Custodian, span: HeldAddress) -> bool:
        """Whether it does not stand in the holder's record as it is."""
        before = self._stored(holder.id)
        known = before.addresses if before is not None else ()
        return not any((each.address, each.begins) == (span.address, span.begins) for each in known)

    def _taken(
        self, taker: Custodian, taking: HeldAddress, giver: Custodian, giving: HeldAddress
    ) -> tuple[HeldAddress, HeldAddress] | None:
        if taking.begins is None and giving.until is not None and giving.until < self._today:
            return _from(taking, day_after(giving.until), giving)
        if not self._lets_go(giver, giving):
            return None
        begins = taking.begins or self._first_day(taker, giver)
        if giving.begins is not None and giving.begins >= begins:
            return None
        return _from(taking, begins, giving.model_copy(update={"until": day_before(begins)}))

    def _gives_way(self, holder: Custodian, span: HeldAddress, to: HeldAddress) -> bool:
        """Whether the span is let go, and began before the one that it meets."""
        earlier = to.begins is not None and (span.begins is None or span.begins < to.begins)
        return earlier and self._lets_go(holder, span)

    def _lets_go(self, holder: Custodian, span: HeldAddress) -> bool:
        return holder.left is not None or span.until == self._today

    def _first_day(self, taker: Custodian, giver: Custodian) -> str:
        """From when an address is the taker's that another let go, where nobody says."""
        if giver.left is None:
            return self._today
        return max(day_after(giver.left), taker.joined or self._today)


def _from(taking: HeldAddress, begins: str, giving: HeldAddress) -> tuple[HeldAddress, HeldAddress] | None:
    if taking.until is not None and taking.until < begins:
        return None
    return taking.model_copy(update={"begins": begins}), giving


def _until_before(span: HeldAddress, to: HeldAddress) -> HeldAddress:
    assert to.begins is not None  # ``_gives_way`` has looked
    return span.model_copy(update={"until": day_before(to.begins)})


def _with(other: Custodian, old: HeldAddress, new: HeldAddress) -> Custodian:
    return other.model_copy(
        update={"addresses": tuple(new if each is old else each for each in other.addresses)}
    )
