"""IMAP against a real Dovecot, and against servers that do what none should."""

import base64
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_service.model.backoff import Backoff
from archive_service.model.errors import ArchiveError, Invalid, StoreError
from ingest.importers.base import Item, MailboxFailed
from ingest.importers.imap import Imap
from ingest.importers.imap_words import Folder, decode_name, encode_name, folders
from ingest.importers.server import Server, Tls
from tests.flow.archive_fixtures import mail, verify
from tests.flow.importing import counts, held, imported, lines, made, once
from tests.services.cutting_proxy import CuttingProxy
from tests.services.dovecot import Dovecot, dovecot
from tests.services.scripted_server import ScriptedServer

__all__ = ["dovecot"]  # a fixture

HASTE = Backoff(tries=4, sleep=lambda _: None)
LIMIT = 1 << 24


@pytest.fixture
def user(dovecot: Dovecot) -> str:
    return dovecot.new_user()


def server(dovecot: Dovecot, user: str, **more: object) -> Server:
    named = {"host": "127.0.0.1", "port": dovecot.ports["imap"], "secret": dovecot.password, "tls": Tls.NONE}
    return Server(**{**named, "user": user, **more})  # type: ignore[arg-type]


_OPEN: list[Imap] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Whatever a test leaves open."""
    yield
    while _OPEN:
        _OPEN.pop().close()


def opened(dovecot: Dovecot, user: str, limit: int = LIMIT, **more: object) -> Imap:
    _OPEN.append(Imap(server(dovecot, user, **more), limit, HASTE))
    return _OPEN[-1]


def read(mailbox: Imap) -> dict[str, bytes]:
    """By folder and UID alone."""
    try:
        return {short(item): item.read() for item in mailbox.items()}
    finally:
        mailbox.close()


def short(item: Item) -> str:
    found = re.fullmatch(r"imap://[^/@]+@127\.0\.0\.1/(.*);UIDVALIDITY=[0-9]+/;UID=([0-9]+)", item.name)
    assert found is not None, item.name
    return f"{found[1]} {found[2]}"


def code(caught: pytest.ExceptionInfo[ArchiveError]) -> str:
    return caught.value.code


# --- what is there comes back ---------------------------------------------------------------------------

ODD = b"Subject: odd\r\n\r\nbare\rcr\r\n.\r\n..\r\n\xff\xfe 8-bit\r\n" + b"x" * 100_000 + b"\r\n \r\n\r\n"


def test_every_folder_byte_for_byte(dovecot: Dovecot, user: str) -> None:
    dovecot.deliver(user, ODD)
    dovecot.deliver(user, b"")
    dovecot.deliver(user, mail(1), ".Envoy&AOk-s")
    dovecot.deliver(user, mail(2), ".Projets.2026 &- co")
    dovecot.deliver(user, mail(3), ".&U,BTFw-")
    dovecot.deliver(user, mail(4), '.say "hello"\\')
    assert read(opened(dovecot, user)) == {
        "INBOX 1": ODD,
        "INBOX 2": b"",
        "Envoy%C3%A9s 1": mail(1),
        "Projets/2026%20%26%20co 1": mail(2),
        "%E5%8F%B0%E5%8C%97 1": mail(3),
        "say%20%22hello%22%5C 1": mail(4),
    }


def test_a_nul_is_what_the_server_makes_of_it(dovecot: Dovecot, user: str) -> None:
    """IMAP's literals may not hold NUL (RFC 3501 section 4.3); Dovecot sends 0x80: that is what there is."""
    dovecot.deliver(user, b"Subject: a\r\n\r\n\x00\r\n")
    assert read(opened(dovecot, user)) == {"INBOX 1": b"Subject: a\r\n\r\n\x80\r\n"}


def test_nothing_is_marked_or_moved(dovecot: Dovecot, user: str) -> None:
    path = dovecot.deliver(user, mail(1))
    mailbox = opened(dovecot, user)
    assert mailbox.count() == 1
    assert len(read(mailbox)) == 1
    assert path.exists(), "still new: not even seen by anybody"


