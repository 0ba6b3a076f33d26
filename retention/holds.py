"""Legal holds as acts: placed, what they cover, looked at again, released by two people. All validate at the head.

A hold stands above a legal minimum, an erasure request and a maximum, below exclusion, resealing and orders
(``retention.precedence``). It never unseals: it keeps a key, it shows nobody anything.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from archive_service.ledger.acts import Acts
from archive_service.ledger.approvals import Approval
from archive_service.ledger.holds import Hold
from archive_service.ledger.reader import Place
from archive_service.model.clock import Clock, from_rfc3339, rfc3339
from archive_service.model.decided_people import DecidedPeople
from archive_service.model.errors import Invalid, NotFound, Refused
from archive_service.model.one_line import A_LINE, is_line

LONGEST_REVIEW = timedelta(days=366)
"""A hold is looked at again after twelve months at most: what is kept must stay justified (GDPR article 5(1)(e))."""

MOST = 10_000
"""Captures of one list."""

PIECE = 1_000
"""Captures that one act adds at most."""


@dataclass(frozen=True)
class HoldAsked:
    """A hold to be placed; the fields as in ``ledger.holds.Hold``. ``captures``: (log, capture) of a list. ``people``:
    whom it means, as the directory has them."""

    matter: str
    name: str
    ground: str
    claim: str
    owner: str
    review: str
    silent: bool = True
    past: bool = True
    future: bool = True
    query: str | None = None
    custodians: Sequence[str] = ()
    groups: bool = False
    messages: Sequence[str] = ()
    first: str | None = None
    last: str | None = None
    captures: Sequence[tuple[str, str]] = ()
    people: DecidedPeople | None = None


@dataclass(frozen=True)
class Placed:
    """``seq``: the acts-log position that has passed it. ``too_late``: captures of the list whose keys are already
    being destroyed."""

    hold: str
    seq: int
    too_late: tuple[str, ...]


def place(acts: Acts, asked: HoldAsked, by: str, clock: Clock) -> Placed:
    """Place a hold; durable on return, and from then on nothing goes that it may be about. Raises Invalid, NotFound,
    Refused (``matter.closed``, ``hold.exists``, ``hold.too_late``)."""
    require_sense(asked)
    hold = "h" + secrets.token_hex(8)
    late: list[str] = []

    def act(_: Place) -> dict[str, Any]:
        now = clock()
        checked_review(asked.review, now)
        _require_matter(acts, asked)
        late[:] = [capture for _, capture in asked.captures if acts.erasures.begun(capture)]
        left = [each for each in asked.captures if each[1] not in set(late)]
        if asked.captures and not left and not asked.messages:
            raise Refused("their keys are already being destroyed", code="hold.too_late")
        return {"version": 1, "act": "hold.place", "hold": hold, **_fields(asked, left, by, rfc3339(now))}

    seq = acts.append(act)
    return Placed(hold, seq + 1, tuple(late))


@dataclass(frozen=True)
class Looked:
    """How far a search for a hold has looked; the fields as in ``ledger.holds.Hold``."""

    scope: str
    rows: int
    asked: int
    head: bool


def cover(acts: Acts, hold: str, looked: Looked, found: Mapping[str, str]) -> None:
    """Say what a search found (log by capture), and how far it looked: in acts of ``PIECE`` captures, of which the last
    alone says how far, so that who is cut off looks again. Durable on return. Raises Refused (``hold.released``)."""
    places = sorted(found.items(), key=lambda each: (each[1], each[0]))
    pieces = [places[start : start + PIECE] for start in range(0, len(places), PIECE)] or [[]]
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1

        def act(_: Place, piece: list[tuple[str, str]] = piece, last: bool = last) -> dict[str, Any]:
            known = require_in_force(acts, hold)
            same = known.scope == looked.scope
            before = Looked(looked.scope, known.rows if same else 0, known.asked if same else 0, False)
            left = [(log, capture) for capture, log in piece if not acts.erasures.begun(capture)]
            fields = {"hold": hold, **vars(looked if last else before), "captures": by_log(left)}
            return {"version": 1, "act": "hold.covers", **fields}

        acts.append(act)


def note_locked(acts: Acts, hold: str, count: int) -> None:
    """So many of what it covers bear a hold in the store; durable on return. Raises Refused (``hold.released``)."""

    def act(_: Place) -> dict[str, Any]:
        require_in_force(acts, hold)
        return {"version": 1, "act": "hold.locked", "hold": hold, "count": count}

    acts.append(act)


def note_unlocked(acts: Acts, hold: str, count: int) -> None:
    """So many of what a released hold covered were looked at since; durable on return."""
    acts.append(lambda _: {"version": 1, "act": "hold.unlocked", "hold": hold, "count": count})


def review(acts: Acts, hold: str, until: str, by: str, note: str, clock: Clock) -> int:
    """It was looked at, and is kept until looked at again; the acts-log position that has passed it. Raises Invalid
    (``hold.review``), NotFound, Refused."""
    if not note.strip():
        raise Invalid("a review says what was found", code="hold.invalid")

    def act(_: Place) -> dict[str, Any]:
        now = clock()
        checked_review(until, now)
        require_own(acts, hold)
        fields = {"hold": hold, "review": rfc3339(from_rfc3339(until)), "by": by, "at": rfc3339(now)}
        return {"version": 1, "act": "hold.review", **fields, "note": note}

    return acts.append(act) + 1


def release(acts: Acts, hold: str, by: str, spend: Callable[[], Approval], clock: Clock) -> int:
    """End a hold under an approval; the acts-log position that has passed it. What another hold covers stays held.
    Raises NotFound, Refused, and what ``spend`` raises."""

    def act(_: Place) -> dict[str, Any]:
        require_own(acts, hold)
        fields = {"hold": hold, "by": by, "at": rfc3339(clock()), "approval": spend().id}
        return {"version": 1, "act": "hold.release", **fields}

    return acts.append(act) + 1


def require_in_force(acts: Acts, hold: str) -> Hold:
    """Raises NotFound (``hold.unknown``), Refused (``hold.released``)."""
    known = acts.holds.known.get(hold)
    if known is None:
        raise NotFound("no such hold", code="hold.unknown")
    if known.released is not None:
        raise Refused("this hold was released before", code="hold.released")
    return known


def require_own(acts: Acts, hold: str) -> Hold:
    """As ``require_in_force``, for what people of the archive may end. Raises Refused (``hold.of_order``) too."""
    known = require_in_force(acts, hold)
    if known.order:
        raise Refused("an order of a court or authority ends as an order does", code="hold.of_order")
    return known


def checked_review(until: str, now: datetime) -> None:
    """Raises Invalid (``hold.review``) unless it lies ahead, twelve months at most."""
    try:
        moment = from_rfc3339(until)
    except ValueError as error:
        raise Invalid("a review has a time with its zone (RFC 3339)", code="hold.review") from error
    if not now < moment <= now + LONGEST_REVIEW:
        raise Invalid("a hold is reviewed later than now, and within twelve months", code="hold.review")


def by_log(places: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """(log, capture) as acts have them."""
    found: dict[str, list[str]] = {}
    for log, capture in places:
        found.setdefault(log, []).append(capture)
    return found


def require_sense(asked: HoldAsked) -> None:
    """Raises Invalid (``hold.invalid``, ``hold.too_many``)."""
    if not all(is_line(text) for text in (asked.name, asked.ground, asked.claim, asked.owner)):
        raise Invalid(f"a hold names its ground, its claim and its owner, {A_LINE} each", code="hold.invalid")
    if not (asked.past or asked.future):
        raise Invalid("a hold is about past mail, future mail, or both", code="hold.invalid")
    listed, searched = bool(asked.messages or asked.captures), bool(asked.query or asked.custodians)
    if listed == searched:
        amiss = "both were given" if listed else "neither was given"
        raise Invalid(f"a query or custodians, or else a list: {amiss}", code="hold.invalid")
    if listed and (asked.first or asked.last):
        raise Invalid("days bound a search, not a list", code="hold.invalid")
    if len(asked.captures) > MOST or len(asked.messages) > MOST:
        raise Invalid(f"{MOST} messages or captures at most in one list", code="hold.too_many")


def _require_matter(acts: Acts, asked: HoldAsked) -> None:
    matter = acts.matters.known.get(asked.matter)
    if matter is None:
        raise NotFound("no such matter", code="matter.unknown")
    if matter.closed is not None:
        raise Refused("this matter is closed", code="matter.closed")
    if any(each.name == asked.name and each.released is None for each in acts.holds.of_matter(matter.id)):
        raise Refused("a hold of this name stands in this matter", code="hold.exists")


def _fields(asked: HoldAsked, captures: Sequence[tuple[str, str]], by: str, at: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: getattr(asked, name)
        for name in ("matter", "name", "ground", "claim", "owner", "silent", "past", "future")
    }
    fields |= {"by": by, "at": at, "review": rfc3339(from_rfc3339(asked.review))}
    fields |= {name: getattr(asked, name) for name in ("query", "first", "last") if getattr(asked, name)}
    fields |= {
        name: list(getattr(asked, name)) for name in ("custodians", "messages") if getattr(asked, name)
    }
    if asked.groups:
        fields["groups"] = True
    if asked.people is not None:
        fields["people"] = asked.people.plain()
    if captures:
        fields["captures"] = by_log(captures)
    return fields
