"""One tenant's services: what the API's routes, the scheduler and the CLI work with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from archive_service.access.accounts import Accounts
from archive_service.access.cases import Cases
from archive_service.access.four_eyes import FourEyes
from archive_service.access.incidents import IncidentDesk
from archive_service.access.log import LedgerAccessLog
from archive_service.access.recertifying import Recertifying
from archive_service.access.scope import scope_of
from archive_service.api.services import IncidentState, TenantServices
from archive_service.bootstrap import Core, Tenant, add_source
from archive_service.bounded_time import bounded_now
from archive_service.break_glass import break_glass_action
from archive_service.catalog.base import Catalog
from archive_service.catalog.sealed_jobs import SealedJobs
from archive_service.compartments.resealing import compartments_of
from archive_service.compartments.sealed_actions import (
    compartment_action,
    exclusion_action,
    exclusion_end_action,
    reseal_action,
)
from archive_service.directory.people import People
from archive_service.disposal.disposing import TenantDispositions
from archive_service.disposal.eliminating import TenantEliminations
from archive_service.engines.served_index import ServedIndex
from archive_service.event_journal.desk import EventJournal
from archive_service.export.access_file import AccessFiles
from archive_service.export.proving import LedgerProofs
from archive_service.export.reading import LedgerContents
from archive_service.holds.desk import HoldDesk
from archive_service.holds.releasing import hold_release_action
from archive_service.ledger.acts import Acts
from archive_service.ledger.grants import Grant
from archive_service.ledger.group_log import GroupLog
from archive_service.ledger.integrity import LedgerIntegrity
from archive_service.ledger.sessions import digest_of
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.mail import IntakeLock, SourceKind
from archive_service.notices.desk import NoticeDesk
from archive_service.orders.asking import OrderActions
from archive_service.orders.desk import OrderDesk
from archive_service.source_changes import rotate, set_guard
from archive_service.strong_actions import (
    account_action,
    erasure_action,
    grant_action,
    incident_close_action,
    matter_action,
)
from archive_service.terms.retaining import TenantSchedules
from archive_service.terms.retention_actions import schedule_action
from archive_service.terms.reviewing import TenantReviews
from archive_service.yearly_pack.pack import YearlyPack
from archive_service.yearly_pack.prices import Price
from search.query_language import Node


@dataclass(frozen=True)
class AddSources:
    """Sources through the acts log. Thread-safe."""

    tenant: Tenant
    domain: str

    def list(self) -> list[dict[str, Any]]:
        """Every source, from the acts at their head."""
        self.tenant.acts.refresh()
        return [source.plain() for source in self.tenant.acts.sources()]

    def add(self, name: str, kind: SourceKind, intake: IntakeLock | None = None) -> dict[str, Any]:
        """See ``api.services.SourcesAdmin``."""
        source, seq = add_source(self.tenant, name, kind, self.domain, intake)
        return {**source.plain(), "seq": seq}

    def set(self, source_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """See ``api.services.SourcesAdmin``."""
        source, seq = set_guard(self.tenant, source_id, fields)
        return {**source.plain(), "seq": seq}

    def rotate(self, source_id: str, overlap_seconds: int) -> dict[str, Any]:
        """See ``api.services.SourcesAdmin``."""
        source, seq = rotate(self.tenant, source_id, timedelta(seconds=overlap_seconds))
        return {**source.plain(), "seq": seq}


class CountedIntegrity(LedgerIntegrity):
    """The logs' state, and how many captures were flagged by the follower."""

    def __init__(self, core: Core, tenant: Tenant, catalog: Catalog) -> None:
        super().__init__(core.store, tenant.keyring, core.archive)
        self._catalog = catalog
        self._acts = tenant.acts

    def status(self) -> dict[str, Any]:
        """As in LedgerIntegrity, with ``counts`` (see ``Catalog.counts``) and how many captures were withdrawn:
        excluded ones and moved strays under one count."""
        counts = self._catalog.counts() | {"withdrawn": self._acts.erasures.withdrawn}
        return {**super().status(), "counts": counts}


@dataclass(frozen=True)
class ActsAuthority:
    """See ``api.services.Authority``."""

    acts: Acts
    clock: Clock
    always: bool
    required: frozenset[str] = frozenset()

    def grants(self, subject: str) -> list[Grant]:
        """By the acts at their head."""
        self.acts.refresh()
        return self.acts.grants.of(subject)

    def incident(self) -> IncidentState:
        """By the acts at their head."""
        self.acts.refresh()
        return IncidentState(self.acts.incidents.open, self.acts.incidents.valid_from)

    def scope(self, within: Sequence[Grant]) -> Node:
        """See ``access.scope``."""
        return scope_of(within, self.acts.matters.known, self.acts.custodians)

    def signed_out(self, session: str) -> bool:
        """By the acts at their head."""
        self.acts.refresh()
        return self.acts.sessions.over(session)

    def sign_out(self, session: str, subject: str, ends: str) -> None:
        """See ``ledger.sessions``."""
        said = {"session": digest_of(session), "by": subject, "ends": ends, "at": rfc3339(self.clock())}
        self.acts.append(lambda _: {"version": 1, "act": "session.end", **said})


