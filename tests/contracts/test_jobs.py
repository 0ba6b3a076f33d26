"""The contract of Jobs, over every back end."""

import dataclasses
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import literal_column, update

from archive_service.catalog import tables
from archive_service.catalog.base import Job
from archive_service.catalog.jobs import SqlJobs
from archive_service.catalog.sealed_jobs import SealedJobs
from archive_service.model.errors import AlreadyExists, NotFound
from tests.services.postgres import new_owner, postgres_url

__all__ = ["postgres_url"]


class Clock:
    def __init__(self):
        self.now = datetime(2024, 3, 1, tzinfo=UTC)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["sqlite", "postgres"])
def open_jobs(request, tmp_path, clock):
    """Opens the same jobs at each call."""
    opened = []
    owner = new_owner()

    def open_one():
        if request.param == "sqlite":
            opened.append(SqlJobs.sqlite(tmp_path / "projections" / "jobs.sqlite", clock))
        else:
            url = request.getfixturevalue("postgres_url")
            opened.append(SqlJobs.postgres(url, owner, clock, connections=4))
        return opened[-1]

    yield open_one
    for jobs in opened:
        jobs.close()


@pytest.fixture
def jobs(open_jobs):
    return open_jobs()


def test_what_ended_long_ago_is_forgotten_and_nothing_else(jobs, clock):
    for name in ("done", "failed", "running", "queued", "later"):
        jobs.add(job(name, created_at="2024-01-01T00:00:00.000000Z"))
    for name, state in (("done", "done"), ("failed", "failed"), ("running", "running")):
        jobs.update(dataclasses.replace(jobs.get(name), state=state))
    jobs.add(job("never", state="cancelled", created_at="2024-01-01T00:00:00.000000Z"))
    clock.now += timedelta(days=30)
    jobs.update(dataclasses.replace(jobs.get("later"), state="done"))
    assert jobs.trim("2024-03-01T00:00:00.000000Z") == 1, "the one that no worker ever had"
    assert jobs.trim("2024-03-02T00:00:00.000000Z") == 2
    assert jobs.trim("2024-03-02T00:00:00.000000Z") == 0
    assert {each.id for each in jobs.list(10)} == {"running", "queued", "later"}


def job(name, kind="export", **more):
    return Job(id=name, kind=kind, actor="anne", request={"query": "contrat"}, **more)


def test_a_job_is_kept_as_added(open_jobs):
    open_jobs().add(job("j1"))
    again = open_jobs()
    assert again.get("j1") == job("j1", created_at="2024-03-01T00:00:00.000000Z")
    assert again.get("j2") is None


def test_an_id_is_taken_once(jobs):
    jobs.add(job("j1"))
    with pytest.raises(AlreadyExists):
        jobs.add(job("j1"))


def test_claims_give_the_oldest_of_the_kinds_and_each_once(jobs):
    for name, kind in (("j1", "export"), ("j2", "other"), ("j3", "export"), ("j4", "import")):
        jobs.add(job(name, kind))
    claimed = [jobs.claim(["export", "import"]) for _ in range(4)]
    assert [one and (one.id, one.state) for one in claimed] == [
        ("j1", "running"),
        ("j3", "running"),
        ("j4", "running"),
        None,
    ]
    assert jobs.get("j2").state == "queued"
    assert jobs.claim([]) is None


def test_a_job_whose_worker_went_silent_is_claimed_again(jobs, clock):
    jobs.add(job("j1"))
    claimed = jobs.claim(["export"])
    clock.now += timedelta(seconds=50)
    jobs.update(dataclasses.replace(claimed, done=1, total=9))  # renews the lease
    clock.now += timedelta(seconds=60)
    assert jobs.claim(["export"]) is None
    clock.now += timedelta(microseconds=1)
    again = jobs.claim(["export"])
    assert (again.id, again.state, again.done, again.total) == ("j1", "running", 1, 9)
    assert jobs.claim(["export"]) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "../../../srv/other"},
        {"id": "/srv/other"},
        {"id": ".."},
        {"id": "j1/../../x"},
        {"id": ""},
        {"id": "j\0"},
        {"id": "x" * 65},
        {"request": literal_column("'{'")},
        {"request": literal_column("'[]'")},
        {"request": literal_column("'\"text\"'")},
        {"result": literal_column("'" + "[" * 100_000 + "'")},
        {"actor": literal_column("'\x01'")},
    ],
    ids=lambda wrong: str(next(iter(wrong.items())))[:30].encode("ascii", "replace").decode(),
)
def test_tamper_a_row_that_is_no_job_fails_and_keeps_nobody_waiting(jobs, wrong):
    """Workers name files by a job's id: it must not lead out of their folder."""
    jobs.add(job("j1"))
    jobs.add(job("j2"))
    jobs._database.write(
        lambda connection: connection.execute(
            update(tables.jobs).where(tables.jobs.c.id == "j1").values(**wrong)
        )
    )
    claimed = jobs.claim(["export"])
    assert claimed is not None and claimed.id == "j2"
    assert jobs.claim(["export"]) is None
    if "actor" not in wrong:
        assert [one.state for one in jobs.list(5)] == ["running", "failed"]


