"""Mailboxes in files, through the command into the archive: taken once, under stable names, byte for byte."""

from pathlib import Path

import pytest

from tests.flow.archive_fixtures import mail, run, verify
from tests.flow.importing import counts, imported, made, once

FROM_LINE = b"From a@example.fr Thu Nov 26 21:00:00 2026\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return made(tmp_path / "archive")


def test_mbox(data: Path, tmp_path: Path) -> None:
    box = tmp_path / "Inbox"
    first, second = (mail(number, "x\r\n>From me").replace(b"\r\n", b"\n") for number in (1, 2))
    box.write_bytes(FROM_LINE + first + b"\n" + FROM_LINE + second + b"\n")
    assert counts(imported(data, "mbox", box)) == (2, 0, 0)
    with box.open("ab") as file:
        file.write(FROM_LINE + mail(3) + b"\n")
    assert counts(imported(data, "mbox", box)) == (1, 2, 0)
    place = len(FROM_LINE + first + b"\n")
    assert once(data) == {
        "Inbox:0": first.replace(b">From", b"From"),
        f"Inbox:{place}": second.replace(b">From", b"From"),
        f"Inbox:{2 * place}": mail(3),
    }
    assert verify(data).code == 0
    assert run("search", "essai", "--data", data, "--json").answer["total"] == 3


def test_mbox_of_another_variant(data: Path, tmp_path: Path) -> None:
    (tmp_path / "Inbox").write_bytes(FROM_LINE + b"Subject: a\n\n>>From x\n\n")
    assert counts(imported(data, "mbox", tmp_path / "Inbox", "--variant", "mboxo")) == (1, 0, 0)
    assert once(data) == {"Inbox:0": b"Subject: a\n\n>>From x\n"}
    assert imported(data, "mbox", tmp_path / "none").answer["error"]["code"] == "import.folder"


def test_maildir(data: Path, tmp_path: Path) -> None:
    top = tmp_path / "Maildir"
    for place in ("cur", "new", "tmp", ".Sent/cur"):
        (top / place).mkdir(parents=True)
    (top / "new" / "1.host").write_bytes(mail(1))
    (top / ".Sent" / "cur" / "1.host:2,S").write_bytes(mail(2))
    assert counts(imported(data, "maildir", top)) == (2, 0, 0)
    (top / "new" / "1.host").rename(top / "cur" / "1.host:2,FS")
    (top / "new" / "3.host").write_bytes(mail(3))
    assert counts(imported(data, "maildir", top)) == (1, 2, 0)
    assert once(data) == {"1.host": mail(1), ".Sent/1.host": mail(2), "3.host": mail(3)}
    assert imported(data, "maildir", tmp_path / "none").answer["error"]["code"] == "import.folder"
