"""One look at the archive itself: its store, keys, logs and projections, and the disk under the work folder.

Each part stands by itself: what fails is said in its own metric, or named as missing, and hides nothing else.
"""

import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from archive_service.alarms import names
from archive_service.alarms.break_glass_looks import open_glass
from archive_service.alarms.canary_book import OF_CANARIES, CanaryBook
from archive_service.alarms.erasure_looks import Erasures
from archive_service.alarms.evidence_looks import evidence_samples
from archive_service.alarms.hold_looks import holds_overdue
from archive_service.alarms.index_looks import index_difference
from archive_service.alarms.key_looks import Differences, key_places, key_service
from archive_service.alarms.log_looks import Logs, checkpoint_lag, follower_lag, unread
from archive_service.alarms.reconciled_record import reconciled_samples
from archive_service.alarms.source_looks import OF_SOURCES, SourceLooks
from archive_service.alarms.tally import Sample
from archive_service.alarms.verify_record import verify_samples
from archive_service.bootstrap import Core, Tenant
from archive_service.catalog.base import Catalog
from archive_service.engines.projection_engines import Pair
from archive_service.looking import looks
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError
from archive_service.terms.locking import first_unkept
from archive_service.vault.key_layout import LogId

_log = logging.getLogger(__name__)
_COUNT_EVERY = 300.0  # seconds: counting every capture of a large catalog takes its time

_OF_LOGS = (names.CHECKPOINT_LAG,)
_OF_FOLLOWER = (names.FOLLOWER_LAG_ENTRIES, names.FOLLOWER_LAG_SECONDS)
_OF_UNREAD = (names.CAPTURES_UNREAD, names.INTAKE_LOCK_USED)
_OF_COUNTS = (names.REPORTS_UNPARSED, names.INDEX_DIFFERING)
_OF_EVIDENCE = (names.EVIDENCE_WAITING, names.EVIDENCE_AGE, names.MALWARE_FOUND)
_OF_ERASURES = (names.ERASURES_PENDING, names.ERASURE_OVERDUE)
_OF_HOLDS = (names.HOLD_REVIEWS_OVERDUE,)
_OF_TENANTS = (
    *_OF_HOLDS,
    *_OF_LOGS,
    *_OF_FOLLOWER,
    *_OF_UNREAD,
    *_OF_EVIDENCE,
    *_OF_ERASURES,
    *OF_SOURCES,
    *OF_CANARIES,
    names.BREAK_GLASS_OPEN,
)


@dataclass
class Found:
    """What a look brought. ``missing``: metrics of which not every series could be had."""

    samples: list[Sample] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    failed: bool = False
    """Whether anything could not be asked: then connections are worth being made anew."""
    index_away: bool = False

    def part(self, metrics: Iterable[str], look: Callable[[], Iterable[Sample]]) -> bool:
        """One part: its samples, or its metrics as missing. Whether it could be had."""
        try:
            self.samples.extend(look())
        except (ArchiveError, OSError) as error:
            code = error.code if isinstance(error, ArchiveError) else "os"
            _log.warning("%s cannot be told: %s", ", ".join(metrics), code)
            self.missing.update(metrics)
            self.failed = True
            return False
        return True


def work_samples(work: Path, now: float) -> list[Sample]:
    """What needs no archive: the disk under the work folder, the last verify, the last reconciliations. Raises
    OSError."""
    disk = shutil.disk_usage(work)
    free = Sample.of(names.WORK_FREE, disk.free / disk.total)
    return [free, *verify_samples(work, now), *reconciled_samples(work, now)]


@dataclass
class Remembered:
    """What outlives a survey, which is made anew with the connections that failed. ``differences``: one counts when it
    is seen twice. ``answered``: when an owner's catalog last did, in seconds since 1970."""

    differences: Differences = field(default_factory=Differences)
    answered: dict[str, float] = field(default_factory=dict)
    canaries: CanaryBook | None = None
    """Those under way, where this process sends them."""


