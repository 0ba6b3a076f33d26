"""``POST /v1/search``."""

from fastapi import APIRouter

from archive_service.access.policy import Right
from archive_service.api import cursors, lookups
from archive_service.api.errors import BadRequest
from archive_service.api.guard import Caller, CallerDep, GuardedRoute, needs
from archive_service.api.views import HitView, SearchAnswer, SearchAsked, hit_view
from archive_service.api.waiting import CaughtUp
from search.drafts import drafts_among, sets_aside, without_drafts
from search.indexes.base import Hit
from search.query_language import And, parse

router = APIRouter(route_class=GuardedRoute, tags=["search"])


@router.post(
    "/v1/search",
    openapi_extra=needs(Right.SEARCH, "search"),
    dependencies=[CaughtUp],
    response_model_exclude_unset=True,  # people, where the query names none
)
def search(asked: SearchAsked, caller: CallerDep) -> SearchAnswer:
    """Messages that match a query, newest first. ``custodians``, where it names people: the addresses that were used
    for each, and what could not be."""
    caller.wants(query=asked.query)
    _refuse_unsupported(asked)
    caller.require_purpose(None, asked.purpose)
    query, named = caller.tenant.custodians.expanded(parse(asked.query))
    if caller.bound is not None:
        query = And((caller.bound, query))
    below = cursors.rank_below(asked.query, asked.cursor) if asked.cursor is not None else None
    apart = not asked.include_drafts and sets_aside(query)
    shown = without_drafts(query) if apart else query
    # One hit more than asked for tells whether there is a next page.
    found = caller.tenant.index.search(shown, limit=asked.limit + 1, below=below)
    left_out = drafts_among(caller.tenant.index, query) if apart else 0
    page = found.hits[: asked.limit]
    following = cursors.cursor(asked.query, page[-1].rank) if len(found.hits) > len(page) else None
    hits = _hits(caller, page)
    total = found.total - (len(page) - len(hits))  # what is not shown here is not counted either
    caller.record(
        [hit.id for hit in hits],
        purpose=asked.purpose,
        matter=asked.matter,
        query=asked.query,
        total=total,
        drafts_left_out=left_out,
        page="first" if asked.cursor is None else "later",
        custodians=[each.plain() for each in named] or None,
    )
    answer = SearchAnswer(
        total=total,
        hits=hits,
        facets={},
        next=following,
        not_fully_indexed=found.not_fully_indexed,
        drafts_left_out=left_out,
    )
    if named:
        answer.custodians = [each.plain() for each in named]
    return answer


def _refuse_unsupported(asked: SearchAsked) -> None:
    if asked.sort not in (None, "newest"):
        raise BadRequest("the only order is newest", code="query.sort_unsupported")
    if asked.facets:
        raise BadRequest("no facet of this name", code="query.facet_unsupported")


def _hits(caller: Caller, page: tuple[Hit, ...]) -> list[HitView]:
    """The index proposes, catalog and acts decide: a hit that they do not show (any more) is dropped, and so is one
    whose words may come from a capture that is barred."""
    found = caller.tenant.catalog.messages([hit.id for hit in page])
    visible = {row.id: row for row in lookups.unbarred(caller, found)}
    rows = {row.id: row for row in found if visible.get(row.id) == row}
    return [hit_view(hit, rows[hit.id]) for hit in page if hit.id in rows]
