"""Retention rules that ask for the words of a mail: read by the follower, noted in the catalog, gone with the mail."""

import json
from email.message import EmailMessage

import pytest

from archive_service.catalog.sql import SqlCatalog
from archive_service.model.clock import rfc3339
from archive_service.model.errors import StoreError
from archive_service.terms.locking import first_unkept
from tests.flow.archive_fixtures import done, no_settings_around, run
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import found, taken
from tests.flow.test_retention import klass, lock_of, schedule, set_schedule, view

__all__ = ["no_settings_around"]

LAW = klass("law", "P10Y", minimum="P10Y", lock="COMPLIANCE")
CLASSES = [klass("ordinary", "P1Y"), LAW]
CAUTION = {"id": "caution", "class": "law", "words": ["caution bancaire"]}
DEPT = {"id": "dept", "class": "law", "headers": ["X-Dept: achats"]}


def whole(*rules):
    return {**schedule(*rules), "classes": CLASSES}


def mail(folder, subject, *, attached=None, dept=None, unreadable=False):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@ex.fr", "b@ex.fr", subject
    message["Message-ID"], message["Date"] = f"<{subject}@ex.fr>", "Mon, 02 Mar 2026 10:00:00 +0000"
    if dept:
        message["X-Dept"] = dept
    message.set_content("rien")
    if attached:
        message.add_attachment(attached.encode(), "text", "plain", filename="note.txt")
    if unreadable:
        message.add_attachment(b"%PDF-1.7 broken", "application", "pdf", filename="scan.pdf")
    folder.mkdir(exist_ok=True)
    (folder / f"{subject}.eml").write_bytes(message.as_bytes())


def archived(api, tmp_path):
    mail(tmp_path / "m", "attached", attached="une Caution  BANCAIRE")
    mail(tmp_path / "m", "headed", dept="Achats")
    mail(tmp_path / "m", "plain")
    mail(tmp_path / "m", "scan", unreadable=True)
    taken(api, tmp_path / "m")
    return {hit["subject"]: hit["id"] for hit in found(api)["hits"]}


def classes_of(api, ids):
    said = {subject: view(api, message)["retention"] for subject, message in ids.items()}
    return {subject: (each["class"], each["undecided"]) for subject, each in said.items()}


def test_retention_rules_on_words_and_header_fields_take_old_mail_and_new(api, tmp_path):
    ids = archived(api, tmp_path)
    before = lock_of(api, ids["scan"])[1].until
    set_schedule(api, whole(CAUTION, DEPT))
    assert classes_of(api, ids) == dict.fromkeys(
        ids, ("law", True)
    )  # nobody has read it yet: kept as long as can be
    api.follow()
    expected = {
        "attached": ("law", False),
        "headed": ("law", False),
        "plain": ("ordinary", False),
        "scan": ("law", True),
    }
    assert classes_of(api, ids) == expected
    assert rfc3339(lock_of(api, ids["attached"])[1].until)[:4] == "2036"
    assert lock_of(api, ids["scan"])[1].until == before  # a lock is for good: none on a guess
    mail(tmp_path / "later", "later", attached="caution bancaire")
    taken(api, tmp_path / "later")
    api.follow()
    later = {hit["subject"]: hit["id"] for hit in found(api)["hits"]}
    assert classes_of(api, later) == expected | {"later": ("law", False)}
    set_schedule(api, whole({**CAUTION, "words": ["rien"]}))
    api.follow()
    assert classes_of(api, later) == dict.fromkeys(later, ("law", False))
    assert run("verify", "--data", api.data).code == 0


def test_mail_whose_class_cannot_be_told_is_told_of_until_a_reviewer_says_it(api, tmp_path):
    ids = archived(api, tmp_path)
    set_schedule(api, whole(CAUTION))
    api.follow()
    catalog, acts, now = api.tenants.get(api.tenant.id).catalog, api.tenant.acts, rfc3339(api.core.clock())
    (scan,) = catalog.messages([ids["scan"]])
    place = first_unkept(api.core.work, acts, catalog, now)
    assert (str(place[0]), place[1]) == (scan.captures[0].log, scan.captures[0].seq)
    asked = api.call("POST", "/v1/dispositions/relabel", "records_manager", "rob",
                     captures=[scan.captures[0].id], **{"class": "ordinary"}, reason="lu à la main")  # fmt: skip
    api.approved(asked)
    api.follow()
    assert first_unkept(api.core.work, acts, catalog, now) is None
    assert classes_of(api, ids)["scan"] == ("ordinary", False)


