"""A hold and the directory: who keeps the people's records, alone, ends no hold by taking something out of them."""

import pytest

from archive_service.compartments import sealed_actions
from archive_service.holds.step import HoldsStep
from archive_service.model.grounds import KeepGround
from tests.flow.archive_fixtures import no_settings_around
from tests.flow.test_compartments import made_compartment, mail, taken
from tests.flow.test_holds import erased, forget, holds_of, opened, placed, seen, three
from tests.flow.test_orders import ordered

__all__ = ["no_settings_around"]


def person(api, name, *addresses, **more):
    body = {"name": name, "addresses": [{"address": each} for each in addresses], **more}
    answer = api.call("POST", "/v1/custodians", "admin", "paul", **body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def changed(api, known, **body):
    path = f"/v1/custodians/{known['id']}"
    answer = api.call("PUT", path, "admin", "paul", **body, version=known["version"])
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_hold_covers_what_was_a_persons_when_it_was_placed_whoever_takes_it_away(api, tmp_path):
    first, second, _ = three(api, tmp_path)
    anne, matter = person(api, "Anne", "anne@ex.fr"), opened(api)
    hold = placed(api, matter, custodians=[anne["id"]])
    changed(api, anne, name="Anne", addresses=[{"address": "carla@ex.fr"}])  # before anybody has looked
    view = seen(api, matter, hold)
    assert [each["address"] for each in view["people"][0]["addresses"]] == ["carla@ex.fr", "anne@ex.fr"]
    assert holds_of(api, first) == holds_of(api, second) == {"Contrats"}
    forget(api, first)
    assert erased(api).kept == {"kept: hold stands above request (order of precedence)": 1}


@pytest.mark.parametrize("kind", ["hold", "order"])
def test_hold_and_order_to_keep_cover_mail_to_come_whoever_empties_a_record(api, tmp_path, kind):
    anne = person(api, "Anne", "anne@ex.fr")
    if kind == "hold":
        placed(api, opened(api), query="custodian:Anne AND contrat")
    else:
        ordered(api, "keep", custodians=[anne["id"]])
    changed(api, anne, name="Somebody else", addresses=[])
    first, second, _ = three(api, tmp_path)
    assert holds_of(api, first)
    assert not holds_of(api, second)


def test_hold_is_not_narrowed_by_adding_to_whom_its_query_leaves_out(api, tmp_path):
    dan = person(api, "Dan", "dan@ex.fr")
    placed(api, opened(api), query="contrat AND NOT custodian:Dan")
    changed(api, dan, name="Dan", addresses=[{"address": "anne@ex.fr"}])
    first, *_ = three(api, tmp_path)
    assert holds_of(api, first)


def test_hold_keeps_the_addresses_of_groups_too(api, tmp_path):
    made = api.tenant.acts
    group = "g0000000000000001"
    record = {"id": group, "name": "Sales", "address": "bob@ex.fr"}
    fields = {"by": "paul", "at": "2026-01-01T00:00:00.000000Z", "origin": "api"}
    made.append(lambda _: {"version": 1, "act": "custodian.group", "groups": [record], **fields})
    anne = person(api, "Anne", "x@ex.fr", groups=[{"group": group}])
    placed(api, opened(api), custodians=[anne["id"]], groups=True)
    changed(api, anne, name="Anne", addresses=[{"address": "x@ex.fr"}])
    first, second, third = three(api, tmp_path)
    assert [bool(holds_of(api, each)) for each in (first, second, third)] == [True, True, False]


def test_hold_placed_while_a_stray_is_moved_goes_along_with_it(api, tmp_path, monkeypatch):
    first, *_ = three(api, tmp_path)
    compartment, matter = made_compartment(api), opened(api)
    move = sealed_actions._move

    def moved(*given):
        there = move(*given)
        placed(api, matter, captures=[first])
        return there

    monkeypatch.setattr(sealed_actions, "_move", moved)
    request = {"captures": [first], "compartment": compartment}
    body = {"action": "reseal", "request": request, "reason": "égarée"}
    api.approved(api.call("POST", "/v1/approvals", "compliance_officer", "anne", **body))
    (sealed,) = [tenant for tenant in api.core.tenants(0) if tenant.acts.parent]
    sealed.acts.refresh()
    assert [keep.ground for keep in sealed.acts.erasures.keeps.values()] == [KeepGround.HOLD]
    assert api.tenant.acts.erasures.barred(first)


def test_hold_that_was_not_held_against_new_mail_is_looked_for_before_that_is_moved(
    api, tmp_path, monkeypatch
):
    three(api, tmp_path)
    compartment = made_compartment(api)
    placed(api, opened(api), query="contrat")
    api.follow()
    with monkeypatch.context() as busy:  # mail is projected first, and held against holds when there is time
        busy.setattr(HoldsStep, "__call__", lambda _: 0)
        mail(tmp_path / "n", "new", "zed@ex.fr", "bob@ex.fr", "contrat neuf")
        (capture,) = taken(api, tmp_path / "n")
        api.follow()
        request = {"captures": [capture], "compartment": compartment}
        body = {"action": "reseal", "request": request, "reason": "égarée"}
        ask = api.call("POST", "/v1/approvals", "compliance_officer", "anne", **body).json()["id"]
        early = api.call("POST", f"/v1/approvals/{ask}/approve", "legal", "zoe", reason="vu").json()
    assert (early["state"], early["error"]) == ("approved", "reseal.hold_undecided")
    api.follow()
    assert api.call("POST", f"/v1/approvals/{ask}/execute", "legal", "zoe").json()["state"] == "executed"
    (sealed,) = [tenant for tenant in api.core.tenants(0) if tenant.acts.parent]
    sealed.acts.refresh()
    assert [keep.ground for keep in sealed.acts.erasures.keeps.values()] == [KeepGround.HOLD]


def test_hold_with_a_search_that_is_placed_while_a_stray_is_moved_is_looked_for_first(
    api, tmp_path, monkeypatch
):
    first, *_ = three(api, tmp_path)
    compartment, matter = made_compartment(api), opened(api)
    move = sealed_actions._move

    def moved(*given):
        there = move(*given)
        placed(api, matter, query="contrat")
        return there

    monkeypatch.setattr(sealed_actions, "_move", moved)
    body = {
        "action": "reseal",
        "request": {"captures": [first], "compartment": compartment},
        "reason": "égarée",
    }
    ask = api.call("POST", "/v1/approvals", "compliance_officer", "anne", **body).json()["id"]
    answer = api.call("POST", f"/v1/approvals/{ask}/approve", "legal", "zoe", reason="vu").json()
    assert (answer["state"], answer["error"]) == ("approved", "reseal.hold_undecided")
    assert not api.tenant.acts.erasures.barred(first)


def test_hold_upon_a_person_covers_mail_with_either_form_of_the_domain(api, tmp_path):
    """A directory says U-labels, mail A-labels, or the other way round (RFC 5890): it is one domain."""
    anne = person(api, "Anne", "anne@été.fr", "a@xn--t-9fab.fr")
    placed(api, opened(api), custodians=[anne["id"]])
    (tmp_path / "m").mkdir()
    for number, sender in enumerate(("anne@xn--t-9fab.fr", "a@été.fr", "a@ete.fr")):
        text = f"From: {sender}\r\nTo: bob@ex.fr\r\nMessage-ID: <{number}@ex.fr>\r\n\r\ntexte\r\n"
        (tmp_path / "m" / f"{number}.eml").write_bytes(text.encode())
    captures = taken(api, tmp_path / "m")
    api.follow()
    assert (len(captures), sum(bool(holds_of(api, capture)) for capture in captures)) == (3, 2)
