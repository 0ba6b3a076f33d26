"""How the processes of one machine tell each other what they counted: a small file each in ``WORK/run/reports``.

A report is written in place into a file whose room was taken at the start, so that a full disk does not silence it,
and carries a checksum, so that who reads it half-way reads again. It is no record of anything: losing it loses
nothing, and nothing waits for it.
"""

import json
import logging
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archive_service.alarms.names import METRICS, PROCESS_SILENT
from archive_service.alarms.tally import Sample

_log = logging.getLogger(__name__)
_ROOM = 256 * 1024  # bytes: some thousand series
_HEADER = 20  # "CCCCCCCC LLLLLLLLLL\n": CRC-32 in hex, length
_TRIES = 3
_OLD = 30.0  # seconds
EVERY = 1.0  # seconds between two reports of a process


@dataclass(frozen=True)
class Report:
    """What a process said. ``parent`` and ``host``: whose child it is; ``at``: seconds since 1970."""

    host: str
    parent: int
    role: str
    worker: int
    at: float
    samples: tuple[Sample, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        said = {name: getattr(self, name) for name in ("host", "parent", "role", "worker", "at")}
        return {**said, "samples": [sample.plain() for sample in self.samples]}

    @staticmethod
    def parse(plain: Any) -> "Report":
        """The reverse of ``plain``. Raises ValueError, KeyError or TypeError for what is none."""
        return Report(
            host=str(plain["host"]),
            parent=int(plain["parent"]),
            role=str(plain["role"]),
            worker=int(plain["worker"]),
            at=float(plain["at"]),
            samples=tuple(Sample.parse(each) for each in plain["samples"]),
        )

    def told(self, now: float) -> list[Sample]:
        """What it says at ``now`` (seconds since 1970), under the name of its process, and for how long that one has
        been silent. Of one that has been silent for long only the counters: its state may be another by now."""
        who = {"role": self.role, "worker": str(self.worker)}
        silent = max(0.0, now - self.at)
        kept = [each for each in self.samples if silent < _OLD or METRICS[each.metric].kind == "counter"]
        return [
            Sample.of(PROCESS_SILENT, silent, **who),
            *(each.under(**{**who, **dict(each.labels)}) for each in kept),
        ]


class ReportFile:
    """Where one process writes its reports. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        """Makes the file with its room. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(self._descriptor, 0, _ROOM)
        except OSError:
            os.close(self._descriptor)
            raise

    def write(self, report: Report) -> None:
        """Replace what was said. Raises OSError; a report that is too large is left out."""
        data = json.dumps(report.plain(), separators=(",", ":")).encode()
        if len(data) > _ROOM - _HEADER:
            data = json.dumps({**report.plain(), "samples": []}).encode()
            _log.warning("a report of this process is too large; it says only that it lives")
        os.pwrite(self._descriptor, f"{zlib.crc32(data):08x} {len(data):010d}\n".encode() + data, 0)

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)


def read_report(path: Path) -> Report | None:
    """What a process said last; None when there is nothing, or nothing whole."""
    for _ in range(_TRIES):
        try:
            whole = path.read_bytes()
            length = int(whole[9:19])
            data = whole[_HEADER : _HEADER + length]
            if zlib.crc32(data) == int(whole[:8], 16):
                return Report.parse(json.loads(data))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return None


def folder(work: Path) -> Path:
    """Where the reports of a work folder lie."""
    return work / "run" / "reports"


def path_of(work: Path, role: str, worker: int) -> Path:
    """The file of a child of this process, or of this process itself as ``serve``."""
    return folder(work) / f"{_host()}-{os.getpid()}-{role}-{worker}"


def _host() -> str:
    return "".join(letter for letter in socket.gethostname() if letter.isalnum())[:40] or "host"


def read_all(work: Path) -> list[Report]:
    """Every report of this work folder, by file name."""
    try:
        paths = sorted(folder(work).iterdir())
    except OSError:
        return []
    return [report for path in paths if (report := read_report(path)) is not None]


def sweep(work: Path) -> None:
    """Remove the reports of this machine's parents that are no more, and of this process. Raises OSError."""
    folder(work).mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in folder(work).iterdir():
        host, _, rest = path.name.partition("-")
        number = rest.partition("-")[0]
        if host == _host() and number.isdecimal() and (int(number) == os.getpid() or not _lives(int(number))):
            path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Reporter:
    """Writes a report every second, in a thread that ends with its process."""

    def __init__(
        self, path: Path, role: str, worker: int, parent: int, samples: Callable[[], Iterable[Sample]]
    ) -> None:
        self._file: ReportFile | None = None
        self._path = path
        self._who = (role, worker, parent)
        self._samples = samples
        self._failed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> "Reporter":
        """The first report stands on return, if it can be written at all."""
        self.write()
        self._thread.start()
        return self

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            self.write()

    def write(self) -> None:
        """One report. Never raises what a disk may say: it is logged once, and tried again."""
        role, worker, parent = self._who
        try:
            if self._file is None:
                self._file = ReportFile(self._path)
            samples = tuple(self._samples())
            self._file.write(Report(_host(), parent, role, worker, time.time(), samples))
            self._failed = False
        except OSError as error:
            if not self._failed:
                _log.warning("reports of this process cannot be written: %s", error.strerror)
            self._failed = True

    def close(self) -> None:
        """Write no more, and take the report away."""
        self._stop.set()
        self._thread.join()
        if self._file is not None:
            self._file.close()
        self._path.unlink(missing_ok=True)
