"""A hold upon days, and a date that the sender has made up: who writes a mail ends no hold upon it."""

from datetime import timedelta

import pytest

from archive_service.disposal.disposing import advance
from archive_service.following import make_follower
from archive_service.ledger.capture_writer import CaptureDraft, CaptureWriter
from archive_service.model.clock import rfc3339
from archive_service.model.mail import CaptureRecord
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock
from retention.erasure import Capture, withdraw
from tests.flow.archive_fixtures import PATIENCE, done, no_settings_around, run
from tests.flow.test_compartments import mail, taken
from tests.flow.test_holds import erased, flagged, forget, holds_of, opened, placed, seen
from tests.flow.test_holds_and_directory import changed, person
from tests.flow.test_orders import ordered

__all__ = ["no_settings_around"]

OLD = "Mon, 02 Jan 1995 10:00:00 +0000"


def arrived(api, subject="contrat", date=OLD):
    """A mail from anne that a mail server has sent now, with the date that she gave it; its capture."""
    done("source", "add", "--tenant", "acme", "--kind", "generic", "--name", f"s {subject}", *api.where)
    api.tenant.acts.refresh()
    source = api.tenant.acts.sources()[-1]
    now = api.core.clock()
    record = CaptureRecord(capture="", source=source.id, received_at=rfc3339(now), mail_from="", rcpt_to=())
    lines = ["From: anne@ex.fr", "To: bob@ex.fr", f"Subject: {subject}", f"Date: {date}", "", "texte", ""]
    slots = api.core.slots(api.tenant.id, "capture")
    writer = CaptureWriter(api.core.store, api.tenant.keyring, slots, api.core.clock)
    try:
        draft = CaptureDraft(record, Lock(until=now + timedelta(days=1)), api.tenant.acts.seen)
        return writer.submit(draft, "\r\n".join(lines).encode()).result(PATIENCE).capture
    finally:
        writer.close()


def by_days(api):
    """The same mail, meant in three ways."""
    anne = person(api, "Anne", "anne@ex.fr")
    dated = {"address": "dated@ex.fr"}, {"address": "anne@ex.fr", "from": "2020-01-01"}
    path = f"/v1/custodians/{anne['id']}"
    body = {"name": "Anne", "addresses": list(dated), "version": anne["version"]}
    assert api.call("PUT", path, "admin", "paul", **body).status_code == 200
    return {
        "days": {"query": "contrat", "first": "2020"},
        "custodian": {"custodians": [anne["id"]]},
        "not": {"query": "contrat AND NOT sent:1995"},
    }


@pytest.mark.parametrize("how", ["days", "custodian", "not"])
def test_hold_covers_what_came_in_its_days_whatever_date_the_sender_gave_it(api, how):
    first = arrived(api)
    api.follow()
    matter, meant = opened(api), by_days(api)[how]
    hold = placed(api, matter, **meant)
    assert seen(api, matter, hold)["progress"]["covered"] == 1
    second = arrived(api, "contrat deux")
    assert seen(api, matter, hold)["progress"]["covered"] == 2
    assert all(holds_of(api, each) and flagged(api, each) for each in (first, second))
    forget(api, first)
    assert erased(api).kept == {"kept: hold stands above request (order of precedence)": 1}


def test_hold_placed_after_the_erasure_was_asked_finds_what_came_in_its_days(api):
    first = arrived(api)
    api.follow()
    forget(api, first)
    api.follow()
    matter = opened(api)
    placed(api, matter, **by_days(api)["days"])
    assert erased(api).erased == 0
    assert holds_of(api, first) == {"Contrats"}


def test_hold_upon_days_goes_by_the_own_date_of_what_was_imported(api, tmp_path):
    mail(tmp_path / "m", "a", "anne@ex.fr", "bob@ex.fr", "contrat")  # of 2026-03-02, imported later
    taken(api, tmp_path / "m")
    api.follow()
    matter = opened(api)
    hold = placed(api, matter, query="contrat", first="2026-04")
    assert seen(api, matter, hold)["progress"]["covered"] == 0
    other = placed(api, matter, name="B", query="contrat", first="2026-03", last="2026-03")
    assert seen(api, matter, other)["progress"]["covered"] == 1


def test_hold_check_names_what_came_in_its_days_and_is_not_covered(api, monkeypatch):
    arrived(api)
    api.follow()
    matter = opened(api)
    hold = placed(api, matter, query="contrat", first="2020")
    with monkeypatch.context() as forgetful:
        forgetful.setattr("archive_service.holds.covering.found_of", lambda *_: set())
        assert seen(api, matter, hold)["progress"]["covered"] == 0
    who = api.token("legal", "zoe")
    said = run("holds", "check", hold, "--tenant", "acme", "--token", who, *api.where, "--json")
    assert (said.code, said.answer["uncovered"]) == (1, 1)


def test_hold_is_looked_through_anew_by_a_follower_that_goes_on_when_the_directory_changes(api, tmp_path):
    mail(tmp_path / "m", "a", "anne@ex.fr", "bob@ex.fr", "contrat")
    (capture,) = taken(api, tmp_path / "m")
    anne, matter = person(api, "Anne", "other@ex.fr"), opened(api)
    placed(api, matter, custodians=[anne["id"]])
    follower = make_follower(api.core, api.tenant, api.pool)
    while follower.follow():
        continue
    assert not holds_of(api, capture)
    changed(api, anne, name="Anne", addresses=[{"address": "anne@ex.fr"}])
    while follower.follow():
        continue
    assert holds_of(api, capture) == {"Contrats"}


def test_hold_does_not_look_into_what_was_withdrawn_or_ordered_to_be_erased(api):
    """An exclusion and an order stand above it: their mail is read for no hold, and counted in none."""
    excluded, erased_, kept = (arrived(api, f"contrat {each}") for each in ("un", "deux", "trois"))
    api.follow()
    rows = api.tenants.get(api.tenant.id).catalog
    places = {each: rows.capture(each) for each in (excluded, erased_)}
    acts = api.tenant.acts
    acts.refresh()
    withdraw(acts, Capture(LogId.parse(places[excluded].log), places[excluded].seq, excluded), "rob")
    ordered(api, "erase", captures=[erased_])
    advance(api.core, api.tenant)
    api.follow()
    matter = opened(api)
    hold = placed(api, matter, query="contrat")
    view = seen(api, matter, hold)["progress"]
    assert (view["covered"], view["found"]) == (1, True)
    assert [bool(holds_of(api, each)) for each in (excluded, erased_, kept)] == [False, False, True]
