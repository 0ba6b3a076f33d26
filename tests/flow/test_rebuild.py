"""Rebuild from ledger, objects, key places and key service alone: row for row what was lost, whatever cuts it off."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archive_service.api.views import access_entry_view
from archive_service.bootstrap import open_core
from archive_service.catalog.base import Job
from archive_service.catalog.jobs import SqlJobs
from archive_service.engines import projections, rebuilding
from archive_service.settings import Settings
from archive_service.tenant_services import open_tenant
from search.indexes.tantivy_index import TantivyIndex
from tests.flow.archive_fixtures import Copy, built, copy, mail, opened, run, verify

__all__ = ["built", "copy"]

TENANTS = ("acme", "beta")


class Cut(BaseException):
    """The process ends here, as far as the code is concerned."""


def tables(data: Path, owner: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of a catalog."""
    with sqlite3.connect(data / "projections" / owner / "catalog.sqlite") as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: sorted(db.execute(f"SELECT * FROM {name}"), key=repr) for name in names}
        found["position"] = [row[:-1] for row in found["position"]]  # ``born`` tells one catalog from another
    db.close()
    return found


def index_of(data: Path, owner: str) -> tuple[dict[str, int], dict[tuple[str, int], str], dict[str, str]]:
    """Ids and versions, documents, and the words that find them."""
    index = TantivyIndex(data / "projections" / owner / "index")
    return index.ids(), index.documents(), index.words()


def acts_and_access(data: Path) -> list[Any]:
    """The acts as state, and what ``GET /v1/access-log`` answers from, of every tenant."""
    core = open_core(Settings(data=data))
    found: list[Any] = []
    try:
        for name in TENANTS:
            tenant = core.tenant(name)
            found += [tenant.acts.kind, tenant.acts.name, tenant.acts.seen, tenant.acts.sources()]
            found += [dict(tenant.acts._bates), vars(tenant.acts.erasures)]
            access = open_tenant(core, tenant)
            try:
                records, following = access.services.access_log.newest(1000)
            finally:
                access.close()
            assert following is None
            found.append([access_entry_view(record).model_dump(mode="json") for record in records])
    finally:
        core.close()
    return found


def everything(copy: Copy) -> list[Any]:
    """All that a rebuild has to give again."""
    owners = (copy.of.tenant, copy.of.other)
    made = [(tables(copy.data, owner), index_of(copy.data, owner)) for owner in owners]
    return [*made, acts_and_access(copy.data)]