def test_a_catalog_made_anew_has_its_mail_read_again(api, tmp_path):
    ids = archived(api, tmp_path)
    set_schedule(api, whole(CAUTION, DEPT))
    api.follow()
    before = classes_of(api, ids)
    api.tenants.close()
    done("rebuild", "--data", api.data)
    with RealApi(api.data, api.pool) as again:
        again.follow()
        assert classes_of(again, ids) == before


@pytest.mark.parametrize("persisted", [False, True], ids=["not persisted", "but persisted"])
def test_what_could_not_be_noted_is_read_again(api, tmp_path, monkeypatch, persisted):
    ids = archived(api, tmp_path)
    real, cut = SqlCatalog.mark, []

    def failing(self, capture, marks):
        if not cut:
            cut.append(capture)
            if persisted:
                real(self, capture, marks)
            raise StoreError("away")
        real(self, capture, marks)

    monkeypatch.setattr(SqlCatalog, "mark", failing)
    set_schedule(api, whole(CAUTION, DEPT))
    api.follow()
    assert len(cut) == 1
    api.follow()
    assert classes_of(api, ids)["attached"] == ("law", False)
    assert classes_of(api, ids)["plain"] == ("ordinary", False)


def test_a_dry_run_asks_the_index_for_words_that_nobody_has_read_for(api, tmp_path):
    archived(api, tmp_path)
    set_schedule(api, whole())
    said = api.call("POST", "/v1/schedules/dry-run", "auditor", "aude", schedule=whole(CAUTION)).json()
    assert [(each["rule"], each["captures"]) for each in said["rules"]] == [("caution", 1), (None, 3)]
    assert (said["undecided"], said["kept_longer"]) == (0, 1)
    looks = api.call("GET", "/v1/access-log?action=schedule.try", "auditor", "aude").json()["entries"]
    assert looks[0]["detail"]["asked_of_mail"] == [{"words": ["caution bancaire"]}]
    said = api.call("POST", "/v1/schedules/dry-run", "auditor", "aude", schedule=whole(DEPT)).json()
    assert said["undecided"] == 4  # header fields stand in no index
    (tmp_path / "s.json").write_text(json.dumps(whole(DEPT)))
    by = ("--tenant", "acme", "--data", api.data, "--token", api.token("auditor", "aude"))
    assert "kept longest: 4" in run("schedule", "dry-run", tmp_path / "s.json", *by).out
    set_schedule(api, whole(DEPT))
    api.follow()
    said = api.call("POST", "/v1/schedules/dry-run", "auditor", "aude", schedule=whole(DEPT)).json()
    assert ([(each["rule"], each["captures"]) for each in said["rules"]], said["undecided"]) == (
        [("dept", 1), (None, 3)],
        0,
    )


def test_disposition_goes_by_the_words_and_waits_for_them(api, tmp_path):
    """A mail that may be of a longer class is not offered; once it was read, it is."""
    ids = archived(api, tmp_path)
    short = {**whole(CAUTION), "classes": [klass("ordinary", "P1D", start="sent"), LAW]}
    set_schedule(api, short)
    preview = api.call("POST", "/v1/dispositions/preview", "records_manager", "rob").json()
    assert preview["captures"] == 0
    api.follow()
    preview = api.call("POST", "/v1/dispositions/preview", "records_manager", "rob").json()
    catalog = api.tenants.get(api.tenant.id).catalog
    plain = {row.captures[0].id for row in catalog.messages([ids["plain"], ids["headed"]])}
    assert set(preview["samples"]) == plain
    assert json.dumps(preview).count("caution") == 0
