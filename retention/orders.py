"""Orders of a court or authority as acts: to keep, or to erase; they stand above everything else. All validate at the
head.

One to keep stands like a hold over what it names or searches for, also over what is excluded, and only its own end
releases it. One to erase names captures, once and for all; no hold and no legal minimum keeps them. Where two orders
contradict each other, the later one is refused until the earlier is ended (``order.contradicts``, by its id).
"""

import base64
import hashlib
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from archive_service.ledger.acts import Acts
from archive_service.ledger.dispositions import Disposition
from archive_service.ledger.orders import Order, OrderKind
from archive_service.ledger.reader import Place
from archive_service.model.clock import Clock, require_day_gone_by, rfc3339
from archive_service.model.errors import Invalid, NotFound, Refused
from archive_service.model.one_line import A_LINE, is_line
from retention.holds import HoldAsked, by_log

LARGEST = 4 * 1024 * 1024
"""Bytes of a document: it stands in an act of its own, which every process replays."""

_LONGEST_TEXT = 20_000

Spend = Callable[[], str]
"""Gives the id of the approval under which it is done, valid at the head, or raises."""


@dataclass(frozen=True)
class Words:
    """What an order says of itself; the fields as in ``ledger.orders.Order``."""

    issuer: str
    reference: str
    dated: str
    text: str
    document: str | None


def attach(acts: Acts, name: str, media: str, content: bytes, by: str, clock: Clock) -> str:
    """Seal the order on paper; durable on return. Its id, which its bytes give: the same document is kept once. Raises
    Invalid (``order.document``)."""
    if not content or len(content) > LARGEST or not name.strip() or not media.strip():
        raise Invalid("a document has a name, a type, and 4 MiB at most", code="order.document")
    digest = hashlib.sha256(content).hexdigest()
    document = f"w{digest[:32]}"
    acts.refresh()
    if document in acts.orders.documents:
        return document
    said = {"document": document, "name": name, "type": media, "size": len(content), "sha256": digest}
    text = base64.b64encode(content).decode("ascii")

    def act(_: Place) -> dict[str, Any]:
        fields = {**said, "content": text, "by": by, "at": rfc3339(clock())}
        return {"version": 1, "act": "order.document", **fields}

    acts.append(act)
    return document


def require_words(acts: Acts, words: Words, clock: Clock) -> None:
    """Raises Invalid (``order.invalid``), NotFound (``order.document_unknown``)."""
    if not is_line(words.issuer) or not is_line(words.reference):
        raise Invalid(f"an order has an issuer and a reference, {A_LINE} each", code="order.invalid")
    if not words.text.strip() or len(words.text) > _LONGEST_TEXT:
        raise Invalid(f"an order has a text, of {_LONGEST_TEXT} characters at most", code="order.invalid")
    try:
        require_day_gone_by(words.dated, clock())
    except ValueError as error:
        detail = "an order is dated by a day, YYYY-MM-DD, that is not to come"
        raise Invalid(detail, code="order.invalid") from error
    if words.document is not None and words.document not in acts.orders.documents:
        raise NotFound("no such document", code="order.document_unknown")


def place_keep(
    acts: Acts, words: Words, asked: HoldAsked, by: str, spend: Spend, clock: Clock
) -> tuple[str, int, list[str]]:
    """Have what it names or finds kept, from this act on; durable on return. The order's id, the acts-log position
    that has passed it, and what it comes too late for. Raises Invalid, NotFound, Refused (``order.contradicts``,
    ``order.too_late``), and what ``spend`` raises."""
    order = "o" + secrets.token_hex(8)
    late: list[str] = []

    def act(_: Place) -> dict[str, Any]:
        require_words(acts, words, clock)
        require_no_erasing(acts, (capture for _, capture in asked.captures))
        late[:] = [capture for _, capture in asked.captures if acts.erasures.begun(capture)]
        left = [each for each in asked.captures if each[1] not in set(late)]
        if asked.captures and not left and not asked.messages:
            raise Refused("their keys are already being destroyed", code="order.too_late")
        fields = {**_head(order, OrderKind.KEEP, words, by, clock), **scope_of(asked)}
        return {**fields, "captures": by_log(left), "approval": spend()}

    return order, acts.append(act) + 1, late


