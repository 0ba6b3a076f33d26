"""``search``, and what commands on a tenant's mail share."""

import argparse
import getpass
import os
from collections.abc import Sequence
from typing import Any

from archive_service.access.directory import Resolution
from archive_service.access.events import AccessEvent
from archive_service.api.services import TenantServices
from archive_service.bootstrap import Core, Tenant, open_core
from archive_service.catching_up import catch_up, seal_looks
from archive_service.commands.output import Output
from archive_service.following import parser_pool
from archive_service.model.errors import Invalid
from archive_service.settings import Settings
from archive_service.tenant_services import open_tenant
from archive_service.terms.purposes import require_purpose, require_stated
from search.drafts import drafts_among, sets_aside, without_drafts
from search.query_language import parse


def register(commands: Any) -> None:
    """Add the command."""
    search = commands.add_parser("search", help="find messages; recorded in the access log")
    search.add_argument("query", metavar="QUERY")
    search.add_argument("--tenant", metavar="T", help="may be left out when there is one")
    search.add_argument("--limit", type=int, default=20, metavar="N")
    search.add_argument("--purpose", metavar="TEXT")
    include_drafts(search)
    search.set_defaults(run=_search)


def the_tenant(core: Core, name: str | None) -> Tenant:
    """The named tenant, or the only one, whatever compartments it has. Raises Invalid, NotFound."""
    if name is not None:
        return core.tenant(name)
    tenants = [tenant for tenant in core.tenants() if tenant.acts.parent is None]
    if len(tenants) != 1:
        raise Invalid("there are several tenants: say which with --tenant", code="tenant.unclear")
    return tenants[0]


def include_drafts(command: argparse.ArgumentParser) -> None:
    """The option that makes drafts be found like what was sent."""
    command.add_argument(
        "--include-drafts", action="store_true", help="also what was saved and not sent (see flag:draft)"
    )


def said_of_drafts(left_out: int) -> str:
    """The line about drafts that a query found and that are not shown; "" when there are none."""
    return f"\n{left_out} drafts were left out; --include-drafts shows them" if left_out else ""


def operator() -> str:
    """Who uses the command line, for the access log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a container's user id without a name
        return f"cli:uid-{os.getuid()}"


def _search(given: argparse.Namespace, settings: Settings, output: Output) -> int:
    if not 1 <= given.limit <= 1000:
        raise Invalid("--limit is 1 to 1000", code="input.limit")
    query = parse(given.query)
    core = open_core(settings)
    try:
        tenant = the_tenant(core, given.tenant)
        with parser_pool(settings) as pool:
            catch_up(core, tenant, pool)
        opened = open_tenant(core, tenant)
        try:
            services = opened.services
            require_said(services, given.purpose, "search", query=given.query)
            query, named = services.custodians.expanded(query)
            apart = not given.include_drafts and sets_aside(query)
            found = services.index.search(without_drafts(query) if apart else query, limit=given.limit)
            left_out = drafts_among(services.index, query) if apart else 0
            listed = services.catalog.messages([hit.id for hit in found.hits])
            barred = services.barred(capture.id for message in listed for capture in message.captures)
            messages = [
                message for message in listed if not any(each.id in barred for each in message.captures)
            ]
            services.access_log.record(
                AccessEvent(
                    actor=operator(),
                    role="cli",
                    action="search",
                    ids=tuple(message.id for message in messages),
                    purpose=given.purpose,
                    detail={"query": given.query, "drafts_left_out": left_out, **_people(named)},
                )
            )
        finally:
            opened.close()
            seal_looks(core)
    finally:
        core.close()
    hits = [
        {
            "id": message.id,
            "sent_at": message.sent_at,
            "from": message.sender,
            "to": [each.address for each in message.recipients],
            "subject": message.subject,
        }
        for message in messages
    ]
    rows = [
        f"{hit['id']}  {hit['sent_at'] or '-':27}  {hit['from'] or '-'}  {hit['subject']}" for hit in hits
    ]
    output.answer(
        {
            "total": found.total,
            "hits": hits,
            "not_fully_indexed": found.not_fully_indexed,
            "drafts_left_out": left_out,
            **_people(named),
        },
        "\n".join(
            [
                *rows,
                f"{found.total} found, {found.not_fully_indexed} of them not fully indexed",
                *(each.line() for each in named),
            ]
        )
        + said_of_drafts(left_out),
    )
    return 0 if found.total else 1


def require_said(services: TenantServices, purpose: str | None, action: str, **detail: Any) -> None:
    """What a look at whatever is found needs. Raises Invalid (``purpose.required``): then nothing is shown, and that
    stands in the access log."""
    try:
        require_stated(services.authority.required, purpose)
        require_purpose(services.schedules, purpose, None)
    except Invalid as error:
        refusal = detail | {"reason": error.code}
        services.access_log.record(
            AccessEvent(actor=operator(), role="cli", action=action, outcome="refused", detail=refusal)
        )
        raise


def _people(named: Sequence[Resolution]) -> dict[str, Any]:
    """Whom the query names, where it names anybody."""
    return {"custodians": [each.plain() for each in named]} if named else {}
