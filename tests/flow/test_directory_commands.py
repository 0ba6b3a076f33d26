"""``custodians`` and what it means for ``search`` and ``export``, on a real archive on disk."""

import json
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.flow.archive_fixtures import done, no_settings_around, run

__all__ = ["no_settings_around"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    done("init", "--data", folder, "--tenant", "acme")
    return folder


def mails(folder: Path) -> Path:
    """One to an address of two holders, each of the days of one; and one to another alias."""
    folder.mkdir()
    for number, (day, to) in enumerate(
        [
            ("Wed, 10 Jan 2024 10:00:00 +0000", "info@ex.fr"),
            ("Thu, 10 Oct 2024 10:00:00 +0000", "info@ex.fr"),
            ("Fri, 11 Oct 2024 10:00:00 +0000", "a.martin@ex.fr"),
        ]
    ):
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Date"] = "bob@elsewhere.fr", to, day
        mail["Subject"], mail["Message-ID"] = f"mail {number}", f"<{number}@elsewhere.fr>"
        mail.set_content("bonjour")
        (folder / f"{number}.eml").write_bytes(mail.as_bytes())
    return folder


def test_a_person_is_found_by_what_he_held_and_when(data: Path, tmp_path: Path) -> None:
    done("import", "eml", mails(tmp_path / "mails"), "--data", data, "--tenant", "acme")
    table = tmp_path / "people.csv"
    table.write_text(
        "id;name;address;aliases;left\n"
        "1;Anne Martin;a.martin@ex.fr;info@ex.fr ..2024-05-31;2024-11-30\n"
        "2;Zoé Roux;info@ex.fr 2024-06-01..;;\n",
        "utf-8-sig",
    )
    dry = done("custodians", "import", "csv", table, "--dry-run", "--data", data, "--json").answer
    assert (dry["applied"], dry["added"]) == (False, 2)
    assert done("custodians", "list", "--data", data, "--json").answer == {"custodians": []}
    report = done("custodians", "import", "csv", table, "--data", data, "--json").answer
    assert (report["applied"], report["added"], report["troubles"]) == (True, 2, [])
    assert done("custodians", "import", "csv", table, "--data", data, "--json").answer["unchanged"] == 2

    found = done("search", 'custodian:"Anne Martin"', "--data", data, "--json").answer
    assert sorted(hit["subject"] for hit in found["hits"]) == ["mail 0", "mail 2"]
    used = found["custodians"][0]["addresses"]
    assert used == [
        {"address": "a.martin@ex.fr", "from": None, "until": None},
        {"address": "info@ex.fr", "from": None, "until": "2024-05-31"},
    ]
    zoe = done("custodians", "list", "--text", "roux", "--data", data, "--json").answer["custodians"][0]
    found = done("search", f"custodian:{zoe['id']}", "--data", data, "--json").answer
    assert [hit["subject"] for hit in found["hits"]] == ["mail 1"]
    said = done("search", f"custodian:{zoe['id']}", "--data", data)
    assert "info@ex.fr 2024-06-01.." in said.out

    bundle = tmp_path / "out.zip"
    made = done("export", 'custodian:"Zoé Roux"', "-o", bundle, "--data", data, "--json").answer
    assert [each["id"] for each in made["custodians"]] == [zoe["id"]]
    done("verify-bundle", bundle)
    assert run("search", "custodian:info@ex.fr", "--data", data).code == 2
    assert "custodian.ambiguous" in run("search", "custodian:info@ex.fr", "--data", data).err
    assert "custodian.unknown" in run("search", "a custodian:x@ex.fr", "--data", data).err
    assert done("verify", "--data", data, "--json").answer["clean"]


def test_a_person_is_set_shown_and_leaves(data: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"name": "Anne", "addresses": [{"address": "Anne@Ex.fr"}]}))
    made = done("custodians", "set", "--record", record, "--data", data, "--json").answer
    record.write_text(json.dumps({"name": "Anne M", "addresses": [{"address": "anne@ex.fr"}]}))
    done("custodians", "set", "--id", made["id"], "--record", record, "--data", data)
    assert done("custodians", "show", "ANNE m", "--data", data, "--json").answer["name"] == "Anne M"
    left = done("custodians", "leave", "anne@ex.fr", "--on", "2025-01-31", "--data", data, "--json").answer
    assert left["left"] == "2025-01-31"
    shown = done("custodians", "show", made["id"], "--data", data, "--json").answer
    assert shown["left"] == "2025-01-31" and shown["resolved"]["addresses"][0]["address"] == "anne@ex.fr"
    for wrong in ("[]", "{", '{"name": ""}'):
        record.write_text(wrong)
        said = run("custodians", "set", "--record", record, "--data", data, "--json")
        assert (said.code, json.loads(said.out)["error"]["code"]) == (2, "custodian.invalid")
    assert run("custodians", "show", "nobody", "--data", data).code == 1


def test_what_could_not_be_taken_is_the_answer_no(data: Path, tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text("id,address\n1,a@ex.fr\n2,bad\n")
    strict = run("custodians", "import", "csv", table, "--strict", "--data", data, "--json")
    assert (strict.code, strict.answer["applied"]) == (1, False)
    said = run("custodians", "import", "csv", table, "--data", data)
    assert said.code == 1 and "line 3" in said.out and "row.address" in said.out
    assert len(done("custodians", "list", "--data", data, "--json").answer["custodians"]) == 1
    table.write_text("who\nx\n")
    assert run("custodians", "import", "csv", table, "--data", data).code == 2
