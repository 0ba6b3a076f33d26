"""POP3 against a real Dovecot, and against servers that do what none should."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from archive_service.imports.importing_journal import Journal
from archive_service.ledger.write_steps import WriteSteps
from archive_service.model.backoff import Backoff
from archive_service.model.errors import StoreError
from ingest.importers import pop3_wire
from ingest.importers.base import MailboxFailed
from ingest.importers.pop3 import Pop3
from ingest.importers.server import Server, Tls
from tests.flow.archive_fixtures import have_erased, mail, verify
from tests.flow.importing import counts, held, imported, made, once
from tests.services.cutting_proxy import CuttingProxy
from tests.services.dovecot import Dovecot, dovecot
from tests.services.scripted_server import ScriptedServer

__all__ = ["dovecot"]  # a fixture

HASTE = Backoff(tries=4, sleep=lambda _: None)
LIMIT = 1 << 24
ODD = (
    b"Subject: odd \x00\r\n\r\nnul \x00 bare\rcr\r\n.\r\n..\r\n.x\r\n\xff\xfe 8-bit\r\n"
    + b"x" * 100_000
    + b"\r\n"
    + b".\r\n" * 1000
    + b"\r\n\r\n"
)
_OPEN: list[Pop3] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Whatever a test leaves open."""
    yield
    while _OPEN:
        _OPEN.pop().close()


@pytest.fixture
def user(dovecot: Dovecot) -> str:
    return dovecot.new_user()


def opened(dovecot: Dovecot, user: str, limit: int = LIMIT, *, delete: bool = False, **more: object) -> Pop3:
    named = {"host": "127.0.0.1", "port": dovecot.ports["pop3"], "secret": dovecot.password, "tls": Tls.NONE}
    server = Server(**{**named, "user": user, **more})  # type: ignore[arg-type]
    _OPEN.append(Pop3(server, limit, delete=delete, patience=HASTE))
    return _OPEN[-1]


def read(mailbox: Pop3) -> list[bytes]:
    return [item.read() for item in mailbox.items()]


def test_every_mail_byte_for_byte(dovecot: Dovecot, user: str) -> None:
    # Not here: an empty mail, to which this server adds a line end, and one whose first line is a dot alone, which it
    # sends unstuffed, as no server may: that is the answer's end.
    mails = [ODD, mail(1), b".first\r\n", b"no header at all\r\n"]
    for each in mails:
        dovecot.deliver(user, each)
    mailbox = opened(dovecot, user)
    assert mailbox.count() == len(mails)
    assert sorted(read(mailbox)) == sorted(mails)
    names = [item.name for item in mailbox.items()]
    assert len(set(names)) == len(mails)
    assert all(name.startswith(f"pop://{user.replace('@', '%40')}@127.0.0.1/;UIDL=") for name in names)


def test_an_empty_mailbox(dovecot: Dovecot, user: str) -> None:
    assert read(opened(dovecot, user)) == []


@pytest.mark.parametrize("tls", [Tls.IMPLICIT, Tls.STARTTLS])
def test_tls_of_each_kind(dovecot: Dovecot, user: str, tls: Tls) -> None:
    dovecot.deliver(user, mail(1))
    port = dovecot.ports["pop3s" if tls is Tls.IMPLICIT else "pop3"]
    assert read(opened(dovecot, user, tls=tls, port=port, ca=dovecot.ca)) == [mail(1)]
    with pytest.raises(MailboxFailed) as caught:
        opened(dovecot, user, tls=tls, port=port)
    assert caught.value.code == "import.tls"


def test_a_wrong_password(dovecot: Dovecot, user: str) -> None:
    with pytest.raises(MailboxFailed) as caught:
        opened(dovecot, user, secret="wrong")
    assert caught.value.code == "import.login"


def test_nobody_there() -> None:
    with pytest.raises(MailboxFailed) as caught:
        Pop3(Server("127.0.0.1", 1, "u", "s", tls=Tls.NONE), LIMIT)
    assert caught.value.code == "import.connection"


