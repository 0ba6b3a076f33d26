"""The watch: look, judge, tell, over and over, in a thread of the scheduler. It opens the archive for itself, so that
an archive that cannot be opened rings too, and nothing of the scheduler's work waits for it."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from archive_service.alarms import names
from archive_service.alarms.canaries import Canaries
from archive_service.alarms.canary_book import CanaryBook
from archive_service.alarms.catalogue import catalogue
from archive_service.alarms.channels import Postman, channels_of
from archive_service.alarms.evaluation import Evaluator, Seen
from archive_service.alarms.notices import Notice, State
from archive_service.alarms.reports import Report, read_all
from archive_service.alarms.state import Memory, state_path
from archive_service.alarms.survey import Found, Remembered, Survey, work_samples
from archive_service.alarms.tally import Sample, Tally
from archive_service.bootstrap import Core, open_core
from archive_service.model.errors import ArchiveError, KeyUnavailable, StoreError
from archive_service.places.placement import Embedded, placement
from archive_service.settings import Settings

_log = logging.getLogger(__name__)
_LEASE = "alarms"
_CLOSE_SECONDS = 5.0
_EVERYTHING_SHARED = frozenset(names.METRICS)  # of an archive that cannot be opened nothing more is known


def work_of(settings: Settings) -> Path:
    """The work folder of the settings, whether or not the archive can be opened. Raises Invalid."""
    placed = placement(settings)
    return placed.data if isinstance(placed, Embedded) else placed.work


class Watch:
    """Evaluates every ``alarm_seconds`` from ``start`` to ``close``."""

    def __init__(
        self,
        settings: Settings,
        tally: Tally,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises Invalid when a channel's settings cannot be meant."""
        self._settings = settings
        self._tally = tally
        self._clock = clock
        self._work = work_of(settings)
        channels = channels_of(settings)
        self._memory = Memory(state_path(self._work), [channel.name for channel in channels])
        self._postmen = [Postman(channel, self._memory, tally) for channel in channels]
        self._evaluator = Evaluator(catalogue(settings), self._memory, settings.alarm_repeat_hours * 3600)
        self._core: Core | None = None
        self._survey: Survey | None = None
        book = CanaryBook(self._work, clock, monotonic)
        self._canaries = Canaries(book, tally)
        self._remembered = Remembered(canaries=book)
        self._surveyed: list[Sample] = []
        self._ran = clock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)
        tally.also(self._told)

    def start(self) -> None:
        """Begin, with what still waits to be delivered from before."""
        for postman in self._postmen:
            postman.start()
        self._thread.start()

    def close(self) -> None:
        """Stop; what is not delivered stands in the state file."""
        self._stop.set()
        self._thread.join(_CLOSE_SECONDS)
        self._canaries.close()
        for postman in self._postmen:
            postman.close(_CLOSE_SECONDS)

    def _told(self) -> list[Sample]:
        """For the metrics of this process: what the last look saw, and how the alarms themselves are."""
        waiting = self._memory.waiting()
        on = self._evaluator.on()
        return [
            *self._surveyed,
            Sample.of(names.ALARM_RUN_AGE, max(0.0, self._clock() - self._ran)),
            *(Sample.of(names.ALARM_CHANNEL_WAITING, count, channel=name) for name, count in waiting.items()),
            *(Sample.of(names.ALARM_ON, name in on, alarm=name) for name in self._evaluator.names),
        ]

    def _run(self) -> None:
        """The first look comes after a pause: what a start finds undone, its roles are about to do."""
        while not self._stop.wait(self._settings.alarm_seconds):
            try:
                self.once()
            except Exception:  # noqa: BLE001 - logged; an alarm that nobody evaluates would be silence
                _log.exception("the alarms could not be evaluated; they are again at the next run")
                self._close_core()
        self._close_core()

    def once(self) -> list[Notice]:
        """One evaluation; what is to be told stands in the state file before any channel hears of it."""
        found = self._look()
        self._surveyed = found.samples
        at = self._clock()
        samples = [*found.samples, *self._counted(), *self._reported(at)]
        notices = self._evaluator.run(Seen(at, samples, frozenset(found.missing)))
        for notice in notices:
            level = logging.INFO if notice.state is State.CLEARED else logging.ERROR
            _log.log(level, "alarm %s (%s) %s", notice.alarm, notice.severity, notice.state)
        self._memory.post(notices)
        for postman in self._postmen:
            postman.wake()
        self._ran = at
        return notices

    # --- looking --------------------------------------------------------------------------------------

    def _look(self) -> Found:
        try:
            survey = self._opened()
        except ArchiveError as error:
            return self._unopened(error)
        ours = self._ours()
        found = survey.look(shared=ours)
        if ours:
            self._send_canaries()
        if found.failed:
            self._close_core()  # a disk that comes back, a connection that broke: seen by opening anew
        return found

    def _send_canaries(self) -> None:
        """Those that are due; of an archive that cannot be asked none is."""
        assert self._core is not None
        try:
            self._canaries.run(self._core.tenants())
        except ArchiveError as error:
            _log.warning("no canary is sent: %s", error.code)

    def _opened(self) -> Survey:
        if self._survey is None:
            self._core = open_core(self._settings)
            self._survey = Survey(self._core, self._remembered)
        return self._survey

    def _ours(self) -> bool:
        """Whether this machine tells what all see alike. When nobody can say whose turn it is, each tells it."""
        assert self._core is not None
        try:
            return self._core.leases.take(_LEASE)
        except (ArchiveError, OSError):
            return True

    def _unopened(self, error: ArchiveError) -> Found:
        """Why an archive does not open is itself what is wrong."""
        _log.warning("the archive cannot be opened: %s", error.code)
        found = Found(missing=set(_EVERYTHING_SHARED), failed=True)
        found.part([names.WORK_FREE], lambda: work_samples(self._work, self._clock()))
        if isinstance(error, KeyUnavailable):
            found.samples.append(Sample.of(names.KEY_SERVICE_OK, 0))
        elif isinstance(error, StoreError):
            found.samples.append(Sample.of(names.STORE_OK, 0))
        return found

    def _close_core(self) -> None:
        core, self._core, self._survey = self._core, None, None
        if core is not None:
            core.close()

    # --- the processes of this machine ----------------------------------------------------------------

    def _counted(self) -> list[Sample]:
        """What this process counted, without what it only repeats from the look."""
        return self._tally.own()

    def _reported(self, at: float) -> list[Sample]:
        """What the others say, each process apart: two parents may each have a first worker of a role."""
        return [
            sample.under(process=f"{report.host}-{report.parent}")
            for report in read_all(self._work)
            if not _is_ours(report)
            for sample in report.told(at)
        ]


def _is_ours(report: Report) -> bool:
    return report.role == "scheduler" and report.parent == os.getppid()