def used(copy: Copy) -> Copy:
    """The archive after searches and an export, all of it followed."""
    assert run("search", "*", "--tenant", "beta", "--data", copy.data).code == 0
    assert (
        run("search", "essai OR devis", "--tenant", "acme", "--data", copy.data, "--purpose", "audit").code
        == 0
    )
    target = copy.data.parent / "bundle.zip"
    said = run("export", "subject:essai", "--tenant", "acme", "--data", copy.data, "-o", target)
    assert said.code == 0, said.err
    assert run("search", "*", "--tenant", "acme", "--data", copy.data).code == 0
    return copy


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many stretches and windows in a small archive."""
    monkeypatch.setattr(rebuilding, "_STRETCH", 7)
    monkeypatch.setattr(rebuilding, "_WINDOW", 3)


def add_job(copy: Copy) -> None:
    jobs = SqlJobs.sqlite(copy.data / "projections" / copy.of.tenant / "jobs.sqlite")
    jobs.add(Job(id="j1", kind="export", actor="anne", request={}, created_at="2026-01-01T00:00:00.000000Z"))
    jobs.close()


def jobs_of(copy: Copy) -> list[str]:
    jobs = SqlJobs.sqlite(copy.data / "projections" / copy.of.tenant / "jobs.sqlite")
    try:
        return [job.id for job in jobs.list(10)]
    finally:
        jobs.close()


def lose(data: Path) -> None:
    for name in ("projections", "run", "exports"):
        shutil.rmtree(data / name)


# --- equal to what was lost ----------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 4])
def test_rebuild_gives_row_for_row_what_was_lost(copy: Copy, jobs: int) -> None:
    before = everything(used(copy))
    assert len(before[0][0]["captures"]) > 15 and len(before[0][0]["messages"]) > 10
    assert before[1][0]["captures"] and before[-1][6]
    lose(copy.data)
    said = run("rebuild", "--jobs", jobs, "--data", copy.data, "--json")
    assert said.code == 0
    assert set(said.answer["projected"]) == set(TENANTS)
    assert everything(copy) == before
    assert verify(copy.data).answer["clean"]


def test_rebuild_in_small_steps_gives_the_same(copy: Copy, small_steps: None) -> None:
    before = everything(used(copy))
    lose(copy.data)
    assert run("rebuild", "--data", copy.data).code == 0
    assert everything(copy) == before


def test_a_second_rebuild_leaves_nothing_beside(copy: Copy) -> None:
    before = everything(used(copy))
    assert run("rebuild", "--data", copy.data).code == 0
    assert everything(copy) == before
    left = {path.name for path in (copy.data / "projections").iterdir()}
    assert left >= {copy.of.tenant, copy.of.other}
    assert not [name for name in left if name.endswith((".next", ".old"))]


def test_jobs_survive_a_rebuild(copy: Copy) -> None:
    used(copy)
    add_job(copy)
    assert run("rebuild", "--data", copy.data).code == 0
    assert jobs_of(copy) == ["j1"]


@pytest.mark.parametrize("jobs", [0, 257])
def test_jobs_out_of_bounds_are_wrong_use(copy: Copy, jobs: int) -> None:
    assert run("rebuild", "--jobs", jobs, "--data", copy.data).code == 2


# --- cut off -------------------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from archive_service.engines import rebuilding
from archive_service.catalog.sql import SqlCatalog
from archive_service.cli import main
rebuilding._STRETCH, rebuilding._WINDOW = 7, 3
seen, whole = 0, rebuilding.Replay._index_up_to
def at(self, *given):
    global seen
    seen += 1
    if seen == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    whole(self, *given)
rebuilding.Replay._index_up_to = at
applied, rows = 0, SqlCatalog.apply
def apply(self, changes):
    global applied
    rows(self, changes)
    applied += 1
    if applied == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
SqlCatalog.apply = apply
sys.exit(main(["rebuild", "--tenant", "acme", "--data", sys.argv[3]]))
"""


