"""Every grant and service account in force at the end of the span: who has it, who gave it, when it was last used, and
what somebody said of it who looked at it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archive_service.access.accounts import subject
from archive_service.access.events import AccessLog
from archive_service.ledger.accounts import Account
from archive_service.ledger.acts import Acts
from archive_service.ledger.grants import Grant
from archive_service.yearly_pack.span import Span

_STEP = 1000

_Use = tuple[str, str, bool]
"""Who, in which role, and whether by breaking the glass."""


@dataclass(frozen=True)
class Uses:
    """When each was last used in the span. ``complete``: the whole span was looked at, so that what is not found was
    not used; else down to ``looked_back_to``."""

    last: Mapping[_Use, str]
    complete: bool
    looked_back_to: str


def rights_part(acts: Acts, log: AccessLog, span: Span, looks: int) -> dict[str, Any]:
    """By the acts as read, and by ``looks`` access entries at most. Raises StoreError, Tampered."""
    grants = [each for each in acts.grants.all() if _stood(each.begins, each.ends, each.revoked, span)]
    accounts = [each for each in acts.accounts.all() if _stood(each.at, each.ends, each.revoked, span)]
    wanted = {_use_of(grant) for grant in grants} | {_use(account) for account in accounts}
    uses = _uses(log, wanted, span, looks)
    rows = [
        *(_grant(each, acts, span) | _used(uses, _use_of(each)) for each in grants),
        *(_account(each, acts, span) | _used(uses, _use(each)) for each in accounts),
    ]
    return {
        "in_force": rows,
        "unused": [each["id"] for each in rows if each["unused"]],
        "not_looked_at": [each["id"] for each in rows if each["recertified"] is None],
        "to_withdraw": [
            each["id"] for each in rows if (each["recertified"] or {}).get("verdict") == "withdraw"
        ],
        "break_glass": [_grant(each, acts, span) for each in acts.grants.all() if _broken(each, span)],
        "uses_complete": uses.complete,
        "uses_looked_back_to": uses.looked_back_to,
    }


def _stood(begins: str, ends: str, revoked: str | None, span: Span) -> bool:
    return begins < span.ends <= ends and (revoked is None or revoked >= span.ends)


def _broken(grant: Grant, span: Span) -> bool:
    return grant.break_glass and span.holds(grant.begins)


def _use_of(grant: Grant) -> _Use:
    return grant.subject, grant.role, grant.break_glass


def _use(account: Account) -> _Use:
    return subject(account), account.role, False


def _uses(log: AccessLog, wanted: set[_Use], span: Span, looks: int) -> Uses:
    """From the newest entry back: over when all are found, or the span is."""
    found: dict[_Use, str] = {}
    cursor, read, looked = None, 0, span.ends
    while found.keys() != wanted and read < looks:
        records, cursor = log.newest(_STEP, cursor)
        for record in records:
            event = record.event
            use = (event.actor, event.role, event.detail.get("break_glass") is True)
            if use in wanted and event.outcome == "shown" and span.holds(record.time):
                found.setdefault(use, record.time)
            looked = min(looked, record.time)
        read += len(records)
        if cursor is None or all(record.time < span.begins for record in records):
            return Uses(found, complete=True, looked_back_to=span.begins)
    complete = found.keys() == wanted
    return Uses(found, complete, span.begins if complete else looked)


def _used(uses: Uses, use: _Use) -> dict[str, Any]:
    last = uses.last.get(use)
    return {"last_used": last, "unused": last is None and uses.complete}


def _grant(grant: Grant, acts: Acts, span: Span) -> dict[str, Any]:
    return {
        "id": grant.id,
        "kind": "grant",
        "subject": grant.subject,
        "role": grant.role,
        "matter": grant.matter,
        "custodians": len(grant.custodians),
        "from": grant.begins,
        "until": grant.ends,
        "reason": grant.reason,
        "asked_by": grant.by,
        **_decided(acts, grant.approval, grant.begins),
        "recertified": _recertified(grant.id, acts, span),
    }


def _account(account: Account, acts: Acts, span: Span) -> dict[str, Any]:
    return {
        "id": account.id,
        "kind": "account",
        "subject": subject(account),
        "role": account.role,
        "only": list(account.only),
        "from": account.at,
        "until": account.ends,
        "asked_by": account.by,
        **_decided(acts, account.approval, account.at),
        "recertified": _recertified(account.id, acts, span),
    }


def _decided(acts: Acts, approval: str | None, alone: str) -> dict[str, Any]:
    """Who approved a right and when; ``alone``: since when it is there, where one person gave it."""
    known = acts.approvals.known.get(approval or "")
    if known is None or known.decided is None:
        return {"approved_by": None, "given_at": alone}
    return {"approved_by": known.decided.by, "given_at": known.decided.at}


def _recertified(right: str, acts: Acts, span: Span) -> dict[str, Any] | None:
    found = acts.recertifications.of(right, span.begins, span.ends)
    if found is None:
        return None
    verdict = "confirmed" if right in found.confirmed else "withdraw"
    return {"verdict": verdict, "by": found.by, "at": found.at, "note": found.note, "act": found.position}
