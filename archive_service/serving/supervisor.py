"""The parent of ``serve``: one child process a role, all in its own process group, restarted when they die.

It holds the ports (bound, never listening) so that several SMTP processes can share one, and port 0 means the same
free port to all of them.
"""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from archive_service.alarms.reports import Reporter, path_of, sweep
from archive_service.model.errors import Invalid
from archive_service.serving.child import PARENT, READY, REPORT
from archive_service.serving.health import Family, HealthServer, ProcessState, own_samples
from archive_service.settings import Settings, host_port

_log = logging.getLogger(__name__)
ROLES = ("smtp", "api", "follower", "scheduler")
_START_SECONDS = 60.0
_STOP_SECONDS = 70.0  # a writer gives up after 60
_RESTART_PAUSE = 1.0
_STUCK_SECONDS = 30.0  # without a look at the children


def _refuse_taken(family: socket.AddressFamily, host: str, port: int) -> None:
    """A port may be shared among our own children only: with another archive's, half the mail would hear 550."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Invalid(f"cannot use port {port}: {error.strerror}", code="port.taken") from error


def reserve(host: str, port: int) -> socket.socket:
    """Bind without listening, shareable with children. Raises Invalid when anybody else has the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port:
        _refuse_taken(family, host, port)
    return share(host, port)


