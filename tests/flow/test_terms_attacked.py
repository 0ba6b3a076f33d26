"""What one person, a date or a bad moment could do to how long mail is kept, tried from outside."""

import io
from datetime import timedelta
from types import SimpleNamespace

import pytest
from pypdf import PdfReader

from archive_service import bootstrap
from archive_service.catalog.base import Position
from archive_service.disposal.disposing import _forgotten, advance
from archive_service.ledger.erasures import Batch
from archive_service.model.clock import rfc3339, utc_now
from archive_service.model.errors import StoreError
from archive_service.model.mail import Source
from archive_service.terms.locking import LockKeeper, mark_file, read_mark
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock, Stored
from retention.disposition import delete_versions, unreadable_since
from retention.erasure import Capture, withdraw
from tests.flow.archive_fixtures import no_settings_around
from tests.flow.test_decided_meanwhile import counted
from tests.flow.test_disposition import SCHEDULE, WORD, archived, asked, at_once, decided, forward, state
from tests.flow.test_holds import flagged, opened, placed, released, seen
from tests.flow.test_holds_and_directory import changed, person
from tests.flow.test_orders import WORDS, ordered
from tests.flow.test_orders import asked as ask_order
from tests.flow.test_retention import archived as plain
from tests.flow.test_retention import klass, lock_of, set_schedule, view

__all__ = ["at_once", "no_settings_around"]


def by_departure(anne, **more):
    leaving = klass("leaving", "P5Y", minimum="P5Y", start="departure", event_by="P50Y", lock="COMPLIANCE")
    rules = [{"id": "r", "class": "leaving", "custodians": [anne["id"]]}]
    return {"classes": [klass("ordinary", "P1Y"), leaving], "rules": rules, "default": "ordinary"} | more


@pytest.mark.parametrize("day", ["2126-01-01", "9998-12-31"])
def test_nobody_locks_mail_for_a_century_by_a_departure_to_come(api, tmp_path, day):
    anne = person(api, "Anne", "a@ex.fr")
    ids = plain(api, tmp_path)
    set_schedule(api, by_departure(anne))
    changed(api, anne, name="Anne", addresses=[{"address": "a@ex.fr"}], left=day)
    api.follow()
    _, lock = lock_of(api, ids["facture 7"])
    assert lock.until <= api.core.clock() + timedelta(days=90)
    said = view(api, ids["facture 7"])["retention"]
    assert (said["open"], said["start"][:4]) == (True, "2076")
    assert counted(api) == {}


def test_l123_22_a_lock_is_made_as_long_as_the_minimum_of_whoever_turns_out_to_have_the_mail(api, tmp_path):
    anne = person(api, "Anne", "another@ex.fr")
    ids = plain(api, tmp_path)
    law = klass("law", "P10Y", minimum="P10Y", start="sent", article="Code de commerce, article L123-22")
    rules = [{"id": "r", "class": "law", "custodians": [anne["id"]]}]
    classes = [klass("ordinary", "P1Y"), law]
    set_schedule(api, {"classes": classes, "rules": rules, "default": "ordinary"})
    api.follow()
    changed(api, anne, name="Anne", addresses=[{"address": "a@ex.fr"}])
    api.follow()
    assert rfc3339(lock_of(api, ids["facture 7"])[1].until) == "2036-03-02T10:00:00.000000Z"


ASSET = klass("old", "P2Y", start="sent", article="Article 99")


def certificate(api, name):
    return api.call("GET", f"/v1/dispositions/{name}/certificate", "auditor", "aude").json()["certificate"]


def test_certificate_names_the_version_and_article_by_which_it_was_barred(api, tmp_path):
    archived(api, tmp_path)
    name = decided(api)
    set_schedule(api, {**SCHEDULE, "classes": [ASSET, *SCHEDULE["classes"][1:]]})
    forward(api)
    assert (state(api, name)["state"], state(api, name)["schedule_version"]) == ("done", 2)
    said = certificate(api, name)
    assert (said["schedule_version"], said["captures"]) == (2, 2)
    assert [(each["article"], each["maximum"]) for each in said["classes"]] == [("Article 99", "P2Y")]


