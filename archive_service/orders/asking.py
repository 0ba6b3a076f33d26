"""Placing and ending an order: asked by one person, decided by another, who sees to the letter what it covers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from archive_service.access.events import Actor, RoleName
from archive_service.access.forms import flags, lists, texts
from archive_service.access.four_eyes import Spend, StrongAction
from archive_service.access.hold_scopes import HoldScopes, node_of
from archive_service.catalog.base import Catalog
from archive_service.export.collect import all_ids
from archive_service.holds.desk import HoldDesk
from archive_service.ledger.acts import Acts
from archive_service.ledger.approvals import Approval
from archive_service.ledger.orders import OrderKind
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.decided_people import DecidedPeople
from archive_service.model.errors import Invalid, NotFound, Refused
from retention.holds import MOST, HoldAsked, require_sense
from retention.orders import (
    Words,
    end,
    place_erase,
    place_keep,
    require_in_force,
    require_no_erasing,
    require_no_keeping,
    require_words,
    scope_of,
)
from search.indexes.base import SearchIndex

_ROLES = frozenset({RoleName.COMPLIANCE_OFFICER, RoleName.LEGAL, RoleName.DPO})
PLACE, END = "order.place", "order.end"
_FORMS = (
    texts("kind", "issuer", "reference", "dated", "text", "document", "query", "first", "last")
    | lists("custodians", "messages", "captures")
    | flags("groups", "past", "future")
)


class OrderActions:
    """One tenant's: ``order.place`` {kind, issuer, reference, dated, text, document?, and what it covers as a hold
    says it} and ``order.end`` {order}."""

    def __init__(
        self, acts: Acts, catalog: Catalog, index: SearchIndex, holds: HoldDesk, clock: Clock
    ) -> None:
        self._acts = acts
        self._catalog = catalog
        self._index = index
        self._holds = holds
        self._clock = clock

    def actions(self) -> tuple[StrongAction, StrongAction]:
        """Both."""
        place = StrongAction(
            PLACE,
            _ROLES,
            _ROLES,
            self._check,
            self._carry_out,
            private=True,
            forms=_FORMS,
            beside=frozenset(),
        )
        return place, StrongAction(END, _ROLES, _ROLES, self._check_end, self._carry_out_end, private=True)

    def _check(self, given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
        """What an order to erase covers is searched for here, once: the second person decides over that list."""
        try:
            kind = OrderKind(str(given.get("kind")))
        except ValueError as error:
            raise Invalid("an order is to keep or to erase", code="order.invalid") from error
        words = _words(given)
        asked = self._asked(words, given)
        require_words(self._acts, words, self._clock)
        if words.document is None:
            detail = "an order comes with its document; until that is there a hold keeps mail"
            raise Invalid(detail, code="order.document_missing")
        said = {name: value for name, value in vars(words).items() if value is not None}
        request = {"kind": str(kind), **said, **scope_of(asked)}
        if kind is OrderKind.KEEP:
            require_no_erasing(self._acts, (capture for _, capture in asked.captures))
            return {**request, "captures": [[log, capture] for log, capture in asked.captures]}
        found = self._found(asked)
        require_no_keeping(self._acts, found)
        return {**request, "captures": list(found.values()), "count": len(found)}

    def _asked(self, words: Words, given: Mapping[str, Any]) -> HoldAsked:
        names = ("query", "custodians", "groups", "first", "last", "messages", "captures", "past", "future")
        scope = {name: given[name] for name in names if given.get(name) is not None}
        erase = given.get("kind") == OrderKind.ERASE
        if erase:
            scope |= {"past": True, "future": False}
        said = {**scope, **_of_hold(words, rfc3339(self._clock()))}
        asked = self._holds.asked("", said, withdrawn=not erase)
        require_sense(asked)
        return replace(asked, people=None) if erase else asked  # its list is all there is to it

    def _found(self, asked: HoldAsked) -> dict[str, dict[str, Any]]:
        """Places by capture, as they are now, without what was withdrawn: that is destroyed anyway, or lies behind a
        wall. Raises NotFound, Refused (``order.nothing``), Invalid."""
        named = {capture: self._place(capture) for _, capture in asked.captures}
        if asked.query or asked.custodians:
            node, _ = node_of(self._acts.custodians, asked)

            seen = 0

            def page(below: int | None, limit: int) -> list[tuple[str, int]]:
                nonlocal seen
                hits = self._index.search(node, limit=limit, below=below, snippets=False).hits
                seen += len(hits)
                _require_few(seen)
                return [(hit.id, hit.rank) for hit in hits]

            for message in self._catalog.messages(all_ids(page)):
                for row in message.captures:
                    named[row.id] = {"log": row.log, "seq": row.seq, "capture": row.id}
        named = {each: place for each, place in named.items() if not self._acts.erasures.withdrew(each)}
        if not named:
            raise Refused("it finds nothing that could be destroyed", code="order.nothing")
        _require_few(len(named))
        return named

    def _place(self, capture: str) -> dict[str, Any]:
        row, asked = self._catalog.capture(capture), self._acts.erasures.asked.get(capture)
        if row is not None:
            return {"log": row.log, "seq": row.seq, "capture": capture}
        if asked is not None:
            return {"log": str(asked.log), "seq": asked.seq, "capture": capture}
        raise NotFound("no capture of this id", code="capture.unknown")

    def _carry_out(self, approval: Approval, spend: Spend) -> dict[str, Any]:
        request, by = approval.request, approval.by
        words, asked = _words(request), _asked_again(request, self._clock)
        if request["kind"] == OrderKind.KEEP:
            order, seq, late = place_keep(self._acts, words, asked, by, lambda: spend().id, self._clock)
            return {"order": order, "seq": seq, "too_late": late}
        scopes = HoldScopes(self._acts)
        order, seq, count = place_erase(
            self._acts,
            words,
            asked,
            request["captures"],
            by,
            lambda: spend().id,
            self._clock,
            scopes.ordering,
        )
        return {"order": order, "seq": seq, "captures": count}

    def _check_end(self, given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
        self._acts.refresh()
        return {"order": require_in_force(self._acts, str(given.get("order"))).id}

    def _carry_out_end(self, approval: Approval, spend: Spend) -> dict[str, Any]:
        order = approval.request["order"]
        return {"order": order, "seq": end(self._acts, order, approval.by, lambda: spend().id, self._clock)}


def _require_few(count: int) -> None:
    if count > MOST:
        raise Invalid(f"{MOST} captures at most in one order", code="order.too_many")


def _words(given: Mapping[str, Any]) -> Words:
    issuer, reference, dated, text = (
        str(given.get(name) or "") for name in ("issuer", "reference", "dated", "text")
    )
    document = given.get("document")
    return Words(issuer, reference, dated, text, None if document is None else str(document))


def _of_hold(words: Words, now: str) -> dict[str, Any]:
    """An order in a hold's words; it is not reviewed."""
    said = words.reference or "-"
    return {"name": said, "ground": "order", "claim": said, "owner": words.issuer or "-", "review": now}


def _asked_again(request: Mapping[str, Any], clock: Clock) -> HoldAsked:
    """As it was approved, to the letter: nothing is resolved anew."""
    names = ("query", "custodians", "groups", "first", "last", "messages", "past", "future")
    scope = {name: request[name] for name in names if name in request}
    keep = request["kind"] == OrderKind.KEEP
    captures = [(str(log), str(capture)) for log, capture in request["captures"]] if keep else []
    people = None if request.get("people") is None else DecidedPeople.read(request["people"])
    said = _of_hold(_words(request), rfc3339(clock()))
    return HoldAsked("", **said, **scope, captures=captures, people=people)
