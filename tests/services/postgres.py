"""A PostgreSQL server on loopback, in a temporary folder, that tests may kill and start again.

``python -m tests.services.postgres`` brings one up, prints what to set, and takes it down at Ctrl-C.
"""

import atexit
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.services.tools import find_tool, free_port, missing

HOW = "apt-get install postgresql, or set ARCHIVE_TEST_PG_URL"
PATIENCE = 60.0  # seconds until a server that does not answer fails the run
USER = "archive"


@dataclass
class PostgresServer:
    """A server of our own. ``programs``: the folder of initdb and postgres."""

    programs: Path
    folder: Path
    port: int
    password: str
    options: tuple[str, ...] = ()
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def url(self, database: str = "postgres", *, password: str | None = None, more: str = "") -> str:
        """A URL as an operator would write it."""
        return f"postgresql://{USER}:{password or self.password}@127.0.0.1:{self.port}/{database}{more}"

    def start(self) -> None:
        """Bring it up on its port, and wait until it answers."""
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_as_somebody(),
            )
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"postgres did not come up: {(self.folder / 'log').read_text('utf-8')[-500:]}")

    def kill(self) -> None:
        """SIGKILL to the server and all its processes: nothing is written, nobody is told."""
        assert self.process is not None
        children = _children(self.process.pid)
        self.process.kill()
        for child in children:
            with suppress(ProcessLookupError):  # it has ended
                os.kill(child, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self) -> None:
        """Shut down fast: every connection is cut."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(PATIENCE)

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """One statement as the administrator."""
        writing = "-c default_transaction_read_only=off"  # whatever a test has made of the others
        with psycopg.connect(self.url(database), autocommit=True, options=writing) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


def _as_somebody() -> dict[str, Any]:
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


def _children(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found


def programs() -> Path | None:
    """Where initdb and postgres are; Debian keeps them out of PATH."""
    found = find_tool("initdb")
    if found is not None:
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def running(tools: Path, *options: str) -> Iterator[PostgresServer]:
    """Bring a server up, and take it down with all it holds. ``options``: of postgres."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = PostgresServer(tools, folder, free_port(), secrets.token_hex(16))
    own = ("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-p", str(server.port))
    server.options = (*own, "-c", "max_connections=60", "-c", "shared_buffers=16MB", *options)
    try:
        _initialise(server)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _initialise(server: PostgresServer) -> None:
    password = server.folder / "password"
    password.write_text(server.password, "utf-8")
    if os.geteuid() == 0:
        for each in (server.folder, password):
            shutil.chown(each, "nobody", "nogroup")
    subprocess.run(
        [
            *(str(server.programs / "initdb"), "-D", str(server.folder / "data"), "--no-sync"),
            *("--username", USER, "--auth", "scram-sha-256", "--pwfile", str(password)),
            *("--encoding", "UTF8", "--locale", "C.UTF-8"),
        ],
        check=True,
        capture_output=True,
        cwd="/",
        **_as_somebody(),
    )


@cache
def _shared(tools: Path) -> PostgresServer:
    """Brought up once a process, however many test files ask for it; down with the process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running(tools, "-c", "fsync=off"))


def needed_programs() -> Path:
    """Skips the test, or fails it where services are required, when they are not here."""
    found = programs()
    if found is None:
        missing("postgresql", HOW)
    return found


@pytest.fixture
def postgres_url() -> str:
    """The given server's URL, or that of a server of this process's own; take an owner of your own in it."""
    given = os.environ.get("ARCHIVE_TEST_PG_URL")
    return given or _shared(needed_programs()).url()


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A durable server that a module's tests may kill and start again."""
    with running(needed_programs()) as server:
        yield server


def new_owner() -> str:
    """An owner's id that no other test has."""
    return secrets.token_hex(10)


def main() -> None:
    """Bring one up until Ctrl-C."""
    tools = programs()
    if tools is None:
        raise SystemExit(f"postgresql is not here: {HOW}")
    with running(tools) as server:
        print(f"ARCHIVE_TEST_PG_URL={server.url()}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
