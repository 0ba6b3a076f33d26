"""Canaries that are under way: written down before they are sent, so that a restart knows them, and crossed out when
the catalog has them.

The book is a small file in the work folder of the machine that sends. Losing it costs that a canary under way is not
waited for; the next one leaves at once. A machine that takes over sends its own. How long one has been under way is
told by a clock that nobody sets, from when this process first looked at it.
"""

import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from archive_service.alarms import names
from archive_service.alarms.tally import Sample
from archive_service.catalog.base import Catalog
from archive_service.completeness.windows import window_of
from archive_service.model.clock import from_rfc3339
from archive_service.model.errors import StoreDenied
from archive_service.model.mail import Canary, Source

_log = logging.getLogger(__name__)
OF_CANARIES = (names.CANARY_WAITING, names.CANARY_USED, names.CANARY_ROUND)
_MOST = 300  # canaries of one source under way
_NUMBERS = 10**15


@dataclass
class UnderWay:
    """One canary. ``since``: when it was first tried, seconds since 1970; ``taken``: whether a server took it."""

    number: int
    since: float
    taken: bool = False


@dataclass
class Page:
    """One source's canaries. ``last``: the newest; ``round``: seconds from sending to receipt of the last one back."""

    last: UnderWay | None = None
    waiting: list[UnderWay] = field(default_factory=list)
    round: float | None = None


class CanaryBook:
    """Thread-safe. ``clock``: seconds since 1970."""

    def __init__(
        self,
        work: Path,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads the file, if there is one; what cannot be read is logged and begun anew."""
        self._path = work / "run" / "canaries.json"
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._began: dict[int, float] = {}
        self._changed = False
        self._pages: dict[str, Page] = {}
        try:
            plain = json.loads(self._path.read_text("utf-8"))
            self._pages = {str(name): _page(each) for name, each in plain["pages"].items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("the book of canaries cannot be read: %s; begun anew", type(error).__name__)

    def due(self, owner: str, source: Source, canary: Canary) -> int | None:
        """The number of the canary that is to be sent now, if any: a new one when it is time, or the last one again
        that no server has taken. In the file on return. Raises StoreDenied when it cannot be written down: then it
        must not be sent."""
        with self._lock:
            page = self._pages.setdefault(f"{owner}/{source.id}", Page())
            last = page.last
            if last is not None and not last.taken and last in page.waiting:
                return last.number
            if last is not None and self._age(last) < canary.every_minutes * 60:
                return None
            new = UnderWay(secrets.randbelow(_NUMBERS), self._clock())
            self._began[new.number] = self._monotonic()
            before = page.last, page.waiting
            page.last, page.waiting = new, [*page.waiting, new][-_MOST:]
            try:
                self._save()
            except OSError as error:
                page.last, page.waiting = before
                raise StoreDenied("the book of canaries cannot be written", code="canary.book") from error
            return new.number

    def taken(self, owner: str, source: Source, number: int) -> None:
        """A mail server took it."""
        with self._lock:
            page = self._pages.get(f"{owner}/{source.id}", Page())
            for each in (page.last, *page.waiting):
                if each is not None and each.number == number:
                    each.taken = True
            self._save_if_possible()

    def look(self, catalog: Catalog, owner: str, sources: Iterable[Source], behind: float) -> list[Sample]:
        """Cross out what has arrived; how long the others have been under way. ``behind``: seconds for which the
        catalog lags: what came since is not known. Raises StoreError."""
        found: list[Sample] = []
        kept: set[str] = set()
        for source in sources:
            if source.canary is None:
                continue
            name = f"{owner}/{source.id}"
            kept.add(name)
            for sample in self._look(catalog, name, source, source.canary, behind):
                found.append(sample.under(owner=owner, source=source.id))
        with self._lock:
            for name in [name for name in self._pages if name.startswith(f"{owner}/") and name not in kept]:
                del self._pages[name]
                self._changed = True
            if self._changed:
                self._save_if_possible()
        return found

    def _look(
        self, catalog: Catalog, name: str, source: Source, canary: Canary, behind: float
    ) -> Iterator[Sample]:
        with self._lock:
            waiting = list(self._pages.setdefault(name, Page()).waiting)
        arrived = catalog.canaries(source.id, [each.number for each in waiting]) if waiting else {}
        with self._lock:
            page = self._pages[name]
            for each in page.waiting:
                if each.number in arrived:
                    page.round = max(0.0, from_rfc3339(arrived[each.number]).timestamp() - each.since)
            forgotten = window_of(source).loss * 3600
            before = len(page.waiting)
            page.waiting = [
                each
                for each in page.waiting
                if each.number not in arrived and (not each.taken or self._age(each) < forgotten)
            ]
            self._changed = self._changed or len(page.waiting) < before
            waited = max((self._age(each) - behind for each in page.waiting), default=0.0)
            yield Sample.of(names.CANARY_WAITING, max(0.0, waited))
            yield Sample.of(names.CANARY_USED, max(0.0, waited) / (canary.within_minutes * 60))
            if page.round is not None:
                yield Sample.of(names.CANARY_ROUND, page.round)

    def _age(self, each: UnderWay) -> float:
        """By the clock of this process from its first look on; a clock that was put back makes nothing younger than
        new."""
        now = self._monotonic()
        began = self._began.setdefault(each.number, now - max(0.0, self._clock() - each.since))
        return now - began

    def _save_if_possible(self) -> None:
        try:
            self._save()
        except OSError as error:
            _log.warning("the book of canaries cannot be written: %s", error.strerror)

    def _save(self) -> None:
        """Whole or not at all. Raises OSError."""
        known = {each.number for page in self._pages.values() for each in (page.last, *page.waiting) if each}
        self._began = {number: began for number, began in self._began.items() if number in known}
        unfinished = self._path.with_suffix(".new")
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(
                {"version": 1, "pages": {name: asdict(page) for name, page in self._pages.items()}}, file
            )
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._path)
        self._changed = False


def _page(plain: Any) -> Page:
    """Raises ValueError, KeyError or TypeError for what is none."""
    waiting = [_under_way(each) for each in plain["waiting"]]
    last = None if plain["last"] is None else _under_way(plain["last"])
    if last is not None:
        last = next((each for each in waiting if each.number == last.number), last)
    return Page(last, waiting, None if plain["round"] is None else float(plain["round"]))


def _under_way(plain: Any) -> UnderWay:
    return UnderWay(int(plain["number"]), float(plain["since"]), bool(plain["taken"]))
