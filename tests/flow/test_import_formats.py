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
