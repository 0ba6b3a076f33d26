"""``serve --health``: one port for every role of a ``serve``, asked from outside."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.test_alarms import children
from tests.system.test_service import PROGRAM, Running, command, make, start

PATIENCE = 60.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("archive")
    settings = {"ARCHIVE_ALARM_SECONDS": "0.3", "ARCHIVE_SMTP_WORKERS": "2"}
    running = start(data, make(data), "--health", "127.0.0.1:0", **settings)
    yield running
    assert running.stop() == 0


def get(service: Running, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{service.where['health']}{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(service: Running) -> dict[str, float]:
    status, text = get(service, "/metrics")
    assert status == 200
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_live_ready_and_nothing_else(service: Running) -> None:
    assert get(service, "/health/live") == (200, '{"status": "live"}')
    assert get(service, "/health/ready") == (200, '{"status": "ready"}')
    assert get(service, "/v1/search")[0] == 404
    assert get(service, "/health/live?x=1")[0] == 200


def test_what_every_process_counts_is_there_and_names_nobody(service: Running) -> None:
    assert service.send(b"Subject: hidden words\r\nFrom: anne@secret.example\r\n\r\nx\r\n")[0] == 250
    with service.smtp() as smtp:
        smtp.mail("<>")
        assert smtp.rcpt("nobody@example.com")[0] == 550
    service.found("subject:hidden")

    def counted(name: str, *labels: str) -> float:
        return sum(
            v for k, v in metrics(service).items() if k.startswith(name) and all(each in k for each in labels)
        )

    until(lambda: counted("archive_smtp_accepted_total") == 1)
    until(lambda: counted("archive_smtp_refused_total", 'class="5xx"', 'reason="unknown_recipient"') == 1)
    until(lambda: counted("archive_process_ready") == 5)
    until(lambda: counted("archive_follower_active") == 1)
    until(lambda: any(each.startswith("archive_follower_lag_seconds") for each in metrics(service)))
    until(lambda: any(each.startswith("archive_checkpoint_lag_seconds") for each in metrics(service)))
    text = get(service, "/metrics")[1]
    for secret in ("hidden", "secret.example", "acme", service.source["address"].partition("@")[0]):
        assert secret not in text
    assert text.count("# TYPE archive_smtp_accepted_total counter") == 1


def test_a_process_that_is_being_restarted_makes_the_service_not_ready(service: Running) -> None:
    (child,) = children(service, "scheduler")
    os.kill(child, signal.SIGKILL)
    until(lambda: get(service, "/health/ready") == (503, '{"status": "not ready", "roles": ["scheduler"]}'))
    until(lambda: get(service, "/health/ready")[0] == 200)
    assert metrics(service)['archive_process_restarts_total{role="scheduler",worker="0"}'] == 1
    assert get(service, "/health/live")[0] == 200


def test_a_process_that_is_frozen_is_seen_to_be_silent(service: Running) -> None:
    (child,) = children(service, "follower")
    silent = 'archive_process_silent_seconds{role="follower",worker="0"}'
    os.kill(child, signal.SIGSTOP)
    try:
        until(lambda: metrics(service)[silent] > 3)
    finally:
        os.kill(child, signal.SIGCONT)
    until(lambda: metrics(service)[silent] < 3)


def test_askers_that_say_nothing_do_not_shut_others_out_for_long(service: Running) -> None:
    host, _, port = service.where["health"].rpartition(":")
    mute = [socket.create_connection((host, int(port))) for _ in range(40)]

    def answers() -> bool:
        try:
            return get(service, "/health/live")[0] == 200
        except OSError:
            return False

    until(answers)
    for each in mute:
        each.close()


@pytest.mark.parametrize("role", ["smtp", "api", "follower", "scheduler"])
def test_each_role_by_itself_has_its_port(tmp_path: Path, role: str) -> None:
    data = tmp_path / "archive"
    running = start(data, make(data), "--role", role, "--health", "127.0.0.1:0", ARCHIVE_SMTP_WORKERS="1")
    try:
        assert get(running, "/health/ready")[0] == 200
        assert f'archive_process_ready{{role="{role}",worker="0"}}' in metrics(running)
    finally:
        assert running.stop() == 0
    assert list((data / "run" / "reports").iterdir()) == []


def test_reports_of_a_killed_service_go_with_the_next_start(tmp_path: Path) -> None:
    data = tmp_path / "archive"
    source = make(data)
    first = start(data, source, "--role", "api", "--health", "127.0.0.1:0")
    first.process.kill()
    first.process.wait()
    left = {path.name for path in (data / "run" / "reports").iterdir()}
    assert len(left) == 2
    second = start(data, source, "--role", "api", "--health", "127.0.0.1:0")
    try:
        assert not left & {path.name for path in (data / "run" / "reports").iterdir()}
    finally:
        assert second.stop() == 0


def test_a_health_port_that_is_taken_is_said_at_the_start(tmp_path: Path) -> None:
    data = tmp_path / "archive"
    make(data)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        what = [PROGRAM, "serve", "--data", data, "--role", "api", "--http", "127.0.0.1:0", "--health", where]
        done = subprocess.run(what, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 2
    assert "health port" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_setting_there_is_no_port(tmp_path: Path) -> None:
    data = tmp_path / "archive"
    running = start(data, make(data), "--role", "follower")
    assert running.where["health"] is None
    assert running.stop() == 0
    assert command("doctor", "--data", data)["healthy"] is True
    assert json.dumps(running.where)
