"""Postfix's smtp-source as load generator: a C program, so it takes little of the cores that it shares."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.peers import sbin
from bench.processes import BenchError
from bench.targets import Target

_SECONDS = 300.0


@dataclass(frozen=True)
class Load:
    """``mail``: a file with the mail to send again and again; None: smtp-source's own filling of ``size`` letters,
    with a Message-ID of each mail's own. ``reuse``: one connection a session, else one a mail."""

    size: int
    mail: Path | None
    reuse: bool
    sessions: int


def rate(target: Target, load: Load, messages: int) -> float:
    """Mails a second. Raises BenchError when any mail was refused."""
    command = [sbin("smtp-source"), "-s", str(load.sessions), "-m", str(messages)]
    command += ["-f", "sender@example.org", "-t", target.recipient]
    command += ["-d"] if load.reuse else []
    command += ["-l", str(load.size)] if load.mail is None else ["-F", str(load.mail)]
    started = time.monotonic()
    done = subprocess.run(
        [*command, f"127.0.0.1:{target.port}"], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    taken = time.monotonic() - started
    if done.returncode != 0:
        raise BenchError(f"smtp-source against {target.name}: {done.stderr.strip()[:200]}")
    return messages / taken
