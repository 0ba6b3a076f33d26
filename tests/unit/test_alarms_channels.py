"""The webhook and the mail channel against real servers: what arrives, what is signed, what is refused, and that no
peer holds them up for longer than they were told."""

import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from archive_service.alarms import addresses, names
from archive_service.alarms.channels import Postman, channels_of
from archive_service.alarms.mail import MailChannel, mail_of
from archive_service.alarms.notices import Notice, State, trial
from archive_service.alarms.state import Memory
from archive_service.alarms.tally import Sample, Tally
from archive_service.alarms.webhook import WebhookChannel, webhook_of
from archive_service.model.errors import ArchiveError, Invalid
from archive_service.settings import load
from tests.services.alarm_receivers import (
    PATIENCE,
    MailSink,
    Webhook,
    certificate,
    hook,
    mail_sink,
    server_context,
    sink,
    status,
    webhook,
)
from tests.services.tools import free_port

NOTICE = trial(1_000_000.0)
__all__ = ["hook", "sink"]  # fixtures
SECRET = "a secret of the receiver"


def to(url: str, **more: object) -> WebhookChannel:
    found = webhook_of(load(alarm_webhook_url=url, **more))
    assert found is not None
    return found


def mails_to(sink: MailSink, **more: object) -> MailChannel:
    given = {
        "alarm_mail_security": "none",
        "alarm_mail_from": "archive@example.org",
        "alarm_mail_to": "ops@example.org",
    }
    found = mail_of(load(alarm_mail_server=f"localhost:{sink.port}", **{**given, **more}))
    assert found is not None
    return found


def refused(channel: WebhookChannel | MailChannel) -> str:
    with pytest.raises(ArchiveError) as caught:
        channel.deliver(NOTICE)
    assert "127.0.0.1" not in str(caught.value)
    return caught.value.code


# --- the webhook ------------------------------------------------------------------------------------------


def test_a_notice_is_posted_as_json_and_signed(hook: Webhook) -> None:
    to(hook.url(), alarm_webhook_secret=SECRET).deliver(NOTICE)
    posted = hook.next()
    assert posted.path == "/hook?to=ops"
    assert Notice.parse(posted.notice()) == NOTICE
    assert posted.headers["content-type"] == "application/json"
    assert posted.headers["x-archive-notice"] == NOTICE.id
    signed = posted.headers["x-archive-timestamp"].encode() + b"." + posted.body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert posted.headers["x-archive-signature"] == f"sha256={expected}"


def test_without_a_secret_nothing_is_signed(hook: Webhook) -> None:
    to(hook.url()).deliver(NOTICE)
    assert "x-archive-signature" not in hook.next().headers


@pytest.mark.parametrize("code", [302, 307, 400, 410, 500, 503])
def test_what_is_no_2xx_is_a_failure_and_no_redirect_is_followed(hook: Webhook, code: int) -> None:
    hook.answer = status(code, Location=hook.url())
    assert refused(to(hook.url())) == "alarm.refused"
    hook.next()
    assert hook.posted.empty()


def test_nobody_listens() -> None:
    assert refused(to(f"http://127.0.0.1:{free_port()}/")) == "alarm.unreachable"


def test_an_unknown_host() -> None:
    assert refused(to("http://no-such-host.invalid/")) == "alarm.unreachable"


def test_a_receiver_that_never_answers(hook: Webhook) -> None:
    hook.answer = lambda handler: hook.done.wait(PATIENCE) and None
    assert refused(to(hook.url(), alarm_webhook_seconds=0.3)) == "alarm.timeout"


