"""Dovecot with IMAP and POP3 on loopback, in a temporary folder, for one user after the other.

``python -m tests.services.dovecot`` brings one up, prints where, and takes it down at Ctrl-C.
"""

import atexit
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.services.tools import find_tool, free_port, missing

HOW = "apt-get install dovecot-imapd dovecot-pop3d; it runs as root only"
PATIENCE = 60.0  # seconds until a server that does not answer fails the run

_SETTINGS = """
base_dir = {folder}/run
state_dir = {folder}/state
instance_name = {folder}
log_path = {folder}/log
listen = 127.0.0.1
protocols = imap pop3
ssl = yes
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:{folder}/mail/%u
mail_max_userip_connections = 100
default_vsz_limit = 0
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
first_valid_uid = 1
first_valid_gid = 1
protocol pop3 {{
  pop3_uidl_format = %08Xu%08Xv
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
"""


@dataclass
class Dovecot:
    """A server of our own: every user exists, with one password. Ports: ``imap``, ``imaps``, ``pop3``, ``pop3s``."""

    folder: Path
    password: str
    ports: dict[str, int]
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def ca(self) -> Path:
        """The certificate to trust."""
        return self.folder / "certificate.pem"

    def start(self, program: str) -> None:
        """Bring it up, and wait until every port answers."""
        settings = self.folder / "dovecot.conf"
        settings.write_text(
            _SETTINGS.format(folder=self.folder, password=self.password, **self.ports), "utf-8"
        )
        with (self.folder / "errors").open("wb") as errors:
            self.process = subprocess.Popen(
                [program, "-F", "-c", str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE
        for port in self.ports.values():
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port), 5) as connection:
                        if port in (self.ports["imaps"], self.ports["pop3s"]) or connection.recv(1):
                            break
                except OSError:
                    time.sleep(0.02)
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError(f"dovecot did not come up: {self.log()[-500:]}")

    def log(self) -> str:
        """What it says of itself."""
        return "".join(
            path.read_text("utf-8", "replace")
            for path in (self.folder / "errors", self.folder / "log")
            if path.exists()
        )

    def stop(self) -> None:
        """Shut it down with its children."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)

    def new_user(self) -> str:
        """A user whom no other test has."""
        return f"user-{secrets.token_hex(6)}@example.fr"

    def mailbox(self, user: str) -> Path:
        """The user's Maildir."""
        return self.folder / "mail" / user

    def deliver(self, user: str, raw: bytes, folder: str = "") -> Path:
        """Lay a mail down as a delivery would, in a folder as Maildir++ names it (``.Sent``)."""
        top = self.mailbox(user)
        for place in (top, *(top / folder / sub for sub in ("cur", "new", "tmp"))):
            place.mkdir(parents=True, exist_ok=True)
        path = top / folder / "new" / f"{time.time():.6f}.{secrets.token_hex(4)}.host"
        path.write_bytes(raw)
        self.own(user)
        return path

    def own(self, user: str) -> None:
        """Give the user's mailbox to the server's user, as whatever writes there must."""
        top = self.mailbox(user)
        for each in (top, *top.rglob("*")):
            shutil.chown(each, "nobody", "nogroup")


def _certificate(folder: Path) -> None:
    """Of this server alone, for 127.0.0.1 and localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def program() -> str | None:
    """Dovecot's, where it can run: it changes to its own users, which only root may."""
    found = find_tool("dovecot") or shutil.which("dovecot", path="/usr/sbin:/usr/local/sbin")
    return found if found is not None and os.geteuid() == 0 else None


@contextmanager
def running(tool: str) -> Iterator[Dovecot]:
    """Bring a server up, and take it down with all it holds."""
    folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
    folder.chmod(0o755)
    ports = {name: free_port() for name in ("imap", "imaps", "pop3", "pop3s")}
    server = Dovecot(folder, secrets.token_hex(16), ports)
    (folder / "mail").mkdir()
    shutil.chown(folder / "mail", "nobody", "nogroup")
    _certificate(folder)
    try:
        server.start(tool)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _shared(tool: str) -> Dovecot:
    """Brought up once a process, however many test files ask for it; down with the process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running(tool))


@pytest.fixture
def dovecot() -> Dovecot:
    """A server of this process's own; take a user of your own in it."""
    found = program()
    if found is None:
        missing("dovecot", HOW)
    return _shared(found)


def main() -> None:
    """Bring one up until Ctrl-C."""
    found = program()
    if found is None:
        raise SystemExit(f"dovecot is not here: {HOW}")
    with running(found) as server:
        print(server.ports, server.password, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
