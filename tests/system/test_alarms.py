"""Alarms from outside: the real service is made to fail, and real receivers hear of it, once, and of its end."""

import hashlib
import hmac
import json
import os
import signal
import smtplib
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path

import pytest

from tests.services.alarm_receivers import MailSink, Posted, Webhook, hook, sink, status
from tests.services.tools import free_port
from tests.system.test_service import PROGRAM, Running, make, start

__all__ = ["hook", "sink"]  # fixtures
SECRET = "the receiver's secret"
PATIENCE = 60


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@contextmanager
def running(
    data: Path, source: dict, hook: Webhook | None, sink: MailSink | None, *more: str, **settings: object
) -> Iterator[Running]:
    """The service with these receivers; the disk of the machine is none of the test's business."""
    given: dict[str, object] = {"alarm_seconds": 0.3, "alarm_disk_percent": 0, "smtp_workers": 1}
    if hook is not None:
        given |= {"alarm_webhook_url": hook.url(), "alarm_webhook_secret": SECRET, "alarm_webhook_seconds": 2}
    if sink is not None:
        given |= {
            "alarm_mail_server": f"127.0.0.1:{sink.port}",
            "alarm_mail_security": "none",
            "alarm_mail_from": "archive@example.org",
            "alarm_mail_to": "ops@example.org",
        }
    environment = {f"ARCHIVE_{name.upper()}": str(value) for name, value in (given | settings).items()}
    service = start(data, source, *more, **environment)
    try:
        yield service
    finally:
        for child in children(service):
            os.kill(child, signal.SIGCONT)
        assert service.stop() == 0


def children(service: Running, role: str = "") -> list[int]:
    """The process ids of the service's children."""
    what = ["pgrep", "-P", str(service.process.pid), "-f", f"archive_service.serving {role}"]
    return [int(line) for line in subprocess.run(what, capture_output=True, text=True).stdout.split()]


def posted(hook: Webhook, alarm: str, state: str) -> Posted:
    """The next post about this alarm and state."""
    return until(hook.next, lambda post: (post.notice()["alarm"], post.notice()["state"]) == (alarm, state))


def mailed(sink: MailSink, alarm: str, state: str) -> Message:
    return until(sink.next, lambda mail: mail["Subject"].endswith(f" {alarm} {state}"))


def until(next_one: Callable, wanted: Callable) -> object:
    while not wanted(found := next_one()):
        continue
    return found


def test_a_follower_that_stands_still_is_told_on_both_channels_and_so_is_its_end(
    data: Path, hook: Webhook, sink: MailSink
) -> None:
    source = make(data)
    with running(data, source, hook, sink, alarm_lag_seconds=1) as service:
        (follower,) = children(service, "follower")
        os.kill(follower, signal.SIGSTOP)
        subject = b"Subject: between us two\r\nFrom: anne@secret.example\r\n\r\nx\r\n"
        assert service.send(subject)[0] == 250
        raised = posted(hook, "follower_lag", "raised")
        mail = mailed(sink, "follower_lag", "raised")
        notice = raised.notice()
        assert notice["severity"] == "critical"
        assert {each["metric"] for each in notice["series"]} == {"archive_follower_lag_seconds"}
        for text in (raised.body.decode(), mail.as_string()):
            assert "between us" not in text
            assert "secret.example" not in text
            assert source["address"].partition("@")[0] not in text
            assert "acme" not in text
        signed = raised.headers["x-archive-timestamp"].encode() + b"." + raised.body
        expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert raised.headers["x-archive-signature"] == f"sha256={expected}"
        os.kill(follower, signal.SIGCONT)
        cleared = posted(hook, "follower_lag", "cleared").notice()
        assert cleared["since"] == notice["since"]
        assert notice["id"] not in mailed(sink, "follower_lag", "cleared").as_string()
        service.found("subject:between")
    log = (data / "run" / "serve.log").read_text()
    # told once while it is on, however often it is looked at; a busy machine may fall behind by a second again
    raised_, cleared_ = (log.count(f"alarm follower_lag (critical) {word}") for word in ("raised", "cleared"))
    assert 1 <= cleared_ <= raised_ <= cleared_ + 1 <= 4
    assert "secret.example" not in log


def test_a_key_place_that_is_away_rings_and_mail_is_kept_by_its_sender(data: Path, hook: Webhook) -> None:
    source = make(data)
    with running(data, source, hook, None) as service:
        place, away = data / "keys" / "b", data / "keys" / "away"
        place.rename(away)
        assert posted(hook, "key_place_unreachable", "raised").notice()["series"][0]["labels"]["place"] == "b"
        with pytest.raises(smtplib.SMTPDataError) as deferred:
            service.send(b"Subject: while it is away\r\n\r\nx\r\n")
        assert deferred.value.smtp_code == 451
        posted(hook, "mail_deferred_fault", "raised")
        if place.exists():  # a record may have been tried there
            subprocess.run(["rm", "-r", place], check=True)
        away.rename(place)
        posted(hook, "key_place_unreachable", "cleared")


def hangs(hook: Webhook) -> None:
    hook.answer = lambda handler: hook.done.wait(PATIENCE) and None


def fails(hook: Webhook) -> None:
    hook.answer = status(500)