@dataclass(frozen=True)
class SealedParts:
    """See ``api.services.Sealed``."""

    core: Core
    tenant: Tenant

    def compartments(self, subject: str, now: str) -> list[dict[str, str]]:
        """By each compartment's own acts at their head."""
        found = []
        for compartment in compartments_of(self.core, self.tenant.id):
            compartment.acts.refresh()
            if any(grant.open(now) for grant in compartment.acts.grants.of(subject)):
                found.append({"id": compartment.id, "name": compartment.name.partition("/")[2]})
        return found

    def exclusions(self, addresses: bool) -> list[dict[str, Any]]:
        """By the acts at their head."""
        self.tenant.acts.refresh()
        return [
            {"id": each.id, "name": each.name, "basis": each.basis, "sources": sorted(each.sources)}
            | {"domains": sorted(each.domains), "count": len(each.addresses)}
            | ({"addresses": sorted(each.addresses)} if addresses else {})
            for each in self.tenant.acts.exclusions.known.values()
        ]

    def withdrawn(self) -> int:
        """By the acts read last."""
        return self.tenant.acts.erasures.withdrawn


def _price(core: Core) -> Price | None:
    price = core.settings.storage_price
    return None if price is None else Price(price, core.settings.storage_currency)


def _required(core: Core) -> frozenset[str]:
    asked = {"purpose": core.settings.require_purpose, "matter": core.settings.require_matter}
    return frozenset(name for name, required in asked.items() if required)


def erasures_of(acts: Acts) -> list[dict[str, Any]]:
    """Each capture that is to be forgotten, by the acts at their head: id, capture, ground, state. What was withdrawn
    is counted elsewhere and not named: a capture that somebody has seen here before would be one that was moved."""
    acts.refresh()
    gone = acts.erasures.gone()

    def state(capture: str) -> str:
        return "gone" if capture in gone else "going" if acts.erasures.begun(capture) else "barred"

    return [
        {
            "id": asked.erasure,
            "capture": asked.capture,
            "ground": str(asked.ground),
            "state": state(asked.capture),
        }
        for asked in acts.erasures.asked.values()
        if not acts.erasures.withdrew(asked.capture)
    ]


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
    access = GroupLog(tenant.vault, core.slots(tenant.id, "access"), "access", lambda: tenant.acts.seen)
    access_log = LedgerAccessLog(tenant.vault, tenant.id, access)
    contents = LedgerContents(tenant.vault, tenant.acts.barred)
    proofs = LedgerProofs(tenant.vault, core.archive, contents)
    live = core.engines.live(tenant.id)
    index = ServedIndex(live.index, live.catalog)
    cases = Cases(tenant.acts, core.clock)
    bounded = partial(bounded_now, core)
    dispositions = TenantDispositions(tenant.acts, live.catalog, proofs, bounded, core.clock, tenant.id)
    reviews = TenantReviews(tenant.acts, live.catalog, core.clock)
    accounts = Accounts(tenant.acts, core.clock)
    journal = EventJournal(tenant.vault, tenant.acts, proofs, tenant.id)
    integrity = CountedIntegrity(core, tenant, live.catalog)
    holds = HoldDesk(tenant.acts, live.catalog, index, core.clock)
    actions = (
        account_action(accounts),
        erasure_action(tenant.acts, live.catalog, bounded),
        grant_action(tenant.acts, cases),
        matter_action(tenant.acts, cases),
        break_glass_action(tenant.acts, cases, core.clock),
        hold_release_action(tenant.acts, core.clock),
        compartment_action(core, tenant, cases),
        exclusion_action(core, tenant),
        exclusion_end_action(core, tenant),
        incident_close_action(tenant.acts, core.clock),
        reseal_action(core, tenant, live, contents),
        schedule_action(tenant.acts, bounded),
        reviews.action(),
        dispositions.action(timedelta(hours=core.settings.disposition_grace_hours)),
        *OrderActions(tenant.acts, live.catalog, index, holds, core.clock).actions(),
    )
    services = TenantServices(
        id=tenant.id,
        name=tenant.name,
        catalog=live.catalog,
        index=index,
        jobs=SealedJobs(core.engines.jobs(tenant.id), lambda: tenant.keyring.secret("token")),
        access_log=access_log,
        contents=contents,
        proofs=proofs,
        access_proofs=proofs,
        access_files=AccessFiles(tenant.vault, proofs),
        sources=AddSources(tenant, core.settings.smtp_domain),
        custodians=People(tenant.acts, core.clock),
        integrity=integrity,
        acts_position=tenant.acts.refresh,
        barred=tenant.acts.barred,
        exports=core.exports(tenant.id),
        accounts=accounts,
        four_eyes=FourEyes(tenant.acts, actions, core.clock),
        cases=cases,
        authority=ActsAuthority(
            tenant.acts,
            core.clock,
            core.settings.require_grants or tenant.acts.parent is not None,
            _required(core),
        ),
        incidents=IncidentDesk(tenant.acts, access_log, live.catalog, core.clock),
        holds=holds,
        eliminations=TenantEliminations(tenant.acts, dispositions, core.clock),
        notices=NoticeDesk(tenant.acts, lambda: tenant.keyring.secret("token"), core.clock),
        orders=OrderDesk(tenant.acts, core.store, holds, proofs, core.clock, tenant.id),
        sealed=SealedParts(core, tenant),
        dispositions=dispositions,
        reviews=reviews,
        schedules=TenantSchedules(tenant.acts, live.catalog, index, core.store, core.clock),
        journal=journal,
        recertifying=Recertifying(tenant.acts, core.clock),
        yearly_pack=YearlyPack(
            tenant.acts,
            live.catalog,
            access_log,
            journal,
            proofs,
            core.store,
            integrity.status,
            core.clock,
            tenant.id,
            core.work,
            _price(core),
        ),
        parent=tenant.acts.parent,
        erasures=lambda: erasures_of(tenant.acts),
    )
    return OpenTenant(tenant, services, access, contents, proofs)
