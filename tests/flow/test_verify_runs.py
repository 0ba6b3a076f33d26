"""``verify`` on an archive that nobody touched: clean, beside running writers, after crashes; sampled, resumed."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archive_service.commands import verify_state
from archive_service.commands.output import Output
from archive_service.following import make_checkpointer
from archive_service.ledger.appender import LedgerPolicy
from archive_service.ledger.checkpointer import Checkpointer, LedgerWriter
from archive_service.ledger.slots import Slots
from archive_service.ledger.verify import contents
from archive_service.ledger.verify.walk import Walk
from archive_service.model.errors import ArchiveError, StoreError
from archive_service.vault.stores.faults import FaultPlan, FaultyStore
from tests.flow.archive_fixtures import PATIENCE, Copy, Open, built, copy, mail, opened, run, verify

__all__ = ["built", "copy"]  # fixtures

QUICK = LedgerPolicy(settle_tries=2, pause=0.0)


def notes(copy: Copy) -> list[dict[str, Any]]:
    """What a clean verify notes of the tenant (the other one was never followed)."""
    said = verify(copy.data)
    assert said.code == 0, said.damage
    return [found for found in said.problems if found.get("log") != f"{copy.of.other}/acts"]


def test_an_archive_that_nobody_touched_is_clean(copy: Copy) -> None:
    assert notes(copy) == []
    checked = verify(copy.data).answer["checked"]
    captures = sum(entry["type"] == "capture" for entry in copy.entries(copy.of.captures))
    assert checked["objects"] == captures + 2  # and the other tenant's
    assert checked["tiles"] == 2
    assert checked["unsigned"] == checked["not_sampled"] == 0


def test_verify_changes_nothing_that_it_checks(copy: Copy) -> None:
    def state() -> dict[str, bytes]:
        return {
            name: copy.read(name) for top in ("objects", "ledger", "keys", "kms") for name in copy.names(top)
        }

    before = state()
    verify(copy.data)
    assert state() == before


def test_entries_that_no_checkpoint_covers_are_counted(copy: Copy) -> None:
    archive = opened(copy.data)
    try:
        archive.access(3)
    finally:
        archive.close()
    assert verify(copy.data).answer["checked"]["unsigned"] == 4  # the claim of the slot too


# --- beside a running service ---------------------------------------------------------------------------


def test_verify_beside_a_running_service_stays_clean(copy: Copy) -> None:
    stop, failed = threading.Event(), []
    archive = opened(copy.data)

    def serve() -> None:
        writer = archive.writer()
        number = 1000
        try:
            while not stop.is_set():
                waiting = [writer.submit(archive.draft(), mail(number + n)) for n in range(3)]
                number += 3
                for each in waiting:
                    each.result(PATIENCE)
                archive.follower.step()
                archive.access(2)
                archive.checkpointer.run_once()
        except Exception as error:
            failed.append(error)
        finally:
            writer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        grown = [verify(copy.data) for _ in range(5)]
    finally:
        stop.set()
        thread.join(PATIENCE)
        archive.close()
    assert not failed
    assert all(said.code == 0 for said in grown), [said.damage for said in grown]
    assert grown[-1].answer["checked"]["objects"] > grown[0].answer["checked"]["objects"]


def test_a_batch_that_comes_between_two_looks_is_no_hole(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader asks for a name, gets nothing, lists what follows; meanwhile that name and a later one came."""
    archive = opened(copy.data)
    real = Walk._following
    met: list[int] = []

    def following(walk: Walk, key: str, seq: int) -> int | None:
        if walk.facts.log == copy.of.captures and not met:
            met.append(seq)
            archive.write([mail(1)])
            archive.write([mail(2)])
            archive.checkpointer.run_once()
        return real(walk, key, seq)

    monkeypatch.setattr(Walk, "_following", following)
    try:
        said = verify(copy.data)
    finally:
        archive.close()
    assert met and said.code == 0, said.damage
    assert said.answer["checked"]["objects"] == verify(copy.data).answer["checked"]["objects"]


# --- after crashes --------------------------------------------------------------------------------------


