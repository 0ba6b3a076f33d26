"""A writer process for the tests: ``python -m tests.crash.driver flood|steps TAG`` on the archive that the environment
names (``ARCHIVE_*``). It says ``ready``, then ``ack LOG SEQ MAIL`` for every mail that would have got its 250.

flood: mail after mail until it is killed. steps: obeys its input: ``seal MAIL`` (kept, not appended), ``append``
(all that is kept), ``twin`` (a clone of this process appends what is kept; then this one does).
"""

import os
import sys
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
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
    room = BoundedSemaphore(_IN_FLIGHT)

    def ended(mail: str, future: "Future[Captured]") -> None:
        if future.exception() is None:
            acknowledged(mail, future.result())
        room.release()

    number = 0
    while True:
        room.acquire()
        mail = f"{tag}-{number}"
        writer.submit(draft(core), mail.encode()).add_done_callback(partial(ended, mail))
        number += 1


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


def main() -> None:
    role, tag = sys.argv[1:]
    core = open_core(load())
    (tenant,) = core.tenants()
    if role == "flood":
        flood(core, tenant, tag)
    steps = Steps(core, tenant)
    say("ready")
    for line in sys.stdin:
        steps.obey(line.strip())


if __name__ == "__main__":
    main()
