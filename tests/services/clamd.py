"""A clamd on loopback with signatures of the tests' own; no freshclam, no network.

``python -m tests.services.clamd`` brings one up, prints where, and takes it down at Ctrl-C.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from tests.services.tools import find_tool, missing

HOW = "apt-get install clamav-daemon"
PATIENCE = 60.0  # seconds until a server that does not answer fails the run
MARK = b"archive-service test signature \xc2\xa7 not a virus"
NAME = "Test.Archive"
STREAM_LIMIT = 1 << 20

_SETTINGS = """
LocalSocket {folder}/clamd.sock
DatabaseDirectory {folder}/signatures
LogFile {folder}/log
Foreground yes
StreamMaxLength 1M
MaxThreads 4
ReadTimeout 20
AlertExceedsMax yes
{more}
"""


@dataclass
class Clamd:
    """One clamd. ``address`` is what ``ARCHIVE_CLAMD`` takes."""

    folder: Path
    program: str
    process: "subprocess.Popen[bytes] | None" = None
    marks: dict[str, bytes] = field(default_factory=lambda: {NAME: MARK})

    @property
    def address(self) -> str:
        return str(self.folder / "clamd.sock")

    def start(self) -> None:
        """Bring it up with the signatures of ``marks``; on return it answers."""
        signatures = self.folder / "signatures"
        signatures.mkdir(exist_ok=True)
        lines = [f"{name}:0:*:{mark.hex()}\n" for name, mark in self.marks.items()]
        (signatures / "test.ndb").write_text("".join(lines), encoding="ascii")
        settings = self.folder / "clamd.conf"
        user = "User root" if os.geteuid() == 0 else ""
        settings.write_text(_SETTINGS.format(folder=self.folder, more=user), encoding="ascii")
        Path(self.address).unlink(missing_ok=True)
        with (self.folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [self.program, "--config-file", str(settings)], stdout=subprocess.DEVNULL, stderr=err
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("clamd does not start: " + (self.folder / "err").read_text("utf-8"))
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(5)
                probe.connect(self.address)
                probe.sendall(b"zPING\0")
                return probe.recv(16) == b"PONG\0"
        except OSError:
            return False

    def stop(self) -> None:
        """Take it down."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def away(self) -> Iterator[None]:
        """Without it for a while."""
        self.stop()
        try:
            yield
        finally:
            self.start()


@cache
def _program() -> str | None:
    return find_tool("clamd")


@contextmanager
def running() -> Iterator[Clamd]:
    """One clamd of its own. Skips the test where there is no clamd."""
    program = _program()
    if program is None:
        missing("clamd", HOW)
    folder = Path(tempfile.mkdtemp(prefix="clamd-"))  # a socket's path must be short
    clamd = Clamd(folder, program)
    atexit.register(clamd.stop)
    try:
        clamd.start()
        yield clamd
    finally:
        clamd.stop()
        atexit.unregister(clamd.stop)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def clamd() -> Iterator[Clamd]:
    """A clamd that knows one signature."""
    with running() as found:
        yield found


if __name__ == "__main__":
    with running() as one:
        print(one.address)
        with suppress(KeyboardInterrupt):
            signal.pause()