def test_disposition_takes_nothing_that_has_become_of_another_class_since(api, tmp_path):
    captures = archived(api, tmp_path)
    name = decided(api, classes=["old"])
    other = klass("other", "P2Y", start="sent", article="Article 99")
    rule = {"id": "other", "class": "other", "subject": [WORD]}
    classes = [*SCHEDULE["classes"], other]
    set_schedule(api, {**SCHEDULE, "classes": classes, "rules": [rule, *SCHEDULE["rules"]]})
    forward(api)
    assert (state(api, name)["state"], state(api, name)["classes"]) == ("done", {"old": 1})
    again = decided(api)  # it is offered as what it is now
    assert state(api, again)["classes"] == {"other": 1}
    forward(api)
    assert [each["article"] for each in certificate(api, again)["classes"]] == ["Article 99"]
    assert api.tenant.acts.dispositions.of(captures[WORD]).id == again


def test_disposition_takes_nothing_that_has_become_of_another_class_before_it_was_approved(api, tmp_path):
    archived(api, tmp_path)
    waiting = asked(api, classes=["old"])
    other = klass("other", "P2Y", start="sent")
    rule = {"id": "other", "class": "other", "subject": [WORD]}
    classes = [*SCHEDULE["classes"], other]
    set_schedule(api, {**SCHEDULE, "classes": classes, "rules": [rule, *SCHEDULE["rules"]]})
    name = api.approved(waiting)["disposition"]
    assert state(api, name)["classes"] == {"old": 1}


def noting_when(monkeypatch, kind, name):
    """When each call of this was over."""
    real, over = getattr(kind, name), []

    def noted(*given):
        result = real(*given)
        over.append(rfc3339(utc_now()))
        return result

    monkeypatch.setattr(kind, name, noted)
    return over


def test_certificate_says_no_time_before_what_it_says_was_done(api, tmp_path, monkeypatch):
    archived(api, tmp_path)
    name = decided(api)
    destroyed = noting_when(monkeypatch, type(api.core.kms), "destroy")
    deleted = noting_when(monkeypatch, type(api.core.raw), "delete")
    forward(api)
    said = certificate(api, name)
    assert said["made_unreadable_on"] >= max(destroyed)
    assert said["ciphertext_deleted_on"] >= max(deleted)


def test_disposition_that_one_object_holds_up_holds_up_no_other(api, tmp_path, monkeypatch):
    captures = archived(api, tmp_path)
    stuck, other = (decided(api, omit=[captures[each]]) for each in ("autre", WORD))
    store = type(api.core.raw)
    real = store.delete

    def failing(self, key, version):
        if captures[WORD] in key:
            raise StoreError("away")
        real(self, key, version)

    with monkeypatch.context() as patched:
        patched.setattr(store, "delete", failing)
        with pytest.raises(StoreError):
            forward(api)
        with pytest.raises(StoreError):
            forward(api)
        assert [state(api, each)["state"] for each in (stuck, other)] == ["going", "done"]
    forward(api)
    assert state(api, stuck)["state"] == "done"


def test_disposition_that_is_asked_for_twice_is_one_that_can_be_stopped(api, tmp_path):
    """Who stops the one would else have stopped nothing."""
    archived(api, tmp_path)
    first, second = asked(api), asked(api)
    name = api.approved(first)["disposition"]
    approve = f"/v1/approvals/{second.json()['id']}/approve"
    answer = api.call("POST", approve, "legal", "zoe", reason="vu").json()
    assert answer["error"] == "disposition.nothing"
    api.call("POST", f"/v1/dispositions/{name}/stop", "legal", "zoe", reason="litige")
    forward(api)
    assert [each["state"] for each in listed(api)] == ["stopped"]


def listed(api):
    return api.call("GET", "/v1/dispositions", "auditor", "aude").json()["dispositions"]


def test_certificate_names_the_time_at_which_the_last_of_several_batches_was_unreadable(api, tmp_path):
    archived(api, tmp_path)
    name = decided(api)
    api.follow()
    advance(api.core, api.tenant)
    acts = api.tenant.acts
    first, second = (each.id for each in acts.dispositions.known[name].going)
    ends = {first: "2027-01-02T00:00:00.000000Z", second: "2027-01-01T00:00:00.000000Z"}
    for capture, end in ends.items():
        batch = Batch(f"b{capture}", (capture,), (), (), (), destroy_after=end)
        acts.erasures.batches[batch.id] = batch
        assert unreadable_since(acts, acts.dispositions.known[name]) is None
        batch.destroyed_at = end
    assert unreadable_since(acts, acts.dispositions.known[name]) == max(ends.values())


