"""The real service over S3: buckets on a server with Object Lock, settings in variables, projections in a work folder
that may be lost; two machines on the same buckets. Imports nothing of the program."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.s3 import admin, s3_service
from tests.services.versitygw import S3Service
from tests.system.machines import Site, mail, s3_settings, start, until

SAMPLES = Path(__file__).resolve().parent.parent / "samples"

__all__ = ["s3_service"]


@pytest.fixture
def site(s3_service: S3Service, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, s3_settings(s3_service, tmp_path))
    yield made
    for machine in made.machines:
        machine.kill()


def test_s3_from_init_to_a_lost_work_folder(site: Site, tmp_path: Path) -> None:
    one, address, token = start(site)
    one.serve()
    report = (SAMPLES / "m365-recipient.eml").read_bytes()
    assert one.send(address, report) == 250
    for number in range(5):
        assert one.send(address, mail(number)) == 250
    one.kill()  # what was answered 250 is in the buckets
    one.serve()
    assert one.send(address, mail(5)) == 250
    before = one.found(token, "*", 7)

    hit = one.found(token, "subject:numero3", 1)["hits"][0]["id"]
    assert one.http("GET", f"/v1/messages/{hit}/raw", token) == (200, mail(3))
    status, proof = one.http("GET", f"/v1/messages/{hit}/proof", token)
    assert status == 200 and json.loads(proof)
    status, answer = one.http("POST", "/v1/exports", token, {"ids": [hit], "formats": ["bundle"]})
    assert status == 202
    job = f"/v1/exports/{json.loads(answer)['id']}"

    def done() -> dict | None:
        state = json.loads(one.http("GET", job, token)[1])
        assert state["state"] != "failed", state
        return state if state["state"] == "done" else None

    until(done, one.log)
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(one.http("GET", f"{job}/download", token)[1])
    assert one.command("verify-bundle", bundle)["ok"] is True
    assert one.command("verify")["clean"] is True  # beside the running service
    one.stop()

    shutil.rmtree(one.work)  # the machine is lost: buckets and key service alone remain
    one.command("rebuild")
    verified = one.command("verify")
    assert verified["clean"] is True and verified["checked"]["rows"] > 0
    one.serve()
    assert one.found(token, "*", 7)["hits"] == before["hits"]
    assert one.http("GET", f"/v1/messages/{hit}/raw", token) == (200, mail(3))
    one.stop()


def test_s3_two_machines_take_mail_and_one_orders(site: Site) -> None:
    one, address, token = start(site)
    two = site.machine("two")
    one.serve()
    one.found(token, "*", 0)
    two.serve()
    for number in range(6):
        assert (one, two)[number % 2].send(address, mail(number)) == 250
    first = one.found(token, "*", 6)
    assert two.found(token, "*", 6)["hits"] == first["hits"]  # it projects what the other one ordered
    one.kill()
    for number in range(6, 9):
        assert two.send(address, mail(number)) == 250
    two.found(token, "*", 9)  # and orders itself, once the other one has been silent
    one.serve()
    assert one.send(address, mail(9)) == 250
    assert two.found(token, "*", 10)["hits"] == one.found(token, "*", 10)["hits"]
    for machine in (one, two):
        machine.stop()
    assert two.command("verify")["clean"] is True


def test_s3_init_and_serve_refuse_an_unfit_bucket(site: Site, s3_service: S3Service) -> None:
    one = site.machine("one")
    admin(s3_service).create_bucket(Bucket=site.settings["ARCHIVE_S3_BUCKET"])  # without Object Lock
    code, _, err = one.run("init", "--tenant", "acme", "--create-buckets")
    assert code == 1
    assert "store.unfit" in err and "object-lock-enabled-for-bucket" in err
    code, out, _ = one.run("doctor", "--json")
    assert code == 1 and json.loads(out)["healthy"] is False
    code, _, err = one.run("serve", "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0")
    assert code == 1 and "archive bucket" in err
    assert not (site.folder / "kms").exists()  # nothing was made


def test_s3_doctor_says_what_it_saw(site: Site) -> None:
    one, _, _ = start(site)
    checks = one.command("doctor")["checks"]
    assert {"store", "clock", "key service", "tenants", "writing"} <= set(checks)
    assert any(name.startswith("archive bucket: ") for name in checks)
    assert any(name.startswith("key place b: ") for name in checks)
    assert any(name.endswith("/acts") for name in checks)
    secret = site.settings["ARCHIVE_S3_SECRET_KEY"]
    _, out, err = one.run("doctor")
    assert secret not in out + err
