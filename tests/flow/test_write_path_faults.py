"""The fault table: every store call of every write path fails once, lost or kept, or hangs for a while.

Lost: nothing was done. Kept: it was done, and only the answer was lost. The writer cannot tell them apart. Whatever
happens: what was acknowledged stands exactly once, byte for byte, when everything is read anew; what was refused was
not acknowledged; later mail goes on; and ``verify`` finds no damage.
"""

from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from archive_service.ledger.appender import Appender
from archive_service.ledger.capture_writer import Captured, CaptureWriter
from archive_service.ledger.group_log import GroupLog
from archive_service.ledger.merkle import leaf_hash, root_of
from archive_service.ledger.reader import checkpoint_note, checkpoint_size, newest_checkpoint
from archive_service.ledger.verify.report import Severity, What
from archive_service.model.errors import ArchiveError
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.faults import Effect, Fault, FaultPlan
from tests.unit.core_world import PATIENCE, QUICK, Archive, outcome

LOST, KEPT, SLOW = Effect.LOST, Effect.KEPT, Effect.SLOW
STREAM = {"submit": False, "stream": True}


@dataclass(frozen=True)
class Step:
    """One call of a write path: of the object store, or of key place ``a`` or ``b``; its name begins with ``prefix``
    (``{owner}``: the tenant, ``{root}``: the archive). ``fails``: with which effects the write is refused."""

    medium: str
    verb: str
    prefix: str
    fails: tuple[Effect, ...] = (LOST, KEPT)

    def __str__(self) -> str:
        return (
            f"{self.medium}-{self.verb}-{self.prefix.replace('{owner}/', '').replace('/', '.').rstrip('.')}"
        )

    def plan(self, archive: Archive, effect: Effect, nth: int = 1) -> Fault:
        prefix = self.prefix.format(owner=archive.owner, root=archive.root_owner)
        return self._plan(archive).fail(self.verb, nth, effect, prefix=prefix)

    def _plan(self, archive: Archive) -> FaultPlan:
        world = archive.world
        return {"store": world.plan, "a": world.plans[0], "b": world.plans[1]}[self.medium]


def table(*steps: Step) -> pytest.MarkDecorator:
    """Every step, lost and kept. A read has no effect: lost is all there is."""
    rows = [
        pytest.param(step, effect, id=f"{step}-{effect}")
        for step in steps
        for effect in ((LOST,) if step.verb in {"read", "get", "list", "stat"} else (LOST, KEPT))
    ]
    return pytest.mark.parametrize(("step", "effect"), rows)


def writes(archive: Archive) -> list[tuple[str, str, str]]:
    """Every call so far that changes a store: medium, verb, name."""
    world = archive.world
    plans = {"store": world.plan, "a": world.plans[0], "b": world.plans[1]}
    return [
        (medium, call.verb, key)
        for medium, plan in plans.items()
        for call in plan.calls
        if call.verb in {"create", "put", "protect", "delete"}
        for key in call.keys
    ]


def assert_complete(archive: Archive, before: int, steps: tuple[Step, ...]) -> None:
    """The table has a row for every write that was made: a new kind of write must get one."""
    made = writes(archive)[before:]
    assert made
    for medium, verb, key in made:
        name = key.replace(archive.owner, "{owner}").replace(archive.root_owner, "{root}")
        known = any((s.medium, s.verb) == (medium, verb) and name.startswith(s.prefix) for s in steps)
        assert known, f"no row for {verb} of {name} in {medium}"


def assert_sound(archive: Archive) -> None:
    """Verify reads all anew: no damage, and of unfinished work orphans at most."""
    problems = archive.verify()
    assert {(problem.severity, problem.what) for problem in problems} <= {(Severity.NOTE, What.ORPHAN)}


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.world.close()


