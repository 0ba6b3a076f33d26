"""What the acts say of legal holds: which captures may not go while a dispute or an investigation may need them.

hold.place     {hold, matter, name, ground, claim, owner, by, at, review, silent, past, future, query?,
                custodians?: [id], groups?, messages?: [id], first?, last?, people?, captures?: {LOG: [id]}}
hold.covers    {hold, scope, rows, asked, head, captures: {LOG: [id]}}   found by its scope; at most 1,000 ids an act
hold.locked    {hold, count}                    so many of what it covers, in this order, bear a hold in the store
hold.review    {hold, review, by, at, note}     looked at, and to be looked at again by then
hold.release   {hold, by, at, approval}         over, by two people
hold.unlocked  {hold, count}                    so many were looked at since, and freed where nothing else holds them
order.place    {order, kind: keep, ...}        an order to keep (``ledger.orders``) is a hold without a matter, under
                                                its own id; ``order.end`` alone ends it

What is held follows from these acts alone, whatever catalog, index and store say.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from archive_service.model.decided_people import DecidedPeople
from archive_service.vault.key_layout import LogId, is_log

_NEVER = "9999-12-31T23:59:59.999999Z"


@dataclass(frozen=True)
class Released:
    """Who ended a hold, when (RFC 3339), and the approval that it was done under."""

    by: str
    at: str
    approval: str


@dataclass
class Hold:
    """A hold of a matter. It covers what ``query`` finds, and, where custodians are named, what any of them took part
    in, sent from day ``first`` to day ``last``; or the messages and captures of a list. ``past``, ``future``: of what
    was received until ``at``, and later. ``review`` (RFC 3339): by when it is to be looked at again.

    ``covered``: log by capture, in the order of the acts. ``scope``: a digest of the search under which the order log
    below ``rows``, and what was asked to be erased below the acts-log position ``asked``, was looked through; ``head``:
    whether that was all there was then."""

    id: str
    matter: str
    name: str
    ground: str
    claim: str
    owner: str
    by: str
    at: str
    review: str
    silent: bool
    past: bool
    future: bool
    query: str | None
    custodians: tuple[str, ...]
    groups: bool
    messages: tuple[str, ...]
    first: str | None
    last: str | None
    position: int
    people: DecidedPeople | None = None
    """Whom it means, as the directory had them when it was placed: what was theirs then counts as long as it stands."""
    order: bool = False
    """Whether it is an order of a court or authority: above exclusion, and only an order's end releases it."""
    covered: dict[str, str] = field(default_factory=dict)
    scope: str = ""
    rows: int = 0
    asked: int = 0
    head: bool = False
    locked: int = 0
    reviewed: int = 0
    released: Released | None = None
    unlocked: int = 0

    @property
    def searched(self) -> bool:
        """Whether it covers what a search finds, now and later; else a list of captures, once and for all."""
        return self.query is not None or bool(self.custodians) or bool(self.messages)

    def wants(self, received_at: str) -> bool:
        """Whether a capture received then (RFC 3339) is one that it is about."""
        return self.past if received_at <= self.at else self.future

    def piece(self, start: int, size: int) -> list[tuple[LogId, str]]:
        """At most ``size`` of what it covers, from the ``start``-th on."""
        found = list(self.covered)[start : start + size]  # copied at once: another thread may be adding
        return [(LogId.parse(self.covered[capture]), capture) for capture in found]


@dataclass
class Holds:
    """One owner's holds as state; see ``Erasures`` for who writes and reads it."""

    known: dict[str, Hold] = field(default_factory=dict)

    def in_force(self) -> list[Hold]:
        """Those not released, in the order they were placed."""
        return [hold for hold in list(self.known.values()) if hold.released is None]

    def of_matter(self, matter: str) -> list[Hold]:
        """Every hold of a matter, released ones too."""
        return [hold for hold in list(self.known.values()) if hold.matter == matter]

    def holds_of(self, capture: str) -> list[Hold]:
        """The holds in force that cover a capture: each counts, and the last one keeps it as the first did."""
        return [hold for hold in self.in_force() if capture in hold.covered]

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        word = act["act"]
        if word == "hold.place":
            made = _placed(act, position)
            self.known.setdefault(made.id, made)
        elif word == "hold.covers":
            hold = self.known[str(act["hold"])]
            hold.scope, hold.rows, hold.asked = str(act["scope"]), int(act["rows"]), int(act["asked"])
            hold.head = _flag(act["head"])
            _cover(hold, act["captures"])
        elif word == "hold.locked":
            self.known[str(act["hold"])].locked = int(act["count"])
        elif word == "hold.review":
            hold = self.known[str(act["hold"])]
            hold.review, hold.reviewed = str(act["review"]), hold.reviewed + 1
        elif word == "hold.release":
            released = Released(str(act["by"]), str(act["at"]), str(act["approval"]))
            self.known[str(act["hold"])].released = released
        elif word == "hold.unlocked":
            self.known[str(act["hold"])].unlocked = int(act["count"])
        elif word == "order.place" and act["kind"] == "keep":
            made = _placed(_as_hold(act), position, order=True)
            self.known.setdefault(made.id, made)
        elif word == "order.end" and (found := self.known.get(str(act["order"]))) is not None:
            found.released = Released(str(act["by"]), str(act["at"]), str(act["approval"]))
        else:
            return False
        return True


def _as_hold(act: dict[str, Any]) -> dict[str, Any]:
    """An order's act with a hold's words. It is not reviewed: it ends when the court says so."""
    reference = str(act["reference"])
    words = {"hold": act["order"], "matter": "", "name": reference, "ground": "order", "claim": reference}
    return {**act, **words, "owner": act["issuer"], "review": _NEVER, "silent": True}


def _placed(act: dict[str, Any], position: int, *, order: bool = False) -> Hold:
    hold = Hold(
        id=str(act["hold"]),
        matter=str(act["matter"]),
        name=str(act["name"]),
        ground=str(act["ground"]),
        claim=str(act["claim"]),
        owner=str(act["owner"]),
        by=str(act["by"]),
        at=str(act["at"]),
        review=str(act["review"]),
        silent=_flag(act["silent"]),
        past=_flag(act["past"]),
        future=_flag(act["future"]),
        query=_text(act, "query"),
        custodians=tuple(map(str, act.get("custodians", ()))),
        groups=_flag(act.get("groups", False)),
        messages=tuple(map(str, act.get("messages", ()))),
        first=_text(act, "first"),
        last=_text(act, "last"),
        position=position,
        people=None if act.get("people") is None else DecidedPeople.read(act["people"]),
        order=order,
    )
    _cover(hold, act.get("captures", {}))
    return hold


def _cover(hold: Hold, captures: dict[str, list[str]]) -> None:
    for log, capture in _places(captures):
        hold.covered.setdefault(capture, log)


def _places(captures: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    for name, ids in captures.items():
        if not is_log(name):
            raise ValueError("captures stand under their log's id")
        for capture in ids:
            yield name, str(capture)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false is meant")
    return value


def _text(act: dict[str, Any], name: str) -> str | None:
    return None if act.get(name) is None else str(act[name])