@pytest.mark.parametrize("broken", [hangs, fails], ids=["timeout", "http_500"])
def test_a_broken_webhook_delays_neither_mail_nor_the_other_channel_and_is_told_there(
    data: Path, hook: Webhook, sink: MailSink, broken: Callable[[Webhook], None]
) -> None:
    source = make(data)
    broken(hook)
    settings = {"alarm_lag_seconds": 1, "alarm_webhook_seconds": 0.5}
    with running(data, source, hook, sink, **settings) as service:
        (follower,) = children(service, "follower")
        os.kill(follower, signal.SIGSTOP)
        assert service.send(b"Subject: one\r\n\r\nx\r\n")[0] == 250
        mailed(sink, "follower_lag", "raised")
        os.kill(follower, signal.SIGCONT)
        mailed(sink, "follower_lag", "cleared")
        mailed(sink, "alarm_channel_failed", "raised")
        assert service.send(b"Subject: two\r\n\r\nx\r\n")[0] == 250
        while not hook.posted.empty():
            hook.posted.get()
        hook.answer = status(204)
        posted(hook, "follower_lag", "cleared")  # nothing was lost, and its order is kept


def test_a_webhook_where_nobody_listens_delays_nothing(data: Path, sink: MailSink) -> None:
    source = make(data)
    nobody = Webhook(free_port())
    with running(data, source, nobody, sink, alarm_lag_seconds=1) as service:
        (follower,) = children(service, "follower")
        os.kill(follower, signal.SIGSTOP)
        assert service.send(b"Subject: one\r\n\r\nx\r\n")[0] == 250
        mailed(sink, "follower_lag", "raised")
        os.kill(follower, signal.SIGCONT)
        mailed(sink, "alarm_channel_failed", "raised")


def test_an_alarm_is_told_once_though_the_service_starts_again(data: Path, hook: Webhook) -> None:
    source = make(data)
    with running(data, source, hook, None, alarm_disk_percent=100):
        first = posted(hook, "work_disk_full", "raised").notice()
    with running(data, source, hook, None, alarm_disk_percent=100):
        for _ in range(2):
            evaluated(data)
        assert listed(data, alarm_disk_percent=100)["work_disk_full"] is True
    with running(data, source, hook, None):
        # what comes next about it is its end: it was not told again in between
        told = until(hook.next, lambda post: post.notice()["alarm"] == "work_disk_full").notice()
        assert (told["state"], told["since"]) == ("cleared", first["since"])
    assert listed(data)["work_disk_full"] is False


def evaluated(data: Path) -> None:
    """Wait for the next evaluation: each one writes the state anew."""
    state = data / "run" / "alarms.json"
    before, deadline = state.stat().st_mtime_ns, time.monotonic() + PATIENCE
    while state.stat().st_mtime_ns == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def listed(data: Path, **settings: object) -> dict[str, bool]:
    answer = ask(data, "list", **settings)
    assert answer.returncode == 0
    return {each["alarm"]: each["on"] for each in json.loads(answer.stdout)["alarms"]}


def ask(data: Path, action: str, **settings: object) -> subprocess.CompletedProcess[str]:
    environment = {f"ARCHIVE_{name.upper()}": str(value) for name, value in settings.items()}
    what = [PROGRAM, "alarms", action, "--data", data, "--json"]
    return subprocess.run(
        what, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_a_process_that_ends_again_and_again_rings(data: Path, hook: Webhook) -> None:
    source = make(data)
    with running(data, source, hook, None) as service:
        killed: set[int] = set()
        while len(killed) < 3:
            for child in set(children(service, "api")) - killed:
                os.kill(child, signal.SIGKILL)
                killed.add(child)
        posted(hook, "process_restarts", "raised")


def test_mail_that_is_refused_for_its_number_rings(data: Path, hook: Webhook) -> None:
    source = make(data)
    with running(data, source, hook, None, smtp_max_connections=1) as service:
        host, _, port = service.where["smtp"].rpartition(":")
        with (
            smtplib.SMTP(host, int(port), timeout=PATIENCE),
            pytest.raises(smtplib.SMTPConnectError) as refused,
        ):
            smtplib.SMTP(host, int(port), timeout=PATIENCE)
        assert refused.value.smtp_code == 421
        (series,) = posted(hook, "mail_refused_overload", "raised").notice()["series"]
        assert series["labels"]["reason"] == "connections"


def test_the_test_command_reaches_every_channel_or_says_which_it_does_not(
    data: Path, hook: Webhook, sink: MailSink
) -> None:
    make(data)
    none = ask(data, "test")
    assert none.returncode == 2
    settings = {
        "alarm_webhook_url": hook.url(),
        "alarm_mail_server": f"127.0.0.1:{sink.port}",
        "alarm_mail_security": "none",
        "alarm_mail_from": "archive@example.org",
        "alarm_mail_to": "ops@example.org",
    }
    done = ask(data, "test", **settings)
    assert done.returncode == 0
    assert hook.next().notice()["state"] == "test"
    assert sink.next()["Subject"] == "[archive warning] test test"
    fails(hook)
    failed = ask(data, "test", **settings)
    assert failed.returncode == 1
    said = json.loads(failed.stdout)["channels"]
    assert said["mail"] == "delivered"
    assert "alarm.refused" in said["webhook"]
    assert hook.url() not in failed.stdout + failed.stderr


def test_a_channel_that_is_set_half_is_said_at_the_start(data: Path) -> None:
    make(data)
    environment = {**os.environ, "ARCHIVE_ALARM_MAIL_SERVER": "localhost:25"}
    what = [PROGRAM, "serve", "--data", data, "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    done = subprocess.run(
        what, capture_output=True, text=True, check=False, env=environment, timeout=PATIENCE
    )
    assert done.returncode == 2
    assert "alarm_mail_from" in done.stderr
