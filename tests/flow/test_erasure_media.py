"""What an erasure leaves on the media of the catalog: nothing, once its batch has run."""

import shutil
import sqlite3
from pathlib import Path

from tests.flow.archive_fixtures import SAMPLES, done, have_erased, no_settings_around

__all__ = ["no_settings_around"]  # fixture

WORD = b"zebrasubject"


def holding(data: Path) -> list[str]:
    """Files of the catalog that hold the word."""
    return [path.name for path in data.glob("projections/*/catalog.sqlite*") if WORD in path.read_bytes()]


def test_gdpr_article_17_the_catalog_keeps_no_word_of_what_was_erased(tmp_path: Path) -> None:
    data, mails = tmp_path / "archive", tmp_path / "mails"
    mails.mkdir()
    (mails / "one.eml").write_bytes(
        b"From: a@example.fr\r\nTo: b@example.fr\r\nMessage-ID: <z@example.fr>\r\nSubject: "
        + WORD
        + b"\r\n\r\nx\r\n"
    )
    done("init", "--data", data, "--tenant", "acme")
    done("import", "eml", SAMPLES, "--tenant", "acme", "--kind", "m365", "--data", data)
    done("import", "eml", mails, "--tenant", "acme", "--kind", "generic", "--data", data)
    assert holding(data)
    (live,) = data.glob("projections/*")
    for unfinished in ("next", "drill"):  # as a rebuild and a drill that were killed left it
        shutil.copytree(live, live.with_name(f"{live.name}.{unfinished}"))
    assert len(holding(data)) == 3
    catalog = live / "catalog.sqlite"
    connection = sqlite3.connect(catalog)
    try:
        query = "SELECT captures.id FROM captures JOIN messages ON captures.message = messages.id WHERE content LIKE ?"
        (capture,) = connection.execute(query, (f"%{WORD.decode()}%",)).fetchone()
    finally:
        connection.close()
    have_erased(data, capture)
    done("erasures", "run", "--tenant", "acme", "--today-too", "--data", data)
    assert holding(data) == []
