"""The walls of compartments, looked at from outside: two archives, of which one has moved a stray into a compartment
and the other has withdrawn an excluded capture, answer alike whoever asks."""

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ingest.parser_pool import ParserPool
from tests.flow.api_fakes import TABLE
from tests.flow.archive_fixtures import in_days, no_settings_around
from tests.flow.real_api import RealApi
from tests.flow.test_compartment_ids import ORDER
from tests.flow.test_compartments import exclude, found, made_compartment, mail, report, taken
from tests.flow.test_exports_expire import work
from tests.flow.test_orders import forward
from tests.flow.test_retention import klass

__all__ = ["no_settings_around"]

OUTSIDE = ("auditor", "external_auditor", "records_manager", "reviewer")
"""Who neither asks for a compartment nor decides over one."""
GRANTED = ("reviewer", "external_auditor")
NEXT_REVIEW = in_days(250)  # one for both archives
HOLD = {"name": "h", "ground": "litigation", "claim": "x", "owner": "zoe", "review": in_days(200),
        "query": "contrat", "past": True, "future": True}  # fmt: skip


class Twin:
    """An archive with two mails and a third that was withdrawn: a stray that was moved, or an excluded capture."""

    def __init__(self, folder: Path, pool: ParserPool, *, stray: bool) -> None:
        self.api = RealApi(folder / "archive", pool)
        self.compartment = made_compartment(self.api)
        self.private = [self.compartment, "reseal", "compartment.make", "exclusion.set", "alertes"]
        self._granted()
        if not stray:
            exclude(self.api, self.compartment, "dr@ex.fr")
        mail(folder / "m", "one", "a@ex.fr", "b@ex.fr", "contrat un")
        mail(folder / "m", "two", "a@ex.fr", "c@ex.fr", "contrat deux")
        sender = "la@ex.fr" if stray else "dr@ex.fr"
        report(folder / "j", "three", sender, "x@dehors.fr", "contrat trois")
        taken(self.api, folder / "m")
        self.capture = taken(self.api, folder / "j", name="journal", kind="m365")[0]
        self.matter = self._made("/v1/matters", name="A", purpose="p", query="*")
        self.api.follow()
        self.hold = self._made(f"/v1/matters/{self.matter}/holds", **HOLD)
        self.message = ""
        if stray:
            self._moved()
        found(self.api, "alert_officer", "rita", where=f"?compartment={self.compartment}")
        self.api.call("GET", "/v1/compartments", "alert_officer", "rita")
        self.api.follow()

    def _granted(self) -> None:
        for role in GRANTED:
            body = {"subject": f"o-{role}", "role": role, "reason": "r"}
            self.api.approved(self.api.call("POST", "/v1/grants", "admin", "paul", **body))

    def _made(self, path: str, **body: Any) -> str:
        answer = self.api.call("POST", path, "legal", "zoe", **body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def _moved(self) -> None:
        self.api.follow()
        self.message = found(self.api, query="trois")["hits"][0]["id"]
        assert self.progress()["covered"] == 3
        request = {"messages": [self.message], "compartment": self.compartment}
        asked = self.api.call("POST", "/v1/approvals", "compliance_officer", "anne",
                              action="reseal", request=request, reason="égarée")  # fmt: skip
        self.private += ["égarée"]
        self.api.approved(asked)

    def progress(self) -> Any:
        path = f"/v1/matters/{self.matter}/holds/{self.hold}"
        return self.api.call("GET", path, "auditor", "aude").json()["progress"]

    def seen(self) -> dict[tuple[str, str], tuple[int, Any]]:
        """What every route that only looks answers to everybody outside."""
        answers = {}
        for (verb, path), (_, url, _) in TABLE.items():
            if verb == "GET" and path not in ("/v1/access-log/export", "/openapi.json"):
                for role in OUTSIDE:
                    answer = self.api.call("GET", self._url(path, url), role, f"o-{role}")
                    kind = answer.headers.get("content-type", "").partition(";")[0]
                    said = answer.json() if kind.endswith("json") else answer.text
                    answers[path, role] = (answer.status_code, said)
        return answers

    def _url(self, path: str, url: str) -> str:
        if "/matters/" in path:
            return path.replace("{id}", self.matter).replace("{hold}", self.hold)
        return path.replace("{id}", self.capture) if "/captures/" in path else url


@pytest.fixture(scope="module")
def twins(tmp_path_factory, pool):
    """(with a stray, with an excluded capture)"""
    made = [Twin(tmp_path_factory.mktemp("twin"), pool, stray=stray) for stray in (True, False)]
    yield made
    for each in made:
        each.api.__exit__(None, None, None)


_PLACES = frozenset({"size", "seq", "rows", "of_rows", "indexed", "acts", "acts_log", "bytes", "rank"})
_ID = re.compile(r"\b[a-z]?[0-9a-z]{16,64}(-[0-9]+)?\b|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z|acts-[0-9]+")
_LOOKS = {"search", "compartment.list"}


def plain(said: Any) -> Any:
    """Without ids, times, digests, and the places in logs, of which SECURITY.md says to whom they are shown."""
    if isinstance(said, dict):
        # The access log: what was done, whoever did more looking around.
        if isinstance(said.get("entries"), list):
            return Counter((each["role"], each["action"], repr(sorted(each["detail"])))
                           for each in said["entries"] if each["action"] not in _LOOKS)  # fmt: skip
        if "events" in said:
            return Counter(each["what"] for each in said["events"] if each.get("kind") != "access")
        hidden = _PLACES | {"request_id", "keys", "checkpoint", "digest", "sha256", "note"}
        hidden |= {"version"} if "addresses" in said else set()  # of a custodian: a place in the acts log
        return {name: plain(each) for name, each in said.items() if name not in hidden}
    if isinstance(said, list):
        return [plain(each) for each in said]
    return _ID.sub("#", said) if isinstance(said, str) else said


def test_a_stray_and_an_excluded_capture_look_alike_on_every_route(twins):
    stray, excluded = (twin.seen() for twin in twins)
    assert stray.keys() == excluded.keys()
    differing = {
        place: (said[0], plain(said[1]), excluded[place][0], plain(excluded[place][1]))
        for place, said in stray.items()
        if place[0] not in ("/v1/access-log", "/metrics")
        and not place[0].startswith("/v1/integrity/logs/{log}/")  # digests and signatures, byte for byte
        and (said[0], plain(said[1])) != (excluded[place][0], plain(excluded[place][1]))
    }
    assert differing == {}


def test_the_access_log_names_no_compartment_to_who_may_read_it(twins):
    twin = twins[0]
    for role in ("auditor", "external_auditor"):
        text = twin.api.call("GET", "/v1/access-log?limit=500", role, f"o-{role}").text
        assert [word for word in twin.private if word in text] == []
    actions = Counter(each["action"] for each in json.loads(text)["entries"])
    assert actions["approval.ask"] == 2  # what was asked is not said, and that it was, and by whom, is


def test_a_refusal_to_move_a_stray_does_not_say_what_was_refused(api, tmp_path):
    compartment = made_compartment(api)
    mail(tmp_path / "m", "one", "a@ex.fr", "b@ex.fr", "contrat")
    (capture,) = taken(api, tmp_path / "m")
    api.follow()
    kept = {**ORDER, "kind": "keep", "captures": [capture]}
    api.approved(api.call("POST", "/v1/orders", "legal", "zoe", **kept), "dpo", "paul")
    body = {"action": "reseal", "request": {"captures": [capture], "compartment": compartment}, "reason": "r"}
    asked = api.call("POST", "/v1/approvals", "compliance_officer", "anne", **body).json()["id"]
    first = api.call("POST", f"/v1/approvals/{asked}/approve", "legal", "zoe", reason="vu").json()
    assert first["error"] == "reseal.kept"
    assert api.call("POST", f"/v1/approvals/{asked}/execute", "legal", "zoe").json()["code"] == "reseal.kept"
    nowhere = body | {"request": {"captures": [capture], "compartment": "0123456789abcdef0123"}}
    assert api.call("POST", "/v1/approvals", "compliance_officer", "anne", **nowhere).status_code == 404
    entries = api.call("GET", "/v1/access-log", "auditor", "aude").json()["entries"]
    assert [each["detail"] for each in entries if each["outcome"] == "refused"] == [
        {"reason": "approval.private"}
    ] * 2


def test_sapin_article_8_the_counters_that_anybody_reads_tell_of_no_compartment(twins):
    text = twins[0].api.call("GET", "/metrics", "auditor", "aude").text
    assert re.search(r'method="POST",route="/v1/(compartments|exclusions)"', text) is None
    assert 'method="POST",route="/v1/approvals",status="201"' in text


def test_hold_counts_no_stray_that_took_its_hold_along(twins):
    for twin in twins:
        progress = twin.progress()
        assert (progress["covered"], progress["locked"], progress["complete"]) == (2, 2, True)


def test_what_was_withdrawn_is_counted_and_not_named(twins):
    for twin in twins:
        said = twin.api.call("GET", "/v1/erasures", "auditor", "aude").json()["erasures"]
        assert said == []
        counts = twin.api.call("GET", "/v1/integrity", "auditor", "aude").json()["counts"]
        assert counts["withdrawn"] == 1


# --- what is written, and what is told of it afterwards; last, for the archives are not as they were then

SCHEDULE = {"classes": [klass("short", "P30D", start="sent"), klass("law", "P10Y")], "default": "law",
            "rules": [{"id": "short", "class": "short", "subject": ["deux"]}], "domains": ["ex.fr"]}  # fmt: skip


class Writing:
    """What people outside write, and how each is answered."""

    def __init__(self, twin: Twin) -> None:
        self.twin, self.api = twin, twin.api
        self.answers: list[tuple[str, str, int, Any, dict[str, str]]] = []

    def says(self, method: str, path: str, role: str, /, **body: Any) -> str:
        """The id in the answer, "" without. A second time with the same key, so that a replay is compared too."""
        key = {"Idempotency-Key": f"{len(self.answers)}"} if method == "POST" else {}
        headers = {"Authorization": f"Bearer {self.api.token(role, f'o-{role}')}", **key}
        made = ""
        for _ in range(1 + bool(key)):
            got = asyncio.run(self.api._call(method, path, headers, {"json": body} if body else {}))
            said = got.json()
            made = made or str(said.get("id", ""))
            shown = {each: got.headers[each] for each in sorted(got.headers) if each not in _OF_ONE_ANSWER}
            self.answers.append((method, _ID.sub("#", path), got.status_code, plain(said), shown))
        return made

    def approved(self, asked: str) -> None:
        """By another person."""
        assert asked
        self.says("POST", f"/v1/approvals/{asked}/approve", "compliance_officer", reason="vu")
        self.api.follow()

    def everything(self) -> None:
        """Once through what people decide, over what is there and what was withdrawn."""
        gone, holds = self.twin.capture, f"/v1/matters/{self.twin.matter}/holds"
        for role in ("auditor", "records_manager"):
            self.says("POST", "/v1/schedules/dry-run", role, schedule=SCHEDULE)
        self.approved(self.says("POST", "/v1/schedules", "records_manager", schedule=SCHEDULE, reason="r"))
        self.withdrawn(gone, holds)
        self.says("POST", f"{holds}/{self.twin.hold}/review", "legal", review=NEXT_REVIEW, note="n")
        self.approved(self.says("POST", f"{holds}/{self.twin.hold}/release", "legal", reason="r"))
        person = {"name": "LA", "addresses": [{"address": "la@ex.fr"}, {"address": "dr@ex.fr"}]}
        anne = self.says("POST", "/v1/custodians", "records_manager", **person)
        later = (HOLD | {"name": "two", "query": "trois"},
                 HOLD | {"name": "three", "query": None, "custodians": [anne]})  # fmt: skip
        late = [self.says("POST", holds, "legal", **body) for body in later]
        self.api.follow()
        for hold in late:
            self.says("GET", f"{holds}/{hold}", "auditor")
        self.says("POST", "/v1/dispositions/preview", "auditor")
        self.approved(self.says("POST", "/v1/dispositions", "records_manager", reason="r"))
        forward(self.api)  # the run's mail, and what was withdrawn
        self.api.follow()
        self.approved(self.says("POST", "/v1/orders", "legal", **ORDER, kind="keep", query="contrat"))
        self.says("GET", "/v1/orders", "auditor")
        for query in ("*", "trois", "from:la@ex.fr OR from:dr@ex.fr"):
            self.says("POST", "/v1/search", "legal", query=query)
        export = self.says("POST", "/v1/exports", "legal", query="*", formats=["bundle"])
        work(self.api)
        self.says("GET", f"/v1/exports/{export}", "legal")
        incident = self.says("POST", "/v1/incidents", "dpo", reason="r")
        self.api.later()
        self.says("GET", f"/v1/incidents/{incident}/report", "dpo")

    def withdrawn(self, gone: str, holds: str) -> None:
        """Whoever knew the id asks for it."""
        for method, path, role, body in (
            ("POST", holds, "legal", HOLD | {"captures": [gone], "query": None}),
            ("POST", "/v1/orders", "legal", ORDER | {"kind": "erase", "captures": [gone]}),
            ("POST", "/v1/erasures", "legal", {"captures": [gone], "ground": "request", "basis": "x", "reason": "r"}),
            ("POST", "/v1/dispositions/extend", "dpo", {"captures": [gone], "until": HOLD["review"], "reason": "r"}),
            ("POST", "/v1/dispositions/relabel", "dpo", {"captures": [gone], "class": "short", "reason": "r"}),
            ("GET", f"/v1/captures/{gone}/raw", "legal", {}),
        ):  # fmt: skip
            self.says(method, path, role, **body)
            assert self.answers[-1][2] == 404, self.answers[-1]


_OF_ONE_ANSWER = {"x-request-id", "content-length", "etag"}
"""Of a custodian the ETag is a place in the acts log, of which SECURITY.md says to whom it is shown."""


@pytest.fixture(scope="module")
def written(twins):
    """What both have answered."""
    both = [Writing(twin) for twin in twins]
    for each in both:
        each.everything()
    return [each.answers for each in both]


def test_what_people_outside_write_is_answered_alike(written):
    stray, excluded = written
    assert len(stray) == len(excluded)
    assert [pair for pair in zip(stray, excluded, strict=True) if pair[0] != pair[1]] == []
    assert {answer[2] for answer in stray} == {200, 201, 202, 401, 404, 409}, "each of them was looked at"


def test_a_stray_and_an_excluded_capture_look_alike_after_all_that(written, twins):
    test_a_stray_and_an_excluded_capture_look_alike_on_every_route(twins)
