"""``/v1/custodians``: the people whose mail is here, with the addresses that they held and when."""

import re
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from archive_service.access.directory import resolution_of
from archive_service.access.policy import Right
from archive_service.api.directory_views import CustodianAsked, CustodianList, DayText
from archive_service.api.errors import BadRequest, NoSuchThing, PreconditionFailed, PreconditionRequired
from archive_service.api.guard import Caller, CallerDep, GuardedRoute, needs, well_formed
from archive_service.api.views import PageSize, Words
from archive_service.directory.csv_people import ORIGIN, read_csv
from archive_service.directory.people import custodian_view
from archive_service.directory.planning import Source
from archive_service.ledger.custodians import Custodians
from archive_service.model.custodians import Custodian, address_key
from archive_service.model.errors import Refused

router = APIRouter(route_class=GuardedRoute, tags=["custodians"])

_LOOKED_AT = 20_000  # people a page looks through at most
_CURSOR = re.compile(r"[0-9]{1,9}")
_TAG = re.compile(r'(?:W/)?"([0-9]{1,15})"')
_CSV = {
    "requestBody": {
        "required": True,
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}


@router.get("/v1/custodians", openapi_extra=needs(Right.CUSTODIANS, "custodian.list"))
def list_custodians(
    caller: CallerDep,
    q: Annotated[Words | None, Query(description="Words of a name, an address, a department, an id")] = None,
    entity: Words | None = None,
    active_on: Annotated[DayText | None, Query(description="Only who was there on this day")] = None,
    cursor: str | None = None,
    limit: PageSize = 50,
) -> CustodianList:
    """People, those who have left too."""
    directory = caller.tenant.custodians.at_head()
    start = _start(cursor)
    ids = directory.ids()
    shown: list[dict[str, Any]] = []
    place = start
    for custodian in _some(directory, ids[start : start + _LOOKED_AT]):
        place += 1
        if _fits(custodian, q, entity, active_on):
            shown.append(custodian_view(directory, custodian))
            if len(shown) == limit:
                break
    caller.record(custodians=[each["id"] for each in shown], asked=q, entity=entity, active_on=active_on)
    return CustodianList(custodians=shown, next=str(place) if place < len(ids) else None)


@router.post("/v1/custodians", status_code=201, openapi_extra=needs(Right.CUSTODIANS_CHANGE, "custodian.add"))
def add(asked: CustodianAsked, caller: CallerDep, response: Response) -> dict[str, Any]:
    """A new person. ``seq`` is what a later read gives as ``min_seq``."""
    caller.record()
    made, version = caller.tenant.custodians.changes.put(
        lambda _: asked.record(), by=caller.actor.subject, origin="api"
    )
    return _answer(caller, made, version, response)


@router.get("/v1/custodians/{id}", openapi_extra=needs(Right.CUSTODIANS, "custodian.view"))
def show(id: str, caller: CallerDep, response: Response) -> dict[str, Any]:
    """A person, and what a search, hold or request that names him uses (``resolved``)."""
    directory = caller.tenant.custodians.at_head()
    found = directory.get(id) if well_formed(id) else None
    if found is None:
        raise NoSuchThing
    caller.record(custodians=[id])
    response.headers["ETag"] = f'"{directory.version(id)}"'
    resolved = resolution_of(directory, found).plain()
    return custodian_view(directory, found) | {
        "resolved": {name: resolved[name] for name in ("addresses", "unresolved")}
    }


@router.put("/v1/custodians/{id}", openapi_extra=needs(Right.CUSTODIANS_CHANGE, "custodian.set"))
def change(
    id: str, asked: CustodianAsked, caller: CallerDep, request: Request, response: Response
) -> dict[str, Any]:
    """The person's whole record, from here on. ``If-Match``: the ``ETag`` of the record that was read, or ``*``;
    ``version`` in the body says the same."""
    if not well_formed(id) or caller.tenant.custodians.at_head().get(id) is None:
        raise NoSuchThing
    version = _matched(request, asked.version)
    caller.record(custodians=[id])
    try:
        made, seq = caller.tenant.custodians.changes.put(
            lambda _: asked.record(), by=caller.actor.subject, origin="api", custodian=id, version=version
        )
    except Refused as error:
        if error.code == "custodian.changed":
            raise PreconditionFailed(str(error), code=error.code) from error
        raise
    return _answer(caller, made, seq, response)


async def _body(request: Request) -> bytes:
    return await request.body()


@router.post(
    "/v1/custodians/import",
    openapi_extra=needs(Right.CUSTODIANS_CHANGE, "custodian.import") | _CSV,
)
def take_in(
    caller: CallerDep,
    body: Annotated[bytes, Depends(_body)],
    dry_run: bool = False,
    strict: Annotated[bool, Query(description="Nothing is taken where a row is in trouble")] = False,
    complete: Annotated[bool, Query(description="Whom the file no longer names has left")] = False,
    most_leavers: Annotated[int, Query(ge=0, le=1_000_000)] = 50,
    origin: Annotated[str, Query(pattern=r"^[a-z][a-z0-9_.-]{0,39}$")] = ORIGIN,
) -> dict[str, Any]:
    """People from a CSV file of up to 1 MiB (docs/custodians.md): what was done, or with ``dry_run`` would be."""
    read = read_csv(body, origin)
    caller.record(rows=len(read.people), dry_run=dry_run, origin_word=origin)
    report = caller.tenant.custodians.changes.take_in(
        read,
        Source(origin, complete, most_leavers),
        by=caller.actor.subject,
        dry_run=dry_run,
        strict=strict,
    )
    return report.plain()


def _answer(caller: Caller, made: Custodian, version: int, response: Response) -> dict[str, Any]:
    response.headers["ETag"] = f'"{version}"'
    view = custodian_view(caller.tenant.custodians.at_head(), made)
    return view | {"version": version, "seq": version + 1}


def _matched(request: Request, version: int | None) -> int | None:
    """The version that the caller has read; None for any. Raises PreconditionRequired, PreconditionFailed."""
    given = request.headers.get("if-match", "").strip()
    if not given and version is not None:
        return version
    if not given:
        message = "say with If-Match which version of the record is to be changed"
        raise PreconditionRequired(message)
    if given == "*":
        return None
    tag = _TAG.fullmatch(given)
    if tag is None:
        raise PreconditionFailed("that is no version of this record", code="custodian.changed")
    return int(tag[1])


def _start(cursor: str | None) -> int:
    """People only ever come to the end, so a place stays where it is. Raises BadRequest."""
    if cursor is None:
        return 0
    if not _CURSOR.fullmatch(cursor):
        raise BadRequest("not a cursor of ours", code="cursor.invalid")
    return int(cursor)


def _some(directory: Custodians, ids: list[str]) -> Iterator[Custodian]:
    for custodian in ids:
        found = directory.get(custodian)
        assert found is not None  # nobody is ever taken away
        yield found


def _fits(custodian: Custodian, q: str | None, entity: str | None, active_on: str | None) -> bool:
    if entity is not None and address_key(custodian.entity or "") != address_key(entity):
        return False
    if active_on is not None and not custodian.active(active_on):
        return False
    text = address_key(
        " ".join(
            (
                custodian.id,
                custodian.name,
                custodian.department or "",
                *custodian.external.values(),
                *(held.address for held in custodian.addresses),
            )
        )
    )
    return all(word in text for word in address_key(q or "").split())
