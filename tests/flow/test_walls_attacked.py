"""Walls attacked over a real archive: answers that wait or are long while the door is shut, what is barred, replays,
path variants, and explanations for who may not know."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace

import pytest

from archive_service.access.events import RoleName
from archive_service.access.identity import Identity
from archive_service.access.tokens import TokenIssuer, TokenVerifier
from archive_service.api import waiting
from archive_service.api.services import IncidentState
from archive_service.compartments.resealing import make_compartment
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Denied
from tests.flow.archive_fixtures import done, no_settings_around
from tests.flow.real_api import RealApi
from tests.flow.test_bypasses import asked_grant, code, matter, two_mails
from tests.flow.test_compartments import made_compartment
from tests.flow.test_exports_expire import work

__all__ = ["no_settings_around"]


def exported(api, role, subject, *ids, **query):
    wanted = query or {"ids": list(ids)}
    asked = api.call("POST", "/v1/exports", role, subject, formats=["bundle"], **wanted)
    assert asked.status_code == 202, asked.text
    work(api)
    return f"/v1/exports/{asked.json()['id']}/download"


def ended(api, grant):
    assert api.call("POST", f"/v1/grants/{grant}/revoke", "admin", "eve", reason="fini").status_code == 200


def erased(api, message):
    asked = {"messages": [message], "ground": "request", "basis": "RGPD 17", "reason": "r"}
    api.approved(api.call("POST", "/v1/erasures", "dpo", "paul", **asked))


def last(api, action):
    path = f"/v1/access-log?limit=1&action={action}"
    return api.call("GET", path, "auditor", "aude").json()["entries"][0]


def matter_named(api, name, query):
    made = api.call("POST", "/v1/matters", "legal", "lou", name=name, purpose="p", query=query)
    return made.json()["id"]


def services_of(api):
    found = api.tenants.get(api.tenant.id)
    assert found is not None
    return found


def test_who_lost_his_grant_while_he_waited_is_shown_nothing(api, tmp_path, monkeypatch):
    ids = two_mails(api, tmp_path)
    about = matter(api, "subject:alpha")
    grant = api.approved(asked_grant(api, subject="rita", matter=about))["grant"]
    api.follow()
    seq = api.tenant.acts.refresh() + 1

    async def meanwhile(_):
        await asyncio.to_thread(lambda: (ended(api, grant), api.follow()))

    matter_named(api, "später", "subject:x")
    path = f"/v1/messages/{ids['alpha']}/raw?min_seq={seq}"
    monkeypatch.setattr(waiting, "asyncio", SimpleNamespace(sleep=meanwhile))
    assert code(api.call("GET", path, "reviewer", "rita")) == (403, "auth.forbidden")
    assert last(api, "message.raw")["outcome"] == "refused"


def test_what_is_barred_is_neither_exported_nor_counted_before_the_projections_know(api, tmp_path):
    ids = two_mails(api, tmp_path)
    erased(api, ids["beta"])
    body = {"formats": ["bundle"]}
    for wanted in ([ids["beta"]], [ids["alpha"], ids["beta"]], ["m" + "a" * 32]):
        answer = api.call("POST", "/v1/exports", "legal", "lou", ids=wanted, **body)
        assert code(answer) == (404, "not_found"), wanted
    for query, total in (("subject:beta", 0), ("*", 1)):
        answer = api.call("POST", "/v1/search", "legal", "lou", query=query).json()
        assert (answer["total"], len(answer["hits"])) == (total, total)


def test_an_export_by_ids_holds_what_is_within_the_grant_or_is_not_made(api, tmp_path):
    ids = two_mails(api, tmp_path)
    first, other = (matter_named(api, name, f"subject:{name}") for name in ("alpha", "beta"))
    grants = [
        api.approved(asked_grant(api, subject="rita", role="alert_officer", matter=each))["grant"]
        for each in (first, other)
    ]
    path = exported(api, "alert_officer", "rita", ids["alpha"], ids["beta"])
    assert api.call("GET", path, "alert_officer", "rita").status_code == 200
    ended(api, grants[1])
    assert code(api.call("GET", path, "alert_officer", "rita")) == (404, "not_found")
    by_query = exported(api, "alert_officer", "rita", query="*")
    assert api.call("GET", by_query, "alert_officer", "rita").status_code == 200
    assert last(api, "export.make")["ids"] == last(api, "export.download")["ids"] == [ids["alpha"]]
    never = "m" + "a" * 32
    answers = []
    for wanted in ([ids["beta"]], [never], [ids["alpha"], ids["beta"]], [ids["alpha"], never]):
        asked = api.call("POST", "/v1/exports", "alert_officer", "rita", ids=wanted, formats=["bundle"])
        assert code(asked) == (404, "not_found"), wanted
        answers.append({name: said for name, said in asked.json().items() if name != "request_id"})
        assert last(api, "export.request")["ids"] == wanted
    assert answers == [answers[0]] * 4
    twice = {"ids": [ids["alpha"]] * 2, "formats": ["bundle"]}
    assert api.call("POST", "/v1/exports", "alert_officer", "rita", **twice).json()["progress"]["total"] == 1


def test_an_export_for_a_matter_is_not_fetched_once_the_matter_is_closed(tmp_path, pool):
    """By its grant, which holds nothing any more; and, where a matter is to be named, by anybody."""
    with RealApi(tmp_path / "archive", pool) as api:
        ids = two_mails(api, tmp_path)
        about = matter(api, "subject:alpha")
    with RealApi(tmp_path / "archive", pool, require_matter=True) as api:
        api.approved(asked_grant(api, subject="rita", role="alert_officer", matter=about))
        people = (("alert_officer", "rita"), ("legal", "lou"))
        body = {"ids": [ids["alpha"]], "formats": ["bundle"], "matter": about}
        asked = [api.call("POST", "/v1/exports", *who, **body).json()["id"] for who in people]
        work(api)
        paths = [f"/v1/exports/{each}/download" for each in asked]
        got = [api.call("GET", path, *who) for path, who in zip(paths, people, strict=True)]
        assert [each.status_code for each in got] == [200, 200]
        second = api.call(
            "GET", paths[1], "compliance_officer", "anne"
        )  # sees all of the tenant, in his own name
        assert (second.status_code, last(api, "export.download")["actor"]) == (200, "anne")
        assert code(api.call("GET", paths[1], "alert_officer", "rita")) == (404, "not_found")
        closed = api.call("POST", f"/v1/matters/{about}/close", "legal", "lou", reason="fini")
        assert closed.status_code == 200, closed.text
        got = [code(api.call("GET", path, *who)) for path, who in zip(paths, people, strict=True)]
        assert got == [(404, "not_found"), (422, "matter.unknown")]
        assert last(api, "export.download")["outcome"] == "refused"


def test_a_repeated_request_leaves_an_entry_with_what_it_is_for_and_is_nobody_elses(tmp_path, pool):
    with RealApi(tmp_path / "archive", pool, require_purpose=True) as api:

        def asked(subject, role="legal", **body):
            headers = {"Authorization": f"Bearer {api.token(role, subject)}", "Idempotency-Key": "k"}
            given = {"query": "*", "formats": ["bundle"], "purpose": "litige", **body}
            return asyncio.run(api._call("POST", "/v1/exports", headers, {"json": given}))

        first, again, other = asked("lou"), asked("lou"), asked("eve")
        assert [each.status_code for each in (first, again, other)] == [202, 202, 202]
        assert first.json()["id"] == again.json()["id"] != other.json()["id"]
        entries = api.call("GET", "/v1/access-log?actor=lou", "auditor", "aude").json()["entries"]
        assert [(each["purpose"], each["detail"].get("repeated")) for each in entries] == [
            ("litige", True),
            ("litige", None),
        ]
        mismatch = (409, "idempotency.mismatch")
        assert code(asked("lou", query="x")) == code(asked("lou", purpose="autre")) == mismatch
        assert code(asked("lou", role="compliance_officer")) == mismatch
        assert code(asked("lou", role="admin")) == (403, "auth.forbidden")


def test_why_tells_nothing_of_others_to_who_sees_a_part(api):
    """Also in a compartment, where every role needs a grant."""
    where = f"?compartment={made_compartment(api)}"
    about = {"name": "M", "purpose": "p", "query": "subject:x"}
    part = api.call("POST", f"/v1/matters{where}", "legal", "lou", **about).json()["id"]
    given = {"subject": "nina", "role": "legal", "matter": part, "reason": "r"}
    asked = api.call("POST", f"/v1/grants{where}", "compliance_officer", "max", **given)
    api.approved(asked, "legal", "lou", where)
    path = f"/v1/policy/why{where}&right=read"
    other = api.call("GET", f"{path}&subject=rita&role=alert_officer", "legal", "nina")
    assert code(other) == (403, "auth.forbidden")
    own = api.call("GET", path, "legal", "nina").json()
    assert (own["allowed"], len(own["within"])) == (True, 1)
    assert api.call("GET", f"{path}&subject=rita&role=alert_officer", "legal", "lou").json()["allowed"]


@pytest.mark.parametrize(
    "subject",
    ["Account:siem", "account\uff1asiem", "account :siem", "acc\u200bount:siem", "\uff21ccount:siem"],
    ids=ascii,
)
def test_nobody_of_the_built_in_issuer_reads_like_an_account(api, subject):
    verifier = Identity(TokenVerifier(api.tenants.token_key))
    issuer = TokenIssuer(api.tenant.id, api.tenant.token_key())
    token = issuer.issue(subject, RoleName.LEGAL, timedelta(hours=1), api.core.clock)
    with pytest.raises(Denied):
        verifier.identify(token)


@pytest.mark.parametrize(
    "path", ["//v1/messages/ID", "/v1//messages/ID", "/V1/messages/ID", "/v1/messages/%2e%2e/ID", "/v1/messages/ID/",
             "/v1/messages/ID/raw/", "/v1/messages/ID/RAW", "/v1/messages/ID%2fraw", "/v1/./messages/ID",
             "/v1/messages/ID/%72aw", "/v1/messages/ID;x/raw", "/v1/messages/%49D/raw"],
)  # fmt: skip
def test_no_spelling_of_a_path_passes_the_door(mails, path):
    api, ids = mails
    answer = api.call("GET", path.replace("ID", ids["alpha"]), "reviewer", "nobody")
    assert answer.status_code in (403, 404)
    assert "alpha" not in answer.text.replace(ids["alpha"], "")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_show_nothing(mails, method):
    api, ids = mails
    for path in (f"messages/{ids['alpha']}/raw", "exports/x/download", "access-log"):
        answer = api.call(method, f"/v1/{path}", "legal", "lou")
        assert (answer.status_code, "alpha" in answer.text) == (405, False)


@pytest.mark.parametrize(
    "header",
    [{"If-None-Match": "*"}, {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, {"Range": "bytes=0-9"}],
    ids=["etag", "since", "range"],
)
def test_a_conditional_look_is_a_look(mails, header):
    api, ids = mails
    path = f"/v1/messages/{ids['alpha']}/raw"
    headers = {"Authorization": f"Bearer {api.token('legal', 'lou')}", **header}
    before = last(api, "message.raw")["seq"]
    answer = asyncio.run(api._call("GET", path, headers, {}))
    assert (answer.status_code, b"alpha" in answer.content) == (200, True)
    entry = last(api, "message.raw")
    assert entry["seq"] > before
    assert ids["alpha"] in entry["ids"]


@pytest.fixture(scope="module")
def mails(tmp_path_factory, pool):
    folder = tmp_path_factory.mktemp("walls")
    with RealApi(folder / "archive", pool) as api:
        ids = two_mails(api, folder)
        api.call("GET", f"/v1/messages/{ids['alpha']}/raw", "legal", "lou")
        yield api, ids


# --- compartments


def test_a_compartment_of_another_tenant_is_not_there_whatever_its_grants_say(api):
    """People of two tenants may have one name: the built-in issuer's subjects are each tenant's own."""
    done("init", "--data", api.data, "--tenant", "autre")
    other = api.core.tenant("autre")
    now = api.core.clock()
    grant = {"subject": "rita", "role": "alert_officer", "from": rfc3339(now - timedelta(hours=1))}
    grants = [grant | {"until": rfc3339(now + timedelta(hours=1))}]
    theirs, own = (
        make_compartment(api.core, tenant, "alertes", "p1", "paul", grants).id
        for tenant in (other, api.tenant)
    )
    api.follow()
    token = api.token("alert_officer", "rita")
    path = "/v1/search?compartment="
    assert api.with_token("POST", path + own, token, query="*").status_code == 200
    for hidden in (theirs, other.id, api.tenant.id, "0" * 20):
        assert code(api.with_token("POST", path + hidden, token, query="*")) == (404, "not_found"), hidden
    there = api.token("alert_officer", "rita", other)
    assert api.with_token("POST", path + theirs, there, query="*").status_code == 200


def test_an_incident_of_a_compartment_voids_what_was_issued_before_there_and_there_alone(api):
    where = f"?compartment={made_compartment(api)}"
    api.follow()
    token = api.token("legal", "lou")

    def looked(given, inside=where):
        return api.with_token("POST", f"/v1/search{inside}", given, query="*").status_code

    assert (looked(token), looked(token, "")) == (200, 200)
    api.later()
    opened = api.call("POST", f"/v1/incidents{where}", "compliance_officer", "max", reason="r")
    assert opened.status_code == 201, opened.text
    api.later()
    assert (looked(token), looked(token, "")) == (404, 200)
    assert looked(api.token("legal", "lou")) == 200
    body = {"query": "*", "formats": ["bundle"]}
    assert code(api.call("POST", f"/v1/exports{where}", "legal", "lou", **body)) == (409, "incident.open")
    assert api.call("POST", "/v1/exports", "legal", "lou", **body).status_code == 202


def test_an_incident_of_the_tenant_is_one_of_its_compartments(api):
    """Asked of the compartment alone, as a long answer does on its way."""
    there = api.tenants.get(made_compartment(api))
    assert there.authority.incident() == IncidentState()
    opened = api.call("POST", "/v1/incidents", "dpo", "paul", reason="r").json()
    assert there.authority.incident() == IncidentState(True, opened["opened_at"])