def write_and_fail(archive: Open, prefix: str) -> None:
    """A capture writer whose store no longer creates anything under a prefix."""
    plan = FaultPlan()
    archive.core.store = FaultyStore(archive.core.store, plan)
    slots = Slots(archive.core.store, archive.tenant.id, "capture", archive.core.clock, lambda _: True, QUICK)
    writer = archive.writer(slots)
    try:
        writer.open()
        plan.fail("create", prefix=prefix, times=None)
        for each in [writer.submit(archive.draft(), mail(n)) for n in (1, 2)]:
            with pytest.raises(ArchiveError):
                each.result(PATIENCE)
    finally:
        writer.close()


def checkpoint_and_fail(archive: Open, prefix: str) -> None:
    plan = FaultPlan()
    plan.fail("create", prefix=prefix, times=None)
    writer = LedgerWriter(FaultyStore(archive.core.store, plan), archive.core.clock, QUICK)
    with pytest.raises(StoreError):
        Checkpointer(writer, archive.core.archive, lambda: [archive.tenant.keyring]).run_once()


def orphan_objects(archive: Open, copy: Copy) -> None:
    write_and_fail(archive, f"ledger/{copy.of.captures}/batch/")


def key_record_without_object(archive: Open, copy: Copy) -> None:
    write_and_fail(archive, f"objects/{copy.of.captures}/")


def batch_not_ordered(archive: Open, copy: Copy) -> None:
    archive.write([mail(1), mail(2)])


def ordered_but_not_projected(archive: Open, copy: Copy) -> None:
    archive.follow()
    archive.write([mail(1), mail(2)])
    orderer = archive.follower._orderer
    assert orderer is not None and orderer.step().taken


def rows_but_no_documents(archive: Open, copy: Copy) -> None:
    ordered_but_not_projected(archive, copy)
    projector = archive.follower._projector
    assert projector._next(archive.catalog.position()) > archive.catalog.position().indexed


def documents_not_noted(archive: Open, copy: Copy) -> None:
    """The index was written; that it covers the rows was not."""
    rows_but_no_documents(archive, copy)
    before = archive.catalog.position()
    archive.follow()
    archive.catalog.indexed(before.indexed)


def checkpoint_without_anchor(archive: Open, copy: Copy) -> None:
    archive.write([mail(1)])
    checkpoint_and_fail(archive, f"ledger/{copy.of.root}/batch/")


def anchor_without_root_checkpoint(archive: Open, copy: Copy) -> None:
    archive.write([mail(1)])
    checkpoint_and_fail(archive, f"ledger/{copy.of.root}/checkpoint/")


def tiles_without_checkpoint(archive: Open, copy: Copy) -> None:
    archive.access(250)
    checkpoint_and_fail(archive, f"ledger/{copy.of.access}/checkpoint/")
    assert f"ledger/{copy.of.access}/tile/0/001" in copy.names(f"ledger/{copy.of.access}/tile")


def tile_without_its_bundle(archive: Open, copy: Copy) -> None:
    archive.access(250)
    checkpoint_and_fail(archive, f"ledger/{copy.of.access}/tile/entries/")


def generation_in_one_place_only(archive: Open, copy: Copy) -> None:
    copy.delete(f"keys/b/{copy.of.tenant}/generations/00000002")


def torn_retention_journal(archive: Open, copy: Copy) -> None:
    folder = copy.path(copy.objects(copy.of.captures)[0]).parent
    with (folder / ".locks").open("ab") as file:
        file.write(b'{"a":"create","h":fal')


def temporary_files(archive: Open, copy: Copy) -> None:
    for folder in (".tmp", "keys/a/.tmp", "keys/b/.tmp"):
        (copy.data / folder / "0123-4").write_bytes(b"half an obj")


def tenant_half_made(archive: Open, copy: Copy) -> None:
    """Keys, but no log yet."""
    shutil.copytree(copy.data / f"keys/a/{copy.of.tenant}/secrets", copy.data / f"keys/a/{'0' * 20}/secrets")


