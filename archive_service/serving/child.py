"""What every process under the supervisor does: die with its parent, stop on SIGTERM, say when it is ready, and report
what it counts."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from archive_service.alarms.reports import Reporter
from archive_service.alarms.tally import Tally

PARENT = "ARCHIVE_PARENT_PIPE"
READY = "ARCHIVE_READY_PIPE"
REPORT = "ARCHIVE_REPORT_FILE"  # ends with "-WORKER", the number of this process in its role
_OURS = ("archive_service", "ingest", "retention", "search")  # packages, and so names of loggers


def die_with_parent() -> None:
    """Exit at once when the supervisor is gone, even by ``kill -9``: its end of a pipe closes then."""
    descriptor = os.environ.get(PARENT)
    if descriptor is None:
        return

    def watch() -> None:
        os.read(int(descriptor), 1)
        os._exit(70)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def say_ready() -> None:
    """Tell the supervisor that this role serves."""
    descriptor = os.environ.pop(READY, None)
    if descriptor is not None:
        os.write(int(descriptor), b"\n")
        os.close(int(descriptor))


def report(role: str, tally: Tally) -> None:
    """Report every second what this process counted, where the supervisor said."""
    given = os.environ.get(REPORT)
    if given is not None:
        worker = int(given.rpartition("-")[2])
        Reporter(Path(given), role, worker, os.getppid(), tally.samples).start()


def on_stop(stop: Callable[[], None]) -> None:
    """Call ``stop`` on SIGTERM or SIGINT."""

    def handle(number: int, frame: object) -> None:
        del number, frame
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def log_to_stderr(role: str, level: str, about: str = "{role}[%(process)d] %(levelname)s %(name)s") -> None:
    """One line an event; messages hold codes and counts, never content. ``level`` is that of our own words: libraries
    are heard from warnings on, for at DEBUG they would show requests, answers and what is in them."""
    wanted = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(
        stream=sys.stderr,
        level=max(wanted, logging.WARNING),
        format=f"%(asctime)s {about.format(role=role)}: %(message)s",
    )
    for package in _OURS:
        logging.getLogger(package).setLevel(wanted)
    for noisy in ("mail.log", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel("WARNING")
