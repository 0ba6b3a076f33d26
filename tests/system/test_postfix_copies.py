"""A real Postfix hands copies to the running archive, set up as the administrator's page says."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.services.postfix import Postfix, postfix
from tests.services.tools import free_port
from tests.system.test_service import Running, command, make, start

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sources" / "postfix.md").read_text("utf-8")
MAIL = (
    b"From: Anne <anne@example.fr>\r\nTo: bob@example.fr\r\nCc: carl@example.com\r\nSubject: copie %s\r\n"
    b"Date: Thu, 1 Oct 2026 09:00:00 +0200\r\nMessage-ID: <%s@example.fr>\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
    b"d\xc3\xa9j\xc3\xa0 vu %s\r\n.point\r\n"
)
RECIPIENTS = ["bob@example.fr", "carl@example.com", "hidden+x@example.fr", "a=b@example.fr"]
PATIENCE = 60.0


def mail(word: str) -> bytes:
    return MAIL.replace(b"%s", word.encode())


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("postfix") / "archive"
    running = start(data, make(data, "postfix"))
    yield running
    running.stop()


def domain_of(running: Running) -> str:
    return str(running.source["address"]).rpartition("@")[2]


def until(true: Callable[[], bool], server: Postfix) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.1)


def message(running: Running, word: str) -> dict:
    hits = running.found(f"subject:{word}")["hits"]
    assert len(hits) == 1
    status, answer = running.http("GET", f"/v1/messages/{hits[0]['id']}")
    assert status == 200
    return json.loads(answer)


def recipients(found: dict) -> set[tuple[str, str, bool]]:
    return {(one["address"], one["role"], one["on_report"]) for one in found["recipients"]}


def test_always_bcc_archives_every_mail_with_what_its_header_says(archive: Running) -> None:
    with postfix(
        archive.where["smtp"], domain_of(archive), f"always_bcc = {archive.source['address']}"
    ) as server:
        server.send("anne@example.fr", RECIPIENTS, mail("alpha"))
        until(lambda: server.waiting() == 0, server)
        found = message(archive, "alpha")
        assert recipients(found) == {("bob@example.fr", "to", False), ("carl@example.com", "cc", False)}
        assert not found["envelope_complete"]
        _, raw = archive.http("GET", f"/v1/messages/{found['id']}/raw")
        assert raw.endswith(mail("alpha"))  # below the Received field that Postfix adds
        assert raw.startswith(b"Received: ")


def test_what_comes_while_the_archive_is_away_comes_later(tmp_path: Path) -> None:
    data, port = tmp_path / "archive", free_port()
    source = make(data, "postfix")
    where = f"127.0.0.1:{port}"
    with postfix(where, source["address"].rpartition("@")[2], f"always_bcc = {source['address']}") as server:
        for number in range(2):
            server.send("anne@example.fr", RECIPIENTS, mail(f"away{number}"))
        until(lambda: server.waiting() == 2, server)
        running = start(data, source, "--smtp", where)
        try:
            until(lambda: server.waiting() == 0, server)
            for number in range(2):
                assert message(running, f"away{number}")["captures"]
        finally:
            assert running.stop() == 0
    assert command("verify", "--data", data)["checked"]["objects"] >= 2


def test_recipient_bcc_maps_name_every_recipient_of_the_envelope(archive: Running) -> None:
    found = re.search(r"^ +(/\^.*SECRET.*)$", PAGE, re.MULTILINE)
    assert found is not None
    local, _, domain = archive.source["address"].partition("@")
    table = found.group(1).replace("SECRET", local).replace("archive.example.fr", domain)
    with postfix(
        archive.where["smtp"], domain, "recipient_bcc_maps = regexp:{folder}/etc/archive_bcc"
    ) as server:
        (server.folder / "etc" / "archive_bcc").write_text(table + "\n", "utf-8")
        server.send("anne@example.fr", RECIPIENTS, mail("beta"))
        until(lambda: server.waiting() == 0, server)
        assert "status=bounced" not in server.log()
        shown = message(archive, "beta")
        assert recipients(shown) == {
            ("bob@example.fr", "to", True),
            ("carl@example.com", "cc", True),
            ("hidden+x@example.fr", "unknown", True),
            ("a=b@example.fr", "unknown", True),
        }
        assert not shown["envelope_complete"]
        assert len(shown["captures"]) == 1
