"""A real resolver on loopback that answers from records of the tests' own, and one that never answers.

``python -m tests.services.unbound`` brings one up, prints where, and takes it down at Ctrl-C.
"""

import atexit
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from tests.services.tools import find_tool, free_port, missing

HOW = "apt-get install unbound"
PATIENCE = 60.0

_SETTINGS = """
server:
  interface: 127.0.0.1
  port: {port}
  access-control: 127.0.0.0/8 allow
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/pid"
  use-syslog: no
  logfile: "{folder}/log"
  do-daemonize: no
  module-config: "iterator"
  local-zone: "." static
  local-data: ". 3600 IN NS localhost."
remote-control:
  control-enable: yes
  control-interface: {folder}/control
  control-use-cert: no
"""


@dataclass
class Resolver:
    """One unbound. ``address`` is what ``ARCHIVE_EVIDENCE_DNS`` takes."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"
    control: str

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def put(self, name: str, text: str) -> None:
        """A TXT record, in strings of 200 bytes at most."""
        strings = " ".join(f'"{text[start : start + 200]}"' for start in range(0, len(text), 200))
        self._told("local_data", f"{name}. 3600 IN TXT {strings}")

    def remove(self, name: str) -> None:
        """Nothing of this name any more."""
        self._told("local_data_remove", name)

    def _told(self, *words: str) -> None:
        settings = str(self.folder / "unbound.conf")
        subprocess.run(
            [self.control, "-c", settings, *words], check=True, capture_output=True, timeout=PATIENCE
        )

    def stop(self) -> None:
        """Take it down."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running() -> Iterator[Resolver]:
    """One resolver of its own. Skips the test where there is no unbound."""
    program, control = find_tool("unbound"), find_tool("unbound-control")
    if program is None or control is None:
        missing("unbound", HOW)
    folder, port = Path(tempfile.mkdtemp(prefix="unbound-")), free_port()
    settings = folder / "unbound.conf"
    settings.write_text(_SETTINGS.format(port=port, folder=folder), encoding="ascii")
    with (folder / "err").open("wb") as err:
        process = subprocess.Popen([program, "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=err)
    resolver = Resolver(folder, port, process, control)
    atexit.register(resolver.stop)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("unbound does not start: " + (folder / "err").read_text("utf-8"))
            time.sleep(0.05)
        yield resolver
    finally:
        resolver.stop()
        atexit.unregister(resolver.stop)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    try:
        dns.query.udp(dns.message.make_query(".", "NS"), "127.0.0.1", 1.0, port)
    except (OSError, dns.exception.DNSException):
        return False
    return True


@contextmanager
def silent() -> Iterator[str]:
    """The address of a resolver that takes every question and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{mute.getsockname()[1]}"


@pytest.fixture(scope="module")
def resolver() -> Iterator[Resolver]:
    """A resolver without records."""
    with running() as found:
        yield found


if __name__ == "__main__":
    with running() as one:
        print(one.address)
        with suppress(KeyboardInterrupt):
            signal.pause()
