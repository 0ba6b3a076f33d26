"""What was decided, or judged, before something else was: it is held against the acts at their head, where it lands."""

from dataclasses import replace
from datetime import timedelta

import pytest

from archive_service import strong_actions
from archive_service.catalog.sql import SqlCatalog
from archive_service.disposal import disposing
from archive_service.disposal.disposing import advance
from archive_service.disposal.erasing import run_batch
from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.grounds import KeepGround
from retention.keeping import place_keep
from tests.flow.archive_fixtures import no_settings_around
from tests.flow.test_disposition import LAW, OLD, SCHEDULE, WORD, archived, at_once, decided, forward
from tests.flow.test_holds_and_directory import changed, person
from tests.flow.test_retention import klass, set_schedule
from tests.flow.test_reviews import classes, extended, relabelled

__all__ = ["at_once", "no_settings_around"]

LONGER = {**SCHEDULE, "classes": [{**OLD, "maximum": "P90Y", "minimum": "P90Y"}, LAW]}


def erasing(api, capture, ground="request"):
    body = {"captures": [capture], "ground": ground, "basis": "GDPR article 17", "reason": "demande"}
    return api.call("POST", "/v1/erasures", "dpo", "dora", **body)


def approving(api, asked, what="approve"):
    body = {} if what == "execute" else {"reason": "vu"}
    return api.call("POST", f"/v1/approvals/{asked.json()['id']}/{what}", "legal", "zoe", **body).json()


def kept_by(api, capture, days=0):
    acts = api.tenant.acts
    acts.refresh()
    return acts.erasures.keeps_of(capture, rfc3339(api.core.clock() + timedelta(days=days)))


def between(monkeypatch, module, name, deed):
    """``deed`` is done once, by somebody else, just after ``module.name`` was asked."""
    asked, done = getattr(module, name), []

    def first(*given):
        said = asked(*given)
        if not done:
            done.append(True)
            done.append(deed())
        return said

    monkeypatch.setattr(module, name, first)
    return done


# --- dispositions


def test_disposition_judged_before_somebody_extended_a_capture_does_not_take_it(api, tmp_path, monkeypatch):
    captures = archived(api, tmp_path)
    decided(api)
    api.follow()
    done = between(monkeypatch, disposing, "past", lambda: extended(api, captures[WORD]))
    advance(api.core, api.tenant)
    assert done[1].status_code == 200
    acts = api.tenant.acts
    assert not acts.erasures.barred(captures[WORD])
    api.follow()  # the projections are at the head again: the next round begins it without that one
    advance(api.core, api.tenant)
    assert acts.erasures.barred(captures["autre"])
    assert not acts.erasures.barred(captures[WORD])


def test_disposition_judged_before_the_archives_were_public_takes_nothing(api, tmp_path, monkeypatch):
    captures = archived(api, tmp_path)
    decided(api)
    api.follow()
    between(monkeypatch, disposing, "past", lambda: set_schedule(api, {**SCHEDULE, "public_service": True}))
    for _ in range(2):
        advance(api.core, api.tenant)
        api.follow()
    assert not any(api.tenant.acts.erasures.barred(each) for each in captures.values())


def test_a_review_of_what_is_barred_is_refused_and_not_promised(api, tmp_path):
    captures = archived(api, tmp_path)
    relabel = relabelled(api, captures["autre"], "law")
    decided(api)
    api.follow()
    advance(api.core, api.tenant)
    late = extended(api, captures[WORD])
    assert (late.status_code, late.json()["code"]) == (404, "not_found")
    assert approving(api, relabel)["error"] == "capture.unknown"


# --- what was asked of a schedule that is no more


def test_four_eyes_a_schedule_that_was_asked_for_before_another_was_set_takes_nothing_back(api, tmp_path):
    archived(api, tmp_path)
    short = {**SCHEDULE, "classes": [OLD, klass("law", "P1Y", start="sent")]}
    asked = api.call("POST", "/v1/schedules", "records_manager", "rob", schedule=short, reason="plus court")
    set_schedule(api, LONGER)
    said = approving(api, asked)
    assert (said["state"], said["error"]) == ("approved", "schedule.changed")
    assert approving(api, asked, "execute")["code"] == "schedule.changed"
    assert classes(api) == {}


