"""Peer (c): a real Postfix that accepts into its own durable queue, with its own configuration, queue and port.

Nothing of the system's own Postfix is used but its programs. It relays nothing: every mail ends in ``discard``.
Defaults hold, but for: no DNS, no TLS, no log of its own, and ``in_flow_delay = 0``, so that it is not held back when
mail comes in faster than it is discarded.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers import sbin
from bench.processes import BenchError, free_port, running, wait_for_greeting
from bench.targets import Target

_DAEMONS = Path("/usr/lib/postfix/sbin")
_BUSY_QUEUES = ("incoming", "active")
_SETTLE_SECONDS = 60.0

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {commands}
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.localhost
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
default_transport = discard
relay_transport = discard
local_recipient_maps =
alias_maps =
alias_database =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
disable_dns_lookups = yes
smtpd_tls_security_level = none
smtp_tls_security_level = none
message_size_limit = 209715200
in_flow_delay = 0
"""

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
"""


@contextmanager
def postfix(folder: Path) -> Iterator[Target]:
    """A Postfix whose files lie under ``folder``. Raises BenchError without root or the Debian package."""
    if os.geteuid() != 0:
        raise BenchError("Postfix can only be started by root")
    command = sbin("postfix")
    folder = folder.resolve()
    port = free_port()
    configuration = _configure(folder, port, Path(command).parent)
    checked = subprocess.run([command, "-c", str(configuration), "check"], capture_output=True, check=False)
    if checked.returncode != 0:
        raise BenchError(f"postfix check ended with {checked.returncode}")
    master = [str(_DAEMONS / "master"), "-c", str(configuration)]
    with running(master, folder / "master.log", folder / "queue") as process:
        wait_for_greeting(port, process, "Postfix")
        yield Target(
            "Postfix, own queue",
            port,
            "archive@example.com",
            "the queue file is fsynced, its folder is not",
            lambda: _settle(folder / "queue"),
        )


def _configure(folder: Path, port: int, commands: Path) -> Path:
    """Write main.cf and master.cf; their folder."""
    configuration = folder / "etc"
    for made in (folder, configuration, folder / "queue", folder / "data"):
        made.mkdir(mode=0o755, exist_ok=True)
    shutil.chown(folder / "data", "postfix")
    main = _MAIN.format(folder=folder, commands=commands, daemons=_DAEMONS)
    (configuration / "main.cf").write_text(main)
    (configuration / "master.cf").write_text(_MASTER.format(port=port))
    return configuration


def _settle(queue: Path) -> None:
    """Wait until everything accepted is delivered, that is, discarded."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while any(file.is_file() for name in _BUSY_QUEUES for file in (queue / name).rglob("*")):
        if time.monotonic() > deadline:
            raise BenchError("Postfix did not empty its queue")
        time.sleep(0.05)
