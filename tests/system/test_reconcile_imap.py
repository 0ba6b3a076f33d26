"""``reconcile imap`` with a real Dovecot: folders, days, batches, nothing marked; and a connection that breaks."""

from datetime import date
from pathlib import Path

import pytest

from archive_service.model.backoff import Backoff
from archive_service.model.errors import ArchiveError
from ingest.importers.imap import Imap
from ingest.importers.imap_headers import Chosen, listed
from ingest.importers.server import Server, Tls
from tests.flow.archive_fixtures import Said, done, mail, run
from tests.flow.importing import made
from tests.services.cutting_proxy import CuttingProxy
from tests.services.dovecot import Dovecot, dovecot

__all__ = ["dovecot"]  # a fixture

LIMIT = 1 << 24


@pytest.fixture
def user(dovecot: Dovecot) -> str:
    return dovecot.new_user()


def reconciled(data: Path, dovecot: Dovecot, user: str, *more: object) -> Said:
    secret = data.parent / "secret"
    secret.write_text(dovecot.password)
    where = ("--host", "127.0.0.1", "--port", dovecot.ports["imap"], "--tls", "none")
    return run(
        "reconcile",
        "imap",
        *where,
        "--user",
        user,
        "--password-file",
        secret,
        "--data",
        data,
        "--json",
        *more,
    )


def archive(tmp_path: Path, *mails: bytes) -> Path:
    data, box = made(tmp_path / "archive"), tmp_path / "mails"
    box.mkdir()
    for number, raw in enumerate(mails):
        (box / f"{number}.eml").write_bytes(raw)
    done("import", "eml", box, "--tenant", "acme", "--data", data)
    return data


def opened(dovecot: Dovecot, user: str, port: int | None = None) -> Imap:
    where = port or dovecot.ports["imap"]
    server = Server("127.0.0.1", where, user, dovecot.password, tls=Tls.NONE)
    return Imap(server, LIMIT, Backoff(tries=4, sleep=lambda _: None))


def test_present_missing_and_without_a_name_and_nothing_is_marked(
    tmp_path: Path, dovecot: Dovecot, user: str
) -> None:
    nameless = mail(9).replace(b"Message-ID", b"X-Message-ID")
    data = archive(tmp_path, mail(1), mail(2), nameless)
    paths = [dovecot.deliver(user, raw) for raw in (mail(1), mail(3), nameless)]
    dovecot.deliver(user, mail(2), ".Sent")
    said = reconciled(data, dovecot, user)
    assert (said.code, said.answer["present"]) == (1, 2)
    assert said.answer["missing"] == ["essai-3@exemple.fr"]
    assert (said.answer["without_message_id"], said.answer["unsettled"]) == (1, 1)
    assert user not in said.err
    by_content = reconciled(data, dovecot, user, "--by-content").answer
    assert (by_content["present"], by_content["missing"]) == (3, ["essai-3@exemple.fr"])
    for path in paths:  # moved to cur by the server perhaps; never marked as seen
        (now,) = dovecot.mailbox(user).rglob(f"{path.name}*")
        assert "S" not in now.name.partition(":2,")[2]


def test_one_folder_and_some_days(tmp_path: Path, dovecot: Dovecot, user: str) -> None:
    data = archive(tmp_path, mail(1))
    dovecot.deliver(user, mail(1))
    dovecot.deliver(user, mail(2), ".Sent")
    assert reconciled(data, dovecot, user, "--folder", "INBOX").code == 0
    assert reconciled(data, dovecot, user, "--folder", "Sent").answer["missing"] == ["essai-2@exemple.fr"]
    assert (
        reconciled(data, dovecot, user, "--folder", "Nowhere").answer["error"]["code"] == "reconcile.folder"
    )
    assert reconciled(data, dovecot, user, "--since", "2120-01-01").answer["listed"] == 0
    assert reconciled(data, dovecot, user, "--until", "2120-01-01").answer["listed"] == 2


def test_the_days_are_asked_of_the_server(dovecot: Dovecot, user: str) -> None:
    dovecot.deliver(user, mail(1))
    mailbox = opened(dovecot, user)
    try:
        assert len(list(listed(mailbox, Chosen()))) == 1
        assert list(listed(mailbox, Chosen(since=date(2120, 1, 1)))) == []
        assert len(list(listed(mailbox, Chosen(since=date(2020, 1, 1), before=date(2120, 1, 1))))) == 1
    finally:
        mailbox.close()
    assert Chosen(since=date(2026, 3, 1)).criteria() == ["SINCE 1-Mar-2026"]


def test_more_mails_than_one_command_asks_for(dovecot: Dovecot, user: str) -> None:
    for number in range(250):
        dovecot.deliver(user, mail(number)) if number in (0, 249) else (
            dovecot.mailbox(user) / "new" / f"{number}.x.host"
        ).write_bytes(mail(number))
    dovecot.own(user)
    mailbox = opened(dovecot, user)
    try:
        found = [each.message_id for each in listed(mailbox, Chosen())]
    finally:
        mailbox.close()
    assert sorted(map(str, found)) == sorted(f"<essai-{number}@exemple.fr>" for number in range(250))


def test_a_connection_that_breaks_is_made_again(dovecot: Dovecot, user: str) -> None:
    for number in range(30):
        dovecot.deliver(user, mail(number))
    proxy = CuttingProxy(dovecot.ports["imap"], 1500, 2500)
    try:
        mailbox = opened(dovecot, user, proxy.port)
        try:
            wanted = {each.message_id for each in listed(mailbox, Chosen())}
        finally:
            mailbox.close()
        assert proxy.connections == 3
    finally:
        proxy.close()
    assert len(wanted) == 30


def test_a_wrong_password_is_said_by_its_code(tmp_path: Path, dovecot: Dovecot, user: str) -> None:
    data = made(tmp_path / "archive")
    (tmp_path / "wrong").write_text("wrong")
    where = ("--host", "127.0.0.1", "--port", dovecot.ports["imap"], "--tls", "none", "--user", user)
    said = run("reconcile", "imap", *where, "--password-file", tmp_path / "nothing", "--data", data, "--json")
    assert said.answer["error"]["code"] == "import.secret"
    with pytest.raises(ArchiveError):
        Imap(Server("127.0.0.1", 1, user, "x", tls=Tls.NONE), LIMIT, Backoff(tries=1))
