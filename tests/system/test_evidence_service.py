"""The real service with a real clamd and a real resolver: what is seen after the 250 is shown, exported, proven."""

import json
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import clamd as clamd_service
from tests.services import unbound
from tests.services.clamd import clamd
from tests.services.unbound import resolver
from tests.system.test_service import Running, command, make, start
from tests.unit.signed_mail import KEY_NAME, key_record, signed

__all__ = ["clamd", "resolver"]
BAD = (
    b"From: anne@exemple.fr\r\nTo: bob@exemple.fr\r\nSubject: facture\r\nMessage-ID: <bad@exemple.fr>\r\n\r\n"
    + clamd_service.MARK
    + b"\r\n"
)


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, clamd: clamd_service.Clamd, resolver: unbound.Resolver
) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("archive")
    resolver.put(KEY_NAME, key_record())
    running = start(
        data,
        make(data, "postfix"),
        "--health",
        "127.0.0.1:0",
        ARCHIVE_CLAMD=clamd.address,
        ARCHIVE_EVIDENCE_DNS=resolver.address,
        ARCHIVE_ALARM_SECONDS="1",
    )
    yield running
    assert running.stop() == 0


def _looked_at(service: Running, query: str, looks: int = 2) -> dict:
    """The message that a query finds, once it has been looked at so often."""
    deadline = time.monotonic() + 90
    while True:
        hit = service.found(query)["hits"][0]
        message = json.loads(service.http("GET", f"/v1/messages/{hit['id']}")[1])
        if len(message["captures"][0]["evidence"]["looks"]) >= looks:
            return message
        assert time.monotonic() < deadline, message
        time.sleep(0.1)


def _header(service: Running, path: str) -> tuple[str | None, bytes]:
    request = urllib.request.Request(
        f"http://{service.where['http']}{path}", headers={"Authorization": f"Bearer {service.token('legal')}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers.get("X-Archive-Malware"), answer.read()


def test_a_marked_mail_is_found_shown_and_whole(service: Running) -> None:
    assert service.send(BAD)[0] == 250
    message = _looked_at(service, "subject:facture")
    (capture,) = message["captures"]
    assert capture["evidence"]["malware"] == "found"
    assert capture["evidence"]["names"] == ["Test.Archive.UNOFFICIAL"]
    for path in (f"/v1/messages/{message['id']}/raw", f"/v1/captures/{capture['id']}/raw"):
        assert _header(service, path) == ("Test.Archive.UNOFFICIAL", BAD)


def test_a_signed_mail_keeps_its_proof_when_the_key_has_gone(
    service: Running, resolver: unbound.Resolver, tmp_path: Path
) -> None:
    mail = signed("contrat")
    assert service.send(mail)[0] == 250
    message = _looked_at(service, "subject:contrat")
    resolver.remove(KEY_NAME)
    evidence = message["captures"][0]["evidence"]
    assert evidence["malware"] == "clean" and evidence["names"] == []
    (origin,) = [look for look in evidence["looks"] if look["look"] == "origin"]
    (signature,) = origin["origin"]["dkim"]
    assert (signature["result"], signature["aligned"], signature["key"]) == ("pass", "same", KEY_NAME)
    assert _header(service, f"/v1/messages/{message['id']}/raw") == (None, mail)
    bundle = _exported(service, message["id"], tmp_path)
    assert command("verify-bundle", bundle)["ok"] is True
    with zipfile.ZipFile(bundle) as zipped:
        zipped.extractall(tmp_path / "unpacked")
    (looks,) = (tmp_path / "unpacked").glob("messages/*/evidence.json")
    said = [json.loads(look["evidence"]) for look in json.loads(looks.read_bytes())["looks"]]
    (key,) = [answer for look in said for answer in look.get("dns", []) if answer["name"] == KEY_NAME]
    assert "DKIM1" in key["records"][0]
    script = subprocess.run(
        [sys.executable, "verify.py"], cwd=tmp_path / "unpacked", capture_output=True, text=True, check=False
    )
    assert script.returncode == 0, script.stdout
    assert _verifies_under(key["records"][0], (looks.parent / "message.eml").read_bytes())


def _verifies_under(record: str, mail: bytes) -> bool:
    """What a judge's expert does with the bundle: the mail's signature, under the key record that the bundle holds."""
    import dkim
    import dns.rrset

    name, ttl, _, kind, data = record.split(" ", 4)
    rrset = dns.rrset.from_text(name, int(ttl), "IN", kind, data)
    text = b"".join(rrset[0].strings)
    return bool(dkim.verify(mail, dnsfunc=lambda asked, timeout=5: text if asked.decode() == name else None))


def _exported(service: Running, message: str, folder: Path) -> Path:
    status, answer = service.http("POST", "/v1/exports", body={"ids": [message], "formats": ["bundle"]})
    assert status == 202, answer
    job = json.loads(answer)["id"]
    deadline = time.monotonic() + 90
    while (state := json.loads(service.http("GET", f"/v1/exports/{job}")[1]))["state"] != "done":
        assert time.monotonic() < deadline and state["state"] != "failed", state
        time.sleep(0.1)
    bundle = folder / "bundle.zip"
    bundle.write_bytes(service.http("GET", f"/v1/exports/{job}/download")[1])
    return bundle


def test_the_alarm_rings_once_and_the_counts_are_told(service: Running) -> None:
    _looked_at(service, "subject:facture")
    deadline = time.monotonic() + 90
    while True:
        with urllib.request.urlopen(f"http://{service.where['health']}/metrics", timeout=60) as answer:
            told = answer.read().decode()
        rings = _value(told, 'archive_alarm_on{alarm="malware_found"') == 1
        if rings and _value(told, "archive_malware_found") >= 1:
            break
        assert time.monotonic() < deadline, told
        time.sleep(0.2)
    found = [line for line in told.splitlines() if line.startswith("archive_evidence_looks_total")]
    assert any('outcome="found"' in line for line in found) and any('look="origin"' in line for line in found)


def _value(told: str, begins: str) -> float:
    return max(
        (float(line.rpartition(" ")[2]) for line in told.splitlines() if line.startswith(begins)), default=0
    )


def test_verify_and_drill_agree_with_what_was_seen(service: Running) -> None:
    _looked_at(service, "subject:facture")
    assert command("verify", "--data", service.data)["clean"] is True
    drilled = command("rebuild", "--data", service.data, "--drill")
    assert drilled.get("problems", []) == []
