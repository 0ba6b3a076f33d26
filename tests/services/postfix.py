"""A Postfix of its own on loopback, in a temporary folder: it takes mail, and delivers the archive's copies alone."""

import os
import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.tools import find_tool, free_port, missing

HOW = "apt-get install postfix; it runs as root only"

_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.fr
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
default_transport = discard:
transport_maps = inline:{{ {domain}=smtp:[127.0.0.1]:{archive} }}
smtp_tls_security_level = none
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
"""
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass
class Postfix:
    """A running instance. ``send`` hands it a mail as a client would."""

    folder: Path
    port: int

    def send(self, sender: str, recipients: Sequence[str], mail: bytes) -> None:
        with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as smtp:
            assert smtp.sendmail(sender, list(recipients), mail) == {}

    def waiting(self) -> int:
        """How many mails are in its queue."""
        said = self.run("postqueue", "-j")
        return len(said.splitlines())

    def log(self) -> str:
        """What it logged, for a failure's message."""
        log = self.folder / "log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [path_of(program), "-c", str(self.folder / "etc"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr + self.log()
        return done.stdout


def path_of(name: str) -> str:
    """The path of one of Postfix' programs."""
    found = find_tool(name) or shutil.which(name, path="/usr/sbin")
    if found is None or os.geteuid() != 0:
        missing("Postfix", HOW)
    return found


@contextmanager
def postfix(archive: str, domain: str, *settings: str) -> Iterator[Postfix]:
    """A Postfix whose copies for ``domain`` go to the archive's SMTP endpoint ``archive`` (HOST:PORT), and everything
    else nowhere. ``settings`` are lines of main.cf, in which ``{folder}`` is where its files may be."""
    path_of("postfix")
    # Not below pytest's folder: nobody but its owner may enter that, and Postfix' processes run as others.
    folder = Path(tempfile.mkdtemp(prefix="archive-postfix-"))
    folder.chmod(0o755)
    port = free_port()
    (folder / "etc").mkdir()
    (folder / "queue").mkdir()
    (folder / "data").mkdir(mode=0o700)
    shutil.chown(folder / "data", "postfix")
    values = {"folder": folder, "domain": domain, "archive": archive.rpartition(":")[2], "port": port}
    lines = [line.replace("{folder}", str(folder)) for line in settings]
    (folder / "etc" / "main.cf").write_text(_MAIN.format(**values) + "\n".join(lines) + "\n", "utf-8")
    (folder / "etc" / "master.cf").write_text(_MASTER.format(**values), "utf-8")
    instance = Postfix(folder, port)
    instance.run("postfix", "start")
    try:
        yield instance
    finally:
        instance.run("postfix", "stop")
        shutil.rmtree(folder)
