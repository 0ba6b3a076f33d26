"""The walls of compartments, looked at from outside: two archives, of which one has moved a stray into a compartment
and the other has withdrawn an excluded capture, answer alike whoever asks."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ingest.parser_pool import ParserPool
from tests.flow.api_fakes import TABLE
from tests.flow.archive_fixtures import no_settings_around
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import exclude, found, made_compartment, mail, report, taken

__all__ = ["no_settings_around"]

OUTSIDE = ("auditor", "external_auditor", "records_manager", "reviewer")
"""Who neither asks for a compartment nor decides over one."""
GRANTED = ("reviewer", "external_auditor")
HOLD = {"name": "h", "ground": "litigation", "claim": "x", "owner": "zoe", "review": "2027-01-01T00:00:00Z",
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
        if "entries" in said:  # the access log: what was done, whoever did more looking around
            return Counter((each["role"], each["action"], repr(sorted(each["detail"])))
                           for each in said["entries"] if each["action"] not in _LOOKS)  # fmt: skip
        if "events" in said:
            return Counter(each["what"] for each in said["events"] if each.get("kind") != "access")
        hidden = _PLACES | {"request_id", "keys", "checkpoint", "digest", "sha256", "note"}
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
    kept = {
        "kind": "keep",
        "issuer": "TJ",
        "reference": "RG 1",
        "dated": "2026-01-05",
        "text": "t",
        "document": {"name": "o.pdf", "type": "application/pdf", "content": "JVBERg=="},
        "captures": [capture],
    }
    api.approved(api.call("POST", "/v1/orders", "legal", "zoe", **kept, reason="r"), "dpo", "paul")
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
