"""Service accounts: made with a right or more of one role and an end, shown once, revoked at once everywhere.

A token is ``asa_`` and the tenant's id, the account's id, ``_`` and a secret of 256 random bits, all in hex. The acts
keep the secret's digest alone, and are read at their head by every request of an account: an account that was revoked
on another machine a moment ago opens nothing here.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from archive_service.access.events import AccessLog, RoleName
from archive_service.access.identified import ACCOUNT, Identified, not_valid
from archive_service.access.policy import RULES, Right
from archive_service.ledger.accounts import Account
from archive_service.ledger.acts import Acts
from archive_service.model.clock import Clock, from_rfc3339, rfc3339
from archive_service.model.errors import Invalid, NotFound, Refused
from archive_service.model.reasons import require_reason

LONGEST_LIFE = timedelta(days=366)
PREFIX = "asa_"
_TOKEN = re.compile(r"asa_([0-9a-f]{20})([0-9a-f]{16})_([0-9a-f]{64})")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NEVER = frozenset({Right.PUBLIC, Right.ACCOUNTS, Right.APPROVALS_DECIDE, Right.GRANTS_CHANGE})
"""An account is no person: it decides nothing for four eyes, lets nobody in, and makes no other that outlives it."""
ALONE = frozenset(
    {Right.ACCESS_LOG, *(right for right, rule in RULES.items() if RoleName.ADMIN in rule.roles)}
)
"""What an administrator may let a program do by himself: what he does himself, and the access log, for what watches it.
The rest shows mail, or what matters are about, or counts mail by words (trials, previews), or asks for its end."""
_STEP, _MOST_READ = 1000, 20_000


class Accounts:
    """One tenant's service accounts. Thread-safe as the acts are."""

    def __init__(self, acts: Acts, clock: Clock) -> None:
        self._acts = acts
        self._clock = clock

    def make(
        self,
        by: str,
        name: str,
        role: RoleName,
        only: Collection[str],
        ends: datetime,
        spend: Callable[[], str] | None = None,
    ) -> tuple[Account, str, int]:
        """A new account, its token (shown this once), and the acts-log position that has passed it. Durable on return.
        ``spend``: called inside the append, the approval it is made under. Raises Invalid (``account.name``,
        ``account.scope``, ``account.ends``), Refused (``account.exists``, ``account.two_people``)."""
        rights = self.checked(name, role, only, ends)
        if spend is None and not ALONE.issuperset(rights):
            detail = (
                "an account that does more than an administrator, or a watcher, is asked for (account.make)"
            )
            raise Refused(detail, code="account.two_people")
        now = self._clock()
        account, secret = secrets.token_hex(8), secrets.token_hex(32)
        fields = {
            "account": account,
            "name": name,
            "role": role.value,
            "only": rights,
            "ends": rfc3339(ends),
            "secret": _digest(secret),
            "by": by,
            "at": rfc3339(now),
        }

        def act(_: object) -> dict[str, Any]:
            if self._acts.accounts.named(name):
                raise Refused("a service account of this name was made before", code="account.exists")
            approval = {} if spend is None else {"approval": spend()}
            return {"version": 1, "act": "account.make", **fields, **approval}

        seq = self._acts.append(act)
        token = f"{PREFIX}{self._acts.log.owner}{account}_{secret}"
        return self._acts.accounts.known[account], token, seq + 1

    def checked(self, name: str, role: RoleName, only: Collection[str], ends: datetime) -> list[str]:
        """The rights of an account that could be made so. Raises Invalid."""
        if not _NAME.fullmatch(name):
            raise Invalid("a name is 1 to 64 of a-z, 0-9, dot, dash, underscore", code="account.name")
        rights = _scope(role, only)
        now = self._clock()
        if not now < ends <= now + LONGEST_LIFE:
            raise Invalid("an account ends, within 366 days from now", code="account.ends")
        return rights

    def revoke(self, by: str, account: str, reason: str) -> tuple[Account, int]:
        """End an account at once; durable on return. Revoking it again changes nothing but is recorded. Raises
        NotFound (``account.unknown``)."""

        def act(_: object) -> dict[str, Any]:
            self._known(account)
            require_reason(reason)
            said = {"account": account, "by": by, "reason": reason, "at": rfc3339(self._clock())}
            return {"version": 1, "act": "account.revoke", **said}

        seq = self._acts.append(act)
        return self._known(account), seq + 1

    def all(self) -> list[Account]:
        """Every account ever made, by the acts at their head. Raises ArchiveError."""
        self._acts.refresh()
        return self._acts.accounts.all()

    def find(self, wanted: str) -> Account:
        """The account of this id or name, by the acts at their head. Raises NotFound."""
        for account in self.all():
            if wanted in (account.id, account.name):
                return account
        raise NotFound("no such service account", code="account.unknown")

    def state(self, account: Account) -> str:
        """``open``, ``ended`` or ``revoked`` now."""
        return account.state(rfc3339(self._clock()))

    def holder(self, token: str) -> Identified:
        """Who holds an account's token, by the acts at their head. Raises Denied (``auth.required``), with one answer
        for every fault; ArchiveError: then nobody is let in."""
        match = _TOKEN.fullmatch(token)
        if match is None or match[1] != self._acts.log.owner:
            raise not_valid()
        digest = _digest(match[3])
        known = self._acts.accounts.known.get(match[2])
        if known is not None and not hmac.compare_digest(known.secret, digest):
            raise not_valid()  # a secret never changes: no look at the head can mend it
        self._acts.refresh()
        known = self._acts.accounts.known.get(match[2])
        if known is None or not hmac.compare_digest(known.secret, digest):
            raise not_valid()
        if not known.open(rfc3339(self._clock())):
            raise not_valid()
        role = RoleName(known.role)
        return Identified(
            subject(known),
            match[1],
            frozenset({role}),
            frozenset(known.only),
            from_rfc3339(known.at).timestamp(),
        )

    def _known(self, account: str) -> Account:
        found = self._acts.accounts.known.get(account)
        if found is None:
            raise NotFound("no such service account", code="account.unknown")
        return found


def subject(account: Account) -> str:
    """What its access entries call it."""
    return f"{ACCOUNT}:{account.name}"


def tenant_of(token: str) -> str | None:
    """The opaque id of the tenant that an account's token names, or None for what is none."""
    match = _TOKEN.fullmatch(token)
    return match[1] if match is not None else None


def last_used(log: AccessLog, accounts: Collection[Account]) -> tuple[Mapping[str, str], bool]:
    """When each account, by id, last did or was refused something, by the access log; and whether all of the log was
    read: of an account that is not found it is then known that it never did anything."""
    wanted = {subject(account): account.id for account in accounts}
    found: dict[str, str] = {}
    cursor: str | None = None
    for _ in range(_MOST_READ // _STEP):
        records, cursor = log.newest(_STEP, cursor)
        for record in records:
            if record.event.actor in wanted:
                found.setdefault(wanted[record.event.actor], record.time)
        if cursor is None or len(found) == len(wanted):
            return found, True
    return found, False


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def _scope(role: RoleName, only: Collection[str]) -> list[str]:
    """The rights asked for, if the role has each of them and an account may have it. Raises Invalid."""
    may = {
        right.value
        for right, rule in RULES.items()
        if role in rule.roles | rule.granted and right not in _NEVER
    }
    wrong = sorted(set(only) - may)
    if wrong or not only:
        named = ", ".join(each if each in set(Right) else "one that is none" for each in wrong)
        raise Invalid(
            f"rights that this role may give to an account, one at least; not {named or 'none'}",
            code="account.scope",
        )
    return sorted(set(only))
