"""Every refusal stands in the access log: of who is known each, of strangers as sums; and none tells what is there."""

import asyncio
from dataclasses import replace

import httpx
import pytest

from archive_service.access.sign_in import Begun
from archive_service.api.errors import TooMany
from archive_service.api.rates import ActorRates, OriginRates, network_of
from archive_service.ledger.grants import Grant
from archive_service.model.errors import Denied, StoreError
from search.query_language import Everything, Not
from tests.flow.api_fakes import A_LINK, archive_with_export, is_problem, search

TIMES = ("2026-01-01T00:00:00.000000Z", "2026-12-31T00:00:00.000000Z")


@pytest.fixture
def archive(tmp_path):
    return archive_with_export(tmp_path)


def entries(tenant):
    return [(event.action, event.outcome, event.ids, event.detail) for event in tenant.access_log.events]


def turned_away(archive):
    """What the process tells when a minute is over, of the first tenant: actor, reason, count."""
    logs = {each.id: each.access_log for each in archive.tenants.values()}
    archive.app.state.services.strangers.write(logs.get)
    found = [event for event in archive.one.access_log.events if event.action == "auth.turned_away"]
    return [(event.actor, event.detail["reason"], event.detail["count"]) for event in found]


@pytest.mark.parametrize(
    "path", ["/v1/messages/{}", "/v1/messages/{}/raw", "/v1/messages/{}/proof", "/v1/captures/{}c0/raw"]
)
def test_a_probe_outside_a_grant_leaves_what_an_id_that_never_was_leaves(archive, path):
    one = archive.one
    one.authority.given = [Grant("g1", "lea", "reviewer", *TIMES, matter="m", reason="r", by="paul")]
    one.authority.bound, one.index.hits = Not(Everything()), []  # the grant holds none of what is there
    answers = {}
    for name in ("m1", "nowhere", "z1"):
        answer = archive.call("GET", path.format(name), "reviewer")
        is_problem(answer, 404, "not_found")
        answers[name] = {**answer.json(), "request_id": ""}, sorted(answer.headers)
    assert answers["m1"] == answers["nowhere"] == answers["z1"]
    assert [event.ids for event in one.access_log.events] == [
        (path.format(name).split("/")[3],) for name in answers
    ]
    left = [(event.action, event.outcome, event.role, event.detail) for event in one.access_log.events]
    assert left == [left[0]] * 3
    assert left[0][1] == "refused"
    assert left[0][3]["reason"] == "not_found"


def test_a_search_that_is_refused_is_recorded_with_its_query(archive):
    is_problem(search(archive, query="secret AND ("), 422, "query.syntax")
    is_problem(search(archive, sort="oldest"), 422, "query.sort_unsupported")
    assert [(each[1], each[3]["query"], each[3]["reason"]) for each in entries(archive.one)] == [
        ("refused", "secret AND (", "query.syntax"),
        ("refused", "*", "query.sort_unsupported"),
    ]


def test_a_request_of_another_form_is_recorded_without_what_it_said(archive):
    for body in (b'{"query": ["licenciement"]}', b"{"):
        headers = {"Content-Type": "application/json"}
        archive.call("POST", "/v1/search", "legal", content=body, headers=headers)
    assert [each[1] for each in entries(archive.one)] == ["refused"] * 2
    assert "licenciement" not in str(entries(archive.one))


def test_an_export_that_is_refused_names_what_it_asked_for(archive):
    body = {"ids": ["m1", "never-was"], "formats": ["bundle"]}
    is_problem(archive.call("POST", "/v1/exports", "legal", json=body), 404, "not_found")
    assert entries(archive.one)[0][1:3] == ("refused", ("m1", "never-was"))


def test_a_refusal_that_cannot_be_recorded_is_not_told_apart(archive):
    archive.one.access_log.broken = StoreError("the log cannot be written")
    for name in ("m1", "nowhere"):
        archive.one.barred = {"m1c0", "m1c1"}
        is_problem(archive.call("GET", f"/v1/messages/{name}", "legal"), 503, "access_log.unavailable")


def test_bad_tokens_are_one_entry_a_minute_for_the_tenant_that_they_name(archive):
    token = archive.one.token("legal")
    for _ in range(50):
        headers = {"Authorization": f"Bearer {token[:-8]}AAAAAAAA"}
        is_problem(archive.call("GET", "/v1/messages/m1", headers=headers), 401, "auth.required")
    assert archive.one.access_log.events == []
    assert turned_away(archive) == [("unknown", "auth.required", 50)]
    assert archive.one.access_log.events[0].detail["origins"] == ["192.0.2.7"]
    assert turned_away(archive) == [("unknown", "auth.required", 50)]
    assert archive.two.access_log.events == []


