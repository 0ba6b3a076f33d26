"""A writer process for the tests, on the archive that its settings name (``ARCHIVE_*``): role ``flood`` or
``steps``. It says ``ready``, then ``ack LOG SEQ MAIL`` for every mail that would have got its 250.

flood: at the word ``go`` mail after mail until it is killed, at most MOST. steps: obeys its input: ``seal MAIL``
(kept, not appended), ``append`` (all that is kept), ``twin`` (a clone of this process appends what is kept; then this
one does).
"""

import os
import sys
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from threading import BoundedSemaphore

from archive_service.bootstrap import Core, Tenant, open_core
from archive_service.ledger.capture_writer import CaptureWriter
from archive_service.ledger.write_steps import Captured, CaptureDraft, SealedGroup, WriteSteps
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError
from archive_service.model.mail import CaptureRecord
from archive_service.settings import load
from archive_service.vault.key_places import in_turn
from archive_service.vault.stores.base import Lock

_IN_FLIGHT = 24
MOST = 80  # mails of one flood: a thousand floods must still be checked one by one


def say(line: str) -> None:
    """One write: a killed process leaves no half line behind."""
    os.write(1, f"{line}\n".encode())


def draft(core: Core) -> CaptureDraft:
    now = core.clock()
    record = CaptureRecord(
        capture="", source="s1", received_at=rfc3339(now), mail_from="a@example.org", rcpt_to=("j@a",)
    )
    return CaptureDraft(record, Lock(until=now + timedelta(days=1)), acts_seen=1)


def acknowledged(mail: str, captured: Captured) -> None:
    say(f"ack {captured.log} {captured.seq} {mail}")


def flood(core: Core, tenant: Tenant, tag: str) -> None:
    slots = core.slots(tenant.id, "capture")
    writer = CaptureWriter(core.store, tenant.keyring, slots, core.clock, core.writer_limits)
    writer.open()
    say("ready")
    sys.stdin.readline()
    room = BoundedSemaphore(_IN_FLIGHT)

    def ended(mail: str, future: "Future[Captured]") -> None:
        if future.exception() is None:
            acknowledged(mail, future.result())
        room.release()

    for number in range(MOST):
        room.acquire()
        mail = f"{tag}-{number}"
        writer.submit(draft(core), mail.encode()).add_done_callback(partial(ended, mail))
    sys.stdin.read()  # until it is killed


class Steps:
    """What is sealed and not yet appended."""

    def __init__(self, core: Core, tenant: Tenant) -> None:
        self._core = core
        slots = core.slots(tenant.id, "capture")
        self._steps = WriteSteps(core.store, tenant.keyring, slots, core.clock, in_turn)
        self._steps.open()
        self._kept: list[tuple[SealedGroup, str]] = []

    def obey(self, line: str) -> None:
        word, _, mail = line.partition(" ")
        if word == "seal":
            self._kept.append((self._steps.seal([(draft(self._core), mail.encode())]), mail))
            say("sealed")
        elif word == "append":
            self._append()
        elif word == "twin":
            self._twin()

    def _append(self) -> None:
        outcomes = self._steps.append([group for group, _ in self._kept])
        for (_, mail), outcome in zip(self._kept, outcomes, strict=True):
            if isinstance(outcome, ArchiveError):
                say(f"no {outcome.code} {mail}")
            else:
                acknowledged(mail, outcome[0])
        self._kept = []
        say("done")

    def _twin(self) -> None:
        child = os.fork()
        if child == 0:
            self._append()
            os._exit(0)
        os.waitpid(child, 0)
        self._append()


def forked(settings: dict[str, str], role: str, tag: str, orders: Connection, answers: Connection) -> None:
    """The whole life of a process that was forked to be this one."""
    os.environ.update(settings)
    os.dup2(orders.fileno(), 0)
    os.dup2(answers.fileno(), 1)
    sys.stdin = os.fdopen(0, closefd=False)
    orders.close()
    answers.close()
    core = open_core(load())
    (tenant,) = core.tenants()
    if role == "flood":
        flood(core, tenant, tag)
    steps = Steps(core, tenant)
    say("ready")
    for line in sys.stdin:
        steps.obey(line.strip())
