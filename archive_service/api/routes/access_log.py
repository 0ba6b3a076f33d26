"""``GET /v1/access-log``: who searched, read and exported what. Reading it is recorded in it."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse

from archive_service.access.events import AccessLog, AccessRecord
from archive_service.access.policy import Right
from archive_service.access.wanted import Wanted, moment
from archive_service.api.errors import NoSuchThing
from archive_service.api.guard import CallerDep, GuardedRoute, needs
from archive_service.api.long_answer import Still, while_still
from archive_service.api.views import AccessLogAnswer, PageSize, access_entry_view

router = APIRouter(route_class=GuardedRoute, tags=["access log"])

_LOG = re.compile(r"access-[1-9][0-9]{0,5}")
_STEP = 1000  # entries read at once while filtering
_MOST_READ = 20_000  # entries read for one answer

Filter = Annotated[str | None, Query(min_length=1, max_length=256)]


def _wanted(
    caller: CallerDep,
    message: Filter = None,
    actor: Filter = None,
    action: Filter = None,
    since: Filter = None,
    until: Filter = None,
) -> Wanted:
    """``since`` and ``until`` (not included): RFC 3339. Raises Invalid (``input.time``)."""
    caller.wants((), since=since, until=until)
    return Wanted(message, actor, action, moment(since), moment(until))


WantedDep = Annotated[Wanted, Depends(_wanted)]


@router.get("/v1/access-log", openapi_extra=needs(Right.ACCESS_LOG, "access_log.read"))
def read(
    caller: CallerDep,
    wanted: WantedDep,
    limit: Annotated[PageSize, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=32_000)] = None,
) -> AccessLogAnswer:
    """Everything durable before the request, newest first; this reading itself stands in the next. ``since`` and
    ``until`` (not included): RFC 3339."""
    records, following = _page(caller.tenant.access_log, wanted, limit, cursor)
    caller.record(
        entries=len(records),
        filtered_message=wanted.message,
        filtered_actor=wanted.actor,
        filtered_action=wanted.action,
        since=wanted.since,
        until=wanted.until,
        page="first" if cursor is None else "later",
    )
    return AccessLogAnswer(entries=[access_entry_view(record) for record in records], next=following)


@router.get(
    "/v1/access-log/export",
    openapi_extra=needs(Right.ACCESS_LOG, "access_log.export"),
    response_class=Response,
)
def export(
    caller: CallerDep,
    wanted: WantedDep,
) -> Response:
    """Entries with their proofs in one file, JSON Lines, which ``verify-bundle`` checks without the archive. ``since``
    and ``until`` (not included): RFC 3339. This reading, with which entries it showed, stands in the next."""
    files, name = caller.tenant.access_files, caller.once("")
    chosen = files.choose(wanted)
    caller.record(export=name, entries=chosen.count, places=chosen.places, asked=wanted.plain())
    return StreamingResponse(
        while_still(
            files.lines(chosen, name, caller.actor.subject, caller.now),
            Still(caller.require_still, lambda code: caller.break_off(code, name)),
        ),
        media_type="application/jsonl",
        headers={"Content-Disposition": f'attachment; filename="access-log-{name}.jsonl"'},
    )


@router.get("/v1/access-log/{log}/{seq}/proof", openapi_extra=needs(Right.ACCESS_LOG, "access_log.proof"))
def proof(log: str, seq: Annotated[int, Path(ge=0, lt=2**53)], caller: CallerDep) -> dict[str, Any]:
    """That an entry stands in its log, and what it says, for people who do not trust us."""
    if not _LOG.fullmatch(log):
        raise NoSuchThing
    document = caller.tenant.access_proofs.access_proof(log, seq)
    caller.record(entry=f"{log}/{seq}")
    return document


def _page(
    log: AccessLog, wanted: Wanted, limit: int, cursor: str | None
) -> tuple[list[AccessRecord], str | None]:
    """Up to ``limit`` wanted entries, and the cursor after the last one looked at. The first step is never
    larger than the page, so it cannot overshoot; a later one may, and its part is then read again (at a
    cursor, a log that only grows reads the same)."""
    shown: list[AccessRecord] = []
    read, step = 0, limit
    while True:
        records, following = log.newest(step, cursor)
        matching = [
            place
            for place, record in enumerate(records)
            if wanted.within(record.time) and record.event in wanted
        ]
        missing = limit - len(shown)
        if len(matching) > missing:
            records, following = log.newest(matching[missing - 1] + 1, cursor)
            matching = matching[:missing]
        shown += [records[place] for place in matching]
        read += step
        if wanted.everything or following is None or len(shown) == limit or read >= _MOST_READ:
            return shown, following
        cursor, step = following, _STEP
