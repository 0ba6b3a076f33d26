"""Reconciliation: what another system lists against what the archive holds, by Message-ID."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from archive_service.catalog.base import Dump
from archive_service.model.clock import from_rfc3339
from archive_service.model.mail import Finding
from ingest.listings.base import bare


@dataclass(frozen=True)
class Reconciled:
    """``missing``: listed, and in no capture; ``extra``: in a capture of the period, and not listed; ``unnamed``:
    captures of the period without a Message-ID, which no listing can name."""

    listed: int
    present: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    unnamed: int


@dataclass(frozen=True)
class Period:
    """Receipt from ``since`` (included) to ``until`` (not included); None: without that end."""

    since: datetime | None = None
    until: datetime | None = None

    @property
    def bounded(self) -> bool:
        """Whether it has both ends."""
        return self.since is not None and self.until is not None

    def holds(self, received_at: str) -> bool:
        """Whether a receipt lies in it."""
        moment = from_rfc3339(received_at)
        early = self.since is not None and moment < self.since
        late = self.until is not None and moment >= self.until
        return not early and not late


def reconcile(
    catalog: Dump, listed: Collection[str], period: Period, sources: Collection[str] | None = None
) -> Reconciled:
    """Compare a listing with the captures of ``sources`` (None: all). A listed mail may have been received at any time;
    what is extra is asked of the period alone, and of none that has not both ends: a listing of a day says nothing of
    other days. One pass over the captures of the catalog."""
    wanted, seen, extra, unnamed = set(listed), set[str](), dict[str, None](), 0
    for finding in _findings(catalog):
        if sources is not None and finding.source not in sources:
            continue
        name = bare(finding.parsed.message_id or "")
        inside = period.holds(finding.received_at)
        if not name:
            unnamed += inside
        elif name in wanted:
            seen.add(name)
        elif inside and period.bounded:
            extra[name] = None
    missing = tuple(name for name in dict.fromkeys(listed) if name not in seen)
    return Reconciled(len(wanted), len(seen), missing, tuple(extra), unnamed)


def _findings(catalog: Dump) -> Iterator[Finding]:
    for row in catalog.dump():
        if row["table"] != "captures":  # they come first
            return
        yield Finding.model_validate(row["finding"])
