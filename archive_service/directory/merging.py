"""What an outside directory's word makes of a person's record. Pure.

Most directories know the present only. So an address that they no longer name ends today, one that they newly name
begins where its former holder's days end (``handing_on``), and what they name as before stays as it is. Days that a
source gives are taken as they are. Nothing of the past is dropped.
"""

from typing import Any, TypeVar

from archive_service.directory.incoming import GivenAddress, Incoming
from archive_service.model.custodians import Custodian, Dated, HeldAddress, Membership, in_order

Span = TypeVar("Span", bound=Dated)

_FIELDS = ("name", "given", "family", "entity", "department", "joined", "left")


def merged(
    stored: Custodian | None, new_id: str, given: Incoming, groups: tuple[str, ...] | None, today: str
) -> Custodian:
    """The record after it. ``groups``: the ids of ``given.groups``. Raises ValueError (pydantic's) for one that cannot
    be."""
    fields: dict[str, Any] = {"id": new_id} if stored is None else dict(stored)
    for name in _FIELDS:
        value = getattr(given, name)
        if value is not None:
            fields[name] = value or None
    if given.gone:
        fields["left"] = fields.get("left") or max(today, fields.get("joined") or today)
    if not fields.get("name"):
        fields["name"] = _name_for(given, fields)
    if given.addresses is not None:
        gone = bool(fields.get("left")) and fields["left"] <= today
        fields["addresses"] = _addresses(stored.addresses if stored else (), given.addresses, today, gone)
    if groups is not None:
        fields["groups"] = _memberships(stored.groups if stored else (), groups, today)
    fields["external"] = {**(stored.external if stored else {}), **given.external}
    return Custodian.model_validate(fields)


def _name_for(given: Incoming, fields: dict[str, Any]) -> str:
    """A person whom his source gives no name is called by what it has."""
    whole = " ".join(part for part in (fields.get("given"), fields.get("family")) if part)
    first = next((each.address for each in given.addresses or ()), "")
    return whole or first or next(iter(given.external.values()), "")


def _addresses(
    stored: tuple[HeldAddress, ...], given: tuple[GivenAddress, ...], today: str, gone: bool
) -> tuple[HeldAddress, ...]:
    dated = {each.address for each in given if each.dated}
    spans = [
        HeldAddress(address=each.address, kind=each.kind, begins=each.begins, until=each.until)
        for each in given
        if each.address in dated
    ]
    kinds = {each.address: each.kind for each in given if each.address not in dated}
    kept = [held for held in stored if held.address not in dated]
    for held in kept:
        if held.address in kinds:
            spans.append(held.model_copy(update={"kind": kinds[held.address]}))
        else:
            spans.append(ended(held, today))
    for address, kind in kinds.items():
        before = [span for span in spans if span.address == address]
        if before and gone:
            continue  # who has left takes nothing up again: it may have passed on
        again = _taken_up(before, today)
        if again is None:
            continue
        spans = [span for span in spans if span is not again[0]]
        spans.append(HeldAddress(address=address, kind=kind, begins=again[1]))
    return in_order(spans)


def _memberships(
    stored: tuple[Membership, ...], groups: tuple[str, ...], today: str
) -> tuple[Membership, ...]:
    spans = [each if each.group in groups else ended(each, today) for each in stored]
    for group in dict.fromkeys(groups):
        before = [span for span in spans if span.group == group]
        again = _taken_up(before, today)
        if again is None:
            continue
        spans = [span for span in spans if span is not again[0]]
        spans.append(Membership(group=group, begins=again[1]))
    return tuple(sorted(spans, key=lambda span: (span.begins or "", span.group)))


def regrouped(stored: tuple[Membership, ...], group: str, member: bool, today: str) -> tuple[Membership, ...]:
    """The memberships when the person is in the group from today on, or no longer."""
    others = {each.group for each in stored if each.group != group and each.on(today) and each.until != today}
    return _memberships(stored, (*sorted(others), *((group,) if member else ())), today)


def ended(span: Span, today: str) -> Span:
    """The span as it is when it ends today; one that is over, or only begins later, as it was."""
    if (span.until is not None and span.until <= today) or (span.begins is not None and span.begins > today):
        return span
    return span.model_copy(update={"until": today})


def _taken_up(before: list[Span], today: str) -> tuple[Span | None, str | None] | None:
    """What a name that is there today needs: None when a span of ``before`` covers today and goes on; else the span to
    replace, if any, and the day from which it holds (None: from ever)."""
    if any(span.on(today) and span.until != today for span in before):
        return None
    just_ended = next((span for span in before if span.until == today), None)
    if just_ended is not None:
        return just_ended, just_ended.begins
    return None, today if before else None
