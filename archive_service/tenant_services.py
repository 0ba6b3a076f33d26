"""One tenant's services over the embedded back ends: what the API's routes, the scheduler and the CLI work with."""

from dataclasses import dataclass
from typing import Any

from archive_service.access.log import LedgerAccessLog
from archive_service.api.services import TenantServices
from archive_service.bootstrap import Core, Tenant, add_source
from archive_service.catalog.jobs import SqlJobs
from archive_service.catalog.sql import SqlCatalog
from archive_service.export.proving import LedgerProofs
from archive_service.export.reading import LedgerContents
from archive_service.ledger.group_log import GroupLog
from archive_service.ledger.integrity import LedgerIntegrity
from archive_service.model.mail import SourceKind
from search.indexes.tantivy_index import TantivyIndex


@dataclass(frozen=True)
class AddSources:
    """Sources through the acts log. Thread-safe."""

    tenant: Tenant
    domain: str

    def list(self) -> list[dict[str, Any]]:
        """Every source, from the acts at their head."""
        self.tenant.acts.refresh()
        return [source.plain() for source in self.tenant.acts.sources()]

    def add(self, name: str, kind: SourceKind) -> dict[str, Any]:
        """See ``api.services.SourcesAdmin``."""
        source, seq = add_source(self.tenant, name, kind, self.domain)
        return {**source.plain(), "seq": seq}


class CountedIntegrity(LedgerIntegrity):
    """The logs' state, and how many captures were flagged by the follower."""

    def __init__(self, core: Core, tenant: Tenant, catalog: SqlCatalog) -> None:
        super().__init__(core.store, tenant.keyring, core.archive)
        self._catalog = catalog

    def status(self) -> dict[str, Any]:
        """As in LedgerIntegrity, with ``counts`` (see ``Catalog.counts``)."""
        return {**super().status(), "counts": self._catalog.counts()}


@dataclass(frozen=True)
class OpenTenant:
    """A tenant's services, and the one part of them that must be closed."""

    tenant: Tenant
    services: TenantServices
    access: GroupLog
    contents: LedgerContents
    proofs: LedgerProofs

    def close(self) -> None:
        """Finish the access log."""
        self.access.close()


def open_tenant(core: Core, tenant: Tenant) -> OpenTenant:
    """The services of a tenant in this process. Its access log slot is claimed with the first look."""
    folder = core.projections(tenant.id)
    access = GroupLog(tenant.vault, core.slots(tenant.id, "access"), "access", lambda: tenant.acts.seen)
    contents = LedgerContents(tenant.vault, tenant.acts.barred)
    proofs = LedgerProofs(tenant.vault, core.archive, contents)
    catalog = SqlCatalog.sqlite(folder / "catalog.sqlite")
    services = TenantServices(
        id=tenant.id,
        name=tenant.name,
        catalog=catalog,
        index=TantivyIndex(folder / "index"),
        jobs=SqlJobs.sqlite(folder / "jobs.sqlite"),
        access_log=LedgerAccessLog(tenant.vault, tenant.id, access),
        contents=contents,
        proofs=proofs,
        sources=AddSources(tenant, core.settings.smtp_domain),
        integrity=CountedIntegrity(core, tenant, catalog),
        acts_position=tenant.acts.refresh,
        barred=tenant.acts.barred,
        exports=core.exports(tenant.id),
    )
    return OpenTenant(tenant, services, access, contents, proofs)
