"""Dispositions, holds, orders and notices as in production: objects in S3 under Object Lock, projections in PostgreSQL
and Elasticsearch, mail by Postfix. None of the engines' own files holds a word of what went, and what the archive says
of holds, orders and certificates is what the store itself says."""

import json
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.message import Message
from functools import partial
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from archive_service import bootstrap
from archive_service.disposal.disposing import advance
from archive_service.model.mail import Source
from archive_service.notices.notifying import sending_of
from tests.flow.archive_fixtures import done, no_settings_around, run
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import found, mail, taken
from tests.flow.test_disposition import WORD, archived, at_once, decided, forward, holding, state
from tests.flow.test_exports_expire import fetched, made
from tests.flow.test_holds import opened, placed, released, seen
from tests.flow.test_orders import ended, ordered, view
from tests.services import elasticsearch, postgres, versitygw
from tests.services.alarm_receivers import mail_sink
from tests.services.postfix import postfix
from tests.services.s3 import admin
from tests.services.tools import find_tool, missing
from tests.system.machines import s3_settings

__all__ = ["at_once", "no_settings_around"]
PATIENCE = 60.0  # seconds until what never comes fails the test


class Servers:
    """The three engines, each over a folder that can be searched."""

    def __init__(self, stack: ExitStack, folder) -> None:
        tool = find_tool("versitygw")
        if tool is None:
            missing("versitygw", versitygw.HOW)
        self.database = stack.enter_context(
            postgres.running(postgres.needed_programs(), "-c", "wal_recycle=off")
        )
        self.index = stack.enter_context(elasticsearch.running())
        self.s3_folder = folder
        self.s3 = stack.enter_context(versitygw.running(tool, keep=folder))

    def written(self) -> None:
        """All is in the tables' files; what the log held before goes, for it is not kept for use again."""
        self.database.run("SELECT pg_switch_wal()")
        self.database.run("CHECKPOINT")

    def removed_documents(self) -> int:
        """How many documents the segments of the index hold that nobody finds: their words are compressed, and no
        search of the files shows them."""
        with urllib.request.urlopen(f"{self.index.url}/_all/_segments?expand_wildcards=all") as answer:
            said = json.load(answer)
        copies = (each for about in said["indices"].values() for each in about["shards"].values())
        segments = (part for copy in copies for shard in copy for part in shard["segments"].values())
        return sum(part["deleted_docs"] for part in segments)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with ExitStack() as stack:
        yield Servers(stack, tmp_path_factory.mktemp("versitygw"))


@pytest.fixture
def api(servers, tmp_path, pool, at_once, monkeypatch):
    """An archive in buckets of its own, its objects under GOVERNANCE: what ends such a lock early stands for time."""
    settings = s3_settings(servers.s3, tmp_path) | {
        "ARCHIVE_WORK": str(tmp_path / "work"),
        "ARCHIVE_CATALOG_URL": servers.database.url(),
        "ARCHIVE_INDEX": "elasticsearch",
        "ARCHIVE_ES_URL": servers.index.url,
        "ARCHIVE_ES_REPLICAS": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(bootstrap, "Source", partial(Source, intake_days=1, lock_mode="GOVERNANCE"))
    with RealApi(tmp_path / "work", pool, s3=True) as made:
        yield made


class Bucket:
    """The archive's bucket as its administrator sees it."""

    def __init__(self, servers: Servers, api: RealApi) -> None:
        self._client = admin(servers.s3)
        self._name = str(api.core.settings.s3_bucket)

    def versions(self, *captures: str) -> list[dict[str, str]]:
        """Every version and marker of these captures' objects."""
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._name, Prefix="objects/"
        )
        each = (
            item for page in pages for kind in ("Versions", "DeleteMarkers") for item in page.get(kind, ())
        )
        return [
            {"Key": item["Key"], "VersionId": item["VersionId"]}
            for item in each
            if any(capture in item["Key"] for capture in captures)
        ]

    def end_locks(self, *captures: str) -> None:
        """Their terms are over in three seconds, by the store's own clock."""
        for each in self.versions(*captures):
            until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
            term = {"Mode": "GOVERNANCE", "RetainUntilDate": until}
            self._client.put_object_retention(
                Bucket=self._name, **each, Retention=term, BypassGovernanceRetention=True
            )

    def held(self, capture: str) -> bool:
        """Whether every version of its object bears a legal hold, by the store's word."""
        found = self.versions(capture)
        return bool(found) and all(map(self._status, found))

    def _status(self, version: dict[str, str]) -> bool:
        try:
            answer = self._client.get_object_legal_hold(Bucket=self._name, **version)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchObjectLockConfiguration":
                raise
            return False  # it never had one
        return bool(answer["LegalHold"]["Status"] == "ON")

    def hold(self, capture: str, status: str) -> None:
        """A legal hold that the archive did not set."""
        for each in self.versions(capture):
            self._client.put_object_legal_hold(Bucket=self._name, **each, LegalHold={"Status": status})