class Mails:
    """Mails on their way through one writer after another, and what became of them."""

    def __init__(self, archive: Archive, *, stream: bool) -> None:
        self.archive = archive
        self.stream = stream
        self.pool = ThreadPoolExecutor(4)
        self.writers: list[CaptureWriter] = []
        self.acknowledged: dict[Captured, bytes] = {}
        self.refused: list[bytes] = []
        self.start()

    def start(self) -> None:
        """A new process; the one before is as good as dead."""
        self.writers.append(self.archive.writer())

    def begin(self, raw: bytes) -> "Future[Captured]":
        writer, draft = self.writers[-1], self.archive.draft()
        if not self.stream:
            return writer.submit(draft, raw)
        half = len(raw) // 2
        return self.pool.submit(writer.write_stream, draft, [raw[:half], raw[half:]])

    def end(self, raw: bytes, future: "Future[Captured]") -> bool:
        """Whether it was acknowledged."""
        result = outcome(future)
        if isinstance(result, Captured):
            self.acknowledged[result] = raw
            return True
        assert isinstance(result, ArchiveError), result
        self.refused.append(raw)
        return False

    def send(self, raw: bytes) -> bool:
        return self.end(raw, self.begin(raw))

    def close(self) -> None:
        self.archive.world.heal()
        for writer in self.writers:
            writer.close()
        self.pool.shutdown()

    def check(self, *, may_stand: bool = False) -> None:
        """The promise. ``may_stand``: the outcome of a refused mail stayed unknown."""
        found = {captured: opened.raw for captured, opened in self.archive.captures()}
        assert self.acknowledged.items() <= found.items()
        counts = Counter(found.values())
        assert all(counts[raw] == 1 for raw in self.acknowledged.values())
        assert all(counts[raw] <= may_stand for raw in self.refused)
        assert sum(counts.values()) == len(found) <= len(self.acknowledged) + len(self.refused) * may_stand
        self.archive.checkpointer().run_once()
        assert_sound(self.archive)


@pytest.fixture(params=STREAM)
def mails(archive: Archive, request: pytest.FixtureRequest) -> Iterator[Mails]:
    made = Mails(archive, stream=STREAM[request.param])
    yield made
    made.close()


# --- a mail --------------------------------------------------------------------------------------------

MAIL = (
    Step("store", "create", "objects/{owner}/capture-1/"),
    Step("a", "create", "{owner}/records/capture-1/"),
    Step("b", "create", "{owner}/records/capture-1/"),
    Step("store", "create", "ledger/{owner}/capture-1/batch/", fails=()),
)

CLAIM = (
    Step("store", "read", "ledger/{owner}/capture-1/checkpoint/"),
    Step("store", "read", "ledger/{owner}/capture-1/batch/"),
    Step("store", "create", "ledger/{owner}/capture-1/batch/", fails=()),
)

NEW_DAY = (
    Step("a", "list", "{owner}/generations/"),
    Step("b", "list", "{owner}/generations/"),
    Step("a", "create", "{owner}/generations/"),
    Step("b", "create", "{owner}/generations/"),
    Step("a", "get", "{owner}/generations/"),
    Step("b", "get", "{owner}/generations/"),
    Step("a", "create", "{owner}/table/", fails=(LOST,)),  # it stands: the create only makes sure of it
    Step("b", "create", "{owner}/table/", fails=(LOST,)),
    *MAIL,
)


@table(*MAIL)
@pytest.mark.parametrize("restart", [False, True], ids=["same-process", "restarted"])
def test_a_mail(mails: Mails, step: Step, effect: Effect, restart: bool) -> None:
    assert mails.send(b"before")
    step.plan(mails.archive, effect)
    assert mails.send(b"during") is (effect not in step.fails)
    if restart:
        mails.start()
    assert mails.send(b"after")
    assert mails.send(b"at last")
    mails.check()


@table(*CLAIM)
def test_a_claim_and_the_first_mail(mails: Mails, step: Step, effect: Effect) -> None:
    step.plan(mails.archive, effect)
    assert mails.send(b"first") is (effect not in step.fails)
    assert mails.send(b"after")
    mails.check()


@table(*CLAIM)
def test_a_claim_after_an_earlier_process(mails: Mails, step: Step, effect: Effect) -> None:
    mails.send(b"before")
    mails.archive.checkpointer().run_once()
    mails.send(b"behind the checkpoint")
    mails.start()
    step.plan(mails.archive, effect)
    assert mails.send(b"first") is (effect not in step.fails)
    assert mails.send(b"after")
    mails.check()