def test_an_empty_mailbox(dovecot: Dovecot, user: str) -> None:
    assert read(opened(dovecot, user)) == {}


@pytest.mark.parametrize("tls", [Tls.IMPLICIT, Tls.STARTTLS, Tls.NONE])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls_of_each_kind(dovecot: Dovecot, user: str, tls: Tls, host: str) -> None:
    dovecot.deliver(user, mail(1))
    port = dovecot.ports["imaps" if tls is Tls.IMPLICIT else "imap"]
    mailbox = opened(dovecot, user, tls=tls, port=port, ca=dovecot.ca, host=host)
    assert [item.read() for item in mailbox.items()] == [mail(1)]
    mailbox.close()


# --- what is wrong is said ------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [Tls.IMPLICIT, Tls.STARTTLS])
def test_a_certificate_that_nobody_vouches_for(dovecot: Dovecot, user: str, tls: Tls) -> None:
    port = dovecot.ports["imaps" if tls is Tls.IMPLICIT else "imap"]
    with pytest.raises(MailboxFailed) as caught:
        opened(dovecot, user, tls=tls, port=port)
    assert code(caught) == "import.tls"


def test_tls_where_there_is_none(dovecot: Dovecot, user: str) -> None:
    with pytest.raises(MailboxFailed) as caught:
        opened(dovecot, user, tls=Tls.IMPLICIT, ca=dovecot.ca)
    assert code(caught) == "import.tls"


def test_a_wrong_password(dovecot: Dovecot, user: str) -> None:
    for secret in ("wrong", "faux é"):
        with pytest.raises(MailboxFailed) as caught:
            opened(dovecot, user, secret=secret)
        assert code(caught) == "import.login"
        assert user not in str(caught.value) and secret not in str(caught.value)


def test_nobody_there() -> None:
    with pytest.raises(MailboxFailed) as caught:
        Imap(Server("127.0.0.1", 1, "u", "s", tls=Tls.NONE), LIMIT, HASTE)
    assert code(caught) == "import.connection"


def test_a_secret_is_shown_by_nothing() -> None:
    assert "hunter2" not in repr(Server("h", 1, "u", "hunter2"))
    with pytest.raises(Invalid):
        Server("h", 1, "u\r\nA1 LOGOUT", "s")


def test_a_mail_that_is_too_large_fails_alone(dovecot: Dovecot, user: str) -> None:
    dovecot.deliver(user, b"x" * 5000)
    dovecot.deliver(user, mail(1))
    mailbox = opened(dovecot, user, limit=4000)
    large, small = mailbox.items()
    with pytest.raises(StoreError) as caught:
        large.read()
    assert code(caught) == "import.too_large"
    assert small.read() == mail(1)
    mailbox.close()


def test_a_mail_that_is_removed_meanwhile(dovecot: Dovecot, user: str) -> None:
    path = dovecot.deliver(user, mail(1))
    dovecot.deliver(user, mail(2))
    mailbox = opened(dovecot, user)
    items = mailbox.items()
    first = next(items)
    path.unlink()
    mailbox._drop()  # the next connection sees the folder as it is now
    with pytest.raises(StoreError) as caught:
        first.read()
    assert code(caught) == "import.gone"
    assert next(items).read() == mail(2)
    mailbox.close()


# --- connections that break -----------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [10, 400, 900, 1500, 30_000])
def test_a_connection_cut_anywhere_is_made_again(dovecot: Dovecot, user: str, cut: int) -> None:
    mails = [mail(number, "y" * 10_000) for number in range(5)]
    for each in mails:
        dovecot.deliver(user, each)
    proxy = CuttingProxy(dovecot.ports["imap"], 100_000 if cut < 900 else cut, cut, cut + 5000)
    try:
        mailbox = opened(dovecot, user, port=proxy.port)
        assert sorted(read(mailbox).values()) == sorted(mails)
        assert cut < 900 or proxy.connections > 1
    finally:
        proxy.close()


