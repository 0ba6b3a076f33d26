"""Matters and grants, as those decide them who may: acts, checked again at the head."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from archive_service.access.confirmed import decided
from archive_service.access.directory import expanded
from archive_service.access.events import Actor, RoleName
from archive_service.ledger.acts import Acts
from archive_service.ledger.grants import Grant
from archive_service.ledger.matters import Matter
from archive_service.ledger.reader import Place
from archive_service.model.clock import Clock, from_rfc3339, rfc3339
from archive_service.model.decided_people import DecidedPeople
from archive_service.model.errors import Invalid, NotFound, Refused
from archive_service.model.one_line import A_LINE, is_line
from archive_service.model.reasons import require_reason
from search.query_language import parse

LONGEST_GRANT = timedelta(days=366)


class Cases:
    """One tenant's matters and grants. Thread-safe as the acts are."""

    def __init__(self, acts: Acts, clock: Clock) -> None:
        self._acts = acts
        self._clock = clock

    def matters(self) -> list[Matter]:
        """Every matter, by the acts at their head."""
        self._acts.refresh()
        return self._acts.matters.all()

    def matter(self, matter: str) -> Matter:
        """Raises NotFound (``matter.unknown``)."""
        self._acts.refresh()
        return self._known(matter)

    def require_sensible(self, given: Mapping[str, Any]) -> None:
        """Whether a matter may be about this. Raises Invalid, QueryError, NotFound."""
        if not all(is_line(given.get(name)) for name in ("name", "purpose")):
            raise Invalid(f"a matter has a name and a purpose, {A_LINE} each", code="matter.invalid")
        self._acts.refresh()
        if given.get("query") is not None:
            expanded(parse(str(given["query"])), self._acts.custodians)
        self._require_people(given)

    def set_matter(
        self,
        actor: str,
        given: Mapping[str, Any],
        matter: str | None = None,
        version: int | None = None,
        spend: Callable[[], str] | None = None,
    ) -> Matter:
        """A new matter, or all of a known one anew; durable on return. ``version``: what the caller saw; ``spend``:
        gives the approval under which it is done, with the people as they were decided, or raises. Raises Invalid,
        QueryError, NotFound, Refused (``matter.changed``, ``matter.closed``; ``matter.granted``: what is seen within a
        grant is widened by two people only)."""
        self.require_sensible(given)
        chosen = matter or "t" + secrets.token_hex(8)
        fields = {name: given[name] for name in ("name", "purpose", "query", "custodians") if given.get(name)}

        def act(_: Place) -> dict[str, Any]:
            if matter is not None:
                self._require_current(matter, version)
            if any(known.name == given["name"] and known.id != chosen for known in self._acts.matters.all()):
                raise Refused("a matter of this name exists", code="matter.exists")
            if spend is None:
                self._require_not_granted(chosen, fields)
            made = {"matter": chosen, **fields, "by": actor, "at": rfc3339(self._clock())}
            approved = {"approval": spend(), "people": given["people"]} if spend is not None else {}
            return {"version": 1, "act": "matter.set", **made, **approved}

        self._acts.append(act)
        return self._known(chosen)

    def close_matter(self, actor: Actor, matter: str) -> Matter:
        """End a matter: grants for it show nothing any more. Durable on return. Raises NotFound, Refused: also
        (``matter.held``) while a hold stands in it, which would be forgotten there."""

        def act(_: Place) -> dict[str, Any]:
            self._require_current(matter, None)
            if any(hold.released is None for hold in self._acts.holds.of_matter(matter)):
                raise Refused("a hold stands in this matter", code="matter.held")
            made = {"matter": matter, "by": actor.subject, "at": rfc3339(self._clock())}
            return {"version": 1, "act": "matter.close", **made}

        self._acts.append(act)
        return self._known(matter)

    def grants(self) -> list[Grant]:
        """Every grant ever given, by the acts at their head."""
        self._acts.refresh()
        return self._acts.grants.all()

    def checked_grant(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A grant's request as it is kept: times filled in, bounds known. Raises Invalid, NotFound."""
        now = self._clock()
        begins = _time(given.get("from"), now)
        ends = _time(given.get("until"), now + timedelta(days=30))
        if not begins < ends or ends - begins > LONGEST_GRANT or ends <= now:
            raise Invalid("a grant begins, ends later, and lasts 366 days at most", code="grant.time")
        if str(given.get("role")) not in set(RoleName):
            raise Invalid("no such role", code="grant.role")
        if not str(given.get("subject") or "").strip():
            raise Invalid("a grant names who it is for", code="grant.subject")
        self._acts.refresh()
        made = {"subject": str(given["subject"]), "role": str(given["role"]), "from": rfc3339(begins)}
        return {**made, "until": rfc3339(ends), **self.bounds(given)}

    def bounds(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What bounds a grant, as it is kept: with the matter's version and the people's addresses that it is decided
        with, so that nobody alone makes more of it afterwards. Raises NotFound, Invalid (``grant.bounds``) for a matter
        or people that are said and are none: that is not the whole of it."""
        if any(given.get(name) in ("", []) for name in ("matter", "custodians")):
            raise Invalid("a grant is for a matter or people that there are", code="grant.bounds")
        self._require_people(given)
        bounds = {name: given[name] for name in ("matter", "custodians") if given.get(name)}
        if not bounds:
            return {}
        people = decided(self._acts.custodians, map(str, bounds.get("custodians", ())), None)
        if "matter" in bounds:
            matter = self._known(str(bounds["matter"]))
            people = people.together(self._decided(matter.query, matter.custodians))
            bounds["version"] = matter.version
        return bounds | {"people": people.plain()}

    def decided(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The people of what a matter is to be about, with their addresses; JSON-ready."""
        return self._decided(given.get("query"), given.get("custodians") or ()).plain()

    def require_as_asked(self, request: Mapping[str, Any]) -> None:
        """That the matter of a grant's request is about what it was about then. Raises Refused (``matter.changed``); to
        be called inside the append."""
        version = request.get("version")
        if version is not None and self._known(str(request["matter"])).version != version:
            raise Refused("this matter was changed since the grant was asked for", code="matter.changed")

    def revoke(self, actor: Actor, grant: str, reason: str) -> Grant:
        """End a grant at once; durable on return. One person is enough: it takes away. Raises NotFound, Refused."""

        def act(_: Place) -> dict[str, Any]:
            known = self._acts.grants.known.get(grant)
            if known is None:
                raise NotFound("no such grant", code="grant.unknown")
            if known.revoked is not None:
                raise Refused("this grant was revoked before", code="grant.revoked")
            require_reason(reason)
            made = {"grant": grant, "by": actor.subject, "reason": reason, "at": rfc3339(self._clock())}
            return {"version": 1, "act": "grant.revoke", **made}

        self._acts.append(act)
        return self._acts.grants.known[grant]

    def _decided(self, query: str | None, custodians: Iterable[str]) -> DecidedPeople:
        return decided(self._acts.custodians, map(str, custodians), query)

    def _require_not_granted(self, matter: str, fields: Mapping[str, Any]) -> None:
        known = self._acts.matters.known.get(matter)
        if known is None or (fields.get("query"), tuple(fields.get("custodians", ()))) == (
            known.query,
            known.custodians,
        ):
            return
        now = rfc3339(self._clock())
        grants = self._acts.grants.all()
        if any(grant.matter == matter and grant.revoked is None and now < grant.ends for grant in grants):
            detail = "grants stand for this matter: what it is about is changed by two people (matter.change)"
            raise Refused(detail, code="matter.granted")

    def _require_people(self, given: Mapping[str, Any]) -> None:
        """Raises NotFound (``custodian.unknown``)."""
        if any(self._acts.custodians.get(str(each)) is None for each in given.get("custodians") or ()):
            raise NotFound("the directory knows nobody of this id", code="custodian.unknown")

    def _known(self, matter: str) -> Matter:
        found = self._acts.matters.known.get(matter)
        if found is None:
            raise NotFound("no such matter", code="matter.unknown")
        return found

    def _require_current(self, matter: str, version: int | None) -> None:
        known = self._known(matter)
        if known.closed is not None:
            raise Refused("this matter is closed", code="matter.closed")
        if version is not None and known.version != version:
            raise Refused("this matter was changed meanwhile", code="matter.changed")


def grant_act(
    request: Mapping[str, Any], *, by: str, reason: str, approval: str | None = None
) -> dict[str, Any]:
    """The act that gives a checked grant."""
    made = {"grant": "g" + secrets.token_hex(8), **request, "reason": reason, "by": by}
    return {"version": 1, "act": "grant.give", **made, **({"approval": approval} if approval else {})}


def _time(given: Any, default: datetime) -> datetime:
    if given is None:
        return default
    try:
        return from_rfc3339(str(given))
    except ValueError as error:
        raise Invalid("a time is RFC 3339, with its zone", code="grant.time") from error
