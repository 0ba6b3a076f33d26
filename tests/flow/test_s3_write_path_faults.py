"""The essential rows of the fault table (``test_write_path_faults.py``) over a real S3 service and a wire with faults.

One lost request or answer is made good by the store itself, so the mail is acknowledged; when all fail, the sender
hears 4xx, and the mail may stand only if its batch was kept.
"""

from collections.abc import Iterator

import pytest

from archive_service.vault.stores.faults import Effect
from tests.flow.s3_world import S3World, s3_archive
from tests.flow.test_write_path_faults import Mails
from tests.services.fault_proxy import CUT, Fault
from tests.services.s3 import s3_service
from tests.unit.core_world import PATIENCE, Archive

__all__ = ["s3_archive", "s3_service"]  # fixtures

LOST, KEPT, SLOW = Effect.LOST, Effect.KEPT, Effect.SLOW

STEPS = {
    "object": ("store", "objects/{owner}/capture-1/"),
    "key-record-a": ("a", "{owner}/records/capture-1/"),
    "key-record-b": ("b", "{owner}/records/capture-1/"),
    "append": ("store", "ledger/{owner}/capture-1/batch/"),
}

steps = pytest.mark.parametrize("step", STEPS)
effects = pytest.mark.parametrize("effect", [LOST, KEPT], ids=str)
paths = pytest.mark.parametrize("stream", [False, True], ids=["submit", "stream"])


def plan(
    archive: Archive, step: str, effect: Effect, answer: int | str = CUT, times: int | None = 1
) -> Fault:
    assert isinstance(archive.world, S3World)
    wire, prefix = STEPS[step]
    key = prefix.format(owner=archive.owner)
    return archive.world.wires[wire].fail("PUT", key, effect=effect, answer=answer, times=times)


@pytest.fixture
def sent(s3_archive: Archive) -> Iterator[list[Mails]]:
    """Mails to be closed."""
    made: list[Mails] = []
    yield made
    for each in made:
        each.close()


def mails(archive: Archive, sent: list[Mails], *, stream: bool) -> Mails:
    sent.append(Mails(archive, stream=stream))
    return sent[-1]


@steps
@effects
@paths
@pytest.mark.parametrize("answer", [CUT, 500, 503], ids=str)
def test_s3_one_fault_is_made_good(
    s3_archive: Archive, sent: list[Mails], step: str, effect: Effect, stream: bool, answer: int | str
) -> None:
    line = mails(s3_archive, sent, stream=stream)
    assert line.send(b"before")
    fault = plan(s3_archive, step, effect, answer)
    assert line.send(b"during")
    assert fault.reached.is_set()
    assert line.send(b"after")
    line.check()


@steps
@effects
@pytest.mark.parametrize("restart", [False, True], ids=["same-process", "restarted"])
def test_s3_a_step_that_keeps_failing(
    s3_archive: Archive, sent: list[Mails], step: str, effect: Effect, restart: bool
) -> None:
    line = mails(s3_archive, sent, stream=False)
    assert line.send(b"before")
    fault = plan(s3_archive, step, effect, times=None)
    # What was kept stands under a name of its own and is found by one more look.
    assert line.send(b"during") is (effect is KEPT)
    assert fault.reached.is_set()
    s3_archive.world.heal()
    if restart:
        line.start()
    assert line.send(b"after")
    line.check()


@effects
def test_s3_a_batch_whose_outcome_stays_unknown(
    s3_archive: Archive, sent: list[Mails], effect: Effect
) -> None:
    """Neither the create nor any look at it is answered: the sender hears 4xx, and the mail may stand."""
    line = mails(s3_archive, sent, stream=False)
    assert line.send(b"before")
    plan(s3_archive, "append", effect, times=None)
    assert isinstance(s3_archive.world, S3World)
    prefix = f"ledger/{s3_archive.owner}/capture-1/batch/"
    s3_archive.world.wires["store"].fail("GET", prefix, times=None)
    assert not line.send(b"during")
    s3_archive.world.heal()
    assert line.send(b"after")
    line.check(may_stand=True)
    stands = b"during" in [opened.raw for _, opened in s3_archive.captures()]
    assert stands is (effect is KEPT)


@steps
def test_s3_nothing_is_acknowledged_while_a_request_hangs(
    s3_archive: Archive, sent: list[Mails], step: str
) -> None:
    line = mails(s3_archive, sent, stream=False)
    line.send(b"before")
    slow = plan(s3_archive, step, SLOW)
    future = line.begin(b"during")
    assert slow.reached.wait(PATIENCE)
    assert not future.done()
    slow.release.set()
    assert line.end(b"during", future)
    line.check()