def test_a_line_that_stays_bad_ends_the_import(dovecot: Dovecot, user: str) -> None:
    dovecot.deliver(user, mail(1, "y" * 10_000))
    proxy = CuttingProxy(dovecot.ports["imap"], *[3000] * 20)
    try:
        mailbox = opened(dovecot, user, port=proxy.port)
        with pytest.raises(MailboxFailed) as caught:
            read(mailbox)
        assert code(caught) == "import.connection"
    finally:
        proxy.close()


def test_a_folder_made_anew_while_it_is_read(dovecot: Dovecot, user: str) -> None:
    dovecot.deliver(user, mail(1))
    mailbox = opened(dovecot, user)
    (item,) = mailbox.items()
    mailbox._uidvalidity += 1  # as if the server had another one at the next connection
    mailbox._drop()
    with pytest.raises(StoreError) as caught:
        item.read()
    assert code(caught) == "import.uidvalidity"
    mailbox.close()


# --- through the command --------------------------------------------------------------------------------


@pytest.fixture
def asked(dovecot: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setenv("MAILBOX_PASSWORD", dovecot.password)
    where = ["--host", "127.0.0.1", "--port", dovecot.ports["imaps"], "--ca", dovecot.ca]
    return ["imap", *where, "--user", user, "--password-env", "MAILBOX_PASSWORD"]


def test_a_mailbox_is_imported_once(
    dovecot: Dovecot, user: str, asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made(tmp_path / "archive")
    dovecot.deliver(user, mail(1))
    dovecot.deliver(user, mail(2), ".Sent")
    assert counts(imported(data, *asked)) == (2, 0, 0)
    dovecot.deliver(user, mail(3))

    def fetched_again(self: Imap, uid: int, size: int) -> bytes:
        del size
        assert uid == 2, "what is known was fetched again"
        return mail(3)

    with monkeypatch.context() as patched:
        patched.setattr(Imap, "_read", fetched_again)
        assert counts(imported(data, *asked)) == (1, 2, 0)
    assert sorted(once(data).values()) == sorted([mail(1), mail(2), mail(3)])
    assert verify(data).code == 0


def test_a_new_uidvalidity_makes_all_names_new(
    dovecot: Dovecot, user: str, asked: list[object], tmp_path: Path
) -> None:
    """UID 1 is another mail now: it must not pass for the one that is known."""
    data = made(tmp_path / "archive")
    dovecot.deliver(user, mail(1)).rename(tmp_path / "away")
    path = dovecot.deliver(user, mail(2))
    assert counts(imported(data, *asked)) == (1, 0, 0)
    for index in dovecot.mailbox(user).glob("dovecot*"):
        index.unlink()
    uidlist = dovecot.mailbox(user) / "dovecot-uidlist"
    uidlist.write_text(f"3 V77 N2 G{secrets.token_hex(16)}\n1 :{path.name}\n", "ascii")
    path.write_bytes(mail(3))
    dovecot.own(user)
    said = imported(data, *asked)
    assert "error" not in said.answer, said.out + dovecot.log()[-900:]
    assert counts(said) == (1, 0, 0)
    assert sorted(raw for _, raw in held(data)) == sorted([mail(2), mail(3)])
    assert [name for name, _ in held(data) if ";UIDVALIDITY=77/;UID=1" in name]


def test_a_wrong_password_archives_nothing_and_makes_no_source(
    asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made(tmp_path / "archive")
    monkeypatch.setenv("MAILBOX_PASSWORD", "wrong")
    said = imported(data, *asked)
    assert (said.code, said.answer["error"]["code"]) == (1, "import.login")
    monkeypatch.setenv("MAILBOX_PASSWORD", "")
    assert imported(data, *asked).answer["error"]["code"] == "import.secret"
    assert held(data) == []


def test_a_password_in_a_file(dovecot: Dovecot, user: str, asked: list[object], tmp_path: Path) -> None:
    data = made(tmp_path / "archive")
    dovecot.deliver(user, mail(1))
    (tmp_path / "password").write_text(f"{dovecot.password}\n", "utf-8")
    report = tmp_path / "report.jsonl"
    said = imported(data, *asked[:-2], "--password-file", tmp_path / "password", "--report", report)
    assert counts(said) == (1, 0, 0)
    assert user not in said.out + said.err
    assert lines(report)[0]["item"].startswith(f"imap://{user.replace('@', '%40')}@127.0.0.1/INBOX;")
    none = imported(data, *asked[:-2], "--password-file", tmp_path / "none")
    assert (none.code, none.answer["error"]["code"]) == (2, "import.secret")


# --- servers that do what none should -------------------------------------------------------------------


class Talk:
    """An IMAP server of one folder; a test replaces answers by the command's words."""

    def __init__(self, answers: dict[bytes, bytes], capabilities: bytes = b"IMAP4rev1") -> None:
        self.answers = {
            b"CAPABILITY": b"* CAPABILITY " + capabilities + b"\r\n",
            b"LIST": b'* LIST () "/" INBOX\r\n',
            b"EXAMINE": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n",
            b"UID FETCH 1:*": b"* 1 FETCH (UID 5 RFC822.SIZE 4)\r\n",
            b"UID FETCH 5": b"* 1 FETCH (UID 5 BODY[] {4}\r\nmail)\r\n",
            **answers,
        }
        self.heard: list[bytes] = []

    def __call__(self, lines: BinaryIO, out: BinaryIO) -> None:
        out.write(b"* OK hello\r\n")
        for line in lines:
            tag, _, words = line.strip().partition(b" ")
            self.heard.append(words)
            answer = next((said for begin, said in self.answers.items() if words.startswith(begin)), b"")
            if answer.startswith(b"+"):
                out.write(answer)
                self.heard.append(next(lines).strip())
                answer = b""
            status = b"" if answer.endswith((b"NO no\r\n", b"BAD bad\r\n")) else b"OK done\r\n"
            out.write(answer + tag + b" " + status if status else answer.replace(b"TAG", tag))
            if words.startswith(b"LOGOUT"):
                return


@pytest.fixture
def talking() -> Iterator[list[ScriptedServer]]:
    started: list[ScriptedServer] = []
    yield started
    for each in started:
        each.close()


def against(started: list[ScriptedServer], talk: Talk, **more: object) -> Imap:
    started.append(ScriptedServer(talk))
    named = {"host": "127.0.0.1", "user": "u", "secret": "s", "tls": Tls.NONE, **more}
    _OPEN.append(Imap(Server(port=started[-1].port, **named), LIMIT, HASTE))  # type: ignore[arg-type]
    return _OPEN[-1]


@pytest.mark.parametrize(
    "answer",
    [
        b"* 1 FETCH (UID 5 BODY[] {4}\r\nmail)\r\n",
        b"* 1 FETCH (BODY[] {4}\r\nmail UID 5)\r\n",
        b"* 2 FETCH (FLAGS (\\Seen))\r\n* 1 FETCH (UID 5 FLAGS () BODY[] {4}\r\nmail)\r\n* 3 EXISTS\r\n",
        b"* 9 FETCH (UID 9 BODY[] {5}\r\nother)\r\n* 1 FETCH (UID 5 BODY[] {4}\r\nmail)\r\n",
    ],
)
def test_ways_to_say_the_same(talking: list[ScriptedServer], answer: bytes) -> None:
    assert read(against(talking, Talk({b"UID FETCH 5": answer}))) == {"INBOX 5": b"mail"}


@pytest.mark.parametrize(
    "answer", [b"", b"* 1 FETCH (UID 5 BODY[] NIL)\r\n", b"* 1 FETCH (UID 6 BODY[] {1}\r\nx)\r\n"]
)
def test_another_mail_is_never_taken_for_the_one_asked_for(
    talking: list[ScriptedServer], answer: bytes
) -> None:
    (item,) = against(talking, Talk({b"UID FETCH 5": answer})).items()
    with pytest.raises(StoreError) as caught:
        item.read()
    assert code(caught) == "import.gone"


def test_a_literal_beyond_all_measure_is_not_waited_for(talking: list[ScriptedServer]) -> None:
    talk = Talk({b"UID FETCH 5": b"* 1 FETCH (UID 5 BODY[] {99999999999}\r\nx"})
    (item,) = against(talking, talk).items()
    with pytest.raises(StoreError) as caught:
        item.read()
    assert code(caught) == "import.too_large"
    talk.answers[b"UID FETCH 5"] = b"* 1 FETCH (UID 5 BODY[] {4}\r\nmail)\r\n"
    assert item.read() == b"mail"


def test_folders_that_cannot_be_read_are_named_and_stop_no_other(talking: list[ScriptedServer]) -> None:
    listed = (
        b'* LIST (\\Noselect) "/" Parent\r\n* LIST () "/" {4}\r\na\r\nb\r\n* LIST () NIL Closed\r\n'
        b'* LIST () "/" INBOX\r\n* LIST () "/" INBOX\r\n* LIST () "/" "caf\xe9"\r\n'
    )
    talk = Talk({b"LIST": listed, b'EXAMINE "Closed"': b"TAG NO no\r\n"})
    talk.answers = {b'EXAMINE "Closed"': talk.answers.pop(b'EXAMINE "Closed"'), **talk.answers}
    items = list(against(talking, talk).items())
    assert [item.name.partition(";")[0] for item in items] == [
        "imap://u@127.0.0.1/a%0D%0Ab",
        "imap://u@127.0.0.1/Closed",
        "imap://u@127.0.0.1/INBOX",
        "imap://u@127.0.0.1/caf%E9",
    ]
    for item in items[:2]:
        with pytest.raises(StoreError) as caught:
            item.read()
        assert code(caught) == "import.folder"


def test_no_uidvalidity_no_names(talking: list[ScriptedServer]) -> None:
    (item,) = against(talking, Talk({b"EXAMINE": b"* 1 EXISTS\r\n"})).items()
    with pytest.raises(StoreError) as caught:
        item.read()
    assert code(caught) == "import.folder"


def test_a_list_that_does_not_parse_is_not_passed_over(talking: list[ScriptedServer]) -> None:
    with pytest.raises(MailboxFailed) as caught:
        against(talking, Talk({b"LIST": b"* LIST whatever\r\n"}))
    assert code(caught) == "import.protocol"


def test_starttls_that_is_not_offered_is_not_done_without(talking: list[ScriptedServer]) -> None:
    talk = Talk({})
    with pytest.raises(MailboxFailed) as caught:
        against(talking, talk, tls=Tls.STARTTLS)
    assert code(caught) == "import.tls"
    assert not any(b"LOGIN" in words for words in talk.heard)


def test_login_is_quoted(talking: list[ScriptedServer]) -> None:
    talk = Talk({})
    against(talking, talk, user='a "b"', secret='c\\d"')
    assert rb'LOGIN "a \"b\"" "c\\d\""' in talk.heard


def test_xoauth2(talking: list[ScriptedServer]) -> None:
    talk = Talk({b"AUTHENTICATE": b"+ \r\n"}, b"IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2")
    mailbox = against(talking, talk, user="anne@example.fr", secret="ya29.token", token=True)
    assert read(mailbox) == {"INBOX 5": b"mail"}
    assert b"AUTHENTICATE XOAUTH2" in talk.heard
    said = base64.b64decode(talk.heard[talk.heard.index(b"AUTHENTICATE XOAUTH2") + 1])
    assert said == b"user=anne@example.fr\x01auth=Bearer ya29.token\x01\x01"


# --- words ----------------------------------------------------------------------------------------------


@given(
    st.text().filter(lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") == text)
)
def test_names_of_folders_come_back(text: str) -> None:
    assert decode_name(encode_name(text)) == text


@given(st.lists(st.binary(max_size=12), min_size=2, max_size=2, unique=True))
def test_two_folders_never_have_one_path(names: list[bytes]) -> None:
    one, two = (Folder(name) for name in names)
    both = (decode_name(one.wire), decode_name(two.wire))
    assert one.path != two.path or (None in both and both != (None, None))


def test_folders_of_every_spelling() -> None:
    found = folders([b'(\\HasChildren) "." a', (b'() "/" {3}', b'x"y'), b"", b'() NIL "q\\"\\\\"', None])
    assert [folder.wire for folder in found] == [b"a", b'x"y', b'q"\\']
    assert found[1].quoted == b'"x\\"y"'
