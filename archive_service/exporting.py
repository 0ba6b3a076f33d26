"""One export from request to file: select, collect, write, and record what was taken out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archive_service.access.directory import Resolution
from archive_service.access.events import AccessEvent
from archive_service.api.services import TenantServices
from archive_service.catalog.merge import DRAFT
from archive_service.export.bundle import write_bundle
from archive_service.export.collect import Collector, Extract, all_ids
from archive_service.export.evidence import ArchiveKeys, BundleRequest, BundleResult
from archive_service.model.errors import ArchiveError, Invalid, NotFound, Refused
from archive_service.tenant_services import OpenTenant
from archive_service.terms.purposes import require_purpose, require_stated
from search.drafts import drafts_among, sets_aside, without_drafts
from search.query_language import And, parse

PREFIX = "ARC"

_LOOKUP = 1000  # ids looked up at once


@dataclass(frozen=True)
class ExportAsked:
    """Who wants what, as a job or a command says it."""

    id: str
    actor: str
    role: str
    requested_at: str
    query: str | None
    ids: tuple[str, ...] | None
    matter: str | None = None
    purpose: str | None = None
    bound: str | None = None  # a query that bounds what the first one may find
    lang: str = "en"
    include_drafts: bool = False  # among what the query finds


@dataclass(frozen=True)
class Selected:
    """What is exported: the messages, and how many drafts the query finds that are not among them. ``query``: as the
    bundle states it, the drafts that it leaves out included. ``named``: whom the query names."""

    ids: list[str]
    drafts_left_out: int = 0
    query: str | None = None
    named: tuple[Resolution, ...] = ()


def select(opened: OpenTenant, asked: ExportAsked) -> Selected:
    """What the request means. Raises QueryError, NotFound when there is nothing to export."""
    if asked.ids is not None:
        return Selected(list(dict.fromkeys(asked.ids)))
    query, named = opened.services.custodians.expanded(parse(asked.query or ""))
    if asked.bound is not None:
        query = And((parse(asked.bound), query))

    def page(below: int | None, limit: int) -> list[tuple[str, int]]:
        found = index.search(shown, limit=limit, below=below, snippets=False)
        return [(hit.id, hit.rank) for hit in found.hits]

    index = opened.services.index
    apart = not asked.include_drafts and sets_aside(query)
    shown = without_drafts(query) if apart else query
    ids = all_ids(page)
    if not ids:
        raise NotFound("the query finds nothing to export", code="export.empty")
    left_out = drafts_among(index, query) if apart else 0
    stated = f"({asked.query}) NOT flag:{DRAFT}" if left_out else asked.query
    return Selected(ids, left_out, stated, named)


def _require_purpose(services: TenantServices, asked: ExportAsked) -> None:
    """As tenant and schedule say when the export is made; a refusal is recorded. Raises Invalid
    (``purpose.required``)."""
    try:
        _require_what_is_asked(services, asked)
    except Invalid as error:
        services.access_log.record(
            AccessEvent(
                actor=asked.actor,
                role=asked.role,
                action="export.make",
                outcome="refused",
                ids=asked.ids or (),
                detail={"export": asked.id, "query": asked.query, "reason": error.code},
            )
        )
        raise


def _require_what_is_asked(services: TenantServices, asked: ExportAsked) -> None:
    require_stated(services.authority.required, asked.purpose)
    if asked.ids is None:
        require_purpose(services.schedules, asked.purpose, None)
        return
    for start in range(0, len(asked.ids), _LOOKUP):
        rows = services.catalog.messages(asked.ids[start : start + _LOOKUP])
        require_purpose(services.schedules, asked.purpose, [each for row in rows for each in row.captures])


def run_export(
    opened: OpenTenant,
    asked: ExportAsked,
    extract: Extract,
    target: Path,
    progress: Callable[[int, int], None],
) -> tuple[BundleResult, Selected]:
    """Write the bundle to ``target``; its ids, and whom the query named, are in the access log, durable, before this
    returns. Raises ArchiveError: then there is no file."""
    opened.tenant.acts.refresh()
    if opened.tenant.acts.incidents.open:
        raise Refused("an incident is open: nothing is exported", code="incident.open")
    services = opened.services
    _require_purpose(services, asked)
    selected = select(opened, asked)
    ids, named = selected.ids, selected.named
    progress(0, len(ids))
    collector = Collector(opened.tenant.vault, services.catalog, opened.contents, opened.proofs, extract)
    tenant_key, archive_key = opened.proofs.keys()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    services.access_log.record(
        AccessEvent(
            actor=asked.actor,
            role=asked.role,
            action="export.make",
            ids=tuple(ids),
            purpose=asked.purpose,
            matter=asked.matter,
            detail={"export": asked.id, "query": asked.query}
            | ({"custodians": [each.plain() for each in named]} if named else {}),
        )
    )
    result = write_bundle(
        BundleRequest(
            export_id=asked.id,
            tenant_name=services.name,
            matter=asked.matter,
            purpose=asked.purpose,
            requested_by=asked.actor,
            requested_at=asked.requested_at,
            query=selected.query,
            ids=asked.ids,
            bates_prefix=PREFIX,
            lang=asked.lang,
            named=tuple(each.line() for each in named),
        ),
        collector.messages(ids),
        ArchiveKeys((tenant_key,), (archive_key,)),
        opened.proofs.sign_note,
        target,
        reserve=lambda pages: opened.tenant.acts.reserve_bates(PREFIX, pages, asked.id),
        progress=lambda done: progress(done, len(ids)),
    )
    _require_unbarred(opened, result)
    return result, selected


def _require_unbarred(opened: OpenTenant, result: BundleResult) -> None:
    """What was barred while the bundle was made is in it, and whoever looks for such files may have been here before.
    Raises Refused: then there is no file; ArchiveError."""
    try:
        barred = opened.tenant.acts.barred(result.capture_ids)
    except ArchiveError:
        result.path.unlink(missing_ok=True)
        raise
    if barred:
        result.path.unlink(missing_ok=True)
        raise Refused("mail of this export was erased while it was made; ask again", code="export.expired")


def summary(result: BundleResult, selected: Selected) -> dict[str, Any]:
    """A bundle's result as JSON-ready values."""
    return {
        "messages": selected.ids,
        "drafts_left_out": selected.drafts_left_out,
        **({"custodians": [each.plain() for each in selected.named]} if selected.named else {}),
        "path": str(result.path),
        "size": result.size,
        "manifest_sha256": result.manifest_sha256,
        "captures": result.captures,
        "attachments": result.attachments,
        "pages": result.pages,
        "bates_first": result.bates_first,
        "bates_last": result.bates_last,
    }
