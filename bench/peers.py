"""The peers that keep nothing: aiosmtpd with an empty handler, and Postfix's smtp-sink."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import BenchError, free_port, running, wait_for_greeting
from bench.targets import Target

_ROOT = Path(__file__).resolve().parent.parent
_RECIPIENT = "archive@example.com"
_NOTHING = "nothing"


def sbin(name: str) -> str:
    """A program of the Postfix package. Raises BenchError when it is not installed."""
    found = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/bin")
    if found is None:
        raise BenchError(
            f"{name} is missing: install the Debian package postfix (it need not run as a service)"
        )
    return found


@contextmanager
def aiosmtpd(folder: Path, *, uvloop: bool) -> Iterator[Target]:
    """Peer (a): one process, default event loop unless ``uvloop``."""
    port = free_port()
    name = "aiosmtpd, empty handler" + (", uvloop" if uvloop else "")
    command = [sys.executable, "-W", "ignore", "-m", "bench.empty_sink", str(port)]
    with running([*command, "--uvloop"] if uvloop else command, folder / "aiosmtpd.log", _ROOT) as process:
        wait_for_greeting(port, process, name)
        yield Target(name, port, _RECIPIENT, _NOTHING)


@contextmanager
def smtp_sink(folder: Path) -> Iterator[Target]:
    """Peer (b): written in C, one process, throws everything away."""
    port = free_port()
    command = [sbin("smtp-sink"), "-u", "nobody", f"127.0.0.1:{port}", "1024"]
    with running(command, folder / "smtp-sink.log") as process:
        wait_for_greeting(port, process, "smtp-sink")
        yield Target("smtp-sink", port, _RECIPIENT, _NOTHING)
