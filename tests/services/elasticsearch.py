"""An Elasticsearch for tests: the given one (``ARCHIVE_TEST_ES_URL``), or one server a test process from
``.venv/tools/elasticsearch`` (``elasticsearch_server/install.sh``), with a fresh prefix a test.

It needs a JDK of at least 21 (``ES_JAVA_HOME``, or any under ``/usr/lib/jvm``) and never runs as root: it is lent to
``nobody`` then.
"""

import atexit
import base64
import os
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from elasticsearch import Elasticsearch

from search.indexes.elasticsearch import ElasticsearchConnection
from search.indexes.elasticsearch.failures import RetryPolicy
from tests.services.tools import TOOLS, free_port, missing

HOW = "tests/services/elasticsearch_server/install.sh .venv/tools/elasticsearch, and a JDK of at least 21"
AT_ONCE = RetryPolicy(sleep=lambda seconds: None)
"""Retries as in production, without the pauses."""

_UP_WITHIN = 300.0
_GUARDED = {
    "xpack.security.enabled": "true",
    "xpack.security.authc.anonymous.roles": "anybody",
    "xpack.security.http.ssl.enabled": "true",
    "xpack.security.http.ssl.certificate": "tls.pem",
    "xpack.security.http.ssl.key": "tls.key",
}


@dataclass(frozen=True)
class Guard:
    """TLS by ``tls.pem`` and ``tls.key`` of a folder, and the password of the user ``elastic``. ``roles``: YAML; who
    brings no credentials has the role ``anybody``."""

    folder: Path
    password: str
    roles: str


class Server:
    """A server of our own over a folder that survives its end; ``start`` and ``kill`` as often as wanted."""

    def __init__(
        self, program: Path, java: Path, folder: Path, settings: dict[str, str], guard: Guard | None
    ) -> None:
        self.url = f"{'https' if guard else 'http'}://127.0.0.1:{free_port()}"
        self.folder = folder
        self._program = program
        self._java = java
        self._guard = guard
        self._process: subprocess.Popen[bytes] | None = None
        shutil.copytree(program / "config", folder / "config")
        lines = {
            "discovery.type": "single-node",
            "path.data": str(folder / "data"),
            "path.logs": str(folder / "logs"),
            "http.host": "127.0.0.1",
            "http.port": self.url.rpartition(":")[2],
            "transport.host": "127.0.0.1",
            "transport.port": str(free_port()),
            **(_GUARDED if guard else {"xpack.security.enabled": "false"}),
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            **settings,
        }
        text = "".join(f"{name}: {value}\n" for name, value in lines.items())
        (folder / "config" / "elasticsearch.yml").write_text(text)
        for name in ("data", "logs", "tmp"):
            (folder / name).mkdir()
        if guard:
            for name in ("tls.pem", "tls.key"):
                shutil.copy(guard.folder / name, folder / "config" / name)
            (folder / "config" / "roles.yml").write_text(guard.roles)
            self._keep_password(guard.password)
        if os.getuid() == 0:
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, "nobody", "nogroup")

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "ES_JAVA_HOME": str(self._java),
            "ES_JAVA_OPTS": "-Xms512m -Xmx512m",
            "ES_PATH_CONF": str(self.folder / "config"),
            "ES_TMPDIR": str(self.folder / "tmp"),
        }

    def _keep_password(self, password: str) -> None:
        """Of the user ``elastic``, where the server looks for it at its first start."""
        tool = str(self._program / "bin" / "elasticsearch-keystore")
        for arguments in (["create"], ["add", "-x", "-f", "bootstrap.password"]):
            subprocess.run(
                [tool, *arguments],
                env=self._environment() | {"ES_JAVA_OPTS": ""},
                input=password.encode(),
                check=True,
                capture_output=True,
            )

    def start(self) -> None:
        """Returns when it answers."""
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [self._program / "bin" / "elasticsearch"],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **user,
            )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        assert self._process is not None
        ends = time.monotonic() + _UP_WITHIN
        context = ssl._create_unverified_context() if self._guard else None
        while time.monotonic() < ends and self._process.poll() is None:
            try:
                with urllib.request.urlopen(self._health(), context=context):
                    return
            except OSError:  # refused, or still starting
                threading.Event().wait(0.1)
        raise AssertionError(
            "Elasticsearch did not come up:\n" + (self.folder / "output").read_text()[-3000:]
        )

    def _health(self) -> urllib.request.Request:
        request = urllib.request.Request(f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=5s")
        if self._guard:
            credentials = base64.b64encode(f"elastic:{self._guard.password}".encode()).decode()
            request.add_header("Authorization", f"Basic {credentials}")
        return request

    def kill(self) -> None:
        """With SIGKILL, itself and its launcher."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(60)
            self._process = None


def _java_home() -> Path | None:
    """A JDK of at least 21."""
    given = os.environ.get("ES_JAVA_HOME")
    homes = [Path(given)] if given else sorted(Path("/usr/lib/jvm").glob("*"))
    for home in homes:
        release = home / "release"
        if release.is_file() and (home / "bin" / "java").exists():
            version = re.search(r'JAVA_VERSION="(\d+)', release.read_text())
            if version is not None and int(version[1]) >= 21:
                return home
    return None


@contextmanager
def running(settings: dict[str, str] | None = None, guard: Guard | None = None) -> Iterator[Server]:
    """A server of one's own. Skips where it cannot be had."""
    program, java = TOOLS / "elasticsearch", _java_home()
    if java is None or not (program / "bin" / "elasticsearch").exists():
        missing("Elasticsearch", HOW)
    folder = Path(tempfile.mkdtemp(prefix="elasticsearch-"))
    folder.chmod(0o755)
    server = Server(program.resolve(), java, folder, settings or {}, guard)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


@cache
def elasticsearch_url() -> str:
    """The server of this test process; brought up at the first call, down with the process."""
    given = os.environ.get("ARCHIVE_TEST_ES_URL")
    if given:
        return given
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running()).url


def connection(url: str | None = None, prefix: str | None = None) -> ElasticsearchConnection:
    """To the server of this process, under a fresh prefix."""
    return ElasticsearchConnection(
        (url or elasticsearch_url(),), prefix=prefix or f"test-{secrets.token_hex(6)}", replicas=0
    )


@contextmanager
def admin(url: str | None = None) -> Iterator[Elasticsearch]:
    """A plain client: what an administrator does by hand."""
    with Elasticsearch(url or elasticsearch_url(), request_timeout=60) as client:
        yield client


def forget(made: ElasticsearchConnection) -> None:
    """Take away everything under a connection's prefix."""
    with admin(made.urls[0]) as client:
        names = list(
            client.indices.get(index=f"{made.prefix}.*", expand_wildcards="all", features=["aliases"])
        )
        if names:
            client.indices.delete(index=names)
