"""OpenLDAP's slapd on loopback, in a temporary folder: inetOrgPerson, groups with memberOf, and what Active Directory
calls its attributes. Plain, STARTTLS and LDAPS, with a certificate for localhost.

``python -m tests.services.slapd`` brings one up, prints where, and takes it down at Ctrl-C.
"""

import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.services.dovecot import _certificate as certificate
from tests.services.tools import find_tool, free_port, missing

HOW = "apt-get install slapd"
PATIENCE = 60.0  # seconds until a server that does not answer fails the run
BASE = "dc=ex,dc=fr"
ROOT = f"cn=admin,{BASE}"
LIMIT = 20  # entries that one answer holds without paging

_SETTINGS = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/misc.schema
attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.159 NAME 'accountExpires' SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.2 NAME 'objectGUID' SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.2.2 NAME 'whenCreated' SYNTAX 1.3.6.1.4.1.1466.115.121.1.24 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.2.146 NAME 'company' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.2.840.113556.1.2.141 NAME 'department' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.2.840.113556.1.5.9 NAME 'user' SUP top AUXILIARY MAY ( proxyAddresses $ userAccountControl $
  accountExpires $ objectGUID $ whenCreated $ company $ department ) )
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {folder}/pid
argsfile {folder}/args
TLSCertificateFile {folder}/certificate.pem
TLSCertificateKeyFile {folder}/key.pem
sizelimit size.soft={limit} size.hard={limit} size.prtotal=unlimited
database mdb
suffix "{base}"
rootdn "{root}"
rootpw {password}
directory {folder}/data
maxsize 67108864
overlay memberof
access to dn.subtree="ou=secret,{base}" by users read by * none
access to attrs=userPassword by anonymous auth by * none
access to * by users read by anonymous auth
"""


@dataclass
class Slapd:
    """A server of our own. ``ldap`` and ``ldaps`` are its ports."""

    folder: Path
    password: str
    ldap: int
    ldaps: int
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def ca(self) -> Path:
        """The certificate to trust."""
        return self.folder / "certificate.pem"

    @property
    def _places(self) -> str:
        return f"ldap://127.0.0.1:{self.ldap} ldaps://127.0.0.1:{self.ldaps}"

    def start(self, program: str) -> None:
        """Bring it up, and wait until it answers."""
        settings = self.folder / "slapd.conf"
        filled = _SETTINGS.format(
            folder=self.folder, limit=LIMIT, base=BASE, root=ROOT, password=self.password
        )
        settings.write_text(filled, "utf-8")
        (self.folder / "data").mkdir()
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [program, "-f", str(settings), "-d", "0", "-h", self._places],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE
        for port in (self.ldap, self.ldaps):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 5).close()
                    break
                except OSError:
                    time.sleep(0.02)
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError(f"slapd did not come up: {(self.folder / 'log').read_text()[-500:]}")

    def stop(self) -> None:
        """Shut it down."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Who may change everything there."""
        from ldap3 import NONE, Connection, Server

        place = Server("127.0.0.1", self.ldap, get_info=NONE)
        admin = Connection(place, ROOT, self.password, auto_bind=True, raise_exceptions=True)
        try:
            yield admin
        finally:
            admin.unbind()


def program() -> str | None:
    """slapd's path."""
    return find_tool("slapd") or shutil.which("slapd", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def running(tool: str) -> Iterator[Slapd]:
    """Bring a server up with an empty tree, and take it down with all it holds."""
    folder = Path(tempfile.mkdtemp(prefix="slapd-"))
    server = Slapd(folder, secrets.token_hex(16), free_port(), free_port())
    certificate(folder)
    try:
        server.start(tool)
        with server.connection() as admin:
            admin.add(BASE, ["dcObject", "organization"], {"dc": "ex", "o": "Exemple"})
            for unit in ("people", "groups", "secret"):
                admin.add(f"ou={unit},{BASE}", ["organizationalUnit"])
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slapd() -> Iterator[Slapd]:
    """A server for this test alone: it is up in a moment."""
    found = program()
    if found is None:
        missing("slapd", HOW)
    with running(found) as server:
        yield server


def main() -> None:
    """Bring one up until Ctrl-C."""
    found = program()
    if found is None:
        raise SystemExit(f"slapd is not here: {HOW}")
    with running(found) as server:
        print(server.ldap, server.ldaps, server.password, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