def test_certificate_of_an_order_says_of_no_ciphertext_that_it_is_locked_which_nobody_has_looked_at(
    api, tmp_path, monkeypatch
):
    captures = archived(api, tmp_path)
    order = ordered(api, "erase", captures=[captures[WORD]])
    with monkeypatch.context() as busy:
        busy.setattr("archive_service.disposal.disposing.none_left", lambda *_: False)
        forward(api)
    path = f"/v1/orders/{order}/certificate?format=pdf"
    paper = api.call("GET", path, "legal", "zoe")
    assert paper.status_code == 200, paper.text
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(paper.content)).pages)
    assert "is not seen to be deleted yet" in " ".join(text.split())
    assert "lies under a lock of the store, and goes" not in " ".join(text.split())


class TwoVersions:
    """A store in which an object has two versions, the oldest first; one of them cannot be deleted."""

    def __init__(self, stuck):
        self.left = [Stored("k", each, 1, utc_now()) for each in ("old", "new")]
        self._stuck = stuck

    def stat(self, key):
        return [(each, Lock()) for each in self.left]

    def delete(self, key, version):
        if version == self._stuck:
            raise StoreError("away")
        self.left = [each for each in self.left if each.version != version]


@pytest.mark.parametrize(("stuck", "left"), [("new", ["old", "new"]), ("old", ["old"])])
def test_disposition_deletes_the_oldest_version_of_an_object_last(api, stuck, left):
    """The oldest is the one that the entry means: cut off, nothing else is taken for it."""
    store = TwoVersions(stuck)
    with pytest.raises(StoreError):
        delete_versions(store, "k", api.core.clock())
    assert [each.version for each in store.left] == left


def test_disposition_begins_nothing_before_the_projections_are_at_the_head(api, tmp_path):
    archived(api, tmp_path)
    name = decided(api)  # an act that the catalog has not passed
    advance(api.core, api.tenant)
    assert state(api, name)["state"] == "waiting"
    api.follow()
    advance(api.core, api.tenant)
    assert state(api, name)["state"] == "going"


@pytest.mark.parametrize(
    ("position", "row", "gone"),
    [
        (Position(rows=5, indexed=5, acts=8), None, True),
        (Position(rows=5, indexed=5, acts=7), None, False),
        (Position(rows=5, indexed=4, acts=8), None, False),
        (Position(rows=5, indexed=5, acts=8), "a row", False),
    ],
    ids=["all is gone", "the act is not passed", "the index is behind", "a row stands"],
)
def test_disposition_is_over_only_when_rows_and_documents_are_seen_to_be_gone(position, row, gone):
    live = SimpleNamespace(catalog=SimpleNamespace(position=lambda: position, capture=lambda _: row))
    run = SimpleNamespace(positions={"erasure.ask": 7}, going=[SimpleNamespace(id="c")])
    assert _forgotten(live, run) is gone


def test_order_that_ends_when_keys_are_gone_shows_nothing_of_it_again(api, tmp_path, monkeypatch):
    captures = archived(api, tmp_path)
    order = ordered(api, "erase", captures=[captures[WORD]])
    monkeypatch.setattr("archive_service.disposal.disposing.none_left", lambda *_: False)
    forward(api)
    asked_ = api.call("POST", f"/v1/orders/{order}/end", "legal", "zoe", reason="mainlevée")
    api.approved(asked_, "dpo", "paul")
    acts = api.tenant.acts
    acts.refresh()
    assert acts.orders.known[order].left == ()
    assert acts.erasures.barred(captures[WORD])
    assert [each.id for each in acts.dispositions.known[order].going] == [captures[WORD]]