def test_four_eyes_a_class_that_was_changed_since_it_was_asked_for_is_not_given_by_hand(api, tmp_path):
    captures = archived(api, tmp_path)
    asked = relabelled(api, captures["facture 7"], "old")
    other = relabelled(api, captures[WORD], "law")
    set_schedule(api, {**SCHEDULE, "classes": [{**OLD, "maximum": "P2Y"}, LAW]})
    assert approving(api, asked)["error"] == "retention.class_changed"
    assert approving(api, other)["state"] == "executed"  # this one says what it said


def test_a_schedule_of_long_ago_is_not_taken_for_one_to_come(api, tmp_path):
    """Text order is time order in every year."""
    archived(api, tmp_path)
    body = {"schedule": SCHEDULE, "effective_from": "0999-01-01T00:00:00Z", "reason": "r"}
    answer = api.call("POST", "/v1/schedules", "records_manager", "rob", **body)
    assert answer.json()["code"] == "schedule.effective_from"


# --- a request, and the minimum above it


def test_gdpr_article_17_3_b_a_class_given_while_a_request_is_carried_out_counts(api, tmp_path, monkeypatch):
    captures = archived(api, tmp_path)
    relabel, asked = relabelled(api, captures[WORD], "law"), erasing(api, captures[WORD])
    between(monkeypatch, strong_actions, "keep_to_minimum", lambda: approving(api, relabel))
    assert approving(api, asked)["error"] == "retention.moved"
    assert not api.tenant.acts.erasures.barred(captures[WORD])
    assert approving(api, asked, "execute")["result"]["kept_until"]
    api.follow()
    run_batch(api.core, api.tenant, today_too=True)
    assert not api.tenant.acts.erasures.begun(captures[WORD])


def test_gdpr_article_17_3_b_a_minimum_of_a_schedule_to_come_keeps_from_its_time_on(api, tmp_path):
    captures = archived(api, tmp_path)
    set_schedule(api, LONGER, effective_from=rfc3339(api.core.clock() + timedelta(days=9)))
    made = approving(api, erasing(api, captures[WORD]))["result"]
    assert list(made["kept_until"]) == [captures[WORD]]
    assert kept_by(api, captures[WORD]) == []  # a batch that runs before that is within its right
    assert kept_by(api, captures[WORD], days=10) == ["minimum"]
    api.follow()
    run_batch(api.core, api.tenant, today_too=True)
    assert api.tenant.acts.erasures.begun(captures[WORD])


def test_a_schedule_to_come_that_another_has_replaced_keeps_nothing(api, tmp_path):
    captures = archived(api, tmp_path)
    set_schedule(api, LONGER, effective_from=rfc3339(api.core.clock() + timedelta(days=9)))
    set_schedule(api, SCHEDULE)
    assert approving(api, erasing(api, captures[WORD]))["result"]["kept_until"] == {}
    assert kept_by(api, captures[WORD], days=10) == []


def test_gdpr_article_17_3_b_a_catalog_that_is_behind_hides_no_minimum(api, tmp_path, monkeypatch):
    captures = archived(api, tmp_path)
    asked = erasing(api, captures["facture 7"])
    monkeypatch.setattr(SqlCatalog, "capture", lambda *_: None)  # as while it is made anew
    assert approving(api, asked)["error"] == "projection.behind"
    monkeypatch.undo()
    assert not api.tenant.acts.erasures.barred(captures["facture 7"])
    assert list(approving(api, asked, "execute")["result"]["kept_until"]) == [captures["facture 7"]]


# --- the end of a term as a ground


def test_the_end_of_a_term_is_no_ground_to_erase_what_is_within_it(api, tmp_path):
    captures = archived(api, tmp_path)
    early, late = erasing(api, captures["facture 7"], "maximum"), erasing(api, captures[WORD], "maximum")
    assert (early.status_code, early.json()["code"]) == (409, "erasure.not_past")
    assert late.status_code == 202
    set_schedule(api, LONGER)
    assert approving(api, late)["error"] == "erasure.not_past"


def test_code_du_patrimoine_article_r212_14_an_erasure_is_no_way_round_the_visa(api, tmp_path):
    captures = archived(api, tmp_path)
    before = erasing(api, captures[WORD], "maximum")
    set_schedule(api, {**SCHEDULE, "public_service": True})
    assert erasing(api, captures[WORD], "maximum").json()["code"] == "disposition.no_visa"
    assert approving(api, before)["error"] == "disposition.no_visa"
    forward(api)
    assert not api.tenant.acts.erasures.barred(captures[WORD])