def drip(hook: Webhook) -> None:
    """A byte of a header every now and then: each read succeeds in time, the answer never ends."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not hook.done.wait(0.02):
            handler.wfile.write(b"x")

    hook.answer = answer


def test_a_receiver_that_answers_a_byte_at_a_time(hook: Webhook) -> None:
    drip(hook)
    assert refused(to(hook.url(), alarm_webhook_seconds=0.5)) == "alarm.timeout"


def test_tls_is_checked_and_bounded_too(tmp_path: Path) -> None:
    pem, key = certificate(tmp_path)
    with webhook(server_context(pem, key)) as hook:
        to(hook.url("https", "localhost"), alarm_webhook_ca_bundle=pem).deliver(NOTICE)
        assert Notice.parse(hook.next().notice()) == NOTICE
        assert refused(to(hook.url("https", "localhost"))) == "alarm.unreachable"
        drip(hook)
        slow = to(hook.url("https", "localhost"), alarm_webhook_ca_bundle=pem, alarm_webhook_seconds=0.5)
        assert refused(slow) == "alarm.timeout"


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
    ],
)
def test_addresses_that_are_never_reached(address: str) -> None:
    assert addresses.is_refused(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "8.8.8.8", "2001:db8::1"])
def test_addresses_that_may_be(address: str) -> None:
    assert not addresses.is_refused(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:a9fe:a9fe]/",
        "http://2852039166/",  # the same address as one number
        "http://0251.0376.0251.0376/",  # and in octal
    ],
)
def test_a_webhook_to_the_metadata_service_is_refused_before_it_is_reached(url: str) -> None:
    assert refused(to(url)) == "alarm.address"


def test_unless_the_setting_allows_it() -> None:
    url = urlsplit("http://169.254.169.254/")
    assert addresses.resolve(url, anywhere=True) == [("169.254.169.254", 80)]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "https://",
        "x",
        "http://user:pass@host/",
        "http://host:0/",
        "http://host:99999/",
        "http://[/",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_at_the_start_and_not_shown(url: str) -> None:
    with pytest.raises(Invalid, match="alarm_webhook_url") as caught:
        to(url)
    assert "pass" not in str(caught.value).replace("password", "")


def test_a_ca_bundle_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="alarm_webhook_ca_bundle"):
        to("https://localhost/", alarm_webhook_ca_bundle=tmp_path / "none.pem")


# --- mail -------------------------------------------------------------------------------------------------


def test_a_mail_says_what_people_need_and_has_the_same_id_at_every_attempt(sink: MailSink) -> None:
    channel = mails_to(sink, alarm_mail_to="ops@example.org, night@example.org")
    channel.deliver(NOTICE)
    channel.deliver(NOTICE)
    envelope, mail = sink.mails.get(timeout=PATIENCE)
    assert envelope.mail_from == "archive@example.org"
    assert envelope.rcpt_tos == ["ops@example.org", "night@example.org"]
    assert mail["Subject"] == "[archive warning] test test"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain"
    assert "this channel for alarms works" in mail.get_payload()
    assert sink.next()["Message-ID"] == mail["Message-ID"]


def test_starttls_and_login(tmp_path: Path) -> None:
    pem, key = certificate(tmp_path)
    safe = {"alarm_mail_security": "starttls", "alarm_mail_ca_bundle": pem, "alarm_mail_user": "archive"}
    with mail_sink(server_context(pem, key), archive="right") as sink:
        mails_to(sink, **safe, alarm_mail_password="right").deliver(NOTICE)
        assert "[archive warning]" in sink.next()["Subject"]
        assert refused(mails_to(sink, **safe, alarm_mail_password="wrong")) == "alarm.refused"
        assert refused(mails_to(sink, alarm_mail_security="starttls")) == "alarm.unreachable"
        assert sink.mails.empty()


def test_a_server_without_starttls_gets_neither_mail_nor_password(sink: MailSink) -> None:
    channel = mails_to(sink, alarm_mail_security="starttls", alarm_mail_user="a", alarm_mail_password="b")
    assert refused(channel) == "alarm.unreachable"
    assert sink.mails.empty()


def test_a_refused_recipient_is_a_failure(sink: MailSink) -> None:
    sink.refuse = {"night@example.org"}
    assert refused(mails_to(sink, alarm_mail_to="night@example.org")) == "alarm.refused"
    assert refused(mails_to(sink, alarm_mail_to="ops@example.org,night@example.org")) == "alarm.refused"


@contextmanager
def greeting_slowly() -> Iterator[int]:
    """A server whose greeting never ends."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            taken, _ = listener.accept()
            with taken:
                while not done.wait(0.02):
                    try:
                        taken.sendall(b"2")
                    except OSError:
                        return

        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        done.set()
        thread.join()


