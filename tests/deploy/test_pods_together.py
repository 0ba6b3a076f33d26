"""What the chart makes of a values file is run: each pod's own arguments and environment as processes of their own,
each with a work folder that no other sees, over real S3, PostgreSQL and Elasticsearch. Only addresses, ports and
folders are this machine's."""

import json
import os
import secrets
import smtplib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.manifests import ROLES, Manifest, container, plain_environment, pods, secret_environment
from tests.deploy.values_schema import CHART
from tests.services.elasticsearch import elasticsearch_url
from tests.services.helm import found
from tests.services.postgres import postgres_url
from tests.services.s3 import s3_service
from tests.services.versitygw import S3Service

__all__ = ["postgres_url", "s3_service"]

PROGRAM = str(Path(sys.executable).with_name("archive-service"))
PATIENCE = 180.0


@dataclass
class Pod:
    """A pod template, run here."""

    template: Manifest
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    said: dict[str, Any] = field(default_factory=dict)

    def command(self, *arguments: str) -> dict[str, Any]:
        """What ``kubectl exec`` would get, as JSON; exit 0 is asked for."""
        done = subprocess.run(
            [PROGRAM, *arguments, "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return dict(json.loads(done.stdout))

    def start(self) -> None:
        """As the kubelet does: the pod's own arguments."""
        with self.log.open("ab") as log:
            arguments = [PROGRAM, *container(self.template)["args"], "--json"]
            self.process = subprocess.Popen(
                arguments, env=self.environment, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )

    def await_ready(self) -> None:
        """On return it has said that it is."""
        assert self.process is not None and self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.said = json.loads(line)

    def stop(self) -> int:
        """SIGTERM, and how it ended: within the pod's own grace."""
        assert self.process is not None and self.process.stdout is not None
        self.process.terminate()
        code = self.process.wait(self.template["spec"]["terminationGracePeriodSeconds"])
        self.process.stdout.close()
        self.process = None
        return code

    def ask(self, probe: str) -> int:
        """The status that the kubelet sees."""
        asked = container(self.template)[probe]["httpGet"]
        return http(f"http://{self.said[asked['port']]}{asked['path']}")[0]

    def kill(self) -> None:
        """With all its processes."""
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()


def http(url: str, token: str = "", body: dict[str, Any] | None = None) -> tuple[int, bytes]:
    """Status and body."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = json.dumps(body).encode() if body is not None else None
    if data is not None:
        headers["Content-Type"] = "application/json"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def until(look: Callable[[], Any], log: Path) -> Any:
    """What ``look`` returns when it is something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        seen = look()
        if seen:
            return seen
        time.sleep(0.1)
    raise AssertionError(log.read_text()[-3000:])


@pytest.fixture
def together(s3_service: S3Service, postgres_url: str, tmp_path: Path) -> Iterator[dict[str, Pod]]:
    """Every pod of the chart, by component; none runs yet."""
    manifests = _rendered(s3_service)
    values = {
        "ARCHIVE_S3_ACCESS_KEY": s3_service.access_key,
        "ARCHIVE_S3_SECRET_KEY": s3_service.secret_key,
        "ARCHIVE_CATALOG_URL": postgres_url,
    }
    (tmp_path / "exports").mkdir()
    made: dict[str, Pod] = {}
    for component, template in pods(manifests):
        work = tmp_path / component
        work.mkdir()
        if "exports" in {volume["name"] for volume in template["spec"]["volumes"]}:
            (work / "exports").symlink_to(tmp_path / "exports")
        given = {**plain_environment(manifests, template), "ARCHIVE_WORK": str(work)}
        given |= {name: values[name] for name in secret_environment(template)}
        given |= {
            "ARCHIVE_KMS_FOLDER": str(tmp_path / "kms"),
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
        }
        given |= {f"ARCHIVE_{port}": "127.0.0.1:0" for port in ("SMTP", "HTTP", "HEALTH")}
        made[component] = Pod(template, given, tmp_path / f"{component}.log")
    yield made
    for pod in made.values():
        pod.kill()


def _rendered(s3: S3Service) -> list[Manifest]:
    name = f"pods-{secrets.token_hex(6)}"
    return found(CHART).template(
        CHART / "ci" / "small.yaml",
        *(f"settings.s3_endpoint={s3.url}", f"settings.s3_bucket={name}"),
        *(f"settings.keys_a=s3://{name}-a", f"settings.keys_b=s3://{name}-b"),
        *(f"settings.es_url={elasticsearch_url()}", f"settings.es_prefix={name}"),
        *("init.tenant=acme", "init.createBuckets=true"),
    )


def test_s3_postgres_elasticsearch_pods_archive_find_and_export(
    together: dict[str, Pod], tmp_path: Path
) -> None:
    init = together["init"]
    assert init.command(*container(init.template)["args"])["verifier_key"]
    scheduler = together["scheduler"]
    source = ("source", "add", "--tenant", "acme", "--kind", "generic", "--name", "test")
    address = scheduler.command(*source)["address"]
    for role in ROLES:
        together[role].start()
    for role in ROLES:
        together[role].await_ready()
        assert together[role].ask("startupProbe") == together[role].ask("livenessProbe") == 200
    until(
        lambda: together["api"].ask("readinessProbe") == 200, together["api"].log
    )  # the follower made the index
    assert "ARCHIVE_CATALOG_URL" not in together["smtp"].environment

    host, port = together["smtp"].said["smtp"].rsplit(":", 1)
    with smtplib.SMTP(host, int(port)) as session:
        session.sendmail("a@example.org", [address], b"From: a@example.org\r\nSubject: pods\r\n\r\nhello\r\n")

    who = ("--tenant", "acme", "--role", "compliance_officer", "--subject", "anne")
    token = scheduler.command("token", *who)["token"]
    api = f"http://{together['api'].said['http']}/v1"

    def findable() -> list[Any]:
        status, body = http(f"{api}/search", token, {"query": "subject:pods"})
        return json.loads(body)["hits"] if status == 200 else []

    (hit,) = until(findable, together["follower"].log)
    asked = http(f"{api}/exports", token, {"ids": [hit["id"]], "formats": ["bundle"]})
    assert asked[0] == 202
    job = f"{api}/exports/{json.loads(asked[1])['id']}"
    until(lambda: json.loads(http(job, token)[1])["state"] == "done", scheduler.log)
    status, bundle = http(f"{job}/download", token)  # made in one pod, handed out by another
    assert status == 200
    (tmp_path / "bundle.zip").write_bytes(bundle)
    assert scheduler.command("verify-bundle", str(tmp_path / "bundle.zip"))["ok"] is True
    assert scheduler.command("verify")["clean"] is True
    assert {role: together[role].stop() for role in ROLES} == dict.fromkeys(ROLES, 0)
