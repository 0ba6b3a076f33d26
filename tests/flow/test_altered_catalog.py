"""Somebody writes to the catalog past the archive: no mail is destroyed, locked or shown by what he wrote."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from archive_service.alarms import names
from archive_service.alarms.tally import Tally
from archive_service.catalog import tables
from archive_service.disposal.disposing import advance
from archive_service.disposal.erasing import run_batch
from archive_service.model.errors import ArchiveError
from archive_service.model.mail import Text
from archive_service.serving.scheduler import Scheduler
from search.document import to_document
from tests.flow.archive_fixtures import Here, done, no_settings_around, run
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import found
from tests.flow.test_disposition import WORD, archived, at_once, decided, forward, objects, state
from tests.flow.test_holds import opened, placed
from tests.flow.test_retention import klass, lock_of, set_schedule, view
from tests.flow.test_retention_words import CAUTION, LAW, classes_of
from tests.flow.test_retention_words import archived as archived_words
from tests.flow.test_retention_words import whole as words_schedule

__all__ = ["at_once", "no_settings_around"]


def alter(api: RealApi, capture: str, change: Callable[[dict[str, Any]], None]) -> None:
    """A row's finding says something else from here on."""
    database, table = api.tenants.get(api.tenant.id).catalog._database, tables.captures

    def write(connection: Any) -> None:
        finding = connection.execute(select(table.c.finding).where(table.c.id == capture)).scalar_one()
        finding = json.loads(finding) if isinstance(finding, str) else finding
        change(finding)
        connection.execute(update(table).where(table.c.id == capture).values(finding=finding))

    database.write(write)


def as_if_ordinary(finding: dict[str, Any]) -> None:
    """No rule for invoices takes it any more."""
    finding["parsed"]["subject"] = "autre"


def test_disposition_takes_no_mail_that_grew_old_in_the_database_alone(api, tmp_path):
    captures = archived(api, tmp_path)
    alter(api, captures["facture 7"], as_if_ordinary)
    name = decided(api)
    assert state(api, name)["captures"] == 3  # whoever decides goes by the catalog
    told: list[ArchiveError] = []
    api.follow()
    advance(api.core, api.tenant, told.append)
    assert [error.code for error in told] == ["integrity.row"]
    forward(api)
    said = state(api, name)
    assert (said["state"], said["captures"], said["keys_gone"]) == ("done", 2, 2)
    done("rebuild", "--data", api.data)
    with RealApi(api.data, api.pool) as again:
        assert [hit["subject"] for hit in found(again)["hits"]] == ["facture 7"]


def test_hold_keeps_mail_that_an_altered_index_kept_from_it(api, tmp_path):
    captures = archived(api, tmp_path)
    live = api.core.engines.live(api.tenant.id)
    message = next(hit["id"] for hit in found(api)["hits"] if hit["subject"] == WORD)
    away = to_document(live.catalog.messages([message])[0], Text(body="rien"))
    away = replace(away, subject="", body="", version=away.version + 1)
    live.index.write([away])  # as if nothing of it were there when the hold looks
    live.close()
    hold = placed(api, opened(api), query=f"subject:{WORD}")
    api.follow()
    assert api.tenant.acts.holds.known[hold].covered == {}
    name = decided(api)
    forward(api)
    assert (state(api, name)["captures"], state(api, name)["keys_gone"]) == (2, 1)  # judged by its own bytes
    assert captures[WORD] in api.tenant.acts.holds.known[hold].covered
    assert captures[WORD] in "".join(path.name for path in objects(api))


def test_disposition_rings_an_alarm_for_a_row_that_was_changed(api, tmp_path, pool):
    captures = archived(api, tmp_path)
    alter(api, captures["facture 7"], as_if_ordinary)
    decided(api)
    api.follow()
    tally = Tally()
    scheduler = Scheduler(api.core, Here(), tally)
    scheduler.step()
    scheduler.close()
    failures = [sample for sample in tally.own() if sample.metric == names.FAILURES]
    assert [(sample.label("code"), sample.value) for sample in failures] == [("integrity.row", 1)]


@pytest.mark.parametrize(
    ("column", "value"), [("seq", 10_000), ("order_seq", 10_000), ("log", "no log"), ("log", "")]
)
def test_disposition_takes_no_mail_whose_row_stands_at_another_place(api, tmp_path, column, value):
    captures = archived(api, tmp_path)
    decided(api)
    api.follow()
    database, table = api.tenants.get(api.tenant.id).catalog._database, tables.captures
    away = update(table).where(table.c.id == captures[WORD]).values({column: value})
    database.write(lambda connection: connection.execute(away))
    told: list[ArchiveError] = []
    advance(api.core, api.tenant, told.append)
    assert [error.code for error in told] == ["integrity.row"]
    assert not api.tenant.acts.erasures.barred(captures[WORD])


