"""``/v1/accounts``: service accounts, for programs. Each ends; its token is shown once."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from archive_service.access.accounts import last_used, subject
from archive_service.access.events import RoleName
from archive_service.access.policy import Right
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import CallerDep, GuardedRoute, needs, well_formed
from archive_service.api.services import TenantServices
from archive_service.api.views import Asked, Words
from archive_service.api.waiting import CaughtUp
from archive_service.ledger.accounts import Account

router = APIRouter(route_class=GuardedRoute, tags=["accounts"])


class AccountAsked(Asked):
    """``only``: rights of the role, one at least. ``ends``: RFC 3339, within 366 days."""

    name: Words
    role: Annotated[RoleName, Field(strict=False)]
    only: Annotated[list[Words], Field(min_length=1, max_length=50)]
    ends: Annotated[AwareDatetime, Field(strict=False)]


class AccountView(BaseModel):
    """``state``: open, ended or revoked. ``last_used``: when it last did or was refused something, by the access log;
    null with ``last_used_known`` false says that only the newest 20,000 entries were read."""

    id: str
    name: str
    subject: str
    role: str
    only: list[str]
    ends: str
    state: str
    made_by: str
    made_at: str
    last_used: str | None = None
    last_used_known: bool = True


class AccountMade(AccountView):
    """``token`` is shown this once. ``seq`` is what a later read gives as ``min_seq``."""

    token: str
    seq: int


class AccountList(BaseModel):
    """In the order of their making."""

    accounts: list[AccountView]
    next: str | None = None


@router.post("/v1/accounts", status_code=201, openapi_extra=needs(Right.ACCOUNTS, "account.make"))
def make(asked: AccountAsked, caller: CallerDep) -> AccountMade:
    """A new service account. Its name was never another's, and its token is not to be had again."""
    caller.record(
        account=asked.name, account_role=asked.role.value, only=sorted(asked.only), ends=_text(asked.ends)
    )
    made, token, seq = caller.tenant.accounts.make(
        caller.actor.subject, asked.name, asked.role, asked.only, asked.ends
    )
    return AccountMade(**_fields(caller.tenant, made), token=token, seq=seq)


@router.get("/v1/accounts", openapi_extra=needs(Right.ACCOUNTS, "account.list"), dependencies=[CaughtUp])
def list_accounts(caller: CallerDep, open_only: Annotated[bool, Query(alias="open")] = False) -> AccountList:
    """Every service account ever made, or those that may act now, and when each was last used."""
    desk = caller.tenant.accounts
    found = [each for each in desk.all() if not open_only or desk.state(each) == "open"]
    used, whole = last_used(caller.tenant.access_log, found)
    caller.record(accounts=[each.id for each in found])
    views = [
        AccountView(
            **_fields(caller.tenant, each),
            last_used=used.get(each.id),
            last_used_known=whole or each.id in used,
        )
        for each in found
    ]
    return AccountList(accounts=views)


@router.delete("/v1/accounts/{id}", openapi_extra=needs(Right.ACCOUNTS, "account.revoke"))
def revoke(
    id: str, caller: CallerDep, reason: Annotated[str, Query(min_length=1, max_length=500)] = "revoked"
) -> AccountView:
    """End a service account at once, on every machine."""
    desk = caller.tenant.accounts
    if not well_formed(id) or not any(each.id == id for each in desk.all()):
        raise NoSuchThing
    caller.record(account=id, reason=reason)
    revoked, _ = desk.revoke(caller.actor.subject, id, reason)
    return AccountView(**_fields(caller.tenant, revoked))


def _fields(tenant: TenantServices, account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "subject": subject(account),
        "role": account.role,
        "only": list(account.only),
        "ends": account.ends,
        "state": tenant.accounts.state(account),
        "made_by": account.by,
        "made_at": account.at,
    }


def _text(moment: datetime) -> str:
    return moment.isoformat()
