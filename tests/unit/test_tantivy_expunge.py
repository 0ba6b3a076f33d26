"""Removed mail leaves the embedded index's files, and what shared a file with it is written anew as it was."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.errors import StoreError
from search.indexes.tantivy_document import SNIPPET_TEXT, of_stored, to_tantivy
from search.indexes.tantivy_index import TantivyIndex
from search.query_language import parse
from tests.contracts.query_scenarios import DOCUMENTS, document

_TEXT = st.text(max_size=30)
_NAMES = st.lists(st.text(min_size=1, max_size=8), max_size=3).map(tuple)


@pytest.fixture
def index(tmp_path):
    made = TantivyIndex(tmp_path / "index")
    yield made
    made.close()


def segments(path):
    return {file.stem for file in path.iterdir() if file.suffix == ".store"}


def state(index):
    return index.documents(), index.words(), index.ids()


def expunged(index, most=2000):
    calls = 1
    while not index.expunge(most=most):
        calls += 1
    return calls


def test_what_shared_a_file_is_there_as_it_was_and_the_file_is_gone(index, tmp_path):
    long = document("long", 900, body="mot " * SNIPPET_TEXT + "dernier", sender="zoe@ex.fr")
    odd = document(
        "odd", 901, subject="a\ud800b", body="secret caché", attachments="tableau", flags=("draft",)
    )
    index.write([*DOCUMENTS, long])
    index.write([odd, document("gone", 902, body="licenciement"), document("other", 903, month="2024-02")])
    before = segments(index._path)
    index.remove(["gone"])
    expunged(index)
    assert len(segments(index._path) - before) >= 1
    assert len(before - segments(index._path)) == 1  # the other file was not touched
    fresh = TantivyIndex(tmp_path / "fresh")
    fresh.write([*DOCUMENTS, long, odd, document("other", 903, month="2024-02")])
    assert state(index) == state(fresh)
    fresh.close()
    assert index.search(parse("licenciement"), limit=9).total == 0
    assert [hit.id for hit in index.search(parse("dernier"), limit=9).hits] == ["long"]
    assert not any(b"licenciement" in file.read_bytes() for file in index._path.iterdir())


def test_a_run_is_taken_in_pieces_and_mail_may_come_between(index):
    index.write([document(f"m{n}", n, body=f"mot{n}") for n in range(50)])
    first = segments(index._path)
    index.remove(["m7", "m8"])
    assert not index.expunge(most=10)
    index.write([document("new", 99, body="entre"), document("m9", 9, version=2, body="neuf")])
    calls = expunged(index, most=10)
    assert calls >= 4
    assert not first & segments(index._path)
    assert len(index.ids()) == 49
    assert index.ids()["m9"] == 2
    assert index.search(parse("mot9"), limit=9).total == 0


def test_nothing_removed_is_nothing_to_do(index):
    assert index.expunge()
    index.write([document("m1", 1)])
    before = segments(index._path)
    assert index.expunge()
    assert segments(index._path) == before


def test_a_failed_commit_loses_nothing_and_the_run_begins_anew(index, monkeypatch):
    index.write([document(f"m{n}", n, body=f"mot{n}") for n in range(5)])
    index.remove(["m3"])
    with monkeypatch.context() as broken:
        broken.setattr("search.indexes.tantivy_index.to_tantivy", _fail)
        with pytest.raises(StoreError):
            index.expunge()
    assert len(index.ids()) == 4
    expunged(index)
    assert len(index.ids()) == 4
    assert index.search(parse("mot3"), limit=9).total == 0


def _fail(_):
    raise StoreError("no space")


@settings(max_examples=60, deadline=None)
@given(_TEXT, _TEXT, _TEXT, _NAMES, _NAMES, st.booleans(), st.integers(-(2**62), 2**62))
def test_a_document_comes_back_as_it_was(
    tmp_path_factory, subject, body, attachments, names, to, partial, rank
):
    given_document = document(
        "m",
        rank,
        subject=subject,
        body=body,
        attachments=attachments,
        filenames=names,
        to=to,
        not_fully_indexed=partial,
    )
    assert of_stored(to_tantivy(given_document)) == given_document