@table(*NEW_DAY)
def test_the_first_mail_of_a_new_day(mails: Mails, step: Step, effect: Effect) -> None:
    mails.send(b"before")
    mails.archive.world.clock.pass_days(3)
    step.plan(mails.archive, effect)
    assert mails.send(b"during") is (effect not in step.fails)
    assert mails.send(b"after")
    mails.check()
    generations = {
        e.fields["generation"] for e in mails.archive.entries(mails.archive.capture_log) if e.seq > 0
    }
    assert len(generations) == 2


@pytest.mark.parametrize("effect", [LOST, KEPT])
@pytest.mark.parametrize("restart", [False, True], ids=["same-process", "restarted"])
def test_a_batch_whose_outcome_stays_unknown(mails: Mails, effect: Effect, restart: bool) -> None:
    """Neither the create nor any look at it is answered: the sender hears 4xx, and the mail may stand."""
    assert mails.send(b"before")
    plan, prefix = mails.archive.world.plan, f"ledger/{mails.archive.owner}/capture-1/batch/"
    plan.fail("create", effect=effect, prefix=prefix, times=None)
    for verb in ("stat", "read"):
        plan.fail(verb, prefix=prefix, times=None)
    assert not mails.send(b"during")
    mails.archive.world.heal()
    if restart:
        mails.start()
    assert mails.send(b"after")
    mails.check(may_stand=True)
    stands = b"during" in [opened.raw for _, opened in mails.archive.captures()]
    assert stands is (effect is KEPT)


@pytest.mark.parametrize("step", MAIL, ids=str)
def test_nothing_is_acknowledged_while_a_call_hangs(mails: Mails, step: Step) -> None:
    mails.send(b"before")
    slow = step.plan(mails.archive, SLOW)
    future = mails.begin(b"during")
    assert slow.reached.wait(PATIENCE)
    assert not future.done()
    slow.release.set()
    assert mails.end(b"during", future)
    assert mails.send(b"after")
    mails.check()


@pytest.mark.parametrize("step", MAIL, ids=str)
def test_a_process_that_hangs_while_another_takes_its_slot(mails: Mails, step: Step) -> None:
    """Recovery claims the slot of a writer that seems dead; when it moves again it must not acknowledge."""
    mails.send(b"before")
    slow = step.plan(mails.archive, SLOW)
    future = mails.begin(b"hung")
    assert slow.reached.wait(PATIENCE)
    mails.start()
    assert mails.send(b"by the new owner")
    slow.release.set()
    assert not mails.end(b"hung", future)
    mails.start()
    assert mails.send(b"after")
    mails.check()


@pytest.mark.parametrize("effect", [LOST, KEPT])
def test_a_group_fails_or_stands_as_a_whole(archive: Archive, effect: Effect) -> None:
    mails = Mails(archive, stream=False)
    mails.send(b"before")
    slow = MAIL[0].plan(archive, SLOW)
    first = mails.begin(b"first")
    assert slow.reached.wait(PATIENCE)
    group = {b"mail %d" % n: mails.begin(b"mail %d" % n) for n in range(10)}
    archive.world.plan.fail("create", effect=effect, prefix=f"objects/{archive.owner}/")
    slow.release.set()
    assert mails.end(b"first", first)
    acknowledged = [raw for raw, future in group.items() if mails.end(raw, future)]
    assert acknowledged == []
    assert [raw for raw in group if not mails.send(raw + b" again")] == []
    mails.check()
    mails.close()


def test_the_table_knows_every_write_of_a_mail(mails: Mails) -> None:
    archive, before = mails.archive, len(writes(mails.archive))
    mails.send(b"first")
    archive.world.clock.pass_days(2)
    mails.send(b"second")
    assert_complete(archive, 0, (*MAIL, *CLAIM, *NEW_DAY, *ACT, *FOUNDING))
    assert len(writes(archive)) > before


# --- an act --------------------------------------------------------------------------------------------

ACT = (
    Step("a", "create", "{owner}/records/acts/"),
    Step("b", "create", "{owner}/records/acts/"),
    Step("store", "create", "ledger/{owner}/acts/batch/", fails=()),
    Step("store", "read", "ledger/{owner}/acts/batch/"),
)