def asked_to_erase(api: RealApi, capture: str, ground: str) -> Any:
    body = {"captures": [capture], "ground": ground, "basis": "RGPD", "reason": "demande"}
    return api.call("POST", "/v1/erasures", "dpo", "paul", **body)


def test_gdpr_article_17_3_b_a_minimum_is_not_lost_by_a_change_in_the_database(api, tmp_path):
    captures = archived(api, tmp_path)
    facture = captures["facture 7"]
    alter(api, facture, as_if_ordinary)
    asked = asked_to_erase(api, facture, "request").json()["id"]
    api.call("POST", f"/v1/approvals/{asked}/approve", "legal", "zoe", reason="ok")
    refused = api.call("POST", f"/v1/approvals/{asked}/execute", "dpo", "paul")
    assert (refused.status_code, refused.json()["code"]) == (500, "integrity.row")
    api.follow()
    assert run_batch(api.core, api.tenant, today_too=True).erased == 0
    assert not api.tenant.acts.erasures.barred(facture)


def test_the_end_of_a_term_is_not_had_by_a_change_in_the_database(api, tmp_path):
    captures = archived(api, tmp_path)
    assert asked_to_erase(api, captures["facture 7"], "maximum").json()["code"] == "erasure.not_past"
    alter(api, captures["facture 7"], as_if_ordinary)
    assert asked_to_erase(api, captures["facture 7"], "maximum").json()["code"] == "integrity.row"


def test_a_lock_for_good_is_not_had_by_a_change_in_the_database(api, tmp_path):
    captures = archived(api, tmp_path)
    ids = {hit["subject"]: hit["id"] for hit in found(api)["hits"]}
    alter(api, captures["autre"], lambda finding: finding["parsed"].update(subject="facture 8"))
    before = lock_of(api, ids["autre"])[1]
    law = klass("law", "P90Y", start="sent", minimum="P90Y", lock="COMPLIANCE", article="L123-22")
    rules = [{"id": "law", "class": "law", "subject": ["facture"]}]
    set_schedule(api, {"classes": [klass("old", "P1Y"), law], "rules": rules, "default": "old"})
    api.follow()
    assert lock_of(api, ids["autre"])[1] == before
    assert lock_of(api, ids["facture 7"])[1].until.year == 2105


def test_what_a_text_says_counts_only_under_our_seal(api, tmp_path):
    ids = archived_words(api, tmp_path)
    set_schedule(api, words_schedule(CAUTION))
    api.follow()
    assert classes_of(api, ids)["attached"] == ("law", False)
    table = tables.text_marks
    database = api.tenants.get(api.tenant.id).catalog._database
    database.write(lambda connection: connection.execute(update(table).values(holds=False)))
    # As if nobody had read it: kept as the longest that it may be, not as what was written there.
    assert classes_of(api, ids)["attached"] == ("law", True)
    set_schedule(api, {**words_schedule(CAUTION), "classes": [klass("ordinary", "P2Y"), LAW]})
    api.follow()
    assert classes_of(api, ids)["attached"] == ("law", False)  # it was read again


def test_another_mail_is_not_read_for_a_capture_whose_row_points_to_it(api, tmp_path):
    ids = archived_words(api, tmp_path)
    catalog = api.tenants.get(api.tenant.id).catalog
    plain, attached = (catalog.messages([ids[each]])[0].captures[0] for each in ("plain", "attached"))
    table = tables.captures

    def swap(connection: Any) -> None:
        for row, seq in ((plain, 10_000), (attached, plain.seq), (plain, attached.seq)):
            connection.execute(update(table).where(table.c.id == row.id).values(seq=seq))

    catalog._database.write(swap)
    set_schedule(api, words_schedule(CAUTION))
    api.follow()
    assert [catalog.capture(each.id).marks for each in (plain, attached)] == [{}, {}]


def test_what_is_shown_of_an_altered_row_is_an_error_and_is_counted(api, tmp_path):
    archived(api, tmp_path)
    ids = {hit["subject"]: hit["id"] for hit in found(api)["hits"]}
    said = view(api, ids["autre"])["captures"]
    counted: list[str] = []
    object.__setattr__(api.app.state.services, "damaged", counted.append)
    alter(api, said[0]["id"], as_if_ordinary)
    alter(api, said[0]["id"], lambda finding: finding["parsed"].update(subject="x"))
    shown = api.call("GET", f"/v1/messages/{ids['autre']}", "legal", "zoe")
    assert (shown.status_code, shown.json()["code"], counted) == (500, "integrity.row", ["integrity.row"])
    checked = run("verify", "--data", api.data)
    assert checked.code == 1