def place_erase(
    acts: Acts,
    words: Words,
    asked: HoldAsked,
    captures: Sequence[dict[str, Any]],
    by: str,
    spend: Spend,
    clock: Clock,
    undecided: Callable[[], bool],
) -> tuple[str, int, int]:
    """Have these captures ({log, seq, capture}) destroyed, whatever but an order keeps them, but for those that were
    withdrawn meanwhile: a stray's copy lies in a compartment, which has orders of its own. Durable on return. The
    order's id, the acts-log position that has passed it, and how many captures it is about. ``asked``: how they were
    found; ``undecided``: whether an order to keep has not been held against everything yet. Raises Invalid, NotFound,
    Refused (``order.contradicts``, ``order.undecided``, ``order.nothing``), and what ``spend`` raises."""
    order = "o" + secrets.token_hex(8)
    left: list[dict[str, Any]] = []

    def act(_: Place) -> dict[str, Any]:
        require_words(acts, words, clock)
        if undecided():
            raise Refused("an order to keep is still looked for: try again", code="order.undecided")
        require_no_keeping(acts, (str(each["capture"]) for each in captures))
        left[:] = [each for each in captures if _left(acts, str(each["capture"]))]
        if not left:
            raise Refused("nothing is left to be destroyed of what it names", code="order.nothing")
        fields = {**_head(order, OrderKind.ERASE, words, by, clock), **scope_of(asked)}
        return {**fields, "captures": left, "approval": spend()}

    seq = acts.append(act) + 1
    return order, seq, len(left)


def _left(acts: Acts, capture: str) -> bool:
    return not acts.erasures.begun(capture) and not acts.erasures.withdrew(capture)


def end(acts: Acts, order: str, by: str, spend: Spend, clock: Clock) -> int:
    """Say that an order is over; the acts-log position that has passed it. What a hold or a minimum keeps stays kept;
    of one to erase, no key goes any more that is not going already, and what nobody else has barred is shown again.
    Raises NotFound, Refused, and what ``spend`` raises."""

    def act(_: Place) -> dict[str, Any]:
        require_in_force(acts, order)
        fields = {"order": order, "by": by, "at": rfc3339(clock()), "approval": spend()}
        run = acts.dispositions.known.get(order)
        left = [] if run is None else [each.id for each in run.going if not acts.erasures.begun(each.id)]
        asked = (
            {}
            if run is None or run.erasure is None
            else {"erasure": run.erasure, "free": _free(acts, run, left)}
        )
        return {"version": 1, "act": "order.end", **fields, **asked, "left": left}

    return acts.append(act) + 1


def _free(acts: Acts, run: Disposition, left: Collection[str]) -> list[dict[str, Any]]:
    """What nobody else asks to be forgotten of what an order leaves."""
    going = [
        each for each in run.going if each.id in left and acts.erasures.lapses(each.id, str(run.erasure))
    ]
    return [{"log": each.log, "seq": each.seq, "capture": each.id} for each in going]


def require_in_force(acts: Acts, order: str) -> Order:
    """Raises NotFound (``order.unknown``), Refused (``order.ended``): it was ended, or all of it is destroyed."""
    known = acts.orders.known.get(order)
    if known is None:
        raise NotFound("no such order", code="order.unknown")
    run = acts.dispositions.known.get(order)
    if not known.in_force or (run is not None and run.done is not None):
        raise Refused("this order is over", code="order.ended")
    return known


def require_no_erasing(acts: Acts, captures: Iterable[str]) -> None:
    """Raises Refused (``order.contradicts``) where an order in force has one of these erased, and its key stands."""
    going = {
        each.id: run.id for run in acts.dispositions.known.values() for each in run.captures if run.order
    }
    for capture in captures:
        other = going.get(capture)
        if other is not None and acts.orders.known[other].in_force and not acts.erasures.begun(capture):
            raise Refused(f"order {other} has this erased: end it first", code="order.contradicts")


def require_no_keeping(acts: Acts, captures: Iterable[str]) -> None:
    """Raises Refused (``order.contradicts``) where an order in force keeps one of these."""
    orders = [hold for hold in acts.holds.in_force() if hold.order]
    for capture in captures:
        other = next((hold.id for hold in orders if capture in hold.covered), None)
        if other is not None:
            raise Refused(f"order {other} has this kept: end it first", code="order.contradicts")


def scope_of(asked: HoldAsked) -> dict[str, Any]:
    """What an order is about, as acts and requests have it, but for its captures."""
    said: dict[str, Any] = {"past": asked.past, "future": asked.future}
    said |= {name: getattr(asked, name) for name in ("query", "first", "last") if getattr(asked, name)}
    said |= {name: list(getattr(asked, name)) for name in ("custodians", "messages") if getattr(asked, name)}
    said |= {} if asked.people is None else {"people": asked.people.plain()}
    return said | ({"groups": True} if asked.groups else {})


def _head(order: str, kind: OrderKind, words: Words, by: str, clock: Clock) -> dict[str, Any]:
    said = {name: value for name, value in vars(words).items() if value is not None}
    fields = {"order": order, "kind": str(kind), **said, "by": by, "at": rfc3339(clock())}
    return {"version": 1, "act": "order.place", **fields}