@pytest.mark.parametrize("kind", ["erase", "keep"])
def test_four_eyes_two_people_have_no_order_without_its_document(api, tmp_path, kind):
    """It stands above everything else: the paper is what it rests on."""
    captures = archived(api, tmp_path)
    words = {**WORDS, "captures": [captures["facture 7"]]}
    answer = api.call("POST", "/v1/orders", "legal", "zoe", kind=kind, **words)
    assert (answer.status_code, answer.json()["code"]) == (422, "order.document_missing")
    request = {name: value for name, value in words.items() if name != "reason"} | {"kind": kind}
    body = {"action": "order.place", "request": request, "reason": "r"}
    answer = api.call("POST", "/v1/approvals", "legal", "zoe", **body)
    assert (answer.status_code, answer.json()["code"]) == (422, "order.document_missing")


def test_a_lock_that_rolls_is_renewed_with_the_weeks_though_nothing_else_happens(api, tmp_path):
    anne = person(api, "Anne", "a@ex.fr")
    ids = plain(api, tmp_path)
    set_schedule(api, by_departure(anne))
    api.follow()
    first = lock_of(api, ids["facture 7"])[1].until
    later, acts = api.core.clock() + timedelta(days=60), api.tenant.acts
    catalog = api.tenants.get(api.tenant.id).catalog
    acts.refresh()
    keeper = LockKeeper(api.core.store, acts, catalog, lambda: later, mark_file(api.core.work, api.tenant.id))
    assert keeper() > 0
    assert lock_of(api, ids["facture 7"])[1].until == later + timedelta(days=90) > first
    assert keeper() == 0


def test_a_minimum_that_ends_before_the_intake_lock_shortens_nothing_and_stops_nothing(
    api, tmp_path, monkeypatch
):
    monkeypatch.setattr(bootstrap, "Source", Source)  # with its intake lock of thirty days
    ids = plain(api, tmp_path)
    before = lock_of(api, ids["facture 7"])[1].until
    short = klass("ordinary", "P2D", minimum="P1D", lock="COMPLIANCE")
    set_schedule(api, {"classes": [short], "rules": [], "default": "ordinary"})
    api.follow()
    assert lock_of(api, ids["facture 7"])[1].until == before
    rows = api.tenants.get(api.tenant.id).catalog.position().rows
    assert read_mark(mark_file(api.core.work, api.tenant.id)).at == rows


def test_a_lock_of_what_is_to_be_erased_is_made_no_longer(api, tmp_path):
    """A row stands until the order log has passed the act; its object has to go with the key."""
    ids = plain(api, tmp_path)
    capture, before = lock_of(api, ids["facture 7"])
    law = klass("ordinary", "P10Y", minimum="P10Y", start="sent", lock="COMPLIANCE")
    api.tenant.acts.refresh()
    withdraw(api.tenant.acts, Capture(LogId.parse(capture.log), capture.seq, capture.id), "rob")
    set_schedule(api, {"classes": [law], "rules": [], "default": "ordinary"})
    acts, catalog = api.tenant.acts, api.tenants.get(api.tenant.id).catalog
    acts.refresh()
    assert catalog.capture(capture.id) is not None
    file = mark_file(api.core.work, api.tenant.id)
    while LockKeeper(api.core.store, acts, catalog, api.core.clock, file)():
        continue
    assert api.core.store.stat(capture.object_key)[0][1] == before
    assert lock_of(api, ids["déjeuner"])[1].until > before.until + timedelta(days=3000)


def test_order_to_erase_names_a_list_and_no_persons_addresses(api, tmp_path):
    archived(api, tmp_path)
    person(api, "Anne", "one@ex.fr")
    answer = ask_order(api, "erase", custodians=["one@ex.fr"])
    assert (answer.status_code, answer.json()["request"]["count"]) == (202, 1)
    assert "people" not in answer.json()["request"]


def test_hold_that_is_released_looks_for_no_object_that_an_order_took(api, tmp_path, caplog):
    captures = archived(api, tmp_path)
    matter = opened(api)
    hold = placed(api, matter, captures=[captures[WORD], captures["autre"]])
    assert seen(api, matter, hold)["progress"]["locked"] == 2
    order = ordered(api, "erase", captures=[captures[WORD]])
    for _ in range(2):
        forward(api)
    assert api.call("GET", f"/v1/orders/{order}", "legal", "zoe").json()["state"] == "done"
    released(api, matter, hold)
    assert seen(api, matter, hold)["state"] == "released"
    assert not [each for each in caplog.records if each.name.endswith("holds.objects")]
    assert not flagged(api, captures["autre"])