FOUNDING = (
    *(
        Step(place, "create", f"{{{whose}}}/{folder}/")
        for place in ("a", "b")
        for whose in ("owner", "root")
        for folder in ("secrets", "table", "generations")
    ),
    Step("store", "create", "ledger/{root}/root/batch/"),
)


@table(*ACT)
def test_an_act(archive: Archive, step: Step, effect: Effect) -> None:
    acts = archive.acts()
    done = [acts.reserve_bates("ARC", 1, "before")]
    step.plan(archive, effect)
    if effect in step.fails:
        with pytest.raises(ArchiveError):
            acts.reserve_bates("ARC", 10, "during")
    else:
        done.append(acts.reserve_bates("ARC", 10, "during"))
    done.append(acts.reserve_bates("ARC", 1, "after"))
    assert done == sorted(set(done))
    assert archive.acts().reserve_bates("ARC", 1, "another process") == done[-1] + 1
    seqs = [entry.seq for entry in archive.entries(acts.log)]
    assert seqs == list(range(5 if effect not in step.fails else 4))
    archive.checkpointer().run_once()
    assert_sound(archive)


def test_an_act_whose_read_back_fails_may_stand_and_is_never_made_twice(archive: Archive) -> None:
    acts = archive.acts()
    acts.refresh()
    archive.world.plan.fail("read", 2, prefix=f"ledger/{archive.owner}/acts/batch/")
    with pytest.raises(ArchiveError):
        acts.reserve_bates("ARC", 10, "during")
    assert acts.reserve_bates("ARC", 1, "after") == 11, "the lost ten are never given again"
    archive.checkpointer().run_once()
    assert archive.verify() == []


# --- a look at a mail ----------------------------------------------------------------------------------

ACCESS = (
    Step("a", "create", "{owner}/records/access-1/"),
    Step("b", "create", "{owner}/records/access-1/"),
    Step("store", "create", "ledger/{owner}/access-1/batch/", fails=()),
)


def group_log(archive: Archive) -> GroupLog:
    world = archive.world
    return GroupLog(world.vault(archive.owner), world.slots(archive.owner, "access"), "access", lambda: 1)


def looks(archive: Archive) -> list[str]:
    log, vault = LogId(archive.owner, "access-1"), archive.world.vault(archive.owner)
    opened = [vault.open(log, e.fields["payload"]) for e in archive.entries(log) if e.type == "access"]
    return [str(each["look"]) for each in opened]


@table(*ACCESS)
@pytest.mark.parametrize("first", [False, True], ids=["later", "first"])
def test_a_look(archive: Archive, step: Step, effect: Effect, first: bool) -> None:
    log = group_log(archive)
    done: list[str] = []

    def look(name: str) -> bool:
        try:
            log.append({"look": name})
        except ArchiveError:
            return False
        done.append(name)
        return True

    if not first:
        assert look("before")
    step.plan(archive, effect)
    assert look("during") is (effect not in step.fails)
    assert look("after")
    log.close()
    assert looks(archive) == done
    archive.checkpointer().run_once()
    assert_sound(archive)


@pytest.mark.parametrize("step", ACCESS, ids=str)
def test_nothing_is_shown_while_the_look_hangs(archive: Archive, step: Step) -> None:
    log = group_log(archive)
    log.append({"look": "before"})
    slow = step.plan(archive, SLOW)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(log.append, {"look": "during"})
        assert slow.reached.wait(PATIENCE)
        assert not answer.done()
        slow.release.set()
        answer.result(PATIENCE)
    log.close()
    assert looks(archive) == ["before", "during"]


def test_the_table_knows_every_write_of_a_look(archive: Archive) -> None:
    before = len(writes(archive))
    log = group_log(archive)
    log.append({"look": "x"})
    log.close()
    assert len(writes(archive)) > before
    assert_complete(archive, 0, (*ACCESS, *ACT, *FOUNDING))


# --- the checkpointer ----------------------------------------------------------------------------------