CRASHES: dict[str, tuple[Callable[[Open, Copy], None], set[str]]] = {
    "orphan-objects": (orphan_objects, {"orphan"}),
    "key-record-without-object": (key_record_without_object, {"orphan"}),
    "batch-not-ordered": (batch_not_ordered, set()),
    "ordered-but-not-projected": (ordered_but_not_projected, set()),
    "rows-but-no-documents": (rows_but_no_documents, set()),
    "documents-not-noted": (documents_not_noted, set()),
    "checkpoint-without-anchor": (checkpoint_without_anchor, {"checkpoint"}),
    "anchor-without-root-checkpoint": (anchor_without_root_checkpoint, set()),
    "tiles-without-checkpoint": (tiles_without_checkpoint, set()),
    "tile-without-its-bundle": (tile_without_its_bundle, set()),
    "generation-in-one-place-only": (generation_in_one_place_only, {"key"}),
    "torn-retention-journal": (torn_retention_journal, set()),
    "temporary-files": (temporary_files, set()),
    "tenant-half-made": (tenant_half_made, set()),
}


@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_filesystem_is_not_damage(name: str, copy: Copy) -> None:
    crash, whats = CRASHES[name]
    archive = opened(copy.data)
    try:
        crash(archive, copy)
    finally:
        archive.close()
    assert {found["what"] for found in notes(copy)} == whats


@pytest.mark.parametrize("name", ["orphan-objects", "checkpoint-without-anchor", "tiles-without-checkpoint"])
def test_after_a_crash_the_next_process_goes_on(name: str, copy: Copy) -> None:
    """And what it makes good is no longer noted."""
    archive = opened(copy.data)
    try:
        CRASHES[name][0](archive, copy)
    finally:
        archive.close()
    again = opened(copy.data)
    try:
        again.write([mail(50)])
        again.follow()
        make_checkpointer(again.core).run_once()
    finally:
        again.close()
    assert {found["what"] for found in notes(copy)} <= {"orphan"}


# --- samples --------------------------------------------------------------------------------------------