def killed(data: Path, documents: int, rows: int) -> None:
    """A rebuild in its own process, killed before its n-th stretch of documents or after its n-th of rows."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(documents), str(rows), str(data)], cwd=Path.cwd()
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("documents", "rows"), [(2, 0), (4, 0), (0, 1), (0, 3)])
def test_a_killed_rebuild_leaves_what_stood_and_is_taken_up(
    copy: Copy, documents: int, rows: int, small_steps: None
) -> None:
    before = everything(used(copy))
    killed(copy.data, documents, rows)
    assert everything(copy) == before  # the old ones still serve
    assert (copy.data / "projections" / f"{copy.of.tenant}.next").is_dir()
    said = run("rebuild", "--resume", "--tenant", "acme", "--data", copy.data, "--json")
    assert said.code == 0
    assert said.answer["resumed"]["acme"] > 0
    assert everything(copy) == before


def test_a_killed_rebuild_may_be_forgotten(copy: Copy) -> None:
    before = everything(used(copy))
    killed(copy.data, 4, 0)
    said = run("rebuild", "--afresh", "--tenant", "acme", "--data", copy.data, "--json")
    assert said.code == 0 and "resumed" not in said.answer
    assert everything(copy) == before


@pytest.mark.parametrize("lost", ["index", "catalog.sqlite", "meta"])
def test_a_half_built_one_that_lost_something_is_made_good(copy: Copy, lost: str, small_steps: None) -> None:
    before = everything(used(copy))
    killed(copy.data, 4, 0)
    half = copy.data / "projections" / f"{copy.of.tenant}.next"
    if lost == "index":
        shutil.rmtree(half / "index")
    elif lost == "meta":
        (half / "index" / "meta.json").write_text("{")
    else:
        (half / lost).write_bytes(b"no database at all, but long enough to be looked at" * 40)
    assert run("rebuild", "--tenant", "acme", "--data", copy.data).code == 0
    assert everything(copy) == before


def test_a_failed_rebuild_leaves_what_stood(copy: Copy) -> None:
    before = everything(used(copy))
    for place in "ab":
        shutil.rmtree(copy.data / "keys" / place / copy.of.tenant / "generations")
    said = run("rebuild", "--tenant", "acme", "--data", copy.data, "--json")
    assert said.code == 1 and said.answer["error"]["code"] == "key.unavailable"
    assert [tables(copy.data, copy.of.tenant), index_of(copy.data, copy.of.tenant)] == list(before[0])


@pytest.mark.parametrize("step", range(1, 7))
@pytest.mark.parametrize("done", [False, True], ids=["lost", "kept"])
def test_a_swap_that_is_cut_off_heals_at_the_next_opening(
    copy: Copy, monkeypatch: pytest.MonkeyPatch, step: int, done: bool
) -> None:
    """Cut before (lost) or right after (kept) every change of the disk after the marker."""
    before = everything(used(copy))
    add_job(copy)
    count = 0

    def cutting(whole: Callable[..., Any]) -> Callable[..., Any]:
        def act(*given: Any, **named: Any) -> Any:
            nonlocal count
            if not (projections._under_way(live) or count):
                return whole(*given, **named)
            count += 1
            if count == step and not done:
                raise Cut
            result = whole(*given, **named)
            if count == step:
                raise Cut
            return result

        return act

    live = copy.data / "projections" / copy.of.tenant
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cutting(Path.rename))
        patch.setattr(projections, "_sync", cutting(projections._sync))
        patch.setattr(projections.shutil, "rmtree", cutting(shutil.rmtree))
        with pytest.raises(Cut):
            run("rebuild", "--tenant", "acme", "--data", copy.data)
    opened(copy.data).close()
    assert everything(copy) == before
    assert jobs_of(copy) == ["j1"]
    assert not projections.next_to(live).exists() and not (live / "complete").exists()


def test_what_was_made_between_the_renames_gives_way(copy: Copy) -> None:
    """A process that does not know of the swap made the folder anew meanwhile."""
    before = everything(used(copy))
    live = copy.data / "projections" / copy.of.tenant
    shutil.copytree(live, projections.next_to(live))
    (projections.next_to(live) / "complete").touch()
    live.rename(live.with_name(f"{live.name}.old"))
    live.mkdir()
    (live / "catalog.sqlite").touch()
    assert everything_opened(copy) == before


def everything_opened(copy: Copy) -> list[Any]:
    core = open_core(Settings(data=copy.data))
    try:
        core.engines.live(copy.of.tenant).close()
    finally:
        core.close()
    return everything(copy)


# --- what cannot be read -------------------------------------------------------------------------------


def damage_finding(copy: Copy) -> None:
    """One capture's key record goes from both places: its finding opens no more."""
    (capture, *_) = [entry for entry in copy.entries(copy.of.captures) if entry["type"] == "capture"][3:]
    copy.delete(copy.record(copy.of.captures, capture["capture"], "a"))
    copy.delete(copy.record(copy.of.captures, capture["capture"], "b"))


@pytest.mark.parametrize("way", ["key", "object"])
def test_tamper_a_damaged_finding_is_counted_and_the_rest_rebuilt(copy: Copy, way: str) -> None:
    before = tables(copy.data, copy.of.tenant)["captures"]
    if way == "key":
        damage_finding(copy)
    else:
        key = next(iter(copy.objects(copy.of.order)))
        copy.flip(key)
    said = run("rebuild", "--tenant", "acme", "--data", copy.data, "--json")
    assert said.code == 1
    lost = said.answer["unreadable"]["acme"]
    after = tables(copy.data, copy.of.tenant)["captures"]
    assert lost > 0 and len(after) == len(before) - lost
    assert set(map(repr, after)) < set(map(repr, before))


