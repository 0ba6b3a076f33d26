"""Legal holds over a real archive: placed, found, locked, counted, released by two; nothing held goes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from archive_service.disposal.erasing import run_batch
from archive_service.ledger.acts import Acts
from archive_service.model.clock import rfc3339
from archive_service.model.errors import StoreError
from archive_service.model.grounds import KeepGround
from tests.flow.archive_fixtures import done, no_settings_around, run
from tests.flow.merge_scenarios import mail as letter
from tests.flow.merge_scenarios import report
from tests.flow.test_compartments import made_compartment, mail, taken

__all__ = ["no_settings_around"]


def opened(api, name="Affaire"):
    body = {"name": name, "purpose": "litige"}
    return api.call("POST", "/v1/matters", "legal", "zoe", **body).json()["id"]


def asked(api, **more):
    review = rfc3339(api.core.clock() + timedelta(days=90))
    body = {"name": "Contrats", "ground": "litige en cours", "claim": "RG 26/01234", "owner": "zoe"}
    return body | {"review": review} | more


def placed(api, matter, **more):
    answer = api.call("POST", f"/v1/matters/{matter}/holds", "legal", "zoe", **asked(api, **more))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def seen(api, matter, hold):
    api.follow()
    answer = api.call("GET", f"/v1/matters/{matter}/holds/{hold}", "legal", "zoe")
    assert answer.status_code == 200, answer.text
    return answer.json()


def released(api, matter, hold):
    path = f"/v1/matters/{matter}/holds/{hold}/release"
    return api.approved(api.call("POST", path, "legal", "zoe", reason="fini"), "dpo", "paul")


def forget(api, *captures):
    body = {"captures": list(captures), "ground": "request", "basis": "GDPR article 17", "reason": "asked"}
    return api.approved(api.call("POST", "/v1/erasures", "dpo", "paul", **body))


def erased(api):
    api.follow()
    return batch(api)


def batch(api):
    """The day is closed for it: whoever writes loses its slot once, the access log of the API too."""
    outcome = run_batch(api.core, api.tenant, today_too=True)
    api.call("GET", "/v1/matters", "legal", "zoe")
    return outcome


def holds_of(api, capture):
    """By the acts, replayed by another process."""
    acts = api.core._tenant(api.tenant.id).acts
    acts.refresh()
    return {hold.name for hold in acts.holds.holds_of(capture)}


def flagged(api, capture):
    """Whether its object bears a hold in the store."""
    (key,) = (
        each.key
        for each in api.core.store.list(f"objects/{api.tenant.id}/")
        if each.key.endswith(f"/{capture}")
    )
    return api.core.store.stat(key)[0][1].hold


def three(api, tmp_path):
    folder = tmp_path / "m"
    mail(folder, "a", "anne@ex.fr", "bob@ex.fr", "contrat un")
    mail(folder, "b", "carla@ex.fr", "bob@ex.fr", "contrat deux")
    mail(folder, "c", "carla@ex.fr", "dan@ex.fr", "paie trois")
    captures = taken(api, folder)
    api.follow()
    return captures


def test_hold_by_query_covers_past_and_future_mail_and_locks_its_objects(api, tmp_path):
    first, second, third = three(api, tmp_path)
    matter = opened(api)
    hold = placed(api, matter, query="contrat")
    view = seen(api, matter, hold)
    assert view["progress"] | {"rows": 0, "of_rows": 0} == {
        "covered": 2, "locked": 2, "unlocked": 0, "found": True, "complete": True, "rows": 0, "of_rows": 0,
    }  # fmt: skip
    mail(tmp_path / "later", "d", "eve@ex.fr", "fay@ex.fr", "contrat quatre")
    (fourth,) = taken(api, tmp_path / "later")
    assert seen(api, matter, hold)["progress"]["covered"] == 3
    assert [bool(holds_of(api, each)) for each in (first, second, third, fourth)] == [True, True, False, True]
    assert [flagged(api, each) for each in (first, second, third, fourth)] == [True, True, False, True]
    assert run("verify", "--data", api.data).code == 0


def test_hold_keeps_what_somebody_asks_to_be_erased_until_it_is_released_by_two(api, tmp_path):
    first, *_ = three(api, tmp_path)
    matter = opened(api)
    hold = placed(api, matter, query="contrat")
    api.follow()
    forget(api, first)
    outcome = erased(api)
    assert (outcome.erased, list(outcome.kept.values())) == (0, [1])
    released(api, matter, hold)
    api.follow()
    assert not flagged(api, first)
    assert erased(api).erased == 1
    assert run("verify", "--data", api.data).code == 0


def test_hold_by_custodian_follows_the_directory_and_says_which_addresses_it_used(api, tmp_path):
    first, second, third = three(api, tmp_path)
    addresses = [{"address": "carla@ex.fr"}]
    body = {"name": "Carla Dupont", "addresses": addresses}
    made = api.call("POST", "/v1/custodians", "admin", "paul", **body).json()
    matter = opened(api)
    hold = placed(api, matter, custodians=["Carla Dupont"], first="2026-03", last="2026-03-02")
    view = seen(api, matter, hold)
    assert [each["address"] for each in view["people"][0]["addresses"]] == ["carla@ex.fr"]
    assert [bool(holds_of(api, each)) for each in (first, second, third)] == [False, True, True]
    body |= {"addresses": [*addresses, {"address": "anne@ex.fr"}], "version": made["version"]}
    changed = api.call("PUT", f"/v1/custodians/{made['id']}", "admin", "paul", **body)
    assert changed.status_code == 200, changed.text
    assert seen(api, matter, hold)["progress"]["covered"] == 3
    assert holds_of(api, first) == {"Contrats"}


def test_hold_of_days_on_which_nothing_was_sent_covers_nothing_and_says_so(api, tmp_path):
    three(api, tmp_path)
    matter = opened(api)
    hold = placed(api, matter, query="contrat", first="2025", last="2025")
    progress = seen(api, matter, hold)["progress"]
    assert (progress["covered"], progress["complete"]) == (0, True)


def test_hold_by_list_covers_at_once_and_later_captures_of_its_messages(api, tmp_path):
    first, second, _ = three(api, tmp_path)
    matter = opened(api)
    message = api.call("POST", "/v1/search", "legal", "zoe", query="contrat un").json()
    listed = placed(api, matter, messages=[message["hits"][0]["id"]])
    alone = placed(api, matter, name="Une", captures=[second])
    assert (holds_of(api, first), holds_of(api, second)) == ({"Contrats"}, {"Une"})
    again = tmp_path / "again"
    mail(again, "a", "anne@ex.fr", "bob@ex.fr", "contrat un")
    (later,) = taken(api, again, name="another feed")
    assert seen(api, matter, listed)["progress"]["covered"] == 2
    assert holds_of(api, later) == {"Contrats"}
    assert seen(api, matter, alone)["progress"]["covered"] == 1


@pytest.mark.parametrize(("past", "covered"), [(True, [True, False]), (False, [False, True])])
def test_hold_of_past_or_of_future_mail_alone(api, tmp_path, past, covered):
    mail(tmp_path / "before", "a", "anne@ex.fr", "bob@ex.fr", "contrat un")
    (before,) = taken(api, tmp_path / "before")
    hold = placed(api, matter := opened(api), query="contrat", past=past, future=not past)
    mail(tmp_path / "after", "b", "anne@ex.fr", "bob@ex.fr", "contrat deux")
    (after,) = taken(api, tmp_path / "after")
    seen(api, matter, hold)
    assert [bool(holds_of(api, each)) for each in (before, after)] == covered


def test_hold_counted_twice_stays_until_the_last_is_released(api, tmp_path):
    first, *_ = three(api, tmp_path)
    matter = opened(api)
    hold = placed(api, matter, query="contrat")
    other = placed(api, matter, name="Bob", query="to:bob")
    api.follow()
    forget(api, first)
    released(api, matter, hold)
    outcome = erased(api)
    assert (outcome.erased, list(outcome.kept.values())) == (0, [1])
    assert (flagged(api, first), seen(api, matter, hold)["state"]) == (True, "released")
    released(api, matter, other)
    assert erased(api).erased == 1
    assert not flagged(api, first)


def test_hold_placed_after_the_erasure_was_asked_finds_what_no_search_shows_any_more(api, tmp_path):
    first, _, third = three(api, tmp_path)
    forget(api, first, third)
    api.follow()
    assert api.call("POST", "/v1/search", "legal", "zoe", query="contrat un").json()["total"] == 0
    matter = opened(api)
    hold = placed(api, matter, query='"contrat un"')
    undecided = batch(api)
    assert (undecided.erased, undecided.waiting) == (0, 2)
    outcome = erased(api)
    assert (outcome.erased, list(outcome.kept.values())) == (1, [1])
    assert holds_of(api, first) == {"Contrats"}
    assert flagged(api, first)
    assert seen(api, matter, hold)["progress"]["covered"] == 1
    assert list((api.core.work / "holds").glob("*")) == []


def test_hold_upon_a_capture_whose_key_is_going_comes_too_late_and_says_so(api, tmp_path):
    first, second, _ = three(api, tmp_path)
    forget(api, first)
    assert erased(api).erased == 1
    matter = opened(api)
    body = asked(api, captures=[first])
    answer = api.call("POST", f"/v1/matters/{matter}/holds", "legal", "zoe", **body)
    assert (answer.status_code, answer.json()["code"]) == (409, "hold.too_late")
    body = asked(api, captures=[first, second])
    answer = api.call("POST", f"/v1/matters/{matter}/holds", "legal", "zoe", **body).json()
    assert (answer["too_late"], answer["progress"]["covered"]) == ([first], 1)


def test_hold_is_released_by_nobody_alone_and_its_matter_is_not_closed_before(api, tmp_path):
    matter = opened(api)
    hold = placed(api, matter, query="contrat")
    path = f"/v1/matters/{matter}/holds/{hold}"
    closing = api.call("POST", f"/v1/matters/{matter}/close", "legal", "zoe")
    assert (closing.status_code, closing.json()["code"]) == (409, "matter.held")
    ask = api.call("POST", f"{path}/release", "legal", "zoe", reason="fini").json()["id"]
    own = api.call("POST", f"/v1/approvals/{ask}/approve", "legal", "zoe", reason="moi")
    assert own.json()["code"] == "approval.own"
    assert api.call("GET", path, "legal", "zoe").json()["state"] == "in_force"
    twice = api.call("POST", f"{path}/release", "legal", "zoe", reason="fini").json()["id"]
    assert api.call("POST", f"/v1/approvals/{ask}/approve", "dpo", "paul", reason="vu").json()["state"] == (
        "executed"
    )
    late = api.call("POST", f"/v1/approvals/{twice}/approve", "dpo", "paul", reason="vu").json()
    assert (late["state"], late["error"]) == ("approved", "hold.released")
    assert api.call("POST", f"/v1/matters/{matter}/close", "legal", "zoe").status_code == 200


def test_hold_is_shown_with_its_message_to_those_who_may_know_of_it(api, tmp_path):
    three(api, tmp_path)
    matter = opened(api)
    placed(api, matter, query="contrat")
    placed(api, matter, name="Ouvert", query="contrat", silent=False)
    api.follow()
    message = api.call("POST", "/v1/search", "legal", "zoe", query="contrat un").json()["hits"][0]["id"]
    grants = [
        {"subject": "rita", "role": "reviewer"},
        {"subject": "max", "role": "reviewer", "matter": _about(api, "contrat")},
    ]
    for grant in grants:
        api.approved(api.call("POST", "/v1/grants", "admin", "paul", **grant, reason="revue"))
    shown = {}
    for role, who in (("legal", "zoe"), ("reviewer", "rita"), ("reviewer", "max")):
        holds = api.call("GET", f"/v1/messages/{message}", role, who).json()["holds"]
        shown[who] = sorted(hold["name"] for hold in holds)
    assert shown == {"zoe": ["Contrats", "Ouvert"], "rita": ["Ouvert"], "max": []}


def _about(api, query):
    body = {"name": "Revue", "purpose": "revue", "query": query}
    return api.call("POST", "/v1/matters", "legal", "zoe", **body).json()["id"]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"query": "(contrat"}, 422, "query.syntax"),
        ({"query": "contrat", "messages": ["m1"]}, 404, "not_found"),
        ({"custodians": ["personne@ex.fr"]}, 404, "not_found"),
        ({"query": "contrat", "review": "2036-01-01T00:00:00Z"}, 422, "hold.review"),
        ({"query": "contrat", "review": "2026-01-01"}, 422, "hold.review"),
        ({"query": "contrat", "past": False, "future": False}, 422, "hold.invalid"),
        ({"query": "contrat", "first": "2026-13"}, 422, "hold.invalid"),
        ({}, 422, "request.invalid"),
    ],
    ids=["query", "list and query", "nobody", "review late", "review no time", "never", "no day", "nothing"],
)
def test_hold_that_makes_no_sense_is_refused(api, changes, status, code):
    matter = opened(api)
    answer = api.call("POST", f"/v1/matters/{matter}/holds", "legal", "zoe", **asked(api, **changes))
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert api.call("GET", f"/v1/matters/{matter}/holds", "legal", "zoe").json()["holds"] == []


def token_of(api, role, who):
    path = api.data.parent / f"{who}.token"
    path.write_text(api.token(role, who))
    return f"@{path}"


def test_hold_by_the_command_line_and_its_proof_of_completeness(api, tmp_path):
    three(api, tmp_path)
    matter = opened(api)
    where = ("--tenant", "acme", "--data", api.data, "--json")
    zoe, paul = token_of(api, "legal", "zoe"), token_of(api, "dpo", "paul")
    review = asked(api)["review"]
    words = ("--name", "Contrats", "--ground", "litige", "--claim", "RG 1", "--owner", "zoe")
    search = ("--query", "contrat", "--review", review, "--matter", matter)
    hold = done("holds", "place", *words, *search, "--token", zoe, *where).answer["id"]
    api.follow()
    (row,) = done("holds", "list", "--matter", matter, "--token", zoe, *where).answer["holds"]
    assert (row["id"], row["progress"]["complete"]) == (hold, True)
    proof = done("holds", "check", hold, "--token", zoe, *where).answer
    again = done("holds", "check", hold, "--token", zoe, *where).answer
    assert (proof["count"], proof["held"], proof["complete"]) == (2, 2, True)
    assert (proof["digest"], proof["order"]) == (again["digest"], again["order"])
    (key,) = (
        each.key
        for each in api.core.store.list(f"objects/{api.tenant.id}/")
        if each.key.endswith(next(iter(api.tenant.acts.holds.known[hold].covered)))
    )
    stored, lock = api.core.store.stat(key)[0]
    api.core.store.protect(key, stored.version, replace(lock, hold=False))
    said = run("holds", "check", hold, "--token", zoe, *where)
    assert (said.code, said.answer["free"], said.answer["held"]) == (1, 1, 1)
    until = rfc3339(api.core.clock() + timedelta(days=200))
    kept = done("holds", "review", hold, "--until", until, "--note", "vu", "--token", zoe, *where).answer
    assert kept["review"] == until
    made = done("holds", "release", hold, "--reason", "fini", "--token", zoe, *where).answer["approval"]
    assert run("holds", "release", hold, "--reason", "x", "--token", paul, *where).code == 1
    done("approvals", "approve", made, "--reason", "vu", "--token", paul, *where)
    assert done("holds", "show", hold, "--token", zoe, *where).answer["state"] in ("releasing", "released")


def test_hold_check_names_what_a_hold_finds_and_does_not_cover(api, tmp_path):
    three(api, tmp_path)
    matter = opened(api)
    hold = placed(api, matter, query="contrat")
    zoe = token_of(api, "legal", "zoe")
    said = run("holds", "check", hold, "--token", zoe, "--tenant", "acme", "--data", api.data, "--json")
    assert (said.code, said.answer["uncovered"], said.answer["count"]) == (1, 2, 0)


@pytest.mark.parametrize("effect", ["lost", "kept"])
def test_hold_whose_follower_dies_between_two_acts_covers_everything_all_the_same(
    api, tmp_path, monkeypatch, effect
):
    """As at kill -9: the next follower knows what the acts say, and nothing else."""
    first, second, third = three(api, tmp_path)
    matter = opened(api)
    monkeypatch.setattr("retention.holds.PIECE", 1)
    hold = placed(api, matter, query="texte")
    append = Acts.append
    told = []

    def dying(self, act):
        seq = append(self, act) if effect == "kept" or not told else None
        told.append(seq)
        if len(told) == 2:
            raise StoreError("killed")
        return seq

    with monkeypatch.context() as patched:
        patched.setattr(Acts, "append", dying)
        with pytest.raises(StoreError, match="killed"):
            api.follow()
    assert 1 <= len(api.tenant.acts.holds.known[hold].covered) <= 2
    assert seen(api, matter, hold)["progress"]["complete"]
    assert all(holds_of(api, each) == {"Contrats"} for each in (first, second, third))
    assert all(flagged(api, each) for each in (first, second, third))


def test_hold_that_was_not_looked_for_yet_moves_along_with_a_stray_all_the_same(api, tmp_path):
    first, *_ = three(api, tmp_path)
    compartment = made_compartment(api)
    placed(api, opened(api), query="contrat")
    request = {"captures": [first], "compartment": compartment}
    body = {"action": "reseal", "request": request, "reason": "égarée"}
    ask = api.call("POST", "/v1/approvals", "compliance_officer", "anne", **body).json()["id"]
    early = api.call("POST", f"/v1/approvals/{ask}/approve", "legal", "zoe", reason="vu").json()
    assert (early["state"], early["error"]) == ("approved", "reseal.hold_undecided")
    api.follow()
    again = api.call("POST", f"/v1/approvals/{ask}/execute", "legal", "zoe").json()
    assert again["state"] == "executed"
    (sealed,) = [tenant for tenant in api.core.tenants(0) if tenant.acts.parent]
    sealed.acts.refresh()
    assert [keep.ground for keep in sealed.acts.erasures.keeps.values()] == [KeepGround.HOLD]


def test_hold_covers_every_capture_of_a_message_that_a_later_report_brings_under_it(api, tmp_path):
    inner = letter("ex.fr")
    matter = opened(api)
    hold = placed(api, matter, query="bcc:dora@ex.fr")
    captures = []
    for line in ("To: bob", "Bcc: dora"):
        folder = tmp_path / line[:2]
        folder.mkdir()
        (folder / "report.eml").write_bytes(report("ex.fr", inner, line))
        where = (
            "--tenant",
            "acme",
            "--source",
            "journal",
            "--kind",
            "exchange",
            "--data",
            api.data,
            "--json",
        )
        captures += done("import", "eml", folder, *where).answer["captures"]
        counted = seen(api, matter, hold)["progress"]["covered"]
        assert counted == (0 if line == "To: bob" else 2)
    assert all(holds_of(api, each) == {"Contrats"} and flagged(api, each) for each in captures)