def read_by(copy: Copy, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> list[int]:
    """Which captures of the tenant a verify reads, by seq."""
    found: list[int] = []
    real = contents.open_capture

    def spy(store: Any, keyring: Any, log: Any, fields: dict[str, Any]) -> Any:
        if log == copy.of.captures:
            found.append(int(fields["seq"]))
        return real(store, keyring, log, fields)

    with monkeypatch.context() as patched:
        patched.setattr(contents, "open_capture", spy)
        assert verify(copy.data, *arguments).code == 0
    return found


def test_a_sample_is_a_share_and_its_seed_decides_which(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = read_by(copy, monkeypatch)
    one = read_by(copy, monkeypatch, "--sample", 0.4)
    same = read_by(copy, monkeypatch, "--sample", 0.4, "--seed", 0)
    other = read_by(copy, monkeypatch, "--sample", 0.4, "--seed", 1)
    assert one == same != other
    assert set(one) < set(everything) and 0 < len(one) < len(everything)


def test_what_is_not_sampled_is_counted(copy: Copy) -> None:
    checked = verify(copy.data, "--sample", 0).answer["checked"]
    assert checked["not_sampled"] == checked["objects"] > 0
    assert checked["keys"] == verify(copy.data).answer["checked"]["keys"]


def test_a_sample_of_nothing_still_sees_the_ledger(copy: Copy) -> None:
    copy.delete(copy.batches(copy.of.captures)[1])
    assert verify(copy.data, "--sample", 0).code == 1


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan", "half"])
def test_a_share_that_is_none_is_wrong_use(copy: Copy, share: str) -> None:
    assert run("verify", "--data", copy.data, f"--sample={share}").code == 2


# --- progress and interrupts ----------------------------------------------------------------------------


def interrupt_after(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """The operator's ^C comes while progress is shown for the ``calls``-th time."""

    def progress(self: Output, total: int | None, unit: str) -> Any:
        left = [calls]

        def move(place: int) -> None:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        return move, lambda: None

    monkeypatch.setattr(Output, "progress", progress)


def test_progress_is_shown(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[int] = []
    ended: list[bool] = []
    monkeypatch.setattr(Output, "progress", lambda *_: (places.append, lambda: ended.append(True)))
    said = verify(copy.data)
    assert places == sorted(places) and places[-1] == said.answer["checked"]["entries"]
    assert ended == [True]


def test_a_resumed_run_does_not_read_again(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    captures = len(copy.entries(copy.of.captures))
    kept: dict[str, int] = {}
    for calls in range(1, 20):  # which log comes when depends on random names
        with monkeypatch.context() as patched:
            interrupt_after(patched, calls)
            assert run("verify", "--data", copy.data, "--json").code == 130
        kept = json.loads((copy.data / "run" / "verify.json").read_text())["marks"]
        if kept.get(str(copy.of.captures)) == captures:
            break
    assert kept[str(copy.of.captures)] == captures
    assert read_by(copy, monkeypatch, "--resume") == []
    assert len(read_by(copy, monkeypatch, "--resume")) > 0  # nothing to resume any more


@pytest.mark.parametrize("calls", range(1, 8))
def test_resumed_wherever_it_was_interrupted_it_says_the_same(
    copy: Copy, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    captures = [entry for entry in copy.entries(copy.of.captures) if entry["type"] == "capture"]
    copy.flip(captures[0]["object"]["key"])
    copy.flip(captures[-1]["object"]["key"])
    copy.flip(copy.record(copy.of.captures, captures[3]["capture"], "b"))
    copy.delete(copy.checkpoints(copy.of.order)[0])
    whole = verify(copy.data)
    with monkeypatch.context() as patched:
        interrupt_after(patched, calls)
        assert run("verify", "--data", copy.data, "--json").code == 130
    resumed = verify(copy.data, "--resume")

    def plain(problems: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps(each, sort_keys=True) for each in problems)

    assert plain(resumed.problems) == plain(whole.problems)
    assert not (copy.data / "run" / "verify.json").exists()


def test_interrupted_twice_it_does_not_fall_back(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    state = copy.data / "run" / "verify.json"
    with monkeypatch.context() as patched:
        interrupt_after(patched, 6)
        run("verify", "--data", copy.data)
    first = json.loads(state.read_text())["marks"]
    with monkeypatch.context() as patched:
        interrupt_after(patched, 1)
        run("verify", "--data", copy.data, "--resume")
    second = json.loads(state.read_text())["marks"]
    assert first and all(second[log] >= seq for log, seq in first.items())


def test_progress_is_saved_on_the_way(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that ``kill -9`` costs little."""
    monkeypatch.setattr(verify_state, "_SAVE_EVERY", -1.0)
    saved: list[int] = []
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if Path(target).name == "verify.json":
            saved.append(len(json.loads(self.read_text())["marks"]))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    verify(copy.data)
    assert saved == sorted(saved) and saved[0] < saved[-1]


def test_a_resumed_run_must_be_of_the_same_kind(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        interrupt_after(patched, 3)
        run("verify", "--data", copy.data, "--sample", 0.5, "--seed", 7)
    said = run("verify", "--data", copy.data, "--resume", "--json")
    assert said.code == 2 and said.answer["error"]["code"] == "verify.resume"
    assert verify(copy.data, "--resume", "--sample", 0.5, "--seed", 7).code == 0


@pytest.mark.parametrize(
    "state",
    ["", "[]", "{}", '{"how": 1, "marks": [], "problems": []}', '{"marks": {}, "problems": [1]}', "[" * 5000],
)
def test_a_state_that_cannot_be_read_is_said(copy: Copy, state: str) -> None:
    (copy.data / "run" / "verify.json").write_text(state)
    said = run("verify", "--data", copy.data, "--resume", "--json")
    assert said.code == 2 and said.answer["error"]["code"] == "verify.resume"
    assert verify(copy.data).code == 0  # and it does not matter to whoever starts anew


def test_a_state_that_cannot_be_written_does_not_stop_the_run(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_state, "_SAVE_EVERY", -1.0)
    (copy.data / "run" / "verify.new").mkdir()  # where the state's file should be
    said = verify(copy.data)
    assert said.code == 0
    assert [found["what"] for found in said.problems if "log" not in found] == ["store"]


def test_nothing_to_resume_is_a_whole_run(copy: Copy) -> None:
    assert verify(copy.data, "--resume").answer["checked"]["objects"] > 0
