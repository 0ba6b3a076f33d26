"""What waits to be looked at after its ``250``, and where malware was found: asked of the catalog."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from archive_service.alarms import names
from archive_service.alarms.tally import Sample
from archive_service.catalog.base import Catalog
from archive_service.model.clock import rfc3339
from archive_service.model.evidence import Look

_DAY = timedelta(days=1)


def evidence_samples(owner: str, catalog: Catalog, looks: Iterable[Look], now: float) -> list[Sample]:
    """Of each kind of look that the settings ask for. ``now``: seconds since 1970. Raises StoreError."""
    found: list[Sample] = []
    for look in looks:
        backlog = catalog.backlog(look, int(now))
        age = max(0.0, now - backlog.since) if backlog.since is not None else 0.0
        labels = {"owner": owner, "look": look.value}
        found.append(Sample.of(names.EVIDENCE_WAITING, backlog.waiting, **labels))
        found.append(Sample.of(names.EVIDENCE_AGE, age, **labels))
    since = rfc3339(datetime.fromtimestamp(now, UTC) - _DAY)
    found.append(Sample.of(names.MALWARE_FOUND, catalog.found_since(since), owner=owner))
    return found