CHECKPOINTS = (
    Step("store", "create", "ledger/{owner}/access-2/tile/0/"),
    Step("store", "create", "ledger/{owner}/access-2/tile/entries/"),
    Step("store", "create", "ledger/{owner}/access-2/checkpoint/"),
    Step("store", "create", "ledger/{owner}/acts/checkpoint/"),
    Step("store", "create", "ledger/{owner}/capture-1/checkpoint/"),
    Step("store", "create", "ledger/{root}/root/batch/", fails=()),
    Step("store", "create", "ledger/{root}/root/checkpoint/"),
    Step("a", "create", "{root}/records/root/"),
    Step("b", "create", "{root}/records/root/"),
    Step("store", "read", "ledger/{owner}/access-2/batch/"),
    Step("store", "read", "ledger/{root}/root/batch/"),
    Step("store", "list", "ledger/{owner}/"),
    Step("a", "get", "{owner}/secrets/", fails=()),
)


def grow(archive: Archive, batches: int) -> None:
    """Batches of 70 claims, so that tiles end in the middle of one."""
    appender = Appender(archive.world.objects, LogId(archive.owner, "access-2"), archive.world.clock, QUICK)
    appender.claim()
    for _ in range(batches):
        appender.append([("claim", {"writer": "0" * 16})] * 70)


def assert_signed(archive: Archive) -> None:
    """Every log's newest checkpoint covers all of it, with the right root."""
    store = archive.world.objects
    logs = [LogId(archive.owner, name) for name in ("acts", "access-2", "capture-1")]
    for log in (*logs, LogId(archive.root_owner, "root")):
        note = checkpoint_note(store, log, newest_checkpoint(store, log)) or ""
        lines = [entry.line for entry in archive.entries(log)]
        assert checkpoint_size(note) == len(lines)
        assert root_of([leaf_hash(line) for line in lines]) == b64decode(note.split("\n")[2])


@pytest.fixture
def grown(archive: Archive) -> Archive:
    grow(archive, 4)
    mails = Mails(archive, stream=False)
    mails.send(b"mail")
    mails.close()
    return archive


@table(*CHECKPOINTS)
@pytest.mark.parametrize(
    ("again", "restart"), [(False, False), (False, True), (True, False)], ids=["first", "restarted", "later"]
)
def test_the_checkpointer(grown: Archive, step: Step, effect: Effect, restart: bool, again: bool) -> None:
    checkpointer = grown.checkpointer()
    if again:
        checkpointer.run_once()
        grow(grown, 4)
        grown.acts().reserve_bates("ARC", 1, "x")
        mails = Mails(grown, stream=False)
        mails.send(b"another")
        mails.close()
    step.plan(grown, effect)
    if effect in step.fails:
        with pytest.raises(ArchiveError):
            checkpointer.run_once()
        if not again:
            assert grown.damage() == [], "a crash here is no damage"
    if restart:
        checkpointer = grown.checkpointer()
    checkpointer.run_once()
    assert_signed(grown)
    grow(grown, 1)
    checkpointer.run_once()
    assert_signed(grown)
    assert_sound(grown)


@pytest.mark.parametrize("effect", [LOST, KEPT])
def test_the_checkpointer_at_every_single_create(effect: Effect) -> None:
    """The n-th create of all, for every n, so that none escapes the table above."""
    nth, reached = 0, True
    while reached:
        nth += 1
        archive = Archive()
        grow(archive, 4)
        checkpointer = archive.checkpointer()
        fault = archive.world.plan.fail("create", nth, effect)
        _ignoring(checkpointer.run_once)
        reached = fault.reached.is_set()
        archive.world.heal()
        checkpointer.run_once()
        grow(archive, 1)
        checkpointer.run_once()
        assert_sound(archive)
        archive.world.close()
    assert nth > 7


def _ignoring(run: Callable[[], object]) -> None:
    try:
        run()
    except ArchiveError:
        return


def test_the_table_knows_every_write_of_the_checkpointer(grown: Archive) -> None:
    before = len(writes(grown))
    grown.checkpointer().run_once()
    assert len(writes(grown)) > before
    assert_complete(grown, 0, (*CHECKPOINTS, *MAIL, *CLAIM, *ACT, *FOUNDING))