def _behind(lag: Iterable[Sample]) -> float:
    """Seconds for which the catalog does not have what was archived."""
    stages = ("order", "catalog")
    return max(
        each.value
        for each in lag
        if each.metric == names.FOLLOWER_LAG_SECONDS and each.label("stage") in stages
    )


class Survey:
    """Looks at one opened archive, over and over. Not thread-safe."""

    def __init__(self, core: Core, remembered: Remembered) -> None:
        self._core = core
        self._logs = Logs(core.store)
        self._remembered = remembered
        self._erasures: dict[str, Erasures] = {}
        self._counted: dict[str, tuple[float, list[Sample]]] = {}
        self._compared: dict[str, tuple[float, list[Sample]]] = {}
        self._looks: dict[str, SourceLooks] = {}

    def look(self, *, shared: bool) -> Found:
        """``shared``: also at what every machine of this archive sees alike; one of them tells it."""
        core = self._core
        found = Found()
        now = core.clock().timestamp()
        found.part([names.WORK_FREE], lambda: work_samples(core.work, now))
        reachable = self._stores(found)
        if not shared:
            found.missing.update((*_OF_TENANTS, names.KEY_PLACES_DIFFER, *_OF_COUNTS))
        elif not reachable:
            found.missing.update(_OF_TENANTS)  # every look would only wait for the store's silence
        else:
            found.part(_OF_LOGS, lambda: self._archive_logs(now))
            for tenant in self._tenants(found):
                self._tenant(found, tenant, now)
        return found

    def _tenants(self, found: Found) -> list[Tenant]:
        tenants: list[Tenant] = []

        def look() -> list[Sample]:
            tenants.extend(self._core.tenants())
            return []

        found.part(_OF_TENANTS, look)
        return tenants

    def _stores(self, found: Found) -> bool:
        """The store, the key service, the key places; whether the store answers."""
        core = self._core
        reachable = True
        try:
            next(iter(core.store.list("ledger/")), None)
        except ArchiveError as error:
            _log.warning("the store does not answer: %s", error.code)
            reachable, found.failed = False, True
        found.samples.append(Sample.of(names.STORE_OK, reachable))
        if reachable and core.distant and core.stores is not None:
            offset = core.stores.clock_offset
            found.part([names.CLOCK_OFFSET], lambda: [Sample.of(names.CLOCK_OFFSET, offset())])
        service, places = key_service(core.kms), key_places(core.keys)
        found.samples += [service, *places]
        found.failed = found.failed or any(sample.value < 1 for sample in (service, *places))
        if reachable and all(sample.value for sample in places):
            differences = self._remembered.differences
            found.part([names.KEY_PLACES_DIFFER], lambda: [differences.look(core.keys, self._owners())])
        else:
            found.missing.add(names.KEY_PLACES_DIFFER)
        return reachable

    def _owners(self) -> list[str]:
        return [self._core.archive.owner, *(tenant.id for tenant in self._core.tenants())]

    def _archive_logs(self, now: float) -> list[Sample]:
        owner = self._core.archive.owner
        return [checkpoint_lag(self._logs, owner, self._core.census.logs(owner), now)]

    def _tenant(self, found: Found, tenant: Tenant, now: float) -> None:
        core, logs = self._core, self._logs

        def signed() -> list[Sample]:
            return [checkpoint_lag(logs, tenant.id, core.census.logs(tenant.id), now)]

        def projected() -> list[Sample]:
            acts = tenant.acts.log, tenant.acts.refresh()
            captures = [log for log in core.census.logs(tenant.id) if log.kind == "capture"]
            live = self._live(found, tenant.id, now)
            try:
                lag = follower_lag(logs, acts, captures, live.catalog, now)
                told = [
                    *lag,
                    *self._sources(tenant, live.catalog, now, _behind(lag)),
                    *unread(logs, tenant.id, captures, live.catalog, now, self._unkept(tenant, live.catalog)),
                    *self._counts(tenant.id, live.catalog.counts, now),
                    *evidence_samples(tenant.id, live.catalog, looks(core.settings), now),
                ]
                self._compare(found, tenant.id, live, now)
                return told
            finally:
                live.close()

        found.part(_OF_LOGS, signed)
        of_catalog = (*_OF_FOLLOWER, *_OF_UNREAD, *_OF_COUNTS, *_OF_EVIDENCE, *OF_SOURCES, *OF_CANARIES)
        if not self._follows_here():
            found.missing.update(of_catalog)
        else:
            found.part(of_catalog, projected)
        found.part(_OF_ERASURES, lambda: self._erasures_of(tenant).look())
        found.part([names.BREAK_GLASS_OPEN], lambda: open_glass(tenant.acts, rfc3339(core.clock())))
        found.part(_OF_HOLDS, lambda: [holds_overdue(tenant.acts, core.clock)])

    def _unkept(self, tenant: Tenant, catalog: Catalog) -> tuple[LogId, int] | None:
        return first_unkept(self._core.work, tenant.acts, catalog, rfc3339(self._core.clock()))

    def _sources(self, tenant: Tenant, catalog: Catalog, now: float, behind: float) -> list[Sample]:
        """Each source against its past, and its canary; the acts have been read to their head."""
        sources = tenant.acts.sources()
        looks = self._looks.setdefault(tenant.id, SourceLooks(tenant.id))
        canaries = self._remembered.canaries
        return [
            *looks.look(catalog, sources, now, behind),
            *(canaries.look(catalog, tenant.id, sources, behind) if canaries is not None else ()),
        ]

    def _live(self, found: Found, owner: str, now: float) -> Pair:
        """An owner's projections, whose catalog answers. One that is away lags for as long as it has been: what is
        archived meanwhile is in no catalog. Raises StoreError."""
        answered = self._remembered.answered
        try:
            live = self._core.engines.live(owner)
            try:
                live.catalog.position()
            except ArchiveError:
                live.close()
                raise
        except ArchiveError:
            away = max(0.0, now - answered.setdefault(owner, now))
            found.samples.append(Sample.of(names.FOLLOWER_LAG_SECONDS, away, owner=owner, stage="catalog"))
            raise
        answered[owner] = now
        return live

    def _follows_here(self) -> bool:
        """Whether the catalog of this machine is one that somebody fills. Far from the store, with projections of its
        own for every machine, one without a follower has none to speak of; its lease file says that one has been."""
        core = self._core
        return not core.distant or core.engines.shared or (core.work / "run" / "follower.lease").exists()

    def _counts(self, owner: str, counts: Callable[[], dict[str, int]], now: float) -> list[Sample]:
        at, known = self._counted.get(owner, (0.0, []))
        if not known or abs(now - at) >= _COUNT_EVERY:
            unparsed = counts().get("flag:report_unparsed", 0)
            known = [Sample.of(names.REPORTS_UNPARSED, unparsed, owner=owner)]
            self._counted[owner] = now, known
        return known

    def _compare(self, found: Found, owner: str, live: Pair, now: float) -> None:
        """The index with the catalog. It is asked apart from all else, for it may be away alone, and then once a look:
        its silence must not hold up what the other tenants' catalogs say. A follower at work is looked at again."""
        at, known = self._compared.get(owner, (0.0, []))
        if known and abs(now - at) < _COUNT_EVERY:
            found.samples += known
            return

        def look() -> list[Sample]:
            compared = index_difference(owner, live)
            if compared:
                self._compared[owner] = now, compared
            else:
                found.missing.add(names.INDEX_DIFFERING)
            return compared

        if found.index_away:
            found.missing.add(names.INDEX_DIFFERING)
        elif not found.part([names.INDEX_DIFFERING], look):
            found.index_away = True

    def _erasures_of(self, tenant: Tenant) -> Erasures:
        if tenant.id not in self._erasures:
            self._erasures[tenant.id] = Erasures(self._core.store, tenant.acts, self._core.clock)
        return self._erasures[tenant.id]
