"""``serve --health HOST:PORT``: the parent answers for the processes it runs. No content, no ids of mails.

    GET /health/live    200 while the parent looks after its processes
    GET /health/ready   200 when every process serves; else 503 with the roles that do not, and while stopping
    GET /metrics        Prometheus text: the parent's own counts and the last report of every process

Nothing here asks a process or a store: a probe costs the reading of a few small files, and cannot hang.
"""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from archive_service.alarms import names
from archive_service.alarms.reports import read_report
from archive_service.alarms.tally import Sample, exposition
from archive_service.model.errors import Invalid

_log = logging.getLogger(__name__)
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MOST_AT_ONCE = 16  # requests; more are cut off rather than queued
_REQUEST_SECONDS = 5.0


@dataclass(frozen=True)
class ProcessState:
    """A child as its parent knows it. ``report``: the file where it says what it counted."""

    role: str
    worker: int
    ready: bool
    restarts: int
    report: Path

    def samples(self) -> list[Sample]:
        """What the parent itself counts of it."""
        who = {"role": self.role, "worker": str(self.worker)}
        return [
            Sample.of(names.PROCESS_READY, self.ready, **who),
            Sample.of(names.PROCESS_RESTARTS, self.restarts, **who),
        ]


@dataclass(frozen=True)
class Family:
    """All children of one parent. ``alive``: whether the parent still looks after them."""

    processes: tuple[ProcessState, ...]
    alive: bool
    stopping: bool

    def not_ready(self) -> list[str]:
        """The roles of which a process does not serve."""
        return sorted({process.role for process in self.processes if not process.ready})

    def samples(self, now: float) -> list[Sample]:
        """The parent's counts and each process's last report. ``now``: seconds since 1970."""
        found = own_samples(self)
        for process in self.processes:
            report = read_report(process.report)
            if report is not None:
                found += report.told(now)
        return found


def own_samples(family: Family) -> list[Sample]:
    """What the parent itself counts, each child under its name."""
    return [sample for process in family.processes for sample in process.samples()]


Answer = tuple[int, str, bytes]
"""Status, content type, body."""


def answer(path: str, family: Family, now: float) -> Answer:
    """What a path gets."""
    if path == "/health/live":
        return _json(200 if family.alive else 503, {"status": "live" if family.alive else "stuck"})
    if path == "/health/ready":
        missing = family.not_ready()
        if family.stopping:
            return _json(503, {"status": "stopping"})
        return (
            _json(503, {"status": "not ready", "roles": missing})
            if missing
            else _json(200, {"status": "ready"})
        )
    if path == "/metrics":
        return 200, _METRICS_TYPE, exposition(family.samples(now)).encode()
    return _json(404, {"status": "not found"})


def _json(status: int, body: dict[str, Any]) -> Answer:
    return status, "application/json", json.dumps(body).encode()


class HealthServer:
    """Answers in threads of its own. ``family`` is asked at every request and must be thread-safe."""

    def __init__(self, host: str, port: int, family: Callable[[], Family]) -> None:
        """Listens on return; port 0 takes a free one. Raises Invalid (``port.taken``)."""
        try:
            self._server = _Server(host, port, family)
        except OSError as error:
            raise Invalid(f"cannot use health port {port}: {error.strerror}", code="port.taken") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="health", daemon=True
        )

    @property
    def address(self) -> str:
        """``HOST:PORT``, or ``[IPv6]:PORT``."""
        host, port = map(str, self._server.server_address[:2])
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a slow asker must not hold up the end

    def __init__(self, host: str, port: int, family: Callable[[], Family]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self.family = family
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Without the look-up of a host name that the base class makes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, if one is free."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, one request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asks may go away at any time; that is nobody's fault here."""
        _log.debug("a health request was cut off")


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_SECONDS
    server: _Server

    def version_string(self) -> str:
        """Nothing about what runs here."""
        return "archive"

    def do_GET(self) -> None:
        """See the module's text."""
        status, content_type, body = answer(self.path.partition("?")[0], self.server.family(), time.time())
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Probes come every few seconds: they are not logged."""
