"""What looks at captures after their ``250``, wired from the settings; nothing unless they name something
that looks."""

from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version

from archive_service.bootstrap import Core, Tenant
from archive_service.catalog.base import Catalog
from archive_service.catalog.looks import Looker
from archive_service.model.evidence import Look
from archive_service.model.mail import SourceKind
from archive_service.settings import Settings
from ingest.parser_pool import ParserPool
from search.evidence_desk import Count, EvidenceDesk, ignore


def looks(settings: Settings) -> tuple[Look, ...]:
    """The kinds of look that the settings ask for."""
    asked = {Look.MALWARE: settings.clamd, Look.ORIGIN: settings.evidence_dns}
    return tuple(look for look, setting in asked.items() if setting)


@dataclass(frozen=True)
class Looking:
    """``cage``: where hostile headers are read, apart from what the follower waits for. ``count``: see
    ``Count``."""

    cage: ParserPool
    count: Count = ignore


def make_desk(core: Core, tenant: Tenant, catalog: Catalog, looking: Looking) -> EvidenceDesk | None:
    """A tenant's desk; None where nothing looks. Raises Invalid."""
    lookers = [*_malware(core), *_origin(core, tenant, looking.cage)]
    if not lookers:
        return None

    threads = core.settings.evidence_threads
    return EvidenceDesk(tenant.vault, tenant.acts, catalog, lookers, threads=threads, count=looking.count)


def _malware(core: Core) -> list[Looker]:
    settings = core.settings
    if not settings.clamd:
        return []
    from ingest.evidence.clamd import Clamd
    from ingest.evidence.malware import MalwareLooker

    clamd = Clamd(settings.clamd, settings.clamd_seconds)
    hours = settings.clamd_again_hours
    again = timedelta(hours=hours) if hours else None
    return [MalwareLooker(clamd, core.clock, most=settings.clamd_max_size, again=again)]


def _origin(core: Core, tenant: Tenant, cage: ParserPool) -> list[Looker]:
    settings = core.settings
    if not settings.evidence_dns:
        return []
    from ingest.evidence.dns import Dns, servers
    from ingest.evidence.origin import OriginLooker

    def kind_of(source: str) -> SourceKind | None:
        return next((known.kind for known in tenant.acts.sources() if known.id == source), None)

    dns = Dns(servers(settings.evidence_dns), core.clock, seconds=settings.evidence_dns_seconds)
    program = f"dkimpy {version('dkimpy')}, dnspython {version('dnspython')}"
    return [OriginLooker(dns, cage, core.clock, program=program, kind_of=kind_of)]
