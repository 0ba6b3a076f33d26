"""The changes that need two people, wired for one tenant: who asks, who decides, what is done."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archive_service.access.accounts import Accounts
from archive_service.access.cases import Cases, grant_act
from archive_service.access.events import Actor, RoleName
from archive_service.access.forms import lists, texts
from archive_service.access.four_eyes import Spend, StrongAction
from archive_service.access.identified import same_person
from archive_service.access.incidents import closing
from archive_service.catalog.base import CaptureRow, Catalog
from archive_service.catalog.vouching import vouched
from archive_service.ledger.acts import Acts
from archive_service.ledger.approvals import Approval
from archive_service.model.clock import Clock, from_rfc3339, rfc3339, utc_now
from archive_service.model.errors import Invalid, NotFound, Refused
from archive_service.model.grounds import EraseGround
from archive_service.terms.retaining import assessed_to_go, judged_by, keep_to_minimum, require_judged
from archive_service.vault.key_layout import LogId
from retention.elimination import require_visa
from retention.erasure import Capture, ask

_R = RoleName
_OVERSIGHT = frozenset({_R.COMPLIANCE_OFFICER, _R.LEGAL, _R.DPO, _R.RECORDS_MANAGER})
_MOST = 10_000  # captures of one request


ASKED_FOR = (EraseGround.REQUEST, EraseGround.MAXIMUM)
"""Grounds below a hold: what stands above one is not to be had by a word."""


def erasure_action(acts: Acts, catalog: Catalog, clock: Clock = utc_now) -> StrongAction:
    """``erasure.ask`` {messages or captures, ground, basis}: have mail forgotten (GDPR article 17). What a legal
    minimum still needs is barred too, and its key kept until that is over (article 17(3)(b))."""

    def check(given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
        try:
            ground = EraseGround(str(given.get("ground")))
        except ValueError as error:
            raise Invalid("no such ground to erase", code="erasure.ground") from error
        if ground not in ASKED_FOR:
            detail = "an order is placed with its issuer and document (orders), an exclusion by its list"
            raise Invalid(detail, code="erasure.ground")
        basis = str(given.get("basis") or "").strip()
        if not basis:
            raise Invalid("an erasure names its legal basis", code="erasure.invalid")
        found = places(catalog, given)
        if ground is EraseGround.MAXIMUM:
            _require_past(acts, catalog, [each.id for each in found], rfc3339(clock()))
        return {"ground": str(ground), "basis": basis, "captures": [place.plain() for place in found]}

    def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
        request = approval.request
        captures = [
            Capture(LogId.parse(str(each["log"])), int(each["seq"]), str(each["capture"]))
            for each in request["captures"]
        ]
        acts.refresh()
        captures = _not_withdrawn(acts, captures)
        ground, named = EraseGround(request["ground"]), [each.id for each in captures]
        before = judged_by(acts)
        if ground is EraseGround.MAXIMUM:
            _require_past(acts, catalog, named, rfc3339(clock()))
        below = ground in (EraseGround.REQUEST, EraseGround.MAXIMUM)
        kept = keep_to_minimum(acts, catalog, named, approval.by, clock) if below else {}

        def spent() -> str:
            require_judged(acts, before)
            if len(_not_withdrawn(acts, captures)) < len(captures):
                raise Refused("a capture of these was withdrawn meanwhile: again", code="retention.moved")
            return spend().id

        erasure, seq = ask(acts, captures, ground, request["basis"], approval.by, spent)
        return {"erasure": erasure, "captures": len(captures), "seq": seq, "kept_until": kept}

    return StrongAction("erasure.ask", _OVERSIGHT, _OVERSIGHT, check, carry_out)


def _not_withdrawn(acts: Acts, captures: Sequence[Capture]) -> list[Capture]:
    """Those of which a request can be true: what was withdrawn since it was asked for lies elsewhere, or goes anyway,
    and nobody is told that his request had it erased. Raises NotFound where none is left."""
    left = [each for each in captures if not acts.erasures.withdrew(each.id)]
    if not left:
        raise NotFound("no capture of this id", code="capture.unknown")
    return left


def _require_past(acts: Acts, catalog: Catalog, named: Sequence[str], now: str) -> None:
    """That the end of a term is no word for something else. Raises Refused: ``erasure.not_past``;
    ``disposition.no_visa``, since public archives go by a list with a visa (Code du patrimoine, R212-14)."""
    acts.refresh()
    for name in named:
        row = catalog.capture(name)
        found = assessed_to_go(acts, row, now) if row is not None else None
        if row is not None:
            vouched(acts.vault, row)
        if found is not None and found[0].schedule.public_service:
            require_visa(acts, None)
        if found is None or not found[1].past(now):
            raise Refused("a capture of these is not past its maximum", code="erasure.not_past")


def grant_action(acts: Acts, cases: Cases) -> StrongAction:
    """``grant.give`` {subject, role, matter?, custodians?, from?, until?}: let somebody act in a role."""

    def check(given: Mapping[str, Any], actor: Actor) -> dict[str, Any]:
        if same_person(str(given.get("subject")), actor.subject):
            raise Invalid("nobody asks for a grant for himself", code="grant.own")
        return cases.checked_grant(given)

    def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
        made: dict[str, Any] = {}

        def act(_: object) -> dict[str, Any]:
            spend()
            cases.require_as_asked(approval.request)
            made.update(
                grant_act(approval.request, by=approval.by, reason=approval.reason, approval=approval.id)
            )
            return made

        seq = acts.append(act)
        return {"grant": made["grant"], "seq": seq + 1}

    asks = frozenset({_R.ADMIN, _R.COMPLIANCE_OFFICER})
    decides = frozenset({_R.COMPLIANCE_OFFICER, _R.LEGAL, _R.DPO})
    forms = texts("subject", "role", "matter", "from", "until") | lists("custodians")
    return StrongAction(
        "grant.give",
        asks,
        decides,
        check,
        carry_out,
        gains=lambda it: str(it["subject"]),
        lasting=True,
        forms=forms,
        beside=frozenset(),
    )


def account_action(accounts: Accounts) -> StrongAction:
    """``account.make`` {name, role, only, ends}: a service account that reads mail. Its token is in the answer to
    whoever has it carried out, and nowhere else."""

    def check(given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
        name, only, role = given.get("name"), given.get("only"), str(given.get("role"))
        if (
            not isinstance(only, list)
            or not all(isinstance(each, str) for each in only)
            or role not in set(_R)
        ):
            raise Invalid("an account has a role, and rights of it", code="account.scope")
        try:
            ends = from_rfc3339(str(given.get("ends")))
        except ValueError as error:
            raise Invalid("an account ends at a time (RFC 3339)", code="account.ends") from error
        rights = accounts.checked(str(name), RoleName(role), only, ends)
        return {"name": str(name), "role": role, "only": rights, "ends": rfc3339(ends)}

    def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
        asked = approval.request
        made, token, seq = accounts.make(
            approval.by,
            asked["name"],
            RoleName(asked["role"]),
            asked["only"],
            from_rfc3339(asked["ends"]),
            lambda: spend().id,
        )
        return {"account": made.id, "token": token, "seq": seq}

    decides = frozenset({_R.COMPLIANCE_OFFICER, _R.LEGAL})
    return StrongAction("account.make", frozenset({_R.ADMIN}), decides, check, carry_out, lasting=True)


def incident_close_action(acts: Acts, clock: Clock) -> StrongAction:
    """``incident.close`` {incident}: exports and the destruction of keys go on."""

    def check(given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
        acts.refresh()
        known = acts.incidents.known.get(str(given.get("incident")))
        if known is None:
            raise NotFound("no such incident", code="incident.unknown")
        if known.closed is not None:
            raise Refused("this incident is closed", code="incident.closed")
        return {"incident": known.id}

    def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
        seq = closing(acts, approval.request["incident"], approval.by, clock, lambda: spend().id)
        return {"incident": approval.request["incident"], "seq": seq}

    roles = frozenset({_R.ADMIN, _R.DPO, _R.COMPLIANCE_OFFICER})
    return StrongAction("incident.close", roles, roles | {_R.LEGAL}, check, carry_out)


def matter_action(acts: Acts, cases: Cases) -> StrongAction:
    """``matter.change`` {matter, name, purpose, query?, custodians?}: what a matter is about while grants stand for
    it: they show what it holds. One that was changed since it was asked for stays as it is (``matter.changed``)."""

    def check(given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
        cases.require_sensible(given)
        known = cases.matter(str(given.get("matter")))
        fields = {name: given[name] for name in ("name", "purpose", "query", "custodians") if given.get(name)}
        said = {"matter": known.id, "version": known.version, **fields}
        return {**said, "people": cases.decided(fields)}

    def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
        request = approval.request
        made = cases.set_matter(
            approval.by, request, request["matter"], request.get("version"), lambda: spend().id
        )
        return {"matter": made.id, "version": made.version, "seq": acts.seen}

    roles = frozenset({_R.COMPLIANCE_OFFICER, _R.LEGAL})
    forms = texts("matter", "name", "purpose", "query") | lists("custodians")
    return StrongAction("matter.change", roles, roles, check, carry_out, forms=forms, beside=frozenset())


def places(catalog: Catalog, given: Mapping[str, Any]) -> Sequence[Capture]:
    """The captures that are named, or those of the messages that are. Raises NotFound for one that is not there."""
    names, messages = _names(given, "captures"), _names(given, "messages")
    if bool(names) == bool(messages):
        raise Invalid("name either captures or messages", code="erasure.invalid")
    rows = _rows(names, catalog.capture) if names else _of_messages(catalog, messages)
    if len(rows) > _MOST:
        raise Invalid(f"{_MOST} captures at most in one request", code="erasure.too_many")
    return [Capture(LogId.parse(row.log), row.seq, row.id) for row in rows]


def _names(given: Mapping[str, Any], field: str) -> list[str]:
    names = given.get(field) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Invalid(f"{field} is a list of ids", code="erasure.invalid")
    return list(dict.fromkeys(names))[: _MOST + 1]


def _rows(names: Sequence[str], find: Callable[[str], CaptureRow | None]) -> list[CaptureRow]:
    found = []
    for name in names:
        row = find(name)
        if row is None:
            raise NotFound("no capture of this id", code="capture.unknown")
        found.append(row)
    return found


def _of_messages(catalog: Catalog, messages: Sequence[str]) -> list[CaptureRow]:
    found: list[CaptureRow] = []
    for message in messages:
        rows = catalog.messages([message])
        if not rows:
            raise NotFound("no message of this id", code="message.unknown")
        found += rows[0].captures
    return found
