"""``reconcile`` with Maildir and mbox: present, missing, extra; by content where asked; kept for the alarms."""

from pathlib import Path

import pytest

from archive_service.alarms import names
from archive_service.alarms.reconciled_record import reconciled_samples
from archive_service.bootstrap import open_core
from archive_service.settings import Settings
from tests.flow.archive_fixtures import SAMPLES, Said, done, no_settings_around, run

__all__ = ["no_settings_around"]  # fixture


def mail(name: str | None, body: str = "x") -> bytes:
    head = f"Message-ID: <{name}@ex.fr>\r\n" if name is not None else ""
    return f"{head}Subject: about {name}\r\n\r\n{body}\r\n".encode()


def maildir(folder: Path, *mails: bytes) -> Path:
    for place in ("cur", "new", "tmp"):
        (folder / place).mkdir(parents=True)
    for number, raw in enumerate(mails):
        (folder / "cur" / f"{number}.host:2,S").write_bytes(raw)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An archive with mails one to three, and one without a Message-ID."""
    folder = tmp_path / "archive"
    done("init", "--data", folder, "--tenant", "acme")
    box = maildir(tmp_path / "first", mail("one"), mail("two"), mail("three"), mail(None))
    done("import", "maildir", box, "--tenant", "acme", "--data", folder)
    return folder


def against(data: Path, *words: object) -> Said:
    return run("reconcile", *words, "--data", data, "--json")


def recorded(data: Path) -> dict[str, float]:
    return {each.metric: each.value for each in reconciled_samples(data, 2e9)}


def test_a_maildir_by_message_id(data: Path, tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", mail("one"), mail("lost"), mail("one", "again"), mail(None))
    before = {path: path.read_bytes() for path in box.rglob("*") if path.is_file()}
    said = against(data, "maildir", box)
    assert said.code == 1
    assert said.answer == {
        "format": "mailbox", "listed": 2, "repeated": 1, "present": 1, "missing": ["lost@ex.fr"], "extra": [],
        "unnamed": 1, "without_message_id": 1, "unsettled": 1,
    }  # fmt: skip
    assert {path: path.read_bytes() for path in box.rglob("*") if path.is_file()} == before
    assert recorded(data)[names.RECONCILED_MISSING] == 1


def test_everything_there_is_yes_and_extra_is_asked_of_a_period(data: Path, tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", mail("one"), mail("two"))
    assert against(data, "maildir", box).code == 0
    said = against(data, "maildir", box, "--since", "2020-01-01", "--until", "2120-01-01")
    assert (said.code, said.answer["extra"]) == (0, ["three@ex.fr"])
    assert recorded(data)[names.RECONCILED_EXTRA] == 1
    assert recorded(data)[names.RECONCILED_MISSING] == 0


def test_content_settles_what_has_no_message_id(data: Path, tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", mail("one"), mail(None), mail(None, "another"))
    said = against(data, "maildir", box, "--by-content")
    assert said.code == 1
    assert (said.answer["present"], said.answer["unsettled"]) == (2, 0)
    assert said.answer["missing"] == ["2.host"]


def test_a_journal_mailbox_is_settled_by_content_in_its_dialect(data: Path, tmp_path: Path) -> None:
    report = (SAMPLES / "exchange-to-cc-bcc.eml").read_bytes()
    box = maildir(tmp_path / "journal", report)
    (tmp_path / "eml").mkdir()
    (tmp_path / "eml" / "r.eml").write_bytes(report)
    words = ("maildir", box, "--by-content", "--kind", "exchange")
    assert against(data, *words).code == 1
    done("import", "eml", tmp_path / "eml", "--tenant", "acme", "--data", data, "--kind", "exchange")
    said = against(data, *words)
    assert (said.code, said.answer["missing"]) == (0, [])


def test_an_mbox(data: Path, tmp_path: Path) -> None:
    box = tmp_path / "box"
    mails = (mail("one"), mail("lost"), mail(None))
    box.write_bytes(
        b"".join(b"From x Thu Jan  1 00:00:00 2026\n" + raw.replace(b"\r", b"") + b"\n" for raw in mails)
    )
    said = against(data, "mbox", box)
    assert (said.code, said.answer["present"], said.answer["missing"]) == (1, 1, ["lost@ex.fr"])
    found = against(data, "mbox", box, "--by-content")
    assert found.answer["missing"] == ["lost@ex.fr"]
    assert found.answer["present"] == 2  # line ends do not matter to an identity


def test_what_cannot_be_read_is_no_yes(data: Path, tmp_path: Path) -> None:
    box = tmp_path / "boxes"
    box.mkdir()
    (box / "good").write_bytes(b"From x\n" + mail("one").replace(b"\r", b"") + b"\n")
    (box / "bad").write_bytes(b"no mailbox")
    said = against(data, "mbox", box)
    assert (said.code, said.answer["failed"]) == (1, {"bad": "import.not_mbox"})
    assert said.answer["missing"] == []


def test_a_result_is_kept_by_source_and_lost_with_its_file(data: Path, tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", mail("one"))
    against(data, "maildir", box, "--source", "import generic")
    core = open_core(Settings(data=data))
    (tenant,) = core.tenants()
    tenant.acts.refresh()
    labels = {"owner": tenant.id, "source": tenant.acts.sources()[0].id}
    core.close()
    assert {tuple(sorted(labels.items()))} == {each.labels for each in reconciled_samples(data, 2e9)}
    (data / "run" / "reconciled.json").unlink()
    assert reconciled_samples(data, 2e9) == []
    (data / "run" / "reconciled.json").write_text('{"of": {"x/y": {"at": "now"}}}')
    assert reconciled_samples(data, 2e9) == []


@pytest.mark.parametrize(
    "words",
    [
        ("imap",),
        ("imap", "--host", "h", "--user", "u"),
        ("maildir",),
        ("file", "path"),
        ("file", "--by-content"),
        ("maildir", "x", "--folder", "INBOX"),
    ],
)
def test_wrong_use(data: Path, words: tuple[str, ...]) -> None:
    said = against(data, *words)
    assert (said.code, said.answer["error"]["code"]) == (2, "input.usage")