def share(host: str, port: int) -> socket.socket:
    """Bind without listening, beside the parent's own hold on the port. Raises Invalid when that fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise Invalid(f"cannot use port {port}: {error.strerror}", code="port.taken") from error
    return held


@dataclass
class _Child:
    """``ready``: the pipe on which it will say so, or None once it has. ``worker``: its number in its role."""

    role: str
    worker: int
    report: Path
    process: subprocess.Popen[bytes]
    ready: int | None
    restarts: int = 0
    started: float = field(default_factory=time.monotonic)

    def state(self) -> ProcessState:
        """As the health endpoint tells it."""
        return ProcessState(self.role, self.worker, self.ready is None, self.restarts, self.report)


class Supervisor:
    """Runs the roles of one ``serve``. ``work``: the work folder, where its processes report what they count."""

    def __init__(self, settings: Settings, roles: Sequence[str], work: Path, *, as_json: bool) -> None:
        self._settings = settings
        self._work = work
        self._roles = [(role, worker) for role in roles for worker in range(self._count(role))]
        self._json = as_json
        self._children: list[_Child] = []
        self._stopping = False
        self._parent_read, self._parent_write = os.pipe()
        os.set_inheritable(self._parent_read, True)
        self._smtp = reserve(*host_port(settings.smtp, "smtp")) if "smtp" in roles else None
        self._milter: socket.socket | None = None
        if "smtp" in roles and settings.milter is not None:
            self._milter = reserve(*host_port(settings.milter, "milter"))
        self._http = reserve(*host_port(settings.http, "http")) if "api" in roles else None
        self._looked = time.monotonic()
        self._health: HealthServer | None = None
        if settings.health is not None:
            self._health = HealthServer(*host_port(settings.health, "health"), self._family)

    def _count(self, role: str) -> int:
        return self._settings.smtp_workers if role == "smtp" else 1

    @staticmethod
    def _address(held: socket.socket | None) -> str | None:
        if held is None:
            return None
        host, port = held.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def run(self) -> int:
        """Start all, say where, and keep them until SIGTERM or SIGINT. 0 after an orderly stop."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        reporter = self._report()
        try:
            for role, worker in self._roles:
                self._children.append(self._start(role, worker))
            if self._health is not None:
                self._health.start()
            if not self._wait_ready():
                self._stop()
                return 1
            self._announce()
            while not self._stopping:
                self._reap()
                self._look_ready(0.1)
            return self._stop()
        finally:
            self._forget(reporter)

    def _family(self) -> Family:
        """For the health endpoint, which asks in threads of its own."""
        states = tuple(child.state() for child in list(self._children))
        # while it stops it waits for mail in flight: who took that for stuck would kill what is to be finished
        alive = self._stopping or time.monotonic() - self._looked < _STUCK_SECONDS
        return Family(states, alive=alive, stopping=self._stopping)

    def _report(self) -> Reporter:
        """Report from here too: how often a child was started again, only its parent knows."""
        try:
            sweep(self._work)
        except OSError as error:
            _log.warning("old reports cannot be removed: %s", error.strerror)
        path = path_of(self._work, "serve", 0)
        return Reporter(path, "serve", 0, os.getpid(), lambda: own_samples(self._family())).start()

    def _forget(self, reporter: Reporter) -> None:
        """Nobody is left to be asked about: a report without its process would pass for one that is frozen."""
        if self._health is not None:
            self._health.close()
        for child in self._children:
            child.report.unlink(missing_ok=True)
        reporter.close()

    def _on_signal(self, number: int, frame: object) -> None:
        del number, frame
        self._stopping = True

    def _start(self, role: str, worker: int) -> _Child:
        ready_read, ready_write = os.pipe()
        os.set_inheritable(ready_write, True)
        report = path_of(self._work, role, worker)
        environment = {**os.environ, PARENT: str(self._parent_read), READY: str(ready_write)}
        environment[REPORT] = str(report)
        environment.update(self._settings.environment())
        environment["ARCHIVE_SMTP"] = self._address(self._smtp) or self._settings.smtp
        milter = self._address(self._milter)
        if milter is not None:
            environment["ARCHIVE_MILTER"] = milter
        environment["ARCHIVE_HTTP"] = self._address(self._http) or self._settings.http
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "archive_service.serving", role],
            env=environment,
            pass_fds=[self._parent_read, ready_write],
            stdin=subprocess.DEVNULL,
        )
        os.close(ready_write)
        return _Child(role, worker, report, process, ready_read)

    def _wait_ready(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while any(child.ready is not None for child in self._children) and not self._stopping:
            for child in self._look_ready(0.2):
                if child.ready is not None:
                    _log.error("the %s process ended before it was ready", child.role)
                    return False
            if time.monotonic() > deadline:
                _log.error("not ready within %d seconds", _START_SECONDS)
                return False
        return not self._stopping

    def _look_ready(self, seconds: float) -> list[_Child]:
        """Wait so long, or until a child speaks; those that spoke, ``ready`` still set in one that ended instead."""
        self._looked = time.monotonic()
        waiting = {child.ready: child for child in self._children if child.ready is not None}
        readable, _, _ = select.select(list(waiting), [], [], seconds)
        for pipe in readable:
            if os.read(pipe, 1) == b"\n":
                os.close(pipe)
                waiting[pipe].ready = None
        return [waiting[pipe] for pipe in readable]

    def _announce(self) -> None:
        smtp, http = self._address(self._smtp), self._address(self._http)
        milter = self._address(self._milter)
        health = self._health.address if self._health is not None else None
        if self._json:
            said = {"ready": True, "smtp": smtp, "milter": milter, "http": http, "health": health}
            line = json.dumps(said | {"pid": os.getpid()})
        else:
            line = "ready" + (f" smtp={smtp}" if smtp else "") + (f" http=http://{http}" if http else "")
            line += f" milter={milter}" if milter else ""
            line += f" health=http://{health}" if health else ""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def _reap(self) -> None:
        for place, child in enumerate(self._children):
            code = child.process.poll()
            if code is None:
                continue
            _log.error("the %s process ended with %d; starting it again", child.role, code)
            if time.monotonic() - child.started < _RESTART_PAUSE:
                time.sleep(_RESTART_PAUSE)
            if child.ready is not None:
                os.close(child.ready)
            again = self._start(child.role, child.worker)
            again.restarts = child.restarts + 1
            self._children[place] = again

    def _stop(self) -> int:
        for child in self._children:
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for child in self._children:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.error("the %s process did not stop in time", child.role)
                child.process.kill()
                child.process.wait()
        return 0