def test_a_mail_server_that_answers_a_byte_at_a_time() -> None:
    with greeting_slowly() as port:
        slow = mails_to(MailSink(port), alarm_mail_seconds=0.5)
        assert refused(slow) in {"alarm.timeout", "alarm.unreachable"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"alarm_mail_to": None}, "alarm_mail_to"),
        ({"alarm_mail_from": None}, "alarm_mail_from"),
        ({"alarm_mail_from": "a@b\r\nBcc: c@d"}, "alarm_mail_from"),
        ({"alarm_mail_to": "nobody"}, "alarm_mail_to"),
        ({"alarm_mail_server": "localhost"}, "alarm_mail_server"),
        ({"alarm_mail_user": "x"}, "alarm_mail_user"),
        ({"alarm_mail_ca_bundle": Path("/nowhere.pem")}, "alarm_mail_ca_bundle"),
    ],
)
def test_mail_settings_that_cannot_be_meant(given: dict[str, object], named: str) -> None:
    whole: dict[str, object] = {
        "alarm_mail_server": "localhost:25",
        "alarm_mail_security": "none",
        "alarm_mail_from": "a@example.org",
        "alarm_mail_to": "b@example.org",
    }
    with pytest.raises(Invalid, match=named):
        mail_of(load(**{**whole, **given}))


# --- both, and who carries to them ------------------------------------------------------------------------


def test_without_settings_there_is_no_channel() -> None:
    assert channels_of(load()) == []


class Carried:
    """A memory and a postman over one webhook."""

    def __init__(self, folder: Path, hook: Webhook, notices: int = 2) -> None:
        self.memory = Memory(folder / "run" / "alarms.json", ["webhook"])
        self.tally = Tally()
        self.notices = [trial(float(number)) for number in range(notices)]
        self.memory.post(self.notices)
        self.postman = Postman(to(hook.url(), alarm_webhook_seconds=5), self.memory, self.tally)

    def failures(self) -> float:
        wanted = Sample.of(names.ALARM_CHANNEL_FAILURES, 0, channel="webhook")
        return sum(each.value for each in self.tally.own() if each.metric == wanted.metric)


def test_what_waits_is_delivered_in_order_and_then_forgotten(hook: Webhook, tmp_path: Path) -> None:
    carried = Carried(tmp_path, hook)
    carried.postman.start()
    assert [hook.next().notice()["id"] for _ in range(2)] == [notice.id for notice in carried.notices]
    carried.postman.close(PATIENCE)
    assert Memory(tmp_path / "run" / "alarms.json", ["webhook"]).waiting() == {"webhook": 0}


def test_what_fails_is_tried_again_and_stays_until_it_is_taken(hook: Webhook, tmp_path: Path) -> None:
    hook.answer = status(500)
    carried = Carried(tmp_path, hook, notices=1)
    carried.postman.start()
    first, second = hook.next(), hook.next()
    assert first.headers["x-archive-notice"] == second.headers["x-archive-notice"]
    carried.postman.close(PATIENCE)
    assert carried.failures() >= 2
    assert (
        json.loads((tmp_path / "run" / "alarms.json").read_text())["waiting"]["webhook"][0]["state"]
        == State.TEST
    )
    hook.answer = status(200)
    again = Postman(to(hook.url()), Memory(tmp_path / "run" / "alarms.json", ["webhook"]), Tally())
    again.start()
    while hook.next().headers["x-archive-notice"] != first.headers["x-archive-notice"]:
        continue
    again.close(PATIENCE)