class Post:
    """Custodians' mail: a Postfix that the archive hands its notices to, and who gets them from it."""

    def __init__(self, stack: ExitStack, monkeypatch) -> None:
        self._sink = stack.enter_context(mail_sink())
        self._postfix = stack.enter_context(postfix(f"127.0.0.1:{self._sink.port}", "ex.fr"))
        for name, value in (
            ("ALARM_MAIL_SERVER", f"127.0.0.1:{self._postfix.port}"),
            ("ALARM_MAIL_SECURITY", "none"),
            ("ALARM_MAIL_FROM", "archive@ex.fr"),
            ("ALARM_MAIL_TO", "ops@ex.fr"),
            ("PUBLIC_URL", "https://archive.ex.fr"),
        ):
            monkeypatch.setenv(f"ARCHIVE_{name}", value)

    def sent(self, api: RealApi) -> dict[str, Message]:
        """What one look of the scheduler has brought to people, by who got it."""
        sending = sending_of(api.core, api.tenant)
        assert sending is not None
        found: dict[str, Message] = {}
        for _ in range(sending.run()):
            envelope, message = self._sink.mails.get(timeout=PATIENCE)
            (to,) = envelope.rcpt_tos
            assert to not in found, self._postfix.log()
            found[to] = message
        assert self._sink.mails.empty()
        return found


@pytest.fixture
def post(monkeypatch, no_settings_around):
    with ExitStack() as stack:
        yield Post(stack, monkeypatch)


def until(look: Callable[[], bool]) -> None:
    """Look again until it is so."""
    ends = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.1)


def test_disposition_with_its_certificate_leaves_no_word_in_s3_postgres_and_elasticsearch(
    api, servers, tmp_path
):
    for number in range(30):  # their rows lie about those that go
        mail(tmp_path / "more", f"more{number}", "z@ex.fr", "b@ex.fr", f"facture 8{number}")
    taken(api, tmp_path / "more")
    captures = archived(api, tmp_path)
    taken(api, tmp_path / "more", name="again")
    gone = captures[WORD], captures["autre"]
    bucket = Bucket(servers, api)
    exports = [made(api, WORD), made(api, "facture 81")]
    name = decided(api)
    servers.written()
    assert holding(servers.database.folder)
    api.follow()
    advance(api.core, api.tenant)
    api.follow()
    assert servers.removed_documents() >= 2, "barred, and still in the index's files"

    forward(api)
    said = state(api, name)
    assert (said["state"], said["keys_gone"], said["deleted_at"]) == ("going", 2, None)
    assert len(bucket.versions(*gone)) == 2, "the store's locks stand, and so do the objects"
    early = api.call("GET", f"/v1/dispositions/{name}/certificate", "auditor", "aude")
    assert early.json()["code"] == "disposition.not_done"

    bucket.hold(captures["autre"], "ON")
    bucket.end_locks(*gone)

    def deleted(*which: str) -> bool:
        advance(api.core, api.tenant)
        return not bucket.versions(*which)

    until(lambda: deleted(captures[WORD]))
    assert state(api, name)["state"] == "going"
    assert bucket.versions(captures["autre"]), "a hold in the store itself keeps it"
    bucket.hold(captures["autre"], "OFF")
    until(lambda: deleted(*gone) and state(api, name)["state"] == "done")

    assert found(api)["total"] == 31
    servers.written()
    assert servers.removed_documents() == 0
    assert [fetched(api, job) for job in exports] == [(410, "export.expired"), (200, None)]
    for folder in (
        api.data,
        servers.database.folder,
        servers.index.folder,
        servers.s3_folder,
        tmp_path / "kms",
    ):
        assert holding(folder) == [], folder
    said = api.call("GET", f"/v1/dispositions/{name}/certificate", "auditor", "aude").json()["certificate"]
    assert (said["captures"], [each["class"] for each in said["classes"]]) == (2, ["old"])
    assert said["finished_exports_gone"] is True
    assert said["decided_at"] < said["made_unreadable_on"] <= said["ciphertext_deleted_on"]
    checked = run("verify", "--json")
    assert checked.answer["clean"] is True, checked.out


