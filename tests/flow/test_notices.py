"""Notices to the custodians of a hold: sent, answered, reminded, escalated; never twice, never of a silent hold."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from archive_service.ledger.acts import Acts
from archive_service.model.errors import StoreError
from archive_service.notices.sending import Sending
from retention import notices
from tests.flow.archive_fixtures import no_settings_around, run
from tests.flow.test_holds import opened, placed, released

__all__ = ["no_settings_around"]

TEXT = "Bonjour {name}, ne supprimez rien au sujet de {claim}. {unknown}"
ASKED = {"subject": "Conservation {hold}", "text": TEXT, "escalate_to": "manager@ex.fr"}


class Post:
    """Takes what the scheduler hands over, at a time of the test's own."""

    def __init__(self, api, *, silent=False):
        self.api, self.mails, self.fault, self.days = api, [], None, 0
        for who in ("anne", "bob"):
            body = {"name": who.title(), "addresses": [{"address": f"{who}@ex.fr", "kind": "primary"}]}
            made = api.call("POST", "/v1/custodians", "admin", "paul", **body)
            assert made.status_code == 201, made.text
        self.matter = opened(api)
        people = ["anne@ex.fr", "bob@ex.fr"]
        self.hold = placed(api, self.matter, custodians=people, silent=silent)
        self.path = f"/v1/matters/{self.matter}/holds/{self.hold}/notices"

    def begin(self):
        answer = self.api.call("POST", self.path, "legal", "zoe", **ASKED)
        assert answer.status_code == 202, answer.text
        return self

    def hand(self, message, to):
        if self.fault is None or self.fault.code == "notice.timeout":
            self.mails.append((to, message))
        if self.fault is not None:
            raise self.fault

    def run(self, days=0):
        """One look of the scheduler, so many days after the start; to whom mails went."""
        tenant, before = self.api.tenant, len(self.mails)
        clock = lambda: self.api.core.clock() + timedelta(days=days)  # noqa: E731
        secret = tenant.keyring.secret
        parts = (lambda: secret("token"), self.hand, "archive@ex.fr", "https://archive.ex.fr", clock)
        Sending(tenant.acts, tenant.id, *parts).run()
        return [to for to, _ in self.mails[before:]]

    def people(self):
        answer = self.api.call("GET", self.path, "auditor", "aude")
        assert answer.status_code == 200, answer.text
        return answer.json()["people"]

    def states(self, number=0):
        return [(mail["kind"], mail["state"]) for mail in self.people()[number]["mails"]]

    def link(self, number=0):
        text = self.mails[number][1].get_content()
        return urlsplit(next(word for word in text.split() if word.startswith("https://"))).path

    def press(self, path, method="POST"):
        return self.api.with_token(method, path, "")


def test_notice_goes_to_each_custodian_once_and_his_link_acknowledges_for_him_alone(api):
    post = Post(api).begin()
    assert post.run() == ["anne@ex.fr", "bob@ex.fr"]
    assert post.run() == []
    message = post.mails[0][1]
    assert message["Subject"] == "Conservation Contrats"
    assert "Bonjour Anne" in message.get_content() and "RG 26/01234. {unknown}" in message.get_content()
    page = post.press(post.link(), "GET")
    assert page.status_code == 200 and not page.text.count("Anne") and not page.text.count("Contrats")
    assert post.people()[0]["acknowledged_at"] is None  # a scanner that follows links says nothing
    for _ in range(2):
        assert post.press(post.link()).json() == {"state": "acknowledged"}
    anne, bob = post.people()
    assert anne["acknowledged_at"] and anne["acknowledged_by"] is None and bob["acknowledged_at"] is None
    assert post.run(days=8) == ["bob@ex.fr"]


def test_notice_link_that_was_changed_acknowledges_nothing(api):
    post = Post(api).begin()
    post.run()
    path = post.link()
    owner, hold, mac = path.rpartition("/")[2].split(".")
    other = "0" if mac[-1] != "0" else "1"
    for each in (f"{owner}.{hold}.{mac[:-1]}{other}", f"{'a' * 20}.{hold}.{mac}", f"{owner}.hx.{mac}", "x"):
        assert post.press(f"/v1/acknowledgements/{each}").status_code == 404, each
    assert [each["acknowledged_at"] for each in post.people()] == [None, None]
    api.app.state.services.strangers.write(lambda owner: api.tenants.get(owner).access_log)
    (told,) = api.call("GET", "/v1/access-log?action=auth.turned_away", "auditor", "aude").json()["entries"]
    assert (told["actor"], told["detail"]["reason"], told["detail"]["count"]) == (
        "unknown",
        "notice.unknown",
        2,
    )


def test_notice_reminders_stop_at_the_answer_and_who_answers_for_the_hold_hears_once(api):
    post = Post(api).begin()
    post.run()
    assert post.run(days=6) == []
    assert post.run(days=7) == ["anne@ex.fr", "bob@ex.fr"]
    body = {"custodian": post.people()[1]["custodian"], "reason": "vu en réunion"}
    answer = api.call("POST", f"{post.path}/acknowledge", "legal", "zoe", **body)
    assert answer.json()["people"][1]["acknowledged_by"] == "zoe"
    assert post.run(days=14) == ["manager@ex.fr"]
    assert "Anne" in post.mails[-1][1].get_content()
    assert post.run(days=14) == ["anne@ex.fr"]
    assert post.run(days=15) == []
    assert [kind for kind, _ in post.states()] == ["notice", "reminder", "escalation", "reminder"]