@pytest.mark.parametrize("cut", [150, 400, 3000, 12_000, 30_000])
def test_a_connection_cut_anywhere_is_made_again(dovecot: Dovecot, user: str, cut: int) -> None:
    mails = [mail(number, "y" * 10_000) for number in range(5)]
    for each in mails:
        dovecot.deliver(user, each)
    proxy = CuttingProxy(dovecot.ports["pop3"], max(cut, 3000), cut, cut + 5000)
    try:
        assert sorted(read(opened(dovecot, user, port=proxy.port))) == sorted(mails)
        assert proxy.connections > 1
    finally:
        proxy.close()


def test_a_line_that_stays_bad_ends_the_import(dovecot: Dovecot, user: str) -> None:
    dovecot.deliver(user, mail(1, "y" * 10_000))
    proxy = CuttingProxy(dovecot.ports["pop3"], *[3000] * 20)
    try:
        mailbox = opened(dovecot, user, port=proxy.port)
        with pytest.raises(MailboxFailed) as caught:
            read(mailbox)
        assert caught.value.code == "import.connection"
    finally:
        proxy.close()


# --- through the command --------------------------------------------------------------------------------


@pytest.fixture
def asked(dovecot: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setenv("MAILBOX_PASSWORD", dovecot.password)
    where = ["--host", "127.0.0.1", "--port", dovecot.ports["pop3s"], "--ca", dovecot.ca]
    return ["pop3", *where, "--user", user, "--password-env", "MAILBOX_PASSWORD"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return made(tmp_path / "archive")


def left(dovecot: Dovecot, user: str) -> int:
    return sum(1 for place in ("new", "cur") for _ in (dovecot.mailbox(user) / place).iterdir())


def test_a_mailbox_is_imported_once_and_stays(
    dovecot: Dovecot, user: str, asked: list[object], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        dovecot.deliver(user, mail(number))
    assert counts(imported(data, *asked)) == (3, 0, 0)

    def fetched_again(*_: object) -> bytes:
        raise AssertionError("what is known was fetched again")

    with monkeypatch.context() as patched:
        patched.setattr(Pop3, "_read", fetched_again)
        assert counts(imported(data, *asked)) == (0, 3, 0)
    assert left(dovecot, user) == 3
    assert sorted(once(data).values()) == sorted(mail(number) for number in range(3))
    assert verify(data).code == 0


def test_delete_takes_away_what_is_durable_and_nothing_else(
    dovecot: Dovecot, user: str, asked: list[object], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        dovecot.deliver(user, mail(number))
    assert counts(imported(data, *asked)) == (3, 0, 0)
    dovecot.deliver(user, b"x" * 70_000 + b"\r\n")
    monkeypatch.setenv("ARCHIVE_SMTP_MAX_SIZE", "65536")
    assert counts(imported(data, *asked, "--delete")) == (0, 3, 1)
    assert left(dovecot, user) == 1, "the one that failed"
    monkeypatch.delenv("ARCHIVE_SMTP_MAX_SIZE")
    assert counts(imported(data, *asked, "--delete")) == (1, 0, 0)
    assert left(dovecot, user) == 0
    assert len(once(data)) == 4


def test_delete_deletes_nothing_that_the_archive_did_not_take(
    dovecot: Dovecot, user: str, asked: list[object], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        dovecot.deliver(user, mail(number))

    def refuse(*_: object) -> object:
        raise StoreError("no room", code="store.full")

    with monkeypatch.context() as patched:
        patched.setattr(WriteSteps, "seal", refuse)
        assert counts(imported(data, *asked, "--delete")) == (0, 0, 3)
    assert left(dovecot, user) == 3
    assert held(data) == []


def test_what_has_been_erased_stays_on_the_server(
    dovecot: Dovecot, user: str, asked: list[object], data: Path
) -> None:
    dovecot.deliver(user, mail(1))
    (capture,) = imported(data, *asked).answer["captures"]
    have_erased(data, capture)
    assert counts(imported(data, *asked, "--delete")) == (0, 1, 0)
    assert left(dovecot, user) == 1


def test_a_journal_that_is_wrong_about_a_name_deletes_nothing_unread(
    dovecot: Dovecot, user: str, asked: list[object], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --delete bytes are compared: a name alone never costs a mail."""
    dovecot.deliver(user, mail(1))
    monkeypatch.setattr(Journal, "named", lambda self, name: "c-of-another-mail")
    assert counts(imported(data, *asked, "--delete")) == (1, 0, 0)
    assert [raw for _, raw in held(data)] == [mail(1)]


# --- servers that do what none should -------------------------------------------------------------------


class Talk:
    """A POP3 server of scripted answers, by the command's words."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self.answers = {
            b"UIDL": b"+OK\r\n1 a\r\n.\r\n",
            b"LIST": b"+OK\r\n1 4\r\n.\r\n",
            b"RETR 1": b"+OK\r\nmail\r\n.\r\n",
            **answers,
        }
        self.heard: list[bytes] = []

    def __call__(self, lines: BinaryIO, out: BinaryIO) -> None:
        out.write(b"+OK hello\r\n")
        for line in lines:
            self.heard.append(line.rstrip(b"\r\n"))
            out.write(self.answers.get(self.heard[-1], b"+OK\r\n"))
            if self.heard[-1] == b"QUIT":
                return


@pytest.fixture
def talking() -> Iterator[list[ScriptedServer]]:
    started: list[ScriptedServer] = []
    yield started
    for each in started:
        each.close()


def against(
    started: list[ScriptedServer], talk: Talk, limit: int = LIMIT, *, delete: bool = False, **more: object
) -> Pop3:
    started.append(ScriptedServer(talk))
    named = {"host": "127.0.0.1", "user": "u", "secret": "s", "tls": Tls.NONE, **more}
    server = Server(port=started[-1].port, **named)  # type: ignore[arg-type]
    _OPEN.append(Pop3(server, limit, delete=delete, patience=HASTE))
    return _OPEN[-1]


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=300) | st.text("\r\n.x\x00", max_size=200).map(lambda text: text.encode()),
    st.sampled_from([1, 2, 3, 5, 1 << 18]),
)
@example(b"", 1)
@example(b".", 1)
@example(b"\r\n.\r\n", 1)
def test_bytes_are_those_before_stuffing(raw: bytes, piece: int) -> None:
    """Whatever a server may send under RFC 1939, in pieces of any size. A mail ends with CRLF there."""
    raw += b"" if raw.endswith(b"\r\n") or not raw else b"\r\n"
    stuffed = (b"\r\n" + raw).replace(b"\r\n.", b"\r\n..")[2:]
    server = ScriptedServer(Talk({b"RETR 1": b"+OK\r\n" + stuffed + b".\r\n"}))
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(pop3_wire, "_PIECE", piece)
            mailbox = Pop3(Server("127.0.0.1", server.port, "u", "s", tls=Tls.NONE), LIMIT, patience=HASTE)
            assert read(mailbox) == [raw]
            mailbox.close()
    finally:
        server.close()


def test_a_mail_beyond_all_measure_fails_alone(talking: list[ScriptedServer]) -> None:
    endless = b"+OK\r\n" + b"x" * 3_000_000 + b"\r\n.\r\n"
    talk = Talk(
        {
            b"UIDL": b"+OK\r\n1 a\r\n2 b\r\n3 c\r\n.\r\n",
            b"LIST": b"+OK\r\n1 10\r\n3 5000\r\n.\r\n",  # which lies about the first
            b"RETR 1": endless,
            b"RETR 2": b"+OK\r\nsmall\r\n.\r\n",
        }
    )
    one, two, three = against(talking, talk, 1000).items()
    for item in (one, three):
        with pytest.raises(StoreError) as caught:
            item.read()
        assert caught.value.code == "import.too_large"
    assert two.read() == b"small\r\n"
    assert b"RETR 3" not in talk.heard


def test_an_id_that_is_listed_twice_settles_and_deletes_nothing(talking: list[ScriptedServer]) -> None:
    talk = Talk({b"UIDL": b"+OK\r\n1 a\r\n2 a\r\n3 b\r\n.\r\n", b"RETR 2": b"+OK\r\nother\r\n.\r\n"})
    one, two, three = against(talking, talk, delete=True).items()
    assert (one.name, one.read(), two.read()) == (two.name, b"mail\r\n", b"other\r\n")
    assert (one.archived, two.archived, one.settled_by_name) == (None, None, False)
    assert three.archived is not None
    three.archived()
    assert b"DELE 3" in talk.heard
    alone = [item.settled_by_name for item in against(talking, talk).items()]
    assert alone == [False, False, True]


def test_no_unique_ids_no_names(talking: list[ScriptedServer]) -> None:
    with pytest.raises(MailboxFailed) as caught:
        against(talking, Talk({b"UIDL": b"-ERR what?\r\n"}))
    assert caught.value.code == "import.uidl"
    with pytest.raises(MailboxFailed) as caught:
        against(talking, Talk({b"UIDL": b"+OK\r\nnonsense\r\n.\r\n"}))
    assert caught.value.code == "import.protocol"


def test_a_mail_that_the_server_refuses_fails_alone(talking: list[ScriptedServer]) -> None:
    (item,) = against(talking, Talk({b"RETR 1": b"-ERR no\r\n"})).items()
    with pytest.raises(StoreError) as caught:
        item.read()
    assert caught.value.code == "import.refused"


def test_a_mailbox_that_a_cut_session_still_holds_is_asked_for_again(talking: list[ScriptedServer]) -> None:
    talk = Talk({})
    mailbox = against(talking, talk)
    (item,) = mailbox.items()
    mailbox._hang_up()
    answers = iter([b"-ERR [IN-USE] wait\r\n", b"+OK\r\n"])

    class Passing(dict):  # type: ignore[type-arg]
        def get(self, key: bytes, default: bytes = b"") -> bytes:
            return next(answers) if key == b"PASS s" else super().get(key, default)

    talk.answers = Passing(talk.answers)
    assert item.read() == b"mail\r\n"
    assert talk.heard.count(b"PASS s") == 3


def test_starttls_that_is_not_offered_is_not_done_without(talking: list[ScriptedServer]) -> None:
    for answer in (b"-ERR no\r\n", b"+OK\r\n+OK injected\r\n"):
        talk = Talk({b"STLS": answer})
        with pytest.raises(MailboxFailed) as caught:
            against(talking, talk, tls=Tls.STARTTLS)
        assert caught.value.code in ("import.tls", "import.protocol")
        assert not any(words.startswith((b"USER", b"PASS")) for words in talk.heard)


def test_xoauth2(talking: list[ScriptedServer]) -> None:
    said = base64.b64encode(b"user=anne@example.fr\x01auth=Bearer ya29\x01\x01")
    named = {"user": "anne@example.fr", "secret": "ya29", "token": True}
    talk = Talk({b"AUTH XOAUTH2": b"+ \r\n", said: b"+OK\r\n"})
    assert read(against(talking, talk, **named)) == [b"mail\r\n"]
    for refusal in ({said: b"-ERR no\r\n"}, {said: b"+ eyJzdGF0dXMiOiI0MDAifQ==\r\n", b"": b"-ERR no\r\n"}):
        with pytest.raises(MailboxFailed) as caught:
            against(talking, Talk({b"AUTH XOAUTH2": b"+ \r\n", **refusal}), **named)
        assert caught.value.code == "import.login"
