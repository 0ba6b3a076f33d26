"""Grants, compartments and exclusion lists over a real archive: what is not for somebody is not there for him."""

from email.message import EmailMessage
from pathlib import Path

import pytest

from archive_service.ledger.reader import read_from
from tests.flow.archive_fixtures import done, no_settings_around, run
from tests.flow.real_api import RealApi

__all__ = ["no_settings_around"]


def mail(folder: Path, name: str, sender: str, to: str, subject: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Message-ID"], message["Date"] = f"<{name}@ex.fr>", "Mon, 02 Mar 2026 10:00:00 +0000"
    message.set_content(f"texte {subject}")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.eml").write_bytes(message.as_bytes())


def taken(
    api: RealApi, folder: Path, tenant: str = "acme", name: str = "feed", kind: str = "generic"
) -> list[str]:
    asked = ("--tenant", tenant, "--source", name, "--kind", kind, *api.where, "--json")
    return list(done("import", "eml", folder, *asked).answer["captures"])


def found(api, role="compliance_officer", who="anne", query="*", where=""):
    api.follow()
    answer = api.call("POST", f"/v1/search{where}", role, who, query=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def subjects(answer):
    return sorted(hit["subject"] for hit in answer["hits"])


def made_compartment(api, name="alertes"):
    officers = [{"subject": "rita", "role": "alert_officer"}, {"subject": "max", "role": "compliance_officer"},
                {"subject": "lou", "role": "legal"}]  # fmt: skip
    asked = api.call(
        "POST", "/v1/compartments", "dpo", "paul", name=name, officers=officers, reason="Sapin II 8"
    )
    return api.approved(asked)["compartment"]


# --- grants


def test_a_reviewer_sees_his_matter_and_nothing_is_counted_beyond_it(api, tmp_path):
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat un")
    mail(tmp_path / "m", "two", "a@ex.fr", "c@ex.fr", "paie deux")
    taken(api, tmp_path / "m")
    refused = api.call("POST", "/v1/search", "reviewer", "rita", query="*")
    assert (refused.status_code, refused.json()["code"]) == (403, "auth.forbidden")
    matter = api.call(
        "POST", "/v1/matters", "legal", "zoe", name="Affaire", purpose="litige", query="contrat"
    )
    asked = api.call("POST", "/v1/grants", "admin", "paul", subject="rita", role="reviewer",
                     matter=matter.json()["id"], reason="revue")  # fmt: skip
    grant = api.approved(asked)["grant"]
    everything = found(api)
    hidden = next(hit["id"] for hit in everything["hits"] if hit["subject"] == "paie deux")
    seen = found(api, "reviewer", "rita")
    assert (subjects(seen), seen["total"], seen["not_fully_indexed"]) == (["contrat un"], 1, 0)
    assert found(api, "reviewer", "rita", "paie")["total"] == 0
    nowhere = api.call("GET", "/v1/messages/mnowhere", "reviewer", "rita")
    for path in ("", "/raw", "/proof"):
        theirs = api.call("GET", f"/v1/messages/{hidden}{path}", "reviewer", "rita")
        assert (theirs.status_code, theirs.json()["code"]) == (404, "not_found")
        assert theirs.json().keys() == nowhere.json().keys()
    assert api.call("GET", f"/v1/messages/{seen['hits'][0]['id']}/raw", "reviewer", "rita").status_code == 200
    assert api.call("POST", f"/v1/grants/{grant}/revoke", "admin", "paul", reason="fini").status_code == 200
    assert api.call("POST", "/v1/search", "reviewer", "rita", query="*").status_code == 403


def test_a_closed_matter_shows_nothing(api, tmp_path):
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat un")
    taken(api, tmp_path / "m")
    matter = api.call("POST", "/v1/matters", "legal", "zoe", name="A", purpose="p", query="contrat").json()[
        "id"
    ]
    asked = api.call(
        "POST", "/v1/grants", "admin", "paul", subject="rita", role="reviewer", matter=matter, reason="r"
    )
    api.approved(asked)
    assert found(api, "reviewer", "rita")["total"] == 1
    assert api.call("POST", f"/v1/matters/{matter}/close", "legal", "zoe").status_code == 200
    assert found(api, "reviewer", "rita")["total"] == 0


def test_four_eyes_nobody_widens_alone_what_a_grant_shows(api, tmp_path):
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat un")
    mail(tmp_path / "m", "two", "a@ex.fr", "c@ex.fr", "paie deux")
    taken(api, tmp_path / "m")
    body = {"name": "A", "purpose": "p", "query": "contrat"}
    matter = api.call("POST", "/v1/matters", "legal", "zoe", **body).json()["id"]
    assert (
        api.call("PUT", f"/v1/matters/{matter}", "legal", "zoe", **body | {"purpose": "q"}).status_code == 200
    )
    given = {"subject": "rita", "role": "reviewer", "matter": matter, "reason": "r"}
    api.approved(api.call("POST", "/v1/grants", "admin", "paul", **given))
    wider = body | {"query": "*"}
    alone = api.call("PUT", f"/v1/matters/{matter}", "legal", "zoe", **wider)
    assert (alone.status_code, alone.json()["code"]) == (409, "matter.granted")
    assert found(api, "reviewer", "rita")["total"] == 1
    assert api.call("PUT", f"/v1/matters/{matter}", "legal", "zoe", **body | {"name": "B"}).status_code == 200
    asked = {"action": "matter.change", "request": wider | {"matter": matter}, "reason": "élargie"}
    api.approved(api.call("POST", "/v1/approvals", "legal", "zoe", **asked), "compliance_officer", "anne")
    assert found(api, "reviewer", "rita")["total"] == 2


@pytest.mark.parametrize(("begins", "total"), [("2026-01-01", 1), ("2026-03-03", 0)], ids=["held", "not yet"])
def test_a_grant_for_custodians_reaches_as_far_as_their_addresses_did(api, tmp_path, begins, total):
    mail(tmp_path / "m", "theirs", "anne@ex.fr", "c@ex.fr", "avant")
    mail(tmp_path / "m", "other", "a@ex.fr", "c@ex.fr", "autre")
    taken(api, tmp_path / "m")
    addresses = [{"address": "anne@ex.fr", "from": begins, "until": "2026-12-31"}]
    made = api.call("POST", "/v1/custodians", "admin", "paul", name="Anne", addresses=addresses)
    who = made.json()["id"]
    body = {"subject": "rita", "role": "reviewer", "custodians": [who], "reason": "r"}
    api.approved(api.call("POST", "/v1/grants", "admin", "paul", **body))
    assert found(api, "reviewer", "rita")["total"] == total
    unknown = api.call("POST", "/v1/grants", "admin", "paul", **body | {"custodians": ["cx"]})
    assert unknown.status_code == 404


def test_why_says_what_a_decision_rests_on(api):
    said = api.call("GET", "/v1/policy/why?right=search&subject=rita&role=reviewer", "admin", "paul").json()
    assert (said["allowed"], said["why"][-1]) == (False, "no grant")
    asked = api.call("POST", "/v1/grants", "admin", "paul", subject="rita", role="reviewer", reason="r")
    grant = api.approved(asked)["grant"]
    said = api.call("GET", "/v1/policy/why?right=search&subject=rita&role=reviewer", "admin", "paul").json()
    assert said["allowed"]
    assert any(grant in why for why in said["why"])
    assert (
        api.call("GET", "/v1/policy/why?right=search&subject=zoe&role=legal", "reviewer", "rita").status_code
        == 403
    )


# --- compartments


def test_sapin_article_8_a_compartment_does_not_exist_for_those_without_a_grant(api, tmp_path):
    compartment = made_compartment(api)
    mail(tmp_path / "alerts", "alert", "lanceur@ex.fr", "alerte@ex.fr", "corruption")
    taken(api, tmp_path / "alerts", "acme/alertes")
    assert found(api)["total"] == 0
    where = f"?compartment={compartment}"
    seen = found(api, "alert_officer", "rita", where=where)
    assert subjects(seen) == ["corruption"]
    message = seen["hits"][0]["id"]
    assert api.call("GET", f"/v1/messages/{message}{where}", "alert_officer", "rita").status_code == 200
    unknown = "0123456789abcdef0123"
    for role, who in (
        ("compliance_officer", "anne"),
        ("alert_officer", "eve"),
        ("admin", "paul"),
        ("legal", "rita"),
    ):
        for path, body in (("/v1/search", {"query": "*"}), (f"/v1/messages/{message}", {})):
            verb = "POST" if body else "GET"
            there = api.call(verb, f"{path}{where}", role, who, **body)
            nowhere = api.call(verb, f"{path}?compartment={unknown}", role, who, **body)
            assert (there.status_code, nowhere.status_code) == (404, 404)
            assert {**there.json(), "request_id": ""} == {**nowhere.json(), "request_id": ""}
            assert there.headers.keys() == nowhere.headers.keys()
    assert api.call("GET", "/v1/compartments", "compliance_officer", "anne").json()["compartments"] == []
    own = api.call("GET", "/v1/compartments", "alert_officer", "rita").json()["compartments"]
    assert own == [{"id": compartment, "name": "alertes"}]
    refusals = api.call("GET", "/v1/access-log?actor=eve", "auditor", "aude").json()["entries"]
    assert {entry["outcome"] for entry in refusals} == {"refused"}
    assert len(refusals) == 4


def test_a_compartments_own_log_says_who_looked_and_its_grants_need_two_people_in_it(api, tmp_path):
    compartment = made_compartment(api)
    where = f"?compartment={compartment}"
    found(api, "alert_officer", "rita", where=where)
    asked = api.call(
        "POST", f"/v1/grants{where}", "compliance_officer", "max", subject="ann", role="auditor", reason="r"
    )
    outsider = api.call(
        "POST", f"/v1/approvals/{asked.json()['id']}/approve{where}", "legal", "zoe", reason="x"
    )
    assert outsider.status_code == 404
    api.approved(asked, "legal", "lou", where)
    entries = api.call("GET", f"/v1/access-log{where}", "auditor", "ann").json()["entries"]
    assert "rita" in {entry["actor"] for entry in entries}
    tenants = api.call("GET", "/v1/access-log?actor=rita", "auditor", "aude").json()["entries"]
    assert tenants == []


def test_four_eyes_a_compartment_that_was_made_and_not_told_of_is_made_once(api, monkeypatch):
    from archive_service.compartments import sealed_actions

    cut = []

    def fail(*_):
        cut.append(1)
        from archive_service.model.errors import StoreError

        raise StoreError("away")

    monkeypatch.setattr(sealed_actions, "_spent", fail)
    officers = [{"subject": who, "role": "alert_officer"} for who in ("rita", "max")]
    asked = api.call(
        "POST", "/v1/compartments", "dpo", "paul", name="a", officers=officers, reason="r"
    ).json()["id"]
    first = api.call("POST", f"/v1/approvals/{asked}/approve", "legal", "zoe", reason="vu").json()
    assert (first["state"], first["error"], len(cut)) == ("approved", "store.failed", 1)
    monkeypatch.undo()
    again = api.call("POST", f"/v1/approvals/{asked}/execute", "legal", "zoe").json()
    assert again["state"] == "executed"
    assert sum(tenant.acts.parent is not None for tenant in api.core.tenants(0)) == 1


def test_only_who_may_decide_knows_that_a_compartment_was_asked_for(api):
    officers = [{"subject": who, "role": "alert_officer"} for who in ("rita", "max")]
    asked = api.call(
        "POST", "/v1/compartments", "dpo", "paul", name="a", officers=officers, reason="r"
    ).json()["id"]
    assert api.call("GET", f"/v1/approvals/{asked}", "legal", "zoe").status_code == 200
    assert api.call("GET", f"/v1/approvals/{asked}", "auditor", "aude").status_code == 404
    assert api.call("GET", "/v1/approvals", "records_manager", "rob").json()["approvals"] == []


# --- strays


def test_a_stray_is_moved_with_its_envelope_and_leaves_what_an_excluded_capture_leaves(api, tmp_path):
    compartment = made_compartment(api)
    where = f"?compartment={compartment}"
    mail(tmp_path / "m", "stray", "lanceur@ex.fr", "alerte@ex.fr", "corruption")
    mail(tmp_path / "m", "other", "a@ex.fr", "b@ex.fr", "contrat")
    taken(api, tmp_path / "m")
    stray = found(api, query="corruption")["hits"][0]["id"]
    before = api.call("GET", f"/v1/messages/{stray}", "compliance_officer", "anne").json()["captures"][0]
    asked = api.call("POST", "/v1/approvals", "compliance_officer", "anne", action="reseal",
                     request={"messages": [stray], "compartment": compartment}, reason="égarée")  # fmt: skip
    api.approved(asked)
    assert subjects(found(api)) == ["contrat"]
    assert api.call("GET", f"/v1/messages/{stray}", "compliance_officer", "anne").status_code == 404
    api.follow()
    seen = found(api, "alert_officer", "rita", where=where)
    assert subjects(seen) == ["corruption"]
    moved = api.call("GET", f"/v1/messages/{seen['hits'][0]['id']}{where}", "alert_officer", "rita").json()
    assert moved["captures"][0]["received_at"] == before["received_at"]
    assert api.call("GET", "/v1/exclusions", "dpo", "paul").json()["withdrawn"] == 1
    done("erasures", "run", "--tenant", "acme", "--today-too", "--data", api.data)
    assert run("verify", "--data", api.data).code == 0


def test_hold_moves_along_and_an_order_to_keep_stands_above_resealing(api, tmp_path):
    from archive_service.model.grounds import KeepGround
    from retention.keeping import lift_keep, place_keep

    compartment = made_compartment(api)
    mail(tmp_path / "m", "stray", "lanceur@ex.fr", "alerte@ex.fr", "corruption")
    (capture,) = taken(api, tmp_path / "m")
    keep = place_keep(api.tenant.acts, [capture], KeepGround.ORDER, "TJ Paris", "paul")
    request = {"captures": [capture], "compartment": compartment}
    asked = api.call(
        "POST", "/v1/approvals", "compliance_officer", "anne", action="reseal", request=request, reason="r"
    )
    answer = api.call(
        "POST", f"/v1/approvals/{asked.json()['id']}/approve", "legal", "zoe", reason="vu"
    ).json()
    assert (answer["state"], answer["error"]) == ("approved", "reseal.kept")
    assert found(api)["total"] == 1
    lift_keep(api.tenant.acts, keep, "paul")
    place_keep(api.tenant.acts, [capture], KeepGround.HOLD, "litige", "paul")
    assert (
        api.call("POST", f"/v1/approvals/{asked.json()['id']}/execute", "legal", "zoe").json()["state"]
        == "executed"
    )
    (sealed,) = [tenant for tenant in api.core.tenants(0) if tenant.acts.parent]
    sealed.acts.refresh()
    assert [keep.ground for keep in sealed.acts.erasures.keeps.values()] == [KeepGround.HOLD]


# --- exclusion lists


def exclude(api, compartment, *addresses, **more):
    body = {"name": "médecin du travail", "basis": "Code du travail L4624-8", "reason": "convention"}
    body |= {"addresses": list(addresses), "domains": ["ex.fr"], "compartment": compartment}
    return api.approved(api.call("POST", "/v1/exclusions", "dpo", "paul", **body | more))


def report(folder: Path, name: str, sender: str, to: str, subject: str) -> None:
    """The same mail, in a journal report that says to whom it went."""
    mail(folder, name, sender, to, subject)
    inner = (folder / f"{name}.eml").read_bytes()
    lines = f"Sender: {sender}\nSubject: {subject}\nMessage-Id: <{name}@ex.fr>\nTo: {to}\n"
    outer = EmailMessage()
    outer["From"], outer["To"], outer["X-MS-Journal-Report"] = "journal@ex.fr", "archive@ex.fr", ""
    outer.set_content(lines)
    outer.make_mixed()
    frame = outer.as_bytes().rstrip()
    boundary = outer.get_boundary().encode()
    end = b"--" + boundary + b"--"
    head = frame[: frame.rindex(end)]
    part = b"--" + boundary + b"\nContent-Type: message/rfc822\n\n" + inner + b"\n"
    (folder / f"{name}.eml").write_bytes(head + part + end + b"\n")


def test_mail_of_excluded_parties_alone_is_withdrawn_and_mixed_mail_is_sealed(api, tmp_path):
    compartment = made_compartment(api)
    exclude(api, compartment, "dr@ex.fr", "infirmerie@ex.fr")
    folder = tmp_path / "m"
    report(folder, "alone", "dr@ex.fr", "patient@dehors.fr", "secret")
    report(folder, "both", "dr@ex.fr", "infirmerie@ex.fr", "dossier")
    report(folder, "mixed", "salarie@ex.fr", "DR+rdv@ex.fr", "rendez-vous")
    report(folder, "plain", "a@ex.fr", "b@ex.fr", "contrat")
    taken(api, folder, kind="m365")
    api.follow()
    answer = found(api)
    assert (subjects(answer), answer["total"]) == (["contrat"], 1)
    seen = found(api, "alert_officer", "rita", where=f"?compartment={compartment}")
    assert subjects(seen) == ["rendez-vous"]
    assert api.call("GET", "/v1/exclusions", "dpo", "paul").json()["withdrawn"] == 3
    done("erasures", "run", "--tenant", "acme", "--today-too", "--data", api.data)
    said = run("verify", "--data", api.data)
    assert said.code == 0, said.out


def test_mail_of_which_nobody_says_to_whom_it_went_is_sealed_and_never_destroyed(api, tmp_path):
    """An outsider may name an excluded address and write to somebody else by a blind copy."""
    compartment = made_compartment(api)
    exclude(api, compartment, "dr@ex.fr")
    mail(tmp_path / "m", "blind", "escroc@dehors.fr", "dr@ex.fr", "virement")
    taken(api, tmp_path / "m")
    api.follow()
    assert found(api)["total"] == 0
    assert subjects(found(api, "alert_officer", "rita", where=f"?compartment={compartment}")) == ["virement"]


def test_nothing_withdrawn_tells_by_its_act_what_it_was(api, tmp_path):
    compartment = made_compartment(api)
    exclude(api, compartment, "dr@ex.fr")
    mail(tmp_path / "m", "alone", "dr@ex.fr", "patient@dehors.fr", "secret médical")
    mail(tmp_path / "m", "mixed", "salarie@ex.fr", "dr@ex.fr", "rendez-vous " + "long " * 200)
    taken(api, tmp_path / "m")
    acts = api.tenant.acts
    acts.refresh()
    sizes = {
        len(entry.fields["payload"]["sealed"])
        for entry in read_from(api.core.store, acts.log, 0)
        if entry.type == "act" and acts.open(entry)["act"] == "capture.withdraw"
    }
    assert len(sizes) == 1


def test_a_capture_that_cannot_be_sealed_now_is_shown_to_nobody_and_taken_later(api, tmp_path, monkeypatch):
    from archive_service.compartments.resealing import Resealer
    from archive_service.model.errors import StoreError

    compartment = made_compartment(api)
    exclude(api, compartment, "dr@ex.fr")
    mail(tmp_path / "m", "mixed", "salarie@ex.fr", "dr@ex.fr", "rendez-vous")

    def away(*_):
        raise StoreError("away")

    with monkeypatch.context() as patched:
        patched.setattr(Resealer, "into", away)
        taken(api, tmp_path / "m")
        assert found(api)["total"] == 0
        assert api.tenant.acts.erasures.withdrawn == 0
    api.follow()  # a new follower tries again at its start
    assert found(api)["total"] == 0
    assert subjects(found(api, "alert_officer", "rita", where=f"?compartment={compartment}")) == [
        "rendez-vous"
    ]


@pytest.mark.parametrize("list_changed", [False, True], ids=["the same list", "another compartment by now"])
def test_a_sealing_that_is_cut_off_and_tried_again_leaves_one_copy(api, tmp_path, monkeypatch, list_changed):
    from archive_service.compartments import excluding
    from archive_service.model.errors import StoreError

    compartment = made_compartment(api)
    body = exclude(api, compartment, "dr@ex.fr")
    mail(tmp_path / "m", "mixed", "salarie@ex.fr", "dr@ex.fr", "rendez-vous")

    def away(*_, **__):
        raise StoreError("away")

    with monkeypatch.context() as patched:
        patched.setattr(excluding, "withdraw", away)
        taken(api, tmp_path / "m")
    if list_changed:
        other = made_compartment(api, "syndicat")
        exclude(api, other, "dr@ex.fr", exclusion=body["exclusion"])
    for _ in range(2):  # what is left behind is seen to by the compartment's follower
        assert found(api)["total"] == 0
    counts = {
        tenant.name: found(api, "alert_officer", "rita", where=f"?compartment={tenant.id}")["total"]
        for tenant in api.core.tenants(0)
        if tenant.acts.parent
    }
    assert counts == ({"acme/alertes": 0, "acme/syndicat": 1} if list_changed else {"acme/alertes": 1})
    assert api.call("GET", "/v1/exclusions", "dpo", "paul").json()["withdrawn"] == 1
    assert run("verify", "--data", api.data).code == 0


def test_what_a_sender_writes_does_not_have_mail_with_others_destroyed(api, tmp_path):
    compartment = made_compartment(api)
    exclude(api, compartment, "dr@ex.fr", "md@été.fr", domains=["ex.fr", "Été.fr."])
    folder = tmp_path / "m"
    mail(folder, "authors", "dr@ex.fr, chef@ex.fr", "x@dehors.fr", "deux auteurs")
    mail(folder, "dot", "x@dehors.fr", "dr@ex.fr, chef@xn--t-9fab.fr", "autre domaine")
    report(tmp_path / "j", "idn", "md@xn--t-9fab.fr", "patient@dehors.fr", "secret")
    taken(api, tmp_path / "j", name="journal", kind="m365")
    (folder / "sender.eml").write_bytes(
        b"From: dr@ex.fr\r\nSender: chef@ex.fr\r\nTo: x@dehors.fr\r\nSubject: au nom de\r\n\r\ntexte\r\n"
    )
    taken(api, folder)
    assert found(api)["total"] == 0
    api.follow()
    seen = found(api, "alert_officer", "rita", where=f"?compartment={compartment}")
    assert subjects(seen) == ["au nom de", "autre domaine", "deux auteurs"]
    assert api.call("GET", "/v1/exclusions", "dpo", "paul").json()["withdrawn"] == 4


def test_an_exclusion_list_for_one_source_leaves_the_others(api, tmp_path):
    compartment = made_compartment(api)
    taken(api, _folder(tmp_path / "none"), name="first")
    source = (
        next(each for each in api.tenant.acts.sources() if each.name == "first").id
        if api.tenant.acts.refresh()
        else ""
    )
    exclude(api, compartment, "dr@ex.fr", sources=[source])
    mail(tmp_path / "m", "alone", "dr@ex.fr", "patient@dehors.fr", "secret")
    taken(api, tmp_path / "m", name="first")
    taken(api, tmp_path / "m", name="second")
    assert found(api)["total"] == 1


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"addresses": ["dr@dehors.fr"]}, "exclusion.domain"),
        ({"addresses": ["dr"]}, "exclusion.address"),
        ({"addresses": ["dr+rdv@ex.fr"]}, "exclusion.address"),
        ({"exclusion": "xnever"}, "not_found"),
        ({"domains": ["ex.fr", "été .fr"]}, "exclusion.domain"),
        ({"compartment": "0123456789abcdef0123"}, "not_found"),
        ({"sources": ["snowhere"]}, "not_found"),
    ],
    ids=["outside", "no address", "sub-address", "no list", "no domain", "no compartment", "no source"],
)
def test_a_senseless_exclusion_list_is_refused(api, changes, code):
    compartment = made_compartment(api)
    body = {
        "name": "n",
        "basis": "b",
        "addresses": ["dr@ex.fr"],
        "domains": ["ex.fr"],
        "compartment": compartment,
    }
    answer = api.call("POST", "/v1/exclusions", "dpo", "paul", **body | {"reason": "r"} | changes)
    assert answer.json()["code"] == code
