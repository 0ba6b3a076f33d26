"""Finished exports go with the mail that is in them: what is erased is in no file that the archive keeps."""

import zipfile
from pathlib import Path

import pytest

from archive_service.bootstrap import open_core
from archive_service.catalog.base import Job
from archive_service.catalog.jobs import SqlJobs
from archive_service.disposal import expiring
from archive_service.disposal.disposing import advance
from archive_service.disposal.erasing import run_batch
from archive_service.disposal.expiring import Expiring
from archive_service.exporting import write_bundle
from archive_service.model.errors import StoreError
from archive_service.model.grounds import KeepGround
from archive_service.serving.scheduler import Scheduler
from retention.keeping import lift_keep, place_keep
from tests.flow.archive_fixtures import have_erased, no_settings_around
from tests.flow.test_compartments import found
from tests.flow.test_disposition import WORD, archived, at_once, decided, forward, holding, state

__all__ = ["at_once", "no_settings_around"]


def asked(api, *subjects, **more):
    """An export of these messages, queued."""
    ids = {hit["subject"]: hit["id"] for hit in found(api, "legal", "zoe")["hits"]}
    body = {"ids": [ids[subject] for subject in subjects], "formats": ["bundle"]} | more
    answer = api.call("POST", "/v1/exports", "legal", "zoe", **body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def made(api, *subjects, **more):
    """The same, finished."""
    job = asked(api, *subjects, **more)
    work(api)
    assert said(api, job)["state"] == "done", said(api, job)
    return job


def work(api):
    """As the scheduler's process does: it opens the archive for itself."""
    core = open_core(api.settings)
    scheduler = Scheduler(core, api.pool)
    try:
        while scheduler.step():
            continue
    finally:
        scheduler.close()
        core.close()


def said(api, job):
    answer = api.call("GET", f"/v1/exports/{job}", "legal", "zoe")
    assert answer.status_code == 200, answer.text
    return answer.json()


def fetched(api, job):
    answer = api.call("GET", f"/v1/exports/{job}/download", "legal", "zoe")
    return answer.status_code, answer.json().get("code") if answer.status_code >= 400 else None


def files(api) -> set[str]:
    return {path.stem for path in (api.data / "exports").rglob("*.zip")}


def batch(api):
    api.follow()
    run_batch(api.core, api.tenant, today_too=True)
    api.call("GET", "/v1/schedules", "auditor", "aude")  # 503: the access log's generation was closed


def test_disposition_takes_finished_exports_along_and_its_certificate_says_so(api, tmp_path):
    archived(api, tmp_path)
    gone, stays = made(api, WORD, "facture 7"), made(api, "facture 7")
    assert fetched(api, gone) == fetched(api, stays) == (200, None)
    name = decided(api)
    assert any(f"{gone}.zip" in file for file in holding(api.data))
    forward(api)
    assert state(api, name)["state"] == "done"
    assert holding(api.data) == []
    assert files(api) == {stays}
    answer = said(api, gone)
    assert (answer["state"], answer["progress"]["done"]) == ("done", 2)
    assert answer["expired_at"] and "expired_at" not in said(api, stays)
    assert fetched(api, gone) == (410, "export.expired")
    assert fetched(api, stays) == (200, None)
    whole = api.call("GET", f"/v1/dispositions/{name}/certificate", "auditor", "aude").json()["certificate"]
    assert whole["finished_exports_gone"] is True


def test_gdpr_article_17_an_erased_capture_leaves_with_every_export_that_holds_it(api, tmp_path):
    captures = archived(api, tmp_path)
    gone, stays = made(api, "autre", WORD), made(api, WORD)
    have_erased(api.data, captures["autre"])
    assert fetched(api, gone) == (410, "export.expired"), "at once, for it is barred from every read"
    assert files(api) == {gone, stays}
    batch(api)
    assert files(api) == {stays}
    assert said(api, gone)["expired_at"]
    assert fetched(api, stays) == (200, None)


def test_hold_that_keeps_a_key_keeps_the_file_and_no_download_leaves(api, tmp_path):
    captures = archived(api, tmp_path)
    job = made(api, "autre")
    have_erased(api.data, captures["autre"])
    keep = place_keep(api.tenant.acts, [captures["autre"]], KeepGround.HOLD, "litige", "paul")
    batch(api)
    work(api)
    assert files(api) == {job}
    assert fetched(api, job) == (410, "export.expired")
    lift_keep(api.tenant.acts, keep, "paul")
    batch(api)
    assert files(api) == set()


def test_what_was_asked_for_does_not_stay_in_the_table_of_jobs(api, tmp_path):
    captures = archived(api, tmp_path)
    answer = api.call(
        "POST", "/v1/exports", "legal", "zoe", query=f"subject:{WORD}", formats=["bundle"]
    ).json()["id"]
    work(api)
    table = api.data / "projections"
    assert WORD in str(said_of(api, answer).request)
    have_erased(api.data, captures[WORD])
    batch(api)
    assert said_of(api, answer).request == {}
    assert [file for file in holding(table) if "jobs" in file] == []


def said_of(api, job) -> Job:
    jobs = api.core.engines.jobs(api.tenant.id)
    try:
        return jobs.get(job)
    finally:
        jobs.close()


@pytest.mark.parametrize("persisted", [False, True], ids=["not persisted", "but persisted"])
@pytest.mark.parametrize("what", ["file", "job"])
def test_disposition_is_not_done_while_an_export_may_stand_and_is_after_the_fault(
    api, tmp_path, monkeypatch, caplog, what, persisted
):
    archived(api, tmp_path)
    job = made(api, WORD)
    name = decided(api)
    owner, real = (Path, Path.unlink) if what == "file" else (SqlJobs, SqlJobs.expire)

    def failing(self, *given, **more):
        mine = what == "job" or self.name == f"{job}.zip"
        if not mine or persisted:
            real(self, *given, **more)
        if mine:
            raise OSError("away") if what == "file" else StoreError("away")

    with monkeypatch.context() as broken:
        broken.setattr(owner, real.__name__, failing)
        if persisted:
            forward(
                api
            )  # it failed in the batch, which is not held up, and is made good at the end of the run
        else:
            with pytest.raises(StoreError):
                forward(api)
            assert state(api, name)["state"] == "going"
    assert "finished exports hold erased mail" in caplog.text
    assert (job in files(api)) is (what == "file" and not persisted)
    forward(api)
    assert state(api, name)["state"] == "done"
    assert said(api, job)["expired_at"] and fetched(api, job) == (410, "export.expired")
    assert files(api) == set()


@pytest.mark.parametrize("job_state", ["done", "running"])
def test_disposition_waits_for_the_exports_of_other_machines(api, tmp_path, job_state):
    captures = archived(api, tmp_path)
    name = decided(api)
    result = {"messages": ["m1"], "capture_ids": [captures[WORD]], "place": "f" * 16}
    jobs = api.core.engines.jobs(api.tenant.id)
    jobs.add(Job("elsewhere", "export", "zoe", {}, state=job_state, result=result))
    jobs.add(Job("other", "export", "zoe", {}, state="done", result=result | {"capture_ids": ["c1"]}))
    forward(api)
    forward(api)
    assert (state(api, name)["state"], state(api, name)["keys_gone"]) == ("going", 2)
    assert jobs.get("elsewhere").result == result, "its file is not here: that machine says when it is gone"
    if job_state == "running":
        jobs.update(Job("elsewhere", "export", "zoe", {}, state="failed"))
    jobs.expire("elsewhere", "2026-01-01T00:00:00.000000Z")
    jobs.close()
    forward(api)
    assert state(api, name)["state"] == "done"


def test_nothing_but_finished_exports_of_this_owner_goes(api, tmp_path):
    captures = archived(api, tmp_path)
    job = made(api, "autre")
    folder = api.data / "exports" / api.tenant.id
    outside, another = tmp_path / "outside.zip", api.data / "exports" / "other" / f"{job}.zip"
    another.parent.mkdir()
    for copy in (outside, another, folder / "note.txt"):
        copy.write_bytes((folder / f"{job}.zip").read_bytes())
    (folder / "linked.zip").symlink_to(outside)
    (folder / "folder.zip").mkdir()
    (folder / "damaged.zip").write_bytes(b"PK no archive")
    with zipfile.ZipFile(folder / "foreign.zip", "w") as zipped:
        zipped.writestr("manifest.json", '{"messages": 7}')
    have_erased(api.data, captures["autre"])
    batch(api)
    left = {path.name for path in folder.iterdir()}
    assert left == {"note.txt", "linked.zip", "folder.zip"}, "what cannot be read is taken to hold it"
    assert outside.exists() and another.exists()


def test_files_are_looked_into_once_a_batch(api, tmp_path, monkeypatch):
    captures = archived(api, tmp_path)
    made(api, "facture 7")
    looked = []
    real = expiring.captures_in
    monkeypatch.setattr(expiring, "captures_in", lambda file: looked.append(file.name) or real(file))
    looking = Expiring()
    for _ in range(3):
        assert looking.run(api.core, api.tenant) == 0
    assert not looked  # no key was ever to go
    have_erased(api.data, captures["autre"])
    batch(api)
    looked.clear()
    for _ in range(3):
        assert looking.run(api.core, api.tenant) == 0
    assert len(looked) == 1


def test_an_export_whose_mail_is_barred_while_it_is_made_is_not_finished(api, tmp_path, monkeypatch):
    captures = archived(api, tmp_path)
    job = asked(api, "autre")

    def slow(*given, **more):
        result = write_bundle(*given, **more)
        have_erased(api.data, captures["autre"])
        return result

    monkeypatch.setattr("archive_service.exporting.write_bundle", slow)
    work(api)
    answer = said(api, job)
    assert (answer["state"], answer["error"].split(":")[0]) == ("failed", "export.expired")
    assert files(api) == set()


def test_disposition_destroys_no_export_while_an_incident_is_open(api, tmp_path):
    captures = archived(api, tmp_path)
    job = made(api, "autre")
    have_erased(api.data, captures["autre"])
    batch_without_exports(api)
    opened = api.call("POST", "/v1/incidents", "dpo", "paul", reason="fuite")
    assert opened.status_code in (200, 201), opened.text
    assert Expiring().run(api.core, api.tenant) == 0
    assert files(api) == {job}


def batch_without_exports(api):
    with pytest.MonkeyPatch.context() as idle:
        idle.setattr(Expiring, "run", lambda *_: 0)
        batch(api)
    advance(api.core, api.tenant)