def test_updates_are_kept(jobs):
    jobs.add(job("j1"))
    claimed = jobs.claim(["export"])
    done = dataclasses.replace(claimed, state="done", done=3, total=3, result={"size": 12, "nothing": None})
    jobs.update(done)
    assert jobs.get("j1") == done
    assert jobs.claim(["export"]) is None


def test_a_job_that_ended_stays_as_it_ended(jobs, clock):
    jobs.add(job("j1"))
    claimed = jobs.claim(["export"])
    jobs.update(dataclasses.replace(claimed, state="cancelled"))
    jobs.update(dataclasses.replace(claimed, done=5))
    clock.now += timedelta(hours=1)
    assert jobs.claim(["export"]) is None
    assert (jobs.get("j1").state, jobs.get("j1").done) == ("cancelled", 0)


def test_updating_what_is_not_there_says_so(jobs):
    with pytest.raises(NotFound):
        jobs.update(job("j1"))


def test_list_is_newest_first(jobs):
    for n in range(5):
        jobs.add(job(f"j{n}"))
    assert [one.id for one in jobs.list(3)] == ["j4", "j3", "j2"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"actor": "bob"},
        {"request": {"query": "*"}},
        {"id": "j3"},
        {"kind": "other"},
        {"created_at": "2020-01-01T00:00:00Z"},
        {"request": "that of another job"},
    ],
    ids=str,
)
def test_tamper_only_who_has_the_secret_can_ask_for_a_job(jobs, wrong):
    sealed = SealedJobs(jobs, lambda: b"secret")
    for name in ("j0", "j1", "j2"):
        sealed.add(job(name))
    assert sealed.claim(["export"]) == sealed.get("j0")
    if wrong.get("request") == "that of another job":
        wrong = {"request": jobs.get("j0").request}
    jobs._database.write(
        lambda connection: connection.execute(
            update(tables.jobs).where(tables.jobs.c.id == "j1").values(**wrong)
        )
    )
    jobs.add(job("forged"))
    kinds = ["export", "other"]
    claimed = sealed.claim(kinds)
    assert claimed == dataclasses.replace(job("j2"), state="running", created_at=claimed.created_at)
    assert sealed.claim(kinds) is None
    states = {one.id: (one.state, (one.error or "")[:10]) for one in sealed.list(9)}
    assert states[wrong.get("id", "j1")] == states["forged"] == ("failed", "job.forged")
    assert all(one.request in ({"query": "contrat"}, {"query": "*"}) for one in sealed.list(9))


def test_list_leaves_out_results_which_may_name_every_message(jobs):
    jobs.add(job("j1"))
    jobs.update(dataclasses.replace(job("j1"), state="done", result={"messages": ["m1"]}))
    assert jobs.list(1) == [dataclasses.replace(jobs.get("j1"), result=None)]
    assert jobs.get("j1").result == {"messages": ["m1"]}


def test_threads_never_claim_the_same_job(open_jobs):
    jobs = open_jobs()
    names = {f"j{n}" for n in range(40)}
    for name in sorted(names):
        jobs.add(job(name))

    def work(own):
        claimed = []
        while one := own.claim(["export"]):
            claimed.append(one.id)
        return claimed

    with ThreadPoolExecutor(4) as pool:
        claimed = [name for part in pool.map(work, [jobs, jobs, open_jobs(), open_jobs()]) for name in part]
    assert sorted(claimed) == sorted(names)


def test_sqlite_processes_never_claim_the_same_job(tmp_path):
    path = tmp_path / "jobs.sqlite"
    jobs = SqlJobs.sqlite(path)
    for n in range(30):
        jobs.add(job(f"j{n}"))
    program = (
        "import sys, pathlib\n"
        "from archive_service.catalog.jobs import SqlJobs\n"
        "jobs = SqlJobs.sqlite(pathlib.Path(sys.argv[1]))\n"
        "while job := jobs.claim(['export']):\n"
        "    print(job.id)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    claimed = [name for process in running for name in process.communicate()[0].split()]
    jobs.close()
    assert sorted(claimed) == sorted(f"j{n}" for n in range(30))


def test_an_export_that_expired_keeps_nothing_of_what_was_asked_or_made(jobs):
    for name, state in (("done", "done"), ("running", "running"), ("queued", "queued"), ("failed", "failed")):
        result = {"capture_ids": [name]} if state == "done" else None
        jobs.add(Job(name, "export", "anne", {"query": "zebrasubject"}, state=state, result=result))
    jobs.add(Job("import", "import", "anne", {}, state="done"))
    assert [each.id for each in jobs.standing("export")] == ["done", "running"]
    assert next(jobs.standing("export")).result == {"capture_ids": ["done"]}
    for name in ("done", "running", "queued", "failed", "nowhere"):
        jobs.expire(name, "2026-03-01T00:00:00.000000Z")
    jobs.scrub()
    assert [each.id for each in jobs.standing("export")] == ["running"]
    gone = jobs.get("done")
    assert (gone.state, gone.request, gone.result) == (
        "done",
        {},
        {"expired_at": "2026-03-01T00:00:00.000000Z"},
    )
    assert {jobs.get(name).request["query"] for name in ("running", "queued", "failed")} == {"zebrasubject"}
    jobs.update(dataclasses.replace(gone, result={"messages": ["m1"]}))
    assert jobs.get("done").result == gone.result, "it stays as it ended"