def test_hold_order_and_notices_over_s3_postgres_elasticsearch_and_postfix(post, api, servers, tmp_path):
    captures = archived(api, tmp_path)  # of class old, but for the invoice
    bucket = Bucket(servers, api)
    for who, address in (("Anne", "one@ex.fr"), ("Bob", "two@ex.fr")):
        body = {"name": who, "addresses": [{"address": address, "kind": "primary"}]}
        assert api.call("POST", "/v1/custodians", "admin", "paul", **body).status_code == 201
    matter = opened(api)
    hold = placed(api, matter, custodians=["one@ex.fr", "two@ex.fr"], silent=False)

    # The hold stands on every object that it covers, by the store's own word.
    progress = seen(api, matter, hold)["progress"]
    assert (progress["covered"], progress["locked"], progress["complete"]) == (2, 2, True)
    assert [bucket.held(captures[each]) for each in (WORD, "autre", "facture 7")] == [True, True, False]
    (version,) = bucket.versions(captures[WORD])
    bucket.end_locks(captures[WORD])
    with pytest.raises(ClientError):
        admin(servers.s3).delete_object(
            Bucket=str(api.core.settings.s3_bucket), **version, BypassGovernanceRetention=True
        )
    assert checked_hold(api, hold) == (0, 2, 0)
    bucket.hold(captures["autre"], "OFF")
    assert checked_hold(api, hold) == (1, 1, 1), "the store's administrator has taken one away"
    bucket.hold(captures["autre"], "ON")
    preview = api.call("POST", "/v1/dispositions/preview", "auditor", "aude").json()
    assert preview["captures"] == 0, "what is held does not go"

    # Custodians are told once, by a real mail server, and a link acknowledges for who got it.
    asked = {"subject": "Conservation {hold}", "text": "Bonjour {name}.", "escalate_to": "manager@ex.fr"}
    notices = f"/v1/matters/{matter}/holds/{hold}/notices"
    assert api.call("POST", notices, "legal", "zoe", **asked).status_code == 202
    told = post.sent(api)
    assert set(told) == {"one@ex.fr", "two@ex.fr"}
    assert post.sent(api) == {}
    assert told["one@ex.fr"]["Subject"] == "Conservation Contrats"
    pressed = api.with_token("POST", link_in(told["one@ex.fr"]), "")
    assert (pressed.status_code, pressed.json()) == (200, {"state": "acknowledged"})
    people = api.call("GET", notices, "auditor", "aude").json()["people"]
    assert [bool(each["acknowledged_at"]) for each in people] == [True, False]
    assert [each["mails"][0]["state"] for each in people] == ["sent", "sent"]

    # An order to keep is a hold of the store too, and ends with it.
    keep = ordered(api, "keep", query="facture")
    api.follow()
    assert bucket.held(captures["facture 7"])
    ended(api, keep)
    api.follow()
    assert not bucket.held(captures["facture 7"])

    # An order to erase takes what is held: its key, then its object, whose lock has ended.
    erase = ordered(api, "erase", captures=[captures[WORD]])
    forward(api)

    def taken_away() -> bool:
        advance(api.core, api.tenant)
        return not bucket.versions(captures[WORD]) and view(api, erase)["state"] == "done"

    until(taken_away)
    words = ("--tenant", "acme", "--token", api.token("auditor", "aude"), "--json")
    said = done("orders", "certificate", erase, *words).answer["certificate"]
    assert (said["captures"], said["finished_exports_gone"]) == (1, True)
    assert said["made_unreadable_on"] <= said["ciphertext_deleted_on"]
    assert seen(api, matter, hold)["taken"] == {erase: 1}
    assert checked_hold(api, hold) == (0, 1, 0)
    assert bucket.held(captures["autre"])

    # Released by two, the store's hold goes, and everybody who was told hears of it.
    released(api, matter, hold)
    api.follow()
    assert not bucket.held(captures["autre"])
    over = post.sent(api)
    assert {to: message["Subject"].partition(":")[0] for to, message in over.items()} == {
        "one@ex.fr": "Over",
        "two@ex.fr": "Over",
    }
    assert run("verify", "--json").answer["clean"] is True


def checked_hold(api, hold: str) -> tuple[int, int, int]:
    """``holds check``: its exit code, how many objects bear a hold, and how many do not."""
    said = run("holds", "check", hold, "--tenant", "acme", "--token", api.token("legal", "zoe"), "--json")
    return said.code, said.answer["held"], said.answer["free"]


def link_in(message: Message) -> str:
    text = message.get_payload(decode=True).decode()
    return urlsplit(next(word for word in text.split() if word.startswith("https://"))).path