# --- times that are none


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_beyond_all_years_is_refused_by_its_code_and_no_fault(api, tmp_path, time):
    with pytest.raises(ValueError, match="year"):
        from_rfc3339(time)
    captures = archived(api, tmp_path)
    matter = api.call("POST", "/v1/matters", "legal", "zoe", name="A", purpose="p").json()["id"]
    hold = {"name": "n", "ground": "g", "claim": "c", "owner": "o", "query": "x", "review": time}
    account = {"name": "x", "role": "legal", "only": ["search"], "ends": time}
    answers = [
        extended(api, captures[WORD], until=time),
        api.call("POST", f"/v1/matters/{matter}/holds", "legal", "zoe", **hold),
        api.call("POST", "/v1/grants", "admin", "paul", subject="r", role="reviewer", reason="r", until=time),
        api.call("POST", "/v1/incidents", "dpo", "dora", reason="r", since=time),
        api.call("POST", "/v1/approvals", "admin", "p", action="account.make", request=account, reason="r"),
    ]
    codes = [(answer.status_code, answer.json()["code"]) for answer in answers]
    assert codes == [
        (422, "retention.until"),
        (422, "hold.review"),
        (422, "grant.time"),
        (422, "incident.time"),
        (422, "account.ends"),
    ]


# --- the directory, which one person keeps


def by_person(person, *classes):
    """Mail of this person is of class law, all other of class old."""
    rule = {"id": "law", "class": "law", "custodians": [person["id"]]}
    return {"classes": list(classes), "rules": [rule], "default": "old"}


def counted(api):
    return api.call("POST", "/v1/dispositions/preview", "auditor", "aude").json()["classes"]


def test_nobody_shortens_a_term_by_taking_an_address_out_of_the_directory(api, tmp_path):
    captures = archived(api, tmp_path)
    anne = person(api, "Anne", "one@ex.fr")  # of WORD
    set_schedule(api, by_person(anne, OLD, LAW))
    assert counted(api) == {"old": 2}
    anne = changed(api, anne, name="Anne", addresses=[])
    assert counted(api) == {"old": 2}
    made = approving(api, erasing(api, captures[WORD]))["result"]
    assert list(made["kept_until"]) == [captures[WORD]]
    set_schedule(api, by_person(anne, OLD, LAW))  # two people who see what the directory says now
    assert counted(api) == {"old": 2}  # the first is barred


def test_nobody_shortens_a_term_by_giving_somebody_an_address(api, tmp_path):
    archived(api, tmp_path)
    anne = person(api, "Anne", "nobody@ex.fr")
    longer = {**OLD, "maximum": "P90Y"}
    set_schedule(api, by_person(anne, longer, klass("law", "P1Y", start="sent")))
    assert counted(api) == {}
    changed(api, anne, name="Anne", addresses=[{"address": "one@ex.fr"}])
    assert counted(api) == {}
    set_schedule(api, by_person(anne, longer, klass("law", "P1Y", start="sent")))
    assert counted(api) == {"law": 1}


# --- a clock that is wrong


def test_gdpr_article_17_3_b_a_clock_that_runs_years_ahead_hides_no_minimum(api, tmp_path):
    captures = archived(api, tmp_path)
    asked = erasing(api, captures["facture 7"])
    longer = api.call("POST", "/v1/schedules", "records_manager", "rob", schedule=LONGER, reason="r")
    stores = api.core.stores
    api.core.stores = replace(
        stores, clock_offset=lambda: -9 * 366 * 86_400.0
    )  # ours is ahead of the store's
    assert approving(api, asked)["error"] == "clock.disagrees"
    assert approving(api, longer)["error"] == "clock.disagrees"
    api.core.stores = stores
    assert list(approving(api, asked, "execute")["result"]["kept_until"]) == [captures["facture 7"]]
    assert approving(api, longer, "execute")["state"] == "executed"


def test_gdpr_article_17_3_b_a_minimum_ends_by_the_earlier_of_both_clocks(api, tmp_path):
    capture = next(iter(archived(api, tmp_path).values()))
    until = rfc3339(api.core.clock() - timedelta(seconds=60))
    place_keep(api.tenant.acts, [capture], KeepGround.MINIMUM, "article L123-22", "rob", until)
    assert approving(api, erasing(api, capture))["state"] == "executed"
    api.follow()
    stores = api.core.stores
    api.core.stores = replace(stores, clock_offset=lambda: -200.0)  # by the store's clock it has not ended
    assert run_batch(api.core, api.tenant, today_too=True).erased == 0
    api.core.stores = stores
    assert run_batch(api.core, api.tenant, today_too=True).erased == 1