def test_notice_of_release_goes_to_all_who_were_told(api):
    post = Post(api).begin()
    post.run()
    post.press(post.link())
    released(api, post.matter, post.hold)
    assert post.run(days=30) == ["anne@ex.fr", "bob@ex.fr"]
    assert post.mails[-1][1]["Subject"].startswith("Over: ")
    assert post.run(days=60) == []


def test_silent_hold_tells_nobody(api):
    post = Post(api, silent=True)
    answer = api.call("POST", post.path, "legal", "zoe", **ASKED)
    assert (answer.status_code, answer.json()["code"]) == (409, "hold.silent")
    assert post.run(days=30) == [] and post.people() == []


def test_notice_that_the_server_has_surely_not_taken_goes_again_after_an_hour(api):
    post = Post(api).begin()
    post.fault = StoreError("no", code="notice.refused")
    assert post.run() == [] and post.states() == [("notice", "failed")]
    post.fault = None
    assert post.run() == []
    assert post.run(days=1) == ["anne@ex.fr", "bob@ex.fr"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_notice_that_was_cut_off_is_unknown_and_never_sent_twice_within_the_time(api, monkeypatch, moment):
    """Handed over or not, with the act behind it not written: nobody knows, the acts say so, the reminder comes."""
    post = Post(api).begin()
    real = Acts.append
    code = "notice.timeout" if moment == "before" else "store.failed"
    if moment == "before":
        post.fault = StoreError("late", code=code)
        post.run()
        post.fault = None
    else:
        written = []

        def append(acts, act):
            if written:  # the act before the mail stands, the one behind it does not
                raise StoreError("away", code=code)
            written.append(act)
            return real(acts, act)

        monkeypatch.setattr(Acts, "append", append)
        with pytest.raises(StoreError):
            post.run()
        monkeypatch.setattr(Acts, "append", real)
    assert post.states() == [("notice", "unknown")]
    assert "anne@ex.fr" not in post.run(days=1)
    assert "anne@ex.fr" in post.run(days=8)
    assert post.states() == [("notice", "unknown"), ("reminder", "sent")]


def test_notices_from_the_command_line(api, tmp_path):
    post = Post(api)
    (tmp_path / "text").write_text(TEXT, "utf-8")
    words = ("--data", api.data, "--tenant", "acme", "--token", api.token("legal", "zoe"), "--json")
    asked = ("--subject", "Conservation", "--text", tmp_path / "text", "--escalate-to", "m@ex.fr")
    assert run("holds", "notify", post.hold, *asked, *words).code == 0
    who = post.people()[0]["custodian"]
    said = run("holds", "acknowledge", post.hold, "--custodian", who, "--reason", "vu", *words)
    assert said.answer["people"][0]["acknowledged_by"] == "zoe"
    assert run("holds", "notices", post.hold, *words).answer["people"][0]["reason"] == "vu"


@pytest.mark.parametrize(
    "wrong",
    [
        ("--subject", "a\nb"),
        ("--subject", "a\u2028b"),
        ("--subject", "x" * 201),
        ("--remind-days", "0"),
        ("--escalate-days", "367"),
    ],
    ids=ascii,
)
def test_notice_that_no_mail_could_be_is_refused_at_the_command_line_too(api, tmp_path, wrong):
    """A subject of two lines stopped the scheduler at every look; no days at all meant a mail at every look."""
    post = Post(api)
    (tmp_path / "text").write_text(TEXT, "utf-8")
    words = ("--data", api.data, "--tenant", "acme", "--token", api.token("legal", "zoe"), "--json")
    asked = ("--subject", "Conservation", "--text", tmp_path / "text", "--escalate-to", "m@ex.fr", *wrong)
    said = run("holds", "notify", post.hold, *asked, *words)
    assert (said.code, said.answer["error"]["code"]) == (2, "notice.invalid")
    (tmp_path / "text").write_bytes(b"\xff")
    assert run("holds", "notify", post.hold, *asked, *words).answer["error"]["code"] == "input.encoding"


def test_notice_of_an_older_act_with_a_subject_of_two_lines_goes_on_one(api, monkeypatch):
    post = Post(api)
    monkeypatch.setitem(ASKED, "subject", "Conservation\u2028{hold}")
    with monkeypatch.context() as older:
        older.setattr(notices, "_require_sendable", lambda asked: None)
        post.begin()
    assert post.run() == ["anne@ex.fr", "bob@ex.fr"]
    assert post.mails[0][1]["Subject"] == "Conservation Contrats"


def test_notice_that_nobody_answers_is_escalated_though_his_address_was_taken_away(api):
    post = Post(api).begin()
    post.run()
    known = {
        each["name"]: each for each in api.call("GET", "/v1/custodians", "admin", "paul").json()["custodians"]
    }
    body = {"name": "Anne", "addresses": [], "version": known["Anne"]["version"]}
    path = f"/v1/custodians/{known['Anne']['id']}"
    assert api.call("PUT", path, "admin", "paul", **body).status_code == 200
    assert post.run(days=14) == ["manager@ex.fr", "manager@ex.fr"]
    assert post.states() == [
        ("notice", "sent"),
        ("escalation", "sent"),
    ]  # what goes to him waits for an address
