"""Changes around compartments that need two people: make one, exclude whose mail was never to be archived, move a stray
into one. Only who asks and who decides know of them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archive_service.access.cases import Cases
from archive_service.access.events import Actor, RoleName
from archive_service.access.forms import lists, texts
from archive_service.access.four_eyes import Spend, StrongAction
from archive_service.access.hold_scopes import HoldScopes
from archive_service.access.identified import people
from archive_service.bootstrap import Core, Tenant
from archive_service.catalog.base import CaptureRow, Catalog
from archive_service.compartments.carrying import Carried, Terms, rests_on, terms_of
from archive_service.compartments.parties import plain_address, plain_domain
from archive_service.compartments.resealing import Moving, Resealer, alone, compartment_of, make_compartment
from archive_service.engines.projection_engines import Pair
from archive_service.export.reading import LedgerContents
from archive_service.holds.known import undecided
from archive_service.ledger.approvals import Approval
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.reader import read_entry
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Invalid, NotFound, Refused
from archive_service.model.grounds import EraseGround, KeepGround
from archive_service.model.mail import CaptureRecord, SourceKind
from archive_service.strong_actions import places
from archive_service.vault.key_layout import LogId
from retention.erasure import Capture, withdraw

_R = RoleName
_ASKS = frozenset({_R.ADMIN, _R.DPO, _R.COMPLIANCE_OFFICER, _R.LEGAL})
_DECIDES = frozenset({_R.DPO, _R.COMPLIANCE_OFFICER, _R.LEGAL})
_NAME = re.compile(r"[^/\x00-\x1f\x7f]{1,80}")
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_MOST = 100  # captures moved in one request


def compartment_action(core: Core, tenant: Tenant, cases: Cases) -> StrongAction:
    """``compartment.make`` {name, officers: [{subject, role}]}: a sealed part of the tenant, and who works in it."""

    def check(given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
        name, officers = str(given.get("name") or ""), given.get("officers")
        if not _NAME.fullmatch(name):
            raise Invalid(
                "a compartment's name has 1 to 80 printable characters, no /", code="compartment.name"
            )
        if not isinstance(officers, list) or people(map(_subject, officers)) < 2:
            raise Invalid("two people at least work in a compartment", code="compartment.officers")
        grants = [cases.checked_grant({**each, "matter": None, "custodians": None}) for each in officers]
        return {"name": name, "officers": grants}

    def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
        request = approval.request
        made = make_compartment(core, tenant, request["name"], approval.id, approval.by, request["officers"])
        _spent(tenant, spend, core)
        return {"compartment": made.id}

    return StrongAction("compartment.make", _ASKS, _DECIDES, check, carry_out, private=True, lasting=True)


def exclusion_action(core: Core, tenant: Tenant) -> StrongAction:
    """``exclusion.set`` {exclusion?, name, basis, addresses, domains, compartment, sources?}: whose mail was never to
    be archived, from here on."""

    def check(given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
        made = {
            "exclusion": str(given.get("exclusion") or ""),
            "name": _text(given, "name"),
            "basis": _text(given, "basis"),
            "addresses": [_address(each) for each in _list(given, "addresses")],
            "domains": [_domain(each) for each in _list(given, "domains")],
            "compartment": compartment_of(core, tenant.id, _text(given, "compartment")).id,
            "sources": [str(each) for each in given.get("sources") or ()],
        }
        tenant.acts.refresh()
        outside = [each for each in made["addresses"] if each.rpartition("@")[2] not in made["domains"]]
        if outside:
            raise Invalid("an excluded address lies in none of the domains", code="exclusion.domain")
        if made["exclusion"] and made["exclusion"] not in tenant.acts.exclusions.known:
            raise NotFound("no such exclusion list", code="exclusion.unknown")
        if any(tenant.acts.source(each) is None for each in made["sources"]):
            raise NotFound("no such source", code="source.unknown")
        after = tenant.acts.exclusions.positions.get(str(made["exclusion"]))
        return made if after is None else {**made, "after": after}

    def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
        request = dict(approval.request)
        after = request.pop("after", None)
        request["exclusion"] = request["exclusion"] or f"x{approval.id[1:]}"

        def act(_: object) -> dict[str, Any]:
            spend()
            if tenant.acts.exclusions.positions.get(request["exclusion"]) != after:
                detail = "this list was changed, or ended, since the change was asked for"
                raise Refused(detail, code="exclusion.changed")
            by = {"by": approval.by, "at": rfc3339(core.clock()), "approval": approval.id}
            return {"version": 1, "act": "exclusion.set", **request, **by}

        return {"exclusion": request["exclusion"], "seq": tenant.acts.append(act) + 1}

    forms = texts("exclusion") | lists("sources")
    beside = frozenset({"name", "basis", "addresses", "domains", "compartment"})
    return StrongAction(
        "exclusion.set", _ASKS, _DECIDES, check, carry_out, private=True, forms=forms, beside=beside
    )


def exclusion_end_action(core: Core, tenant: Tenant) -> StrongAction:
    """``exclusion.end`` {exclusion}: what comes from here on is archived as any other mail."""

    def check(given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
        tenant.acts.refresh()
        exclusion = _text(given, "exclusion")
        if exclusion not in tenant.acts.exclusions.known:
            raise NotFound("no such exclusion list", code="exclusion.unknown")
        return {"exclusion": exclusion}

    def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
        def act(_: object) -> dict[str, Any]:
            spend()
            by = {"by": approval.by, "at": rfc3339(core.clock()), "approval": approval.id}
            return {"version": 1, "act": "exclusion.end", **approval.request, **by}

        return {"exclusion": approval.request["exclusion"], "seq": tenant.acts.append(act) + 1}

    return StrongAction("exclusion.end", _ASKS, _DECIDES, check, carry_out, private=True)


def reseal_action(core: Core, tenant: Tenant, live: Pair, contents: LedgerContents) -> StrongAction:
    """``reseal`` {messages or captures, compartment}: move strays where they belong; here their keys are destroyed."""
    catalog = live.catalog

    def check(given: Mapping[str, Any], _: Actor) -> dict[str, Any]:
        compartment = compartment_of(core, tenant.id, _text(given, "compartment")).id
        found = places(catalog, given)
        if len(found) > _MOST:
            raise Invalid(f"{_MOST} captures at most in one request", code="erasure.too_many")
        return {"compartment": compartment, "captures": [place.plain() for place in found]}

    def carry_out(approval: Approval, spend: Spend) -> dict[str, Any]:
        with alone(core):
            return moved(approval, spend)

    def moved(approval: Approval, spend: Spend) -> dict[str, Any]:
        owner = approval.request["compartment"]
        named = [_capture(each) for each in approval.request["captures"]]
        tenant.acts.refresh()
        for each in named:
            _require_no_order(tenant, each, rfc3339(core.clock()))
        left = [each for each in named if not tenant.acts.erasures.barred(each.id)]
        rows = [_row(catalog, each) for each in left]
        if undecided(tenant.acts, catalog, live.index, rows):
            raise _unknown()
        resealer = Resealer(core, tenant.id)
        try:
            for number, place in enumerate(left):
                moving = _moving(tenant, catalog, contents, place, approval)
                carried = _move(core, tenant, catalog, resealer, owner, moving)
                last = number == len(left) - 1
                leaving = _Leaving(core, tenant, catalog, *carried)
                leaving.withdraw(approval.by, (lambda: spend().id) if last else None)
        finally:
            resealer.close()
        if not left or tenant.acts.approvals.get(approval.id).executed is None:
            _spent(tenant, spend, core)
        return _came_of(tenant, named)

    return StrongAction("reseal", _ASKS - {_R.ADMIN}, _DECIDES, check, carry_out, private=True)


def _moving(
    tenant: Tenant, catalog: Catalog, contents: LedgerContents, place: Capture, approval: Approval
) -> Moving:
    row = _row(catalog, place)
    raw, record = contents.raw(row), _record(tenant, place)
    return Moving(place, _kind(tenant, row), record, raw, approval.by, approval.expires)


def _move(
    core: Core, tenant: Tenant, catalog: Catalog, resealer: Resealer, owner: str, moving: Moving
) -> tuple[Carried, Terms]:
    """One capture into the compartment, and under what it stands there. It is there before it goes here."""
    terms = terms_of(tenant.acts, _row(catalog, moving.of), core.clock())
    return resealer.into(owner, moving, terms), terms


def _came_of(tenant: Tenant, named: Sequence[Capture]) -> dict[str, Any]:
    """How many lie in the compartment; what somebody had erased before it was moved does not."""
    moved = sum(tenant.acts.erasures.withdrew(each.id) for each in named)
    return {"captures": moved, **({"erased": len(named) - moved} if moved < len(named) else {})}


class _Changed(Exception):
    """A hold came upon it, or somebody decided something of its term, since it was looked at."""


class _Gone(Exception):
    """Somebody else has withdrawn it, or had it erased."""


@dataclass
class _Leaving:
    """A capture that lies in the compartment and is withdrawn here, once all that it stands under here stands there
    too: a hold may be placed, or found, or a term made longer, while it is moved."""

    core: Core
    tenant: Tenant
    catalog: Catalog
    carried: Carried
    terms: Terms

    def withdraw(self, by: str, spend: Callable[[], str] | None) -> None:
        """Raises Refused (``reseal.kept``, ``reseal.hold_undecided``), Overloaded, and what ``spend`` does. What lies
        there is then taken up by the next try, or withdrawn there (``leftovers``)."""
        while True:
            try:
                withdraw(self.tenant.acts, self.carried.of, by, spend, self._check)
            except _Changed:
                row = _row(self.catalog, self.carried.of)
                self.terms = terms_of(self.tenant.acts, row, self.core.clock())
                self.carried.say(self.terms, self.core.clock, first=False)
                self.carried.hold(self.terms)
                continue
            except _Gone:
                return
            return

    def _check(self) -> None:
        acts, of, now = self.tenant.acts, self.carried.of, rfc3339(self.core.clock())
        _require_no_order(self.tenant, of, now)
        if acts.erasures.barred(of.id):
            raise _Gone
        _require_holds_known(self.tenant)
        if rests_on(acts, of.id, now) != self.terms.rests_on:
            raise _Changed
        self.carried.require(now)


def _record(tenant: Tenant, place: Capture) -> CaptureRecord:
    fields = read_entry(tenant.vault.store, place.log, place.seq).fields
    opened = open_capture(tenant.vault.store, tenant.keyring, place.log, fields)
    return CaptureRecord.model_validate_json(opened.record)


def _kind(tenant: Tenant, row: CaptureRow) -> SourceKind:
    source = tenant.acts.source(row.finding.source)
    return source.kind if source is not None else SourceKind.GENERIC


def _require_no_order(tenant: Tenant, place: Capture, now: str) -> None:
    """By the acts as read: an order of a court stands above resealing. To keep: the original may not go. To erase: what
    is barred for it is shown again when it ends, and would never have been moved. Raises Refused."""
    asked = tenant.acts.erasures.asked.get(place.id)
    if asked is not None and asked.ground is EraseGround.ORDER and not tenant.acts.erasures.begun(place.id):
        raise Refused("an order to erase stands above: end it first", code="reseal.ordered")
    if KeepGround.ORDER in tenant.acts.erasures.keeps_of(place.id, now):
        raise Refused("an order to keep it here stands above (order of precedence)", code="reseal.kept")


def _require_holds_known(tenant: Tenant) -> None:
    """What is moved takes its holds along: each must have been held against it first. Raises Refused."""
    if HoldScopes(tenant.acts).looking():
        raise _unknown()


def _unknown() -> Refused:
    return Refused("a hold has not been held against all mail yet: try again", code="reseal.hold_undecided")


def _row(catalog: Catalog, place: Capture) -> CaptureRow:
    row = catalog.capture(place.id)
    if row is None:
        raise NotFound("no capture of this id", code="capture.unknown")
    return row


def _spent(tenant: Tenant, spend: Spend, core: Core) -> None:
    def act(_: object) -> dict[str, Any]:
        done = spend()
        return {"version": 1, "act": "approval.done", "approval": done.id, "at": rfc3339(core.clock())}

    tenant.acts.append(act)


def _capture(plain: Mapping[str, Any]) -> Capture:
    return Capture(LogId.parse(str(plain["log"])), int(plain["seq"]), str(plain["capture"]))


def _subject(officer: Any) -> str:
    if not isinstance(officer, dict):
        raise Invalid("an officer is a subject and a role", code="compartment.officers")
    return str(officer.get("subject"))


def _text(given: Mapping[str, Any], field: str) -> str:
    text = given.get(field)
    if not isinstance(text, str) or not text.strip() or len(text) > 500:
        raise Invalid(f"{field} is missing", code="exclusion.invalid")
    return text.strip()


def _list(given: Mapping[str, Any], field: str) -> list[str]:
    values = given.get(field)
    if not isinstance(values, list) or not values or not all(isinstance(each, str) for each in values):
        raise Invalid(f"{field} is a list with one or more", code="exclusion.invalid")
    return values


def _address(text: str) -> str:
    local, at, domain = plain_address(text).rpartition("@")
    if not (local and at and domain):
        raise Invalid("an address is local part, @ and domain", code="exclusion.address")
    if "+" in local.strip("+"):
        raise Invalid("an address stands for its sub-addresses: give it without +", code="exclusion.address")
    return f"{local}@{_domain(domain)}"


def _domain(text: str) -> str:
    domain = plain_domain(text)
    if not _DOMAIN.fullmatch(domain):
        raise Invalid("no domain", code="exclusion.domain")
    return domain