@pytest.mark.parametrize("given", [None, "Bearer nonsense", "Basic bGVhOmxlYQ==", f"Bearer asa_{'c' * 53}"])
def test_what_names_no_tenant_is_in_nobody_s_log(archive, given):
    headers = {"Authorization": given} if given else {}
    is_problem(archive.call("GET", "/v1/messages/m1", headers=headers), 401, "auth.required")
    turned_away(archive)
    assert [each.access_log.events for each in archive.tenants.values()] == [[], []]


def test_sums_that_cannot_be_written_are_told_with_the_next(archive):
    headers = {"Authorization": f"Bearer {archive.one.token('legal')}x"}
    archive.call("GET", "/v1/messages/m1", headers=headers)
    archive.one.access_log.broken = StoreError("the log cannot be written")
    assert turned_away(archive) == []
    archive.one.access_log.broken = None
    archive.call("GET", "/v1/messages/m1", headers=headers)
    assert turned_away(archive) == [("unknown", "auth.required", 2)]


def test_who_asks_too_often_is_told_by_name_and_summed(archive):
    archive.app.state.services = archive.services(rates=ActorRates(1, monotonic=lambda: 0.0))
    assert archive.call("GET", "/v1/messages/m1", "legal").status_code == 200
    for _ in range(3):
        is_problem(archive.call("GET", "/v1/messages/m1", "legal"), 429, "rate.exceeded")
    assert turned_away(archive) == [("lea", "rate.exceeded", 3)]


def from_(archive, address, link=A_LINK):
    """Somebody without a token, from there, by a link of a notice."""
    app = archive.app

    async def asked():
        transport = httpx.ASGITransport(app=app, client=(address, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://archive") as client:
            return await client.post(f"/v1/acknowledgements/{link}")

    return asyncio.run(asked())


def test_links_of_notices_are_not_tried_at_will_from_one_place(archive):
    looked = []
    services = archive.services(origins=OriginRates(2, monotonic=lambda: 0.0))
    archive.app.state.services = replace(
        services, tenants=lambda name: looked.append(name) or services.tenants(name)
    )
    for _ in range(2):
        from_(archive, "192.0.2.7", "x")
    for link in ("x", A_LINK):
        answer = from_(archive, "192.0.2.7", link)
        is_problem(answer, 429, "rate.exceeded")
        assert int(answer.headers["retry-after"]) >= 1
    assert looked == []  # nothing was looked at for it
    assert from_(archive, "192.0.2.8").status_code != 429
    for number in range(2):
        assert from_(archive, f"2001:db8::{number}").status_code != 429
    is_problem(from_(archive, "2001:db8::ffff:1"), 429, "rate.exceeded")  # of the same /64
    assert from_(archive, "2001:db8:0:1::1").status_code != 429


def test_memory_of_strangers_is_bounded_and_who_comes_beyond_shares():
    rates = ActorRates(1, lambda: 0.0, most=2)
    for name in ("a", "b", "c"):
        rates.take("origin", name)
    for name in ("a", "b", "c", "d"):
        with pytest.raises(TooMany):
            rates.take("origin", name)
    assert len(rates._buckets) == 3


@pytest.mark.parametrize(
    ("origin", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
    ],
)
def test_a_network_is_an_ipv4_address_or_a_64(origin, network):
    assert network_of(origin) == network


def test_who_comes_back_from_a_provider_too_often_is_not_asked_about(archive):
    asked = []

    class FakeBrowser:
        secure = False

        def begun(self, cookies, came):
            return archive.one.id, Begun("idp", "s", "n", "v", "/")

        def finish(self, begun, came):
            asked.append(came["code"])
            raise Denied("no", code="auth.sign_in.state")

    rates = OriginRates(2, monotonic=lambda: 0.0)
    archive.app.state.services = archive.services(browser=FakeBrowser(), sign_ins=rates)
    for _ in range(2):
        is_problem(archive.call("GET", "/v1/auth/callback?code=a&state=s"), 403, "auth.sign_in.state")
    is_problem(archive.call("GET", "/v1/auth/callback?code=b&state=s"), 429, "rate.exceeded")
    assert asked == ["a", "a"]
