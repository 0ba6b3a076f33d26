"""Messages that Outlook saved: archived as the files they are, found by what they say, and never mistaken for mail."""

import io
import zipfile
from pathlib import Path

import pytest

from tests.flow.archive_fixtures import mail, run, verify
from tests.flow.importing import counts, imported, lines, made, once
from tests.unit.mime_envelopes import compound, message_tree, text_stream

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "msgreader-js"
SAVED = compound(message_tree(text_stream(0x0037, "Devis"), text_stream(0x1000, "remise")))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return made(tmp_path / "archive")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    (folder / "2024").mkdir(parents=True)
    (folder / "2024" / "Devis.MSG").write_bytes(SAVED)
    return folder


def test_what_is_one_is_taken_once_and_the_rest_is_told(data: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "no.msg").write_bytes(mail(1))
    (folder / "book.msg").write_bytes(compound({"Workbook": b"x"}))
    (folder / "beside.eml").write_bytes(mail(2))
    report = tmp_path / "report"
    assert counts(imported(data, "msg", folder, "--report", report)) == (1, 0, 2)
    told = {line["item"]: line.get("code") for line in lines(report)}
    assert told == {"2024/Devis.MSG": None, "book.msg": "import.not_msg", "no.msg": "import.not_msg"}
    assert counts(imported(data, "msg", folder)) == (0, 1, 2)
    assert once(data) == {"2024/Devis.MSG": SAVED}
    assert imported(data, "msg", tmp_path / "none").answer["error"]["code"] == "import.folder"
    assert verify(data).answer["clean"]


def test_one_that_is_found_comes_out_as_it_went_in(data: Path, folder: Path, tmp_path: Path) -> None:
    taken = imported(data, "msg", folder).answer["captures"]
    found = run("search", "subject:devis remise", "--data", data, "--json").answer
    assert found["total"] == 1
    bundle = tmp_path / "out.zip"
    assert run("export", "remise", "-o", bundle, "--data", data, "--json").code == 0
    assert run("verify-bundle", bundle, "--json").code == 0
    with zipfile.ZipFile(io.BytesIO(bundle.read_bytes())) as members:
        captures = [name for name in members.namelist() if name.endswith("capture-1.eml")]
        assert [members.read(name) for name in captures] == [SAVED] * len(taken)


def test_a_journaled_copy_of_the_same_mail_is_another_message(
    data: Path, folder: Path, tmp_path: Path
) -> None:
    (folder / "2024" / "again.msg").write_bytes(SAVED)
    imported(data, "msg", folder)
    copy = tmp_path / "mails"
    copy.mkdir()
    (copy / "1.eml").write_bytes(b"Subject: Devis\r\n\r\nremise\r\n")
    imported(data, "eml", copy)
    assert run("search", "devis", "--data", data, "--json").answer["total"] == 2, (
        "two files, one message; one mail"
    )


def test_every_real_one_is_archived(data: Path) -> None:
    if not CORPUS.is_dir():
        pytest.skip("the mail corpus is not here (looked for shared/corpus beside the repository)")
    files = {str(path.relative_to(CORPUS)): path.read_bytes() for path in sorted(CORPUS.rglob("*.msg"))}
    assert counts(imported(data, "msg", CORPUS)) == (44, 0, 0)
    assert once(data) == files
    assert run("search", "subject:lunch", "--data", data, "--json").answer["total"] == 1
    assert run("search", "from:hmailuser@hmailserver.test", "--data", data, "--json").answer["total"] == 3
    assert verify(data).answer["clean"]