def test_tamper_a_resumed_rebuild_still_counts_what_is_damaged(copy: Copy, small_steps: None) -> None:
    damage_finding(copy)
    killed(copy.data, 0, 3)
    said = run("rebuild", "--tenant", "acme", "--data", copy.data, "--json")
    assert said.answer["resumed"]["acme"] > 0
    whole = run("rebuild", "--tenant", "acme", "--data", copy.data, "--json")
    assert said.code == whole.code == 1
    assert said.answer["unreadable"] == whole.answer["unreadable"]


# --- the drill -----------------------------------------------------------------------------------------


def drill(copy: Copy, code: int) -> list[dict[str, Any]]:
    said = run("rebuild", "--drill", "--tenant", "acme", "--data", copy.data, "--json")
    assert said.code == code, said.out + said.err
    assert said.answer["same"] == (code == 0)
    assert not list((copy.data / "projections").glob("*.drill*"))
    problems: list[dict[str, Any]] = said.answer["problems"]
    return problems


def edit(copy: Copy, *statements: str) -> None:
    with sqlite3.connect(copy.data / "projections" / copy.of.tenant / "catalog.sqlite") as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def test_a_drill_beside_a_running_follower_finds_no_difference(copy: Copy) -> None:
    service = opened(copy.data)
    try:
        assert service.core.leases.take("follower")
        before = everything_of(copy)
        assert drill(copy, 0) == []
        assert everything_of(copy) == before
    finally:
        service.close()


def everything_of(copy: Copy) -> list[Any]:
    return [tables(copy.data, copy.of.tenant), index_of(copy.data, copy.of.tenant)]


def test_a_drill_beside_a_follower_that_goes_on(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after the position that the drill saw is not held against the live ones."""
    service = opened(copy.data)
    built_so_far = rebuilding.Replay.run_to

    def meanwhile(replay: rebuilding.Replay, rows: int) -> None:
        built_so_far(replay, rows)
        service.write([mail(50), mail(2)])  # a new message, and one more capture of a known one
        service.follow()

    monkeypatch.setattr(rebuilding.Replay, "run_to", meanwhile)
    try:
        assert drill(copy, 0) == []
    finally:
        service.close()


def test_tamper_a_drill_names_an_edited_row(copy: Copy) -> None:
    edit(
        copy,
        "UPDATE messages SET content = replace(content, 'essai 8', 'essai 9') WHERE content LIKE '%essai 8%'",
    )
    (problem,) = drill(copy, 1)
    assert problem["what"] == "row" and problem["name"].startswith("messages:m")


def test_tamper_a_drill_names_a_deleted_row(copy: Copy) -> None:
    edit(copy, "DELETE FROM captures WHERE seq = (SELECT max(seq) FROM captures)")
    assert any(problem["name"].startswith("captures:") for problem in drill(copy, 1))


def test_tamper_a_drill_names_a_changed_document(copy: Copy) -> None:
    folder = copy.data / "projections" / copy.of.tenant / "index"
    written: list[Any] = []
    index = TantivyIndex(folder)
    core = open_core(Settings(data=copy.data))
    try:
        with rebuilding._opened(core, core.tenant("acme"), "other", 1, lambda done: None) as building:
            made = building.pair.index
            keep = made.write
            made.write = lambda documents: (written.extend(documents), keep(documents))[1]  # type: ignore[method-assign]
            building.replay.run()
    finally:
        core.close()
    victim = next(document for document in written if "bonjour" in document.body)
    index.write([replace(victim, body="au revoir")])
    index.close()
    problems = drill(copy, 1)
    assert {problem["what"] for problem in problems} == {"index"}
    assert victim.id in {problem["name"] for problem in problems}
    assert "field body" in {problem["name"] for problem in problems}


def test_what_a_killed_drill_left_is_removed(copy: Copy) -> None:
    left = copy.data / "projections" / f"{copy.of.tenant}.drill"
    left.mkdir()
    (left / "catalog.sqlite").touch()
    assert drill(copy, 0) == []


def test_a_drill_without_a_catalog_says_so(copy: Copy) -> None:
    shutil.rmtree(copy.data / "projections")
    assert "no catalog" in json.dumps(drill(copy, 1))
